"""The steps of a chat session. Every function takes an open transaction and never commits it."""

import base64
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from curhat.deadlines import service as deadlines
from curhat.kit.database import Executor, Transaction
from curhat.kit.errors import NotFound, TooManyRequests, ValidationFailed, invalid_field, too_many_until
from curhat.kit.identity import Identity, Role
from curhat.kit.page import PAGE_SIZE, Page
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import limit_lock_waits
from curhat.kit.visible_text import checked_text
from curhat.payments import service as payments
from curhat.presence import service as presence
from curhat.pricing.schemas import Offer
from curhat.realtime import service as realtime
from curhat.realtime.event_types import StreamEvent
from curhat.realtime.service import Appended
from curhat.sessions import events, extension, pace, queries
from curhat.sessions.errors import ChatRuns, MitraNotAway, SessionEnded
from curhat.sessions.queries import DueSession, EndedSession, SessionRow, TextLeft, TextRow
from curhat.sessions.schemas import (
    MAX_END_NOTE_CHARACTERS,
    CustomerName,
    Extension,
    Message,
    MessagePage,
    MitraName,
    MitraSession,
    ReadMark,
    Session,
    SessionViews,
)
from curhat.sessions.states import (
    CASE_OF_DELIVERY,
    MITRA_AWAY_REVIEW_SECONDS,
    OPENS_A_CASE,
    TEXT_KEPT_MONTHS,
    TEXT_READABLE_BY_MITRA_DAYS,
    TEXT_REPORTABLE_HOURS,
    EndReason,
    LeaveReason,
)

# Deadline kind. The accept that starts a session also arms SESSION_END.
SESSION_END = extension.SESSION_END

# Limits one transaction that deletes the text of chats. Counting the messages of MAX_SESSIONS_PER_DESTROY sessions and
# deleting MAX_MESSAGES_PER_DESTROY messages take a fraction of a second.
MAX_SESSIONS_PER_DESTROY: Final = 200
MAX_MESSAGES_PER_DESTROY: Final = 10_000

# The fields of a session that both members see.
_SHARED_FIELDS = tuple(name for name in MitraSession.__struct_fields__ if name != "customer")

# This id is greater than every message id, so a page that begins before this id is the first page.
_NEWEST = UUID(int=2**128 - 1)


class OutgoingMessage(msgspec.Struct, frozen=True):
    """A message to send. The client chooses `client_message_id`."""

    sender: Identity
    session_id: UUID
    client_message_id: str
    text: str
    # The message of the same session that this message answers.
    reply_to_message_id: UUID | None = None
    # True if the sender writes so fast that PostgreSQL must count the sender's recent messages (pace.py).
    is_fast: bool = False


class SentMessage(msgspec.Struct, frozen=True):
    """The stored message. `is_repeated` says whether an earlier request has already sent this message."""

    message: Message
    is_repeated: bool


SendOutcome = SentMessage | NotFound | SessionEnded | TooManyRequests | ValidationFailed

# Stands for a message that answers no other message.
_NO_REPLY = UUID(int=0)


