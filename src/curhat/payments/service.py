"""The steps of a payment. Every function takes an open transaction and never commits it."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec
import structlog

from curhat.deadlines import service as deadlines
from curhat.kit.audit import AuditAction, has_audit_entry, write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, too_many_until
from curhat.kit.queries import read_clock
from curhat.payments import queries
from curhat.payments.errors import (
    CaseOpen,
    JourneyInProgress,
    NothingToRefund,
    PaymentClosed,
    PaymentConfirmed,
    PaymentConfirming,
    PaymentExpired,
    RefundInTheWay,
)
from curhat.payments.gateway import ANSWER_TIMEOUT_SECONDS, ChargeAnswer, RefundAnswer
from curhat.payments.metrics import CHARGED_RUPIAH, CHARGES, GATEWAY_ALERTS, REFUNDED_RUPIAH, REFUNDS
from curhat.payments.queries import LockedAttempt, LockedPayment, Refund, UndeliveredCharge
from curhat.payments.states import CaseReason, PaymentStatus, RefundReason
from curhat.pricing.schemas import Offer, Purpose

log = structlog.get_logger(__name__)

# Deadline kinds of this package.
PAYMENT_EXPIRY = "payment_expiry"
CHARGE_ANSWER = "charge_answer"
REFUND_ANSWER = "refund_answer"

# The gateway's status for an unknown key. We also store NOT_FOUND as the attempt's reason.
NOT_FOUND = "not_found"

# The reason of a refund that we took back, because the gateway had carried out an earlier refund of the same charge.
SUPERSEDED = "an earlier refund of this charge was carried out"

# The time from the start of an attempt to the first query about the attempt. The call ends within FIRST_ASK_SECONDS, so
# the query cannot reach the gateway before the call.
FIRST_ASK_SECONDS = ANSWER_TIMEOUT_SECONDS + 1
# If the gateway does not know a charge, the call was perhaps delayed and can still arrive. We query the gateway for
# MAX_STRAY_CHARGE_AGE_SECONDS, so that we find and refund money that was taken without our knowledge.
MAX_STRAY_CHARGE_AGE_SECONDS = 24 * 3600
MIN_STRAY_CHARGE_WAIT_SECONDS = 60
# The longest wait between two queries about a charge that a customer waits for.
MAX_ASK_WAIT_SECONDS = 30
# When nobody waits for the answer any more, the worker waits for LATE_ASK_WAIT_SHARE of the attempt's age, but for at
# most an hour. So an answer that never comes costs few queries.
LATE_ASK_WAIT_SHARE = 0.1
MAX_LATE_ASK_WAIT_SECONDS = 3600


class OpeningLimit(NamedTuple):
    """The number of payments that a customer can open in each window of `window_seconds`."""

    max_payments: int
    window_seconds: int


# The limits per customer (X.13). The limits are high for a person and low for a script.
OPENING_LIMITS: Final[dict[Purpose, OpeningLimit]] = {
    "session": OpeningLimit(10, 600),
    "extension": OpeningLimit(30, 3600),
}
MAX_CONFIRMATIONS = 20
CONFIRMATIONS_WINDOW_SECONDS = 3600
# Only the newest payments of a customer can have a confirmation within the window. The newest payments are at most 60
# payments that were opened within the window, and one payment that was opened before the window.
MAX_CONFIRMED_PAYMENTS = 61


class Charge(msgspec.Struct, frozen=True):
    """A recorded charge attempt. The caller must send this charge to the gateway, outside any transaction.

    `key` identifies the attempt permanently. The call must begin and end before `until`, even if this process was
    suspended. `until` is in seconds of this machine's monotonic clock. Soon after `until`, the worker queries the
    gateway. The gateway can answer that it does not know the key.
    """

    key: UUID
    payment_id: UUID
    amount_rp: int
    until: float
    customer_id: UUID


class ChargeOutcome(msgspec.Struct, frozen=True):
    """The effect of the gateway's answer on the payment. `payment` is the payment as it was before the answer.

    The values of `step` are:
        `confirmed`: The charge was approved in time.
        `declined`: The charge was declined, and the payment is pending again.
        `expired`: The charge was declined after the payment's `expires_at`.
        `abandoned`: The charge of an extension was declined.
        `refunding`: The charge was approved too late.
        `given_up`: The charge was approved too late, and this call expired the payment.
        `nothing`: The answer was already recorded, or is not final.
    """

    payment: LockedPayment
    step: Literal["confirmed", "declined", "expired", "abandoned", "refunding", "given_up", "nothing"]


async def open_payment(
    tx: Transaction,
    customer_id: UUID,
    offer: Offer,
    timeout_minutes: int,
    target_mitra_id: UUID | None = None,
) -> UUID:
    """Open a payment (nothing → pending), and arm its expiry (2a.5). Raises JourneyInProgress, TooManyRequests."""
    # Refuse a script before it writes a row.
    wait_seconds = await _opening_wait(tx, customer_id, "session")
    if wait_seconds > 0:
        open_payment_id = await queries.find_open_payment(tx, customer_id=customer_id)
        if open_payment_id is not None:
            raise JourneyInProgress(payment_id=open_payment_id)
        raise too_many_until(wait_seconds)
    opened = await queries.open_payment(
        tx,
        customer_id=customer_id,
        offer_id=offer.id,
        duration_minutes=offer.duration_minutes,
        amount_rp=offer.price_rp,
        is_trial=offer.is_trial,
        target_mitra_id=target_mitra_id,
        timeout_minutes=timeout_minutes,
    )
    if opened is None:
        raise JourneyInProgress(payment_id=await queries.find_open_payment(tx, customer_id=customer_id))
    # Count again, with the new payment. This count is exact. While this payment is open, no other transaction opens a
    # payment of this customer, and every earlier opening is committed.
    wait_seconds = await _opening_wait(tx, customer_id, "session", counted=1)
    if wait_seconds > 0:
        raise too_many_until(wait_seconds)
    await deadlines.arm(tx, PAYMENT_EXPIRY, opened.id, opened.expires_at)
    return opened.id


async def open_extension_payment(
    tx: Transaction, customer_id: UUID, offer: Offer, expires_at: datetime
) -> UUID:
    """Open the payment of an extension (nothing → pending). The extension decides when its payment ends (5.7).

    The caller holds the lock of the customer's running session, so the count of the customer's extensions is exact.
    Raises TooManyRequests.
    """
    wait_seconds = await _opening_wait(tx, customer_id, "extension")
    if wait_seconds > 0:
        raise too_many_until(wait_seconds)
    return await queries.open_extension_payment(
        tx,
        customer_id=customer_id,
        offer_id=offer.id,
        duration_minutes=offer.duration_minutes,
        amount_rp=offer.price_rp,
        expires_at=expires_at,
    )


async def _opening_wait(tx: Transaction, customer_id: UUID, purpose: Purpose, *, counted: int = 0) -> float:
    """Return the seconds until the customer can open another payment.

    The result is 0 or less if the customer can open another payment now.

    `counted` is the number of new payments that this transaction has opened already.
    """
    limit = OPENING_LIMITS[purpose]
    wait_seconds = await queries.find_opening_wait(
        tx,
        customer_id=customer_id,
        purpose=purpose,
        max_payments=limit.max_payments + counted,
        window_seconds=limit.window_seconds,
    )
    return wait_seconds or 0.0


def _charge(key: UUID, payment_id: UUID, amount_rp: int, customer_id: UUID) -> Charge:
    """Return a Charge. The time limit for the caller's call to the gateway begins now."""
    return Charge(key, payment_id, amount_rp, time.monotonic() + ANSWER_TIMEOUT_SECONDS, customer_id)


