"""Lists and publishes texts for operators. Every function takes an open transaction and never commits it."""

from typing import Final

from curhat.content.texts import service as texts
from curhat.content.texts.kinds import KINDS, TextKind
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.schemas import from_row
from curhat.control_center.texts import queries
from curhat.control_center.texts.queries import CurrentVersion, VersionBodies
from curhat.control_center.texts.schemas import (
    CurrentText,
    CurrentTexts,
    PastVersion,
    TextBodies,
    TextPublication,
    TextVersion,
)
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.page import PAGE_SIZE, Page

MAX_CURSOR_DIGITS: Final = 7


async def current_texts(tx: Transaction) -> CurrentTexts:
    """Return every text with its newest version."""
    rows = {row.kind: row for row in await queries.list_current_versions(tx)}
    return CurrentTexts(items=[_current_text(kind, rows.get(kind)) for kind in KINDS])


async def history(tx: Transaction, kind: TextKind, cursor: str | None) -> Page[PastVersion]:
    """Return a page of the versions of a text, newest first. Raises ValidationFailed for a bad cursor."""
    if cursor is not None and not (
        cursor.isascii() and cursor.isdigit() and len(cursor) <= MAX_CURSOR_DIGITS
    ):
        raise invalid_field("cursor", "is not one that this list gave")
    before = None if cursor is None else int(cursor)
    rows = await queries.list_versions(tx, kind=kind, before=before, max_versions=PAGE_SIZE + 1)
    items = [from_row(PastVersion, row) for row in rows[:PAGE_SIZE]]
    return Page(items=items, next_cursor=str(items[-1].version) if len(rows) > PAGE_SIZE else None)


async def read_version(tx: Transaction, kind: TextKind, version: int) -> TextVersion:
    """Return one version of a text. Raises NotFound."""
    row = await queries.find_version(tx, kind=kind, version=version)
    if row is None:
        raise NotFound
    return _version(row)


async def publish(tx: Transaction, operator: SignedInOperator, publication: TextPublication) -> TextVersion:
    """Publish a new version of a text, and write the audit entry. Raises TextOutdated."""
    published = await texts.publish(
        tx,
        publication.kind,
        body_id=publication.bodies.id.strip(),
        body_en=publication.bodies.en.strip(),
        is_draft=publication.is_draft,
        published_by=str(operator.id),
        expected_version=publication.expected_version,
    )
    draft = " (draft)" if publication.is_draft else ""
    await write_audit_entry(
        tx, operator.id, "text_published", "text", publication.kind, new=f"{published.version}{draft}"
    )
    return await read_version(tx, publication.kind, published.version)


def _current_text(kind: TextKind, row: CurrentVersion | None) -> CurrentText:
    if row is None:
        return CurrentText(kind=kind, current=None, accepted=0)
    return CurrentText(kind=kind, current=_version(row), accepted=row.accepted)


def _version(row: CurrentVersion | VersionBodies) -> TextVersion:
    return from_row(TextVersion, row, bodies=TextBodies(id=row.body_id, en=row.body_en))
