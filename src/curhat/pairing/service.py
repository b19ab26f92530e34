"""What may be done to a pairing and its requests. Every function takes an open transaction and never commits."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from curhat.deadlines import service as deadlines
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.kit.logging import current_request_id
from curhat.kit.pause_points import pause_point
from curhat.pairing.errors import AlreadyTaken, PairingDecided, RequestClosed
from curhat.pairing.metrics import OUTCOMES
from curhat.pairing.states import (
    CloseReason,
    FailureTag,
    PairingKind,
    PairingStatus,
    close_reason_of,
    tag_when_time_is_up,
)
from curhat.pairing.views import payment_events
from curhat.payments import service as payments
from curhat.payments.service import LockedPayment
from curhat.realtime import service as realtime

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

PAIRING_WINDOW = "pairing_window"


class LockedPairing(msgspec.Struct, frozen=True):
    """A pairing row under its lock. `is_over`: its window had passed when the lock was taken."""

    id: UUID
    payment_id: UUID
    customer_id: UUID
    kind: PairingKind
    status: PairingStatus
    deadline_at: datetime
    is_over: bool
    session_id: UUID | None


async def open_blast(
    tx: Transaction, payment_id: UUID, window_seconds: int, candidates: Sequence[UUID]
) -> UUID:
    """Begin the blast of a confirmed payment, asking those `candidates` who can take it (2b.2).

    Nobody to ask is no failure: the window runs, since someone may become available.
    """
    row = await tx.fetchrow(
        SQL.open_blast, payment_id, float(window_seconds), list(candidates), current_request_id()
    )
    assert row is not None  # The payment exists: the caller holds its lock.
    signal_requests(tx, row["asked"])
    pairing_id: UUID = row["id"]
    log.info("blast.opened", payment_id=str(payment_id), pairing_id=str(pairing_id), asked=len(row["asked"]))
    return pairing_id


async def offer_open_blasts(database: Database, mitra_ids: Sequence[UUID]) -> int:
    """Offer every open blast to those of `mitra_ids` who may be asked, and have not been (2b). Idempotent.

    Called when mitras become available, and again every few seconds. Each pairing is a transaction of its own, so
    that a decision never waits for more than one insert. Returns how many requests were offered.
    """
    if not mitra_ids:
        return 0
    offered = 0
    for row in await database.fetch(SQL.blasts_to_offer, list(mitra_ids)):
        async with database.transaction() as tx:
            if await tx.fetchval(SQL.share_open_pairing, row["id"]) is None:
                continue
            rows = await tx.fetch(SQL.offer, row["id"], list(mitra_ids))
            signal_requests(tx, [offer["mitra_id"] for offer in rows])
            offered += len(rows)
    return offered


async def lock(tx: Transaction, pairing_id: UUID) -> tuple[LockedPayment, LockedPairing]:
    """Take the payment's lock, then the pairing's. Raises NotFound."""
    payment_id = await tx.fetchval(SQL.payment_of_pairing, pairing_id)
    if payment_id is None:
        raise NotFound
    payment = await payments.lock(tx, payment_id)
    row = await tx.fetchrow(SQL.lock, pairing_id)
    assert row is not None  # Pairings are never deleted.
    return payment, LockedPairing(**{field: row[field] for field in LockedPairing.__struct_fields__})


async def reject(
    tx: Transaction, request_id: UUID, mitra_id: UUID, others_who_may_be_asked: Sequence[UUID] | None
) -> None:
    """offered → rejected; when all who were asked have rejected and no other may be asked, the pairing fails now.

    `others_who_may_be_asked` is what presence knew just before; None: unknown, so the window runs on (2b.4).
    Repeated, nothing changes. Raises NotFound, AlreadyTaken, RequestClosed.
    """
    row = await tx.fetchrow(SQL.payment_of_request, request_id, mitra_id)
    if row is None:
        raise NotFound
    payment, pairing = await lock(tx, row["pairing_id"])
    can_answer = pairing.status == "open" and not pairing.is_over
    if can_answer and await tx.fetchval(SQL.reject, request_id) is not None:
        signal_requests(tx, [mitra_id])
        await pause_point("reject.before_tally")
        await _fail_if_all_rejected(tx, payment, pairing, others_who_may_be_asked)
        return
    await _refuse_unless_rejected(tx, request_id, pairing)


async def _refuse_unless_rejected(tx: Transaction, request_id: UUID, pairing: LockedPairing) -> None:
    request = await tx.fetchrow(SQL.request_status, request_id)
    assert request is not None
    if request["status"] == "rejected":
        return
    if pairing.status == "matched" and request["status"] != "accepted":
        raise AlreadyTaken
    raise RequestClosed(close_reason=request["close_reason"])


async def _fail_if_all_rejected(
    tx: Transaction, payment: LockedPayment, pairing: LockedPairing, others: Sequence[UUID] | None
) -> None:
    if others is None:
        return
    answers = await tx.fetchrow(SQL.count_answers, pairing.id)
    assert answers is not None
    if answers["asked"] != answers["rejected"]:
        return
    if await tx.fetchval(SQL.not_yet_asked, pairing.id, list(others)):
        return
    await fail(tx, payment, pairing, "all_mitras_rejected")


async def cancel(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> None:
    """open → failed with `customer_cancelled`.

    Raises NotFound, PairingDecided (matched, failed already, or its window is over).
    """
    payment, pairing = await lock(tx, pairing_id)
    if pairing.customer_id != customer_id:
        raise NotFound
    if pairing.status != "open" or pairing.is_over:
        raise PairingDecided(pairing_status=pairing.status, session_id=pairing.session_id)
    await fail(tx, payment, pairing, "customer_cancelled")


async def window_over(tx: Transaction, pairing_id: UUID) -> bool:
    """The window of a pairing ended: open → failed, unless it was decided, or it is not over yet (2b.3)."""
    payment, pairing = await lock(tx, pairing_id)
    if pairing.status != "open":
        return False
    if not pairing.is_over:
        # The clock stepped back since the deadline was claimed: it is still to come.
        await deadlines.arm(tx, PAIRING_WINDOW, pairing.id, pairing.deadline_at)
        return False
    answers = await tx.fetchrow(SQL.count_answers, pairing.id)
    assert answers is not None
    await fail(tx, payment, pairing, tag_when_time_is_up(answers["asked"], answers["rejected"]))
    return True


async def fail(tx: Transaction, payment: LockedPayment, pairing: LockedPairing, tag: FailureTag) -> None:
    """open → failed: the payment stays, unserved; an event with the tag and a case are written; cards close (X.1)."""
    await tx.execute(SQL.fail, pairing.id, tag)
    closed = await tx.fetch(SQL.close_requests, pairing.id, close_reason_of(tag))
    await payments.close(tx, payment.id, "unserved")
    case_id = await payments.open_case(tx, payment.id, "no_session")
    await tx.execute(SQL.log_failure, payment.id, pairing.id, tag, pairing.kind, case_id)
    await deadlines.disarm(tx, PAIRING_WINDOW, pairing.id)
    await realtime.append(tx, await payment_events(tx, payment.id))
    signal_requests(tx, [row["mitra_id"] for row in closed])
    OUTCOMES.labels(tag).inc()
    log.info("pairing.failed", payment_id=str(payment.id), pairing_id=str(pairing.id), tag=tag)


async def log_expired_payment(tx: Transaction, payment_id: UUID) -> None:
    """A payment that expired unpaid is logged, without a case: nothing was taken (2a.4)."""
    await tx.execute(SQL.log_failure, payment_id, None, "payment_session_expired", None, None)


async def withdraw(tx: Transaction, mitra_id: UUID, reason: CloseReason) -> None:
    """Close all open requests of a mitra (the toggle went off, or a suspension). The caller holds the mitra's row."""
    if await tx.fetch(SQL.withdraw, mitra_id, reason):
        signal_requests(tx, [mitra_id])


def signal_requests(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Tell every server process that the open requests of these mitras may have changed."""
    if mitra_ids:
        tx.signal("requests", msgspec.json.encode(mitra_ids))
