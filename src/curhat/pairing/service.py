"""The steps of a pairing and its requests. Every function takes an open transaction and never commits it."""

from collections.abc import Collection, Sequence
from uuid import UUID

import msgspec
import structlog

from curhat.configuration import service as configuration
from curhat.deadlines import service as deadlines
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock
from curhat.pairing import queries
from curhat.pairing.errors import AlreadyTaken, FallbackDecided, PairingDecided, RequestClosed
from curhat.pairing.metrics import OUTCOMES
from curhat.pairing.queries import LockedPairing
from curhat.pairing.states import (
    LEAVES_THE_MITRA_OUT,
    OFFERS_A_FALLBACK,
    CloseReason,
    FailureTag,
    FallbackStatus,
    close_reason_of,
    tag_when_time_is_up,
)
from curhat.pairing.views import pairing_events, payment_events
from curhat.payments import service as payments
from curhat.realtime import service as realtime
from curhat.safety.blocks import service as blocks

log = structlog.get_logger(__name__)

# Deadline kinds. BLAST_WAVE fires when a blast asks its next wave. CLOSE_LOSERS fires after an accept that many mitras
# lost. TARGETED_LOST fires if the mitra of a targeted pairing went away. The other kinds fire when the time of a
# blast, a targeted pairing or a fallback is over.
BLAST_WAVE = "blast_wave"
CLOSE_LOSERS = "close_losers"
PAIRING_WINDOW = "pairing_window"
TARGETED_WINDOW = "targeted_window"
TARGETED_LOST = "targeted_lost"
FALLBACK_ANSWER = "fallback_answer"

# 2b.6: a blast asks at most MAX_WAVE_MITRAS at once, and the next ones after WAVE_INTERVAL_SECONDS.
MAX_WAVE_MITRAS = 500
WAVE_INTERVAL_SECONDS = 3.0
# How many pairs of blast and mitra one transaction compares in order to offer open blasts to newly available mitras.
# The transaction delays the accepts of its blasts by the time of one statement.
MAX_OFFERED_PAIRS = 500


class Target(msgspec.Struct, frozen=True):
    """The mitra whom the customer chose, and the answers of presence just before the transaction.

    `reachable` says whether the mitra can be asked. If presence is unknown, `reachable` is true, and the request waits
    for the mitra. `other_available` says whether another mitra can be asked. If the pairing fails immediately, the
    customer sees `other_available`.
    """

    mitra_id: UUID
    reachable: bool
    other_available: bool


class Failure(msgspec.Struct, frozen=True):
    """A pairing that fails, with its tag."""

    pairing_id: UUID
    payment_id: UUID
    tag: FailureTag


async def open_blast(
    tx: Transaction,
    payment_id: UUID,
    window_seconds: int,
    candidates: Sequence[UUID],
    left_out_mitra_id: UUID | None = None,
) -> UUID:
    """Begin the blast of a confirmed payment, and ask the candidates who can take a customer (2b.2).

    Returns the pairing's id. The caller holds the payment's lock and tells the customer. The window of the blast runs
    even if the blast asks nobody, because a mitra can become available. The blast asks at most MAX_WAVE_MITRAS now.
    `ask_waves` asks the others, and those who became available while this transaction was open.
    """
    opened = await queries.open_blast(
        tx,
        payment_id=payment_id,
        window_seconds=window_seconds,
        candidates=candidates,
        left_out_mitra_id=left_out_mitra_id,
        wave_size=MAX_WAVE_MITRAS,
        wave_interval_seconds=WAVE_INTERVAL_SECONDS,
        correlation_id=current_correlation_id(),
    )
    signal_requests(tx, opened.asked)
    log.info("blast.opened", payment_id=str(payment_id), pairing_id=str(opened.id), asked=len(opened.asked))
    return opened.id


