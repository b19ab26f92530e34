-- type: data_class = TimedClass from curhat.privacy.retention.classes

-- name: prune_notices :execrows
-- Delete at most @max_rows notices that are older than @months months, oldest first.
DELETE FROM notices WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM notices WHERE created_at < (SELECT curhat_now() - make_interval(months => @months))
    ORDER BY created_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: prune_ratings :execrows
-- Delete at most @max_rows ratings that are older than @months months, oldest first.
DELETE FROM ratings WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ratings WHERE rated_at < (SELECT curhat_now() - make_interval(months => @months))
    ORDER BY rated_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: prune_reports :execrows
-- Delete at most @max_rows reports and concerns whose last step was done more than @months months ago. A report that has
-- a notice stays until its notices are deleted. An operator had to take the last step until due_at, and the time from
-- closed_at to due_at is at most @max_due_days. So the index reports_by_queue finds the rows.
DELETE FROM reports WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM reports
    WHERE queue_rank = 3
        AND due_at < (SELECT curhat_now() - make_interval(months => @months, days => -@max_due_days::integer))
        AND closed_at < (SELECT curhat_now() - make_interval(months => @months))
        AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.report_id = reports.id)
    ORDER BY queue_rank, due_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: list_overdue :many
-- Read by how many seconds the oldest row of each class is over its time. The seconds are negative or null if no row is
-- over its time. An index gives the oldest row of each class. The chat text has a statement of its own (sessions).
-- nullable: overdue_seconds
-- row: Overdue
SELECT timed.data_class, extract(epoch FROM curhat_now() - timed.ends_at)::float8 AS overdue_seconds
FROM (VALUES
    ('notices', (SELECT min(created_at) + make_interval(months => @months) FROM notices)),
    ('ratings', (SELECT min(rated_at) + make_interval(months => @months) FROM ratings)),
    ('reports', (
        SELECT closed_at + make_interval(months => @months) FROM reports WHERE queue_rank = 3
        ORDER BY queue_rank, due_at LIMIT 1
    )),
    ('events', (SELECT min(at) + interval '24 hours' FROM stream_events)),
    ('answers to repeated requests', (SELECT min(created_at) + interval '24 hours' FROM idempotency_keys)),
    ('one-time codes', (SELECT min(created_at) + interval '24 hours' FROM one_time_codes)),
    ('known devices', (
        SELECT min(created_at) + make_interval(secs => @known_device_seconds) FROM known_devices
    )),
    ('sign-ins', (SELECT min(least(expires_at, revoked_at)) + interval '7 days' FROM access_tokens)),
    ('sign-ins of operators', (SELECT min(least(expires_at, revoked_at)) + interval '7 days' FROM operator_tokens)),
    ('tries of operators to sign in', (SELECT min(tried_at) + interval '24 hours' FROM operator_sign_in_tries)),
    ('push messages', (SELECT min(expires_at) FROM push_messages)),
    ('exports', (SELECT min(begun_at) + interval '24 hours' FROM exports)),
    ('phones of deleted accounts', (SELECT min(expires_at) FROM erased_phones))
) AS timed (data_class, ends_at)
