"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor


class VersionRow(msgspec.Struct, frozen=True):
    version: int
    items: str
    proposed_by: UUID | None
    proposed_by_email: str | None
    proposed_at: datetime
    published_by: UUID | None
    published_by_email: str | None
    published_at: datetime | None


LIST_VERSIONS: Final = """
SELECT versions.version, versions.items, versions.proposed_by, proposers.email AS proposed_by_email,
    versions.proposed_at, versions.published_by, publishers.email AS published_by_email, versions.published_at
FROM help_line_versions AS versions
LEFT JOIN operators AS proposers ON proposers.id = versions.proposed_by
LEFT JOIN operators AS publishers ON publishers.id = versions.published_by
WHERE ($1::integer IS NULL OR versions.version = $1)
    AND (
        versions.version > (SELECT coalesce(max(version), 0) FROM help_line_versions) - $2
        OR versions.version = (SELECT max(version) FROM help_line_versions WHERE published_at IS NOT NULL)
        OR versions.version = $1
    )
ORDER BY versions.version DESC
"""


async def list_versions(db: Executor, /, *, only_version: int | None, max_versions: int) -> list[VersionRow]:
    """Read the newest versions of the help lines with the operators' e-mails, newest first, at most @max_versions. The
    current version is always among them. If @only_version is not null, only this version."""
    return [VersionRow(*row) for row in await db.fetch(LIST_VERSIONS, only_version, max_versions)]
