"""What may be done in a chat session. Every function takes an open transaction and never commits."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from curhat.deadlines import service as deadlines
from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.page import PAGE_SIZE, Page
from curhat.kit.pause_points import pause_point
from curhat.payments import service as payments
from curhat.presence import service as presence
from curhat.realtime import service as realtime
from curhat.realtime.event_types import StreamEvent
from curhat.sessions import events, extension
from curhat.sessions.errors import SessionEnded
from curhat.sessions.schemas import (
    CustomerName,
    Message,
    MitraName,
    MitraSession,
    ReadMark,
    Session,
    SessionViews,
)
from curhat.sessions.states import CUT_SHORT, OPENS_A_CASE, EndReason

SQL = load_queries(__file__)

# The accept arms it together with the session it opens.
SESSION_END = extension.SESSION_END

# Greater than every id: the first page is the page before it.
_NEWEST = UUID(int=2**128 - 1)


class Send(msgspec.Struct, frozen=True):
    """A message on its way: whose, where, under which of the client's names, and what it says."""

    identity: Identity
    session_id: UUID
    client_message_id: str
    text: str


class Sent(msgspec.Struct, frozen=True):
    """The message as it stands. `repeated`: it was there before."""

    message: Message
    repeated: bool


SendOutcome = Sent | NotFound | SessionEnded


async def send_messages(tx: Transaction, sends: Sequence[Send]) -> list[SendOutcome]:
    """Write these messages; one outcome each, in the same order. Refusals are returned, not raised.

    Both sides get `message.created` for each message that is new. The same one twice among `sends` is one.
    """
    rows = await tx.fetch(
        SQL.send,
        [send.session_id for send in sends],
        [send.identity.role for send in sends],
        [send.identity.user_id for send in sends],
        [send.client_message_id for send in sends],
        [send.text for send in sends],
    )
    outcomes: dict[int, SendOutcome] = {}
    not_written: list[int] = []
    written: dict[UUID, Message] = {}
    created: list[StreamEvent] = []
    for row in rows:
        index = row["position"] - 1
        if row["id"] is None:
            not_written.append(index)
        elif row["id"] in written:
            outcomes[index] = Sent(written[row["id"]], repeated=True)
        else:
            message = _message_sent(sends[index], row)
            written[message.id] = message
            outcomes[index] = Sent(message, repeated=False)
            created += events.message_created(row["customer_id"], row["mitra_id"], message)
    if not_written:
        outcomes.update(await _sent_before(tx, sends, not_written))
    if created:
        await realtime.append(tx, created)
    return [outcomes.get(index) or NotFound() for index in range(len(sends))]


async def _sent_before(tx: Transaction, sends: Sequence[Send], indexes: list[int]) -> dict[int, SendOutcome]:
    rows = await tx.fetch(
        SQL.sent_before,
        [sends[index].session_id for index in indexes],
        [sends[index].identity.role for index in indexes],
        [sends[index].client_message_id for index in indexes],
    )
    before = {indexes[row["position"] - 1]: Sent(_message(row), repeated=True) for row in rows}
    return {index: before.get(index) or SessionEnded() for index in indexes}


async def mark_read(tx: Transaction, identity: Identity, session_id: UUID, up_to_message_id: UUID) -> None:
    """unread → read: all that the other side sent, up to this message. Repeated, it changes nothing.

    A chat that is over can still be read. Raises NotFound.
    """
    row = await tx.fetchrow(SQL.mark_read, session_id, identity.role, identity.user_id, up_to_message_id)
    if row is None:
        raise NotFound
    if row["read_at"] is None:
        return
    mark = ReadMark(
        session_id=session_id,
        reader=identity.role,
        up_to_message_id=up_to_message_id,
        read_at=row["read_at"],
    )
    await realtime.append(tx, events.messages_read(row["customer_id"], row["mitra_id"], mark))