async def open_targeted(tx: Transaction, payment_id: UUID, window_seconds: int, target: Target) -> UUID:
    """Ask the chosen mitra of a confirmed payment (3.2, 4.1), and tell the customer.

    Returns the pairing's id. If the mitra is offline or full, the pairing fails immediately (4.4). The caller holds
    the payment's lock.
    """
    opened = await queries.open_targeted(
        tx,
        payment_id=payment_id,
        window_seconds=window_seconds,
        mitra_id=target.mitra_id,
        is_reachable=target.reachable,
        correlation_id=current_correlation_id(),
    )
    log.info(
        "targeted.opened", payment_id=str(payment_id), pairing_id=str(opened.id), asked=len(opened.asked)
    )
    if opened.asked:
        signal_requests(tx, opened.asked)
        await realtime.append(tx, await payment_events(tx, payment_id))
    else:
        pairing = await lock(tx, opened.id)
        await fail(tx, pairing, "targeted_mitra_offline", other_available=target.other_available)
    return opened.id


async def filter_open_blasts(tx: Transaction, pairing_ids: Sequence[UUID]) -> list[UUID]:
    """Return which of these blasts can still ask mitras. Takes no lock."""
    return await queries.filter_open_blasts(tx, pairing_ids=pairing_ids)


async def ask_waves(tx: Transaction, pairing_ids: Sequence[UUID], candidates: Sequence[UUID] | None) -> None:
    """Ask the next wave of each of these open blasts, in this order (2b.6), and arm the deadline of the wave after it.

    `candidates` are the mitras who can be asked, according to presence just before this transaction locks anything. If
    `candidates` is None (unknown), try again after WAVE_INTERVAL_SECONDS.
    A blast whose waits_for_wave is false is offered to each mitra who becomes available (`offer_open_blasts`). A blast
    becomes such a blast when it opens, or in a wave. It has one more wave after that transaction, which asks the mitras
    who became available before that transaction's commit. So the blast misses nobody.
    """
    if candidates is None:
        await deadlines.arm_another(tx, BLAST_WAVE, pairing_ids, WAVE_INTERVAL_SECONDS)
        return
    again: list[UUID] = []
    first_asked: list[UUID] = []
    asked = 0
    for position, pairing_id in enumerate(pairing_ids):
        if asked >= MAX_WAVE_MITRAS:
            # The accepts of these blasts wait for this transaction. The other waves get a transaction of their own.
            await deadlines.arm_another(tx, BLAST_WAVE, pairing_ids[position:], 0)
            break
        wave = await queries.ask_wave(
            tx, pairing_id=pairing_id, candidates=candidates, wave_size=MAX_WAVE_MITRAS
        )
        if wave is None:
            continue
        if wave.has_more != wave.waited:
            await queries.set_waits_for_wave(tx, pairing_id=pairing_id, waits_for_wave=wave.has_more)
        if wave.has_more or wave.waited:
            again.append(pairing_id)
        if wave.asked and wave.asked_nobody_before:
            first_asked.append(pairing_id)
        signal_requests(tx, wave.asked)
        asked += len(wave.asked)
        log.info("blast.wave", pairing_id=str(pairing_id), asked=len(wave.asked), has_more=wave.has_more)
    if again:
        await deadlines.arm_another(tx, BLAST_WAVE, again, WAVE_INTERVAL_SECONDS)
    await _tell_customers(tx, first_asked)


async def _tell_customers(tx: Transaction, pairing_ids: Sequence[UUID]) -> None:
    """Tell the customers of these pairings that somebody is asked (2b.9).

    The lock on each pairing keeps this event before the event about the pairing's end.
    """
    await realtime.append(
        tx, [event for pairing_id in pairing_ids for event in await pairing_events(tx, pairing_id)]
    )


class Offers(msgspec.Struct, frozen=True):
    """The outcome of `offer_open_blasts`: how many requests were offered, and whether any blast must be tried again."""

    requests: int
    is_complete: bool


async def offer_open_blasts(database: Database, mitra_ids: Sequence[UUID]) -> Offers:
    """Offer every open blast to these mitras, who have just become available (2b.6).

    A mitra gets no request if the mitra cannot take a customer, or has an open or rejected request. A repeated call
    changes nothing. `is_complete` is false if another transaction was deciding a blast. That transaction possibly
    leaves the blast open, so the caller must repeat the call.
    """
    requests = 0
    is_complete = True
    for start in range(0, len(mitra_ids), MAX_OFFERED_PAIRS):
        batch = mitra_ids[start : start + MAX_OFFERED_PAIRS]
        blasts_per_transaction = MAX_OFFERED_PAIRS // len(batch)
        after_id = UUID(int=0)
        while blast_ids := await queries.list_open_blasts(database, after_id=after_id):
            after_id = blast_ids[-1]
            for first in range(0, len(blast_ids), blasts_per_transaction):
                async with database.transaction() as tx:
                    offered = await queries.offer_blasts(
                        tx,
                        pairing_ids=blast_ids[first : first + blasts_per_transaction],
                        mitra_ids=batch,
                    )
                    signal_requests(tx, list(set(offered.asked)))
                    await _tell_customers(tx, offered.first_asked)
                requests += len(offered.asked)
                is_complete &= offered.is_complete
    return Offers(requests, is_complete)


