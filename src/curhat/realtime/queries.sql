-- name: append
-- Each stream's head → head + its number of new events, and one stored event for each, numbered without gaps.
-- $1 roles, $2 user ids, $3 types, $4 data. Streams that do not exist yet begin at 0. Answers in the order given.
WITH given AS MATERIALIZED (
    SELECT role, user_id, type, data, position,
        row_number() OVER (PARTITION BY role, user_id ORDER BY position DESC) - 1 AS followed_by
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[])
        WITH ORDINALITY AS event (role, user_id, type, data, position)
), grown AS (
    INSERT INTO streams (role, user_id, head)
    SELECT role, user_id, count(*) FROM given GROUP BY role, user_id ORDER BY role, user_id
    ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head + excluded.head
    RETURNING role, user_id, head
), numbered AS MATERIALIZED (
    SELECT position, role, user_id, type, data, head - followed_by AS seq, curhat_now() AS at
    FROM given
    JOIN grown USING (role, user_id)
), stored AS (
    INSERT INTO stream_events (role, user_id, seq, type, data, at)
    SELECT role, user_id, seq, type, data, at FROM numbered
)
SELECT role, user_id, seq, at FROM numbered ORDER BY position

-- name: head
-- Reads where the stream of user ($1, $2) stands; no row while nothing has happened to that user.
SELECT epoch, head, curhat_now() AS server_now FROM streams WHERE role = $1 AND user_id = $2

-- name: begin_stream
-- nothing → an empty stream; one that somebody else began meanwhile stays as it is.
INSERT INTO streams (role, user_id) VALUES ($1, $2)
ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head
RETURNING epoch, head, curhat_now() AS server_now

-- name: events_after
-- Reads what the stream of user ($1, $2) holds after seq $3, at most $4 events.
SELECT seq, type, at, data FROM stream_events
WHERE role = $1 AND user_id = $2 AND seq > $3
ORDER BY seq
LIMIT $4

-- name: heads_ahead
-- Reads the heads of those users of role $1 (ids $2) who have more than the caller knows of ($3).
SELECT streams.user_id, streams.head
FROM unnest($2::uuid[], $3::bigint[]) AS known (user_id, head)
JOIN streams ON streams.role = $1 AND streams.user_id = known.user_id
WHERE streams.head > known.head

-- name: server_now
-- Reads the clock.
SELECT curhat_now()

-- name: prune
-- Events older than 24 h → nothing, the oldest $1 of them; heads stay, so numbers are never given twice.
DELETE FROM stream_events WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM stream_events
    WHERE at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY at, seq
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
