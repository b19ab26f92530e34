"""The steps of a block (T.1). Functions that take a transaction never commit it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from curhat.kit.database import Executor, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.identity import Identity
from curhat.safety.blocks import queries
from curhat.safety.blocks.errors import TooManyBlocks
from curhat.safety.blocks.queries import Pair
from curhat.safety.blocks.schemas import Block, BlockList

MAX_BLOCKS_PER_PERSON: Final = 200


async def block(tx: Transaction, identity: Identity, session_id: UUID) -> Pair:
    """Block the other side of this person's session. A repeated call changes nothing. Returns the two people.

    This function does not touch a search of the customer. Only `journeys/blocking.py` calls it: it also closes the open
    request between the two, and refuses while a session of the two runs.
    Raises NotFound if the session is not this person's. Raises TooManyBlocks.
    """
    pair = await _pair(tx, identity, session_id)
    await lock_blocks_of(tx, pair.customer_id)
    if identity.role == "mitra":
        await queries.lock_blocks_by_mitra(tx, mitra_id=pair.mitra_id)
    if await queries.is_blocked_by(
        tx, customer_id=pair.customer_id, mitra_id=pair.mitra_id, blocked_by=identity.role
    ):
        return pair
    count = (
        await queries.count_blocks_by_customer(tx, customer_id=pair.customer_id)
        if identity.role == "customer"
        else await queries.count_blocks_by_mitra(tx, mitra_id=pair.mitra_id)
    )
    if count >= MAX_BLOCKS_PER_PERSON:
        raise TooManyBlocks
    await queries.insert_block(
        tx,
        customer_id=pair.customer_id,
        mitra_id=pair.mitra_id,
        blocked_by=identity.role,
        session_id=session_id,
    )
    return pair


async def unblock(tx: Transaction, identity: Identity, session_id: UUID) -> None:
    """Undo this person's own block of the other side of the session. A repeated call changes nothing.

    A block by the other side stays. Raises NotFound if the session is not this person's.
    """
    pair = await _pair(tx, identity, session_id)
    await queries.delete_block(
        tx, customer_id=pair.customer_id, mitra_id=pair.mitra_id, blocked_by=identity.role
    )


async def blocks_of(tx: Transaction, identity: Identity) -> BlockList:
    """Return this person's own blocks, newest first."""
    rows = (
        await queries.list_blocks_by_customer(tx, customer_id=identity.user_id)
        if identity.role == "customer"
        else await queries.list_blocks_by_mitra(tx, mitra_id=identity.user_id)
    )
    return BlockList([Block(row.session_id, row.name, row.created_at) for row in rows])


async def lock_blocks_of(tx: Transaction, customer_id: UUID) -> None:
    """Wait for a block between this customer and any mitra that is under way, and delay later ones until the commit.

    The lock comes before the locks of payments.
    """
    await queries.lock_blocks_of_customer(tx, customer_id=customer_id)


async def blocked_mitras(db: Executor, customer_id: UUID) -> list[UUID]:
    """Return the mitras who are never paired with this customer, whoever of the two blocked."""
    return (await blocked_mitras_of_each(db, [customer_id]))[customer_id]


async def blocked_mitras_of_each(db: Executor, customer_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """Return, for each of these customers, the mitras who are never paired with the customer."""
    blocked: dict[UUID, list[UUID]] = {customer_id: [] for customer_id in customer_ids}
    for pair in await queries.list_blocked_mitras(db, customer_ids=customer_ids):
        blocked[pair.customer_id].append(pair.mitra_id)
    return blocked


async def has_blocked(db: Executor, customer_id: UUID, mitra_id: UUID) -> bool:
    """Return whether this customer has blocked this mitra."""
    return await queries.is_blocked_by(db, customer_id=customer_id, mitra_id=mitra_id, blocked_by="customer")


async def _pair(tx: Transaction, identity: Identity, session_id: UUID) -> Pair:
    pair = await queries.find_pair(tx, session_id=session_id, role=identity.role, user_id=identity.user_id)
    if pair is None:
        raise NotFound
    return pair
