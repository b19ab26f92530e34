"""What may be done to a payment. Every function takes an open transaction and never commits it."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec

from curhat.deadlines import service as deadlines
from curhat.kit.audit import AuditAction
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.kit.queries import read_clock
from curhat.payments import queries
from curhat.payments.errors import (
    JourneyInProgress,
    PaymentClosed,
    PaymentConfirmed,
    PaymentConfirming,
    PaymentExpired,
)
from curhat.payments.gateway import ANSWER_TIMEOUT_SECONDS, ChargeAnswer, RefundAnswer
from curhat.payments.queries import LockedAttempt, LockedPayment, Refund, TakenCharge
from curhat.payments.states import CaseReason, PaymentStatus, Purpose, RefundReason

# Deadline kinds of this package.
PAYMENT_EXPIRY = "payment_expiry"
CHARGE_ANSWER = "charge_answer"
REFUND_ANSWER = "refund_answer"

# The gateway's status for a key that it does not know, and the reason stored for it.
NOT_FOUND = "not_found"

# The call is over by then, so asking by key cannot overtake it.
FIRST_ASK_SECONDS = ANSWER_TIMEOUT_SECONDS + 1
# A charge that the gateway did not know may still arrive there, if something on the way delayed the call. We ask about
# it for this long, so that money taken without our knowledge is found and refunded.
MAX_STRAY_CHARGE_AGE_SECONDS = 24 * 3600
MIN_STRAY_CHARGE_WAIT_SECONDS = 60
# The longest wait between two questions to a gateway that has no answer yet.
MAX_ASK_WAIT_SECONDS = 30


class PaymentTerms(msgspec.Struct, frozen=True):
    """What a payment is for. The server computes it from the offer; the client never sends it."""

    purpose: Purpose
    offer_id: UUID
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    target_mitra_id: UUID | None = None


class Charge(msgspec.Struct, frozen=True):
    """A charge attempt that the gateway has to carry out, between two transactions. `key` names it for ever.

    The call ends at `until`, in seconds of this machine's monotonic clock. A call not sent by then must never be sent,
    however long this process was suspended: soon after `until` the gateway is asked, and may answer that it knows
    nothing of the key.
    """

    key: UUID
    payment_id: UUID
    amount_rp: int
    until: float


class ChargeOutcome(msgspec.Struct, frozen=True):
    """What an answer did to the payment, which is given as it was before.

    `confirmed`; `declined` (pending again); `expired` (declined too late to try again); `abandoned` (an extension's
    charge was declined); `refunding` (approved, but too late); `nothing` (recorded before, or not an answer yet).
    """

    payment: LockedPayment
    step: Literal["confirmed", "declined", "expired", "abandoned", "refunding", "nothing"]


async def open_payment(tx: Transaction, customer_id: UUID, terms: PaymentTerms, timeout_minutes: int) -> UUID:
    """nothing → pending, with its expiry armed (2a.5). Raises JourneyInProgress."""
    opened = await queries.open_payment(
        tx,
        customer_id=customer_id,
        purpose=terms.purpose,
        offer_id=terms.offer_id,
        duration_minutes=terms.duration_minutes,
        amount_rp=terms.amount_rp,
        is_trial=terms.is_trial,
        target_mitra_id=terms.target_mitra_id,
        timeout_minutes=timeout_minutes,
    )
    if opened is None:
        raise JourneyInProgress(payment_id=await queries.find_open_payment(tx, customer_id=customer_id))
    await deadlines.arm(tx, PAYMENT_EXPIRY, opened.id, opened.expires_at)
    return opened.id


async def open_extension_payment(
    tx: Transaction, customer_id: UUID, terms: PaymentTerms, expires_at: datetime
) -> UUID:
    """nothing → pending. Arms no expiry: the extension decides what becomes of its payment (5.7)."""
    return await queries.open_extension_payment(
        tx,
        customer_id=customer_id,
        offer_id=terms.offer_id,
        duration_minutes=terms.duration_minutes,
        amount_rp=terms.amount_rp,
        expires_at=expires_at,
    )


def _charge(key: UUID, payment_id: UUID, amount_rp: int) -> Charge:
    """A charge whose time to be sent begins now."""
    return Charge(key, payment_id, amount_rp, time.monotonic() + ANSWER_TIMEOUT_SECONDS)


async def begin_extension_charges(
    tx: Transaction, payment_ids: Sequence[UUID], charge_by: datetime
) -> list[Charge]:
    """pending → confirming, at the moment of approval (5.4). The gateway's approval counts until `charge_by`.

    The caller holds the sessions' locks and carries the charges out after the commit. If its process dies in between,
    the armed deadlines do it.
    """
    attempts = await queries.begin_extension_charges(tx, payment_ids=payment_ids, charge_by=charge_by)
    assert len(attempts) == len(payment_ids)  # A payment is pending as long as its extension is.
    first_ask = timedelta(seconds=FIRST_ASK_SECONDS)
    armed = [(attempt.key, attempt.now + first_ask, 1) for attempt in attempts]
    await deadlines.arm_each(tx, CHARGE_ANSWER, armed)
    return [_charge(attempt.key, attempt.payment_id, attempt.amount_rp) for attempt in attempts]


async def abandon_extensions(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """pending or confirming → abandoned, for extensions that are never charged (5.7).

    The caller holds the sessions' locks. A payment in a final status keeps it.
    """
    await queries.abandon_extension_payments(tx, payment_ids=payment_ids)


async def lock(tx: Transaction, payment_id: UUID) -> LockedPayment:
    """Take the journey's lock. Raises NotFound."""
    payment = await queries.lock_payment(tx, payment_id=payment_id)
    if payment is None:
        raise NotFound
    return payment


