"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from curhat.kit.database import Executor, NoRow

LIST_BLOCKERS: Final = """
SELECT CASE $1::text WHEN 'customer' THEN mitra_id ELSE customer_id END AS user_id FROM blocks
WHERE $2 = CASE $1 WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $2 OR mitra_id = $2) AND blocked_by <> $1
"""


async def list_blockers(db: Executor, /, *, role: str, user_id: UUID) -> list[UUID]:
    """Find the people of the other role who have blocked this account."""
    return [row[0] for row in await db.fetch(LIST_BLOCKERS, role, user_id)]


DELETE_BLOCKS_BY: Final = """
DELETE FROM blocks
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1) AND blocked_by = $2
"""


async def delete_blocks_by(db: Executor, /, *, user_id: UUID, role: str) -> None:
    """Delete the blocks of this account. The blocks of the other side stay."""
    await db.execute(DELETE_BLOCKS_BY, user_id, role)


INSERT_INHERITED_BLOCKS: Final = """
INSERT INTO blocks (customer_id, mitra_id, blocked_by)
SELECT CASE $1::text WHEN 'customer' THEN $2 ELSE other_id END,
    CASE $1 WHEN 'customer' THEN other_id ELSE $2 END,
    CASE $1 WHEN 'customer' THEN 'mitra' ELSE 'customer' END
FROM unnest($3::uuid[]) AS other_id
ON CONFLICT DO NOTHING
"""


async def insert_inherited_blocks(
    db: Executor, /, *, role: str, user_id: UUID, other_ids: Sequence[UUID]
) -> None:
    """Insert a block without a session between this new account and each of these people of the other role, by them."""
    await db.execute(INSERT_INHERITED_BLOCKS, role, user_id, other_ids)


DELETE_RATINGS_BY: Final = """
DELETE FROM ratings WHERE customer_id = $1
"""


async def delete_ratings_by(db: Executor, /, *, customer_id: UUID) -> None:
    """Delete the ratings that this customer gave."""
    await db.execute(DELETE_RATINGS_BY, customer_id)


DELETE_NOTICES_OF: Final = """
DELETE FROM notices WHERE user_id = $1 AND role = $2
"""


async def delete_notices_of(db: Executor, /, *, user_id: UUID, role: str) -> None:
    """Delete what this account was told about decisions."""
    await db.execute(DELETE_NOTICES_OF, user_id, role)


FORGET_NOTES: Final = """
UPDATE reports SET note = NULL, message_ids = '{}'
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1) AND reporter = $2
    AND (note IS NOT NULL OR message_ids <> '{}')
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = reports.session_id)
"""


async def forget_notes(db: Executor, /, *, user_id: UUID, role: str) -> None:
    """Delete the texts of the reports that this account made, except those that still hold their chat."""
    await db.execute(FORGET_NOTES, user_id, role)


FORGET_APPEALS: Final = """
UPDATE reports SET appeal_text = NULL
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1) AND reporter <> $2 AND appeal_text IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = reports.session_id)
"""


async def forget_appeals(db: Executor, /, *, user_id: UUID, role: str) -> None:
    """Delete the texts of the appeals of this account against decisions about it, except those that still hold their chat."""
    await db.execute(FORGET_APPEALS, user_id, role)


COUNT_TEXTS_LEFT: Final = """
SELECT count(*) AS texts FROM reports
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1)
    AND CASE WHEN reporter = $2 THEN note ELSE appeal_text END IS NOT NULL
"""


async def count_texts_left(db: Executor, /, *, user_id: UUID, role: str) -> int:
    """Count the reports and appeals of this account that still have a text."""
    row = await db.fetchrow(COUNT_TEXTS_LEFT, user_id, role)
    if row is None:
        raise NoRow(COUNT_TEXTS_LEFT)
    value: int = row[0]
    return value
