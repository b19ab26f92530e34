"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final

import msgspec

from curhat.content.texts.kinds import TextKind
from curhat.kit.database import Executor


class CurrentVersion(msgspec.Struct, frozen=True):
    kind: TextKind
    version: int
    is_draft: bool
    published_at: datetime
    published_by: str
    body_id: str
    body_en: str
    accepted: int


LIST_CURRENT_VERSIONS: Final = """
SELECT texts.kind, texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by, texts.body_id, texts.body_en,
    (SELECT count(*) FROM acceptances WHERE acceptances.kind = texts.kind AND acceptances.version = texts.version)
        AS accepted
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version
LEFT JOIN operators ON operators.id::text = texts.published_by
"""


async def list_current_versions(db: Executor, /) -> list[CurrentVersion]:
    """Read the newest version of each text in both languages. `accepted` is the number of people who have accepted this
    version. If a new version is published, these people must accept the new version."""
    return [CurrentVersion(*row) for row in await db.fetch(LIST_CURRENT_VERSIONS)]


class VersionRow(msgspec.Struct, frozen=True):
    version: int
    is_draft: bool
    published_at: datetime
    published_by: str


LIST_VERSIONS: Final = """
SELECT texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by
FROM texts LEFT JOIN operators ON operators.id::text = texts.published_by
WHERE texts.kind = $1 AND ($2::integer IS NULL OR texts.version < $2)
ORDER BY texts.version DESC LIMIT $3
"""


async def list_versions(
    db: Executor, /, *, kind: TextKind, before: int | None, max_versions: int
) -> list[VersionRow]:
    """Read the versions of a text, newest first, at most @max_versions, below version @before."""
    return [VersionRow(*row) for row in await db.fetch(LIST_VERSIONS, kind, before, max_versions)]


class VersionBodies(msgspec.Struct, frozen=True):
    kind: TextKind
    version: int
    is_draft: bool
    published_at: datetime
    published_by: str
    body_id: str
    body_en: str


FIND_VERSION: Final = """
SELECT texts.kind, texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by, texts.body_id, texts.body_en
FROM texts LEFT JOIN operators ON operators.id::text = texts.published_by
WHERE texts.kind = $1 AND texts.version = $2
"""


async def find_version(db: Executor, /, *, kind: TextKind, version: int) -> VersionBodies | None:
    """Read one version of a text in both languages."""
    row = await db.fetchrow(FIND_VERSION, kind, version)
    if row is None:
        return None
    return VersionBodies(*row)