async def begin_extension_charges(
    tx: Transaction, payment_ids: Sequence[UUID], charge_by: datetime
) -> list[Charge]:
    """Begin the charges of approved extensions (pending → confirming, 5.4). The gateway must approve by `charge_by`.

    The caller holds the sessions' locks, and carries out the charges after the commit. If the process dies before the
    charges, workers carry out the charges at the armed deadlines.
    """
    attempts = await queries.begin_extension_charges(tx, payment_ids=payment_ids, charge_by=charge_by)
    assert len(attempts) == len(payment_ids)  # While an extension is pending, its payment is pending too.
    first_ask = timedelta(seconds=FIRST_ASK_SECONDS)
    armed = [(attempt.key, attempt.now + first_ask, 1) for attempt in attempts]
    await deadlines.arm_each(tx, CHARGE_ANSWER, armed)
    return [
        _charge(attempt.key, attempt.payment_id, attempt.amount_rp, attempt.customer_id)
        for attempt in attempts
    ]


async def abandon_extensions(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """Abandon the payments of extensions that are never charged (pending or confirming → abandoned, 5.7).

    A payment in a final status does not change. The caller holds the sessions' locks.
    """
    await queries.abandon_extension_payments(tx, payment_ids=payment_ids)


async def lock(tx: Transaction, payment_id: UUID) -> LockedPayment:
    """Lock the payment row. This lock protects the whole journey. Raises NotFound."""
    payment = await queries.lock_payment(tx, payment_id=payment_id)
    if payment is None:
        raise NotFound
    return payment


async def lock_open(tx: Transaction, customer_id: UUID) -> UUID | None:
    """Lock the customer's open payment of purpose `session`, and return its id. Return None if no payment is open.

    The payment can be closed meanwhile. Nobody else opens another one, if the caller has made them wait.
    """
    payment_id = await queries.find_open_payment(tx, customer_id=customer_id)
    if payment_id is not None:
        await lock(tx, payment_id)
    return payment_id


async def lock_own(tx: Transaction, payment_id: UUID, customer_id: UUID) -> LockedPayment:
    """Lock the row of this customer's own payment. This lock protects the whole journey.

    Raises NotFound if the payment does not exist, belongs to another customer, or pays for an extension. No customer
    can confirm or cancel the payment of an extension, because the extension decides the payment's status (5.4, 5.7).
    """
    payment = await lock(tx, payment_id)
    if payment.customer_id != customer_id or payment.purpose != "session":
        raise NotFound
    return payment


async def begin_confirmation(tx: Transaction, payment: LockedPayment) -> Charge | None:
    """Begin a confirmation (pending → confirming).

    A payment of Rp0 goes directly to confirmed and never reaches the gateway (2a.3).

    Returns the charge to carry out after the commit. Returns None if the payment is confirmed now. If the process dies
    before the charge, a worker finishes the attempt at the armed deadline. The caller holds the lock of the pending
    payment, and a customer has one open payment. So the count of the customer's confirmations is exact. Raises
    PaymentExpired, TooManyRequests.
    """
    if payment.is_over:
        raise PaymentExpired
    wait_seconds = await queries.find_confirmation_wait(
        tx,
        customer_id=payment.customer_id,
        max_payments=MAX_CONFIRMED_PAYMENTS,
        max_confirmations=MAX_CONFIRMATIONS,
        window_seconds=CONFIRMATIONS_WINDOW_SECONDS,
    )
    if wait_seconds is not None and wait_seconds > 0:
        raise too_many_until(wait_seconds)
    if payment.amount_rp == 0:
        await _confirm(tx, payment.id)
        return None
    key = await queries.begin_confirmation(tx, payment_id=payment.id)
    await _ask_in(tx, CHARGE_ANSWER, key, FIRST_ASK_SECONDS)
    return _charge(key, payment.id, payment.amount_rp, payment.customer_id)


def closed_error(status: PaymentStatus) -> PaymentExpired | PaymentClosed:
    """Return the refusal for a customer who wants to confirm or cancel a payment in this final status."""
    return PaymentExpired() if status == "expired" else PaymentClosed(payment_status=status)


async def record_charge_answer(tx: Transaction, key: UUID, answer: ChargeAnswer) -> ChargeOutcome | None:
    """Record the gateway's answer with `_answer_charge`, and count the effect in the metrics."""
    outcome = await _answer_charge(tx, key, answer)
    if outcome is not None and outcome.step != "nothing":
        CHARGES.labels(outcome.step).inc()
        if outcome.step in ("confirmed", "refunding", "given_up"):
            CHARGED_RUPIAH.inc(outcome.payment.amount_rp)
    return outcome


async def _answer_charge(tx: Transaction, key: UUID, answer: ChargeAnswer) -> ChargeOutcome | None:
    """Record the gateway's answer about an attempt. Returns None if no attempt has this key.

    Answers can come late, twice and in any order. The final state does not depend on the order of the answers. An
    approval of an unknown key raises an alert: the gateway took money, and a failover has perhaps lost our record of
    it. The answer `approved` overrides every earlier answer, because the gateway took the money. The answer `approved`
    confirms a payment that is confirming, or that is pending and has time left. If the payment was closed, or another
    attempt has perhaps taken the money, this function requests a refund instead.
    The answer `not_found` means declined, because the call has ended before the worker queries the gateway. If an
    extension can still be charged, `not_found` changes nothing. The worker then sends the charge again under the same
    key.
    """
    locked = await _lock_attempt(tx, key)
    if locked is None:
        if answer.status == "approved":
            await raise_alert(tx, "gateway_alert:unknown_charge", key, answer.amount_rp)
        return None
    payment, attempt = locked
    if answer.status == "approved" and attempt.attempt_status in ("started", "declined"):
        return await _approved(tx, payment, key)
    if answer.status in ("declined", NOT_FOUND) and attempt.attempt_status == "started":
        return await _declined(tx, payment, key, answer.reason or answer.status)
    return ChargeOutcome(payment, "nothing")


async def _lock_attempt(tx: Transaction, key: UUID) -> tuple[LockedPayment, LockedAttempt] | None:
    """Lock the payment, then the attempt. Return None if no attempt has this key."""
    payment_id = await queries.find_payment_of_attempt(tx, attempt_id=key)
    if payment_id is None:
        return None
    return await lock(tx, payment_id), await queries.lock_attempt(tx, attempt_id=key)


async def _approved(tx: Transaction, payment: LockedPayment, key: UUID) -> ChargeOutcome:
    await deadlines.disarm(tx, CHARGE_ANSWER, key)
    if payment.is_given_up:
        # The time to give up this charge has passed, but the worker has not given the charge up yet. No approval wins
        # after the time to give up (2a.10).
        await close(tx, [payment.id], "expired")
        waits_for_it = False
    elif payment.purpose == "extension":
        waits_for_it = payment.status == "confirming" and not payment.is_over
    else:
        # After a decline, a payment is pending again. If the gateway then approves the charge, the approval confirms
        # the payment only before `expires_at`, even if the worker expires the payment late.
        waits_for_it = payment.status == "confirming" or (payment.status == "pending" and not payment.is_over)
    if waits_for_it and not await queries.has_other_charge(tx, payment_id=payment.id, attempt_id=key):
        await queries.answer_attempt(tx, attempt_id=key, attempt_status="approved", reason=None)
        await _confirm(tx, payment.id)
        return ChargeOutcome(payment, "confirmed")
    await queries.answer_attempt(
        tx,
        attempt_id=key,
        attempt_status="approved_late",
        reason=f"payment was {'expired' if payment.is_given_up else payment.status}",
    )
    await request_refund(tx, payment.id, key, payment.amount_rp, "late_approval")
    return ChargeOutcome(payment, "given_up" if payment.is_given_up else "refunding")


async def _declined(tx: Transaction, payment: LockedPayment, key: UUID, reason: str) -> ChargeOutcome:
    if reason == NOT_FOUND and _may_be_sent_again(payment):
        return ChargeOutcome(payment, "nothing")
    if reason != NOT_FOUND:
        await deadlines.disarm(tx, CHARGE_ANSWER, key)
    await queries.answer_attempt(tx, attempt_id=key, attempt_status="declined", reason=reason)
    if payment.status != "confirming":
        return ChargeOutcome(payment, "nothing")
    if payment.purpose == "extension":
        await queries.close_payments(tx, payment_ids=[payment.id], status="abandoned")
        return ChargeOutcome(payment, "abandoned")
    if payment.is_over:
        await queries.close_payments(tx, payment_ids=[payment.id], status="expired")
        return ChargeOutcome(payment, "expired")
    await queries.reopen_payment(tx, payment_id=payment.id)
    # The first expiry deadline has perhaps fired without effect while the payment was confirming. So arm a second
    # deadline. The second deadline has a different generation, because a worker perhaps holds the lock of the first
    # deadline now.
    attempts = await queries.count_attempts(tx, payment_id=payment.id)
    await deadlines.arm(tx, PAYMENT_EXPIRY, payment.id, payment.expires_at, attempts + 1)
    return ChargeOutcome(payment, "declined")


def _may_be_sent_again(payment: LockedPayment) -> bool:
    return payment.purpose == "extension" and payment.status == "confirming" and not payment.is_over


async def give_up_charge(tx: Transaction, key: UUID) -> UUID | None:
    """Expire the payment of an attempt that must be given up (confirming → expired, 2a.10).

    An attempt must be given up if the gateway has not answered 10 minutes after the payment's `expires_at`. The attempt
    stays `started`, and the worker continues to query the gateway. If the gateway approves the charge later, the charge
    is refunded. Returns the id of the payment that expired, or None.
    """
    locked = await _lock_attempt(tx, key)
    if locked is None or not locked[0].is_given_up:
        return None
    payment, _ = locked
    await close(tx, [payment.id], "expired")
    CHARGES.labels("given_up").inc()
    return payment.id


async def ask_again(tx: Transaction, key: UUID, generation: int) -> Charge | Literal["query"] | None:
    """Arm the next query about an attempt that has no answer or that the gateway does not know.

    Each wait is longer than the previous wait, but ends when the charge must be given up (`give_up_charge`).
    `generation` is the generation of the deadline that fired.
    Returns the charge of an approved extension. The caller sends this charge again under the same key. Returns "query"
    if
    the caller must only query the gateway by the key. Returns None if there is nothing more to do.
    """
    locked = await _lock_attempt(tx, key)
    if locked is None:
        return None
    payment, attempt = locked
    is_started = attempt.attempt_status == "started"
    until: datetime | None = None
    if is_started:
        if payment.status == "confirming":
            wait_seconds = _first_wait_seconds(generation)
            until = payment.given_up_at if payment.purpose == "session" else None
        else:
            wait_seconds = _late_wait_seconds(generation, attempt.age_seconds)
    elif attempt.reason == NOT_FOUND and attempt.age_seconds < MAX_STRAY_CHARGE_AGE_SECONDS:
        wait_seconds = max(attempt.age_seconds, MIN_STRAY_CHARGE_WAIT_SECONDS)
    else:
        return None
    await _ask_in(tx, CHARGE_ANSWER, key, wait_seconds, generation + 1, until)
    if is_started and _may_be_sent_again(payment):
        return _charge(key, payment.id, payment.amount_rp, payment.customer_id)
    return "query"


async def abandon(tx: Transaction, payment: LockedPayment) -> None:
    """Abandon a payment, because the customer leaves (pending → abandoned). The row stays (2a.4).

    Raises PaymentConfirming, PaymentConfirmed, PaymentExpired, PaymentClosed.
    """
    if payment.status == "confirming":
        raise PaymentConfirming
    if payment.confirmed_at is not None:
        raise PaymentConfirmed
    if payment.status != "pending":
        raise closed_error(payment.status)
    if payment.is_over:
        raise PaymentExpired
    await close(tx, [payment.id], "abandoned")


async def expire(tx: Transaction, payment_ids: Sequence[UUID]) -> dict[UUID, Purpose]:
    """Expire the payments whose `expires_at` has passed (pending → expired, 2a.5).

    A payment whose confirmation began in time does not expire. Locks the payments. Returns a map from the id of each
    expired payment to the payment's purpose.
    """
    pending = await queries.expire_payments(tx, payment_ids=payment_ids)
    expired = {payment.id: payment.purpose for payment in pending if payment.is_expired}
    if expired:
        await deadlines.disarm(tx, PAYMENT_EXPIRY, *expired)
    for payment in pending:
        if not payment.is_expired:
            # The clock was set back after the worker claimed the deadline, so the payment still has time. After a
            # declined attempt, the payment has a second deadline. Another worker perhaps holds the second deadline, and
            # waits for this payment's lock. So arm a deadline that no worker can hold.
            left = payment.expires_at - await read_clock(tx)
            await deadlines.arm_another(tx, PAYMENT_EXPIRY, [payment.id], left.total_seconds())
    return expired


async def close(
    tx: Transaction,
    payment_ids: Sequence[UUID],
    status: Literal["abandoned", "expired", "served", "unserved"],
) -> None:
    """Close the payments with the final status `status`. The journeys end. The caller holds the payments' locks."""
    await queries.close_payments(tx, payment_ids=payment_ids, status=status)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, *payment_ids)


