"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.payments.states import AttemptStatus, CaseReason, PaymentStatus, RefundReason
from curhat.pricing.schemas import Purpose


class OpenPaymentRow(msgspec.Struct, frozen=True):
    id: UUID
    expires_at: datetime


OPEN_PAYMENT: Final = """
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, target_mitra_id, expires_at)
VALUES ($1, 'session', $2, $3, $4, $5, $6,
    curhat_now() + make_interval(mins => $7))
ON CONFLICT (customer_id) WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed') DO NOTHING
RETURNING id, expires_at
"""


async def open_payment(
    db: Executor,
    /,
    *,
    customer_id: UUID,
    offer_id: UUID,
    duration_minutes: int,
    amount_rp: int,
    is_trial: bool,
    target_mitra_id: UUID | None,
    timeout_minutes: int,
) -> OpenPaymentRow | None:
    """Open a payment (nothing → pending). Returns no row if the customer already has an open payment."""
    row = await db.fetchrow(
        OPEN_PAYMENT,
        customer_id,
        offer_id,
        duration_minutes,
        amount_rp,
        is_trial,
        target_mitra_id,
        timeout_minutes,
    )
    if row is None:
        return None
    return OpenPaymentRow(*row)


FIND_OPENING_WAIT: Final = """
SELECT extract(epoch FROM created_at + make_interval(secs => $1) - curhat_now())::float8 AS wait_seconds
FROM payments WHERE customer_id = $2 AND purpose = $3
ORDER BY id DESC OFFSET $4 - 1 LIMIT 1
"""


async def find_opening_wait(
    db: Executor, /, *, window_seconds: float, customer_id: UUID, purpose: Purpose, max_payments: int
) -> float | None:
    """Number the customer's payments of this purpose, newest first, and find payment number @max_payments. Returns the
    seconds until this payment is @window_seconds old. While payment number @max_payments is less than @window_seconds
    old, the customer has opened at least @max_payments payments within the last @window_seconds. Returns no row if the
    customer has fewer than @max_payments payments of this purpose."""
    row = await db.fetchrow(FIND_OPENING_WAIT, window_seconds, customer_id, purpose, max_payments)
    if row is None:
        return None
    value: float = row[0]
    return value


FIND_CONFIRMATION_WAIT: Final = """
WITH newest_payments AS MATERIALIZED (
    SELECT id, is_trial, confirmed_at FROM payments WHERE customer_id = $1 AND purpose = 'session'
    ORDER BY id DESC LIMIT $2
), confirmations AS (
    SELECT charge_attempts.started_at AS begun_at
    FROM newest_payments JOIN charge_attempts ON charge_attempts.payment_id = newest_payments.id
    UNION ALL
    SELECT confirmed_at FROM newest_payments WHERE is_trial AND confirmed_at IS NOT NULL
)
SELECT extract(epoch FROM begun_at + make_interval(secs => $3) - curhat_now())::float8 AS wait_seconds
FROM confirmations
ORDER BY begun_at DESC OFFSET $4 - 1 LIMIT 1
"""


async def find_confirmation_wait(
    db: Executor, /, *, customer_id: UUID, max_payments: int, window_seconds: float, max_confirmations: int
) -> float | None:
    """Number the customer's confirmations, newest first, and find confirmation number @max_confirmations. Returns the
    seconds until this confirmation is @window_seconds old. A confirmation is a charge attempt for a session, or a
    confirmed trial. The statement reads only the newest @max_payments payments. A customer has one open payment at a
    time, so a payment that is older than the newest @max_payments has no confirmation within the window. Returns a
    row only if these payments have, in total, at least @max_confirmations confirmations."""
    row = await db.fetchrow(
        FIND_CONFIRMATION_WAIT, customer_id, max_payments, window_seconds, max_confirmations
    )
    if row is None:
        return None
    value: float = row[0]
    return value


FIND_OPEN_PAYMENT: Final = """
SELECT id FROM payments
WHERE customer_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
"""