async def send_messages(
    tx: Transaction, outgoing: Sequence[OutgoingMessage], *, lock_timeout: str | None = None
) -> list[SendOutcome]:
    """Write these messages. Returns one outcome per message, in the order of `outgoing`.

    A refusal counts as an outcome.

    Both members get `message.created` for each new message. A message that occurs twice in `outgoing` is written once.
    `lock_timeout`, such as "100ms", limits each lock wait of the transaction from now on. If it is None, the limit of
    the connection stays.
    """
    refused = await _refuse_fast_senders(tx, outgoing, lock_timeout)
    passed = [index for index in range(len(outgoing)) if index not in refused]
    rows = await queries.send_messages(
        tx,
        session_ids=[outgoing[index].session_id for index in passed],
        senders=[outgoing[index].sender.role for index in passed],
        user_ids=[outgoing[index].sender.user_id for index in passed],
        client_message_ids=[outgoing[index].client_message_id for index in passed],
        texts=[outgoing[index].text for index in passed],
        reply_to_message_ids=[outgoing[index].reply_to_message_id or _NO_REPLY for index in passed],
        no_reply=_NO_REPLY,
        lock_timeout=lock_timeout,
    )
    outcomes: dict[int, SendOutcome] = {}
    written: dict[UUID, Message] = {}
    created: list[Appended] = []
    for row in rows:
        if row.id is None or row.sent_at is None:
            continue
        is_repeated = row.id in written
        index = passed[row.position - 1]
        if not is_repeated:
            asked = outgoing[index]
            message = Message(
                id=row.id,
                session_id=asked.session_id,
                client_message_id=asked.client_message_id,
                sender=asked.sender.role,
                text=asked.text,
                sent_at=row.sent_at,
                read_at=None,
                reply_to_message_id=asked.reply_to_message_id,
            )
            written[row.id] = message
            assert row.told_at is not None
            assert row.customer_seq is not None
            assert row.mitra_seq is not None
            to_customer, to_mitra = events.to_both(
                events.MESSAGE_CREATED, row.customer_id, row.mitra_id, message
            )
            created.append(Appended(to_customer, row.customer_seq, row.told_at))
            created.append(Appended(to_mitra, row.mitra_seq, row.told_at))
        outcomes[index] = SentMessage(written[row.id], is_repeated)
    over: dict[int, SendOutcome] = {
        passed[row.position - 1]: SessionEnded()
        if row.reply_is_known
        else invalid_field("reply_to_message_id", "is no message of this chat")
        for row in rows
        if row.id is None
    }
    if not_written := refused | over:
        outcomes |= await _sent_before(tx, outgoing, not_written)
    realtime.publish(tx, created)
    return [outcomes.get(index) or NotFound() for index in range(len(outgoing))]


async def _refuse_fast_senders(
    tx: Transaction, outgoing: Sequence[OutgoingMessage], lock_timeout: str | None
) -> dict[int, SendOutcome]:
    """Return the refusals of the messages that exceed a limit of their sender (X.13).

    The keys are indexes in `outgoing`.
    """
    fast = sorted(
        {message.sender for message in outgoing if message.is_fast},
        key=lambda each: (each.role, each.user_id),
    )
    if not fast:
        return {}
    roles, user_ids = [sender.role for sender in fast], [sender.user_id for sender in fast]
    if lock_timeout is not None:
        await limit_lock_waits(tx, lock_timeout=lock_timeout)
    # The lock holds back the messages that another process sends for the same person, so the next statement sees all
    # committed messages.
    await queries.lock_senders(tx, senders=roles, user_ids=user_ids)
    rows = await queries.list_recent_messages(
        tx,
        senders=roles,
        user_ids=user_ids,
        window_seconds=pace.LONGEST_WINDOW_SECONDS,
        max_messages=2 * pace.MAX_MESSAGES_PER_WINDOW,
    )
    ages: dict[Identity, list[float]] = {sender: [] for sender in fast}
    for row in rows:
        ages[fast[row.position - 1]].append(row.age_seconds)
    refused: dict[int, SendOutcome] = {}
    for index, message in enumerate(outgoing):
        if message.sender not in ages:
            continue
        wait_seconds = pace.wait_seconds(ages[message.sender])
        if wait_seconds > 0:
            refused[index] = too_many_until(wait_seconds)
        else:
            ages[message.sender].insert(0, 0.0)
    return refused