async def open_cases(tx: Transaction, payment_ids: Sequence[UUID], reason: CaseReason) -> None:
    """Open the review case of each payment (X.12).

    A payment has at most one case. A decided case opens again if the payment has an undelivered charge without a
    decision. If the case is already open, `reason` replaces the case's reason, because `reason` is about a further
    charge.
    """
    await queries.open_cases(tx, payment_ids=payment_ids, case_reason=reason)


async def open_cases_of_ended(tx: Transaction, payment_ids: Sequence[UUID], reason: CaseReason) -> None:
    """Open the review case of each payment of a session that ended without being delivered (X.8, X.11).

    If an operator decided about a charge while the session still ran, the operator did not know this end. The charge is
    then in question again, and the decided case opens.
    """
    await queries.question_decided_charges(tx, payment_ids=payment_ids)
    await open_cases(tx, payment_ids, reason)


async def open_case_by_hand(tx: Transaction, payment_id: UUID, by: UUID, note: str) -> UUID:
    """Open a case with the reason `complaint` about whatever is left of the payment's charges (X.12).

    The service delivered the charges, or an operator decided about them: the charges are in question again. A decided
    case opens again, as a new round. While the journey runs, nothing can be decided yet, so the case does not open.
    Returns the case's id. Raises NotFound, CaseOpen, JourneyInProgress, NothingToRefund.
    """
    payment = await lock(tx, payment_id)
    case = await queries.lock_case_of_payment(tx, payment_id=payment_id)
    if case is not None and (case.is_open or case.awaits_approval):
        raise CaseOpen(case_id=case.id)
    if payment.status == "confirmed":
        raise JourneyInProgress(payment_id=payment_id)
    if not await queries.question_charges(tx, payment_id=payment_id):
        raise NothingToRefund
    return await queries.open_questioned_case(
        tx, payment_id=payment_id, case_reason="complaint", opened_by=by, opened_note=note
    )