async def end_by_customer(tx: Transaction, customer_id: UUID, session_id: UUID) -> Session:
    """active → ended, by the customer. Raises NotFound, SessionEnded."""
    customer = Identity(role="customer", user_id=customer_id)
    return (await _end_early(tx, customer, session_id, "customer_ended", note=None)).for_customer


async def end_by_mitra(tx: Transaction, mitra_id: UUID, session_id: UUID, note: str) -> MitraSession:
    """active → ended, by the mitra, who says why; a case opens (X.8). Raises NotFound, SessionEnded."""
    mitra = Identity(role="mitra", user_id=mitra_id)
    return (await _end_early(tx, mitra, session_id, "mitra_ended", note)).for_mitra


async def end_for_suspension(tx: Transaction, session_id: UUID) -> None:
    """active → ended, since its mitra was suspended; a case opens (X.8). Ended already, it does nothing.

    A session whose time is over is left to its deadline: it ran its course.
    """
    row = await tx.fetchrow(SQL.end_suspended, session_id)
    if row is not None:
        await _ended(tx, [row], "mitra_suspended")


async def end_due(tx: Transaction, *session_ids: UUID, generations: Mapping[UUID, int] | None = None) -> None:
    """active → ended once their time is up, for the deadlines `session_end`. Never early; repeated, nothing. An open
    extension holds its session back; its decision arms the end anew (5.7).

    `generations` are those of the deadlines that fired, by session; the first, unless given.
    """
    rows = await tx.fetch(SQL.end_due, session_ids)
    ended = [row for row in rows if row["ended"]]
    if ended:
        await _ended(tx, ended, "time_up")
    for row in rows:
        if not row["ended"]:
            # The session was lengthened, or the clock stepped back since the deadline was claimed. Armed under the
            # generation claimed here: another one may be in the hands of a worker who waits for this session.
            generation = (generations or {}).get(row["id"], 1)
            await deadlines.arm(tx, SESSION_END, row["id"], row["ends_at"], generation)


async def _end_early(
    tx: Transaction, identity: Identity, session_id: UUID, reason: EndReason, note: str | None
) -> SessionViews:
    row = await tx.fetchrow(SQL.end_early, session_id, identity.role, identity.user_id, reason, note)
    if row is None:
        await own_session(tx, identity, session_id)
        raise SessionEnded
    (views,) = await _ended(tx, [row], reason)
    return views


async def _ended(tx: Transaction, rows: Sequence[asyncpg.Record], reason: EndReason) -> list[SessionViews]:
    """What follows from ends, whatever their reason: the cases, the mitras' places, the events."""
    await pause_point("session_end.written")
    session_ids = [row["id"] for row in rows]
    if reason in OPENS_A_CASE:
        charged = await tx.fetch(SQL.charged_extensions, session_ids)
        cut_short = [row["payment_id"] for row in (*rows, *charged)]
        await payments.open_cases(tx, cut_short, CUT_SHORT)
    await deadlines.disarm(tx, SESSION_END, *session_ids)
    await presence.release_places(tx, [row["mitra_id"] for row in rows])
    told: list[StreamEvent] = []
    for row in rows:
        if row["open_extension_id"] is not None:
            # After the mitra's row, as the toggle takes them.
            told += await extension.end_with_session(tx, row["open_extension_id"])
    ended = await _views(tx, session_ids)
    told += [event for views in ended for event in events.session_ended(views)]
    await realtime.append(tx, told)
    return ended


# Reading -------------------------------------------------------------------------------------------------


async def session_views(tx: Transaction, session_id: UUID) -> SessionViews:
    """One session as each of the two who are in it sees it. Raises NotFound."""
    views = await _views(tx, [session_id])
    if not views:
        raise NotFound
    return views[0]


async def own_session(tx: Transaction, identity: Identity, session_id: UUID) -> SessionViews:
    """A session this person is in. Raises NotFound for another's, too."""
    views = await session_views(tx, session_id)
    if identity.user_id != (views.customer_id if identity.role == "customer" else views.mitra_id):
        raise NotFound
    return views


