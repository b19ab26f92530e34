"""What may be done to a payment. Every function takes an open transaction and never commits."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from curhat.deadlines import service as deadlines
from curhat.kit.audit import AuditAction
from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.payments.errors import (
    JourneyInProgress,
    PaymentClosed,
    PaymentConfirmed,
    PaymentConfirming,
    PaymentExpired,
)
from curhat.payments.gateway import ANSWER_TIMEOUT_SECONDS, ChargeAnswer, RefundAnswer
from curhat.payments.states import CaseReason, PaymentStatus, Purpose, RefundReason

SQL = load_queries(__file__)

# Deadline kinds of this room.
PAYMENT_EXPIRY = "payment_expiry"
CHARGE_ANSWER = "charge_answer"
REFUND_ANSWER = "refund_answer"

# What the gateway says of a key that it does not know, and the reason written down for it.
NOT_FOUND = "not_found"

# A call that got no answer is over by then, so asking by key cannot overtake it.
FIRST_ASK_SECONDS = ANSWER_TIMEOUT_SECONDS + 1
# A charge that the gateway did not know may still arrive there (a request kept somewhere on the way): it is asked
# about for so long, so that money taken behind our back is found and given back.
STRAY_CHARGE_SECONDS = 24 * 3600
STRAY_CHARGE_FIRST_WAIT_SECONDS = 60
# The longest wait between two questions to a gateway that does not know yet.
LONGEST_ASK_SECONDS = 30


class PaymentTerms(msgspec.Struct, frozen=True):
    """What a payment is for, as the server computed it from the offer (never from the client)."""

    purpose: Purpose
    offer_id: UUID
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    target_mitra_id: UUID | None = None


class LockedPayment(msgspec.Struct, frozen=True):
    """A payment row under its lock. `is_over`: its time to pay had passed when the lock was taken."""

    id: UUID
    customer_id: UUID
    purpose: Purpose
    status: PaymentStatus
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    target_mitra_id: UUID | None
    expires_at: datetime
    confirmed_at: datetime | None
    is_over: bool


class Charge(msgspec.Struct, frozen=True):
    """An attempt to be carried out by the gateway, between two transactions. `key` names it for ever.

    The call is over at `until`, by this machine's monotonic clock in seconds. What was not sent by then must not be
    sent any more, however long this process stood still: soon after, the gateway is asked, and may know of nothing.
    """

    key: UUID
    payment_id: UUID
    amount_rp: int
    until: float


class ChargeOutcome(msgspec.Struct, frozen=True):
    """What an answer did to the payment, given as it was before: `confirmed`, `declined` (pending again), `expired`
    (declined too late to try again), `abandoned` (an extension's charge was declined), `refunding` (approved, but
    too late), or `nothing` (known before, or not an answer)."""

    payment: LockedPayment
    step: Literal["confirmed", "declined", "expired", "abandoned", "refunding", "nothing"]


async def open_payment(tx: Transaction, customer_id: UUID, terms: PaymentTerms, timeout_minutes: int) -> UUID:
    """nothing → pending, with its expiry armed (2a.5). Raises JourneyInProgress."""
    row = await tx.fetchrow(
        SQL.open,
        customer_id,
        terms.purpose,
        terms.offer_id,
        terms.duration_minutes,
        terms.amount_rp,
        terms.is_trial,
        terms.target_mitra_id,
        timeout_minutes,
    )
    if row is None:
        raise JourneyInProgress(payment_id=await tx.fetchval(SQL.open_journey, customer_id))
    payment_id: UUID = row["id"]
    await deadlines.arm(tx, PAYMENT_EXPIRY, payment_id, row["expires_at"])
    return payment_id


async def open_extension_payment(
    tx: Transaction, customer_id: UUID, terms: PaymentTerms, expires_at: datetime
) -> UUID:
    """nothing → pending. No expiry is armed: what becomes of it follows from the extension it is for (5.7)."""
    payment_id: UUID = await tx.fetchval(
        SQL.open_extension_payment,
        customer_id,
        terms.offer_id,
        terms.duration_minutes,
        terms.amount_rp,
        expires_at,
    )
    return payment_id


def _charge(key: UUID, payment_id: UUID, amount_rp: int) -> Charge:
    """A charge that is to be sent now."""
    return Charge(key, payment_id, amount_rp, time.monotonic() + ANSWER_TIMEOUT_SECONDS)


async def begin_extension_charges(
    tx: Transaction, payment_ids: Sequence[UUID], charge_by: datetime
) -> list[Charge]:
    """pending → confirming, at the moment of approval (5.4). Approvals of the gateway count until `charge_by`.

    The caller holds the sessions' locks, and carries the charges out after the commit; a crash in between is finished
    by the armed deadlines.
    """
    rows = await tx.fetch(SQL.begin_extension_charges, payment_ids, charge_by)
    assert len(rows) == len(payment_ids)  # A payment is pending as long as its extension is.
    first_ask = timedelta(seconds=FIRST_ASK_SECONDS)
    await deadlines.arm_each(tx, CHARGE_ANSWER, [(row["id"], row["now"] + first_ask, 1) for row in rows])
    return [_charge(row["id"], row["payment_id"], row["amount_rp"]) for row in rows]


async def abandon_extensions(tx: Transaction, payment_ids: Sequence[UUID]) -> None:
    """pending or confirming → abandoned: extensions that are never charged (5.7). The caller holds the sessions'
    locks. One that has ended otherwise stays as it is."""
    await tx.execute(SQL.abandon_extensions, payment_ids)


async def lock(tx: Transaction, payment_id: UUID) -> LockedPayment:
    """Take the journey's lock. Raises NotFound."""
    row = await tx.fetchrow(SQL.lock, payment_id)
    if row is None:
        raise NotFound
    return _locked(row)


