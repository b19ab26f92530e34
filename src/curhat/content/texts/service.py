"""Shows, accepts and publishes texts. Every function takes an open transaction and never commits it."""

from collections.abc import Collection
from typing import Final

import msgspec

from curhat.accounts import service as accounts
from curhat.content.texts import queries, shipped
from curhat.content.texts.errors import AcceptanceNeeded, AdultsOnly, TextOutdated
from curhat.content.texts.kinds import KINDS, KINDS_OF, Language, TextKind, is_adult
from curhat.content.texts.queries import PublishTextRow
from curhat.content.texts.schemas import Acceptance, PublicText, PublicTexts, TextsToAccept, TextToAccept
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.identity import Identity

# Who published the texts that `curhat seed` writes.
SEEDED_BY: Final = "curhat seed"


async def texts_of(tx: Transaction, person: Identity, language: Language) -> TextsToAccept:
    """Return the newest version of each text that this person must accept, and whether the person is an adult."""
    rows = await queries.list_current_texts(
        tx, language=language, role=person.role, user_id=person.user_id, kinds=KINDS_OF[person.role]
    )
    items = [TextToAccept(**msgspec.structs.asdict(row), language=language) for row in rows]
    items.sort(key=lambda text: KINDS.index(text.kind))
    return TextsToAccept(items=items, is_adult=await accounts.is_adult(tx, person))


async def public_texts(database: Database, language: Language) -> PublicTexts:
    """Return the newest version of every text. Nobody needs to sign in to read them."""
    rows = await queries.list_public_texts(database, language=language)
    items = [PublicText(**msgspec.structs.asdict(row), language=language) for row in rows]
    return PublicTexts(items=sorted(items, key=lambda text: KINDS.index(text.kind)))


async def accept(tx: Transaction, person: Identity, acceptance: Acceptance) -> None:
    """Accept the newest version of a text. A repeated acceptance changes nothing.

    If the year of birth is given, keep that the person is an adult, and forget the year. Raises AdultsOnly before
    anything is written. Raises TextOutdated. Raises NotFound for a version that does not exist, and for a text that a
    person of this role does not accept. Raises ValidationFailed for a year of birth that cannot be one.
    """
    if acceptance.kind not in KINDS_OF[person.role]:
        raise NotFound
    if acceptance.birth_year is not None:
        await _refuse_minors(tx, acceptance)
    newest = await queries.accept_text(
        tx, role=person.role, user_id=person.user_id, kind=acceptance.kind, version=acceptance.version
    )
    if newest is None or newest < acceptance.version:
        raise NotFound
    if newest > acceptance.version:
        raise TextOutdated(kind=acceptance.kind, current_version=newest)
    if acceptance.birth_year is not None:
        await accounts.note_adult(tx, person)


async def _refuse_minors(tx: Transaction, acceptance: Acceptance) -> None:
    assert acceptance.birth_year is not None
    if acceptance.kind != "terms":
        raise invalid_field("birth_year", "belongs only to the terms")
    present_year = await queries.read_present_year(tx)
    if acceptance.birth_year > present_year:
        # A slip of the finger is not the answer of a child.
        raise invalid_field("birth_year", "is in the future")
    if not is_adult(acceptance.birth_year, present_year):
        raise AdultsOnly


async def refuse_missing(tx: Transaction, person: Identity) -> None:
    """Raise AcceptanceNeeded if this person has not accepted the newest version of a text that the role needs."""
    kinds = KINDS_OF[person.role]
    refuse_kinds(await queries.list_missing_kinds(tx, kinds=kinds, role=person.role, user_id=person.user_id))


def refuse_kinds(missing: Collection[TextKind]) -> None:
    """Raise AcceptanceNeeded if a kind is missing. The error has the kinds in the order in which the apps show them."""
    if missing:
        raise AcceptanceNeeded(kinds=[kind for kind in KINDS if kind in missing])


async def publish(
    tx: Transaction,
    kind: TextKind,
    *,
    body_id: str,
    body_en: str,
    is_draft: bool,
    published_by: str,
    expected_version: int | None = None,
) -> PublishTextRow:
    """Publish the next version of a text, in both languages. From the commit on, everybody must accept this version.

    `expected_version` is the newest version that the operator saw, or 0 for none. None publishes after any version.
    Raises TextOutdated if another version is the newest one now.
    """
    published = await queries.publish_text(
        tx,
        kind=kind,
        body_id=body_id,
        body_en=body_en,
        is_draft=is_draft,
        published_by=published_by,
        expected_version=expected_version,
    )
    if published is None:
        raise TextOutdated(kind=kind, current_version=await queries.find_current_version(tx, kind=kind) or 0)
    return published


async def seed_texts(tx: Transaction) -> None:
    """Publish the drafts of this package, for each kind that has no version. A repeated call changes nothing."""
    for kind in KINDS:
        if await queries.find_current_version(tx, kind=kind) is None:
            await publish(
                tx,
                kind,
                body_id=shipped.draft_of(kind, "id"),
                body_en=shipped.draft_of(kind, "en"),
                is_draft=True,
                published_by=SEEDED_BY,
                expected_version=0,
            )