async def _sent_before(
    tx: Transaction, outgoing: Sequence[OutgoingMessage], refusals: Mapping[int, SendOutcome]
) -> dict[int, SendOutcome]:
    """Return the outcomes of messages that this request does not send. The keys are the messages' indexes.

    The outcome is the message that an earlier request has sent, or the given refusal.
    """
    keys = {
        index: (outgoing[index].session_id, outgoing[index].sender.role, outgoing[index].client_message_id)
        for index in refusals
    }
    session_ids, senders, client_message_ids = zip(*keys.values(), strict=True)
    rows = await queries.list_sent_messages(
        tx, session_ids=session_ids, senders=senders, client_message_ids=client_message_ids
    )
    stored = {
        (each.session_id, each.sender, each.client_message_id): SentMessage(each, is_repeated=True)
        for each in msgspec.convert(rows, list[Message], from_attributes=True)
    }
    return {index: stored.get(key) or refusals[index] for index, key in keys.items()}


async def mark_read(tx: Transaction, identity: Identity, session_id: UUID, up_to_message_id: UUID) -> None:
    """Mark the messages of the other side as read, up to the message `up_to_message_id`.

    A repeated call changes nothing. A user can mark messages as read even after the session has ended. Raises
    NotFound.
    """
    read = await queries.mark_messages_read(
        tx,
        session_id=session_id,
        role=identity.role,
        user_id=identity.user_id,
        up_to_message_id=up_to_message_id,
    )
    if read is None:
        raise NotFound
    if read.read_at is None:
        return
    mark = ReadMark(
        session_id=session_id, reader=identity.role, up_to_message_id=up_to_message_id, read_at=read.read_at
    )
    await realtime.append(tx, events.to_both(events.MESSAGES_READ, read.customer_id, read.mitra_id, mark))


async def end_by_customer(
    tx: Transaction, customer_id: UUID, session_id: UUID, *, with_review: bool = False
) -> Session:
    """End a session for its customer (active → ended).

    With `with_review`, the session ends because its mitra is away, and a case `mitra_away` opens (X.11).
    Raises NotFound, SessionEnded. With `with_review`, raises MitraNotAway if the mitra is connected, or has been
    disconnected for less than MITRA_AWAY_REVIEW_SECONDS.
    """
    customer = Identity(role="customer", user_id=customer_id)
    ended = await _end_early(tx, customer, session_id, "customer_ended", note=None, with_review=with_review)
    return ended.for_customer


async def end_by_mitra(tx: Transaction, mitra_id: UUID, session_id: UUID, note: str) -> MitraSession:
    """End a session for its mitra, with the mitra's reason as a note (active → ended). Opens a case (X.8).

    Raises ValidationFailed, NotFound, SessionEnded.
    """
    note = checked_text(note, "reason", MAX_END_NOTE_CHARACTERS)
    mitra = Identity(role="mitra", user_id=mitra_id)
    return (await _end_early(tx, mitra, session_id, "mitra_ended", note)).for_mitra


async def leave(
    tx: Transaction, identity: Identity, session_id: UUID, leave_reason: LeaveReason | None
) -> SessionViews:
    """End a session for a member who leaves (active → ended, T.5). A pending extension ends without a charge.

    A mitra's end opens a case (X.8). If the session has ended, nothing changes. If its time is over and no worker has
    ended it yet, the session ends by time. A mitra always has a `leave_reason`. Raises NotFound.
    """
    ended = await queries.leave_session(
        tx,
        session_id=session_id,
        role=identity.role,
        user_id=identity.user_id,
        leave_reason=leave_reason,
    )
    if ended is None:
        return await own_session(tx, identity, session_id)
    (views,) = await _finish_ends(tx, [ended], ended.open_extension_id)
    return views


async def end_for_suspension(tx: Transaction, session_id: UUID) -> None:
    """End a session, because an operator suspended the mitra (active → ended). Opens a case (X.8).

    Does nothing if the session has ended. The function also does nothing if the session's time is over, because the
    deadline `session_end` then ends the session.
    """
    ended = await queries.end_suspended_session(tx, session_id=session_id)
    if ended is not None:
        await _finish_ends(tx, [ended], ended.open_extension_id)


