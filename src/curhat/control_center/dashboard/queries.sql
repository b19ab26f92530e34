-- type: kind = PairingKind from curhat.pairing.states
-- type: tag = FailureTag from curhat.pairing.states

-- name: read_figures :one
-- Read the current counts, and the counts since midnight in Jakarta. `acceptance_seconds` holds the 50th and the 95th
-- percentile of the seconds from a pairing's start to its match. Only the pairings that were matched today count.
-- `acceptance_seconds` is null if no pairing was matched today. Each count of today has two bounds: PostgreSQL expects
-- few rows between two bounds that it does not know, and uses the index. For one bound, it expects a third of the table
-- and reads the table.
-- row: Figures
-- nullable: acceptance_seconds
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), day AS MATERIALIZED (
    SELECT now, began_at, began_at + interval '1 day' AS ends_at
    FROM moment, date_trunc('day', now AT TIME ZONE 'Asia/Jakarta') AS midnight,
        LATERAL (SELECT midnight AT TIME ZONE 'Asia/Jakarta' AS began_at) AS began
)
SELECT day.now AS server_now, day.began_at AS today_began_at,
    (SELECT count(*) FROM mitras WHERE online AND suspended_at IS NULL) AS online,
    (SELECT count(*) FROM sessions WHERE status = 'active') AS active_sessions,
    (SELECT count(*) FROM pairings WHERE status = 'open') AS searching_now,
    (
        SELECT count(*) FROM payments WHERE purpose = 'session'
            AND created_at >= (SELECT began_at FROM day) AND created_at < (SELECT ends_at FROM day)
    ) AS opened,
    (
        SELECT count(*) FROM payments WHERE purpose = 'session'
            AND confirmed_at >= (SELECT began_at FROM day) AND confirmed_at < (SELECT ends_at FROM day)
    ) AS confirmed,
    (
        SELECT count(*) FROM sessions
        WHERE started_at >= (SELECT began_at FROM day) AND started_at < (SELECT ends_at FROM day)
    ) AS matched,
    (
        SELECT count(*) FROM sessions
        WHERE ended_at >= (SELECT began_at FROM day) AND ended_at < (SELECT ends_at FROM day)
    ) AS finished,
    (
        SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM decided_at - created_at))
        FROM pairings WHERE status = 'matched'
            AND decided_at >= (SELECT began_at FROM day) AND decided_at < (SELECT ends_at FROM day)
    ) AS acceptance_seconds,
    (SELECT count(*) FROM review_cases WHERE status = 'open') AS open_cases,
    (
        SELECT count(*) FROM review_cases
        WHERE status = 'open' AND opened_at < (SELECT now - interval '1 day' FROM moment)
    ) AS cases_overdue,
    (SELECT count(*) FROM review_cases WHERE needs_approval AND approved_by IS NULL) AS refunds_awaiting_approval,
    (
        SELECT count(*) FROM review_cases
        WHERE status = 'decided' AND payment_id IN (SELECT payment_id FROM refused_refunds)
    ) AS refunds_refused,
    (SELECT count(DISTINCT payment_id) FROM unanswered_calls) AS gateway_unanswered,
    (
        SELECT count(*) FROM audit_entries
        WHERE action IN ('gateway_alert:unknown_charge', 'gateway_alert:unknown_refund', 'gateway_alert:refunded_twice',
            'gateway_alert:refund_failed_after_done', 'gateway_alert:books_differ') AND occurred_at > (SELECT now - interval '7 days' FROM moment)
    ) AS gateway_alerts,
    (SELECT count(*) FROM reports WHERE queue_rank < 3) AS reports_waiting,
    (SELECT count(*) FROM reports WHERE queue_rank < 3 AND due_at < (SELECT now FROM moment)) AS reports_overdue,
    (
        SELECT count(*) FROM transcript_requests
        WHERE approved_by IS NULL AND requested_at > (SELECT now - interval '7 days' FROM moment)
    ) AS transcripts_waiting
FROM day

