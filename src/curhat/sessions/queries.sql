-- name: send
-- nothing → sent, for each asked message whose session is its sender's own and runs. One element a message:
-- $1 session, $2 sender's role, $3 sender's id, $4 client_message_id, $5 text. A row for each sender who is in
-- the session; its `id` is null when nothing was written: sent before, or the session is over.
-- One look at the clock, after the last lock: no message is sent at or after its session's end, however long
-- a lock was waited for. The lock also makes the ids of a session's messages grow in the order of commits.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[])
        WITH ORDINALITY AS asked (session_id, sender, user_id, client_message_id, text, position)
), locked AS MATERIALIZED (
    SELECT id, customer_id, mitra_id, status, ends_at FROM sessions
    WHERE id = ANY ($1) AND (customer_id = ANY ($3) OR mitra_id = ANY ($3))
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
), own AS MATERIALIZED (
    SELECT asked.*, locked.customer_id, locked.mitra_id,
        locked.status = 'active' AND locked.ends_at > moment.now AS runs, moment.now
    FROM moment, asked
    JOIN locked ON locked.id = asked.session_id
        AND asked.user_id
            = CASE asked.sender WHEN 'customer' THEN locked.customer_id ELSE locked.mitra_id END
), sent AS (
    INSERT INTO messages (session_id, sender, client_message_id, text, sent_at)
    SELECT session_id, sender, client_message_id, text, now FROM own WHERE runs ORDER BY position
    ON CONFLICT ON CONSTRAINT messages_once DO NOTHING
    RETURNING id, session_id, sender, client_message_id, sent_at
)
SELECT own.position, own.customer_id, own.mitra_id, sent.id, sent.sent_at
FROM own
LEFT JOIN sent USING (session_id, sender, client_message_id)
ORDER BY own.position

-- name: sent_before
-- The messages that are there under these names, one element each: $1 session, $2 sender's role,
-- $3 client_message_id. A statement of its own, so that it sees what was committed while `send` waited.
SELECT asked.position, messages.*
FROM unnest($1::uuid[], $2::text[], $3::text[])
    WITH ORDINALITY AS asked (session_id, sender, client_message_id, position)
JOIN messages USING (session_id, sender, client_message_id)

-- name: mark_read
-- unread → read: what the other side of session $1 sent, up to message $4, for the member ($2 role, $3 id).
-- No row: no such session or message here. `read_at` is null when there was nothing left to mark.
WITH locked AS MATERIALIZED (
    SELECT id, customer_id, mitra_id FROM sessions
    WHERE id = $1 AND $3 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = $1 AND messages.id = $4)
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
), marked AS (
    UPDATE messages SET read_at = moment.now
    FROM locked, moment
    WHERE messages.session_id = locked.id AND messages.sender <> $2 AND messages.id <= $4
        AND messages.read_at IS NULL
    RETURNING messages.read_at
)
SELECT locked.customer_id, locked.mitra_id, (SELECT max(read_at) FROM marked) AS read_at
FROM locked

-- name: end_early
-- active → ended by the member ($2 role, $3 id), for reason $4 with note $5; not once its time is over.
WITH locked AS MATERIALIZED (
    SELECT id, status, ends_at FROM sessions
    WHERE id = $1 AND $3 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = $4, end_note = $5
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active' AND locked.ends_at > curhat_now()
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id

-- name: end_due
-- active → ended because its time is up; never early.
WITH locked AS MATERIALIZED (
    SELECT id, status, ends_at FROM sessions WHERE id = $1 FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'time_up'
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active' AND locked.ends_at <= curhat_now()
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id

-- name: running_until
-- When a running session ends.
SELECT ends_at FROM sessions WHERE id = $1 AND status = 'active'

-- name: end_suspended
-- active → ended because its mitra is suspended. A session whose time is over is left to its deadline.
WITH locked AS MATERIALIZED (
    SELECT id, status, ends_at FROM sessions WHERE id = $1 FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'mitra_suspended'
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active' AND locked.ends_at > curhat_now()
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id

-- name: views
-- Sessions with the names that each side may see of the other, oldest first.
SELECT sessions.id, sessions.status, sessions.customer_id, sessions.mitra_id, sessions.started_at,
    sessions.ends_at, sessions.ended_at, sessions.end_reason, sessions.duration_minutes,
    mitras.display_name, customers.call_name, curhat_now() AS server_now
FROM sessions
JOIN mitras ON mitras.id = sessions.mitra_id
JOIN customers ON customers.id = sessions.customer_id
WHERE sessions.id = ANY ($1)
ORDER BY sessions.id

-- name: running_members
-- The two in session $1, while it runs.
SELECT customer_id, mitra_id FROM sessions WHERE id = $1 AND status = 'active' AND ends_at > curhat_now()

-- name: active_of_customer
-- None or one.
SELECT id FROM sessions WHERE customer_id = $1 AND status = 'active'

-- name: active_of_mitra
-- As many as the mitra's capacity allows.
SELECT id FROM sessions WHERE mitra_id = $1 AND status = 'active'

-- name: history_of_customer
-- The $3 session ids before $2, newest first. A plain comparison, so that the index does all of it.
SELECT id FROM sessions WHERE customer_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3

-- name: history_of_mitra
-- The $3 session ids before $2, newest first.
SELECT id FROM sessions WHERE mitra_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3

-- name: messages
-- The $5 messages of session $1 before $4, newest first, for the member ($2 role, $3 id). No row: no such
-- session here; one row without an id: no message there.
SELECT page.*
FROM sessions
LEFT JOIN LATERAL (
    SELECT * FROM messages WHERE messages.session_id = sessions.id AND messages.id < $4
    ORDER BY messages.id DESC
    LIMIT $5
) AS page ON true
WHERE sessions.id = $1
    AND $3 = CASE $2::text WHEN 'customer' THEN sessions.customer_id ELSE sessions.mitra_id END
ORDER BY page.id DESC
