-- name: lock_simulation :one
-- Take the advisory lock that allows only one simulation per database, because two simulations would use the same
-- mitras. The connection holds the lock until the connection closes. Returns false if another simulation holds the
-- lock.
SELECT pg_try_advisory_lock(hashtextextended('curhat simulate', 0)) AS is_locked

-- name: find_free_mitra_phones :many
-- Find the first phone numbers with this prefix that a simulated mitra can use. The number has no mitra, or its mitra
-- is not suspended and has no active session. A killed run can leave an active session. Fewer than 20 codes were sent
-- to the number in the last hour, and the limit is 30.
SELECT phone_number FROM (
    SELECT @prefix || lpad(number::text, 7, '0') AS phone_number FROM generate_series(0, 99999) AS number
) AS numbers
LEFT JOIN people USING (phone_number)
LEFT JOIN mitras ON mitras.id = people.id
WHERE mitras.suspended_at IS NULL AND coalesce(mitras.active_sessions, 0) = 0 AND (
    SELECT count(*) FROM one_time_codes
    WHERE one_time_codes.phone_number = numbers.phone_number AND created_at > curhat_now() - interval '1 hour'
) < 20
ORDER BY phone_number
LIMIT @max_phones

-- name: find_next_customer_number :one
-- Find the highest number that follows this prefix in a phone number of any person. Returns this number plus 1.
SELECT coalesce(max(substr(phone_number, char_length(@prefix) + 1)::integer), -1) + 1 AS number FROM people
WHERE phone_number LIKE @prefix || '_______'

-- name: sum_money :one
-- Compute the number of trials that were served, the total of the confirmed payments for sessions, and the
-- total price of the approved extensions.
SELECT
    count(*) FILTER (WHERE is_trial AND status IN ('served', 'refunded')) AS trials,
    coalesce(sum(amount_rp) FILTER (WHERE confirmed_at IS NOT NULL), 0) AS taken_rp,
    (
        SELECT coalesce(sum(price_rp), 0) FROM extensions JOIN sessions ON sessions.id = extensions.session_id
        WHERE sessions.customer_id = ANY (@customer_ids::uuid[]) AND extensions.status = 'approved'
    ) AS extensions_rp
FROM payments WHERE customer_id = ANY (@customer_ids::uuid[]) AND purpose = 'session'

-- name: count_outcomes :many
-- Count the outcomes of these customers' journeys. `subject` is the kind of the counted rows, and `name` is their
-- outcome.
SELECT 'payments' AS subject, status AS name, count(*) AS count
FROM payments WHERE customer_id = ANY (@customer_ids::uuid[]) AND purpose = 'session'
GROUP BY 2
UNION ALL
SELECT 'failures', tag, count(*)
FROM failed_pairing_events JOIN payments ON payments.id = failed_pairing_events.payment_id
WHERE customer_id = ANY (@customer_ids)
GROUP BY 2
UNION ALL
SELECT 'session ends', coalesce(end_reason, 'still running'), count(*)
FROM sessions WHERE customer_id = ANY (@customer_ids)
GROUP BY 2
UNION ALL
SELECT 'charges', charge_attempts.status, count(*)
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE customer_id = ANY (@customer_ids)
GROUP BY 2
UNION ALL
-- Count a failed targeted pairing under its tag, and any other targeted pairing under its status.
SELECT 'targeted pairings', coalesce(failure_tag, status), count(*)
FROM pairings WHERE customer_id = ANY (@customer_ids) AND kind = 'targeted'
GROUP BY 2
UNION ALL
-- Count a fallback under its fallback_status. If the customer took the fallback, add the outcome of the blast.
SELECT 'fallbacks',
    failed.fallback_status || coalesce(': ' || coalesce(blast.failure_tag, blast.status), ''),
    count(*)
FROM pairings AS failed
LEFT JOIN pairings AS blast
    ON blast.payment_id = failed.payment_id AND blast.kind = 'blast' AND failed.fallback_status = 'taken'
WHERE failed.customer_id = ANY (@customer_ids) AND failed.fallback_status IS NOT NULL
GROUP BY 2
UNION ALL
-- Count an extension under its status and its decided_by.
SELECT 'extensions', extensions.status || coalesce(' by ' || extensions.decided_by, ''), count(*)
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE sessions.customer_id = ANY (@customer_ids)
GROUP BY 2
ORDER BY count DESC, name

-- name: list_seconds_to_accept :many
-- For each session, compute the seconds from the confirmation of the payment to the accept.
SELECT extract(epoch FROM sessions.started_at - payments.confirmed_at)::float8 AS seconds
FROM sessions JOIN payments ON payments.id = sessions.payment_id
WHERE sessions.customer_id = ANY (@customer_ids::uuid[])
