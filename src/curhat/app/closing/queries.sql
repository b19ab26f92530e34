-- name: find_day_to_close :one
-- Find the oldest day in Jakarta that ended at least @wait_hours ago and has no row, at most @max_days back. Without any
-- closed day, only the last day that ended counts. No such day: `day` is null. `next_at` is when the next day can be
-- closed.
-- row: DayToClose
-- nullable: day
WITH moment AS MATERIALIZED (
    SELECT (curhat_now() AT TIME ZONE 'Asia/Jakarta' - make_interval(hours => @wait_hours))::date AS today
), days AS (
    SELECT generate_series(
        greatest(
            moment.today - @max_days::integer, coalesce((SELECT max(day) FROM closed_days) + 1, moment.today - 1)
        )::timestamp, (moment.today - 1)::timestamp, '1 day'
    )::date AS day
    FROM moment
)
SELECT (SELECT min(day) FROM days) AS day,
    ((moment.today + 1)::timestamp + make_interval(hours => @wait_hours)) AT TIME ZONE 'Asia/Jakarta' AS next_at
FROM moment

-- name: find_bounds :one
-- Compute when a day in Jakarta begins and ends.
SELECT (@day::date)::timestamp AT TIME ZONE 'Asia/Jakarta' AS begins_at,
    (@day::date + 1)::timestamp AT TIME ZONE 'Asia/Jakarta' AS ends_at

-- name: limit_statement :one
-- Let each later statement of this transaction run for up to @seconds.
SELECT set_config('statement_timeout', @seconds::integer || 's', true) AS statement_timeout

-- name: insert_closed_day :optional
-- nothing → closed. Returns no row if the day is closed already.
INSERT INTO closed_days (day, charges, charged_rp, refunds, refunded_rp, differences, invariants_checked,
    broken_invariants)
VALUES (@day, @charges, @charged_rp, @refunds, @refunded_rp, @differences, @invariants_checked, @broken_invariants)
ON CONFLICT DO NOTHING
RETURNING day
