"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.configuration.definitions import DefaultAction
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role
from curhat.sessions.states import DecidedBy, Delivery, EndReason, ExtensionStatus, LeaveReason, SessionStatus


class SendRow(msgspec.Struct, frozen=True):
    position: int
    customer_id: UUID
    mitra_id: UUID
    reply_is_known: bool
    id: UUID | None
    sent_at: datetime | None
    told_at: datetime | None
    customer_seq: int | None
    mitra_seq: int | None


SEND_MESSAGES: Final = """
WITH limits AS MATERIALIZED (
    SELECT set_config('lock_timeout', coalesce($1, current_setting('lock_timeout')), true)
), asked AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[],
        $6::text[], $7::uuid[])
        WITH ORDINALITY AS asked (session_id, sender, user_id, client_message_id, text, reply_to, position)
), locked_sessions AS MATERIALIZED (
    SELECT sessions.id, customer_id, mitra_id, status, ends_at, open_extension_id FROM limits, sessions
    WHERE sessions.id = ANY ($2) AND (customer_id = ANY ($4) OR mitra_id = ANY ($4))
    ORDER BY sessions.id
    FOR NO KEY UPDATE OF sessions
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_sessions
), own AS MATERIALIZED (
    SELECT asked.*, locked.customer_id, locked.mitra_id,
        locked.status = 'active' AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL) AS runs,
        asked.reply_to = $8 OR EXISTS (
            SELECT 1 FROM messages WHERE messages.id = asked.reply_to AND messages.session_id = asked.session_id
        ) AS reply_is_known,
        moment.now
    FROM moment, asked
    JOIN locked_sessions AS locked ON locked.id = asked.session_id
        AND asked.user_id
            = CASE asked.sender WHEN 'customer' THEN locked.customer_id ELSE locked.mitra_id END
), insert_messages AS (
    INSERT INTO messages (session_id, sender, client_message_id, text, sent_at, reply_to_message_id)
    SELECT session_id, sender, client_message_id, text, now, nullif(reply_to, $8)
    FROM own WHERE runs AND reply_is_known ORDER BY position
    ON CONFLICT ON CONSTRAINT messages_once DO NOTHING
    RETURNING id, session_id, sender, client_message_id, sent_at, text, reply_to_message_id
), new_messages AS MATERIALIZED (
    SELECT sent.id, sent.sent_at, locked.customer_id, locked.mitra_id, row_number() OVER (ORDER BY sent.id) AS number,
        format('{"id":"%s","session_id":"%s","client_message_id":%s,"sender":"%s","text":%s,"sent_at":"%s","read_at":null,'
            '"reply_to_message_id":%s}',
            sent.id, sent.session_id, to_json(sent.client_message_id), sent.sender, to_json(sent.text),
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
"""


async def send_messages(
    db: Executor,
    /,
    *,
    lock_timeout: str | None,
    session_ids: Sequence[UUID],
    senders: Sequence[str],
    user_ids: Sequence[UUID],
    client_message_ids: Sequence[str],
    texts: Sequence[str],
    reply_to_message_ids: Sequence[UUID],
    no_reply: UUID,
) -> list[SendRow]:
    """Store each message whose session runs and whose sender is a member of the session. Each array has one element per
    message. Returns a row for each message whose sender is a member of the session. `id` is null if this statement did
    not store the message. If `id` is null, the message is already stored, or its session is over, or it replies to a
    message of another session (`reply_is_known` is false). @no_reply stands for no reply. The statement reads
    the clock after it has taken the last lock. So the statement stores no message if the session's time ran out during a
    lock wait. The locks also ensure that the ids of a session's messages grow in commit order. For each stored message,
    the statement also appends the event message.created to the streams of both members. `customer_seq` and `mitra_seq`
    are the numbers of the two appended events. `told_at` is the time of the two events. From now on, no lock wait of the
    transaction lasts longer than @lock_timeout. If @lock_timeout is null, the lock timeout of the connection stays in
    force."""
    return [
        SendRow(*row)
        for row in await db.fetch(
            SEND_MESSAGES,
            lock_timeout,
            session_ids,
            senders,
            user_ids,
            client_message_ids,
            texts,
            reply_to_message_ids,
            no_reply,
        )
    ]


LOCK_SENDERS: Final = """
SELECT FROM unnest($1::text[], $2::uuid[]) AS asked (sender, user_id)
CROSS JOIN LATERAL pg_advisory_xact_lock(hashtextextended('messages of ' || sender || ' ' || user_id, 0))
"""


async def lock_senders(db: Executor, /, *, senders: Sequence[str], user_ids: Sequence[UUID]) -> None:
    """Take one advisory lock per sender, in the given order. Two transactions that send messages of the same person then
    run one after the other. Each array has one element per person."""
    await db.execute(LOCK_SENDERS, senders, user_ids)


class RecentMessage(msgspec.Struct, frozen=True):
    position: int
    age_seconds: float


LIST_RECENT_MESSAGES: Final = """
SELECT asked.position, recent.age_seconds
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS asked (sender, user_id, position)
CROSS JOIN LATERAL (
    SELECT id FROM sessions WHERE asked.sender = 'customer' AND customer_id = asked.user_id AND status = 'active'
    UNION ALL
    SELECT id FROM sessions WHERE asked.sender = 'mitra' AND mitra_id = asked.user_id AND status = 'active'
) AS running
CROSS JOIN LATERAL (
    SELECT sender, extract(epoch FROM curhat_now() - sent_at)::float8 AS age_seconds
    FROM messages WHERE messages.session_id = running.id
    ORDER BY messages.id DESC LIMIT $3
) AS recent
WHERE recent.sender = asked.sender AND recent.age_seconds < $4
ORDER BY asked.position, recent.age_seconds
"""