async def open_case_about_report(tx: Transaction, payment_id: UUID) -> None:
    """Open a case with the reason `reported`, if money is left of the payment and no operator is at work on its case.

    A customer has reported the session of this payment (T.3). What was taken is in question again, also while the
    session runs. Nothing else depends on the case.
    """
    await lock(tx, payment_id)
    case = await queries.lock_case_of_payment(tx, payment_id=payment_id)
    if case is not None and (case.is_open or case.awaits_approval):
        return
    if await queries.question_charges(tx, payment_id=payment_id):
        await queries.open_questioned_case(
            tx, payment_id=payment_id, case_reason="reported", opened_by=None, opened_note=None
        )


async def open_case_about_books(tx: Transaction, payment_id: UUID) -> None:
    """Open a case with the reason `books_differ`, if the payment exists and no operator is at work on its case.

    What was taken for the payment is in question again, unless its journey still runs.
    """
    payment = await queries.lock_payment(tx, payment_id=payment_id)
    if payment is None:
        return
    case = await queries.lock_case_of_payment(tx, payment_id=payment_id)
    if case is not None and (case.is_open or case.awaits_approval):
        return
    if payment.status != "confirmed":
        await queries.question_charges(tx, payment_id=payment_id)
    await queries.open_questioned_case(
        tx, payment_id=payment_id, case_reason="books_differ", opened_by=None, opened_note=None
    )


