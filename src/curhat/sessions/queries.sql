-- type: sender = Role from curhat.kit.identity
-- type: role = Role from curhat.kit.identity
-- type: session_status = SessionStatus from curhat.sessions.states
-- type: end_reason = EndReason from curhat.sessions.states
-- type: leave_reason = LeaveReason from curhat.sessions.states
-- type: status = ExtensionStatus from curhat.sessions.states
-- type: extension_status = ExtensionStatus from curhat.sessions.states
-- type: decided_by = DecidedBy from curhat.sessions.states
-- type: extension_decided_by = DecidedBy from curhat.sessions.states
-- type: delivery = Delivery from curhat.sessions.states
-- type: default_action = DefaultAction from curhat.configuration.definitions
-- type: extension_default_action = DefaultAction from curhat.configuration.definitions

-- name: send_messages :many
-- Store each message whose session runs and whose sender is a member of the session. Each array has one element per
-- message. Returns a row for each message whose sender is a member of the session. `id` is null if this statement did
-- not store the message. If `id` is null, the message is already stored, or its session is over, or it replies to a
-- message of another session (`reply_is_known` is false). @no_reply stands for no reply. The statement reads
-- the clock after it has taken the last lock. So the statement stores no message if the session's time ran out during a
-- lock wait. The locks also ensure that the ids of a session's messages grow in commit order. For each stored message,
-- the statement also appends the event message.created to the streams of both members. `customer_seq` and `mitra_seq`
-- are the numbers of the two appended events. `told_at` is the time of the two events. From now on, no lock wait of the
-- transaction lasts longer than @lock_timeout. If @lock_timeout is null, the lock timeout of the connection stays in
-- force.
-- nullable: id, sent_at, told_at, customer_seq, mitra_seq, @lock_timeout
-- row: SendRow
WITH limits AS MATERIALIZED (
    SELECT set_config('lock_timeout', coalesce(@lock_timeout, current_setting('lock_timeout')), true)
), asked AS MATERIALIZED (
    SELECT * FROM unnest(@session_ids::uuid[], @senders::text[], @user_ids::uuid[], @client_message_ids::text[],
        @texts::text[], @reply_to_message_ids::uuid[])
        WITH ORDINALITY AS asked (session_id, sender, user_id, client_message_id, text, reply_to, position)
), locked_sessions AS MATERIALIZED (
    SELECT sessions.id, customer_id, mitra_id, status, ends_at, open_extension_id FROM limits, sessions
    WHERE sessions.id = ANY (@session_ids) AND (customer_id = ANY (@user_ids) OR mitra_id = ANY (@user_ids))
    ORDER BY sessions.id
    FOR NO KEY UPDATE OF sessions
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_sessions
), own AS MATERIALIZED (
    SELECT asked.*, locked.customer_id, locked.mitra_id,
        -- An open extension delays the end (5.7).
        locked.status = 'active' AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL) AS runs,
        asked.reply_to = @no_reply OR EXISTS (
            SELECT 1 FROM messages WHERE messages.id = asked.reply_to AND messages.session_id = asked.session_id
        ) AS reply_is_known,
        moment.now
    FROM moment, asked
    JOIN locked_sessions AS locked ON locked.id = asked.session_id
        AND asked.user_id
            = CASE asked.sender WHEN 'customer' THEN locked.customer_id ELSE locked.mitra_id END
), insert_messages AS (
    INSERT INTO messages (session_id, sender, client_message_id, text, sent_at, reply_to_message_id)
    SELECT session_id, sender, client_message_id, text, now, nullif(reply_to, @no_reply)
    FROM own WHERE runs AND reply_is_known ORDER BY position
    ON CONFLICT ON CONSTRAINT messages_once DO NOTHING
    RETURNING id, session_id, sender, client_message_id, sent_at, text, reply_to_message_id
), new_messages AS MATERIALIZED (
    SELECT sent.id, sent.sent_at, locked.customer_id, locked.mitra_id, row_number() OVER (ORDER BY sent.id) AS number,
        -- This JSON is the same as the JSON of the struct Message (test_sessions_messages.py compares both).
        format('{"id":"%s","session_id":"%s","client_message_id":%s,"sender":"%s","text":%s,"sent_at":"%s","read_at":null,'
            '"reply_to_message_id":%s}',
            sent.id, sent.session_id, to_json(sent.client_message_id), sent.sender, to_json(sent.text),
            -- Like the struct's encoder, leave out a fraction of zero.
            replace(to_char(sent.sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'),
            coalesce(to_json(sent.reply_to_message_id)::text, 'null')) AS data
    FROM insert_messages AS sent
    JOIN locked_sessions AS locked ON locked.id = sent.session_id
), told AS MATERIALIZED (
    SELECT (appended.position + 1) / 2 AS number, appended.at AS told_at, appended.position % 2 = 1 AS is_customer,
        appended.seq
    FROM (
        SELECT array_agg(side.role ORDER BY number, side.role) AS roles,
            array_agg(side.user_id ORDER BY number, side.role) AS user_ids,
            array_agg('message.created'::text) AS types,
            array_agg(data ORDER BY number, side.role) AS data
        FROM new_messages
        CROSS JOIN LATERAL (VALUES ('customer', customer_id), ('mitra', mitra_id)) AS side (role, user_id)
        HAVING count(*) > 0
    ) AS sides
    CROSS JOIN LATERAL append_events(sides.roles, sides.user_ids, sides.types, sides.data)
        WITH ORDINALITY AS appended (seq, at, position)
)
SELECT own.position, own.customer_id, own.mitra_id, own.reply_is_known, sent.id, sent.sent_at, to_customer.told_at,
    to_customer.seq AS customer_seq, to_mitra.seq AS mitra_seq
FROM own
LEFT JOIN insert_messages AS sent USING (session_id, sender, client_message_id)
LEFT JOIN new_messages ON new_messages.id = sent.id
LEFT JOIN told AS to_customer ON to_customer.number = new_messages.number AND to_customer.is_customer
LEFT JOIN told AS to_mitra ON to_mitra.number = new_messages.number AND NOT to_mitra.is_customer
ORDER BY own.position

-- name: lock_senders :exec
-- Take one advisory lock per sender, in the given order. Two transactions that send messages of the same person then
-- run one after the other. Each array has one element per person.
SELECT FROM unnest(@senders::text[], @user_ids::uuid[]) AS asked (sender, user_id)
CROSS JOIN LATERAL pg_advisory_xact_lock(hashtextextended('messages of ' || sender || ' ' || user_id, 0))

-- name: list_recent_messages :many
-- Read the ages of the messages that these people have sent within the last @window_seconds. Only messages in running
-- sessions count. Each person's newest message comes first. Each array has one element per person. The statement reads
-- at most @max_messages messages per session. A separate statement after lock_senders sees the messages that other
-- transactions committed during the lock wait.
-- row: RecentMessage
SELECT asked.position, recent.age_seconds
FROM unnest(@senders::text[], @user_ids::uuid[]) WITH ORDINALITY AS asked (sender, user_id, position)
CROSS JOIN LATERAL (
    SELECT id FROM sessions WHERE asked.sender = 'customer' AND customer_id = asked.user_id AND status = 'active'
    UNION ALL
    SELECT id FROM sessions WHERE asked.sender = 'mitra' AND mitra_id = asked.user_id AND status = 'active'
) AS running
CROSS JOIN LATERAL (
    SELECT sender, extract(epoch FROM curhat_now() - sent_at)::float8 AS age_seconds
    FROM messages WHERE messages.session_id = running.id
    ORDER BY messages.id DESC LIMIT @max_messages
) AS recent
WHERE recent.sender = asked.sender AND recent.age_seconds < @window_seconds
ORDER BY asked.position, recent.age_seconds

-- name: list_sent_messages :many
-- Read the stored messages with these client ids. Each array has one element per message. A separate statement sees the
-- messages that other transactions committed while send_messages waited for its locks.
-- nullable: read_at, reply_to_message_id
-- row: MessageRow
SELECT messages.id, messages.session_id, messages.client_message_id, messages.sender, messages.text,
    messages.sent_at, messages.read_at, messages.reply_to_message_id
FROM unnest(@session_ids::uuid[], @senders::text[], @client_message_ids::text[])
    AS asked (session_id, sender, client_message_id)
JOIN messages USING (session_id, sender, client_message_id)

-- name: mark_messages_read :optional
-- Mark the other member's messages as read, up to @up_to_message_id (unread → read). Returns no row if the session has
-- no message with this id, or the caller is not a member. `read_at` is null if no message was unread.
-- nullable: read_at
-- row: ReadMessages
WITH locked_session AS MATERIALIZED (
    SELECT id, customer_id, mitra_id FROM sessions
    WHERE id = @session_id AND @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND EXISTS (
            SELECT 1 FROM messages WHERE messages.session_id = @session_id AND messages.id = @up_to_message_id
        )
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_session
), mark_read AS (
    UPDATE messages SET read_at = moment.now
    FROM locked_session, moment
    WHERE messages.session_id = locked_session.id AND messages.sender <> @role
        AND messages.id <= @up_to_message_id AND messages.read_at IS NULL
    RETURNING messages.read_at
)
SELECT locked_session.customer_id, locked_session.mitra_id, (SELECT max(read_at) FROM mark_read) AS read_at
FROM locked_session

-- name: end_session_early :optional
-- End the session early for a member (active → ended). Returns the id of the extension that was open. Returns no row if
-- the caller is not a member, or the session is over. With @away_seconds, also returns no row if the mitra has been
-- disconnected for less than @away_seconds.
-- nullable: open_extension_id, @end_note, @away_seconds
-- row: EndedSession
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id, mitra_away_since FROM sessions
    WHERE id = @session_id AND @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_session
)
UPDATE sessions SET status = 'ended', ended_at = moment.now, end_reason = @end_reason, end_note = @end_note,
    open_extension_id = NULL
FROM locked_session AS locked, moment
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL)
    AND (@away_seconds::float8 IS NULL
        OR locked.mitra_away_since <= moment.now - make_interval(secs => @away_seconds::float8))
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id

