-- name: send
-- nothing → sent, for each asked message whose session is its sender's own and runs. One element a message:
-- $1 session, $2 sender's role, $3 sender's id, $4 client_message_id, $5 text. A row for each sender who is in
-- the session; its `id` is null when nothing was written: sent before, or the session is over.
-- One look at the clock, after the last lock: no message is sent at or after its session's end, however long
-- a lock was waited for; an open extension holds the end back (5.7). The lock also makes the ids of a session's messages grow in the order of commits.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[])
        WITH ORDINALITY AS asked (session_id, sender, user_id, client_message_id, text, position)
), locked AS MATERIALIZED (
    SELECT id, customer_id, mitra_id, status, ends_at, open_extension_id FROM sessions
    WHERE id = ANY ($1) AND (customer_id = ANY ($3) OR mitra_id = ANY ($3))
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
), own AS MATERIALIZED (
    SELECT asked.*, locked.customer_id, locked.mitra_id,
        locked.status = 'active' AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL) AS runs,
        moment.now
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
-- active → ended by the member ($2 role, $3 id), for reason $4 with note $5; not once its time is over. Gives the
-- extension that was open.
WITH locked AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions
    WHERE id = $1 AND $3 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = $4, end_note = $5,
    open_extension_id = NULL
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > curhat_now() OR locked.open_extension_id IS NOT NULL)
RETURNING sessions.id, sessions.payment_id, sessions.customer_id, sessions.mitra_id, locked.open_extension_id

-- name: end_due
-- active → ended because their time is up, those of the sessions $1 whose it is; never early, and not while an
-- extension is open (5.7). A row for each that ran with none; `ended` is false for one whose end is still to come.
-- The extension is set to null although it is null: a check looks at the new row as made from the one that this
-- statement saw first, which may be older than the one it locked.
WITH locked AS MATERIALIZED (
    SELECT id, payment_id, customer_id, mitra_id, status, ends_at, open_extension_id
    FROM sessions WHERE id = ANY ($1::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
), ended AS (
    UPDATE sessions SET status = 'ended', ended_at = moment.now, end_reason = 'time_up', open_extension_id = NULL
    FROM locked, moment
    WHERE sessions.id = locked.id AND locked.status = 'active' AND locked.ends_at <= moment.now
        AND locked.open_extension_id IS NULL
    RETURNING sessions.id
)
SELECT locked.id, locked.payment_id, locked.customer_id, locked.mitra_id, locked.ends_at, locked.open_extension_id,
    ended.id IS NOT NULL AS ended
FROM locked
LEFT JOIN ended USING (id)
WHERE locked.status = 'active' AND locked.open_extension_id IS NULL

-- name: end_suspended
-- active → ended because its mitra is suspended. A session whose time is over is left to its deadline.
WITH locked AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions WHERE id = $1 FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'mitra_suspended',
    open_extension_id = NULL
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > curhat_now() OR locked.open_extension_id IS NOT NULL)
RETURNING sessions.id, sessions.payment_id, sessions.customer_id, sessions.mitra_id, locked.open_extension_id

-- name: views
-- Sessions with the names that each side may see of the other, oldest first.
SELECT sessions.id, sessions.status, sessions.customer_id, sessions.mitra_id, sessions.started_at,
    sessions.ends_at, sessions.ended_at, sessions.end_reason, sessions.duration_minutes,
    mitras.display_name, customers.call_name,
    extension.id AS extension_id, extension.payment_id AS extension_payment_id,
    extension.status AS extension_status, extension.decided_by AS extension_decided_by,
    extension.offer_id AS extension_offer_id, extension.duration_minutes AS extension_duration_minutes,
    extension.price_rp AS extension_price_rp, extension.deadline_at AS extension_deadline_at,
    extension.default_action AS extension_default_action,
    curhat_now() AS server_now
FROM sessions
JOIN mitras ON mitras.id = sessions.mitra_id
JOIN customers ON customers.id = sessions.customer_id
LEFT JOIN LATERAL (
    SELECT * FROM extensions WHERE session_id = sessions.id
    ORDER BY id = sessions.open_extension_id DESC NULLS LAST, id DESC LIMIT 1
) AS extension ON true
WHERE sessions.id = ANY ($1)
ORDER BY sessions.id

-- name: running_members
-- The two in session $1, while it runs.
SELECT customer_id, mitra_id FROM sessions
WHERE id = $1 AND status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL)

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

-- Extensions. Each statement but the first two runs under the lock of the session, taken by lock_session.

-- name: session_of_charge
-- The session whose extension the charge attempt $1 is for; no row: it is for something else.
SELECT extensions.session_id
FROM charge_attempts JOIN extensions ON extensions.payment_id = charge_attempts.payment_id
WHERE charge_attempts.id = $1

-- name: mitras_of_extensions
-- Whose answer the extensions $1 wait for.
SELECT extensions.id, sessions.mitra_id
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.id = ANY ($1::uuid[])

-- name: lock_session
-- Takes the session's lock, then reads.
WITH locked AS MATERIALIZED (SELECT * FROM sessions WHERE id = $1 FOR NO KEY UPDATE)
SELECT id, customer_id, mitra_id, ends_at, open_extension_id, curhat_now() AS now,
    status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL) AS runs