async def lock(tx: Transaction, pairing_id: UUID) -> LockedPairing:
    """Lock the payment, then the pairing. Raises NotFound."""
    payment_id = await queries.find_payment_of_pairing(tx, pairing_id=pairing_id)
    if payment_id is None:
        raise NotFound
    await payments.lock(tx, payment_id)
    return await queries.lock_pairing(tx, pairing_id=pairing_id)


async def reject(
    tx: Transaction, request_id: UUID, mitra_id: UUID, candidates: Sequence[UUID] | None
) -> None:
    """Reject a request (offered → rejected). If the request belongs to a targeted pairing, the pairing fails (3.5).

    If all asked mitras have rejected a blast, and the blast can ask none of the `candidates`, the blast fails (2b.4).
    `candidates` are the mitras who can be asked, according to presence just before the transaction. If `candidates` is
    None (unknown), the blast stays open until its window ends.
    A repeated call changes nothing. Raises NotFound, AlreadyTaken, RequestClosed.
    """
    pairing_id = await queries.find_pairing_of_request(tx, request_id=request_id, mitra_id=mitra_id)
    if pairing_id is None:
        raise NotFound
    pairing = await lock(tx, pairing_id)
    can_answer = pairing.status == "open" and not pairing.is_over
    if not can_answer or not await queries.reject_request(tx, request_id=request_id):
        await _refuse_unless_rejected(tx, request_id, pairing)
        return
    signal_requests(tx, [mitra_id])
    await pause_point("reject.before_tally")
    if pairing.kind == "targeted":
        other_available = await anybody_else(tx, candidates, pairing.customer_id, mitra_id)
        await fail(tx, pairing, "targeted_mitra_rejected", other_available=other_available)
    elif candidates is not None:
        (answers,) = await queries.count_answers(tx, pairing_ids=[pairing_id])
        if answers.asked == answers.rejected and not await queries.can_ask_another(
            tx, pairing_id=pairing_id, mitra_ids=candidates
        ):
            await fail(tx, pairing, "all_mitras_rejected")


async def _refuse_unless_rejected(tx: Transaction, request_id: UUID, pairing: LockedPairing) -> None:
    request = await queries.read_request_status(tx, request_id=request_id)
    if request.request_status == "rejected":
        return
    if pairing.status == "matched" and request.request_status != "accepted":
        raise AlreadyTaken
    raise RequestClosed(close_reason=request.close_reason)


async def can_ask_anybody(tx: Transaction, mitra_ids: Sequence[UUID], *left_out: UUID) -> bool:
    """Return whether a search can ask at least one of these mitras now, without the mitras in `left_out`."""
    return await queries.can_ask_anybody(tx, mitra_ids=mitra_ids, left_out_ids=left_out)


async def anybody_else(
    tx: Transaction, candidates: Sequence[UUID] | None, customer_id: UUID, mitra_id: UUID
) -> bool:
    """Return whether this customer can be offered another mitra than `mitra_id`.

    A mitra of a block with the customer does not count (T.1). If `candidates` is None (unknown), return False.
    """
    if candidates is None:
        return False
    not_counted = {customer_id, mitra_id, *await blocks.blocked_mitras(tx, customer_id)}
    return any(candidate not in not_counted for candidate in candidates)