-- name: leave_session :optional
-- End the session for a member who leaves (active → ended). If the session's time is over, the session ends by time,
-- because no worker has ended it yet. Returns the id of the extension that was open. Returns no row if the caller is not
-- a member, or the session has ended.
-- nullable: open_extension_id, @leave_reason
-- row: EndedSession
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions
    WHERE id = @session_id AND @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT locked.id, curhat_now() AS now FROM locked_session AS locked
), locked AS (
    SELECT locked_session.*, moment.now,
        locked_session.ends_at > moment.now OR locked_session.open_extension_id IS NOT NULL AS is_early
    FROM locked_session JOIN moment USING (id)
)
UPDATE sessions SET status = 'ended', ended_at = locked.now,
    end_reason = CASE WHEN locked.is_early THEN @role::text || '_ended' ELSE 'time_up' END,
    leave_reason = CASE WHEN locked.is_early THEN @leave_reason END,
    open_extension_id = NULL
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active'
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id

-- name: end_suspended_session :optional
-- End the session, because an operator suspended the session's mitra (active → ended). Returns the id of the extension
-- that was open. Returns no row if the session has ended, or its time is over. If the session's time is over, the
-- session's deadline ends the session.
-- nullable: open_extension_id
-- row: EndedSession
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions WHERE id = @session_id FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'mitra_suspended',
    open_extension_id = NULL