async def lock_own(tx: Transaction, payment_id: UUID, customer_id: UUID) -> LockedPayment:
    """Take the lock of this customer's own journey.

    Raises NotFound, also for another customer's payment and for an extension's: nobody confirms or leaves that, since
    the extension decides what becomes of it (5.4, 5.7).
    """
    payment = await lock(tx, payment_id)
    if payment.customer_id != customer_id or payment.purpose != "session":
        raise NotFound
    return payment


async def begin_confirmation(tx: Transaction, payment: LockedPayment) -> Charge | None:
    """pending → confirming, or straight to confirmed for Rp0, which never reaches the gateway (2a.3).

    Returns the charge to carry out after the commit, or None when the payment is confirmed now. If the process dies in
    between, the armed deadline finishes the charge. Raises PaymentExpired, PaymentClosed.
    """
    if payment.status != "pending":
        raise closed_error(payment.status)
    if payment.is_over:
        raise PaymentExpired
    if payment.amount_rp == 0:
        await _confirm(tx, payment.id)
        return None
    key = await queries.begin_confirmation(tx, payment_id=payment.id)
    await _ask_in(tx, CHARGE_ANSWER, key, FIRST_ASK_SECONDS)
    return _charge(key, payment.id, payment.amount_rp)


def closed_error(status: PaymentStatus) -> PaymentExpired | PaymentClosed:
    """The error that says why a payment in a final status cannot be confirmed or left."""
    return PaymentExpired() if status == "expired" else PaymentClosed(payment_status=status)


async def record_charge_answer(tx: Transaction, key: UUID, answer: ChargeAnswer) -> ChargeOutcome | None:
    """Record what the gateway says of an attempt. Answers may come late, twice and in any order: the end is the same.

    `approved` overrides every earlier answer, since the money is taken. It confirms a payment that is confirming, or
    pending and in time. If the payment was closed, or another attempt may have taken the money, the charge is refunded.
    `not_found` counts as declined, since the call is over before anyone asks. For an extension that may still be
    charged it changes nothing: the charge is sent again under the same key. Returns None when no attempt has this key.
    """
    locked = await _lock_attempt(tx, key)
    if locked is None:
        return None
    payment, attempt = locked
    if answer.status == "approved" and attempt.attempt_status in ("started", "declined"):
        return await _approved(tx, payment, key)
    if answer.status in ("declined", NOT_FOUND) and attempt.attempt_status == "started":
        return await _declined(tx, payment, key, answer.reason or answer.status)
    return ChargeOutcome(payment, "nothing")


async def _lock_attempt(tx: Transaction, key: UUID) -> tuple[LockedPayment, LockedAttempt] | None:
    """Take the payment's lock, then the attempt's. None: no attempt has this key."""
    payment_id = await queries.find_payment_of_attempt(tx, attempt_id=key)
    if payment_id is None:
        return None
    return await lock(tx, payment_id), await queries.lock_attempt(tx, attempt_id=key)


