"""Suspends customers and mitras until a time or for good, and lifts suspensions (T.3).

The functions of this module never commit their transaction.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from curhat.accounts import service as accounts
from curhat.deadlines import service as deadlines
from curhat.journeys import mitras
from curhat.kit.database import Transaction
from curhat.kit.identity import Identity
from curhat.kit.queries import read_clock

# Deadline kind: the suspension of this mitra is perhaps over.
SUSPENSION_OVER: Final = accounts.SUSPENSION_OVER


async def suspend(
    tx: Transaction, who: Identity, *, until: datetime | None, by: str, reason: str | None
) -> bool:
    """Suspend a person until `until`, or for good. A suspension in force never becomes shorter.

    A customer's running session goes on. A mitra's requests are withdrawn, and the running sessions end
    (mitras.suspend_mitra). A deadline lifts the mitra's suspension. Returns False if a customer was suspended for
    longer already. Raises NotFound.
    """
    if who.role == "customer":
        return await accounts.suspend_customer(tx, who.user_id, until=until, by=by, reason=reason)
    await mitras.suspend_mitra(tx, who.user_id, by=by, reason=reason, until=until)
    if until is not None:
        wait_seconds = (until - await read_clock(tx)).total_seconds()
        await deadlines.arm_another(tx, SUSPENSION_OVER, [who.user_id], wait_seconds)
    return True


async def lift(tx: Transaction, who: Identity, *, by: str) -> bool:
    """End a person's suspension. Returns False if the person was not suspended. Raises NotFound."""
    if who.role == "customer":
        return await accounts.lift_customer_suspension(tx, who.user_id, by=by)
    return await accounts.lift_suspension(tx, who.user_id, by=by)


async def suspension_over(tx: Transaction, mitra_id: UUID) -> None:
    """Lift the mitra's suspension if its end has passed. The deadline `suspension_over` calls this function."""
    await accounts.lift_suspension_that_is_over(tx, mitra_id)