FROM locked_session AS locked
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > curhat_now() OR locked.open_extension_id IS NOT NULL)
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id

-- name: end_due_sessions :many
-- End the sessions whose time is over and that have no open extension (active → ended, 5.7). Returns a row for each
-- session that was active without an open extension. `is_ended` is false if the session's time is not over yet.
-- row: DueSession
WITH locked_sessions AS MATERIALIZED (
    SELECT id, payment_id, mitra_id, status, ends_at, open_extension_id
    FROM sessions WHERE id = ANY (@session_ids::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_sessions
), end_sessions AS (
    -- PostgreSQL evaluates CHECK constraints against the version of the session's row that this statement first read.
    -- The version that this statement first read can still point at an extension that another transaction decided
    -- during our lock wait. So set open_extension_id to null again.
    UPDATE sessions SET status = 'ended', ended_at = moment.now, end_reason = 'time_up', open_extension_id = NULL
    FROM locked_sessions AS locked, moment
    WHERE sessions.id = locked.id AND locked.status = 'active' AND locked.ends_at <= moment.now
        AND locked.open_extension_id IS NULL
    RETURNING sessions.id
)
SELECT locked.id, locked.payment_id, locked.mitra_id, locked.ends_at, ended.id IS NOT NULL AS is_ended
FROM locked_sessions AS locked
LEFT JOIN end_sessions AS ended USING (id)
WHERE locked.status = 'active' AND locked.open_extension_id IS NULL

-- name: record_deliveries :many
-- Record what each ended session delivered. The caller holds the sessions' locks, and has ended them in an earlier
-- statement: a message that another transaction committed while the earlier statement waited for the lock is visible
-- only to a later statement. @with_review: the customer ended the session because the mitra was away.
-- row: DeliveredSession
UPDATE sessions SET delivery = CASE
    WHEN end_reason IN ('mitra_ended', 'mitra_suspended') THEN 'cut_short'
    WHEN @with_review THEN 'mitra_away'
    WHEN EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'customer')
        AND NOT EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'mitra') THEN 'unanswered'
    ELSE 'delivered'