async def cancel(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> None:
    """Cancel a pairing for its customer (open → failed with `customer_cancelled`).

    Raises NotFound. Raises PairingDecided if the pairing is matched, has failed, or its window is over.
    """
    pairing = await lock(tx, pairing_id)
    if pairing.customer_id != customer_id:
        raise NotFound
    if pairing.status != "open" or pairing.is_over:
        raise PairingDecided(pairing_status=pairing.status, session_id=pairing.session_id)
    await fail(tx, pairing, "customer_cancelled")


async def window_over(tx: Transaction, *pairing_ids: UUID) -> list[UUID]:
    """Fail the blasts whose windows ended (open → failed, 2b.3). Returns the pairings that failed.

    A decided blast does not change. If the window of a blast still runs, this function arms its deadline again.
    """
    open_pairings = await queries.lock_windows(tx, pairing_ids=pairing_ids)
    # If a window still runs, the clock was set back after the worker claimed the deadline.
    not_over = [(pairing.id, pairing.deadline_at, 1) for pairing in open_pairings if not pairing.is_over]
    await deadlines.arm_each(tx, PAIRING_WINDOW, not_over)
    over = [pairing for pairing in open_pairings if pairing.is_over]
    if over:
        # A separate statement sees the mitras' answers that were committed while lock_windows waited.
        counts = await queries.count_answers(tx, pairing_ids=[pairing.id for pairing in over])
        answers = {count.pairing_id: (count.asked, count.rejected) for count in counts}
        failures = [
            Failure(
                pairing.id,
                pairing.payment_id,
                tag_when_time_is_up(*answers.get(pairing.id, (0, 0)), waits_for_wave=pairing.waits_for_wave),
            )
            for pairing in over
        ]
        await _fail(tx, failures)
    return [pairing.id for pairing in over]


async def targets_of(tx: Transaction, pairing_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, UUID]]:
    """Return the mitra and the customer of each targeted pairing.

    Takes no lock, because the ids of a pairing never change.
    """
    targets = await queries.list_targets(tx, pairing_ids=pairing_ids)
    return {target.id: (target.target_mitra_id, target.customer_id) for target in targets}


async def targeted_over(
    tx: Transaction, pairing_ids: Sequence[UUID], other_available: Collection[UUID]
) -> None:
    """Fail targeted pairings whose windows ended (4.3) or whose mitras went away (4.4).

    `other_available` has the ids of the pairings whose customers can be offered another mitra (3.5). A decided
    pairing does not change. If the window of a pairing still runs, this function arms its deadline again.
    """
    open_pairings = await queries.lock_windows(tx, pairing_ids=pairing_ids)
    # A separate statement sees the withdrawals that were committed while lock_windows waited.
    withdrawn = await queries.list_withdrawn_targeted(
        tx, pairing_ids=[pairing.id for pairing in open_pairings]
    )
    failures = []
    for pairing in open_pairings:
        if pairing.id in withdrawn:
            failures.append(Failure(pairing.id, pairing.payment_id, "targeted_mitra_offline"))
        elif pairing.is_over:
            failures.append(Failure(pairing.id, pairing.payment_id, "targeted_mitra_timeout"))
        else:
            # The clock was set back after the worker claimed the deadline, so the window still runs. If the deadline
            # `targeted_lost` fired, another worker perhaps holds the window's deadline and waits for this pairing's
            # lock. So arm a new deadline that no worker can hold.
            left = pairing.deadline_at - await read_clock(tx)
            await deadlines.arm_another(tx, TARGETED_WINDOW, [pairing.id], left.total_seconds())
    if failures:
        promised = [failure.payment_id for failure in failures if failure.pairing_id in other_available]
        await _fail(tx, failures, promised)


async def close_blocked(
    tx: Transaction, payment_id: UUID, mitra_id: UUID, candidates: Sequence[UUID] | None
) -> None:
    """Stop asking this mitra for the payment's open search, because of a new block (T.1).

    The mitra's card closes as if the customer had cancelled. A blast never asks the mitra again. A targeted pairing of
    the two fails at once. The caller holds the payment's lock. `candidates` are the mitras who can be asked, or None if
    presence was unknown just before the transaction.
    """
    pairing_id = await queries.find_undecided_pairing(tx, payment_id=payment_id)
    if pairing_id is None:
        return
    pairing = await queries.lock_pairing(tx, pairing_id=pairing_id)
    if pairing.status != "open" or (pairing.kind == "targeted" and pairing.target_mitra_id != mitra_id):
        return
    await queries.leave_out_blocked(tx, pairing_id=pairing_id, mitra_id=mitra_id)
    await pause_point("block.before_closing")
    # A separate statement sees the request of an offer that was committed while lock_pairing waited.
    if await queries.close_blocked_request(tx, pairing_id=pairing_id, mitra_id=mitra_id):
        signal_requests(tx, [mitra_id])
    if pairing.kind == "targeted":
        tag: FailureTag = "targeted_mitra_timeout" if pairing.is_over else "targeted_mitra_offline"
        other_available = await anybody_else(tx, candidates, pairing.customer_id, mitra_id)
        await fail(tx, pairing, tag, other_available=other_available)