async def find_open_payment(db: Executor, /, *, customer_id: UUID) -> UUID | None:
    """Find the customer's open payment of purpose `session`."""
    row = await db.fetchrow(FIND_OPEN_PAYMENT, customer_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


OPEN_EXTENSION_PAYMENT: Final = """
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
VALUES ($1, 'extension', $2, $3, $4, false, $5)
RETURNING id
"""


async def open_extension_payment(
    db: Executor,
    /,
    *,
    customer_id: UUID,
    offer_id: UUID,
    duration_minutes: int,
    amount_rp: int,
    expires_at: datetime,
) -> UUID:
    """Open the payment of an extension (nothing → pending)."""
    row = await db.fetchrow(
        OPEN_EXTENSION_PAYMENT, customer_id, offer_id, duration_minutes, amount_rp, expires_at
    )
    if row is None:
        raise NoRow(OPEN_EXTENSION_PAYMENT)
    value: UUID = row[0]
    return value


class BeginExtensionChargesRow(msgspec.Struct, frozen=True):
    key: UUID
    payment_id: UUID
    customer_id: UUID
    amount_rp: int
    now: datetime


BEGIN_EXTENSION_CHARGES: Final = """
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming', expires_at = $1
    WHERE id = ANY ($2::uuid[]) AND status = 'pending'
    RETURNING id, customer_id, amount_rp
), insert_attempts AS (
    INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
    RETURNING id, payment_id, amount_rp
)
SELECT insert_attempts.id AS key, payment_id, customer_id, insert_attempts.amount_rp, curhat_now() AS now
FROM insert_attempts JOIN begin_confirmation ON begin_confirmation.id = insert_attempts.payment_id
"""


async def begin_extension_charges(
    db: Executor, /, *, charge_by: datetime, payment_ids: Sequence[UUID]
) -> list[BeginExtensionChargesRow]:
    """Begin to charge the payments of extensions (pending → confirming). The new expires_at is @charge_by. Inserts one
    charge attempt per payment. The id of the attempt is the attempt's key at the gateway. The statement takes no further
    lock, because the caller holds the sessions' locks. No transaction changes an extension's payment without the
    session's lock."""
    return [
        BeginExtensionChargesRow(*row)
        for row in await db.fetch(BEGIN_EXTENSION_CHARGES, charge_by, payment_ids)
    ]


ABANDON_EXTENSION_PAYMENTS: Final = """
UPDATE payments SET status = 'abandoned', closed_at = curhat_now()
WHERE id = ANY ($1::uuid[]) AND status IN ('pending', 'confirming')
"""


async def abandon_extension_payments(db: Executor, /, *, payment_ids: Sequence[UUID]) -> None:
    """Abandon the payments of extensions (pending or confirming → abandoned). The caller holds the sessions' locks."""
    await db.execute(ABANDON_EXTENSION_PAYMENTS, payment_ids)


class LockedPayment(msgspec.Struct, frozen=True):
    id: UUID
    customer_id: UUID
    purpose: Purpose
    status: PaymentStatus
    amount_rp: int
    target_mitra_id: UUID | None
    expires_at: datetime
    confirmed_at: datetime | None
    is_over: bool
    given_up_at: datetime
    is_given_up: bool


LOCK_PAYMENT: Final = """
WITH locked_payment AS MATERIALIZED (SELECT * FROM payments WHERE id = $1 FOR NO KEY UPDATE)
SELECT id, customer_id, purpose, status, amount_rp, target_mitra_id, expires_at, confirmed_at,
    expires_at <= curhat_now() AS is_over, expires_at + interval '10 minutes' AS given_up_at,
    purpose = 'session' AND status = 'confirming' AND expires_at + interval '10 minutes' <= curhat_now()
        AS is_given_up
FROM locked_payment
"""


async def lock_payment(db: Executor, /, *, payment_id: UUID) -> LockedPayment | None:
    """Lock the payment. The lock on the payment protects the whole journey of the payment. `is_over` is true if the time to
    pay had passed when this statement got the lock. `given_up_at` is the time at which the service stops waiting for the
    gateway's answer about a session's payment (2a.10)."""
    row = await db.fetchrow(LOCK_PAYMENT, payment_id)
    if row is None:
        return None
    return LockedPayment(*row)


BEGIN_CONFIRMATION: Final = """
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming' WHERE id = $1 AND status = 'pending' RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
RETURNING id
"""


async def begin_confirmation(db: Executor, /, *, payment_id: UUID) -> UUID:
    """Begin the confirmation (pending → confirming). Inserts a charge attempt and returns the attempt's id, which is also
    the attempt's key at the gateway."""
    row = await db.fetchrow(BEGIN_CONFIRMATION, payment_id)
    if row is None:
        raise NoRow(BEGIN_CONFIRMATION)
    value: UUID = row[0]
    return value


CONFIRM_PAYMENT: Final = """
UPDATE payments SET status = 'confirmed', confirmed_at = curhat_now() WHERE id = $1
"""


async def confirm_payment(db: Executor, /, *, payment_id: UUID) -> None:
    """Confirm the payment (pending or confirming → confirmed)."""
    await db.execute(CONFIRM_PAYMENT, payment_id)


REOPEN_PAYMENT: Final = """
UPDATE payments SET status = 'pending' WHERE id = $1
"""


async def reopen_payment(db: Executor, /, *, payment_id: UUID) -> None:
    """Reopen the payment (confirming → pending), because the gateway declined the charge in time. The customer can then try
    again."""
    await db.execute(REOPEN_PAYMENT, payment_id)


class ExpirePaymentsRow(msgspec.Struct, frozen=True):
    id: UUID
    purpose: Purpose
    expires_at: datetime
    is_expired: bool


EXPIRE_PAYMENTS: Final = """
WITH locked_payments AS MATERIALIZED (
    SELECT id, purpose, status, expires_at FROM payments WHERE id = ANY ($1::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_payments
), expire_due AS (
    UPDATE payments SET status = 'expired', closed_at = moment.now
    FROM locked_payments, moment
    WHERE payments.id = locked_payments.id AND locked_payments.status = 'pending'
        AND locked_payments.expires_at <= moment.now
    RETURNING payments.id
)
SELECT locked_payments.id, locked_payments.purpose, locked_payments.expires_at, expire_due.id IS NOT NULL AS is_expired
FROM locked_payments
LEFT JOIN expire_due USING (id)
WHERE locked_payments.status = 'pending'
"""


async def expire_payments(db: Executor, /, *, payment_ids: Sequence[UUID]) -> list[ExpirePaymentsRow]:
    """Expire the payments whose time to pay has passed (pending → expired). Locks the payments in id order. Returns one row
    per payment that was pending. `is_expired` is false if the time to pay has not passed yet. The result has no row for
    a confirming payment, because a confirmation that began in time delays the expiry."""
    return [ExpirePaymentsRow(*row) for row in await db.fetch(EXPIRE_PAYMENTS, payment_ids)]


CLOSE_PAYMENTS: Final = """
UPDATE payments SET status = $1, closed_at = curhat_now() WHERE id = ANY ($2::uuid[])
"""


async def close_payments(db: Executor, /, *, status: PaymentStatus, payment_ids: Sequence[UUID]) -> None:
    """Close the payments (an open status → @status). The new status is final."""
    await db.execute(CLOSE_PAYMENTS, status, payment_ids)


FIND_PAYMENT_OF_ATTEMPT: Final = """
SELECT payment_id FROM charge_attempts WHERE id = $1
"""


async def find_payment_of_attempt(db: Executor, /, *, attempt_id: UUID) -> UUID | None:
    row = await db.fetchrow(FIND_PAYMENT_OF_ATTEMPT, attempt_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class LockedAttempt(msgspec.Struct, frozen=True):
    attempt_status: AttemptStatus
    reason: str | None
    age_seconds: float


LOCK_ATTEMPT: Final = """
WITH locked_attempt AS MATERIALIZED (SELECT * FROM charge_attempts WHERE id = $1 FOR NO KEY UPDATE)
SELECT status AS attempt_status, reason, extract(epoch FROM curhat_now() - started_at)::float8 AS age_seconds
FROM locked_attempt
"""


async def lock_attempt(db: Executor, /, *, attempt_id: UUID) -> LockedAttempt:
    """Lock a charge attempt. `age_seconds` is the time since the attempt began."""
    row = await db.fetchrow(LOCK_ATTEMPT, attempt_id)
    if row is None:
        raise NoRow(LOCK_ATTEMPT)
    return LockedAttempt(*row)


ANSWER_ATTEMPT: Final = """
UPDATE charge_attempts SET status = $1, answered_at = curhat_now(), reason = $2
WHERE id = $3
"""


async def answer_attempt(
    db: Executor, /, *, attempt_status: AttemptStatus, reason: str | None, attempt_id: UUID
) -> None:
    """Record the gateway's answer about the attempt (started or declined → @attempt_status)."""
    await db.execute(ANSWER_ATTEMPT, attempt_status, reason, attempt_id)


HAS_OTHER_CHARGE: Final = """
SELECT EXISTS (
    SELECT 1 FROM charge_attempts
    WHERE payment_id = $1 AND id <> $2 AND status IN ('approved', 'started')
) AS has_other_charge
"""


async def has_other_charge(db: Executor, /, *, payment_id: UUID, attempt_id: UUID) -> bool:
    """Return whether the payment has an attempt other than @attempt_id that charged the customer, or can still charge the
    customer."""
    row = await db.fetchrow(HAS_OTHER_CHARGE, payment_id, attempt_id)
    if row is None:
        raise NoRow(HAS_OTHER_CHARGE)
    value: bool = row[0]
    return value


COUNT_ATTEMPTS: Final = """
SELECT count(*)::integer AS attempts FROM charge_attempts WHERE payment_id = $1
"""


async def count_attempts(db: Executor, /, *, payment_id: UUID) -> int:
    row = await db.fetchrow(COUNT_ATTEMPTS, payment_id)
    if row is None:
        raise NoRow(COUNT_ATTEMPTS)
    value: int = row[0]
    return value


REQUEST_REFUND: Final = """
INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, decided_round)
SELECT $1, $2, $3, $4, $5::integer
WHERE $5::integer IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM refunds WHERE charge_attempt_id = $2 AND status <> 'failed'
)
ON CONFLICT DO NOTHING
RETURNING id
"""


async def request_refund(
    db: Executor,
    /,
    *,
    payment_id: UUID,
    charge_key: UUID,
    amount_rp: int,
    refund_reason: RefundReason,
    decided_round: int | None,
) -> UUID | None:
    """Request a refund (nothing → requested). @decided_round is the round of the operator's decision, or null for an automatic
    refund. Returns no row if this decision already has a refund of the charge that has not failed. An automatic refund is
    of the whole charge, so there is no row either if the charge has any refund that has not failed."""
    row = await db.fetchrow(REQUEST_REFUND, payment_id, charge_key, amount_rp, refund_reason, decided_round)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class Refund(msgspec.Struct, frozen=True):
    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    age_seconds: float
    refused_keys: list[UUID]


FIND_REQUESTED_REFUND: Final = """
SELECT id AS key, charge_attempt_id AS charge_key, payment_id, amount_rp,
    extract(epoch FROM curhat_now() - requested_at)::float8 AS age_seconds,
    ARRAY(
        SELECT earlier.id FROM refunds AS earlier
        WHERE earlier.charge_attempt_id = refunds.charge_attempt_id AND earlier.status = 'failed'
    ) AS refused_keys
FROM refunds
WHERE id = $1 AND status = 'requested'
"""


async def find_requested_refund(db: Executor, /, *, refund_id: UUID) -> Refund | None:
    """Find a refund that the gateway has to carry out. `key` identifies the refund at the gateway, and never changes.
    `age_seconds` is the time since the refund was requested. `refused_keys` has the keys of the charge's earlier refunds
    that the gateway refused. Returns no row if the refund is unknown, or the gateway has already answered."""
    row = await db.fetchrow(FIND_REQUESTED_REFUND, refund_id)
    if row is None:
        return None
    return Refund(*row)


class UndeliveredCharge(msgspec.Struct, frozen=True):
    payment_id: UUID
    key: UUID
    amount_rp: int
    decided_round: int | None
    refused_rp: int | None


LIST_UNDELIVERED_CHARGES: Final = """
SELECT payment_id, charge_attempt_id AS key, amount_rp, decided_round, refused_rp FROM undelivered_charges
WHERE payment_id = ANY ($1::uuid[])
ORDER BY charge_attempt_id
"""


async def list_undelivered_charges(
    db: Executor, /, *, payment_ids: Sequence[UUID]
) -> list[UndeliveredCharge]:
    """Find the undelivered charges of these payments (see the view undelivered_charges). `decided_round` is the round of
    the payment's case in which an operator decided about the charge. `amount_rp` is what is left of the charge.
    `refused_rp` is the amount that an operator decided to refund and that the gateway refused."""
    return [UndeliveredCharge(*row) for row in await db.fetch(LIST_UNDELIVERED_CHARGES, payment_ids)]


FIND_PAYMENT_OF_REFUND: Final = """
SELECT payment_id FROM refunds WHERE id = $1
"""


async def find_payment_of_refund(db: Executor, /, *, refund_id: UUID) -> UUID | None:
    row = await db.fetchrow(FIND_PAYMENT_OF_REFUND, refund_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class LockedRefund(msgspec.Struct, frozen=True):
    charge_key: UUID
    amount_rp: int
    refund_reason: RefundReason
    refund_status: str
    decided_round: int | None


LOCK_REFUND: Final = """
SELECT charge_attempt_id AS charge_key, amount_rp, reason AS refund_reason, status AS refund_status, decided_round
FROM refunds
WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_refund(db: Executor, /, *, refund_id: UUID) -> LockedRefund:
    """Lock a refund."""
    row = await db.fetchrow(LOCK_REFUND, refund_id)
    if row is None:
        raise NoRow(LOCK_REFUND)
    return LockedRefund(*row)


class LiveRefund(msgspec.Struct, frozen=True):
    id: UUID
    refund_status: str
    amount_rp: int
    decided_round: int | None
    charged_rp: int


LIST_OTHER_LIVE_REFUNDS: Final = """
SELECT refunds.id, refunds.status AS refund_status, refunds.amount_rp, refunds.decided_round,
    charge_attempts.amount_rp AS charged_rp
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE refunds.charge_attempt_id = $1 AND refunds.status <> 'failed' AND refunds.id <> $2
ORDER BY refunds.status = 'done', refunds.id DESC
"""


async def list_other_live_refunds(db: Executor, /, *, charge_key: UUID, refund_id: UUID) -> list[LiveRefund]:
    """List the refunds of the charge that are requested or done, except the refund @refund_id. Requested refunds come first,
    newest first. `charged_rp` is the amount of the charge."""
    return [LiveRefund(*row) for row in await db.fetch(LIST_OTHER_LIVE_REFUNDS, charge_key, refund_id)]


ANSWER_REFUND: Final = """
UPDATE refunds SET status = $1, gateway_reason = $2, answered_at = curhat_now()
WHERE id = $3
"""


async def answer_refund(
    db: Executor, /, *, refund_status: str, gateway_reason: str | None, refund_id: UUID
) -> None:
    """Record the gateway's answer about the refund (requested → done or failed, or failed → done)."""
    await db.execute(ANSWER_REFUND, refund_status, gateway_reason, refund_id)


MARK_PAYMENT_REFUNDED: Final = """
UPDATE payments SET status = 'refunded'
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE payments.id = $1 AND payments.status IN ('served', 'unserved') AND refunds.id = $2
    AND refunds.reason = 'operator_decision' AND charge_attempts.status = 'approved'
    AND charge_attempts.amount_rp <= (
        SELECT sum(done.amount_rp) FROM refunds AS done
        WHERE done.charge_attempt_id = charge_attempts.id AND done.status = 'done'
    )
"""


async def mark_payment_refunded(db: Executor, /, *, payment_id: UUID, refund_id: UUID) -> None:
    """Mark the payment as refunded (served or unserved → refunded). The refund must come from an operator's decision. The
    charge of the refund must be `approved`, and not a late approval, and all of it must be given back. Changes no row if
    the refund or its charge does not fit, or if the payment is neither served nor unserved."""
    await db.execute(MARK_PAYMENT_REFUNDED, payment_id, refund_id)


OPEN_CASES: Final = """
INSERT INTO review_cases (payment_id, reason, amount_rp)
SELECT id, $1, amount_rp FROM payments WHERE id = ANY ($2::uuid[]) ORDER BY id
ON CONFLICT (payment_id) DO UPDATE SET status = 'open', reason = excluded.reason
WHERE review_cases.status = 'open' OR EXISTS (
    SELECT 1 FROM undelivered_charges
    WHERE undelivered_charges.payment_id = review_cases.payment_id AND undelivered_charges.decided_round IS NULL
)
"""


async def open_cases(db: Executor, /, *, case_reason: CaseReason, payment_ids: Sequence[UUID]) -> None:
    """Open one review case per payment (nothing → open). A decided case opens again if the payment has an undelivered
    charge without a decision. A trigger then stores the earlier decision. If a case is open, @case_reason replaces its
    earlier reason. A case that is neither open nor opened again stays unchanged. The statement locks the existing cases,
    so a concurrent decision waits, and then sees the charge."""
    await db.execute(OPEN_CASES, case_reason, payment_ids)


QUESTION_CHARGES: Final = """
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
WHERE payment_id = $1 AND status IN ('approved', 'approved_late') AND amount_rp > (
    SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
    WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
)
RETURNING id
"""


async def question_charges(db: Executor, /, *, payment_id: UUID) -> list[UUID]:
    """Question the payment's charges of which something is left. A questioned charge is undecided again, and counts as
    undelivered. The trigger `charge_decided_once` knows a question by its new time, so each question of a charge gets a
    later time than the one before, even if the clock has not moved. (`greatest` leaves a null out.)"""
    return [row[0] for row in await db.fetch(QUESTION_CHARGES, payment_id)]


QUESTION_DECIDED_CHARGES: Final = """
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
WHERE payment_id = ANY ($1::uuid[]) AND status = 'approved' AND decided_round IS NOT NULL
    AND amount_rp > (
        SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
        WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
    )
    AND NOT EXISTS (
        SELECT 1 FROM review_cases
        WHERE review_cases.payment_id = charge_attempts.payment_id
            AND review_cases.needs_approval AND review_cases.approved_by IS NULL
    )
"""


async def question_decided_charges(db: Executor, /, *, payment_ids: Sequence[UUID]) -> None:
    """Question the charges of these payments about which an operator decided while the session still ran, and of which
    something is left. A decision that waits for a second operator stays."""
    await db.execute(QUESTION_DECIDED_CHARGES, payment_ids)


QUESTION_REFUSED_CHARGE: Final = """
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
FROM refunds
WHERE refunds.id = $1 AND charge_attempts.id = refunds.charge_attempt_id
    AND (charge_attempts.decided_round IS NULL OR charge_attempts.decided_round <> refunds.decided_round)
"""


async def question_refused_charge(db: Executor, /, *, refund_id: UUID) -> int:
    """Question the charge of a refund that the gateway refused, if no decision covers this refund any more: an operator
    has decided about the charge again since, or nobody has decided about the charge."""
    return rows_changed(await db.execute(QUESTION_REFUSED_CHARGE, refund_id))


OPEN_QUESTIONED_CASE: Final = """
INSERT INTO review_cases (payment_id, reason, amount_rp, opened_by, opened_note)
SELECT id, $1, amount_rp, $2, $3 FROM payments WHERE id = $4
ON CONFLICT (payment_id) DO UPDATE SET
    status = 'open',
    reason = CASE review_cases.status WHEN 'open' THEN review_cases.reason ELSE excluded.reason END,
    opened_by = CASE review_cases.status WHEN 'open' THEN review_cases.opened_by ELSE excluded.opened_by END,
    opened_note = CASE review_cases.status WHEN 'open' THEN review_cases.opened_note ELSE excluded.opened_note END
RETURNING id
"""


async def open_questioned_case(
    db: Executor,
    /,
    *,
    case_reason: CaseReason,
    opened_by: UUID | None,
    opened_note: str | None,
    payment_id: UUID,
) -> UUID:
    """Open the payment's case about its questioned charges (nothing or decided → open). @opened_by and @opened_note are null
    if no operator opened it. If the case is open, nothing changes but the row's version. Returns the case's id."""
    row = await db.fetchrow(OPEN_QUESTIONED_CASE, case_reason, opened_by, opened_note, payment_id)
    if row is None:
        raise NoRow(OPEN_QUESTIONED_CASE)
    value: UUID = row[0]
    return value


class LockedCaseOfPayment(msgspec.Struct, frozen=True):
    id: UUID
    is_open: bool
    awaits_approval: bool


LOCK_CASE_OF_PAYMENT: Final = """
SELECT id, status = 'open' AS is_open, needs_approval AND approved_by IS NULL AS awaits_approval
FROM review_cases WHERE payment_id = $1 FOR NO KEY UPDATE
"""


async def lock_case_of_payment(db: Executor, /, *, payment_id: UUID) -> LockedCaseOfPayment | None:
    """Lock the payment's case. `awaits_approval` is true if a decided refund waits for a second operator."""
    row = await db.fetchrow(LOCK_CASE_OF_PAYMENT, payment_id)
    if row is None:
        return None
    return LockedCaseOfPayment(*row)


class OurRecord(msgspec.Struct, frozen=True):
    key: UUID
    payment_id: UUID
    amount_rp: int
    our_status: str


LIST_CHARGES_BY_KEY: Final = """
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM charge_attempts WHERE id = ANY ($1::uuid[])
"""


async def list_charges_by_key(db: Executor, /, *, keys: Sequence[UUID]) -> list[OurRecord]:
    """Find our records of these charges."""
    return [OurRecord(*row) for row in await db.fetch(LIST_CHARGES_BY_KEY, keys)]


LIST_REFUNDS_BY_KEY: Final = """
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM refunds WHERE id = ANY ($1::uuid[])
"""


async def list_refunds_by_key(db: Executor, /, *, keys: Sequence[UUID]) -> list[OurRecord]:
    """Find our records of these refunds."""
    return [OurRecord(*row) for row in await db.fetch(LIST_REFUNDS_BY_KEY, keys)]


LIST_CHARGES_TAKEN: Final = """
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM charge_attempts
WHERE started_at >= $1 AND started_at < $2 AND status IN ('approved', 'approved_late')
"""


async def list_charges_taken(db: Executor, /, *, begins_at: datetime, ends_at: datetime) -> list[OurRecord]:
    """List the charges from @begins_at until before @ends_at that the gateway has approved, by our records."""
    return [OurRecord(*row) for row in await db.fetch(LIST_CHARGES_TAKEN, begins_at, ends_at)]


LIST_REFUNDS_DONE: Final = """
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM refunds
WHERE requested_at >= $1 AND requested_at < $2 AND status = 'done'
"""


async def list_refunds_done(db: Executor, /, *, begins_at: datetime, ends_at: datetime) -> list[OurRecord]:
    """List the refunds requested from @begins_at until before @ends_at that the gateway has carried out, by our records."""
    return [OurRecord(*row) for row in await db.fetch(LIST_REFUNDS_DONE, begins_at, ends_at)]


INSERT_BOOK_DIFFERENCE: Final = """
INSERT INTO book_differences (key, day, about, payment_id, our_status, our_rp, gateway_status, gateway_rp)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING key
"""


async def insert_book_difference(
    db: Executor,
    /,
    *,
    key: UUID,
    day: date,
    about: str,
    payment_id: UUID,
    our_status: str | None,
    our_rp: int | None,
    gateway_status: str | None,
    gateway_rp: int | None,
) -> UUID | None:
    """Record a difference. Returns no row if this charge or refund has differed before."""
    row = await db.fetchrow(
        INSERT_BOOK_DIFFERENCE, key, day, about, payment_id, our_status, our_rp, gateway_status, gateway_rp
    )
    if row is None:
        return None
    value: UUID = row[0]
    return value


class BookDifference(msgspec.Struct, frozen=True):
    day: date
    about: str
    key: UUID
    our_status: str | None
    our_rp: int | None
    gateway_status: str | None
    gateway_rp: int | None
    found_at: datetime


LIST_BOOK_DIFFERENCES: Final = """
SELECT day, about, key, our_status, our_rp, gateway_status, gateway_rp, found_at FROM book_differences
WHERE payment_id = $1 ORDER BY found_at, key
"""


async def list_book_differences(db: Executor, /, *, payment_id: UUID) -> list[BookDifference]:
    """Read the differences that concern a payment, oldest first."""
    return [BookDifference(*row) for row in await db.fetch(LIST_BOOK_DIFFERENCES, payment_id)]


FIND_NEWEST_CHANGE: Final = """
SELECT changed_at FROM status_changes ORDER BY id DESC LIMIT 1
"""


async def find_newest_change(db: Executor, /) -> datetime | None:
    """Return when a payment, pairing, session or extension changed last. No row: none ever changed."""
    row = await db.fetchrow(FIND_NEWEST_CHANGE)
    if row is None:
        return None
    value: datetime = row[0]
    return value


FIND_UNKNOWN_CHARGES: Final = """
SELECT key FROM unnest($1::uuid[]) AS listed (key) WHERE key NOT IN (SELECT id FROM charge_attempts WHERE id = ANY ($1))
"""


async def find_unknown_charges(db: Executor, /, *, keys: Sequence[UUID]) -> list[UUID]:
    """Find the keys among @keys that no charge attempt has."""
    return [row[0] for row in await db.fetch(FIND_UNKNOWN_CHARGES, keys)]


FIND_UNKNOWN_REFUNDS: Final = """
SELECT key FROM unnest($1::uuid[]) AS listed (key) WHERE key NOT IN (SELECT id FROM refunds WHERE id = ANY ($1))
"""


async def find_unknown_refunds(db: Executor, /, *, keys: Sequence[UUID]) -> list[UUID]:
    """Find the keys among @keys that no refund has."""
    return [row[0] for row in await db.fetch(FIND_UNKNOWN_REFUNDS, keys)]


LIST_UNDECIDED_ATTEMPTS: Final = """
SELECT id AS key FROM charge_attempts
WHERE status = 'started' OR (status = 'declined' AND reason = 'not_found' AND started_at > $1::timestamptz - interval '1 day')
ORDER BY id
"""


async def list_undecided_attempts(db: Executor, /, *, since: datetime) -> list[UUID]:
    """List the keys of the attempts that the gateway can have approved after @since although we do not know it: the attempts
    without an answer, and those that the gateway did not know in the day before @since (2a.10)."""
    return [row[0] for row in await db.fetch(LIST_UNDECIDED_ATTEMPTS, since)]


class LateCharge(msgspec.Struct, frozen=True):
    key: UUID
    payment_id: UUID
    amount_rp: int


FIND_LATE_CHARGES: Final = """
SELECT id AS key, payment_id, amount_rp FROM charge_attempts
WHERE id = ANY ($1::uuid[]) AND status IN ('started', 'declined')
ORDER BY id
"""


async def find_late_charges(db: Executor, /, *, keys: Sequence[UUID]) -> list[LateCharge]:
    """Find the attempts among @keys that we do not know as approved."""
    return [LateCharge(*row) for row in await db.fetch(FIND_LATE_CHARGES, keys)]


FIND_SEARCHING_PAYMENT: Final = """
SELECT payments.id AS payment_id
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE charge_attempts.id = $1 AND charge_attempts.status = 'approved' AND payments.status = 'confirmed'
"""


async def find_searching_payment(db: Executor, /, *, attempt_id: UUID) -> UUID | None:
    """Find the payment of the charge @attempt_id, if this charge pays for a search that has not ended."""
    row = await db.fetchrow(FIND_SEARCHING_PAYMENT, attempt_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


INSERT_LOST_PAYMENT: Final = """
INSERT INTO payments
    (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, created_at, expires_at, closed_at)
SELECT $1, $2, 'session', 'abandoned', id, duration_minutes, $3, false,
    $4, $4, curhat_now()
FROM offers WHERE purpose = 'session' AND NOT is_trial
ORDER BY price_rp = $3 DESC, withdrawn_at DESC NULLS FIRST, id DESC LIMIT 1
"""


async def insert_lost_payment(
    db: Executor, /, *, payment_id: UUID, customer_id: UUID, amount_rp: int, charged_at: datetime
) -> int:
    """nothing → abandoned, for a payment that a restore lost. What the customer bought is not known, so the statement takes
    the terms of an offer with this price or, if there is none, of another. Changes no row if there is no offer."""
    return rows_changed(await db.execute(INSERT_LOST_PAYMENT, payment_id, customer_id, amount_rp, charged_at))


INSERT_LOST_ATTEMPT: Final = """
INSERT INTO charge_attempts (id, payment_id, amount_rp, status, started_at, answered_at, reason)
SELECT $1, id, $2, $3, least($4, expires_at),
    CASE WHEN $3 <> 'started' THEN curhat_now() END, $5
FROM payments WHERE id = $6
"""


async def insert_lost_attempt(
    db: Executor,
    /,
    *,
    key: UUID,
    amount_rp: int,
    attempt_status: AttemptStatus,
    charged_at: datetime,
    reason: str,
    payment_id: UUID,
) -> None:
    """nothing → @attempt_status, for a charge attempt that a restore lost. If the gateway's clock is ahead, the gateway's time
    @charged_at can be later than the time to pay, although the attempt began in time."""
    await db.execute(INSERT_LOST_ATTEMPT, key, amount_rp, attempt_status, charged_at, reason, payment_id)


HAS_UNDECIDED_ATTEMPT: Final = """
SELECT EXISTS (
    SELECT 1 FROM charge_attempts WHERE payment_id = $1 AND status = 'started'
) AS has_undecided_attempt
"""


async def has_undecided_attempt(db: Executor, /, *, payment_id: UUID) -> bool:
    row = await db.fetchrow(HAS_UNDECIDED_ATTEMPT, payment_id)
    if row is None:
        raise NoRow(HAS_UNDECIDED_ATTEMPT)
    value: bool = row[0]
    return value


INSERT_LOST_REFUND: Final = """
INSERT INTO refunds
    (id, payment_id, charge_attempt_id, amount_rp, reason, status, gateway_reason, requested_at, answered_at)
VALUES ($1, $2, $3, $4, 'operator_decision', $5, $6, $7,
    CASE WHEN $5 <> 'requested' THEN curhat_now() END)
"""


async def insert_lost_refund(
    db: Executor,
    /,
    *,
    key: UUID,
    payment_id: UUID,
    charge_key: UUID,
    amount_rp: int,
    refund_status: str,
    gateway_reason: str | None,
    requested_at: datetime,
) -> None:
    """nothing → @refund_status, for a refund that a restore lost."""
    await db.execute(
        INSERT_LOST_REFUND,
        key,
        payment_id,
        charge_key,
        amount_rp,
        refund_status,
        gateway_reason,
        requested_at,
    )