END
WHERE id = ANY (@session_ids::uuid[])
RETURNING id, payment_id, delivery

-- name: list_present_mitras :many
-- Find the mitras of active sessions who are not known to be away. The index sessions_running_by_mitra finds them.
SELECT DISTINCT mitra_id FROM sessions WHERE status = 'active' AND mitra_away_since IS NULL

-- name: list_away_mitras :many
-- Find the mitras of active sessions who are away.
SELECT DISTINCT mitra_id FROM sessions WHERE status = 'active' AND mitra_away_since IS NOT NULL

-- name: mark_mitras_away :many
-- Mark the active sessions of these mitras: the mitra is disconnected. Each array has one element per mitra.
-- @heard_ats has when the mitra was last heard, the beginning of 1970 if never. A session is marked if its mitra was not heard for
-- @away_seconds. An older report than the mitra's last return, give or take @tolerance_seconds, counts no more. The
-- column never says more than @max_backdated_seconds before now, because an outage can delay reports. The statement
-- skips locked sessions, so nobody waits for it. Returns the marked sessions.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(@mitra_ids::uuid[], @heard_ats::timestamptz[]) AS asked (mitra_id, heard_at)
), locked_sessions AS MATERIALIZED (
    SELECT sessions.id, asked.heard_at, sessions.mitra_back_at,
        greatest(sessions.started_at, asked.heard_at, sessions.mitra_back_at) AS gone_at
    FROM asked JOIN sessions ON sessions.mitra_id = asked.mitra_id
    WHERE sessions.status = 'active' AND sessions.mitra_away_since IS NULL
    ORDER BY sessions.id
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_sessions
)
UPDATE sessions SET mitra_away_since
    = greatest(locked.gone_at, moment.now - make_interval(secs => @max_backdated_seconds::float8))
FROM locked_sessions AS locked, moment
WHERE sessions.id = locked.id AND locked.gone_at <= moment.now - make_interval(secs => @away_seconds::float8)
    AND (locked.heard_at = 'epoch' OR locked.mitra_back_at IS NULL
        OR locked.heard_at > locked.mitra_back_at - make_interval(secs => @tolerance_seconds::float8))
RETURNING sessions.id

-- name: mark_mitras_back :many
-- Mark the active sessions of these mitras: the mitra is back. Each array has one element per mitra. @heard_ats has when
-- the mitra was last heard. Skips locked sessions. Returns the sessions that changed.
WITH locked_sessions AS MATERIALIZED (
    SELECT sessions.id, asked.heard_at
    FROM unnest(@mitra_ids::uuid[], @heard_ats::timestamptz[]) AS asked (mitra_id, heard_at)
    JOIN sessions ON sessions.mitra_id = asked.mitra_id
    WHERE sessions.status = 'active' AND sessions.mitra_away_since IS NOT NULL
    ORDER BY sessions.id
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
)
UPDATE sessions SET mitra_away_since = NULL, mitra_back_at = locked.heard_at
FROM locked_sessions AS locked WHERE sessions.id = locked.id
RETURNING sessions.id

-- name: list_sessions :many
-- Read these sessions, oldest first. Each row has the mitra's display name for the customer, and the customer's call
-- name for the mitra. Each row also has the session's open extension or, if no extension is open, its latest extension.
-- nullable: ended_at, end_reason, mitra_away_since, delivery, text_until, mitra_text_until
-- nullable: extension_id, extension_payment_id, extension_status, extension_decided_by
-- nullable: extension_offer_id, extension_duration_minutes, extension_price_rp, extension_deadline_at
-- nullable: extension_default_action, extension_mitra_went_offline
-- row: SessionRow
SELECT sessions.id, sessions.payment_id, sessions.status AS session_status, sessions.customer_id, sessions.mitra_id, sessions.started_at,
    sessions.ends_at, sessions.ended_at, sessions.end_reason, sessions.duration_minutes,
    sessions.mitra_away_since, sessions.delivery, mitras.display_name, customers.call_name,
    sessions.text_hidden_at IS NOT NULL OR sessions.text_deleted_at IS NOT NULL AS text_is_gone,
    sessions.ended_at + make_interval(months => @kept_months) AS text_until,
    sessions.ended_at + make_interval(days => @mitra_days) AS mitra_text_until,
    extension.id AS extension_id, extension.payment_id AS extension_payment_id,
    extension.status AS extension_status, extension.decided_by AS extension_decided_by,
    extension.offer_id AS extension_offer_id, extension.duration_minutes AS extension_duration_minutes,
    extension.price_rp AS extension_price_rp, extension.deadline_at AS extension_deadline_at,
    extension.default_action AS extension_default_action,
    extension.mitra_went_offline AS extension_mitra_went_offline,
    curhat_now() AS server_now
