-- type: status = PaymentStatus from curhat.payments.states
-- type: purpose = Purpose from curhat.pricing.schemas
-- type: attempt_status = AttemptStatus from curhat.payments.states
-- type: case_reason = CaseReason from curhat.payments.states
-- type: refund_reason = RefundReason from curhat.payments.states

-- name: open_payment :optional
-- Open a payment (nothing → pending). Returns no row if the customer already has an open payment.
-- nullable: @target_mitra_id
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, target_mitra_id, expires_at)
VALUES (@customer_id, 'session', @offer_id, @duration_minutes, @amount_rp, @is_trial, @target_mitra_id,
    curhat_now() + make_interval(mins => @timeout_minutes))
ON CONFLICT (customer_id) WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed') DO NOTHING
RETURNING id, expires_at

-- name: find_opening_wait :optional
-- Number the customer's payments of this purpose, newest first, and find payment number @max_payments. Returns the
-- seconds until this payment is @window_seconds old. While payment number @max_payments is less than @window_seconds
-- old, the customer has opened at least @max_payments payments within the last @window_seconds. Returns no row if the
-- customer has fewer than @max_payments payments of this purpose.
SELECT extract(epoch FROM created_at + make_interval(secs => @window_seconds) - curhat_now())::float8 AS wait_seconds
FROM payments WHERE customer_id = @customer_id AND purpose = @purpose
ORDER BY id DESC OFFSET @max_payments - 1 LIMIT 1

-- name: find_confirmation_wait :optional
-- Number the customer's confirmations, newest first, and find confirmation number @max_confirmations. Returns the
-- seconds until this confirmation is @window_seconds old. A confirmation is a charge attempt for a session, or a
-- confirmed trial. The statement reads only the newest @max_payments payments. A customer has one open payment at a
-- time, so a payment that is older than the newest @max_payments has no confirmation within the window. Returns a
-- row only if these payments have, in total, at least @max_confirmations confirmations.
WITH newest_payments AS MATERIALIZED (
    SELECT id, is_trial, confirmed_at FROM payments WHERE customer_id = @customer_id AND purpose = 'session'
    ORDER BY id DESC LIMIT @max_payments
), confirmations AS (
    SELECT charge_attempts.started_at AS begun_at
    FROM newest_payments JOIN charge_attempts ON charge_attempts.payment_id = newest_payments.id
    UNION ALL
    SELECT confirmed_at FROM newest_payments WHERE is_trial AND confirmed_at IS NOT NULL
)
SELECT extract(epoch FROM begun_at + make_interval(secs => @window_seconds) - curhat_now())::float8 AS wait_seconds
FROM confirmations
ORDER BY begun_at DESC OFFSET @max_confirmations - 1 LIMIT 1

-- name: find_open_payment :optional
-- Find the customer's open payment of purpose `session`.
SELECT id FROM payments
WHERE customer_id = @customer_id AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')

-- name: open_extension_payment :one
-- Open the payment of an extension (nothing → pending).
INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
VALUES (@customer_id, 'extension', @offer_id, @duration_minutes, @amount_rp, false, @expires_at)
RETURNING id

-- name: begin_extension_charges :many
-- Begin to charge the payments of extensions (pending → confirming). The new expires_at is @charge_by. Inserts one
-- charge attempt per payment. The id of the attempt is the attempt's key at the gateway. The statement takes no further
-- lock, because the caller holds the sessions' locks. No transaction changes an extension's payment without the
-- session's lock.
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming', expires_at = @charge_by
    WHERE id = ANY (@payment_ids::uuid[]) AND status = 'pending'
    RETURNING id, customer_id, amount_rp
), insert_attempts AS (
    INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
    RETURNING id, payment_id, amount_rp
)
SELECT insert_attempts.id AS key, payment_id, customer_id, insert_attempts.amount_rp, curhat_now() AS now
FROM insert_attempts JOIN begin_confirmation ON begin_confirmation.id = insert_attempts.payment_id

-- name: abandon_extension_payments :exec
-- Abandon the payments of extensions (pending or confirming → abandoned). The caller holds the sessions' locks.
UPDATE payments SET status = 'abandoned', closed_at = curhat_now()
WHERE id = ANY (@payment_ids::uuid[]) AND status IN ('pending', 'confirming')

