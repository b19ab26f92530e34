"""Blocks the other side of a past session, with the consequences for a search (T.1). Never commits its transaction."""

from collections.abc import Sequence
from uuid import UUID

from curhat.journeys import queries
from curhat.kit.database import Transaction
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.safety.blocks import service as blocks
from curhat.safety.blocks.errors import SessionRunning


async def block(
    tx: Transaction,
    identity: Identity,
    session_id: UUID,
    candidates: Sequence[UUID] | None,
    *,
    is_leaving: bool = False,
) -> None:
    """Block the other side of this person's session, and close an open request between the two at once.

    With `is_leaving`, the caller ends this session later in the same transaction, so the session can still run (T.5).

    An accept, an offer or a confirmation that is under way wins or loses as a whole, because each holds the lock of the
    customer's payment or pairing. If an accept won, this function refuses, because the two have a running session.
    `candidates` are the mitras who can be asked, or None if presence was unknown just before the transaction.
    Raises NotFound, TooManyBlocks, SessionRunning. A repeated call changes nothing.
    """
    pair = await blocks.block(tx, identity, session_id)
    await pause_point("block.inserted")
    payment_id = await payments.lock_open(tx, pair.customer_id)
    if payment_id is not None:
        await pairing.close_blocked(tx, payment_id, pair.mitra_id, candidates)
    running_id = await queries.find_running_session_of_pair(
        tx, customer_id=pair.customer_id, mitra_id=pair.mitra_id
    )
    if running_id is not None and not (is_leaving and running_id == session_id):
        raise SessionRunning(session_id=running_id)
    await pause_point("block.before_commit")
