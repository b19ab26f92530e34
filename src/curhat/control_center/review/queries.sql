-- name: failed_pairings
-- Attempts that failed, newest first.
SELECT page.*, customers.call_name, people.phone_number, mitras.display_name AS mitra_display_name
FROM (
    SELECT events.*, payments.customer_id, payments.amount_rp
    FROM failed_pairing_events AS events JOIN payments ON payments.id = events.payment_id
    WHERE true /* filters */
    ORDER BY events.occurred_at DESC, events.id DESC
    /* limit */
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
LEFT JOIN mitras ON mitras.id = page.mitra_id
ORDER BY page.occurred_at DESC, page.id DESC

-- name: cases
-- Review cases: the open ones first, each kind oldest first. Of several tries to refund a charge the last one counts:
-- what an operator decided, and what was to be given back by itself and was refused.
SELECT page.*, payments.customer_id, customers.call_name, people.phone_number,
    decider.email AS decided_by_email, approver.email AS approved_by_email,
    refund.any_failed, refund.any_requested, refund.gateway_reason, refund.refunds_rp, refund.requested_at,
    refund.answered_at, curhat_now() AS server_now
FROM (
    SELECT review_cases.* FROM review_cases
    WHERE true /* filters */
    ORDER BY (review_cases.status = 'decided'), review_cases.opened_at, review_cases.id
    /* limit */
) AS page
JOIN payments ON payments.id = page.payment_id
JOIN customers ON customers.id = payments.customer_id
JOIN people ON people.id = payments.customer_id
LEFT JOIN operators AS decider ON decider.id = page.decided_by
LEFT JOIN operators AS approver ON approver.id = page.approved_by
LEFT JOIN LATERAL (
    SELECT bool_or(last.status = 'failed') AS any_failed, bool_or(last.status = 'requested') AS any_requested,
        min(last.gateway_reason) FILTER (WHERE last.status = 'failed') AS gateway_reason,
        sum(last.amount_rp)::integer AS refunds_rp, min(last.requested_at) AS requested_at,
        max(last.answered_at) AS answered_at
    FROM (
        SELECT DISTINCT ON (refunds.charge_attempt_id) refunds.*
        FROM refunds WHERE refunds.payment_id = page.payment_id
        ORDER BY refunds.charge_attempt_id, (refunds.status = 'failed'), refunds.id DESC
    ) AS last
    WHERE last.reason = 'operator_decision' OR last.status = 'failed'
) AS refund ON page.status = 'decided'
ORDER BY (page.status = 'decided'), page.opened_at, page.id

-- name: payment_of_case
SELECT payment_id FROM review_cases WHERE id = $1

-- name: lock_case
-- Takes the case's row; the caller holds its payment's.
SELECT review_cases.*, operators.email AS decided_by_email
FROM review_cases LEFT JOIN operators ON operators.id = review_cases.decided_by
WHERE review_cases.id = $1
FOR NO KEY UPDATE OF review_cases

-- name: decide
-- open → decided: $2 what, $3 note, $4 by whom, $5 what is given back (null: nothing), $6 whether that waits for
-- another operator.
UPDATE review_cases SET status = 'decided', decision = $2, decision_note = $3, decided_by = $4,
    decided_at = curhat_now(), refund_rp = $5, needs_approval = $6
WHERE id = $1 AND status = 'open'

-- name: approve
-- awaiting approval → approved by $2; $3 is what is given back.
UPDATE review_cases SET approved_by = $2, approved_at = curhat_now(), refund_rp = $3 WHERE id = $1