-- name: lock_payment :optional
-- Lock the payment. The lock on the payment protects the whole journey of the payment. `is_over` is true if the time to
-- pay had passed when this statement got the lock. `given_up_at` is the time at which the service stops waiting for the
-- gateway's answer about a session's payment (2a.10).
-- nullable: target_mitra_id, confirmed_at
-- row: LockedPayment
WITH locked_payment AS MATERIALIZED (SELECT * FROM payments WHERE id = @payment_id FOR NO KEY UPDATE)
SELECT id, customer_id, purpose, status, amount_rp, target_mitra_id, expires_at, confirmed_at,
    expires_at <= curhat_now() AS is_over, expires_at + interval '10 minutes' AS given_up_at,
    purpose = 'session' AND status = 'confirming' AND expires_at + interval '10 minutes' <= curhat_now()
        AS is_given_up
FROM locked_payment

-- name: begin_confirmation :one
-- Begin the confirmation (pending → confirming). Inserts a charge attempt and returns the attempt's id, which is also
-- the attempt's key at the gateway.
WITH begin_confirmation AS (
    UPDATE payments SET status = 'confirming' WHERE id = @payment_id AND status = 'pending' RETURNING id, amount_rp
)
INSERT INTO charge_attempts (payment_id, amount_rp) SELECT id, amount_rp FROM begin_confirmation
RETURNING id

-- name: confirm_payment :exec
-- Confirm the payment (pending or confirming → confirmed).
UPDATE payments SET status = 'confirmed', confirmed_at = curhat_now() WHERE id = @payment_id

-- name: reopen_payment :exec
-- Reopen the payment (confirming → pending), because the gateway declined the charge in time. The customer can then try
-- again.
UPDATE payments SET status = 'pending' WHERE id = @payment_id

-- name: expire_payments :many
-- Expire the payments whose time to pay has passed (pending → expired). Locks the payments in id order. Returns one row
-- per payment that was pending. `is_expired` is false if the time to pay has not passed yet. The result has no row for
-- a confirming payment, because a confirmation that began in time delays the expiry.
WITH locked_payments AS MATERIALIZED (
    SELECT id, purpose, status, expires_at FROM payments WHERE id = ANY (@payment_ids::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    -- PostgreSQL takes all locks before it reads the clock, because count(*) reads all of locked_payments.
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
-- Close the payments (an open status → @status). The new status is final.
UPDATE payments SET status = @status, closed_at = curhat_now() WHERE id = ANY (@payment_ids::uuid[])

-- name: find_payment_of_attempt :optional
SELECT payment_id FROM charge_attempts WHERE id = @attempt_id

-- name: lock_attempt :one
-- Lock a charge attempt. `age_seconds` is the time since the attempt began.
-- nullable: reason
-- row: LockedAttempt
WITH locked_attempt AS MATERIALIZED (SELECT * FROM charge_attempts WHERE id = @attempt_id FOR NO KEY UPDATE)
SELECT status AS attempt_status, reason, extract(epoch FROM curhat_now() - started_at)::float8 AS age_seconds
FROM locked_attempt

-- name: answer_attempt :exec
-- Record the gateway's answer about the attempt (started or declined → @attempt_status).
-- nullable: @reason
UPDATE charge_attempts SET status = @attempt_status, answered_at = curhat_now(), reason = @reason
WHERE id = @attempt_id

-- name: has_other_charge :one
-- Return whether the payment has an attempt other than @attempt_id that charged the customer, or can still charge the
-- customer.
SELECT EXISTS (
    SELECT 1 FROM charge_attempts
    WHERE payment_id = @payment_id AND id <> @attempt_id AND status IN ('approved', 'started')
) AS has_other_charge

-- name: count_attempts :one
SELECT count(*)::integer AS attempts FROM charge_attempts WHERE payment_id = @payment_id

-- name: request_refund :optional
-- Request a refund (nothing → requested). @decided_round is the round of the operator's decision, or null for an automatic
-- refund. Returns no row if this decision already has a refund of the charge that has not failed. An automatic refund is
-- of the whole charge, so there is no row either if the charge has any refund that has not failed.
-- nullable: @decided_round
INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, decided_round)
SELECT @payment_id, @charge_key, @amount_rp, @refund_reason, @decided_round::integer
WHERE @decided_round::integer IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM refunds WHERE charge_attempt_id = @charge_key AND status <> 'failed'
)
ON CONFLICT DO NOTHING
RETURNING id

