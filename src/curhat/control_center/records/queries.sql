-- name: payments
-- Payments, newest first, with what hangs on each.
SELECT page.*, customers.call_name, people.phone_number,
    page.target_mitra_id AS mitra_id, mitras.display_name AS mitra_display_name,
    failure.tag, sessions.id AS session_id, review_cases.id AS case_id, curhat_now() AS server_now
FROM (
    SELECT payments.* FROM payments
    WHERE true /* filters */
    ORDER BY payments.created_at DESC, payments.id DESC
    /* limit */
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
LEFT JOIN mitras ON mitras.id = page.target_mitra_id
LEFT JOIN sessions ON sessions.payment_id = page.id
LEFT JOIN review_cases ON review_cases.payment_id = page.id
LEFT JOIN LATERAL (
    SELECT events.tag FROM failed_pairing_events AS events WHERE events.payment_id = page.id
    ORDER BY events.occurred_at DESC, events.id DESC LIMIT 1
) AS failure ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: timeline
-- Everything that happened to payment $1, oldest first; `rank` orders what has one and the same time.
WITH extension AS (
    -- What was added to the session this payment is for, or the one it paid for.
    SELECT * FROM extensions
    WHERE session_id = (SELECT id FROM sessions WHERE payment_id = $1)
    UNION ALL
    SELECT * FROM extensions WHERE payment_id = $1
), happened AS (
    SELECT created_at AS at, 1 AS rank, 'payment_opened' AS type, NULL::text AS status, NULL::text AS kind,
        NULL::text AS tag, NULL::text AS reason, NULL::text AS note, amount_rp, target_mitra_id AS mitra_id,
        NULL::uuid AS operator_id, id AS entity_id
    FROM payments WHERE id = $1
    UNION ALL
    SELECT changed_at, 4, 'payment_status', new_status, NULL, NULL, NULL, NULL, NULL, NULL, NULL, entity_id
    FROM status_changes WHERE payment_id = $1 AND entity = 'payment' AND old_status IS NOT NULL
    UNION ALL
    SELECT started_at, 2, 'charge_started', NULL, NULL, NULL, NULL, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = $1
    UNION ALL
    SELECT answered_at, 3, 'charge_answered', status, NULL, NULL, reason, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = $1 AND answered_at IS NOT NULL
    UNION ALL
    SELECT created_at, 5, 'pairing_opened', NULL, kind, NULL, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = $1
    UNION ALL
    SELECT requests.offered_at, 6, 'mitra_asked', NULL, pairings.kind, NULL, NULL, NULL, NULL, requests.mitra_id, NULL,
        requests.id
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id WHERE pairings.payment_id = $1
    UNION ALL
    SELECT requests.answered_at, 7, 'mitra_answered', requests.status, pairings.kind, NULL, requests.close_reason, NULL,
        NULL, requests.mitra_id, NULL, requests.id
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE pairings.payment_id = $1 AND requests.status <> 'offered' AND requests.answered_at IS NOT NULL
    UNION ALL
    SELECT decided_at, 8, 'pairing_decided', status, kind, failure_tag, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = $1 AND decided_at IS NOT NULL
    UNION ALL
    SELECT occurred_at, 9, 'failure_logged', CASE WHEN recovered THEN 'recovered' END, kind, tag, NULL, NULL, NULL,
        mitra_id, NULL, id
    FROM failed_pairing_events WHERE payment_id = $1
    UNION ALL
    SELECT started_at, 10, 'session_started', NULL, NULL, NULL, NULL, NULL, NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = $1
    UNION ALL
    SELECT ended_at, 11, 'session_ended', NULL, NULL, NULL, end_reason, end_note, NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = $1 AND ended_at IS NOT NULL
    UNION ALL
    SELECT requested_at, 10, 'extension_requested', NULL, NULL, NULL, NULL, NULL, price_rp, NULL, NULL, id
    FROM extension
    UNION ALL
    SELECT changed_at, 10, 'extension_decided', new_status, NULL, NULL, decided_by, NULL, price_rp, NULL, NULL,
        extension.id
    FROM extension JOIN status_changes ON status_changes.payment_id = extension.payment_id
        AND entity = 'extension' AND old_status IS NOT NULL
    UNION ALL
    SELECT opened_at, 12, 'case_opened', NULL, NULL, tag, reason, NULL, amount_rp, NULL, NULL, id
    FROM review_cases WHERE payment_id = $1
    UNION ALL
    SELECT decided_at, 13, 'case_decided', decision, NULL, NULL, NULL, decision_note, refund_rp, NULL, decided_by, id
    FROM review_cases WHERE payment_id = $1 AND decided_at IS NOT NULL
    UNION ALL
    SELECT approved_at, 14, 'refund_approved', NULL, NULL, NULL, NULL, NULL, refund_rp, NULL, approved_by, id
    FROM review_cases WHERE payment_id = $1 AND approved_at IS NOT NULL
    UNION ALL
    SELECT requested_at, 15, 'refund_requested', NULL, NULL, NULL, reason, NULL, amount_rp, NULL, NULL, id
    FROM refunds WHERE payment_id = $1
    UNION ALL
    SELECT answered_at, 16, 'refund_answered', status, NULL, NULL, gateway_reason, NULL, amount_rp, NULL, NULL, id
    FROM refunds WHERE payment_id = $1 AND answered_at IS NOT NULL
)
SELECT happened.*, mitras.display_name AS mitra_display_name, operators.email
FROM happened
LEFT JOIN mitras ON mitras.id = happened.mitra_id
LEFT JOIN operators ON operators.id = happened.operator_id
ORDER BY happened.at, happened.rank, happened.entity_id

-- name: sessions
-- Chat sessions, newest first.
SELECT page.*, customers.call_name, people.phone_number, mitras.display_name AS mitra_display_name,
    review_cases.id AS case_id, curhat_now() AS server_now
FROM (
    SELECT sessions.* FROM sessions
    WHERE true /* filters */
    ORDER BY sessions.started_at DESC, sessions.id DESC
    /* limit */
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
JOIN mitras ON mitras.id = page.mitra_id
LEFT JOIN review_cases ON review_cases.payment_id = page.payment_id
ORDER BY page.started_at DESC, page.id DESC

-- name: count_messages
SELECT count(*) FILTER (WHERE sender = 'customer') AS customer, count(*) FILTER (WHERE sender = 'mitra') AS mitra
FROM messages WHERE session_id = $1

-- name: customers
-- Customers, newest first, with what they did here.
SELECT page.*, people.phone_number, paid.payments, paid.last_payment_at, paid.open_cases,
    (SELECT count(*) FROM sessions WHERE sessions.customer_id = page.id) AS sessions,
    (
        SELECT coalesce(sum(charge_attempts.amount_rp), 0)
        FROM payments JOIN charge_attempts ON charge_attempts.payment_id = payments.id
        WHERE payments.customer_id = page.id AND charge_attempts.status IN ('approved', 'approved_late')
            AND NOT EXISTS (
                SELECT 1 FROM refunds
                WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status = 'done'
            )
    ) AS paid_rp
FROM (
    SELECT customers.* FROM customers
    WHERE true /* filters */
    ORDER BY customers.created_at DESC, customers.id DESC
    /* limit */
) AS page
JOIN people ON people.id = page.id
CROSS JOIN LATERAL (
    SELECT count(*) AS payments, max(payments.created_at) AS last_payment_at,
        count(*) FILTER (WHERE review_cases.status = 'open') AS open_cases
    FROM payments LEFT JOIN review_cases ON review_cases.payment_id = payments.id
    WHERE payments.customer_id = page.id
) AS paid
ORDER BY page.created_at DESC, page.id DESC

-- name: mitras
-- Mitras, newest first, with how each answered the last 200 requests.
SELECT page.*, people.phone_number, answers.*
FROM (
    SELECT mitras.* FROM mitras
    WHERE true /* filters */
    ORDER BY mitras.created_at DESC, mitras.id DESC
    /* limit */
) AS page
JOIN people ON people.id = page.id
CROSS JOIN LATERAL (
    SELECT count(*) AS asked, count(*) FILTER (WHERE status = 'accepted') AS accepted,
        count(*) FILTER (WHERE status = 'rejected') AS rejected,
        count(*) FILTER (WHERE status = 'closed' AND close_reason = 'timed_out') AS unanswered,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - offered_at))
            FILTER (WHERE status = 'accepted')::double precision AS seconds_p50
    FROM (
        SELECT requests.status, requests.close_reason, requests.offered_at, requests.answered_at FROM requests
        WHERE requests.mitra_id = page.id ORDER BY requests.id DESC LIMIT 200
    ) AS last
) AS answers
ORDER BY page.created_at DESC, page.id DESC

-- name: session_exists
SELECT id FROM sessions WHERE id = $1

-- name: transcript
-- All that was said in session $1, oldest first; $2 messages at most.
SELECT id, sender, text, sent_at, read_at FROM messages WHERE session_id = $1 ORDER BY id LIMIT $2