async def lock_own(tx: Transaction, payment_id: UUID, customer_id: UUID) -> LockedPayment:
    """Take the lock of a customer's own journey. Raises NotFound for another's, too, and for an extension's payment:
    nobody confirms or leaves that; what becomes of it follows from the extension (5.4, 5.7)."""
    payment = await lock(tx, payment_id)
    if payment.customer_id != customer_id or payment.purpose != "session":
        raise NotFound
    return payment


async def begin_confirmation(tx: Transaction, payment: LockedPayment) -> Charge | None:
    """pending → confirming, or straight to confirmed for Rp0, which never reaches the gateway (2a.3).

    Returns the charge to carry out after the commit, or None when the payment is confirmed now. A crash in
    between is finished by the armed deadline. Raises PaymentExpired, PaymentClosed.
    """
    if payment.status != "pending":
        raise closed_error(payment.status)
    if payment.is_over:
        raise PaymentExpired
    if payment.amount_rp == 0:
        await _confirm(tx, payment.id)
        return None
    key: UUID = await tx.fetchval(SQL.begin_confirmation, payment.id)
    await _ask_in(tx, CHARGE_ANSWER, key, FIRST_ASK_SECONDS)
    return _charge(key, payment.id, payment.amount_rp)


def closed_error(status: PaymentStatus) -> PaymentExpired | PaymentClosed:
    """Why a payment in a final status cannot be confirmed or left."""
    return PaymentExpired() if status == "expired" else PaymentClosed(payment_status=status)


async def record_charge_answer(tx: Transaction, key: UUID, answer: ChargeAnswer) -> ChargeOutcome | None:
    """Take down what the gateway says of an attempt: in any order, doubled or late, the end is the same.

    `approved` wins over everything said before: the money is taken. It confirms the payment while that is confirming,
    or pending and in time, and is refunded when the payment was closed or another attempt stands. `not_found` counts as
    declined: the call is over by the time anyone asks. An extension's charge counts until its time is over, and is
    sent again under the same key until then, so there `not_found` says nothing yet. None: no attempt has this key.
    """
    payment_id = await tx.fetchval(SQL.payment_of_attempt, key)
    if payment_id is None:
        return None
    payment = await lock(tx, payment_id)
    attempt = await tx.fetchrow(SQL.lock_attempt, key)
    assert attempt is not None  # Attempts are never deleted.
    status = attempt["status"]
    if answer.status == "approved" and status in ("started", "declined"):
        return await _approved(tx, payment, key)
    if answer.status in ("declined", NOT_FOUND) and status == "started":
        return await _declined(tx, payment, key, answer.reason or answer.status)
    return ChargeOutcome(payment, "nothing")