-- name: find_requested_refund :optional
-- Find a refund that the gateway has to carry out. `key` identifies the refund at the gateway, and never changes.
-- `age_seconds` is the time since the refund was requested. `refused_keys` has the keys of the charge's earlier refunds
-- that the gateway refused. Returns no row if the refund is unknown, or the gateway has already answered.
-- row: Refund
SELECT id AS key, charge_attempt_id AS charge_key, payment_id, amount_rp,
    extract(epoch FROM curhat_now() - requested_at)::float8 AS age_seconds,
    ARRAY(
        SELECT earlier.id FROM refunds AS earlier
        WHERE earlier.charge_attempt_id = refunds.charge_attempt_id AND earlier.status = 'failed'
    ) AS refused_keys
FROM refunds
WHERE id = @refund_id AND status = 'requested'

-- name: list_undelivered_charges :many
-- Find the undelivered charges of these payments (see the view undelivered_charges). `decided_round` is the round of
-- the payment's case in which an operator decided about the charge. `amount_rp` is what is left of the charge.
-- `refused_rp` is the amount that an operator decided to refund and that the gateway refused.
-- row: UndeliveredCharge
-- nullable: decided_round, refused_rp
SELECT payment_id, charge_attempt_id AS key, amount_rp, decided_round, refused_rp FROM undelivered_charges
WHERE payment_id = ANY (@payment_ids::uuid[])
ORDER BY charge_attempt_id

-- name: find_payment_of_refund :optional
SELECT payment_id FROM refunds WHERE id = @refund_id

-- name: lock_refund :one
-- Lock a refund.
-- row: LockedRefund
-- nullable: decided_round
SELECT charge_attempt_id AS charge_key, amount_rp, reason AS refund_reason, status AS refund_status, decided_round
FROM refunds
WHERE id = @refund_id FOR NO KEY UPDATE

-- name: list_other_live_refunds :many
-- List the refunds of the charge that are requested or done, except the refund @refund_id. Requested refunds come first,
-- newest first. `charged_rp` is the amount of the charge.
-- row: LiveRefund
-- nullable: decided_round
SELECT refunds.id, refunds.status AS refund_status, refunds.amount_rp, refunds.decided_round,
    charge_attempts.amount_rp AS charged_rp
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE refunds.charge_attempt_id = @charge_key AND refunds.status <> 'failed' AND refunds.id <> @refund_id
ORDER BY refunds.status = 'done', refunds.id DESC

-- name: answer_refund :exec
-- Record the gateway's answer about the refund (requested → done or failed, or failed → done).
-- nullable: @gateway_reason
UPDATE refunds SET status = @refund_status, gateway_reason = @gateway_reason, answered_at = curhat_now()
WHERE id = @refund_id

-- name: mark_payment_refunded :exec
-- Mark the payment as refunded (served or unserved → refunded). The refund must come from an operator's decision. The
-- charge of the refund must be `approved`, and not a late approval, and all of it must be given back. Changes no row if
-- the refund or its charge does not fit, or if the payment is neither served nor unserved.
UPDATE payments SET status = 'refunded'
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE payments.id = @payment_id AND payments.status IN ('served', 'unserved') AND refunds.id = @refund_id
    AND refunds.reason = 'operator_decision' AND charge_attempts.status = 'approved'
    AND charge_attempts.amount_rp <= (
        SELECT sum(done.amount_rp) FROM refunds AS done
        WHERE done.charge_attempt_id = charge_attempts.id AND done.status = 'done'
    )

-- name: open_cases :exec
-- Open one review case per payment (nothing → open). A decided case opens again if the payment has an undelivered
-- charge without a decision. A trigger then stores the earlier decision. If a case is open, @case_reason replaces its
-- earlier reason. A case that is neither open nor opened again stays unchanged. The statement locks the existing cases,
-- so a concurrent decision waits, and then sees the charge.
INSERT INTO review_cases (payment_id, reason, amount_rp)
SELECT id, @case_reason, amount_rp FROM payments WHERE id = ANY (@payment_ids::uuid[]) ORDER BY id
ON CONFLICT (payment_id) DO UPDATE SET status = 'open', reason = excluded.reason
WHERE review_cases.status = 'open' OR EXISTS (
    SELECT 1 FROM undelivered_charges
    WHERE undelivered_charges.payment_id = review_cases.payment_id AND undelivered_charges.decided_round IS NULL
)

