"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role


class AppendedEvent(msgspec.Struct, frozen=True):
    seq: int
    at: datetime


APPEND_EVENTS: Final = """
SELECT seq, at FROM append_events($1::text[], $2::uuid[], $3::text[], $4::text[])
"""


async def append_events(
    db: Executor,
    /,
    *,
    roles: Sequence[str],
    user_ids: Sequence[UUID],
    types: Sequence[str],
    data: Sequence[str],
) -> list[AppendedEvent]:
    """Append events to their streams. The comment of the function append_events describes the `seq` numbers. Each array has
    one element per event. Returns one row per event, in the order of the arrays."""
    return [AppendedEvent(*row) for row in await db.fetch(APPEND_EVENTS, roles, user_ids, types, data)]


class StreamHead(msgspec.Struct, frozen=True):
    epoch: UUID
    seq: int
    server_now: datetime


FIND_HEAD: Final = """
SELECT epoch_on_timeline(epoch) AS epoch, head AS seq, curhat_now() AS server_now
FROM streams WHERE role = $1 AND user_id = $2
"""


async def find_head(db: Executor, /, *, role: Role, user_id: UUID) -> StreamHead | None:
    """Read the number of the last event in a user's stream. Returns no row if the stream has not begun."""
    row = await db.fetchrow(FIND_HEAD, role, user_id)
    if row is None:
        return None
    return StreamHead(*row)


BEGIN_STREAM: Final = """
INSERT INTO streams (role, user_id) VALUES ($1, $2)
ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head
RETURNING epoch_on_timeline(epoch) AS epoch, head AS seq, curhat_now() AS server_now
"""


async def begin_stream(db: Executor, /, *, role: Role, user_id: UUID) -> StreamHead:
    """Begin an empty stream. If another transaction began the stream meanwhile, return the head of that stream and
    change nothing."""
    row = await db.fetchrow(BEGIN_STREAM, role, user_id)
    if row is None:
        raise NoRow(BEGIN_STREAM)
    return StreamHead(*row)


class ClockAndTimeline(msgspec.Struct, frozen=True):
    server_now: datetime
    timeline: int


READ_CLOCK_AND_TIMELINE: Final = """
SELECT curhat_now() AS server_now, curhat_timeline() AS timeline
"""


async def read_clock_and_timeline(db: Executor, /) -> ClockAndTimeline:
    """Read the database's clock, and PostgreSQL's timeline. If the timeline has changed, it is possible that commits were
    lost."""
    row = await db.fetchrow(READ_CLOCK_AND_TIMELINE)
    if row is None:
        raise NoRow(READ_CLOCK_AND_TIMELINE)
    return ClockAndTimeline(*row)


class EventRow(msgspec.Struct, frozen=True):
    seq: int
    type: str
    at: datetime
    data: str


LIST_EVENTS_AFTER: Final = """
SELECT seq, type, at, data FROM stream_events
WHERE role = $1 AND user_id = $2 AND seq > $3
ORDER BY seq
LIMIT $4
"""


async def list_events_after(
    db: Executor, /, *, role: Role, user_id: UUID, seq: int, max_events: int
) -> list[EventRow]:
    """Read the events of a user's stream that follow @seq, in order. Returns at most @max_events events."""
    return [EventRow(*row) for row in await db.fetch(LIST_EVENTS_AFTER, role, user_id, seq, max_events)]


class HeadAhead(msgspec.Struct, frozen=True):
    user_id: UUID
    head: int


LIST_HEADS_AHEAD: Final = """
SELECT streams.user_id, streams.head
FROM unnest($1::uuid[], $2::bigint[]) AS known (user_id, head)
JOIN streams ON streams.role = $3 AND streams.user_id = known.user_id
WHERE streams.head > known.head
"""


async def list_heads_ahead(
    db: Executor, /, *, user_ids: Sequence[UUID], known_heads: Sequence[int], role: Role
) -> list[HeadAhead]:
    """Find the streams whose head is higher than the head that the caller knows. All users have the role @role.
    Each array has one element per user."""
    return [HeadAhead(*row) for row in await db.fetch(LIST_HEADS_AHEAD, user_ids, known_heads, role)]


BLANK_MESSAGE_TEXTS: Final = """
UPDATE stream_events SET data = (data::jsonb || '{"text": ""}')::text
WHERE (role, user_id) IN (('customer', $1::uuid), ('mitra', $2::uuid)) AND type = 'message.created'
    AND data LIKE '%"session_id":"' || $3::uuid || '"%'
"""


async def blank_message_texts(
    db: Executor, /, *, customer_id: UUID, mitra_id: UUID, session_id: UUID
) -> None:
    """Remove the text from the stored events about this session's messages, in the streams of both members. A device that
    resumes its stream then gets no text that its person can no longer read. The numbers of the events stay."""
    await db.execute(BLANK_MESSAGE_TEXTS, customer_id, mitra_id, session_id)


PRUNE_EVENTS: Final = """
DELETE FROM stream_events WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM stream_events
    WHERE at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY at, seq
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
"""


async def prune_events(db: Executor, /, *, max_events: int) -> int:
    """Delete at most @max_events events that are older than 24 hours, oldest first. The stream's row keeps the last
    number, so no number is used twice."""
    return rows_changed(await db.execute(PRUNE_EVENTS, max_events))


RENEW_EPOCHS: Final = """
UPDATE streams SET epoch = gen_random_uuid()
"""


async def renew_epochs(db: Executor, /) -> int:
    """Give each stream a new epoch. No client can then resume a stream."""
    return rows_changed(await db.execute(RENEW_EPOCHS))


DELETE_STREAM: Final = """
DELETE FROM stream_events WHERE role = $1 AND user_id = $2
"""


async def delete_stream(db: Executor, /, *, role: Role, user_id: UUID) -> None:
    """Delete the events of a deleted account. The row of the stream keeps the last number."""
    await db.execute(DELETE_STREAM, role, user_id)


DELETE_EVENTS_ABOUT: Final = """
WITH gone AS (
    DELETE FROM stream_events
    WHERE role = $1 AND user_id = ANY ($2::uuid[])
        AND (at < curhat_now() - interval '24 hours' OR position($3::text IN data) > 0
            OR EXISTS (
                SELECT 1 FROM unnest($4::uuid[]) AS session_id WHERE position(session_id::text IN data) > 0
            ))
    RETURNING user_id
)
UPDATE streams SET epoch = gen_random_uuid()
WHERE role = $1 AND user_id IN (SELECT user_id FROM gone)
"""


async def delete_events_about(
    db: Executor, /, *, role: Role, user_ids: Sequence[UUID], about: str, session_ids: Sequence[UUID]
) -> None:
    """Delete the events of these users that name the person @about, or one of the sessions @session_ids. Also delete those
    that are older than 24 hours, as prune_events does. Each stream that loses an event gets a new epoch, so that its clients fetch their state instead of resuming with a gap."""
    await db.execute(DELETE_EVENTS_ABOUT, role, user_ids, about, session_ids)