-- name: list_frequent_readers :many
-- Find the operators who have opened more than @max_chats different chats since @since, most chats first. The two bounds
-- let PostgreSQL use the index, as in read_figures.
-- row: FrequentReaderRow
SELECT operators.id, operators.email, looks.chats
FROM (
    SELECT actor, count(DISTINCT subject_id) AS chats FROM audit_entries
    WHERE action = 'transcript_revealed' AND occurred_at >= @since AND occurred_at < @since + interval '1 day'
    GROUP BY actor HAVING count(DISTINCT subject_id) > @max_chats
) AS looks
JOIN operators ON operators.id::text = looks.actor
ORDER BY looks.chats DESC, operators.email

-- name: find_last_closed_day :optional
-- Read the last day whose books are closed. No row: no day was closed yet.
-- row: LastClosedDay
SELECT day, closed_at, charges, charged_rp, refunds, refunded_rp, differences, invariants_checked, broken_invariants
FROM closed_days ORDER BY day DESC LIMIT 1

-- name: count_failures_by_tag :many
-- Count the failed pairings of the day that began at @since, per tag. The two bounds let PostgreSQL use the index, as in
-- read_figures.
SELECT tag, count(*) AS failures FROM failed_pairing_events
WHERE occurred_at >= @since AND occurred_at < @since + interval '1 day'
GROUP BY tag ORDER BY tag

-- name: list_open_searches :many
-- Read the oldest open pairings, at most @max_searches.
SELECT page.id AS pairing_id, page.payment_id, page.kind, customers.call_name, page.created_at AS began_at,
    page.deadline_at, extract(epoch FROM curhat_now() - page.created_at)::double precision AS age_seconds,
    answers.asked, answers.rejected
FROM (
    SELECT * FROM pairings WHERE status = 'open' ORDER BY created_at, id LIMIT @max_searches
) AS page
JOIN customers ON customers.id = page.customer_id
CROSS JOIN LATERAL (
    SELECT count(*) AS asked, count(*) FILTER (WHERE status = 'rejected') AS rejected
    FROM requests WHERE requests.pairing_id = page.id
) AS answers
ORDER BY page.created_at, page.id

-- name: list_mitras_perhaps_connected :many
-- Find the mitras who are possibly connected: the toggle is on, or the mitra was seen within the last 5 minutes.
SELECT id FROM mitras
WHERE online OR last_seen_at > (SELECT curhat_now() - interval '5 minutes')

-- name: sum_free_capacity :one
-- Compute how many more customers these mitras can take in total.
SELECT coalesce(sum(max_customers - active_sessions), 0) AS free_capacity FROM mitras
WHERE id = ANY (@mitra_ids::uuid[]) AND can_take_customer

