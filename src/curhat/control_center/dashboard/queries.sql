-- name: figures
-- Now and since midnight in Jakarta.
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), day AS MATERIALIZED (
    SELECT now, date_trunc('day', now AT TIME ZONE 'Asia/Jakarta') AT TIME ZONE 'Asia/Jakarta' AS began_at FROM moment
)
SELECT day.now, day.began_at,
    (SELECT count(*) FROM mitras WHERE online AND suspended_at IS NULL) AS online,
    (SELECT count(*) FROM sessions WHERE status = 'active') AS active_sessions,
    (SELECT count(*) FROM pairings WHERE status = 'open') AS searching_now,
    (SELECT count(*) FROM payments WHERE purpose = 'session' AND created_at >= (SELECT began_at FROM day)) AS opened,
    (SELECT count(*) FROM payments WHERE purpose = 'session' AND confirmed_at >= (SELECT began_at FROM day)) AS confirmed,
    (SELECT count(*) FROM sessions WHERE started_at >= (SELECT began_at FROM day)) AS matched,
    (SELECT count(*) FROM sessions WHERE ended_at >= (SELECT began_at FROM day)) AS finished,
    (
        SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM decided_at - created_at))
        FROM pairings WHERE status = 'matched' AND decided_at >= (SELECT began_at FROM day)
    ) AS seconds,
    (SELECT count(*) FROM review_cases WHERE status = 'open') AS open_cases,
    (SELECT count(*) FROM review_cases WHERE needs_approval AND approved_by IS NULL) AS refunds_awaiting_approval,
    (
        SELECT count(*) FROM review_cases
        WHERE status = 'decided' AND payment_id IN (SELECT payment_id FROM refused_refunds)
    ) AS refunds_refused
FROM day

-- name: failures_by_tag
-- Failures since $1.
SELECT tag, count(*) AS count FROM failed_pairing_events WHERE occurred_at >= $1 GROUP BY tag ORDER BY tag

-- name: searches
-- The searches under way, oldest first: $1 at most.
SELECT page.id AS pairing_id, page.payment_id, page.kind, customers.call_name, page.created_at AS began_at,
    page.deadline_at, extract(epoch FROM curhat_now() - page.created_at)::double precision AS age_seconds,
    answers.asked, answers.rejected
FROM (
    SELECT * FROM pairings WHERE status = 'open' ORDER BY created_at, id LIMIT $1
) AS page
JOIN customers ON customers.id = page.customer_id
CROSS JOIN LATERAL (
    SELECT count(*) AS asked, count(*) FILTER (WHERE status = 'rejected') AS rejected
    FROM requests WHERE requests.pairing_id = page.id
) AS answers
ORDER BY page.created_at, page.id

-- name: perhaps_connected
-- Mitras who want to be asked, or were seen in the last minutes: nobody else is connected.
SELECT id FROM mitras
WHERE online OR last_seen_at > (SELECT curhat_now() - interval '5 minutes')

-- name: free_capacity
-- How many customers the mitras $1 can take besides those they have.
SELECT coalesce(sum(max_customers - active_sessions), 0) FROM mitras
WHERE id = ANY ($1::uuid[]) AND online AND suspended_at IS NULL AND active_sessions < max_customers

-- name: buckets
-- What happened in each of the last $2 hours or days ($1) in Jakarta, oldest first; the last one is not over.
WITH moment AS MATERIALIZED (
    SELECT date_trunc($1, curhat_now() AT TIME ZONE 'Asia/Jakarta') AS last, ('1 ' || $1)::interval AS length
), buckets AS MATERIALIZED (
    SELECT began, began AT TIME ZONE 'Asia/Jakarta' AS began_at
    FROM moment, generate_series(last - length * ($2::integer - 1), last, length) AS began
), first AS MATERIALIZED (
    SELECT min(began_at) AS began_at FROM buckets
), opened AS (
    SELECT date_trunc($1, created_at AT TIME ZONE 'Asia/Jakarta') AS began, count(*) AS count
    FROM payments WHERE purpose = 'session' AND created_at >= (SELECT began_at FROM first) GROUP BY 1
), confirmed AS (
    SELECT date_trunc($1, confirmed_at AT TIME ZONE 'Asia/Jakarta') AS began, count(*) AS count
    FROM payments WHERE purpose = 'session' AND confirmed_at >= (SELECT began_at FROM first) GROUP BY 1
), matched AS (
    SELECT date_trunc($1, started_at AT TIME ZONE 'Asia/Jakarta') AS began, count(*) AS count
    FROM sessions WHERE started_at >= (SELECT began_at FROM first) GROUP BY 1
), finished AS (
    SELECT date_trunc($1, ended_at AT TIME ZONE 'Asia/Jakarta') AS began, count(*) AS count
    FROM sessions WHERE ended_at >= (SELECT began_at FROM first) GROUP BY 1
), failed AS (
    SELECT date_trunc($1, occurred_at AT TIME ZONE 'Asia/Jakarta') AS began, count(*) AS count
    FROM failed_pairing_events WHERE occurred_at >= (SELECT began_at FROM first) GROUP BY 1
)
SELECT buckets.began_at, coalesce(opened.count, 0) AS opened, coalesce(confirmed.count, 0) AS confirmed,
    coalesce(matched.count, 0) AS matched, coalesce(finished.count, 0) AS finished, coalesce(failed.count, 0) AS failed
FROM buckets
LEFT JOIN opened USING (began)
LEFT JOIN confirmed USING (began)
LEFT JOIN matched USING (began)
LEFT JOIN finished USING (began)
LEFT JOIN failed USING (began)
ORDER BY buckets.began

-- name: server_now
SELECT curhat_now()
