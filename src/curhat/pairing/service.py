"""What may be done to a pairing and its requests. Every function takes an open transaction and never commits."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from curhat.configuration import service as configuration
from curhat.deadlines import service as deadlines
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point
from curhat.pairing.errors import AlreadyTaken, FallbackDecided, PairingDecided, RequestClosed
from curhat.pairing.metrics import OUTCOMES
from curhat.pairing.states import (
    LEAVES_THE_MITRA_OUT,
    OFFERS_A_FALLBACK,
    CloseReason,
    FailureTag,
    FallbackStatus,
    PairingKind,
    PairingStatus,
    close_reason_of,
    tag_when_time_is_up,
)
from curhat.pairing.views import payment_events
from curhat.payments import service as payments
from curhat.payments.queries import LockedPayment
from curhat.realtime import service as realtime

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# Deadline kinds of this room: the window of a blast, that of a targeted pairing, its mitra who went away meanwhile,
# and the time to answer whether another mitra will do.
PAIRING_WINDOW = "pairing_window"
TARGETED_WINDOW = "targeted_window"
TARGETED_LOST = "targeted_lost"
FALLBACK_ANSWER = "fallback_answer"


class Target(msgspec.Struct, frozen=True):
    """The mitra a payment was opened for, as presence saw things just before.

    `reachable`: whether the mitra may be asked (true while presence is unknown: the request waits for it);
    `other_available`: whether anybody else may be, should it fail at once.
    """

    mitra_id: UUID
    reachable: bool
    other_available: bool


class LockedPairing(msgspec.Struct, frozen=True):
    """A pairing row under its lock. `is_over`: its window had passed when the lock was taken; `answer_is_late`: so
    had the time to answer about the fallback (None: none was offered)."""

    id: UUID
    payment_id: UUID
    customer_id: UUID
    kind: PairingKind
    status: PairingStatus
    deadline_at: datetime
    is_over: bool
    session_id: UUID | None
    target_mitra_id: UUID | None
    failure_tag: FailureTag | None
    fallback_status: FallbackStatus | None
    fallback_answer_by: datetime | None
    answer_is_late: bool | None


class Failure(msgspec.Struct, frozen=True):
    """A pairing that fails, and with which tag. `target_mitra_id`: whom a targeted one asked."""

    pairing_id: UUID
    payment_id: UUID
    kind: PairingKind
    tag: FailureTag
    target_mitra_id: UUID | None = None


async def open_blast(
    tx: Transaction,
    payment_id: UUID,
    window_seconds: int,
    candidates: Sequence[UUID],
    left_out_mitra_id: UUID | None = None,
) -> UUID:
    """Begin the blast of a confirmed payment, asking those `candidates` who can take it (2b.2). The caller tells the
    customer.

    Nobody to ask is no failure: the window runs, since someone may become available.
    """
    row = await tx.fetchrow(
        SQL.open_blast,
        payment_id,
        float(window_seconds),
        list(candidates),
        current_correlation_id(),
        left_out_mitra_id,
    )
    assert row is not None  # The payment exists: the caller holds its lock.
    signal_requests(tx, row["asked"])
    pairing_id: UUID = row["id"]
    log.info("blast.opened", payment_id=str(payment_id), pairing_id=str(pairing_id), asked=len(row["asked"]))
    return pairing_id


async def open_targeted(tx: Transaction, payment_id: UUID, window_seconds: int, target: Target) -> UUID:
    """Ask the mitra whom a confirmed payment was opened for (3.2, 4.1); failed at once when offline or full (4.4).
    Either way the customer is told."""
    row = await tx.fetchrow(
        SQL.open_targeted,
        payment_id,
        float(window_seconds),
        target.mitra_id,
        current_correlation_id(),
        target.reachable,
    )
    assert row is not None  # The payment and its mitra exist: the caller holds the payment's lock.
    pairing_id: UUID = row["id"]
    log.info(
        "targeted.opened", payment_id=str(payment_id), pairing_id=str(pairing_id), asked=len(row["asked"])
    )
    if row["asked"]:
        signal_requests(tx, row["asked"])
        await realtime.append(tx, await payment_events(tx, payment_id))
    else:
        payment, pairing = await lock(tx, pairing_id)
        await fail(tx, payment, pairing, "targeted_mitra_offline", other_available=target.other_available)
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
    """offered → rejected. The pairing fails now when it is targeted (3.5), or when all who were asked have rejected
    and no other may be asked.

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
        if pairing.kind == "targeted":
            someone_else = anybody_else(others_who_may_be_asked, mitra_id, pairing.customer_id)
            await fail(tx, payment, pairing, "targeted_mitra_rejected", other_available=someone_else)
        else:
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
    asked, rejected = (await _count_answers(tx, [pairing.id])).get(pairing.id, (0, 0))
    if asked != rejected:
        return
    if await tx.fetchval(SQL.not_yet_asked, pairing.id, list(others)):
        return
    await fail(tx, payment, pairing, "all_mitras_rejected")