FROM sessions
JOIN mitras ON mitras.id = sessions.mitra_id
JOIN customers ON customers.id = sessions.customer_id
LEFT JOIN LATERAL (
    SELECT * FROM extensions WHERE session_id = sessions.id
    ORDER BY id = sessions.open_extension_id DESC NULLS LAST, id DESC LIMIT 1
) AS extension ON true
WHERE sessions.id = ANY (@session_ids::uuid[])
ORDER BY sessions.id

-- name: find_running_members :optional
-- Read the two members of a session. Returns no row if the session is not running.
-- row: SessionMembers
SELECT customer_id, mitra_id FROM sessions
WHERE id = @session_id AND status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL)

-- name: list_active_sessions_of_customer :many
-- Returns at most one id.
SELECT id FROM sessions WHERE customer_id = @customer_id AND status = 'active'

-- name: list_active_sessions_of_mitra :many
-- Returns at most as many ids as the mitra's capacity.
SELECT id FROM sessions WHERE mitra_id = @mitra_id AND status = 'active'

-- name: list_past_sessions_of_customer :many
-- Find the newest sessions that are older than the session @before_id. The statement has conditions only on customer_id
-- and id, so PostgreSQL finds the rows with one index and reads only these rows.
SELECT id FROM sessions WHERE customer_id = @user_id AND id < @before_id ORDER BY id DESC LIMIT @max_sessions

-- name: list_past_sessions_of_mitra :many
-- Find the newest sessions that are older than the session @before_id.
SELECT id FROM sessions WHERE mitra_id = @user_id AND id < @before_id ORDER BY id DESC LIMIT @max_sessions

-- name: find_text :optional
-- Read until when this member can read the session's text, and whether the text is gone for the member. `text_until` is
-- null while the session is active. Returns no row if the caller is not a member of the session.
-- nullable: text_until
-- row: TextRow
SELECT
    sessions.ended_at + CASE @role::text WHEN 'customer' THEN make_interval(months => @kept_months)
        ELSE make_interval(days => @mitra_days) END AS text_until,
    sessions.text_deleted_at IS NOT NULL OR sessions.text_hidden_at IS NOT NULL
        OR (@role = 'mitra' AND sessions.ended_at IS NOT NULL
            AND sessions.ended_at + make_interval(days => @mitra_days) <= curhat_now()) AS is_gone
FROM sessions
WHERE id = @session_id AND @user_id = CASE @role WHEN 'customer' THEN customer_id ELSE mitra_id END

-- name: list_messages :many
-- Read the session's messages that are older than the message @before_id, newest first.
-- nullable: read_at, reply_to_message_id
-- row: MessageRow
SELECT id, session_id, client_message_id, sender, text, sent_at, read_at, reply_to_message_id
FROM messages
WHERE session_id = @session_id AND id < @before_id
ORDER BY id DESC
LIMIT @max_messages

-- name: list_messages_after :many
-- Read the session's messages that are newer than the message @after_id, oldest first.
-- nullable: read_at, reply_to_message_id
-- row: MessageRow
SELECT id, session_id, client_message_id, sender, text, sent_at, read_at, reply_to_message_id
FROM messages
WHERE session_id = @session_id AND id > @after_id
ORDER BY id
LIMIT @max_messages

-- name: hide_text :optional
-- Hide the text of a customer's ended session from both members (readable → hidden). Returns false in `is_ended` if the
-- session is active. Returns no row if the session belongs to another customer. A repeated call changes nothing.
-- row: HiddenText
WITH locked_session AS MATERIALIZED (
    SELECT id, status FROM sessions WHERE id = @session_id AND customer_id = @customer_id FOR NO KEY UPDATE
), hide AS (
    UPDATE sessions SET text_hidden_at = curhat_now()
    FROM locked_session AS locked
    WHERE sessions.id = locked.id AND locked.status = 'ended'
        AND sessions.text_hidden_at IS NULL AND sessions.text_deleted_at IS NULL
    RETURNING sessions.id
)
SELECT locked.status = 'ended' AS is_ended, EXISTS (SELECT 1 FROM hide) AS is_new FROM locked_session AS locked

