-- type: status = PaymentStatus from curhat.payments.states
-- type: purpose = Purpose from curhat.payments.states
-- type: attempt_status = AttemptStatus from curhat.payments.states
-- type: case_reason = CaseReason from curhat.payments.states
-- type: refund_reason = RefundReason from curhat.payments.states
-- type: action = AuditAction from curhat.kit.audit

-- name: open_payment :optional
-- nothing → pending. No row: the customer has an open payment already.
-- nullable: @target_mitra_id
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, target_mitra_id, expires_at)
VALUES (@customer_id, @purpose, @offer_id, @duration_minutes, @amount_rp, @is_trial, @target_mitra_id,
    curhat_now() + make_interval(mins => @timeout_minutes))
ON CONFLICT (customer_id) WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed') DO NOTHING
RETURNING id, expires_at

-- name: find_open_payment :optional
-- The customer's open payment of purpose `session`.
SELECT id FROM payments
WHERE customer_id = @customer_id AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')

-- name: open_extension_payment :one
-- nothing → pending, for an extension.
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
VALUES (@customer_id, 'extension', @offer_id, @duration_minutes, @amount_rp, false, @expires_at)
RETURNING id

-- name: begin_extension_charges :many
-- pending → confirming until @charge_by, with one charge attempt per payment. The gateway knows the attempt by
-- its id. Takes no lock first: the caller holds the sessions' locks, and nobody touches an extension's payment
-- without them.
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming', expires_at = @charge_by
    WHERE id = ANY (@payment_ids::uuid[]) AND status = 'pending'
    RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
RETURNING id AS key, payment_id, amount_rp, curhat_now() AS now

-- name: abandon_extension_payments :exec
-- pending or confirming → abandoned. The caller holds the sessions' locks.
UPDATE payments SET status = 'abandoned', closed_at = curhat_now()
WHERE id = ANY (@payment_ids::uuid[]) AND status IN ('pending', 'confirming')

-- name: lock_payment :optional
-- Take the payment's lock, which is the lock of its whole journey. `is_over`: the time to pay had passed when
-- the lock was taken.
-- nullable: target_mitra_id, confirmed_at
-- row: LockedPayment
WITH locked_payment AS MATERIALIZED (SELECT * FROM payments WHERE id = @payment_id FOR NO KEY UPDATE)
SELECT id, customer_id, purpose, status, amount_rp, target_mitra_id, expires_at, confirmed_at,
    expires_at <= curhat_now() AS is_over
FROM locked_payment

-- name: begin_confirmation :one
-- pending → confirming, with a charge attempt. Gives the attempt's id, by which the gateway knows it.
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming' WHERE id = @payment_id AND status = 'pending' RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
RETURNING id

-- name: confirm_payment :exec
-- pending or confirming → confirmed.
UPDATE payments SET status = 'confirmed', confirmed_at = curhat_now() WHERE id = @payment_id

-- name: reopen_payment :exec
-- confirming → pending: the charge was declined in time, so the customer can try again.
UPDATE payments SET status = 'pending' WHERE id = @payment_id