def anybody_else(candidates: Sequence[UUID] | None, *not_counted: UUID) -> bool:
    """Whether anybody is among the candidates but these. None: presence is unknown, and nobody can be promised."""
    return candidates is not None and any(candidate not in not_counted for candidate in candidates)


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


async def window_over(tx: Transaction, *pairing_ids: UUID) -> list[UUID]:
    """The windows of these blasts ended: open → failed, except what was decided, or is not over yet (2b.3).

    Returns which failed.
    """
    open_ones = await tx.fetch(SQL.lock_windows, pairing_ids)
    over = [row for row in open_ones if row["is_over"]]
    if over:
        # A statement of its own, so that it sees what was committed while the locks were waited for.
        answers = await _count_answers(tx, [row["id"] for row in over])
        await _fail(
            tx,
            [
                Failure(
                    pairing_id=row["id"],
                    payment_id=row["payment_id"],
                    kind=row["kind"],
                    tag=tag_when_time_is_up(*answers.get(row["id"], (0, 0))),
                )
                for row in over
            ],
        )
    for row in open_ones:
        if not row["is_over"]:
            # The clock stepped back since the deadline was claimed: it is still to come.
            await deadlines.arm(tx, PAIRING_WINDOW, row["id"], row["deadline_at"])
    return [row["id"] for row in over]


async def _count_answers(tx: Transaction, pairing_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """How many each of the pairings asked, and how many of them rejected; one that asked nobody is absent."""
    rows = await tx.fetch(SQL.count_answers, pairing_ids)
    return {row["pairing_id"]: (row["asked"], row["rejected"]) for row in rows}


async def targets_of(tx: Transaction, pairing_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, UUID]]:
    """By targeted pairing the mitra whom it asks, and the customer who wants it. No lock: neither ever changes."""
    rows = await tx.fetch(SQL.targets, pairing_ids)
    return {row["id"]: (row["target_mitra_id"], row["customer_id"]) for row in rows}


async def targeted_over(
    tx: Transaction, pairing_ids: Sequence[UUID], other_available: Collection[UUID]
) -> None:
    """The windows of targeted pairings ended (4.3), or their mitras went away in them (4.4): open → failed, except
    what was decided, or is not over yet.

    `other_available`: those of them whose customers could be asked whether another mitra will do (3.5).
    """
    open_ones = await tx.fetch(SQL.lock_windows, pairing_ids)
    # A statement of its own, so that it sees what was committed while the locks were waited for.
    withdrawn = await tx.fetch(SQL.withdrawn_from, [row["id"] for row in open_ones])
    lost = {row["pairing_id"] for row in withdrawn}
    failures = []
    for row in open_ones:
        if row["id"] in lost or row["is_over"]:
            failures.append(
                Failure(
                    pairing_id=row["id"],
                    payment_id=row["payment_id"],
                    kind=row["kind"],
                    tag="targeted_mitra_offline" if row["id"] in lost else "targeted_mitra_timeout",
                    target_mitra_id=row["target_mitra_id"],
                )
            )
        else:
            # The clock stepped back since the deadline was claimed: it is still to come.
            await deadlines.arm(tx, TARGETED_WINDOW, row["id"], row["deadline_at"])
    if failures:
        promised = [failure.payment_id for failure in failures if failure.pairing_id in other_available]
        await _fail(tx, failures, other_available=promised)


async def fail(
    tx: Transaction,
    payment: LockedPayment,
    pairing: LockedPairing,
    tag: FailureTag,
    *,
    other_available: bool = False,
) -> None:
    """open → failed: an event with the tag is written, and cards close (X.1).

    After a targeted failure the payment carries over: it stays confirmed while the customer may choose a blast under
    it (3.5). Any other failure ends the journey: unserved, and a case opens.
    """
    failure = Failure(
        pairing_id=pairing.id,
        payment_id=payment.id,
        kind=pairing.kind,
        tag=tag,
        target_mitra_id=pairing.target_mitra_id,
    )
    await _fail(tx, [failure], other_available=[payment.id] if other_available else [])


async def _fail(
    tx: Transaction, failures: Sequence[Failure], *, other_available: Collection[UUID] = ()
) -> None:
    """What `fail` does, for several whose locks the caller holds. `other_available`: the payments of those for which
    another mitra could be asked now."""
    for_good = [failure for failure in failures if failure.tag not in OFFERS_A_FALLBACK]
    if for_good:
        await tx.execute(SQL.fail, [each.pairing_id for each in for_good], [each.tag for each in for_good])
    with_fallback = [failure for failure in failures if failure.tag in OFFERS_A_FALLBACK]
    if with_fallback:
        await tx.execute(
            SQL.fail_with_fallback,
            [each.pairing_id for each in with_fallback],
            [each.tag for each in with_fallback],
            await configuration.payment_session_timeout_minutes(tx),
            current_correlation_id(),
        )
    pairing_ids = [failure.pairing_id for failure in failures]
    closed = await tx.fetch(
        SQL.close_requests, pairing_ids, [close_reason_of(failure.tag) for failure in failures]
    )
    payment_ids = [failure.payment_id for failure in failures]
    await tx.execute(
        SQL.log_failures,
        payment_ids,
        pairing_ids,
        [failure.tag for failure in failures],
        [failure.kind for failure in failures],
        [failure.target_mitra_id for failure in failures],
    )
    await deadlines.disarm_each(tx, (PAIRING_WINDOW, TARGETED_WINDOW), *pairing_ids)
    if for_good:
        await _end_unserved(tx, [failure.payment_id for failure in for_good])
    await realtime.append(tx, await payment_events(tx, *payment_ids, other_available=other_available))
    signal_requests(tx, [row["mitra_id"] for row in closed])
    for failure in failures:
        OUTCOMES.labels(failure.tag).inc()
        log.info(
            "pairing.failed",
            payment_id=str(failure.payment_id),
            pairing_id=str(failure.pairing_id),
            tag=failure.tag,
        )


