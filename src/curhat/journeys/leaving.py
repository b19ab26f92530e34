"""Leaving a chat in one press (T.5): the end, a report and a block in one transaction.

A person who leaves is perhaps afraid, so the end is never refused. If the report or the block is refused, the answer
says so, and the end takes effect.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal
from uuid import UUID

import msgspec

from curhat.journeys import blocking
from curhat.journeys.schemas import (
    LeaveByCustomer,
    LeaveByMitra,
    LeftMitraSession,
    LeftSession,
    NotStored,
)
from curhat.kit.database import Transaction
from curhat.kit.errors import BusinessError
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.safety.reports import service as reports
from curhat.safety.reports.errors import AlreadyReported
from curhat.safety.reports.schemas import NewReport
from curhat.sessions import service as sessions
from curhat.sessions.schemas import SessionViews
from curhat.sessions.states import LeaveReason


async def leave_as_customer(
    tx: Transaction, customer_id: UUID, session_id: UUID, leaving: LeaveByCustomer
) -> LeftSession:
    """End a session for its customer, and store the customer's report and block. A repeated call answers the same.

    If the session has ended, the report and the block are stored all the same. Raises NotFound.
    """
    customer = Identity("customer", customer_id)
    views, not_stored = await _leave(
        tx, customer, session_id, leaving.reason_code, leaving.report, with_block=leaving.block
    )
    return LeftSession(**_fields_of(views.for_customer), not_stored=not_stored)


async def leave_as_mitra(
    tx: Transaction, mitra_id: UUID, session_id: UUID, leaving: LeaveByMitra
) -> LeftMitraSession:
    """End a session for its mitra, and store the mitra's report and block. A repeated call answers the same.

    If the session has ended, the report and the block are stored all the same. Raises NotFound.
    """
    mitra = Identity("mitra", mitra_id)
    views, not_stored = await _leave(
        tx, mitra, session_id, leaving.reason_code or "not_given", leaving.report, with_block=leaving.block
    )
    return LeftMitraSession(**_fields_of(views.for_mitra), not_stored=not_stored)


async def _leave(
    tx: Transaction,
    member: Identity,
    session_id: UUID,
    leave_reason: LeaveReason | None,
    report: NewReport | None,
    *,
    with_block: bool,
) -> tuple[SessionViews, list[NotStored]]:
    await sessions.own_session(tx, member, session_id)
    not_stored: list[NotStored] = []
    # The lock order is: blocks, payment, session. A block locks the person's blocks. If the session has ended
    # before, the block also closes a card of a new search (T.1). A report locks the payment.
    if with_block:
        await _store(
            tx, "block", partial(blocking.block, tx, member, session_id, None, is_leaving=True), not_stored
        )
    if report is not None:
        await _store(tx, "report", partial(reports.report, tx, member, session_id, report), not_stored)
    await pause_point("leave.before_end")
    return await sessions.leave(tx, member, session_id, leave_reason), not_stored


async def _store(
    tx: Transaction,
    part: Literal["report", "block"],
    step: Callable[[], Awaitable[object]],
    not_stored: list[NotStored],
) -> None:
    """Store the report or the block. If it is refused, undo the step's writes, and note the refusal."""
    try:
        async with tx.savepoint():
            await step()
    except AlreadyReported:
        # A repeated leave, or a report from before: the report is stored.
        return
    except BusinessError as refusal:
        not_stored.append(NotStored(part, refusal.code))


def _fields_of(session: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(session, name) for name in session.__struct_fields__}
