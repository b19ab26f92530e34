-- name: lock_simulation :one
-- Take the lock that allows only one simulation per database. The connection holds it until it closes. False:
-- another simulation holds the lock. Two simulations would use the same mitras.
SELECT pg_try_advisory_lock(hashtextextended('curhat simulate', 0)) AS is_locked

-- name: find_free_mitra_phones :many
-- The first numbers with this prefix that a simulated mitra can use. The mitra is not suspended and has no
-- session left by a killed run. The phone has not reached the limit of 30 codes per hour.
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
-- The lowest number after this prefix that no person ever had.
SELECT coalesce(max(substr(phone_number, char_length(@prefix) + 1)::integer), -1) + 1 AS number FROM people
WHERE phone_number LIKE @prefix || '_______'

-- name: sum_money :one
-- The number of free trials that were served, and what customers paid for sessions and for extensions.
SELECT
    count(*) FILTER (WHERE is_trial AND status IN ('served', 'refunded')) AS trials,
    coalesce(sum(amount_rp) FILTER (WHERE confirmed_at IS NOT NULL), 0) AS taken_rp,
    (
        SELECT coalesce(sum(price_rp), 0) FROM extensions JOIN sessions ON sessions.id = extensions.session_id
        WHERE sessions.customer_id = ANY (@customer_ids::uuid[]) AND extensions.status = 'approved'
    ) AS extensions_rp
FROM payments WHERE customer_id = ANY (@customer_ids::uuid[]) AND purpose = 'session'

-- name: count_outcomes :many
-- Counts what the journeys of these customers led to, by subject and outcome.
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
-- Failed targeted pairings by their tag, all others by their status.
SELECT 'targeted pairings', coalesce(failure_tag, status), count(*)
FROM pairings WHERE customer_id = ANY (@customer_ids) AND kind = 'targeted'
GROUP BY 2
UNION ALL
-- Fallbacks by the customer's answer. If the customer took the fallback, also by the outcome of the blast.
SELECT 'fallbacks',
    failed.fallback_status || coalesce(': ' || coalesce(blast.failure_tag, blast.status), ''),
    count(*)
FROM pairings AS failed
LEFT JOIN pairings AS blast
    ON blast.payment_id = failed.payment_id AND blast.kind = 'blast' AND failed.fallback_status = 'taken'
WHERE failed.customer_id = ANY (@customer_ids) AND failed.fallback_status IS NOT NULL
GROUP BY 2
UNION ALL
-- Extensions by their status, and by what decided them.
SELECT 'extensions', extensions.status || coalesce(' by ' || extensions.decided_by, ''), count(*)
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE sessions.customer_id = ANY (@customer_ids)
GROUP BY 2
ORDER BY count DESC, name

-- name: list_seconds_to_accept :many
-- The seconds from the confirmation of the payment to the accept.
SELECT extract(epoch FROM sessions.started_at - payments.confirmed_at)::float8 AS seconds
FROM sessions JOIN payments ON payments.id = sessions.payment_id
WHERE sessions.customer_id = ANY (@customer_ids::uuid[])