async def _end_unserved(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """confirmed → unserved: the journeys are over, and their one case holds everything that failed in them."""
    await payments.close(tx, payment_ids, "unserved")
    await payments.open_cases(tx, payment_ids, "no_session")
    await tx.execute(SQL.point_at_cases, payment_ids)


async def log_expired_payments(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """Payments that expired unpaid are logged, without a case: nothing was taken (2a.4)."""
    await tx.execute(SQL.log_expired_payments, payment_ids)


async def withdraw(tx: Transaction, mitra_id: UUID, reason: CloseReason) -> None:
    """Close all open requests of a mitra (the toggle went off, a suspension, no place left). The caller holds the
    mitra's row.

    A targeted pairing fails at that moment (4.4): in a transaction of its own, since its payment's lock comes before
    the mitra's. Its card is closed already, so nobody can accept it meanwhile.
    """
    withdrawn = await tx.fetch(SQL.withdraw, mitra_id, reason)
    if withdrawn:
        signal_requests(tx, [mitra_id])
    for pairing in withdrawn:
        if pairing["kind"] == "targeted":
            await deadlines.arm_now(tx, TARGETED_LOST, pairing["id"])


# The fallback --------------------------------------------------------------------------------------------


async def lock_failed(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> LockedPairing:
    """The customer's own pairing, under its locks, whose fallback may still be taken or declined.

    Raises NotFound for another's, too, and FallbackDecided: taken, declined, its time is over, or never offered.
    """
    _, pairing = await lock(tx, pairing_id)
    if pairing.customer_id != customer_id:
        raise NotFound
    if pairing.fallback_status != "open" or pairing.answer_is_late:
        raise FallbackDecided(fallback_status=pairing.fallback_status)
    return pairing


async def take_fallback(
    tx: Transaction, pairing: LockedPairing, window_seconds: int, candidates: Sequence[UUID]
) -> UUID:
    """open → taken: a blast under the same payment (3.5), without the mitra who just let the customer down (3.9)."""
    await _decide_fallback(tx, pairing, "taken")
    left_out = pairing.target_mitra_id if pairing.failure_tag in LEAVES_THE_MITRA_OUT else None
    return await open_blast(tx, pairing.payment_id, window_seconds, candidates, left_out)


async def decline_fallback(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> None:
    """open → declined: the journey ends with the targeted tag, and the case opens (3.8). Repeated, nothing changes.

    Raises NotFound, FallbackDecided.
    """
    try:
        pairing = await lock_failed(tx, pairing_id, customer_id)
    except FallbackDecided as decided:
        if decided.fields["fallback_status"] == "declined":
            return
        raise
    await _decide_fallback(tx, pairing, "declined")
    await _end_unserved(tx, [pairing.payment_id])
    await realtime.append(tx, await payment_events(tx, pairing.payment_id))


async def fallback_unanswered(tx: Transaction, pairing_id: UUID) -> bool:
    """open → expired: no answer came in time; `payment_session_expired`, and the case opens (3.8)."""
    _, pairing = await lock(tx, pairing_id)
    if pairing.fallback_status != "open":
        return False
    assert pairing.fallback_answer_by is not None  # pairings_fallback_has_time
    if not pairing.answer_is_late:
        # The clock stepped back since the deadline was claimed: it is still to come.
        await deadlines.arm(tx, FALLBACK_ANSWER, pairing.id, pairing.fallback_answer_by)
        return False
    await _decide_fallback(tx, pairing, "expired")
    await log_expired_payments(tx, [pairing.payment_id])
    await _end_unserved(tx, [pairing.payment_id])
    await realtime.append(tx, await payment_events(tx, pairing.payment_id))
    return True


async def _decide_fallback(tx: Transaction, pairing: LockedPairing, status: FallbackStatus) -> None:
    await tx.execute(SQL.decide_fallback, pairing.id, status)
    await deadlines.disarm(tx, FALLBACK_ANSWER, pairing.id)
    log.info("fallback.decided", pairing_id=str(pairing.id), status=status)


# Signals -------------------------------------------------------------------------------------------------


def signal_requests(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Tell every server process that the open requests of these mitras may have changed."""
    if mitra_ids:
        tx.signal("requests", msgspec.json.encode(mitra_ids))