-- name: question_charges :many
-- Question the payment's charges of which something is left. A questioned charge is undecided again, and counts as
-- undelivered. The trigger `charge_decided_once` knows a question by its new time, so each question of a charge gets a
-- later time than the one before, even if the clock has not moved. (`greatest` leaves a null out.)
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
WHERE payment_id = @payment_id AND status IN ('approved', 'approved_late') AND amount_rp > (
    SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
    WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
)
RETURNING id

-- name: question_decided_charges :exec
-- Question the charges of these payments about which an operator decided while the session still ran, and of which
-- something is left. A decision that waits for a second operator stays.
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
WHERE payment_id = ANY (@payment_ids::uuid[]) AND status = 'approved' AND decided_round IS NOT NULL
    AND amount_rp > (
        SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
        WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
    )
    AND NOT EXISTS (
        SELECT 1 FROM review_cases
        WHERE review_cases.payment_id = charge_attempts.payment_id
            AND review_cases.needs_approval AND review_cases.approved_by IS NULL
    )

-- name: question_refused_charge :execrows
-- Question the charge of a refund that the gateway refused, if no decision covers this refund any more: an operator
-- has decided about the charge again since, or nobody has decided about the charge.
UPDATE charge_attempts
SET questioned_at = greatest(curhat_now(), questioned_at + interval '1 microsecond'), decided_round = NULL
FROM refunds
WHERE refunds.id = @refund_id AND charge_attempts.id = refunds.charge_attempt_id
    AND (charge_attempts.decided_round IS NULL OR charge_attempts.decided_round <> refunds.decided_round)

-- name: open_questioned_case :one
-- Open the payment's case about its questioned charges (nothing or decided → open). @opened_by and @opened_note are null
-- if no operator opened it. If the case is open, nothing changes but the row's version. Returns the case's id.
-- nullable: @opened_by, @opened_note
INSERT INTO review_cases (payment_id, reason, amount_rp, opened_by, opened_note)
SELECT id, @case_reason, amount_rp, @opened_by, @opened_note FROM payments WHERE id = @payment_id
ON CONFLICT (payment_id) DO UPDATE SET
    status = 'open',
    reason = CASE review_cases.status WHEN 'open' THEN review_cases.reason ELSE excluded.reason END,
    opened_by = CASE review_cases.status WHEN 'open' THEN review_cases.opened_by ELSE excluded.opened_by END,
    opened_note = CASE review_cases.status WHEN 'open' THEN review_cases.opened_note ELSE excluded.opened_note END
RETURNING id

-- name: lock_case_of_payment :optional
-- Lock the payment's case. `awaits_approval` is true if a decided refund waits for a second operator.
-- row: LockedCaseOfPayment
SELECT id, status = 'open' AS is_open, needs_approval AND approved_by IS NULL AS awaits_approval
FROM review_cases WHERE payment_id = @payment_id FOR NO KEY UPDATE

-- The day is closed -----------------------------------------------------------------------------------------------

-- name: list_charges_by_key :many
-- Find our records of these charges.
-- row: OurRecord
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM charge_attempts WHERE id = ANY (@keys::uuid[])

-- name: list_refunds_by_key :many
-- Find our records of these refunds.
-- row: OurRecord
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM refunds WHERE id = ANY (@keys::uuid[])

-- name: list_charges_taken :many
-- List the charges from @begins_at until before @ends_at that the gateway has approved, by our records.
-- row: OurRecord
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM charge_attempts
WHERE started_at >= @begins_at AND started_at < @ends_at AND status IN ('approved', 'approved_late')

-- name: list_refunds_done :many
-- List the refunds requested from @begins_at until before @ends_at that the gateway has carried out, by our records.
-- row: OurRecord
SELECT id AS key, payment_id, amount_rp, status AS our_status FROM refunds
WHERE requested_at >= @begins_at AND requested_at < @ends_at AND status = 'done'