async def end_due(tx: Transaction, generations: Mapping[UUID, int]) -> None:
    """End the sessions whose time is over (active → ended). The deadline `session_end` calls this function.

    `generations` has the sessions' ids as keys. Each value is the generation of the deadline that fired.
    Does nothing for a session that has ended. The function also does nothing for a session with an open extension. When
    the extension closes, the deadline is armed again (5.7).
    """
    due = await queries.end_due_sessions(tx, session_ids=list(generations))
    ended = [session for session in due if session.is_ended]
    if ended:
        await _finish_ends(tx, ended)
    for session in due:
        if not session.is_ended:
            # An extension lengthened the session, or the clock was set back after this transaction claimed the
            # deadline. Arm the claimed generation again. Another worker perhaps holds a deadline of another generation,
            # and waits for this session's lock.
            generation = generations[session.id]
            await deadlines.arm(tx, SESSION_END, session.id, session.ends_at, generation)


async def _end_early(
    tx: Transaction,
    identity: Identity,
    session_id: UUID,
    reason: EndReason,
    note: str | None,
    *,
    with_review: bool = False,
) -> SessionViews:
    ended = await queries.end_session_early(
        tx,
        session_id=session_id,
        role=identity.role,
        user_id=identity.user_id,
        end_reason=reason,
        end_note=note,
        away_seconds=MITRA_AWAY_REVIEW_SECONDS if with_review else None,
    )
    if ended is None:
        session = (await own_session(tx, identity, session_id)).for_customer
        if with_review and (await extension.lock_session(tx, session_id)).runs:
            raise MitraNotAway(
                mitra_connected=session.mitra_connected, review_possible_at=session.review_possible_at
            )
        raise SessionEnded
    (views,) = await _finish_ends(tx, [ended], ended.open_extension_id, with_review=with_review)
    return views


async def _finish_ends(
    tx: Transaction,
    ended: Sequence[EndedSession | DueSession],
    open_extension_id: UUID | None = None,
    *,
    with_review: bool = False,
) -> list[SessionViews]:
    """Open the review cases of ended sessions, free their mitras' places, and append the events.

    `open_extension_id` is the id of the extension that was open when a session ended early. `with_review`: the customer
    ended the session because its mitra was away.
    """
    await pause_point("session_end.written")
    session_ids = [session.id for session in ended]
    await _open_cases(tx, session_ids, with_review=with_review)
    await deadlines.disarm(tx, SESSION_END, *session_ids)
    await presence.release_places(tx, [session.mitra_id for session in ended])
    told: list[StreamEvent] = []
    if open_extension_id is not None:
        # The mitra's row is locked already. Lock the extension's row now, because the step that sets the toggle to
        # offline locks the two rows in the same order.
        told += await extension.end_with_session(tx, open_extension_id)
    all_views = await views_of(tx, session_ids)
    for views in all_views:
        told += events.views_to_both(events.SESSION_ENDED, views)
    await realtime.append(tx, told)
    return all_views


async def _open_cases(tx: Transaction, session_ids: Sequence[UUID], *, with_review: bool) -> None:
    """Record what the ended sessions delivered, and open a case for each payment that was not delivered (X.8, X.11).

    The payments of a session are its own, and those of its approved extensions.
    """
    delivered = await queries.record_deliveries(tx, session_ids=session_ids, with_review=with_review)
    for delivery, reason in CASE_OF_DELIVERY.items():
        concerned = [session for session in delivered if session.delivery == delivery]
        if concerned:
            payment_ids = [session.payment_id for session in concerned]
            payment_ids += await queries.list_payments_of_approved_extensions(
                tx, session_ids=[session.id for session in concerned]
            )
            await payments.open_cases_of_ended(tx, payment_ids, reason)


# The text of a chat ------------------------------------------------------------------------------------------


