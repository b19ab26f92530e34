"""Test how members read chats: history, messages, read marks, and the visible data of the other member."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.page import PAGE_SIZE
from curhat.sessions import service
from curhat.sessions.counterparts import Counterparts
from curhat.sessions.events import SESSION_STARTED, views_to_both
from curhat.sessions.schemas import Message
from curhat.sessions.writer import MessageWriter
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.people import Make


@pytest.fixture
async def chat(database: Database, make: Make) -> Chat:
    """Start a chat of 30 minutes."""
    return await open_chat(database, make)


@pytest.fixture
def message_writer(database: Database) -> MessageWriter:
    """Make the message writer of one server process."""
    return MessageWriter(database)


async def say(message_writer: MessageWriter, chat: Chat, sender: Identity, *texts: str) -> list[Message]:
    """Send messages one after another, and return the messages."""
    return [await message_writer.send(sender, chat.id, text, text) for text in texts]


async def mark(database: Database, reader: Identity, chat: Chat, up_to: UUID) -> None:
    """Mark the messages up to this message as read, in a separate transaction."""
    async with database.transaction() as tx:
        await service.mark_read(tx, reader, chat.id, up_to)


async def read_texts(database: Database, chat: Chat) -> set[str]:
    """Return the texts of the messages that are marked as read."""
    rows = await database.fetch(
        "SELECT text FROM messages WHERE session_id = $1 AND read_at IS NOT NULL", chat.id
    )
    return {row["text"] for row in rows}


# Read marks ----------------------------------------------------------------------------------------------


async def test_a_read_mark_covers_the_messages_of_the_other_side_up_to_the_marked_message(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    """The customer and the mitra get the event of the read mark."""
    await say(message_writer, chat, chat.mitra, "one's own")
    sent = await say(message_writer, chat, chat.customer, "1", "2", "3")
    await mark(database, chat.mitra, chat, sent[1].id)

    assert await read_texts(database, chat) == {"1", "2"}
    read_at = await database.fetchval("SELECT read_at FROM messages WHERE id = $1", sent[0].id)
    for person in (chat.customer, chat.mitra):
        kind, data = (await stream_events(database, person))[-1]
        assert kind == "messages.read"
        assert data["read_at"] == msgspec.to_builtins(read_at)
        assert {key: data[key] for key in data.keys() - {"read_at"}} == {
            "session_id": str(chat.id),
            "reader": "mitra",
            "up_to_message_id": str(sent[1].id),
        }


async def test_a_repeated_or_older_read_mark_changes_nothing_and_sends_no_event(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    first, second = await say(message_writer, chat, chat.customer, "1", "2")
    await mark(database, chat.mitra, chat, second.id)
    before = await database.fetch("SELECT * FROM messages ORDER BY id")
    events = await stream_events(database, chat.customer)
    await mark(database, chat.mitra, chat, second.id)
    await mark(database, chat.mitra, chat, first.id)
    assert await database.fetch("SELECT * FROM messages ORDER BY id") == before
    assert await stream_events(database, chat.customer) == events


async def test_concurrent_read_marks_of_several_devices_mark_each_message_as_read_once(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    sent = await say(message_writer, chat, chat.customer, *(str(n) for n in range(20)))
    await asyncio.gather(*(mark(database, chat.mitra, chat, message.id) for message in sent[::-1] + sent))
    assert await read_texts(database, chat) == {str(n) for n in range(20)}
    marks = [data for kind, data in await stream_events(database, chat.customer) if kind == "messages.read"]
    up_to = [data["up_to_message_id"] for data in marks]
    assert up_to == sorted(set(up_to))
    # A client that applies the events in order has the same read marks as PostgreSQL.
    read_at: dict[str, Any] = {}
    for data in marks:
        for message in sent:
            if str(message.id) <= data["up_to_message_id"]:
                read_at.setdefault(str(message.id), data["read_at"])
    rows = await database.fetch("SELECT id, read_at FROM messages")
    assert {str(row["id"]): msgspec.to_builtins(row["read_at"]) for row in rows} == read_at


async def test_messages_can_be_marked_as_read_after_the_end_of_the_session(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    (last,) = await say(message_writer, chat, chat.customer, "1")
    async with database.transaction() as tx:
        await service.end_by_customer(tx, chat.customer.user_id, chat.id)
    await mark(database, chat.mitra, chat, last.id)
    assert await read_texts(database, chat) == {"1"}


async def test_a_read_mark_must_name_a_message_in_a_chat_of_the_reader(
    database: Database, make: Make, chat: Chat, message_writer: MessageWriter
) -> None:
    other = await open_chat(database, make)
    (mine,) = await say(message_writer, chat, chat.customer, "1")
    (theirs,) = await say(message_writer, other, other.customer, "1")
    for reader, up_to in (
        (other.mitra, mine.id),
        (chat.mitra, theirs.id),
        (chat.mitra, uuid4()),
        (Identity(role="mitra", user_id=chat.customer.user_id), mine.id),
    ):
        with pytest.raises(NotFound):
            await mark(database, reader, chat, up_to)
    assert await read_texts(database, chat) == set()
    assert await read_texts(database, other) == set()


# Pages ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_message_limits")
async def test_pages_list_the_newest_messages_first_while_new_messages_arrive(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    texts = [f"{n:03}" for n in range(2 * PAGE_SIZE + 20)]
    await asyncio.gather(*(say(message_writer, chat, chat.customer, text) for text in texts))
    pages: list[list[str]] = []
    before: UUID | None = None
    while True:
        async with database.transaction() as tx:
            page = await service.messages_page(tx, chat.mitra, chat.id, before)
        pages.append([message.text for message in page.items])
        if page.next_cursor is None:
            break
        before = UUID(page.next_cursor)
        await say(message_writer, chat, chat.mitra, f"later {len(pages)}")
    assert [len(page) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 20]
    assert [text for page in pages for text in page] == texts[::-1]


@pytest.mark.usefixtures("no_message_limits")
async def test_a_full_last_page_of_messages_has_no_cursor(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    async with database.transaction() as tx:
        empty = await service.messages_page(tx, chat.customer, chat.id, None)
    assert (empty.items, empty.next_cursor) == ([], None)
    await asyncio.gather(*(say(message_writer, chat, chat.mitra, str(n)) for n in range(PAGE_SIZE)))
    async with database.transaction() as tx:
        full = await service.messages_page(tx, chat.customer, chat.id, None)
    assert (len(full.items), full.next_cursor) == (PAGE_SIZE, None)


async def test_pages_of_the_history_list_the_newest_chats_first(database: Database, make: Make) -> None:
    customer_id, mitra_id = await make.customer(), await make.mitra(max_customers=2)
    expected: list[UUID] = []
    for _ in range(PAGE_SIZE + 3):
        chat = await open_chat(database, make, customer_id=customer_id, mitra_id=mitra_id)
        expected.insert(0, chat.id)
        async with database.transaction() as tx:
            await service.end_by_customer(tx, customer_id, chat.id)
    # Start a chat between other people. The list must not contain the chat of other people.
    await open_chat(database, make, mitra_id=await make.mitra())
    for identity in (
        Identity(role="customer", user_id=customer_id),
        Identity(role="mitra", user_id=mitra_id),
    ):
        async with database.transaction() as tx:
            first = await service.history(tx, identity, None)
            second = await service.history(tx, identity, first.next_cursor)
        assert len(first.items) == PAGE_SIZE
        assert second.next_cursor is None
        assert [views.for_customer.id for views in first.items + second.items] == expected


async def test_a_malformed_cursor_of_the_history_is_refused(database: Database, chat: Chat) -> None:
    for cursor in ("", "x", "zzzz", "a" * 22 + "!", "a" * 30, "é" * 22, "==", "A" * 21 + "="):
        async with database.transaction() as tx:
            with pytest.raises(ValidationFailed):
                await service.history(tx, chat.customer, cursor)


# Permissions ---------------------------------------------------------------------------------------------


async def test_the_chat_of_another_person_is_not_found(database: Database, make: Make, chat: Chat) -> None:
    other = await open_chat(database, make)
    for stranger in (
        other.customer,
        other.mitra,
        Identity(role="mitra", user_id=chat.customer.user_id),
        Identity(role="customer", user_id=chat.mitra.user_id),
    ):
        async with database.transaction() as tx:
            with pytest.raises(NotFound):
                await service.own_session(tx, stranger, chat.id)
            with pytest.raises(NotFound):
                await service.messages_page(tx, stranger, chat.id, None)
    async with database.transaction() as tx:
        with pytest.raises(NotFound):
            await service.own_session(tx, chat.customer, uuid4())


@pytest.mark.rule("X.4")
async def test_a_mitra_sees_only_the_call_name_of_the_customer(
    database: Database, make: Make, message_writer: MessageWriter
) -> None:
    customer_id = await make.customer("Bunga")
    chat = await open_chat(database, make, customer_id=customer_id)
    await say(message_writer, chat, chat.customer, "halo")
    async with database.transaction() as tx:
        views = await service.session_views(tx, chat.id)
        seen: list[object] = [
            views.for_mitra,
            await service.active_mitra_sessions(tx, chat.mitra.user_id),
            [entry.for_mitra for entry in (await service.history(tx, chat.mitra, None)).items],
            await service.messages_page(tx, chat.mitra, chat.id, None),
            [event.data for event in views_to_both(SESSION_STARTED, views) if event.role == "mitra"],
            await service.end_by_mitra(tx, chat.mitra.user_id, chat.id, "sakit"),
        ]
    seen.append(await stream_events(database, chat.mitra))

    assert msgspec.to_builtins(views.for_mitra)["customer"] == {"call_name": "Bunga"}
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer_id)
    text = msgspec.json.encode(seen).decode()
    assert "Bunga" in text
    for identifying in (str(customer_id), phone, phone.removeprefix("+"), str(chat.payment_id)):
        assert identifying not in text


@pytest.mark.rule("X.4")
async def test_a_customer_sees_the_display_name_and_never_the_note_of_the_mitra(
    database: Database, make: Make, message_writer: MessageWriter
) -> None:
    mitra_id = await make.mitra("Kak Sari", max_customers=2)
    chat = await open_chat(database, make, mitra_id=mitra_id)
    await say(message_writer, chat, chat.mitra, "hai")
    async with database.transaction() as tx:
        running = await service.active_session(tx, chat.customer.user_id)
        await service.end_by_mitra(tx, mitra_id, chat.id, "orang ini membuat saya takut")
        views = await service.own_session(tx, chat.customer, chat.id)
        seen: list[object] = [
            running,
            views.for_customer,
            [entry.for_customer for entry in (await service.history(tx, chat.customer, None)).items],
            await service.messages_page(tx, chat.customer, chat.id, None),
        ]
    seen.append(await stream_events(database, chat.customer))
    assert msgspec.to_builtins(views.for_customer)["mitra"] == {
        "id": str(mitra_id),
        "display_name": "Kak Sari",
    }
    text = msgspec.json.encode(seen).decode()
    phone = await database.fetchval("SELECT phone_number FROM people WHERE id = $1", mitra_id)
    assert "takut" not in text
    assert phone not in text


async def test_the_active_sessions_do_not_include_an_ended_session(database: Database, make: Make) -> None:
    mitra_id = await make.mitra(max_customers=2)
    first = await open_chat(database, make, mitra_id=mitra_id)
    second = await open_chat(database, make, mitra_id=mitra_id)
    async with database.transaction() as tx:
        running = await service.active_mitra_sessions(tx, mitra_id)
        assert [session.id for session in running] == [first.id, second.id]
        await service.end_by_customer(tx, first.customer.user_id, first.id)
        assert [session.id for session in await service.active_mitra_sessions(tx, mitra_id)] == [second.id]
        assert await service.active_session(tx, first.customer.user_id) is None
        assert (await service.active_session(tx, second.customer.user_id)) is not None


async def test_typing_is_shown_only_to_the_other_member_of_a_running_chat(
    database: Database, make: Make, chat: Chat
) -> None:
    other = await open_chat(database, make)
    counterparts = Counterparts(database)
    assert await counterparts.find(chat.customer, chat.id) == chat.mitra
    assert await counterparts.find(chat.mitra, chat.id) == chat.customer
    assert await counterparts.find(other.mitra, chat.id) is None
    assert await counterparts.find(Identity(role="mitra", user_id=chat.customer.user_id), chat.id) is None
    assert await counterparts.find(chat.customer, uuid4()) is None
    async with database.transaction() as tx:
        await service.end_by_customer(tx, chat.customer.user_id, chat.id)
    assert await Counterparts(database).find(chat.mitra, chat.id) is None