async def _approved(tx: Transaction, payment: LockedPayment, key: UUID) -> ChargeOutcome:
    await deadlines.disarm(tx, CHARGE_ANSWER, key)
    if payment.purpose == "extension":
        waits_for_it = payment.status == "confirming" and not payment.is_over
    else:
        # A payment that is pending again after a decline waits only until its own time is over, however late the
        # worker that expires it.
        waits_for_it = payment.status == "confirming" or (payment.status == "pending" and not payment.is_over)
    if waits_for_it and not await queries.has_other_charge(tx, payment_id=payment.id, attempt_id=key):
        await queries.answer_attempt(tx, attempt_id=key, attempt_status="approved", reason=None)
        await _confirm(tx, payment.id)
        return ChargeOutcome(payment, "confirmed")
    await queries.answer_attempt(
        tx, attempt_id=key, attempt_status="approved_late", reason=f"payment was {payment.status}"
    )
    await request_refund(tx, payment.id, key, payment.amount_rp, "late_approval")
    return ChargeOutcome(payment, "refunding")


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
    # The first expiry may have fired while the payment was confirming, and then did nothing: arm another. It has its
    # own generation, since a worker may hold the first one at this moment.
    attempts = await queries.count_attempts(tx, payment_id=payment.id)
    await deadlines.arm(tx, PAYMENT_EXPIRY, payment.id, payment.expires_at, attempts + 1)
    return ChargeOutcome(payment, "declined")


def _may_be_sent_again(payment: LockedPayment) -> bool:
    return payment.purpose == "extension" and payment.status == "confirming" and not payment.is_over


class Question(msgspec.Struct, frozen=True):
    """What to ask the gateway about an attempt without an answer.

    `send_again`: the charge of an approved extension, which is sent under the same key until it is answered. None: the
    gateway is only asked about the key.
    """

    key: UUID
    send_again: Charge | None


async def ask_again(tx: Transaction, key: UUID, generation: int) -> Question | None:
    """Arm the next question about an attempt that has no answer, or that the gateway did not know.

    Each question comes after a longer wait; `generation` is that of the deadline which fired. Returns what to ask the
    gateway now, or None when there is nothing left to ask.
    """
    locked = await _lock_attempt(tx, key)
    if locked is None:
        return None
    payment, attempt = locked
    is_started = attempt.attempt_status == "started"
    if is_started:
        wait_seconds = float(min(2**generation, MAX_ASK_WAIT_SECONDS))
    elif attempt.reason == NOT_FOUND and attempt.age_seconds < MAX_STRAY_CHARGE_AGE_SECONDS:
        wait_seconds = max(attempt.age_seconds, MIN_STRAY_CHARGE_WAIT_SECONDS)
    else:
        return None
    await _ask_in(tx, CHARGE_ANSWER, key, wait_seconds, generation + 1)
    send_again = is_started and _may_be_sent_again(payment)
    return Question(key, _charge(key, payment.id, payment.amount_rp) if send_again else None)


async def abandon(tx: Transaction, payment: LockedPayment) -> None:
    """pending → abandoned: the customer leaves; the row stays (2a.4).

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
    """pending → expired, where the time to pay is over (2a.5). A confirmation that began in time prevents it.

    Takes the journeys' locks. Returns the purpose of each payment that expired, by its id.
    """
    pending = await queries.expire_payments(tx, payment_ids=payment_ids)
    expired = {payment.id: payment.purpose for payment in pending if payment.is_expired}
    if expired:
        await deadlines.disarm(tx, PAYMENT_EXPIRY, *expired)
    for payment in pending:
        if not payment.is_expired:
            # The clock was set back after the deadline was claimed, so the payment still has time.
            await deadlines.arm(tx, PAYMENT_EXPIRY, payment.id, payment.expires_at)
    return expired


async def close(
    tx: Transaction,
    payment_ids: Sequence[UUID],
    status: Literal["abandoned", "expired", "served", "unserved"],
) -> None:
    """An open status → `status`, which ends the journey. The caller holds the locks."""
    await queries.close_payments(tx, payment_ids=payment_ids, status=status)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, *payment_ids)


async def open_cases(tx: Transaction, payment_ids: Sequence[UUID], reason: CaseReason) -> None:
    """Have an operator review these payments. Each has one case at most, which keeps its first reason (X.1)."""
    await queries.open_cases(tx, payment_ids=payment_ids, case_reason=reason)


async def charges_to_refund(tx: Transaction, payment_id: UUID) -> list[TakenCharge]:
    """The charges of a payment that got no session, or one cut short, and that are not refunded. None for Rp0."""
    return await queries.list_charges_to_refund(tx, payment_ids=[payment_id])


async def refundable_rp(tx: Transaction, payment_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The sum of `charges_to_refund` per payment, in rupiah; 0 where there is none."""
    sums = dict.fromkeys(payment_ids, 0)
    for charge in await queries.list_charges_to_refund(tx, payment_ids=payment_ids):
        sums[charge.payment_id] += charge.amount_rp
    return sums