async def _approved(tx: Transaction, payment: LockedPayment, key: UUID) -> ChargeOutcome:
    await deadlines.disarm(tx, CHARGE_ANSWER, key)
    if payment.purpose == "extension":
        waits_for_it = payment.status == "confirming" and not payment.is_over
    else:
        # Declined first and pending again, it waits only until its time is over, however late a worker is.
        waits_for_it = payment.status == "confirming" or (payment.status == "pending" and not payment.is_over)
    if waits_for_it and not await tx.fetchval(SQL.other_charge, payment.id, key):
        await tx.execute(SQL.answer_attempt, key, "approved", None)
        await _confirm(tx, payment.id)
        return ChargeOutcome(payment, "confirmed")
    await tx.execute(SQL.answer_attempt, key, "approved_late", f"payment was {payment.status}")
    await request_refund(tx, payment.id, key, payment.amount_rp, "late_approval")
    return ChargeOutcome(payment, "refunding")


async def _declined(tx: Transaction, payment: LockedPayment, key: UUID, reason: str) -> ChargeOutcome:
    if payment.purpose == "extension" and reason == NOT_FOUND and _may_be_sent_again(payment):
        return ChargeOutcome(payment, "nothing")
    if reason != NOT_FOUND:
        await deadlines.disarm(tx, CHARGE_ANSWER, key)
    await tx.execute(SQL.answer_attempt, key, "declined", reason)
    if payment.status != "confirming":
        return ChargeOutcome(payment, "nothing")
    if payment.purpose == "extension":
        await tx.execute(SQL.close, [payment.id], "abandoned")
        return ChargeOutcome(payment, "abandoned")
    if payment.is_over:
        await tx.execute(SQL.close, [payment.id], "expired")
        return ChargeOutcome(payment, "expired")
    await tx.execute(SQL.back_to_pending, payment.id)
    # The expiry may have fired meanwhile, held back. A generation of its own: the first may be in a worker's hands.
    attempts: int = await tx.fetchval(SQL.count_attempts, payment.id)
    await deadlines.arm(tx, PAYMENT_EXPIRY, payment.id, payment.expires_at, attempts + 1)
    return ChargeOutcome(payment, "declined")


def _may_be_sent_again(payment: LockedPayment) -> bool:
    return payment.status == "confirming" and not payment.is_over


class Question(msgspec.Struct, frozen=True):
    """What to ask the gateway about an attempt without an answer. `send_again`: an extension whose approval was given
    is charged under the same key until it is answered; anything else is only asked about."""

    key: UUID
    send_again: Charge | None


async def ask_again(tx: Transaction, key: UUID, generation: int) -> Question | None:
    """The answer is still not known, or the gateway did not know the key: arm the next question, later each time.

    None: there is nothing to ask any more.
    """
    payment_id = await tx.fetchval(SQL.payment_of_attempt, key)
    if payment_id is None:
        return None
    payment = await lock(tx, payment_id)
    attempt = await tx.fetchrow(SQL.lock_attempt, key)
    assert attempt is not None  # Attempts are never deleted.
    if attempt["status"] == "started":
        wait_seconds = float(min(2**generation, LONGEST_ASK_SECONDS))
    elif attempt["reason"] == NOT_FOUND and attempt["age_seconds"] < STRAY_CHARGE_SECONDS:
        wait_seconds = max(attempt["age_seconds"], STRAY_CHARGE_FIRST_WAIT_SECONDS)
    else:
        return None
    await _ask_in(tx, CHARGE_ANSWER, key, wait_seconds, generation + 1)
    send_again = (
        attempt["status"] == "started" and payment.purpose == "extension" and _may_be_sent_again(payment)
    )
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
    """pending → expired once their time is over; a confirmation begun in time holds its own back (2a.5).

    Takes the journeys' locks. Returns those that expired, and what they were for.
    """
    rows = await tx.fetch(SQL.expire, payment_ids)
    expired = {row["id"]: row["purpose"] for row in rows if row["expired"]}
    if expired:
        await deadlines.disarm(tx, PAYMENT_EXPIRY, *expired)
    for row in rows:
        if not row["expired"]:
            # The clock stepped back since the deadline was claimed: it is still to come.
            await deadlines.arm(tx, PAYMENT_EXPIRY, row["id"], row["expires_at"])
    return expired


async def close(
    tx: Transaction,
    payment_ids: Sequence[UUID],
    status: Literal["abandoned", "expired", "served", "unserved"],
) -> None:
    """open → a status that ends the journey. The caller holds the locks."""
    await tx.execute(SQL.close, payment_ids, status)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, *payment_ids)


async def open_cases(tx: Transaction, payment_ids: Sequence[UUID], reason: CaseReason) -> None:
    """Have an operator look at these payments; each has one case at most, so the first reason stays (X.1)."""
    await tx.execute(SQL.open_cases, payment_ids, reason)