-- name: lock_due_texts :many
-- Find ended sessions whose text must be deleted, and lock them: those that their customers deleted, once the mitra had
-- @reportable_hours to report them, and those that ended more than @kept_months ago. Held sessions are left out. Skips
-- sessions that another transaction has locked. The index sessions_with_text gives both orders, so the statement reads
-- only rows that are due. Returns the oldest sessions, until they have @max_messages messages in total.
WITH hidden AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL AND text_hidden_at IS NOT NULL
        AND ended_at <= (SELECT curhat_now() - make_interval(hours => @reportable_hours))
        AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
    ORDER BY text_hidden_at, ended_at
    LIMIT @max_sessions
    FOR NO KEY UPDATE SKIP LOCKED
), overdue AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE text_deleted_at IS NULL AND text_hidden_at IS NULL
        AND ended_at <= (SELECT curhat_now() - make_interval(months => @kept_months))
        AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
    ORDER BY text_hidden_at, ended_at
    LIMIT @max_sessions
    FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id, (SELECT count(*) FROM messages WHERE messages.session_id = due.id) AS messages
    FROM (SELECT id FROM hidden UNION ALL SELECT id FROM overdue) AS due
)
SELECT id FROM (
    SELECT id, (sum(messages) OVER (ORDER BY id) - messages)::bigint AS messages_before FROM due
) AS counted
WHERE messages_before < @max_messages
ORDER BY id

-- name: lock_deletable_texts :many
-- Lock these sessions in id order. Returns those that have ended and whose text is not deleted.
SELECT id FROM sessions
WHERE id = ANY (@session_ids::uuid[]) AND status = 'ended' AND text_deleted_at IS NULL
ORDER BY id
FOR NO KEY UPDATE

-- name: list_held :many
-- Find those of these sessions whose text is held. The caller holds the sessions' locks, so no report can begin to hold
-- a text between this statement and the deletion.
SELECT DISTINCT session_id FROM held_sessions WHERE session_id = ANY (@session_ids::uuid[])

-- name: delete_messages :execrows
-- Delete the messages of these sessions. A trigger refuses held sessions (invariant 14).
DELETE FROM messages WHERE session_id = ANY (@session_ids::uuid[])

-- name: mark_texts_deleted :exec
-- Record that the text of these sessions is deleted (kept → deleted). A trigger refuses sessions that have messages.
UPDATE sessions SET text_deleted_at = curhat_now() WHERE id = ANY (@session_ids::uuid[])

-- name: read_overdue_text :one
-- Read by how many seconds the text that must be deleted first is over its time. The result is negative or null if no
-- text is over its time. Held text does not count.
-- nullable: overdue_seconds
SELECT greatest(
    (
        SELECT extract(epoch FROM curhat_now() - (ended_at + make_interval(months => @kept_months)))
        FROM sessions
        WHERE text_deleted_at IS NULL AND text_hidden_at IS NULL AND ended_at <= (SELECT curhat_now())
            AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
        ORDER BY text_hidden_at, ended_at LIMIT 1
    ),
    (
        SELECT extract(epoch FROM curhat_now()
            - greatest(text_hidden_at, ended_at + make_interval(hours => @reportable_hours)))
        FROM sessions
        WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL AND text_hidden_at IS NOT NULL
            AND ended_at <= (SELECT curhat_now() - make_interval(hours => @reportable_hours))
            AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
        ORDER BY text_hidden_at, ended_at LIMIT 1
    )
)::float8 AS overdue_seconds

-- name: hide_texts_of :exec
-- Hide the text of all ended sessions of a deleted account from both members (readable → hidden). The statement locks
-- the sessions in id order.
WITH locked_sessions AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND (customer_id = @user_id OR mitra_id = @user_id) AND status = 'ended' AND text_hidden_at IS NULL
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE sessions SET text_hidden_at = curhat_now() FROM locked_sessions WHERE sessions.id = locked_sessions.id

-- name: list_erasable_texts :many
-- Find at most @max_sessions ended sessions of a deleted account whose text can be deleted now: the members have had
-- @reportable_hours to report the session, and no report holds it.
SELECT id FROM sessions
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id)
    AND ended_at <= (SELECT curhat_now() - make_interval(hours => @reportable_hours)) AND text_deleted_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
ORDER BY id
LIMIT @max_sessions

