"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.content.texts.kinds import TextKind
from curhat.kit.database import Executor, NoRow


class CurrentText(msgspec.Struct, frozen=True):
    kind: TextKind
    version: int
    body: str
    is_draft: bool
    published_at: datetime
    accepted_at: datetime | None


LIST_CURRENT_TEXTS: Final = """
SELECT texts.kind, texts.version,
    CASE $1::text WHEN 'en' THEN texts.body_en ELSE texts.body_id END AS body, texts.is_draft,
    texts.published_at, acceptances.accepted_at
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version
LEFT JOIN acceptances ON acceptances.kind = texts.kind AND acceptances.version = texts.version
    AND acceptances.role = $2 AND acceptances.user_id = $3
WHERE texts.kind = ANY ($4::text[])
"""


async def list_current_texts(
    db: Executor, /, *, language: str, role: str, user_id: UUID, kinds: Sequence[TextKind]
) -> list[CurrentText]:
    """Read the newest version of each of these kinds, in one language, with the time at which this person accepted it."""
    return [CurrentText(*row) for row in await db.fetch(LIST_CURRENT_TEXTS, language, role, user_id, kinds)]


class ListPublicTextsRow(msgspec.Struct, frozen=True):
    kind: TextKind
    version: int
    body: str
    is_draft: bool
    published_at: datetime


LIST_PUBLIC_TEXTS: Final = """
SELECT texts.kind, texts.version,
    CASE $1::text WHEN 'en' THEN texts.body_en ELSE texts.body_id END AS body, texts.is_draft,
    texts.published_at
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version
"""


async def list_public_texts(db: Executor, /, *, language: str) -> list[ListPublicTextsRow]:
    """Read the newest version of every kind, in one language."""
    return [ListPublicTextsRow(*row) for row in await db.fetch(LIST_PUBLIC_TEXTS, language)]


class PublishTextRow(msgspec.Struct, frozen=True):
    version: int
    published_at: datetime


PUBLISH_TEXT: Final = """
WITH newest AS MATERIALIZED (
    SELECT coalesce(max(version), 0) AS version FROM texts WHERE kind = $1
)
INSERT INTO texts (kind, version, body_id, body_en, is_draft, published_by)
SELECT $1, newest.version + 1, $2, $3, $4, $5 FROM newest
WHERE newest.version = coalesce($6, newest.version)
ON CONFLICT (kind, version) DO NOTHING
RETURNING version, published_at
"""


async def publish_text(
    db: Executor,
    /,
    *,
    kind: TextKind,
    body_id: str,
    body_en: str,
    is_draft: bool,
    published_by: str,
    expected_version: int | None,
) -> PublishTextRow | None:
    """Publish the next version of a text (nothing → current). Returns no row if @expected_version is not null and not the
    newest version, which is 0 for a kind without a version. Returns no row if another operator publishes the same
    version meanwhile: the statement waits for the other operator's commit."""
    row = await db.fetchrow(PUBLISH_TEXT, kind, body_id, body_en, is_draft, published_by, expected_version)
    if row is None:
        return None
    return PublishTextRow(*row)


FIND_CURRENT_VERSION: Final = """
SELECT version FROM current_texts WHERE kind = $1
"""


async def find_current_version(db: Executor, /, *, kind: TextKind) -> int | None:
    row = await db.fetchrow(FIND_CURRENT_VERSION, kind)
    if row is None:
        return None
    value: int = row[0]
    return value


LIST_MISSING_KINDS: Final = """
SELECT current_texts.kind
FROM current_texts
WHERE current_texts.kind = ANY ($1::text[]) AND NOT EXISTS (
    SELECT 1 FROM acceptances
    WHERE acceptances.role = $2 AND acceptances.user_id = $3 AND acceptances.kind = current_texts.kind
        AND acceptances.version = current_texts.version
)
"""


async def list_missing_kinds(
    db: Executor, /, *, kinds: Sequence[TextKind], role: str, user_id: UUID
) -> list[TextKind]:
    """Find the kinds among @kinds whose newest version this person has not accepted in this role."""
    return [row[0] for row in await db.fetch(LIST_MISSING_KINDS, kinds, role, user_id)]


ACCEPT_TEXT: Final = """
WITH newest AS MATERIALIZED (
    SELECT version FROM current_texts WHERE kind = $1
), accept AS (
    INSERT INTO acceptances (role, user_id, kind, version)
    SELECT $2, $3, $1, newest.version FROM newest WHERE newest.version = $4
    ON CONFLICT (role, user_id, kind, version) DO NOTHING
)
SELECT version FROM newest
"""


async def accept_text(
    db: Executor, /, *, kind: TextKind, role: str, user_id: UUID, version: int
) -> int | None:
    """Accept the text, if @version is its newest version (nothing → accepted). Returns the newest version. A repeated
    acceptance changes nothing. Returns no row if no version of this kind is published."""
    row = await db.fetchrow(ACCEPT_TEXT, kind, role, user_id, version)
    if row is None:
        return None
    value: int = row[0]
    return value


READ_PRESENT_YEAR: Final = """
SELECT extract(year FROM curhat_now() AT TIME ZONE 'Asia/Jakarta')::integer AS present_year
"""


async def read_present_year(db: Executor, /) -> int:
    """Return the present year in Jakarta."""
    row = await db.fetchrow(READ_PRESENT_YEAR)
    if row is None:
        raise NoRow(READ_PRESENT_YEAR)
    value: int = row[0]
    return value