-- name: count_by_bucket :many
-- Count the events in each of the last @bucket_count hours or days, oldest first. The hours and days are in Jakarta's
-- time zone. The parameter @unit is 'hour' or 'day'. The last bucket is the current hour or day. If an hour has no row
-- in hourly_counts, the statement counts the events of the hour itself.
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now, ('1 ' || @unit)::interval AS length
), buckets AS MATERIALIZED (
    SELECT began, began AT TIME ZONE 'Asia/Jakarta' AS began_at
    FROM moment, date_trunc(@unit, now AT TIME ZONE 'Asia/Jakarta') AS last,
        generate_series(last - length * (@bucket_count::integer - 1), last, length) AS began
), kept_hours AS MATERIALIZED (
    SELECT hourly_counts.* FROM hourly_counts, moment
    WHERE began_at >= (SELECT min(began_at) FROM buckets) AND began_at <= now - interval '70 minutes'
), missing_hours AS MATERIALIZED (
    SELECT hour.began_at
    FROM moment, generate_series((SELECT min(began_at) FROM buckets), now, interval '1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM kept_hours WHERE kept_hours.began_at = hour.began_at)
), hours AS (
    SELECT began_at, opened, confirmed, matched, finished, failed FROM kept_hours
    UNION ALL
    SELECT missing_hours.began_at, counted.* FROM missing_hours, count_hour(missing_hours.began_at) AS counted
)
SELECT buckets.began_at, sum(hours.opened)::bigint AS opened, sum(hours.confirmed)::bigint AS confirmed,
    sum(hours.matched)::bigint AS matched, sum(hours.finished)::bigint AS finished, sum(hours.failed)::bigint AS failed
FROM buckets
JOIN hours ON date_trunc(@unit, hours.began_at AT TIME ZONE 'Asia/Jakarta') = buckets.began
GROUP BY buckets.began_at
ORDER BY buckets.began_at

-- name: keep_hourly_counts :execrows
-- Count the newest past hours that have no row in hourly_counts, at most @max_hours of the last @days days. The
-- statement leaves out an hour that ended less than 10 minutes ago, because a transaction of the hour can still commit.
WITH forget_future_hours AS (
    -- A clock that was ahead for a while can have stored hours that had not passed.
    DELETE FROM hourly_counts WHERE began_at > curhat_now() - interval '70 minutes'
)
INSERT INTO hourly_counts (began_at, opened, confirmed, matched, finished, failed)
SELECT missing.began_at, counted.*
FROM (
    SELECT began_at
    FROM (SELECT date_trunc('hour', curhat_now() - interval '70 minutes', 'UTC') AS newest) AS past,
        generate_series(newest, newest - interval '1 day' * @days::integer, interval '-1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM hourly_counts WHERE hourly_counts.began_at = hour.began_at)
    ORDER BY began_at DESC
    LIMIT @max_hours::integer
) AS missing
CROSS JOIN LATERAL count_hour(missing.began_at) AS counted
ON CONFLICT (began_at) DO NOTHING

-- name: read_money :one
-- Add the rupiah of the day that began at @since: `taken_rp` for the payments that were confirmed, `refunded_rp` by the
-- gateway, and `matches` and `unmatched`: the searches that found a mitra, and the payments whose search failed.
-- `under_review_rp` is what all open cases are about. The two bounds let PostgreSQL use the index, as in read_figures.
-- row: MoneyRow
SELECT
    (
        -- PostgreSQL would read all charges for a join. A subquery finds the charges of each payment by their index.
        SELECT coalesce(sum((
            SELECT sum(amount_rp) FROM charge_attempts WHERE payment_id = payments.id AND status = 'approved'
        )), 0)::bigint
        FROM payments WHERE confirmed_at >= @since AND confirmed_at < @since + interval '1 day'
    ) AS taken_rp,
    (
        SELECT coalesce(sum(refunds.amount_rp), 0)::bigint FROM refunds
        WHERE answered_at >= @since AND answered_at < @since + interval '1 day' AND status = 'done'
    ) AS refunded_rp,
    (SELECT coalesce(sum(amount_rp), 0)::bigint FROM review_cases WHERE status = 'open') AS under_review_rp,
    (
        SELECT count(*) FROM pairings
        WHERE status = 'matched' AND decided_at >= @since AND decided_at < @since + interval '1 day'
    ) AS matches,
    (
        SELECT count(DISTINCT payment_id) FROM failed_pairing_events
        WHERE occurred_at >= @since AND occurred_at < @since + interval '1 day'
            AND kind IS NOT NULL AND NOT recovered
    ) AS unmatched

-- name: sum_week_hours :many
-- Add the hours of the last four weeks per weekday and hour of the day in Jakarta. Monday is 1, and Sunday is 7. `served`
-- counts the sessions that started, and `failed` counts the failed pairings. Hours that are not stored count nothing.
-- row: WeekHourRow
SELECT extract(isodow FROM began_at AT TIME ZONE 'Asia/Jakarta')::integer AS weekday,
    extract(hour FROM began_at AT TIME ZONE 'Asia/Jakarta')::integer AS hour,
    sum(matched)::bigint AS served, sum(failed)::bigint AS failed
FROM hourly_counts
WHERE began_at >= (SELECT curhat_now() - interval '28 days')
GROUP BY weekday, hour ORDER BY weekday, hour