-- name: forget_end_notes :exec
-- Replace the reasons that a mitra wrote, in the sessions of a deleted account whose text is deleted.
UPDATE sessions SET end_note = @forgotten
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id)
    AND text_deleted_at IS NOT NULL AND end_note IS NOT NULL AND end_note <> @forgotten

-- name: read_text_left :one
-- Read what is left of the text of a deleted account. `sessions` counts the sessions whose text is not deleted.
-- `ended_at` is the last end of a session. `is_active`: a session still runs.
-- nullable: ended_at
-- row: TextLeft
SELECT count(*) FILTER (WHERE text_deleted_at IS NULL) AS sessions, max(ended_at) AS ended_at,
    coalesce(bool_or(status = 'active'), false) AS is_active
FROM sessions
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id)

-- name: find_session_of_charge :optional
-- Find the session whose extension this charge attempt pays for. Returns no row if the attempt does not pay for an
-- extension.
SELECT extensions.session_id
FROM charge_attempts JOIN extensions ON extensions.payment_id = charge_attempts.payment_id
WHERE charge_attempts.id = @charge_attempt_id

-- name: find_session_of_extension_payment :optional
-- Find the session whose extension this payment is for. Returns no row if the payment is not for an extension.
SELECT session_id FROM extensions WHERE payment_id = @payment_id

-- name: list_mitras_of_extensions :many
-- Read the mitras who have to answer these extensions.
-- row: ExtensionMitra
SELECT extensions.id, sessions.mitra_id
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.id = ANY (@extension_ids::uuid[])

-- name: lock_session :optional
-- Lock a session's row, then read it. `runs` is true if the session is active, and either its time is not over or an
-- open extension delays its end.
-- nullable: open_extension_id
-- row: LockedSession
WITH locked_session AS MATERIALIZED (SELECT * FROM sessions WHERE id = @session_id FOR NO KEY UPDATE)
SELECT id, customer_id, mitra_id, open_extension_id, curhat_now() AS now,
    status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL) AS runs
FROM locked_session

-- name: lock_sessions_of_extensions :many
-- Lock the sessions of these extensions, in id order.
SELECT id FROM sessions
WHERE id = ANY (ARRAY(SELECT session_id FROM extensions WHERE id = ANY (@extension_ids::uuid[])))
ORDER BY id
FOR NO KEY UPDATE

-- name: lock_extensions :many
-- Lock these extensions, in id order, then read them. The caller holds the locks of the extensions' sessions. Another
-- transaction is perhaps switching the mitra to offline. It either marks an extension before this statement locks the
-- extension, or waits for the end of the caller's transaction. `is_over` is true if the time to answer has passed. `mitra_is_there` is true if
-- the mitra is online, and did not go offline after the customer asked for the extension.
-- nullable: decided_by, charge_by, charge_is_late
-- row: LockedExtension
WITH locked_extensions AS MATERIALIZED (
    SELECT * FROM extensions WHERE id = ANY (@extension_ids::uuid[]) ORDER BY id FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_extensions
)
SELECT locked.id, locked.session_id, sessions.customer_id, sessions.mitra_id, locked.payment_id,
    locked.duration_minutes, locked.default_action, locked.requested_at, locked.deadline_at, locked.status,
    locked.decided_by,
    locked.charge_by, locked.deadline_at <= moment.now AS is_over, locked.charge_by <= moment.now AS charge_is_late,
    mitras.online AND mitras.suspended_at IS NULL AND NOT locked.mitra_went_offline AS mitra_is_there
FROM locked_extensions AS locked
CROSS JOIN moment
JOIN sessions ON sessions.id = locked.session_id
JOIN mitras ON mitras.id = sessions.mitra_id
ORDER BY locked.id

-- name: open_extension :one
-- Open an extension (nothing → pending). The extension now delays the session's end. The statement locks the mitra's
-- row FOR SHARE, because a toggle can switch the mitra to offline at the same time. If the toggle commits first,
-- `mitra_is_online` is false. If this statement locks the row first, the toggle waits for this transaction to commit.
-- The toggle then sets mitra_went_offline on the new extension. If the mitra is already offline, this statement itself
-- sets mitra_went_offline.
-- row: OpenedExtension
WITH locked_mitra AS MATERIALIZED (
    SELECT online AND suspended_at IS NULL AS is_online FROM mitras WHERE id = @mitra_id FOR SHARE
), insert_extension AS (
    INSERT INTO extensions
        (session_id, payment_id, offer_id, duration_minutes, price_rp, default_action, deadline_at,
        mitra_went_offline)
    SELECT @session_id, @payment_id, @offer_id, @duration_minutes, @price_rp, @default_action, @deadline_at,
        NOT is_online
    FROM locked_mitra
    RETURNING id
), hold_end_back AS (
    UPDATE sessions SET open_extension_id = opened.id
    FROM insert_extension AS opened WHERE sessions.id = @session_id
)
SELECT insert_extension.id, locked_mitra.is_online AS mitra_is_online FROM insert_extension, locked_mitra