async def hide_text(tx: Transaction, customer_id: UUID, session_id: UUID) -> None:
    """Delete a chat for its customer: neither side can read the text any more (readable → hidden).

    The worker deletes the messages within 72 hours, but not before the mitra had TEXT_REPORTABLE_HOURS after the end to
    report the chat. A repeated call does nothing. Raises NotFound, and ChatRuns if the session is active.
    """
    hidden = await queries.hide_text(tx, session_id=session_id, customer_id=customer_id)
    if hidden is None:
        raise NotFound
    if not hidden.is_ended:
        raise ChatRuns
    if hidden.is_new:
        views = await session_views(tx, session_id)
        await realtime.append(tx, events.views_to_both(events.SESSION_UPDATED, views))
        await realtime.blank_message_texts(tx, views.customer_id, views.mitra_id, session_id)


async def destroy_text(tx: Transaction, session_ids: Sequence[UUID]) -> list[UUID]:
    """Delete the messages of these sessions for ever (kept → deleted). Returns the sessions whose text was deleted.

    Leaves out sessions that run, whose text is held because of a report, or whose text is deleted already. Only this
    function deletes messages. The caller limits the number of sessions, so that no statement takes long.
    """
    locked = await queries.lock_deletable_texts(tx, session_ids=session_ids)
    if not locked:
        return []
    held = set(await queries.list_held(tx, session_ids=locked))
    deletable = [session_id for session_id in locked if session_id not in held]
    if deletable:
        await queries.delete_messages(tx, session_ids=deletable)
        await queries.mark_texts_deleted(tx, session_ids=deletable)
    return deletable


async def destroy_due_texts(tx: Transaction, max_messages: int = MAX_MESSAGES_PER_DESTROY) -> int:
    """Delete the text of the chats whose time is over, the oldest first. Returns `max_messages` if more can be left.

    Deletes at most `max_messages` messages, and the rest of the last chat.
    """
    due = await queries.lock_due_texts(
        tx,
        kept_months=TEXT_KEPT_MONTHS,
        reportable_hours=TEXT_REPORTABLE_HOURS,
        max_sessions=MAX_SESSIONS_PER_DESTROY,
        max_messages=max_messages,
    )
    return max_messages if await destroy_text(tx, due) else 0


# The reason of a session's end after a mitra or a customer deleted the account.
FORGOTTEN_END_NOTE: Final = "-"


async def hide_texts_of(tx: Transaction, role: Role, user_id: UUID) -> None:
    """Hide the text of every ended session of a deleted account from both members (P.3)."""
    await queries.hide_texts_of(tx, role=role, user_id=user_id)