async def close_losers(tx: Transaction, *pairing_ids: UUID) -> None:
    """Close the requests of the mitras who lost these pairings (offered → closed).

    The pairings are matched, so they get no further requests. The winners' transactions have told the mitras.
    """
    await queries.close_requests(
        tx, pairing_ids=pairing_ids, close_reasons=["already_taken"] * len(pairing_ids)
    )


async def fail(
    tx: Transaction, pairing: LockedPairing, tag: FailureTag, *, other_available: bool = False
) -> None:
    """Fail a pairing: write an event with the tag, close the requests, and tell the customer (X.1).

    After a targeted failure, the payment stays confirmed while the customer can take the fallback (3.5). After a
    failure that offers no fallback, the payment is unserved, and a case opens.
    """
    failure = Failure(pairing.id, pairing.payment_id, tag)
    await _fail(tx, [failure], [pairing.payment_id] if other_available else [])


async def _fail(tx: Transaction, failures: Sequence[Failure], other_available: Collection[UUID] = ()) -> None:
    """Fail several pairings, each as described in `fail`.

    Either all tags allow a fallback, or no tag allows a fallback. The caller holds the locks of the payments and the
    pairings. `other_available` has the ids of the payments for which another mitra can be asked now.
    """
    pairing_ids = [failure.pairing_id for failure in failures]
    payment_ids = [failure.payment_id for failure in failures]
    failure_tags = [failure.tag for failure in failures]
    offers_fallback = failures[0].tag in OFFERS_A_FALLBACK
    if offers_fallback:
        await queries.fail_pairings_with_fallback(
            tx,
            pairing_ids=pairing_ids,
            failure_tags=failure_tags,
            answer_minutes=await configuration.payment_session_timeout_minutes(tx),
            correlation_id=current_correlation_id(),
        )
    else:
        await queries.fail_pairings(tx, pairing_ids=pairing_ids, failure_tags=failure_tags)
    closed_for = await queries.close_requests(
        tx, pairing_ids=pairing_ids, close_reasons=[close_reason_of(tag) for tag in failure_tags]
    )
    await queries.log_failed_pairings(tx, pairing_ids=pairing_ids)
    await deadlines.disarm_each(tx, (PAIRING_WINDOW, BLAST_WAVE, TARGETED_WINDOW), *pairing_ids)
    if not offers_fallback:
        await _end_unserved(tx, payment_ids)
    await realtime.append(tx, await payment_events(tx, *payment_ids, other_available=other_available))
    signal_requests(tx, closed_for)
    for failure in failures:
        OUTCOMES.labels(failure.tag).inc()
        log.info(
            "pairing.failed",
            payment_id=str(failure.payment_id),
            pairing_id=str(failure.pairing_id),
            tag=failure.tag,
        )


