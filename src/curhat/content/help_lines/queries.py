"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow


class CurrentVersion(msgspec.Struct, frozen=True):
    version: int
    published_at: datetime
    items: str
    is_shipped: bool


FIND_CURRENT: Final = """
SELECT version, published_at::timestamptz AS published_at, items, proposed_by IS NULL AS is_shipped
FROM help_line_versions WHERE published_at IS NOT NULL ORDER BY version DESC LIMIT 1
"""


async def find_current(db: Executor, /) -> CurrentVersion | None:
    """Read the current version: the published version with the highest number. No row: nothing was published."""
    row = await db.fetchrow(FIND_CURRENT)
    if row is None:
        return None
    return CurrentVersion(*row)


LOCK_VERSIONS: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('help lines', 0)) AS locked
"""


async def lock_versions(db: Executor, /) -> None:
    """Take the lock under which versions are proposed and published, until this transaction ends."""
    row = await db.fetchrow(LOCK_VERSIONS)
    if row is None:
        raise NoRow(LOCK_VERSIONS)
    value: None = row[0]
    return value


class VersionRow(msgspec.Struct, frozen=True):
    version: int
    items: str
    proposed_by: UUID | None
    proposed_at: datetime
    published_by: UUID | None
    published_at: datetime | None


FIND_VERSION: Final = """
SELECT version, items, proposed_by, proposed_at, published_by, published_at
FROM help_line_versions WHERE version = $1
"""


async def find_version(db: Executor, /, *, version: int) -> VersionRow | None:
    """Read one version. No row: it does not exist."""
    row = await db.fetchrow(FIND_VERSION, version)
    if row is None:
        return None
    return VersionRow(*row)


FIND_NEWEST: Final = """
SELECT version, items, proposed_by, proposed_at, published_by, published_at
FROM help_line_versions ORDER BY version DESC LIMIT 1
"""


async def find_newest(db: Executor, /) -> VersionRow | None:
    """Read the newest version, published or not. No row: nothing was ever proposed."""
    row = await db.fetchrow(FIND_NEWEST)
    if row is None:
        return None
    return VersionRow(*row)


INSERT_PROPOSAL: Final = """
INSERT INTO help_line_versions (items, proposed_by) VALUES ($1, $2) RETURNING version
"""


async def insert_proposal(db: Executor, /, *, items: str, proposed_by: UUID) -> int:
    row = await db.fetchrow(INSERT_PROPOSAL, items, proposed_by)
    if row is None:
        raise NoRow(INSERT_PROPOSAL)
    value: int = row[0]
    return value


INSERT_SHIPPED: Final = """
INSERT INTO help_line_versions (items, published_at) VALUES ($1, curhat_now()) RETURNING version
"""


async def insert_shipped(db: Executor, /, *, items: str) -> int:
    """Insert the list that came with the release. It is published at once."""
    row = await db.fetchrow(INSERT_SHIPPED, items)
    if row is None:
        raise NoRow(INSERT_SHIPPED)
    value: int = row[0]
    return value


PUBLISH: Final = """
UPDATE help_line_versions SET published_by = $1, published_at = curhat_now() WHERE version = $2
"""


async def publish(db: Executor, /, *, published_by: UUID, version: int) -> None:
    """Publish a version (proposed → published)."""
    await db.execute(PUBLISH, published_by, version)


COUNT_UNVERIFIED: Final = """
SELECT count(*) AS lines
FROM (
    SELECT items FROM help_line_versions WHERE published_at IS NOT NULL ORDER BY version DESC LIMIT 1
) AS current_version, jsonb_array_elements(items) AS listed (item)
WHERE item ->> 'kind' = 'line' AND coalesce(
    (item ->> 'verified_at')::timestamptz < curhat_now() - make_interval(days => $1), true
)
"""


async def count_unverified(db: Executor, /, *, max_days: int) -> int:
    """Count the current lines that nobody has verified for @max_days days."""
    row = await db.fetchrow(COUNT_UNVERIFIED, max_days)
    if row is None:
        raise NoRow(COUNT_UNVERIFIED)
    value: int = row[0]
    return value