async def undelivered_charges(tx: Transaction, payment_id: UUID) -> list[UndeliveredCharge]:
    """Return a payment's undelivered charges, decided or not. A payment of Rp0 has no undelivered charge.

    The view `undelivered_charges` says what is undelivered. `amount_rp` is what is left of the charge: a charge that is
    given back, or whose refund is requested, never counts as undelivered.
    """
    return await queries.list_undelivered_charges(tx, payment_ids=[payment_id])


async def undelivered_by_payment(
    tx: Transaction, payment_ids: Sequence[UUID]
) -> dict[UUID, list[UndeliveredCharge]]:
    """Return the `undelivered_charges` of each of these payments."""
    found: dict[UUID, list[UndeliveredCharge]] = {payment_id: [] for payment_id in payment_ids}
    for charge in await queries.list_undelivered_charges(tx, payment_ids=payment_ids):
        found[charge.payment_id].append(charge)
    return found


async def request_refund(
    tx: Transaction,
    payment_id: UUID,
    charge_key: UUID,
    amount_rp: int,
    reason: RefundReason,
    *,
    by: str = "system",
    decided_round: int | None = None,
) -> None:
    """Request the refund of a charge or of a part of it, and write an audit entry. A repeated call changes nothing.

    `decided_round` is the round of the case in which an operator decided this refund. The caller holds the payment's
    lock, and `amount_rp` is at most what is left of the charge. The worker later calls the gateway, outside any
    transaction.
    Raises RefundInTheWay.
    """
    refund_id = await queries.request_refund(
        tx,
        payment_id=payment_id,
        charge_key=charge_key,
        amount_rp=amount_rp,
        refund_reason=reason,
        decided_round=decided_round,
    )
    if refund_id is None:
        if decided_round is not None:
            raise RefundInTheWay
        return
    REFUNDS.labels("requested").inc()
    await write_audit_entry(tx, by, _REQUESTED[reason], "payment", payment_id, new=str(amount_rp))
    await _ask_in(tx, REFUND_ANSWER, refund_id, 0)