-- name: insert_book_difference :optional
-- Record a difference. Returns no row if this charge or refund has differed before.
-- nullable: @our_status, @our_rp, @gateway_status, @gateway_rp
INSERT INTO book_differences (key, day, about, payment_id, our_status, our_rp, gateway_status, gateway_rp)
VALUES (@key, @day, @about, @payment_id, @our_status, @our_rp, @gateway_status, @gateway_rp)
ON CONFLICT DO NOTHING
RETURNING key

-- name: list_book_differences :many
-- Read the differences that concern a payment, oldest first.
-- row: BookDifference
-- nullable: our_status, our_rp, gateway_status, gateway_rp
SELECT day, about, key, our_status, our_rp, gateway_status, gateway_rp, found_at FROM book_differences
WHERE payment_id = @payment_id ORDER BY found_at, key

-- After a restore to an earlier time -----------------------------------------------------------------------------

-- name: find_newest_change :optional
-- Return when a payment, pairing, session or extension changed last. No row: none ever changed.
SELECT changed_at FROM status_changes ORDER BY id DESC LIMIT 1

-- name: find_unknown_charges :many
-- Find the keys among @keys that no charge attempt has.
SELECT key FROM unnest(@keys::uuid[]) AS listed (key) WHERE key NOT IN (SELECT id FROM charge_attempts WHERE id = ANY (@keys))

-- name: find_unknown_refunds :many
-- Find the keys among @keys that no refund has.
SELECT key FROM unnest(@keys::uuid[]) AS listed (key) WHERE key NOT IN (SELECT id FROM refunds WHERE id = ANY (@keys))

-- name: list_undecided_attempts :many
-- List the keys of the attempts that the gateway can have approved after @since although we do not know it: the attempts
-- without an answer, and those that the gateway did not know in the day before @since (2a.10).
SELECT id AS key FROM charge_attempts
WHERE status = 'started' OR (status = 'declined' AND reason = 'not_found' AND started_at > @since::timestamptz - interval '1 day')
ORDER BY id

-- name: find_late_charges :many
-- Find the attempts among @keys that we do not know as approved.
-- row: LateCharge
SELECT id AS key, payment_id, amount_rp FROM charge_attempts
WHERE id = ANY (@keys::uuid[]) AND status IN ('started', 'declined')
ORDER BY id

-- name: find_searching_payment :optional
-- Find the payment of the charge @attempt_id, if this charge pays for a search that has not ended.
SELECT payments.id AS payment_id
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE charge_attempts.id = @attempt_id AND charge_attempts.status = 'approved' AND payments.status = 'confirmed'

-- name: insert_lost_payment :execrows
-- nothing → abandoned, for a payment that a restore lost. What the customer bought is not known, so the statement takes
-- the terms of an offer with this price or, if there is none, of another. Changes no row if there is no offer.
INSERT INTO payments
    (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, created_at, expires_at, closed_at)
SELECT @payment_id, @customer_id, 'session', 'abandoned', id, duration_minutes, @amount_rp, false,
    @charged_at, @charged_at, curhat_now()
FROM offers WHERE purpose = 'session' AND NOT is_trial
ORDER BY price_rp = @amount_rp DESC, withdrawn_at DESC NULLS FIRST, id DESC LIMIT 1

-- name: insert_lost_attempt :exec
-- nothing → @attempt_status, for a charge attempt that a restore lost. If the gateway's clock is ahead, the gateway's time
-- @charged_at can be later than the time to pay, although the attempt began in time.
INSERT INTO charge_attempts (id, payment_id, amount_rp, status, started_at, answered_at, reason)
SELECT @key, id, @amount_rp, @attempt_status, least(@charged_at, expires_at),
    CASE WHEN @attempt_status <> 'started' THEN curhat_now() END, @reason
FROM payments WHERE id = @payment_id

-- name: has_undecided_attempt :one
SELECT EXISTS (
    SELECT 1 FROM charge_attempts WHERE payment_id = @payment_id AND status = 'started'
) AS has_undecided_attempt

-- name: insert_lost_refund :exec
-- nothing → @refund_status, for a refund that a restore lost.
-- nullable: @gateway_reason
INSERT INTO refunds
    (id, payment_id, charge_attempt_id, amount_rp, reason, status, gateway_reason, requested_at, answered_at)
VALUES (@key, @payment_id, @charge_key, @amount_rp, 'operator_decision', @refund_status, @gateway_reason, @requested_at,
    CASE WHEN @refund_status <> 'requested' THEN curhat_now() END)
