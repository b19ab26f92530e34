"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow
from curhat.kit.identity import Role

LOCK_BLOCKS_OF_CUSTOMER: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('blocks of customer ' || $1::uuid, 0))
"""


async def lock_blocks_of_customer(db: Executor, /, *, customer_id: UUID) -> None:
    """Take the advisory lock of the blocks between this customer and any mitra, for this transaction."""
    await db.execute(LOCK_BLOCKS_OF_CUSTOMER, customer_id)


LOCK_BLOCKS_BY_MITRA: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('blocks by mitra ' || $1::uuid, 0))
"""


async def lock_blocks_by_mitra(db: Executor, /, *, mitra_id: UUID) -> None:
    """Take the advisory lock of this mitra's own blocks for this transaction, so that their count is exact."""
    await db.execute(LOCK_BLOCKS_BY_MITRA, mitra_id)


class Pair(msgspec.Struct, frozen=True):
    customer_id: UUID
    mitra_id: UUID


FIND_PAIR: Final = """
SELECT customer_id, mitra_id FROM sessions
WHERE id = $1 AND $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
"""


async def find_pair(db: Executor, /, *, session_id: UUID, user_id: UUID, role: Role) -> Pair | None:
    """Find the two members of this person's session. Returns no row if the session does not exist or belongs to others."""
    row = await db.fetchrow(FIND_PAIR, session_id, user_id, role)
    if row is None:
        return None
    return Pair(*row)


IS_BLOCKED_BY: Final = """
SELECT EXISTS (
    SELECT 1 FROM blocks WHERE customer_id = $1 AND mitra_id = $2 AND blocked_by = $3
) AS is_blocked
"""


async def is_blocked_by(db: Executor, /, *, customer_id: UUID, mitra_id: UUID, blocked_by: Role) -> bool:
    """Return whether this side has blocked the other."""
    row = await db.fetchrow(IS_BLOCKED_BY, customer_id, mitra_id, blocked_by)
    if row is None:
        raise NoRow(IS_BLOCKED_BY)
    value: bool = row[0]
    return value


COUNT_BLOCKS_BY_CUSTOMER: Final = """
SELECT count(*)::integer AS blocks FROM blocks
WHERE customer_id = $1 AND blocked_by = 'customer' AND session_id IS NOT NULL
"""


async def count_blocks_by_customer(db: Executor, /, *, customer_id: UUID) -> int:
    row = await db.fetchrow(COUNT_BLOCKS_BY_CUSTOMER, customer_id)
    if row is None:
        raise NoRow(COUNT_BLOCKS_BY_CUSTOMER)
    value: int = row[0]
    return value


COUNT_BLOCKS_BY_MITRA: Final = """
SELECT count(*)::integer AS blocks FROM blocks
WHERE mitra_id = $1 AND blocked_by = 'mitra' AND session_id IS NOT NULL
"""


async def count_blocks_by_mitra(db: Executor, /, *, mitra_id: UUID) -> int:
    row = await db.fetchrow(COUNT_BLOCKS_BY_MITRA, mitra_id)
    if row is None:
        raise NoRow(COUNT_BLOCKS_BY_MITRA)
    value: int = row[0]
    return value


INSERT_BLOCK: Final = """
INSERT INTO blocks (customer_id, mitra_id, blocked_by, session_id)
VALUES ($1, $2, $3, $4)
"""


async def insert_block(
    db: Executor, /, *, customer_id: UUID, mitra_id: UUID, blocked_by: Role, session_id: UUID
) -> None:
    await db.execute(INSERT_BLOCK, customer_id, mitra_id, blocked_by, session_id)


DELETE_BLOCK: Final = """
DELETE FROM blocks WHERE customer_id = $1 AND mitra_id = $2 AND blocked_by = $3
"""


async def delete_block(db: Executor, /, *, customer_id: UUID, mitra_id: UUID, blocked_by: Role) -> None:
    await db.execute(DELETE_BLOCK, customer_id, mitra_id, blocked_by)


class BlockRow(msgspec.Struct, frozen=True):
    session_id: UUID
    name: str
    created_at: datetime


LIST_BLOCKS_BY_CUSTOMER: Final = """
SELECT blocks.session_id, mitras.display_name AS name, blocks.created_at
FROM blocks JOIN mitras ON mitras.id = blocks.mitra_id
WHERE blocks.customer_id = $1 AND blocks.blocked_by = 'customer' AND blocks.session_id IS NOT NULL
ORDER BY blocks.created_at DESC, blocks.session_id DESC
"""


async def list_blocks_by_customer(db: Executor, /, *, customer_id: UUID) -> list[BlockRow]:
    """Read this customer's own blocks, newest first, with the names of the mitras. Inherited blocks have no session."""
    return [BlockRow(*row) for row in await db.fetch(LIST_BLOCKS_BY_CUSTOMER, customer_id)]


LIST_BLOCKS_BY_MITRA: Final = """
SELECT blocks.session_id, customers.call_name AS name, blocks.created_at
FROM blocks JOIN customers ON customers.id = blocks.customer_id
WHERE blocks.mitra_id = $1 AND blocks.blocked_by = 'mitra' AND blocks.session_id IS NOT NULL
ORDER BY blocks.created_at DESC, blocks.session_id DESC
"""


async def list_blocks_by_mitra(db: Executor, /, *, mitra_id: UUID) -> list[BlockRow]:
    """Read this mitra's own blocks, newest first, with the call names of the customers."""
    return [BlockRow(*row) for row in await db.fetch(LIST_BLOCKS_BY_MITRA, mitra_id)]


LIST_BLOCKED_MITRAS: Final = """
SELECT DISTINCT customer_id, mitra_id FROM blocks WHERE customer_id = ANY ($1::uuid[])
"""


async def list_blocked_mitras(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[Pair]:
    """Find the mitras who are never paired with each of these customers, whoever of the two blocked."""
    return [Pair(*row) for row in await db.fetch(LIST_BLOCKED_MITRAS, customer_ids)]