async def refund_to_carry_out(tx: Transaction, refund_id: UUID, generation: int) -> Refund | None:
    """If the refund still waits for the gateway's answer, arm the next try and return the refund. Else return None.

    `generation` is the generation of the deadline that fired.
    """
    refund = await queries.find_requested_refund(tx, refund_id=refund_id)
    if refund is not None:
        wait_seconds = FIRST_ASK_SECONDS + _late_wait_seconds(generation, refund.age_seconds)
        await _ask_in(tx, REFUND_ANSWER, refund_id, wait_seconds, generation + 1)
    return refund


# Maps the reason of a refund to the audit action of the refund's request.
_REQUESTED: Final[dict[RefundReason, AuditAction]] = {
    "operator_decision": "refund_requested:operator_decision",
    "late_approval": "refund_requested:late_approval",
}


async def record_refund_answer(tx: Transaction, refund_id: UUID, answer: RefundAnswer) -> UUID | None:
    """Record the gateway's answer about a refund (requested → done or failed). A failed automatic refund opens a case.

    A non-final answer changes nothing.

    Answers can come late, twice and in any order. The answer `done` always overrides the answer `failed`, because the
    gateway gave the money back. If an operator has requested the refund again meanwhile, `done` cancels the new
    request. If the new request is done too, or if `failed` follows `done`, only people can find out where the money is.
    So contradictory answers raise an alert.
    If an operator decided the refund and the gateway has carried it out, the payment becomes refunded (X.9). Returns
    the payment's id if the answer changed the refund, and otherwise None.
    """
    if answer.status not in ("done", "failed"):
        return None
    payment_id = await queries.find_payment_of_refund(tx, refund_id=refund_id)
    if payment_id is None:
        if answer.status == "done":
            await raise_alert(tx, "gateway_alert:unknown_refund", refund_id, None)
        return None
    await lock(tx, payment_id)
    refund = await queries.lock_refund(tx, refund_id=refund_id)
    if answer.status == refund.refund_status:
        return None
    if refund.refund_status == "done":
        await raise_alert(
            tx, "gateway_alert:refund_failed_after_done", refund_id, refund.amount_rp, payment_id
        )
        return None
    if refund.refund_status == "failed" and not await make_room(
        tx, refund.charge_key, refund_id, refund.amount_rp, refund.decided_round
    ):
        await raise_alert(tx, "gateway_alert:refunded_twice", refund_id, refund.amount_rp, payment_id)
        return None
    await queries.answer_refund(
        tx, refund_id=refund_id, refund_status=answer.status, gateway_reason=answer.reason
    )
    await deadlines.disarm(tx, REFUND_ANSWER, refund_id)
    REFUNDS.labels(answer.status).inc()
    amount = str(refund.amount_rp)
    if answer.status == "failed":
        await write_audit_entry(tx, "system", "refund_failed", "payment", payment_id, new=amount)
        if refund.refund_reason == "late_approval":
            # If the refund has a reason other than `late_approval`, an operator has decided about the charge. The
            # operator can retry the refund.
            await open_cases(tx, [payment_id], "refund_failed")
        else:
            await _question_refused_refund(tx, payment_id, refund_id)
        return payment_id
    REFUNDED_RUPIAH.inc(refund.amount_rp)
    await write_audit_entry(tx, "system", "refund_done", "payment", payment_id, new=amount)
    await queries.mark_payment_refunded(tx, payment_id=payment_id, refund_id=refund_id)
    return payment_id