async def _end_unserved(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """End the journeys of these payments (confirmed → unserved).

    All failed-pairing events of a journey refer to the same case.
    """
    await payments.close(tx, payment_ids, "unserved")
    await payments.open_cases(tx, payment_ids, "no_session")
    await queries.link_events_to_cases(tx, payment_ids=payment_ids)


async def log_expired_payments(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """Write a failed-pairing event with the tag `payment_session_expired` for each payment. Opens no case (2a.4)."""
    await queries.log_expired_payments(tx, payment_ids=payment_ids)


async def withdraw(tx: Transaction, mitra_id: UUID, reason: CloseReason) -> None:
    """Close all open requests of a mitra who went offline, was suspended or is full.

    The caller holds the lock of the mitra's row, but a payment must be locked before a mitra. So a targeted pairing
    fails later, in another transaction (4.4). Meanwhile nobody can accept the pairing, because its request is closed.
    """
    withdrawn = await queries.withdraw_requests(tx, mitra_id=mitra_id, close_reason=reason)
    # Signal even without a withdrawn request. A blast that was committed meanwhile has perhaps asked the mitra. The
    # card must then close, because the mitra can no longer take a customer.
    signal_requests(tx, [mitra_id])
    for pairing in withdrawn:
        if pairing.kind == "targeted":
            await deadlines.arm_now(tx, TARGETED_LOST, pairing.id)


# The fallback --------------------------------------------------------------------------------------------


async def lock_failed(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> LockedPairing:
    """Lock the customer's own pairing, for a fallback that the customer can still take or decline.

    Raises NotFound if the pairing does not exist or belongs to another customer. Raises FallbackDecided if the fallback
    was taken, declined or never offered, or if the time to answer is over.
    """
    pairing = await lock(tx, pairing_id)
    if pairing.customer_id != customer_id:
        raise NotFound
    if pairing.fallback_status != "open" or pairing.answer_is_late:
        raise FallbackDecided(fallback_status=pairing.fallback_status)
    return pairing


async def take_fallback(
    tx: Transaction, pairing: LockedPairing, window_seconds: int, candidates: Sequence[UUID]
) -> UUID:
    """Take the fallback (open → taken). Begins a blast under the same payment (3.5) and returns the blast's id.

    If the chosen mitra rejected the request or did not answer, the blast does not ask this mitra (3.9).
    """
    await _decide_fallback(tx, pairing, "taken")
    left_out = pairing.target_mitra_id if pairing.failure_tag in LEAVES_THE_MITRA_OUT else None
    return await open_blast(tx, pairing.payment_id, window_seconds, candidates, left_out)


async def decline_fallback(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> None:
    """Decline the fallback (open → declined).

    The journey ends with the targeted pairing's tag, and the case opens (3.8).

    A repeated call changes nothing. Raises NotFound, FallbackDecided.
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


async def fallback_unanswered(tx: Transaction, pairing_id: UUID) -> None:
    """If the customer did not answer in time, expire the fallback (open → expired).

    The event has the tag `payment_session_expired`, and the case opens (3.8).
    """
    pairing = await lock(tx, pairing_id)
    if pairing.fallback_status != "open":
        return
    if not pairing.answer_is_late:
        # The clock was set back after the worker claimed the deadline, so the customer still has time.
        assert pairing.fallback_answer_by is not None  # pairings_fallback_has_time
        await deadlines.arm(tx, FALLBACK_ANSWER, pairing.id, pairing.fallback_answer_by)
        return
    await _decide_fallback(tx, pairing, "expired")
    await log_expired_payments(tx, [pairing.payment_id])
    await _end_unserved(tx, [pairing.payment_id])
    await realtime.append(tx, await payment_events(tx, pairing.payment_id))


async def end_search_of_refunded(tx: Transaction, payment_id: UUID) -> None:
    """End the search of a payment whose charge the gateway has given back (confirmed → unserved).

    This happens only after a restore that lost the end of the search. The tag says what is true now: the time is over,
    or the search was cancelled in time. An open fallback is declined, or expired if its time is over. Changes nothing
    if the payment has no open search and no open fallback.
    """
    pairing_id = await queries.find_undecided_pairing(tx, payment_id=payment_id)
    if pairing_id is None:
        return
    pairing = await lock(tx, pairing_id)
    if pairing.status == "open":
        if not pairing.is_over:
            await fail(tx, pairing, "customer_cancelled")
        elif pairing.kind == "blast":
            await window_over(tx, pairing_id)
        else:
            await fail(tx, pairing, "targeted_mitra_timeout")
        pairing = await lock(tx, pairing_id)
    if pairing.fallback_status != "open":
        return
    if pairing.answer_is_late:
        await fallback_unanswered(tx, pairing_id)
    else:
        await decline_fallback(tx, pairing_id, pairing.customer_id)


async def _decide_fallback(tx: Transaction, pairing: LockedPairing, status: FallbackStatus) -> None:
    await queries.decide_fallback(tx, pairing_id=pairing.id, fallback_status=status)
    await deadlines.disarm(tx, FALLBACK_ANSWER, pairing.id)
    log.info("fallback.decided", pairing_id=str(pairing.id), status=status)


def signal_requests(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Tell every server process that the open requests of these mitras have perhaps changed."""
    if mitra_ids:
        tx.signal("requests", msgspec.json.encode(mitra_ids))