-- name: list_extensions :many
-- nullable: decided_by
-- row: ExtensionRow
SELECT id, session_id, payment_id, status, decided_by, offer_id, duration_minutes, price_rp, deadline_at,
    default_action, mitra_went_offline, curhat_now() AS server_now
FROM extensions WHERE id = ANY (@extension_ids::uuid[]) ORDER BY id

-- name: list_open_extensions_of_mitra :many
-- Read the open extensions of the mitra's active sessions, oldest first.
-- nullable: decided_by
-- row: ExtensionRow
SELECT extensions.id, extensions.session_id, extensions.payment_id, extensions.status, extensions.decided_by,
    extensions.offer_id, extensions.duration_minutes, extensions.price_rp, extensions.deadline_at,
    extensions.default_action, extensions.mitra_went_offline, curhat_now() AS server_now
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = @mitra_id AND sessions.status = 'active'
ORDER BY extensions.id

-- name: approve_extensions :one
-- Approve all these extensions (pending → charging). The array @extension_ids has at least one element. Returns
-- charge_by, and all these extensions have the same charge_by. The gateway must approve the charges before charge_by.
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now)
UPDATE extensions SET status = 'charging', decided_by = @decided_by, decided_at = moment.now,
    charge_by = moment.now + make_interval(secs => @charge_timeout_seconds)
FROM moment
WHERE id = ANY (@extension_ids::uuid[])
RETURNING charge_by

-- name: reject_extensions :exec
-- Reject the extensions without a charge (pending → rejected). Each array has one element per extension.
UPDATE extensions SET status = 'rejected', decided_by = decision.decided_by, decided_at = curhat_now()
FROM unnest(@extension_ids::uuid[], @decided_by::text[]) AS decision (extension_id, decided_by)
WHERE id = decision.extension_id

-- name: settle_extension :exec
-- Settle the extension (charging → approved or charge_failed).
UPDATE extensions SET status = @status WHERE id = @extension_id

-- name: release_session_ends :many
-- Set open_extension_id of these sessions to null, so that no extension delays their ends. Then add @added_minutes to
-- the sessions' ends_at. `settled_extensions` is the number of the session's extensions. All extensions of the session
-- are settled now.
-- row: ReleasedEnd
UPDATE sessions SET open_extension_id = NULL, ends_at = ends_at + make_interval(mins => @added_minutes)
WHERE id = ANY (@session_ids::uuid[])
RETURNING id, ends_at, ends_at <= curhat_now() AS is_over,
    (SELECT count(*)::integer FROM extensions WHERE session_id = sessions.id) AS settled_extensions

-- name: mark_mitra_offline :many
-- Mark the mitra's pending extensions, so that they cannot be approved any more. The caller has locked the mitra's row.
-- This statement then locks the extensions in id order, and returns their ids.
WITH locked_extensions AS MATERIALIZED (
    SELECT extensions.id FROM extensions JOIN sessions ON sessions.id = extensions.session_id
    WHERE sessions.mitra_id = @mitra_id AND sessions.status = 'active'
        AND extensions.status = 'pending' AND NOT extensions.mitra_went_offline
    ORDER BY extensions.id
    FOR NO KEY UPDATE OF extensions
)
UPDATE extensions SET mitra_went_offline = true FROM locked_extensions AS locked WHERE extensions.id = locked.id
RETURNING extensions.id

-- name: list_pending_extensions :many
-- Find the mitra's pending extensions.
SELECT extensions.id
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = @mitra_id AND sessions.status = 'active' AND extensions.status = 'pending'

-- name: list_awaited_mitras :many
-- Find all mitras who have to answer an extension. Only few mitras have to answer at one time, and the index
-- extensions_one_open finds them.
SELECT sessions.mitra_id
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.status = 'pending'

-- name: list_payments_of_approved_extensions :many
-- Find the payments for these sessions' approved extensions.
SELECT payment_id FROM extensions WHERE session_id = ANY (@session_ids::uuid[]) AND status = 'approved' ORDER BY id