async def list_recent_messages(
    db: Executor,
    /,
    *,
    senders: Sequence[str],
    user_ids: Sequence[UUID],
    max_messages: int,
    window_seconds: float,
) -> list[RecentMessage]:
    """Read the ages of the messages that these people have sent within the last @window_seconds. Only messages in running
    sessions count. Each person's newest message comes first. Each array has one element per person. The statement reads
    at most @max_messages messages per session. A separate statement after lock_senders sees the messages that other
    transactions committed during the lock wait."""
    return [
        RecentMessage(*row)
        for row in await db.fetch(LIST_RECENT_MESSAGES, senders, user_ids, max_messages, window_seconds)
    ]


class MessageRow(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    client_message_id: str
    sender: Role
    text: str
    sent_at: datetime
    read_at: datetime | None
    reply_to_message_id: UUID | None


LIST_SENT_MESSAGES: Final = """
SELECT messages.id, messages.session_id, messages.client_message_id, messages.sender, messages.text,
    messages.sent_at, messages.read_at, messages.reply_to_message_id
FROM unnest($1::uuid[], $2::text[], $3::text[])
    AS asked (session_id, sender, client_message_id)
JOIN messages USING (session_id, sender, client_message_id)
"""


async def list_sent_messages(
    db: Executor, /, *, session_ids: Sequence[UUID], senders: Sequence[str], client_message_ids: Sequence[str]
) -> list[MessageRow]:
    """Read the stored messages with these client ids. Each array has one element per message. A separate statement sees the
    messages that other transactions committed while send_messages waited for its locks."""
    return [
        MessageRow(*row)
        for row in await db.fetch(LIST_SENT_MESSAGES, session_ids, senders, client_message_ids)
    ]


class ReadMessages(msgspec.Struct, frozen=True):
    customer_id: UUID
    mitra_id: UUID
    read_at: datetime | None


MARK_MESSAGES_READ: Final = """
WITH locked_session AS MATERIALIZED (
    SELECT id, customer_id, mitra_id FROM sessions
    WHERE id = $1 AND $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND EXISTS (
            SELECT 1 FROM messages WHERE messages.session_id = $1 AND messages.id = $4
        )
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_session
), mark_read AS (
    UPDATE messages SET read_at = moment.now
    FROM locked_session, moment
    WHERE messages.session_id = locked_session.id AND messages.sender <> $3
        AND messages.id <= $4 AND messages.read_at IS NULL
    RETURNING messages.read_at
)
SELECT locked_session.customer_id, locked_session.mitra_id, (SELECT max(read_at) FROM mark_read) AS read_at
FROM locked_session
"""


async def mark_messages_read(
    db: Executor, /, *, session_id: UUID, user_id: UUID, role: Role, up_to_message_id: UUID
) -> ReadMessages | None:
    """Mark the other member's messages as read, up to @up_to_message_id (unread → read). Returns no row if the session has
    no message with this id, or the caller is not a member. `read_at` is null if no message was unread."""
    row = await db.fetchrow(MARK_MESSAGES_READ, session_id, user_id, role, up_to_message_id)
    if row is None:
        return None
    return ReadMessages(*row)


class EndedSession(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    mitra_id: UUID
    open_extension_id: UUID | None


END_SESSION_EARLY: Final = """
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id, mitra_away_since FROM sessions
    WHERE id = $1 AND $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_session
)
UPDATE sessions SET status = 'ended', ended_at = moment.now, end_reason = $4, end_note = $5,
    open_extension_id = NULL
FROM locked_session AS locked, moment
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > moment.now OR locked.open_extension_id IS NOT NULL)
    AND ($6::float8 IS NULL
        OR locked.mitra_away_since <= moment.now - make_interval(secs => $6::float8))
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id
"""


async def end_session_early(
    db: Executor,
    /,
    *,
    session_id: UUID,
    user_id: UUID,
    role: Role,
    end_reason: EndReason,
    end_note: str | None,
    away_seconds: float | None,
) -> EndedSession | None:
    """End the session early for a member (active → ended). Returns the id of the extension that was open. Returns no row if
    the caller is not a member, or the session is over. With @away_seconds, also returns no row if the mitra has been
    disconnected for less than @away_seconds."""
    row = await db.fetchrow(END_SESSION_EARLY, session_id, user_id, role, end_reason, end_note, away_seconds)
    if row is None:
        return None
    return EndedSession(*row)


LEAVE_SESSION: Final = """
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions
    WHERE id = $1 AND $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT locked.id, curhat_now() AS now FROM locked_session AS locked
), locked AS (
    SELECT locked_session.*, moment.now,
        locked_session.ends_at > moment.now OR locked_session.open_extension_id IS NOT NULL AS is_early
    FROM locked_session JOIN moment USING (id)
)
UPDATE sessions SET status = 'ended', ended_at = locked.now,
    end_reason = CASE WHEN locked.is_early THEN $3::text || '_ended' ELSE 'time_up' END,
    leave_reason = CASE WHEN locked.is_early THEN $4 END,
    open_extension_id = NULL
FROM locked
WHERE sessions.id = locked.id AND locked.status = 'active'
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id
"""


async def leave_session(
    db: Executor, /, *, session_id: UUID, user_id: UUID, role: Role, leave_reason: LeaveReason | None
) -> EndedSession | None:
    """End the session for a member who leaves (active → ended). If the session's time is over, the session ends by time,
    because no worker has ended it yet. Returns the id of the extension that was open. Returns no row if the caller is not
    a member, or the session has ended."""
    row = await db.fetchrow(LEAVE_SESSION, session_id, user_id, role, leave_reason)
    if row is None:
        return None
    return EndedSession(*row)


END_SUSPENDED_SESSION: Final = """
WITH locked_session AS MATERIALIZED (
    SELECT id, status, ends_at, open_extension_id FROM sessions WHERE id = $1 FOR NO KEY UPDATE
)
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'mitra_suspended',
    open_extension_id = NULL
FROM locked_session AS locked
WHERE sessions.id = locked.id AND locked.status = 'active'
    AND (locked.ends_at > curhat_now() OR locked.open_extension_id IS NOT NULL)
RETURNING sessions.id, sessions.payment_id, sessions.mitra_id, locked.open_extension_id
"""


async def end_suspended_session(db: Executor, /, *, session_id: UUID) -> EndedSession | None:
    """End the session, because an operator suspended the session's mitra (active → ended). Returns the id of the extension
    that was open. Returns no row if the session has ended, or its time is over. If the session's time is over, the
    session's deadline ends the session."""
    row = await db.fetchrow(END_SUSPENDED_SESSION, session_id)
    if row is None:
        return None
    return EndedSession(*row)


class DueSession(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    mitra_id: UUID
    ends_at: datetime
    is_ended: bool


END_DUE_SESSIONS: Final = """
WITH locked_sessions AS MATERIALIZED (
    SELECT id, payment_id, mitra_id, status, ends_at, open_extension_id
    FROM sessions WHERE id = ANY ($1::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_sessions
), end_sessions AS (
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
"""


async def end_due_sessions(db: Executor, /, *, session_ids: Sequence[UUID]) -> list[DueSession]:
    """End the sessions whose time is over and that have no open extension (active → ended, 5.7). Returns a row for each
    session that was active without an open extension. `is_ended` is false if the session's time is not over yet."""
    return [DueSession(*row) for row in await db.fetch(END_DUE_SESSIONS, session_ids)]


class DeliveredSession(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    delivery: Delivery


RECORD_DELIVERIES: Final = """
UPDATE sessions SET delivery = CASE
    WHEN end_reason IN ('mitra_ended', 'mitra_suspended') THEN 'cut_short'
    WHEN $1 THEN 'mitra_away'
    WHEN EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'customer')
        AND NOT EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'mitra') THEN 'unanswered'
    ELSE 'delivered'
END
WHERE id = ANY ($2::uuid[])
RETURNING id, payment_id, delivery
"""


async def record_deliveries(
    db: Executor, /, *, with_review: bool, session_ids: Sequence[UUID]
) -> list[DeliveredSession]:
    """Record what each ended session delivered. The caller holds the sessions' locks, and has ended them in an earlier
    statement: a message that another transaction committed while the earlier statement waited for the lock is visible
    only to a later statement. @with_review: the customer ended the session because the mitra was away."""
    return [DeliveredSession(*row) for row in await db.fetch(RECORD_DELIVERIES, with_review, session_ids)]


LIST_PRESENT_MITRAS: Final = """
SELECT DISTINCT mitra_id FROM sessions WHERE status = 'active' AND mitra_away_since IS NULL
"""


async def list_present_mitras(db: Executor, /) -> list[UUID]:
    """Find the mitras of active sessions who are not known to be away. The index sessions_running_by_mitra finds them."""
    return [row[0] for row in await db.fetch(LIST_PRESENT_MITRAS)]


LIST_AWAY_MITRAS: Final = """
SELECT DISTINCT mitra_id FROM sessions WHERE status = 'active' AND mitra_away_since IS NOT NULL
"""


async def list_away_mitras(db: Executor, /) -> list[UUID]:
    """Find the mitras of active sessions who are away."""
    return [row[0] for row in await db.fetch(LIST_AWAY_MITRAS)]


MARK_MITRAS_AWAY: Final = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (mitra_id, heard_at)
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
    = greatest(locked.gone_at, moment.now - make_interval(secs => $3::float8))
FROM locked_sessions AS locked, moment
WHERE sessions.id = locked.id AND locked.gone_at <= moment.now - make_interval(secs => $4::float8)
    AND (locked.heard_at = 'epoch' OR locked.mitra_back_at IS NULL
        OR locked.heard_at > locked.mitra_back_at - make_interval(secs => $5::float8))
RETURNING sessions.id
"""


async def mark_mitras_away(
    db: Executor,
    /,
    *,
    mitra_ids: Sequence[UUID],
    heard_ats: Sequence[datetime],
    max_backdated_seconds: float,
    away_seconds: float,
    tolerance_seconds: float,
) -> list[UUID]:
    """Mark the active sessions of these mitras: the mitra is disconnected. Each array has one element per mitra.
    @heard_ats has when the mitra was last heard, the beginning of 1970 if never. A session is marked if its mitra was not heard for
    @away_seconds. An older report than the mitra's last return, give or take @tolerance_seconds, counts no more. The
    column never says more than @max_backdated_seconds before now, because an outage can delay reports. The statement
    skips locked sessions, so nobody waits for it. Returns the marked sessions."""
    return [
        row[0]
        for row in await db.fetch(
            MARK_MITRAS_AWAY, mitra_ids, heard_ats, max_backdated_seconds, away_seconds, tolerance_seconds
        )
    ]


MARK_MITRAS_BACK: Final = """
WITH locked_sessions AS MATERIALIZED (
    SELECT sessions.id, asked.heard_at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (mitra_id, heard_at)
    JOIN sessions ON sessions.mitra_id = asked.mitra_id
    WHERE sessions.status = 'active' AND sessions.mitra_away_since IS NOT NULL
    ORDER BY sessions.id
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
)
UPDATE sessions SET mitra_away_since = NULL, mitra_back_at = locked.heard_at
FROM locked_sessions AS locked WHERE sessions.id = locked.id
RETURNING sessions.id
"""


async def mark_mitras_back(
    db: Executor, /, *, mitra_ids: Sequence[UUID], heard_ats: Sequence[datetime]
) -> list[UUID]:
    """Mark the active sessions of these mitras: the mitra is back. Each array has one element per mitra. @heard_ats has when
    the mitra was last heard. Skips locked sessions. Returns the sessions that changed."""
    return [row[0] for row in await db.fetch(MARK_MITRAS_BACK, mitra_ids, heard_ats)]


class SessionRow(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    session_status: SessionStatus
    customer_id: UUID
    mitra_id: UUID
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    duration_minutes: int
    mitra_away_since: datetime | None
    delivery: Delivery | None
    display_name: str
    call_name: str
    text_is_gone: bool
    text_until: datetime | None
    mitra_text_until: datetime | None
    extension_id: UUID | None
    extension_payment_id: UUID | None
    extension_status: ExtensionStatus | None
    extension_decided_by: DecidedBy | None
    extension_offer_id: UUID | None
    extension_duration_minutes: int | None
    extension_price_rp: int | None
    extension_deadline_at: datetime | None
    extension_default_action: DefaultAction | None
    extension_mitra_went_offline: bool | None
    server_now: datetime


LIST_SESSIONS: Final = """
SELECT sessions.id, sessions.payment_id, sessions.status AS session_status, sessions.customer_id, sessions.mitra_id, sessions.started_at,
    sessions.ends_at, sessions.ended_at, sessions.end_reason, sessions.duration_minutes,
    sessions.mitra_away_since, sessions.delivery, mitras.display_name, customers.call_name,
    sessions.text_hidden_at IS NOT NULL OR sessions.text_deleted_at IS NOT NULL AS text_is_gone,
    sessions.ended_at + make_interval(months => $1) AS text_until,
    sessions.ended_at + make_interval(days => $2) AS mitra_text_until,
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
WHERE sessions.id = ANY ($3::uuid[])
ORDER BY sessions.id
"""


async def list_sessions(
    db: Executor, /, *, kept_months: int, mitra_days: int, session_ids: Sequence[UUID]
) -> list[SessionRow]:
    """Read these sessions, oldest first. Each row has the mitra's display name for the customer, and the customer's call
    name for the mitra. Each row also has the session's open extension or, if no extension is open, its latest extension."""
    return [SessionRow(*row) for row in await db.fetch(LIST_SESSIONS, kept_months, mitra_days, session_ids)]


class SessionMembers(msgspec.Struct, frozen=True):
    customer_id: UUID
    mitra_id: UUID


FIND_RUNNING_MEMBERS: Final = """
SELECT customer_id, mitra_id FROM sessions
WHERE id = $1 AND status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL)
"""


async def find_running_members(db: Executor, /, *, session_id: UUID) -> SessionMembers | None:
    """Read the two members of a session. Returns no row if the session is not running."""
    row = await db.fetchrow(FIND_RUNNING_MEMBERS, session_id)
    if row is None:
        return None
    return SessionMembers(*row)


LIST_ACTIVE_SESSIONS_OF_CUSTOMER: Final = """
SELECT id FROM sessions WHERE customer_id = $1 AND status = 'active'
"""


async def list_active_sessions_of_customer(db: Executor, /, *, customer_id: UUID) -> list[UUID]:
    """Returns at most one id."""
    return [row[0] for row in await db.fetch(LIST_ACTIVE_SESSIONS_OF_CUSTOMER, customer_id)]


LIST_ACTIVE_SESSIONS_OF_MITRA: Final = """
SELECT id FROM sessions WHERE mitra_id = $1 AND status = 'active'
"""


async def list_active_sessions_of_mitra(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    """Returns at most as many ids as the mitra's capacity."""
    return [row[0] for row in await db.fetch(LIST_ACTIVE_SESSIONS_OF_MITRA, mitra_id)]


LIST_PAST_SESSIONS_OF_CUSTOMER: Final = """
SELECT id FROM sessions WHERE customer_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3
"""


async def list_past_sessions_of_customer(
    db: Executor, /, *, user_id: UUID, before_id: UUID, max_sessions: int
) -> list[UUID]:
    """Find the newest sessions that are older than the session @before_id. The statement has conditions only on customer_id
    and id, so PostgreSQL finds the rows with one index and reads only these rows."""
    return [
        row[0] for row in await db.fetch(LIST_PAST_SESSIONS_OF_CUSTOMER, user_id, before_id, max_sessions)
    ]


LIST_PAST_SESSIONS_OF_MITRA: Final = """
SELECT id FROM sessions WHERE mitra_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3
"""


async def list_past_sessions_of_mitra(
    db: Executor, /, *, user_id: UUID, before_id: UUID, max_sessions: int
) -> list[UUID]:
    """Find the newest sessions that are older than the session @before_id."""
    return [row[0] for row in await db.fetch(LIST_PAST_SESSIONS_OF_MITRA, user_id, before_id, max_sessions)]


class TextRow(msgspec.Struct, frozen=True):
    text_until: datetime | None
    is_gone: bool


FIND_TEXT: Final = """
SELECT
    sessions.ended_at + CASE $1::text WHEN 'customer' THEN make_interval(months => $2)
        ELSE make_interval(days => $3) END AS text_until,
    sessions.text_deleted_at IS NOT NULL OR sessions.text_hidden_at IS NOT NULL
        OR ($1 = 'mitra' AND sessions.ended_at IS NOT NULL
            AND sessions.ended_at + make_interval(days => $3) <= curhat_now()) AS is_gone
FROM sessions
WHERE id = $4 AND $5 = CASE $1 WHEN 'customer' THEN customer_id ELSE mitra_id END
"""


async def find_text(
    db: Executor, /, *, role: Role, kept_months: int, mitra_days: int, session_id: UUID, user_id: UUID
) -> TextRow | None:
    """Read until when this member can read the session's text, and whether the text is gone for the member. `text_until` is
    null while the session is active. Returns no row if the caller is not a member of the session."""
    row = await db.fetchrow(FIND_TEXT, role, kept_months, mitra_days, session_id, user_id)
    if row is None:
        return None
    return TextRow(*row)


LIST_MESSAGES: Final = """
SELECT id, session_id, client_message_id, sender, text, sent_at, read_at, reply_to_message_id
FROM messages
WHERE session_id = $1 AND id < $2
ORDER BY id DESC
LIMIT $3
"""


async def list_messages(
    db: Executor, /, *, session_id: UUID, before_id: UUID, max_messages: int
) -> list[MessageRow]:
    """Read the session's messages that are older than the message @before_id, newest first."""
    return [MessageRow(*row) for row in await db.fetch(LIST_MESSAGES, session_id, before_id, max_messages)]


LIST_MESSAGES_AFTER: Final = """
SELECT id, session_id, client_message_id, sender, text, sent_at, read_at, reply_to_message_id
FROM messages
WHERE session_id = $1 AND id > $2
ORDER BY id
LIMIT $3
"""


async def list_messages_after(
    db: Executor, /, *, session_id: UUID, after_id: UUID, max_messages: int
) -> list[MessageRow]:
    """Read the session's messages that are newer than the message @after_id, oldest first."""
    return [
        MessageRow(*row) for row in await db.fetch(LIST_MESSAGES_AFTER, session_id, after_id, max_messages)
    ]


class HiddenText(msgspec.Struct, frozen=True):
    is_ended: bool
    is_new: bool


HIDE_TEXT: Final = """
WITH locked_session AS MATERIALIZED (
    SELECT id, status FROM sessions WHERE id = $1 AND customer_id = $2 FOR NO KEY UPDATE
), hide AS (
    UPDATE sessions SET text_hidden_at = curhat_now()
    FROM locked_session AS locked
    WHERE sessions.id = locked.id AND locked.status = 'ended'
        AND sessions.text_hidden_at IS NULL AND sessions.text_deleted_at IS NULL
    RETURNING sessions.id
)
SELECT locked.status = 'ended' AS is_ended, EXISTS (SELECT 1 FROM hide) AS is_new FROM locked_session AS locked
"""


async def hide_text(db: Executor, /, *, session_id: UUID, customer_id: UUID) -> HiddenText | None:
    """Hide the text of a customer's ended session from both members (readable → hidden). Returns false in `is_ended` if the
    session is active. Returns no row if the session belongs to another customer. A repeated call changes nothing."""
    row = await db.fetchrow(HIDE_TEXT, session_id, customer_id)
    if row is None:
        return None
    return HiddenText(*row)


LOCK_DUE_TEXTS: Final = """
WITH hidden AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL AND text_hidden_at IS NOT NULL
        AND ended_at <= (SELECT curhat_now() - make_interval(hours => $1))
        AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
    ORDER BY text_hidden_at, ended_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
), overdue AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE text_deleted_at IS NULL AND text_hidden_at IS NULL
        AND ended_at <= (SELECT curhat_now() - make_interval(months => $3))
        AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
    ORDER BY text_hidden_at, ended_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id, (SELECT count(*) FROM messages WHERE messages.session_id = due.id) AS messages
    FROM (SELECT id FROM hidden UNION ALL SELECT id FROM overdue) AS due
)
SELECT id FROM (
    SELECT id, (sum(messages) OVER (ORDER BY id) - messages)::bigint AS messages_before FROM due
) AS counted
WHERE messages_before < $4
ORDER BY id
"""


async def lock_due_texts(
    db: Executor, /, *, reportable_hours: int, max_sessions: int, kept_months: int, max_messages: int
) -> list[UUID]:
    """Find ended sessions whose text must be deleted, and lock them: those that their customers deleted, once the mitra had
    @reportable_hours to report them, and those that ended more than @kept_months ago. Held sessions are left out. Skips
    sessions that another transaction has locked. The index sessions_with_text gives both orders, so the statement reads
    only rows that are due. Returns the oldest sessions, until they have @max_messages messages in total."""
    return [
        row[0]
        for row in await db.fetch(LOCK_DUE_TEXTS, reportable_hours, max_sessions, kept_months, max_messages)
    ]


LOCK_DELETABLE_TEXTS: Final = """
SELECT id FROM sessions
WHERE id = ANY ($1::uuid[]) AND status = 'ended' AND text_deleted_at IS NULL
ORDER BY id
FOR NO KEY UPDATE
"""


async def lock_deletable_texts(db: Executor, /, *, session_ids: Sequence[UUID]) -> list[UUID]:
    """Lock these sessions in id order. Returns those that have ended and whose text is not deleted."""
    return [row[0] for row in await db.fetch(LOCK_DELETABLE_TEXTS, session_ids)]


LIST_HELD: Final = """
SELECT DISTINCT session_id FROM held_sessions WHERE session_id = ANY ($1::uuid[])
"""


async def list_held(db: Executor, /, *, session_ids: Sequence[UUID]) -> list[UUID]:
    """Find those of these sessions whose text is held. The caller holds the sessions' locks, so no report can begin to hold
    a text between this statement and the deletion."""
    return [row[0] for row in await db.fetch(LIST_HELD, session_ids)]


DELETE_MESSAGES: Final = """
DELETE FROM messages WHERE session_id = ANY ($1::uuid[])
"""


async def delete_messages(db: Executor, /, *, session_ids: Sequence[UUID]) -> int:
    """Delete the messages of these sessions. A trigger refuses held sessions (invariant 14)."""
    return rows_changed(await db.execute(DELETE_MESSAGES, session_ids))


MARK_TEXTS_DELETED: Final = """
UPDATE sessions SET text_deleted_at = curhat_now() WHERE id = ANY ($1::uuid[])
"""


async def mark_texts_deleted(db: Executor, /, *, session_ids: Sequence[UUID]) -> None:
    """Record that the text of these sessions is deleted (kept → deleted). A trigger refuses sessions that have messages."""
    await db.execute(MARK_TEXTS_DELETED, session_ids)


READ_OVERDUE_TEXT: Final = """
SELECT greatest(
    (
        SELECT extract(epoch FROM curhat_now() - (ended_at + make_interval(months => $1)))
        FROM sessions
        WHERE text_deleted_at IS NULL AND text_hidden_at IS NULL AND ended_at <= (SELECT curhat_now())
            AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
        ORDER BY text_hidden_at, ended_at LIMIT 1
    ),
    (
        SELECT extract(epoch FROM curhat_now()
            - greatest(text_hidden_at, ended_at + make_interval(hours => $2)))
        FROM sessions
        WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL AND text_hidden_at IS NOT NULL
            AND ended_at <= (SELECT curhat_now() - make_interval(hours => $2))
            AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
        ORDER BY text_hidden_at, ended_at LIMIT 1
    )
)::float8 AS overdue_seconds
"""


async def read_overdue_text(db: Executor, /, *, kept_months: int, reportable_hours: int) -> float | None:
    """Read by how many seconds the text that must be deleted first is over its time. The result is negative or null if no
    text is over its time. Held text does not count."""
    row = await db.fetchrow(READ_OVERDUE_TEXT, kept_months, reportable_hours)
    if row is None:
        raise NoRow(READ_OVERDUE_TEXT)
    value: float | None = row[0]
    return value


HIDE_TEXTS_OF: Final = """
WITH locked_sessions AS MATERIALIZED (
    SELECT id FROM sessions
    WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND (customer_id = $1 OR mitra_id = $1) AND status = 'ended' AND text_hidden_at IS NULL
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE sessions SET text_hidden_at = curhat_now() FROM locked_sessions WHERE sessions.id = locked_sessions.id
"""


async def hide_texts_of(db: Executor, /, *, user_id: UUID, role: Role) -> None:
    """Hide the text of all ended sessions of a deleted account from both members (readable → hidden). The statement locks
    the sessions in id order."""
    await db.execute(HIDE_TEXTS_OF, user_id, role)


LIST_ERASABLE_TEXTS: Final = """
SELECT id FROM sessions
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1)
    AND ended_at <= (SELECT curhat_now() - make_interval(hours => $3)) AND text_deleted_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
ORDER BY id
LIMIT $4
"""


async def list_erasable_texts(
    db: Executor, /, *, user_id: UUID, role: Role, reportable_hours: int, max_sessions: int
) -> list[UUID]:
    """Find at most @max_sessions ended sessions of a deleted account whose text can be deleted now: the members have had
    @reportable_hours to report the session, and no report holds it."""
    return [
        row[0] for row in await db.fetch(LIST_ERASABLE_TEXTS, user_id, role, reportable_hours, max_sessions)
    ]


FORGET_END_NOTES: Final = """
UPDATE sessions SET end_note = $1
WHERE $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $2 OR mitra_id = $2)
    AND text_deleted_at IS NOT NULL AND end_note IS NOT NULL AND end_note <> $1
"""


async def forget_end_notes(db: Executor, /, *, forgotten: str, user_id: UUID, role: Role) -> None:
    """Replace the reasons that a mitra wrote, in the sessions of a deleted account whose text is deleted."""
    await db.execute(FORGET_END_NOTES, forgotten, user_id, role)


class TextLeft(msgspec.Struct, frozen=True):
    sessions: int
    ended_at: datetime | None
    is_active: bool


READ_TEXT_LEFT: Final = """
SELECT count(*) FILTER (WHERE text_deleted_at IS NULL) AS sessions, max(ended_at) AS ended_at,
    coalesce(bool_or(status = 'active'), false) AS is_active
FROM sessions
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1)
"""


async def read_text_left(db: Executor, /, *, user_id: UUID, role: Role) -> TextLeft:
    """Read what is left of the text of a deleted account. `sessions` counts the sessions whose text is not deleted.
    `ended_at` is the last end of a session. `is_active`: a session still runs."""
    row = await db.fetchrow(READ_TEXT_LEFT, user_id, role)
    if row is None:
        raise NoRow(READ_TEXT_LEFT)
    return TextLeft(*row)


FIND_SESSION_OF_CHARGE: Final = """
SELECT extensions.session_id
FROM charge_attempts JOIN extensions ON extensions.payment_id = charge_attempts.payment_id
WHERE charge_attempts.id = $1
"""


async def find_session_of_charge(db: Executor, /, *, charge_attempt_id: UUID) -> UUID | None:
    """Find the session whose extension this charge attempt pays for. Returns no row if the attempt does not pay for an
    extension."""
    row = await db.fetchrow(FIND_SESSION_OF_CHARGE, charge_attempt_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_SESSION_OF_EXTENSION_PAYMENT: Final = """
SELECT session_id FROM extensions WHERE payment_id = $1
"""


async def find_session_of_extension_payment(db: Executor, /, *, payment_id: UUID) -> UUID | None:
    """Find the session whose extension this payment is for. Returns no row if the payment is not for an extension."""
    row = await db.fetchrow(FIND_SESSION_OF_EXTENSION_PAYMENT, payment_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class ExtensionMitra(msgspec.Struct, frozen=True):
    id: UUID
    mitra_id: UUID


LIST_MITRAS_OF_EXTENSIONS: Final = """
SELECT extensions.id, sessions.mitra_id
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.id = ANY ($1::uuid[])
"""


async def list_mitras_of_extensions(
    db: Executor, /, *, extension_ids: Sequence[UUID]
) -> list[ExtensionMitra]:
    """Read the mitras who have to answer these extensions."""
    return [ExtensionMitra(*row) for row in await db.fetch(LIST_MITRAS_OF_EXTENSIONS, extension_ids)]


class LockedSession(msgspec.Struct, frozen=True):
    id: UUID
    customer_id: UUID
    mitra_id: UUID
    open_extension_id: UUID | None
    now: datetime
    runs: bool


LOCK_SESSION: Final = """
WITH locked_session AS MATERIALIZED (SELECT * FROM sessions WHERE id = $1 FOR NO KEY UPDATE)
SELECT id, customer_id, mitra_id, open_extension_id, curhat_now() AS now,
    status = 'active' AND (ends_at > curhat_now() OR open_extension_id IS NOT NULL) AS runs
FROM locked_session
"""


async def lock_session(db: Executor, /, *, session_id: UUID) -> LockedSession | None:
    """Lock a session's row, then read it. `runs` is true if the session is active, and either its time is not over or an
    open extension delays its end."""
    row = await db.fetchrow(LOCK_SESSION, session_id)
    if row is None:
        return None
    return LockedSession(*row)


LOCK_SESSIONS_OF_EXTENSIONS: Final = """
SELECT id FROM sessions
WHERE id = ANY (ARRAY(SELECT session_id FROM extensions WHERE id = ANY ($1::uuid[])))
ORDER BY id
FOR NO KEY UPDATE
"""


async def lock_sessions_of_extensions(db: Executor, /, *, extension_ids: Sequence[UUID]) -> list[UUID]:
    """Lock the sessions of these extensions, in id order."""
    return [row[0] for row in await db.fetch(LOCK_SESSIONS_OF_EXTENSIONS, extension_ids)]


class LockedExtension(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    customer_id: UUID
    mitra_id: UUID
    payment_id: UUID
    duration_minutes: int
    default_action: DefaultAction
    requested_at: datetime
    deadline_at: datetime
    status: ExtensionStatus
    decided_by: DecidedBy | None
    charge_by: datetime | None
    is_over: bool
    charge_is_late: bool | None
    mitra_is_there: bool


LOCK_EXTENSIONS: Final = """
WITH locked_extensions AS MATERIALIZED (
    SELECT * FROM extensions WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
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
"""


async def lock_extensions(db: Executor, /, *, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    """Lock these extensions, in id order, then read them. The caller holds the locks of the extensions' sessions. Another
    transaction is perhaps switching the mitra to offline. It either marks an extension before this statement locks the
    extension, or waits for the end of the caller's transaction. `is_over` is true if the time to answer has passed. `mitra_is_there` is true if
    the mitra is online, and did not go offline after the customer asked for the extension."""
    return [LockedExtension(*row) for row in await db.fetch(LOCK_EXTENSIONS, extension_ids)]


class OpenedExtension(msgspec.Struct, frozen=True):
    id: UUID
    mitra_is_online: bool


OPEN_EXTENSION: Final = """
WITH locked_mitra AS MATERIALIZED (
    SELECT online AND suspended_at IS NULL AS is_online FROM mitras WHERE id = $1 FOR SHARE
), insert_extension AS (
    INSERT INTO extensions
        (session_id, payment_id, offer_id, duration_minutes, price_rp, default_action, deadline_at,
        mitra_went_offline)
    SELECT $2, $3, $4, $5, $6, $7, $8,
        NOT is_online
    FROM locked_mitra
    RETURNING id
), hold_end_back AS (
    UPDATE sessions SET open_extension_id = opened.id
    FROM insert_extension AS opened WHERE sessions.id = $2
)
SELECT insert_extension.id, locked_mitra.is_online AS mitra_is_online FROM insert_extension, locked_mitra
"""


async def open_extension(
    db: Executor,
    /,
    *,
    mitra_id: UUID,
    session_id: UUID,
    payment_id: UUID,
    offer_id: UUID,
    duration_minutes: int,
    price_rp: int,
    default_action: DefaultAction,
    deadline_at: datetime,
) -> OpenedExtension:
    """Open an extension (nothing → pending). The extension now delays the session's end. The statement locks the mitra's
    row FOR SHARE, because a toggle can switch the mitra to offline at the same time. If the toggle commits first,
    `mitra_is_online` is false. If this statement locks the row first, the toggle waits for this transaction to commit.
    The toggle then sets mitra_went_offline on the new extension. If the mitra is already offline, this statement itself
    sets mitra_went_offline."""
    row = await db.fetchrow(
        OPEN_EXTENSION,
        mitra_id,
        session_id,
        payment_id,
        offer_id,
        duration_minutes,
        price_rp,
        default_action,
        deadline_at,
    )
    if row is None:
        raise NoRow(OPEN_EXTENSION)
    return OpenedExtension(*row)


class ExtensionRow(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    payment_id: UUID
    status: ExtensionStatus
    decided_by: DecidedBy | None
    offer_id: UUID
    duration_minutes: int
    price_rp: int
    deadline_at: datetime
    default_action: DefaultAction
    mitra_went_offline: bool
    server_now: datetime


LIST_EXTENSIONS: Final = """
SELECT id, session_id, payment_id, status, decided_by, offer_id, duration_minutes, price_rp, deadline_at,
    default_action, mitra_went_offline, curhat_now() AS server_now
FROM extensions WHERE id = ANY ($1::uuid[]) ORDER BY id
"""


async def list_extensions(db: Executor, /, *, extension_ids: Sequence[UUID]) -> list[ExtensionRow]:
    return [ExtensionRow(*row) for row in await db.fetch(LIST_EXTENSIONS, extension_ids)]


LIST_OPEN_EXTENSIONS_OF_MITRA: Final = """
SELECT extensions.id, extensions.session_id, extensions.payment_id, extensions.status, extensions.decided_by,
    extensions.offer_id, extensions.duration_minutes, extensions.price_rp, extensions.deadline_at,
    extensions.default_action, extensions.mitra_went_offline, curhat_now() AS server_now
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = $1 AND sessions.status = 'active'
ORDER BY extensions.id
"""


async def list_open_extensions_of_mitra(db: Executor, /, *, mitra_id: UUID) -> list[ExtensionRow]:
    """Read the open extensions of the mitra's active sessions, oldest first."""
    return [ExtensionRow(*row) for row in await db.fetch(LIST_OPEN_EXTENSIONS_OF_MITRA, mitra_id)]


APPROVE_EXTENSIONS: Final = """
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now)
UPDATE extensions SET status = 'charging', decided_by = $1, decided_at = moment.now,
    charge_by = moment.now + make_interval(secs => $2)
FROM moment
WHERE id = ANY ($3::uuid[])
RETURNING charge_by
"""


async def approve_extensions(
    db: Executor, /, *, decided_by: DecidedBy, charge_timeout_seconds: float, extension_ids: Sequence[UUID]
) -> datetime:
    """Approve all these extensions (pending → charging). The array @extension_ids has at least one element. Returns
    charge_by, and all these extensions have the same charge_by. The gateway must approve the charges before charge_by."""
    row = await db.fetchrow(APPROVE_EXTENSIONS, decided_by, charge_timeout_seconds, extension_ids)
    if row is None:
        raise NoRow(APPROVE_EXTENSIONS)
    value: datetime = row[0]
    return value


REJECT_EXTENSIONS: Final = """
UPDATE extensions SET status = 'rejected', decided_by = decision.decided_by, decided_at = curhat_now()
FROM unnest($1::uuid[], $2::text[]) AS decision (extension_id, decided_by)
WHERE id = decision.extension_id
"""


async def reject_extensions(
    db: Executor, /, *, extension_ids: Sequence[UUID], decided_by: Sequence[DecidedBy]
) -> None:
    """Reject the extensions without a charge (pending → rejected). Each array has one element per extension."""
    await db.execute(REJECT_EXTENSIONS, extension_ids, decided_by)


SETTLE_EXTENSION: Final = """
UPDATE extensions SET status = $1 WHERE id = $2
"""


async def settle_extension(db: Executor, /, *, status: ExtensionStatus, extension_id: UUID) -> None:
    """Settle the extension (charging → approved or charge_failed)."""
    await db.execute(SETTLE_EXTENSION, status, extension_id)


class ReleasedEnd(msgspec.Struct, frozen=True):
    id: UUID
    ends_at: datetime
    is_over: bool
    settled_extensions: int


RELEASE_SESSION_ENDS: Final = """
UPDATE sessions SET open_extension_id = NULL, ends_at = ends_at + make_interval(mins => $1)
WHERE id = ANY ($2::uuid[])
RETURNING id, ends_at, ends_at <= curhat_now() AS is_over,
    (SELECT count(*)::integer FROM extensions WHERE session_id = sessions.id) AS settled_extensions
"""


async def release_session_ends(
    db: Executor, /, *, added_minutes: int, session_ids: Sequence[UUID]
) -> list[ReleasedEnd]:
    """Set open_extension_id of these sessions to null, so that no extension delays their ends. Then add @added_minutes to
    the sessions' ends_at. `settled_extensions` is the number of the session's extensions. All extensions of the session
    are settled now."""
    return [ReleasedEnd(*row) for row in await db.fetch(RELEASE_SESSION_ENDS, added_minutes, session_ids)]


MARK_MITRA_OFFLINE: Final = """
WITH locked_extensions AS MATERIALIZED (
    SELECT extensions.id FROM extensions JOIN sessions ON sessions.id = extensions.session_id
    WHERE sessions.mitra_id = $1 AND sessions.status = 'active'
        AND extensions.status = 'pending' AND NOT extensions.mitra_went_offline
    ORDER BY extensions.id
    FOR NO KEY UPDATE OF extensions
)
UPDATE extensions SET mitra_went_offline = true FROM locked_extensions AS locked WHERE extensions.id = locked.id
RETURNING extensions.id
"""


async def mark_mitra_offline(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    """Mark the mitra's pending extensions, so that they cannot be approved any more. The caller has locked the mitra's row.
    This statement then locks the extensions in id order, and returns their ids."""
    return [row[0] for row in await db.fetch(MARK_MITRA_OFFLINE, mitra_id)]


LIST_PENDING_EXTENSIONS: Final = """
SELECT extensions.id
FROM sessions JOIN extensions ON extensions.id = sessions.open_extension_id
WHERE sessions.mitra_id = $1 AND sessions.status = 'active' AND extensions.status = 'pending'
"""


async def list_pending_extensions(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    """Find the mitra's pending extensions."""
    return [row[0] for row in await db.fetch(LIST_PENDING_EXTENSIONS, mitra_id)]


LIST_AWAITED_MITRAS: Final = """
SELECT sessions.mitra_id
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.status = 'pending'
"""


async def list_awaited_mitras(db: Executor, /) -> list[UUID]:
    """Find all mitras who have to answer an extension. Only few mitras have to answer at one time, and the index
    extensions_one_open finds them."""
    return [row[0] for row in await db.fetch(LIST_AWAITED_MITRAS)]


LIST_PAYMENTS_OF_APPROVED_EXTENSIONS: Final = """
SELECT payment_id FROM extensions WHERE session_id = ANY ($1::uuid[]) AND status = 'approved' ORDER BY id
"""


async def list_payments_of_approved_extensions(db: Executor, /, *, session_ids: Sequence[UUID]) -> list[UUID]:
    """Find the payments for these sessions' approved extensions."""
    return [row[0] for row in await db.fetch(LIST_PAYMENTS_OF_APPROVED_EXTENSIONS, session_ids)]