async def _question_refused_refund(tx: Transaction, payment_id: UUID, refund_id: UUID) -> None:
    """Open a case about a refused refund of an earlier decision (X.12).

    An operator can decide about the rest of a charge while the gateway still works on an earlier part. The later
    decision did not cover this part. So if the gateway refuses the part, the charge is in question again. An open case
    covers the charge already.
    """
    case = await queries.lock_case_of_payment(tx, payment_id=payment_id)
    if case is not None and case.is_open:
        return
    if await queries.question_refused_charge(tx, refund_id=refund_id):
        await queries.open_questioned_case(
            tx, payment_id=payment_id, case_reason="refund_failed", opened_by=None, opened_note=None
        )


async def make_room(
    tx: Transaction, charge_key: UUID, refund_id: UUID, amount_rp: int, decided_round: int | None
) -> bool:
    """Take back requested refunds of a charge, because the gateway carried out the refund `refund_id` of `amount_rp`.

    Takes back the request that repeats `refund_id`, which is the request of the same decision. Then takes back further
    requests, newest first, until all refunds of the charge are at most the charge.
    Returns False if the gateway has carried out too much, so that taking back requests does not help.
    """
    others = await queries.list_other_live_refunds(tx, charge_key=charge_key, refund_id=refund_id)
    if not others:
        return True
    left_rp = others[0].charged_rp - amount_rp - sum(other.amount_rp for other in others)
    taken_back = []
    for other in others:
        is_repeated = decided_round is not None and other.decided_round == decided_round
        if other.refund_status == "requested" and is_repeated:
            taken_back.append(other)
            left_rp += other.amount_rp
        elif is_repeated:
            return False
    for other in others:
        if left_rp >= 0:
            break
        if other.refund_status == "requested" and other not in taken_back:
            taken_back.append(other)
            left_rp += other.amount_rp
    if left_rp < 0:
        return False
    for other in taken_back:
        await queries.answer_refund(tx, refund_id=other.id, refund_status="failed", gateway_reason=SUPERSEDED)
        await deadlines.disarm(tx, REFUND_ANSWER, other.id)
    return True