async def text_left_of(tx: Transaction, role: Role, user_id: UUID) -> TextLeft:
    """Return what is left of the text of a deleted account."""
    return await queries.read_text_left(tx, role=role, user_id=user_id)


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the text of the sessions of a deleted account, and the reasons that mitras wrote.

    Leaves out a session that ended less than TEXT_REPORTABLE_HOURS ago, and a session that a report holds. Returns True
    if the caller must call again for more sessions.
    """
    await queries.hide_texts_of(tx, role=role, user_id=user_id)
    found = await queries.list_erasable_texts(
        tx,
        role=role,
        user_id=user_id,
        reportable_hours=TEXT_REPORTABLE_HOURS,
        max_sessions=MAX_SESSIONS_PER_DESTROY,
    )
    await destroy_text(tx, found)
    await queries.forget_end_notes(tx, role=role, user_id=user_id, forgotten=FORGOTTEN_END_NOTE)
    return len(found) == MAX_SESSIONS_PER_DESTROY


async def read_overdue_text(db: Executor) -> float | None:
    """Return by how many seconds the oldest text that must be deleted is over its time.

    The result is negative or None if no text is over its time.
    """
    return await queries.read_overdue_text(
        db, kept_months=TEXT_KEPT_MONTHS, reportable_hours=TEXT_REPORTABLE_HOURS
    )


# Reading -------------------------------------------------------------------------------------------------


async def session_views(tx: Transaction, session_id: UUID) -> SessionViews:
    """Return one session in two forms: the form for its customer and the form for its mitra. Raises NotFound."""
    views = await views_of(tx, [session_id])
    if not views:
        raise NotFound
    return views[0]


async def own_session(tx: Transaction, identity: Identity, session_id: UUID) -> SessionViews:
    """Return a session of which this user is a member.

    Raises NotFound if the session does not exist or the user is not a member.
    """
    views = await session_views(tx, session_id)
    if identity.user_id != (views.customer_id if identity.role == "customer" else views.mitra_id):
        raise NotFound
    return views


async def active_session(tx: Transaction, customer_id: UUID) -> Session | None:
    """Return the active session of a customer. A customer has at most one active session."""
    views = await views_of(tx, await queries.list_active_sessions_of_customer(tx, customer_id=customer_id))
    return views[0].for_customer if views else None


async def active_mitra_sessions(tx: Transaction, mitra_id: UUID) -> list[MitraSession]:
    """Return the active sessions of a mitra, oldest first."""
    all_views = await views_of(tx, await queries.list_active_sessions_of_mitra(tx, mitra_id=mitra_id))
    return [views.for_mitra for views in all_views]


async def history(tx: Transaction, identity: Identity, cursor: str | None) -> Page[SessionViews]:
    """Return a page of this user's sessions, newest first. Raises ValidationFailed for a malformed cursor."""
    list_past_sessions = (
        queries.list_past_sessions_of_customer
        if identity.role == "customer"
        else queries.list_past_sessions_of_mitra
    )
    session_ids = await list_past_sessions(
        tx, user_id=identity.user_id, before_id=_session_id_of(cursor), max_sessions=PAGE_SIZE + 1
    )
    shown = session_ids[:PAGE_SIZE]
    views = await views_of(tx, shown)
    next_cursor = None
    if len(session_ids) > PAGE_SIZE:
        next_cursor = base64.urlsafe_b64encode(shown[-1].bytes).decode().rstrip("=")
    return Page(items=views[::-1], next_cursor=next_cursor)


async def messages_page(
    tx: Transaction, identity: Identity, session_id: UUID, before: UUID | None
) -> MessagePage:
    """Return a page of a session's messages, newest first. With `before`, the page begins before that message.

    `next_cursor` is the value of `before` for the next page. The page is empty if the text is gone. Raises NotFound.
    """
    text = await readable_text(tx, identity, session_id)
    rows = []
    if not text.is_gone:
        rows = await queries.list_messages(
            tx, session_id=session_id, before_id=before or _NEWEST, max_messages=PAGE_SIZE + 1
        )
    items = msgspec.convert(rows[:PAGE_SIZE], list[Message], from_attributes=True)
    return MessagePage(
        items=items,
        next_cursor=str(items[-1].id) if len(rows) > PAGE_SIZE else None,
        text_until=text.text_until,
        text_gone=text.is_gone,
    )


async def messages_after(
    tx: Transaction, identity: Identity, session_id: UUID, after: UUID, max_messages: int
) -> list[Message]:
    """Return this member's next messages of a session, oldest first, beginning after the message `after`.

    The list is empty if the text is gone. Raises NotFound.
    """
    if (await readable_text(tx, identity, session_id)).is_gone:
        return []
    rows = await queries.list_messages_after(
        tx, session_id=session_id, after_id=after, max_messages=max_messages
    )
    return msgspec.convert(rows, list[Message], from_attributes=True)


async def readable_text(tx: Transaction, identity: Identity, session_id: UUID) -> TextRow:
    """Return until when this member can read the session's text, and whether it is gone for the member.

    Raises NotFound if the session does not exist or the user is not a member.
    """
    text = await queries.find_text(
        tx,
        session_id=session_id,
        role=identity.role,
        user_id=identity.user_id,
        kept_months=TEXT_KEPT_MONTHS,
        mitra_days=TEXT_READABLE_BY_MITRA_DAYS,
    )
    if text is None:
        raise NotFound
    return text


