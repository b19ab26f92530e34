"""Erases what safety holds of a deleted account, and writes inherited blocks. Functions never commit a transaction."""

from collections.abc import Sequence
from uuid import UUID

from curhat.kit.database import Transaction
from curhat.kit.identity import Identity, Role
from curhat.safety.erasure import queries


async def blockers_of(tx: Transaction, identity: Identity) -> list[UUID]:
    """Return the people of the other role who have blocked this account (P.4)."""
    return await queries.list_blockers(tx, role=identity.role, user_id=identity.user_id)


async def inherit_blocks(
    tx: Transaction, identity: Identity, blocked_by: Sequence[UUID], same_phone: UUID | None
) -> None:
    """Block a new account for those who blocked an earlier account of its phone number, and for its own other role.

    `same_phone` is the person of the other role with the same number. Nobody is paired with themself (2b.8).
    """
    others = [*blocked_by] if same_phone is None else [*blocked_by, same_phone]
    await queries.insert_inherited_blocks(tx, role=identity.role, user_id=identity.user_id, other_ids=others)


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the blocks, ratings and notices of a deleted account, and the texts of its reports and appeals.

    Leaves the texts of reports that still hold their chat. Returns False: the caller need not call again.
    """
    await queries.delete_blocks_by(tx, role=role, user_id=user_id)
    if role == "customer":
        await queries.delete_ratings_by(tx, customer_id=user_id)
    await queries.delete_notices_of(tx, user_id=user_id, role=role)
    await queries.forget_notes(tx, role=role, user_id=user_id)
    await queries.forget_appeals(tx, role=role, user_id=user_id)
    return False


async def texts_left_of(tx: Transaction, role: Role, user_id: UUID) -> int:
    """Return how many reports and appeals of a deleted account still have a text."""
    return await queries.count_texts_left(tx, role=role, user_id=user_id)