-- name: expire_payments :many
-- pending → expired, where the time to pay has passed. Locks the payments in id order. Gives one row per
-- payment that was pending; `is_expired` is false while its time has not passed. A payment that is confirming
-- gives no row: a confirmation that began in time holds the expiry back.
WITH locked_payments AS MATERIALIZED (
    SELECT id, purpose, status, expires_at FROM payments WHERE id = ANY (@payment_ids::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    -- Reads locked_payments, so that the clock is read after all locks are held.
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

-- name: close_payments :exec
-- An open status → @status, which is final.
UPDATE payments SET status = @status, closed_at = curhat_now() WHERE id = ANY (@payment_ids::uuid[])

-- name: find_payment_of_attempt :optional
SELECT payment_id FROM charge_attempts WHERE id = @attempt_id

-- name: lock_attempt :one
-- Take the lock of a charge attempt. `age_seconds` is the time since it began.
-- nullable: reason
-- row: LockedAttempt
WITH locked_attempt AS MATERIALIZED (SELECT * FROM charge_attempts WHERE id = @attempt_id FOR NO KEY UPDATE)
SELECT status AS attempt_status, reason, extract(epoch FROM curhat_now() - started_at)::float8 AS age_seconds
FROM locked_attempt

-- name: answer_attempt :exec
-- started or declined → @attempt_status.
-- nullable: @reason
UPDATE charge_attempts SET status = @attempt_status, answered_at = curhat_now(), reason = @reason
WHERE id = @attempt_id

-- name: has_other_charge :one
-- Whether another attempt of the payment took the money, or still may.
SELECT EXISTS (
    SELECT 1 FROM charge_attempts
    WHERE payment_id = @payment_id AND id <> @attempt_id AND status IN ('approved', 'started')
) AS has_other_charge

-- name: count_attempts :one
SELECT count(*)::integer AS attempts FROM charge_attempts WHERE payment_id = @payment_id

-- name: request_refund :optional
-- nothing, or failed before → requested. No row: this charge is refunded, or its refund is requested, already.
INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason)
VALUES (@payment_id, @charge_key, @amount_rp, @refund_reason)
ON CONFLICT (charge_attempt_id) WHERE status <> 'failed' DO NOTHING
RETURNING id

-- name: find_requested_refund :optional
-- A refund that the gateway has to carry out. It knows the refund by `key` for ever. No row: it is answered, or
-- unknown.
-- row: Refund
SELECT id AS key, charge_attempt_id AS charge_key, payment_id, amount_rp FROM refunds
WHERE id = @refund_id AND status = 'requested'

-- name: list_charges_to_refund :many
-- The charges of the payments that were taken, and are not refunded and not being refunded. These are late
-- approvals, which never paid for anything, and the charge of a payment that got no session or one that was cut
-- short. `was_refused`: the gateway was asked for the refund before, and refused.
-- row: TakenCharge
SELECT charge_attempts.payment_id, charge_attempts.id AS key, charge_attempts.amount_rp,
    EXISTS (SELECT 1 FROM refunds WHERE refunds.charge_attempt_id = charge_attempts.id) AS was_refused
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE payments.id = ANY (@payment_ids::uuid[])
    AND NOT EXISTS (
        SELECT 1 FROM refunds WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
    )
    AND (
        charge_attempts.status = 'approved_late'
        OR charge_attempts.status = 'approved' AND (
            payments.status = 'unserved'
            OR EXISTS (
                SELECT 1 FROM (
                    SELECT end_reason FROM sessions WHERE sessions.payment_id = payments.id
                    UNION ALL
                    SELECT end_reason FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                    WHERE extensions.payment_id = payments.id
                ) AS paid_for
                WHERE end_reason IN ('mitra_ended', 'mitra_suspended')
            )
        )
    )
ORDER BY charge_attempts.id

-- name: find_payment_of_refund :optional
SELECT payment_id FROM refunds WHERE id = @refund_id

-- name: answer_refund :optional
-- requested → done or failed. Gives the amount in rupiah. No row: it was answered before.
-- nullable: @gateway_reason
UPDATE refunds SET status = @refund_status, gateway_reason = @gateway_reason, answered_at = curhat_now()
WHERE id = @refund_id AND status = 'requested'
RETURNING amount_rp

-- name: mark_payment_refunded :optional
-- served or unserved → refunded, when an operator decided the refund and it gave back the charge itself. No
-- row: the refund was of a late approval, or the payment has another status.
UPDATE payments SET status = 'refunded'
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE payments.id = @payment_id AND payments.status IN ('served', 'unserved') AND refunds.id = @refund_id
    AND refunds.reason = 'operator_decision' AND charge_attempts.status = 'approved'
RETURNING payments.id

-- name: open_cases :exec
-- nothing → open, one review case per payment. A payment that has a case keeps it, with its first reason.
INSERT INTO review_cases (payment_id, reason, amount_rp)
SELECT id, @case_reason, amount_rp FROM payments WHERE id = ANY (@payment_ids::uuid[]) ORDER BY id
ON CONFLICT (payment_id) DO NOTHING

-- name: record_audit_entry :exec
-- Write to the audit what @actor did to a payment, with the amount in rupiah as the new value.
INSERT INTO audit_entries (actor, action, subject, subject_id, new_value)
VALUES (@actor, @action, 'payment', @payment_id::uuid::text, @amount_rp::integer::text)