async def views_of(tx: Transaction, session_ids: Sequence[UUID]) -> list[SessionViews]:
    """Return these sessions, each in the form for its customer and in the form for its mitra, oldest first."""
    if not session_ids:
        return []
    rows = await queries.list_sessions(
        tx,
        session_ids=session_ids,
        kept_months=TEXT_KEPT_MONTHS,
        mitra_days=TEXT_READABLE_BY_MITRA_DAYS,
    )
    return [_views_of(row) for row in rows]


def _views_of(row: SessionRow) -> SessionViews:
    away_since = row.mitra_away_since if row.session_status == "active" else None
    review_reason = None if row.delivery is None else CASE_OF_DELIVERY.get(row.delivery)
    if row.end_reason in OPENS_A_CASE:
        # A release that did not record deliveries ended the session.
        review_reason = "cut_short"
    bought = row.started_at + timedelta(minutes=row.duration_minutes)
    session = Session(
        id=row.id,
        status=row.session_status,
        mitra=MitraName(id=row.mitra_id, display_name=row.display_name),
        started_at=row.started_at,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        duration_minutes=row.duration_minutes,
        extended_minutes=max(0, round((row.ends_at - bought) / timedelta(minutes=1))),
        extension=_extension_of(row),
        server_now=row.server_now,
        payment_id=row.payment_id,
        mitra_connected=away_since is None,
        review_possible_at=None
        if away_since is None
        else away_since + timedelta(seconds=MITRA_AWAY_REVIEW_SECONDS),
        review_reason=review_reason,
        text_until=row.text_until,
        text_gone=row.text_is_gone,
    )
    views = both_views(session, customer_id=row.customer_id, call_name=row.call_name)
    if row.mitra_text_until is None:
        return views
    for_mitra = msgspec.structs.replace(
        views.for_mitra,
        text_until=row.mitra_text_until,
        text_gone=row.text_is_gone or row.mitra_text_until <= row.server_now,
    )
    return msgspec.structs.replace(views, for_mitra=for_mitra)


def _extension_of(row: SessionRow) -> Extension | None:
    if row.extension_id is None:
        return None
    # If the row has an extension, none of these columns is null.
    assert row.extension_payment_id is not None
    assert row.extension_status is not None
    assert row.extension_offer_id is not None
    assert row.extension_duration_minutes is not None
    assert row.extension_price_rp is not None
    assert row.extension_deadline_at is not None
    assert row.extension_default_action is not None
    assert row.extension_mitra_went_offline is not None
    return Extension(
        id=row.extension_id,
        session_id=row.id,
        payment_id=row.extension_payment_id,
        status=row.extension_status,
        decided_by=row.extension_decided_by,
        offer=Offer(
            id=row.extension_offer_id,
            duration_minutes=row.extension_duration_minutes,
            price_rp=row.extension_price_rp,
            is_trial=False,
        ),
        deadline_at=row.extension_deadline_at,
        default_action=row.extension_default_action,
        mitra_went_offline=row.extension_status != "pending" and row.extension_mitra_went_offline,
        server_now=row.server_now,
    )


def both_views(session: Session, *, customer_id: UUID, call_name: str) -> SessionViews:
    """Return a session in two forms: the form for its customer and the form for its mitra.

    Only the mitra's view contains the customer's call name.
    """
    return SessionViews(
        customer_id=customer_id,
        mitra_id=session.mitra.id,
        for_customer=session,
        for_mitra=MitraSession(
            **{name: getattr(session, name) for name in _SHARED_FIELDS},
            customer=CustomerName(call_name=call_name),
        ),
    )


def _session_id_of(cursor: str | None) -> UUID:
    if cursor is None:
        return _NEWEST
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars="-_", validate=True))
    except ValueError:  # Not base64url, or not the 16 bytes of an id.
        raise invalid_field("cursor", "is none of ours") from None