FROM locked

-- name: lock_sessions_of_extensions
-- Takes the locks of the sessions of the extensions $1, in id order.
SELECT id FROM sessions WHERE id = ANY (ARRAY(SELECT session_id FROM extensions WHERE id = ANY ($1::uuid[])))
ORDER BY id
FOR NO KEY UPDATE

-- name: lock_extensions
-- Takes the locks of the extensions $1, in id order, then reads: what the toggle marks, it marks before this or has to
-- wait. `is_over`: the time to answer has passed. `mitra_is_there`: the toggle is on, and was throughout.
WITH locked AS MATERIALIZED (
    SELECT * FROM extensions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
)
SELECT locked.*, sessions.customer_id, sessions.mitra_id, locked.deadline_at <= moment.now AS is_over,
    locked.charge_by <= moment.now AS charge_is_late,
    mitras.online AND mitras.suspended_at IS NULL AND NOT locked.mitra_went_offline AS mitra_is_there
FROM locked
CROSS JOIN moment
JOIN sessions ON sessions.id = locked.session_id
JOIN mitras ON mitras.id = sessions.mitra_id
ORDER BY locked.id

-- name: open_extension
-- nothing → pending, and it holds the session's end back: $1 session, $2 mitra, $3 payment, $4 offer, $5 minutes,
-- $6 rupiah, $7 default action, $8 deadline. `online` is the mitra's toggle. The mitra's row is held, so that the
-- toggle comes before this and is seen, or after it and finds the extension.
WITH mitra AS MATERIALIZED (
    SELECT online AND suspended_at IS NULL AS online FROM mitras WHERE id = $2 FOR SHARE
), opened AS (
    INSERT INTO extensions
        (session_id, payment_id, offer_id, duration_minutes, price_rp, default_action, deadline_at)
    SELECT $1, $3, $4, $5, $6, $7, $8 FROM mitra
    RETURNING id
), held AS (
    UPDATE sessions SET open_extension_id = opened.id FROM opened WHERE sessions.id = $1
)
SELECT opened.id, mitra.online FROM opened, mitra

-- name: extensions
SELECT *, curhat_now() AS server_now FROM extensions WHERE id = ANY ($1::uuid[]) ORDER BY id

-- name: approve_extensions
-- pending → charging, decided by $2, to be charged within $3 seconds: the extensions $1. Gives until when.
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now)
UPDATE extensions SET status = 'charging', decided_by = $2, decided_at = moment.now,
    charge_by = moment.now + make_interval(secs => $3)
FROM moment
WHERE id = ANY ($1::uuid[])
RETURNING charge_by

-- name: reject_extensions
-- pending → rejected: the extensions $1, each decided by what $2 says. Nothing is charged.
UPDATE extensions SET status = 'rejected', decided_by = decision.decided_by, decided_at = curhat_now()
FROM unnest($1::uuid[], $2::text[]) AS decision (extension_id, decided_by)
WHERE id = decision.extension_id

-- name: settle_extension
-- charging → approved or charge_failed ($2).
UPDATE extensions SET status = $2 WHERE id = $1

-- name: release_ends
-- The ends of the sessions $1, held back until now, → $2 minutes later. `settled` counts a session's extensions.
UPDATE sessions SET open_extension_id = NULL, ends_at = ends_at + make_interval(mins => $2)
WHERE id = ANY ($1::uuid[])
RETURNING id, ends_at, ends_at <= curhat_now() AS is_over,
    (SELECT count(*)::integer FROM extensions WHERE session_id = sessions.id) AS settled

-- name: mitra_went_offline
-- Pending extensions of the mitra $1 cannot be approved any more. Takes their rows after the mitra's, in id order; gives
-- their ids.
WITH locked AS MATERIALIZED (
    SELECT extensions.id FROM extensions JOIN sessions ON sessions.id = extensions.session_id
    WHERE sessions.mitra_id = $1 AND sessions.status = 'active'
        AND extensions.status = 'pending' AND NOT extensions.mitra_went_offline
    ORDER BY extensions.id
    FOR NO KEY UPDATE OF extensions
)
UPDATE extensions SET mitra_went_offline = true FROM locked WHERE extensions.id = locked.id
RETURNING extensions.id

-- name: check_presence_soon
-- nothing → armed: whether the mitra $1 is still connected is looked up in $2 seconds, for its pending extensions.
INSERT INTO deadlines (kind, entity_id, due_at)
SELECT 'extension_presence', extensions.id, curhat_now() + make_interval(secs => $2)
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = $1 AND sessions.status = 'active' AND extensions.status = 'pending'
ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at

-- name: open_extensions_of_mitra
SELECT extensions.*, curhat_now() AS server_now
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = $1 AND sessions.status = 'active'
ORDER BY extensions.id

-- name: charged_extensions
-- The payments of what was added to the sessions $1 and taken.
SELECT payment_id FROM extensions WHERE session_id = ANY ($1::uuid[]) AND status = 'approved' ORDER BY id
