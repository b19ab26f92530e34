-- name: open
-- nothing → pending. No row: the customer has an open journey already.
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, target_mitra_id, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, curhat_now() + make_interval(mins => $8))
ON CONFLICT (customer_id) WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed') DO NOTHING
RETURNING id, expires_at

-- name: open_extension_payment
-- nothing → pending: of customer $1, for offer $2, minutes $3, rupiah $4, until $5.
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
VALUES ($1, 'extension', $2, $3, $4, false, $5)
RETURNING id

-- name: begin_extension_charges
-- pending → confirming until $2, the payments $1, each with the attempt that the gateway will know by its id. Nobody
-- else touches them: the caller holds their sessions' locks.
WITH step AS (
    UPDATE payments SET status = 'confirming', expires_at = $2 WHERE id = ANY ($1::uuid[]) AND status = 'pending'
    RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM step
RETURNING id, payment_id, amount_rp, curhat_now() AS now

-- name: abandon_extensions
-- pending or confirming → abandoned, the payments $1 of extensions. Nobody else touches them: the caller holds their
-- sessions' locks.
UPDATE payments SET status = 'abandoned', closed_at = curhat_now()
WHERE id = ANY ($1::uuid[]) AND status IN ('pending', 'confirming')

-- name: open_journey
-- The open payment of purpose `session` of a customer.
SELECT id FROM payments
WHERE customer_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')

-- name: lock
-- Takes the journey's lock, then reads; `is_over` compares after the lock is held.
WITH locked AS MATERIALIZED (SELECT * FROM payments WHERE id = $1 FOR NO KEY UPDATE)
SELECT *, expires_at <= curhat_now() AS is_over FROM locked

-- name: begin_confirmation
-- pending → confirming, with the attempt that the gateway will know by its id.
WITH step AS (
    UPDATE payments SET status = 'confirming' WHERE id = $1 AND status = 'pending' RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM step
RETURNING id

-- name: confirm
-- pending or confirming → confirmed.
UPDATE payments SET status = 'confirmed', confirmed_at = curhat_now() WHERE id = $1

-- name: back_to_pending
-- confirming → pending: declined in time, another try is possible.
UPDATE payments SET status = 'pending' WHERE id = $1

-- name: expire
-- pending → expired, those of the payments $1 whose time is over; a confirmation begun in time holds its own back. A
-- row for each that was pending; `expired` is false for one whose time is still to come.
WITH locked AS MATERIALIZED (
    SELECT id, purpose, status, expires_at FROM payments WHERE id = ANY ($1::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
), expired AS (
    UPDATE payments SET status = 'expired', closed_at = moment.now
    FROM locked, moment
    WHERE payments.id = locked.id AND locked.status = 'pending' AND locked.expires_at <= moment.now
    RETURNING payments.id
)
SELECT locked.id, locked.purpose, locked.expires_at, expired.id IS NOT NULL AS expired
FROM locked
LEFT JOIN expired USING (id)
WHERE locked.status = 'pending'

-- name: close
-- open → the final status $2.
UPDATE payments SET status = $2, closed_at = curhat_now() WHERE id = ANY ($1::uuid[])

-- name: payment_of_attempt
SELECT payment_id FROM charge_attempts WHERE id = $1

-- name: lock_attempt
-- Takes the attempt's lock, then reads; `age_seconds` is how long ago it began.
WITH locked AS MATERIALIZED (SELECT * FROM charge_attempts WHERE id = $1 FOR NO KEY UPDATE)
SELECT status, reason, extract(epoch FROM curhat_now() - started_at)::float8 AS age_seconds FROM locked

-- name: answer_attempt
-- started or declined → $2.
UPDATE charge_attempts SET status = $2, answered_at = curhat_now(), reason = $3 WHERE id = $1

-- name: other_charge
-- Another attempt of the payment that took the money or may yet.
SELECT EXISTS (
    SELECT 1 FROM charge_attempts WHERE payment_id = $1 AND id <> $2 AND status IN ('approved', 'started')
)

-- name: request_refund
-- nothing, or failed before → requested. No row: this charge is being refunded already.
INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (charge_attempt_id) WHERE status <> 'failed' DO NOTHING
RETURNING id

-- name: refund
SELECT * FROM refunds WHERE id = $1

-- name: charges_to_refund
-- The charges of the payments $1 that were taken and are neither given back nor about to be. A late approval never paid for
-- anything; the charge itself was for nothing, or not for all of it, when the payment got no session or one cut short.
SELECT charge_attempts.payment_id, charge_attempts.id, charge_attempts.amount_rp,
    EXISTS (SELECT 1 FROM refunds WHERE refunds.charge_attempt_id = charge_attempts.id) AS was_refused
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE payments.id = ANY ($1::uuid[])
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

-- name: payment_of_refund
SELECT payment_id FROM refunds WHERE id = $1

-- name: refunded
-- served or unserved → refunded, when what the gateway gave back (refund $2) was the charge itself and an operator
-- decided it. No row: it was a late approval, or the payment is in another status.
UPDATE payments SET status = 'refunded'
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE payments.id = $1 AND payments.status IN ('served', 'unserved') AND refunds.id = $2
    AND refunds.reason = 'operator_decision' AND charge_attempts.status = 'approved'
RETURNING payments.id

-- name: answer_refund
-- requested → done or failed.
UPDATE refunds SET status = $2, gateway_reason = $3, answered_at = curhat_now()
WHERE id = $1 AND status = 'requested'
RETURNING payment_id, amount_rp, reason

-- name: open_cases
-- nothing → open, for each of the payments $1. One case a payment: for a second reason the first stays.
INSERT INTO review_cases (payment_id, reason, amount_rp)
SELECT id, $2, amount_rp FROM payments WHERE id = ANY ($1::uuid[]) ORDER BY id
ON CONFLICT (payment_id) DO NOTHING

-- name: audit
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES ($6, $1, $2, $3::uuid::text, $4, $5)

-- name: count_attempts
SELECT count(*)::integer FROM charge_attempts WHERE payment_id = $1