async def request_refund(
    tx: Transaction,
    payment_id: UUID,
    charge_key: UUID,
    amount_rp: int,
    reason: RefundReason,
    *,
    by: str = "system",
) -> None:
    """Have one charge refunded, once. The audit gets an entry; the worker calls the gateway between transactions."""
    refund_id = await queries.request_refund(
        tx, payment_id=payment_id, charge_key=charge_key, amount_rp=amount_rp, refund_reason=reason
    )
    if refund_id is None:
        return
    await _audit(tx, by, _REQUESTED[reason], payment_id, amount_rp)
    await _ask_in(tx, REFUND_ANSWER, refund_id, 0)


async def refund_to_carry_out(tx: Transaction, refund_id: UUID, generation: int) -> Refund | None:
    """The refund if it still waits for its answer, with the next try armed; None otherwise.

    `generation` is that of the deadline which fired.
    """
    refund = await queries.find_requested_refund(tx, refund_id=refund_id)
    if refund is not None:
        wait_seconds = FIRST_ASK_SECONDS + min(2**generation, MAX_ASK_WAIT_SECONDS)
        await _ask_in(tx, REFUND_ANSWER, refund_id, wait_seconds, generation + 1)
    return refund


# The audit's name for a requested refund, by its reason.
_REQUESTED: Final[dict[RefundReason, AuditAction]] = {
    "operator_decision": "refund_requested:operator_decision",
    "late_approval": "refund_requested:late_approval",
}


async def _audit(tx: Transaction, actor: str, action: AuditAction, payment_id: UUID, amount_rp: int) -> None:
    await queries.record_audit_entry(
        tx, actor=actor, action=action, payment_id=payment_id, amount_rp=amount_rp
    )


async def record_refund_answer(tx: Transaction, refund_id: UUID, answer: RefundAnswer) -> UUID | None:
    """requested → done or failed. A failed refund opens a case. Repeated and unknown answers change nothing.

    If an operator decided the refund and the gateway has carried it out, the payment is refunded (X.9). Returns the id
    of such a payment, otherwise None.
    """
    if answer.status not in ("done", "failed"):
        return None
    payment_id = await queries.find_payment_of_refund(tx, refund_id=refund_id)
    if payment_id is None:
        return None
    await lock(tx, payment_id)
    amount_rp = await queries.answer_refund(
        tx, refund_id=refund_id, refund_status=answer.status, gateway_reason=answer.reason
    )
    if amount_rp is None:
        return None
    await deadlines.disarm(tx, REFUND_ANSWER, refund_id)
    if answer.status == "failed":
        await _audit(tx, "system", "refund_failed", payment_id, amount_rp)
        await open_cases(tx, [payment_id], "refund_failed")
        return None
    await _audit(tx, "system", "refund_done", payment_id, amount_rp)
    return await queries.mark_payment_refunded(tx, payment_id=payment_id, refund_id=refund_id)


async def _confirm(tx: Transaction, payment_id: UUID) -> None:
    await queries.confirm_payment(tx, payment_id=payment_id)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, payment_id)


async def _ask_in(tx: Transaction, kind: str, entity_id: UUID, seconds: float, generation: int = 1) -> None:
    due_at = await read_clock(tx) + timedelta(seconds=seconds)
    await deadlines.arm(tx, kind, entity_id, due_at, generation)
