-- type: role = Role from curhat.kit.identity

-- name: append_events :many
-- Append events to their streams. The comment of the function append_events describes the `seq` numbers. Each array has
-- one element per event. Returns one row per event, in the order of the arrays.
-- row: AppendedEvent
SELECT seq, at FROM append_events(@roles::text[], @user_ids::uuid[], @types::text[], @data::text[])

-- name: find_head :optional
-- Read the number of the last event in a user's stream. Returns no row if the stream has not begun.
-- row: StreamHead
SELECT epoch_on_timeline(epoch) AS epoch, head AS seq, curhat_now() AS server_now
FROM streams WHERE role = @role AND user_id = @user_id

-- name: begin_stream :one
-- Begin an empty stream. If another transaction began the stream meanwhile, return the head of that stream and
-- change nothing.
-- row: StreamHead
INSERT INTO streams (role, user_id) VALUES (@role, @user_id)
ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head
RETURNING epoch_on_timeline(epoch) AS epoch, head AS seq, curhat_now() AS server_now

-- name: read_clock_and_timeline :one
-- Read the database's clock, and PostgreSQL's timeline. If the timeline has changed, it is possible that commits were
-- lost.
-- row: ClockAndTimeline
SELECT curhat_now() AS server_now, curhat_timeline() AS timeline

-- name: list_events_after :many
-- Read the events of a user's stream that follow @seq, in order. Returns at most @max_events events.
-- row: EventRow
SELECT seq, type, at, data FROM stream_events
WHERE role = @role AND user_id = @user_id AND seq > @seq
ORDER BY seq
LIMIT @max_events

-- name: list_heads_ahead :many
-- Find the streams whose head is higher than the head that the caller knows. All users have the role @role.
-- Each array has one element per user.
-- row: HeadAhead
SELECT streams.user_id, streams.head
FROM unnest(@user_ids::uuid[], @known_heads::bigint[]) AS known (user_id, head)
JOIN streams ON streams.role = @role AND streams.user_id = known.user_id
WHERE streams.head > known.head

-- name: blank_message_texts :exec
-- Remove the text from the stored events about this session's messages, in the streams of both members. A device that
-- resumes its stream then gets no text that its person can no longer read. The numbers of the events stay.
UPDATE stream_events SET data = (data::jsonb || '{"text": ""}')::text
WHERE (role, user_id) IN (('customer', @customer_id::uuid), ('mitra', @mitra_id::uuid)) AND type = 'message.created'
    AND data LIKE '%"session_id":"' || @session_id::uuid || '"%'

-- name: prune_events :execrows
-- Delete at most @max_events events that are older than 24 hours, oldest first. The stream's row keeps the last
-- number, so no number is used twice.
DELETE FROM stream_events WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM stream_events
    WHERE at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY at, seq
    LIMIT @max_events
    FOR UPDATE SKIP LOCKED
))

-- name: renew_epochs :execrows
-- Give each stream a new epoch. No client can then resume a stream.
UPDATE streams SET epoch = gen_random_uuid()

-- name: delete_stream :exec
-- Delete the events of a deleted account. The row of the stream keeps the last number.
DELETE FROM stream_events WHERE role = @role AND user_id = @user_id

-- name: delete_events_about :exec
-- Delete the events of these users that name the person @about, or one of the sessions @session_ids. Also delete those
-- that are older than 24 hours, as prune_events does. Each stream that loses an event gets a new epoch, so that its clients fetch their state instead of resuming with a gap.
WITH gone AS (
    DELETE FROM stream_events
    WHERE role = @role AND user_id = ANY (@user_ids::uuid[])
        AND (at < curhat_now() - interval '24 hours' OR position(@about::text IN data) > 0
            OR EXISTS (
                SELECT 1 FROM unnest(@session_ids::uuid[]) AS session_id WHERE position(session_id::text IN data) > 0
            ))
    RETURNING user_id
)
UPDATE streams SET epoch = gen_random_uuid()
WHERE role = @role AND user_id IN (SELECT user_id FROM gone)