async def active_session(tx: Transaction, customer_id: UUID) -> Session | None:
    """The running session of a customer, who has one at most."""
    views = await _active(tx, SQL.active_of_customer, customer_id)
    return views[0].for_customer if views else None


async def active_mitra_sessions(tx: Transaction, mitra_id: UUID) -> list[MitraSession]:
    """The running sessions of a mitra, oldest first."""
    return [views.for_mitra for views in await _active(tx, SQL.active_of_mitra, mitra_id)]


async def history(tx: Transaction, identity: Identity, cursor: str | None) -> Page[SessionViews]:
    """This person's sessions, newest first. Raises ValidationFailed for a cursor that no page gave out."""
    of_whom = SQL.history_of_customer if identity.role == "customer" else SQL.history_of_mitra
    rows = await tx.fetch(of_whom, identity.user_id, _session_id_of(cursor), PAGE_SIZE + 1)
    session_ids = [row["id"] for row in rows[:PAGE_SIZE]]
    views = await _views(tx, session_ids)
    return Page(items=views[::-1], next_cursor=_cursor(session_ids[-1]) if len(rows) > PAGE_SIZE else None)


async def messages_page(
    tx: Transaction, identity: Identity, session_id: UUID, before: UUID | None
) -> Page[Message]:
    """The newest messages of a session, or the newest before message `before`; newest first. Raises NotFound.

    `next_cursor` is what to pass as `before` to get the page after it.
    """
    rows = await tx.fetch(
        SQL.messages, session_id, identity.role, identity.user_id, before or _NEWEST, PAGE_SIZE + 1
    )
    if not rows:
        raise NotFound
    items = [_message(row) for row in rows[:PAGE_SIZE] if row["id"] is not None]
    return Page(items=items, next_cursor=str(items[-1].id) if len(rows) > PAGE_SIZE else None)


async def _active(tx: Transaction, query: str, user_id: UUID) -> list[SessionViews]:
    return await _views(tx, [row["id"] for row in await tx.fetch(query, user_id)])


async def _views(tx: Transaction, session_ids: Sequence[UUID]) -> list[SessionViews]:
    """These sessions, oldest first."""
    if not session_ids:
        return []
    return [both_views(row) for row in await tx.fetch(SQL.views, session_ids)]


def both_views(row: Any) -> SessionViews:
    """A session as each side sees it, from a row with the columns of the statement views."""
    common = {
        "id": row["id"],
        "status": row["status"],
        "mitra": MitraName(id=row["mitra_id"], display_name=row["display_name"]),
        "started_at": row["started_at"],
        "ends_at": row["ends_at"],
        "ended_at": row["ended_at"],
        "end_reason": row["end_reason"],
        "duration_minutes": row["duration_minutes"],
        "extension": None if row["extension_id"] is None else extension.extension_from(row, "extension_"),
        "server_now": row["server_now"],
    }
    return SessionViews(
        customer_id=row["customer_id"],
        mitra_id=row["mitra_id"],
        for_customer=Session(**common),
        for_mitra=MitraSession(**common, customer=CustomerName(call_name=row["call_name"])),
    )


def _message(row: asyncpg.Record) -> Message:
    return Message(**{field: row[field] for field in Message.__struct_fields__})


def _message_sent(send: Send, row: asyncpg.Record) -> Message:
    return Message(
        id=row["id"],
        session_id=send.session_id,
        client_message_id=send.client_message_id,
        sender=send.identity.role,
        text=send.text,
        sent_at=row["sent_at"],
        read_at=None,
    )


def _cursor(session_id: UUID) -> str:
    return base64.urlsafe_b64encode(session_id.bytes).decode().rstrip("=")


def _session_id_of(cursor: str | None) -> UUID:
    if cursor is None:
        return _NEWEST
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars="-_", validate=True))
    except ValueError:  # Not base64url, or not the 16 bytes of an id.
        raise ValidationFailed(errors=[{"field": "cursor", "message": "is none of ours"}]) from None