async def raise_alert(
    tx: Transaction, alert: AuditAction, key: UUID, amount_rp: int | None, payment_id: UUID | None = None
) -> None:
    """Tell the operators about an answer that contradicts our records. A repeated answer raises no second alert."""
    if await has_audit_entry(tx, alert, key):
        return
    log.error(alert, key=str(key), amount_rp=amount_rp, payment_id=str(payment_id))
    GATEWAY_ALERTS.labels(alert.removeprefix("gateway_alert:")).inc()
    await write_audit_entry(
        tx,
        "system",
        alert,
        "gateway",
        key,
        old=None if payment_id is None else str(payment_id),
        new=None if amount_rp is None else str(amount_rp),
    )


async def _confirm(tx: Transaction, payment_id: UUID) -> None:
    await queries.confirm_payment(tx, payment_id=payment_id)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, payment_id)


def _first_wait_seconds(generation: int) -> float:
    return float(min(2 ** min(generation, 10), MAX_ASK_WAIT_SECONDS))


def _late_wait_seconds(generation: int, age_seconds: float) -> float:
    return max(
        _first_wait_seconds(generation), min(age_seconds * LATE_ASK_WAIT_SHARE, MAX_LATE_ASK_WAIT_SECONDS)
    )


async def _ask_in(
    tx: Transaction,
    kind: str,
    entity_id: UUID,
    seconds: float,
    generation: int = 1,
    until: datetime | None = None,
) -> None:
    """Arm a deadline that is due after the given seconds, or at `until` if `until` comes first."""
    due_at = await read_clock(tx) + timedelta(seconds=seconds)
    await deadlines.arm(tx, kind, entity_id, due_at if until is None else min(due_at, until), generation)
