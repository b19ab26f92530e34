"""Changes a mitra's toggle, name, capacity or suspension, with the consequences for journeys.

The functions of this module never commit their transaction. Each function holds the lock of the mitra's row, but
sessions and payments come before mitras in the lock order. So if a session or a payment must change, the function arms
a deadline that is due now. A worker then makes the change in a transaction of its own.
"""

from datetime import datetime
from uuid import UUID

from curhat.accounts import service as accounts
from curhat.deadlines import service as deadlines
from curhat.journeys import queries
from curhat.journeys.renaming import PAYMENT_RENAMED, SESSION_RENAMED
from curhat.kit.database import Transaction
from curhat.kit.identity import Identity
from curhat.pairing import service as pairing
from curhat.safety.reports import service as reports
from curhat.sessions import extension

# Deadline kind: the mitra of this session was suspended, so the session ends.
SUSPENSION_END = "suspension_end"


async def intent_changed(tx: Transaction, mitra_id: UUID, online: bool) -> None:
    """If the mitra went offline, withdraw the mitra's requests.

    The mitra's targeted pairings then fail (4.4), and the mitra's pending extensions are rejected (5.6). If the mitra
    went online, offer nothing, because the package `presence` then calls `pairing.service.offer_open_blasts`.
    A mitra with a warning must first acknowledge it, and cannot go online: raises AcknowledgementNeeded (T.4).
    """
    if online:
        await reports.refuse_unacknowledged(tx, Identity("mitra", mitra_id))
    else:
        await pairing.withdraw(tx, mitra_id, "went_offline")
        await extension.toggle_went_off(tx, mitra_id)


async def rename_mitra(tx: Transaction, mitra_id: UUID, display_name: str, *, by: str) -> None:
    """Change the display name, and tell the customers who see the name now. Raises ValidationFailed, NotFound."""
    await accounts.rename_mitra(tx, mitra_id, display_name, by=by)
    for session_id in await queries.list_running_sessions_of_mitra(tx, mitra_id=mitra_id):
        await deadlines.arm_now(tx, SESSION_RENAMED, session_id)
    for payment_id in await queries.list_open_payments_for_mitra(tx, mitra_id=mitra_id):
        await deadlines.arm_now(tx, PAYMENT_RENAMED, payment_id)


async def change_capacity(tx: Transaction, mitra_id: UUID, max_customers: int, *, by: str) -> None:
    """Change how many customers the mitra takes at the same time. Raises NotFound, ValidationFailed.

    If the mitra is now at capacity, withdraw the open requests. Running sessions continue.
    """
    is_full = await accounts.change_capacity(tx, mitra_id, max_customers, by=by)
    if is_full:
        await pairing.withdraw(tx, mitra_id, "at_capacity")


async def suspend_mitra(
    tx: Transaction,
    mitra_id: UUID,
    *,
    by: str = "command line",
    reason: str | None = None,
    until: datetime | None = None,
) -> None:
    """Suspend a mitra: close the sockets, withdraw the requests, end the running sessions.

    A repeated call can only move the end of the suspension to a later `until`. The caller arms the deadline of `until`
    (suspensions.suspend).
    """
    if not await accounts.suspend_mitra(tx, mitra_id, by=by, reason=reason, until=until):
        return
    await pairing.withdraw(tx, mitra_id, "suspended")
    await extension.toggle_went_off(tx, mitra_id)
    for session_id in await queries.list_running_sessions_of_mitra(tx, mitra_id=mitra_id):
        await deadlines.arm_now(tx, SUSPENSION_END, session_id)