class TakenCharge(msgspec.Struct, frozen=True):
    """A charge that may be given back. `was_refused`: the gateway was asked to, and refused."""

    key: UUID
    amount_rp: int
    was_refused: bool


async def charges_to_refund(tx: Transaction, payment_id: UUID) -> list[TakenCharge]:
    """What was taken under a payment for no session, or for one cut short, and is not given back. Nothing for Rp0."""
    return [
        TakenCharge(key=row["id"], amount_rp=row["amount_rp"], was_refused=row["was_refused"])
        for row in await tx.fetch(SQL.charges_to_refund, [payment_id])
    ]


async def refundable_rp(tx: Transaction, payment_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The sum of `charges_to_refund` of each of these payments; 0 where there is nothing."""
    sums = dict.fromkeys(payment_ids, 0)
    for row in await tx.fetch(SQL.charges_to_refund, payment_ids):
        sums[row["payment_id"]] += row["amount_rp"]
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
    """Have one charge given back, once: the worker carries it out between transactions, and audits it."""
    refund_id = await tx.fetchval(SQL.request_refund, payment_id, charge_key, amount_rp, reason)
    if refund_id is None:
        return
    await _audit(tx, by, _REQUESTED[reason], payment_id, amount_rp)
    await _ask_in(tx, REFUND_ANSWER, refund_id, 0)


class Refund(msgspec.Struct, frozen=True):
    """A refund to be carried out by the gateway. `key` names it for ever."""

    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int


async def refund_to_carry_out(tx: Transaction, refund_id: UUID, generation: int) -> Refund | None:
    """The refund if it still waits for its answer, with the next try armed; None otherwise."""
    row = await tx.fetchrow(SQL.refund, refund_id)
    if row is None or row["status"] != "requested":
        return None
    wait_seconds = FIRST_ASK_SECONDS + min(2**generation, LONGEST_ASK_SECONDS)
    await _ask_in(tx, REFUND_ANSWER, refund_id, wait_seconds, generation + 1)
    return Refund(refund_id, row["charge_attempt_id"], row["payment_id"], row["amount_rp"])


# What the audit calls a refund that is asked for, by the reason for it.
_REQUESTED: Final[dict[RefundReason, AuditAction]] = {
    "operator_decision": "refund_requested:operator_decision",
    "late_approval": "refund_requested:late_approval",
}


async def _audit(tx: Transaction, by: str, action: AuditAction, payment_id: UUID, amount_rp: int) -> None:
    await tx.execute(SQL.audit, action, "payment", payment_id, None, str(amount_rp), by)


async def record_refund_answer(tx: Transaction, refund_id: UUID, answer: RefundAnswer) -> UUID | None:
    """requested → done or failed; a failed one opens a case. Repeated or unknown answers change nothing.

    When the gateway has given back the charge of a payment as an operator decided, the payment is refunded (X.9):
    its id is the answer.
    """
    if answer.status not in ("done", "failed"):
        return None
    payment_id = await tx.fetchval(SQL.payment_of_refund, refund_id)
    if payment_id is None:
        return None
    await lock(tx, payment_id)
    row = await tx.fetchrow(SQL.answer_refund, refund_id, answer.status, answer.reason)
    if row is None:
        return None
    await deadlines.disarm(tx, REFUND_ANSWER, refund_id)
    is_done = answer.status == "done"
    await _audit(tx, "system", "refund_done" if is_done else "refund_failed", payment_id, row["amount_rp"])
    if answer.status == "failed":
        await open_cases(tx, [payment_id], "refund_failed")
        return None
    refunded: UUID | None = await tx.fetchval(SQL.refunded, payment_id, refund_id)
    return refunded


async def _confirm(tx: Transaction, payment_id: UUID) -> None:
    await tx.execute(SQL.confirm, payment_id)
    await deadlines.disarm(tx, PAYMENT_EXPIRY, payment_id)


async def _ask_in(tx: Transaction, kind: str, entity_id: UUID, seconds: float, generation: int = 1) -> None:
    now: datetime = await tx.fetchval("SELECT curhat_now()")
    await deadlines.arm(tx, kind, entity_id, now + timedelta(seconds=seconds), generation)


def _locked(row: Any) -> LockedPayment:
    return LockedPayment(**{field: row[field] for field in LockedPayment.__struct_fields__})
