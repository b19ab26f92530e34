"""Test that messages are stored once and in order, reach both sides, and are refused after the end of the session."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import structlog

from curhat.kit.database import Database
from curhat.kit.errors import BusinessError, NotFound, TooManyRequests, ValidationFailed
from curhat.kit.identity import Identity
from curhat.kit.pause_points import set_pause_point
from curhat.sessions import pace, service, writer
from curhat.sessions.errors import SessionEnded
from curhat.sessions.schemas import Message
from curhat.sessions.service import OutgoingMessage, SentMessage
from curhat.sessions.writer import MessageWriter
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import START, VirtualClock
from tests.support.journey import wait_for_lock
from tests.support.people import Make
from tests.support.signals import RecordedSignals


@pytest.fixture
async def chat(database: Database, make: Make) -> Chat:
    """Start a chat of 30 minutes."""
    return await open_chat(database, make)


@pytest.fixture
def message_writer(database: Database) -> MessageWriter:
    """Make the message writer of one server process."""
    return MessageWriter(database)


class Latch:
    """Blocks every task that reaches the pause point `name`, until the test calls `open`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()
        set_pause_point(name, self._stop)

    async def _stop(self) -> None:
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let the blocked tasks continue, and block no later task."""
        self._opened.set()
        set_pause_point(self._name, None)


async def stored(database: Database, chat: Chat) -> list[str]:
    """Return the texts of a chat's messages, oldest first."""
    rows = await database.fetch("SELECT text FROM messages WHERE session_id = $1 ORDER BY id", chat.id)
    return [row["text"] for row in rows]


def in_transaction(
    database: Database, step: Callable[..., Awaitable[object]], *arguments: object
) -> "asyncio.Task[None]":
    """Start a task that runs a service function in its own transaction."""

    async def run() -> None:
        async with database.transaction() as tx:
            await step(tx, *arguments)

    return asyncio.create_task(run())


async def test_a_message_is_stored_once_and_sent_to_both_sides_after_the_commit(
    database: Database, chat: Chat, message_writer: MessageWriter, signals: RecordedSignals
) -> None:
    latch = Latch("messages.before_commit")
    sending = asyncio.create_task(message_writer.send(chat.customer, chat.id, "a1", "halo"))
    await latch.reached.wait()
    assert signals.published == []
    latch.open()
    message = await sending

    assert await stored(database, chat) == ["halo"]
    assert (message.sender, message.text, message.client_message_id) == ("customer", "halo", "a1")
    expected = [("message.created", msgspec.to_builtins(message, str_keys=True))]
    assert await stream_events(database, chat.customer) == _json(expected)
    assert await stream_events(database, chat.mitra) == _json(expected)
    # One signal per person.
    assert len(signals.on("stream")) == 2


def _json(value: object) -> object:
    return [tuple(entry) for entry in msgspec.json.decode(msgspec.json.encode(value))]


async def test_a_repeated_client_message_id_returns_the_first_message(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    first = await message_writer.send(chat.customer, chat.id, "a1", "halo")
    again = await message_writer.send(chat.customer, chat.id, "a1", "something else")
    assert again == first
    assert await stored(database, chat) == ["halo"]
    assert len(await stream_events(database, chat.mitra)) == 1


async def test_both_sides_can_use_the_same_client_message_id(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    await message_writer.send(chat.customer, chat.id, "1", "halo")
    await message_writer.send(chat.mitra, chat.id, "1", "hai")
    assert await stored(database, chat) == ["halo", "hai"]


async def test_a_message_that_appears_twice_in_one_batch_is_stored_once_with_the_first_text(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    messages = await asyncio.gather(
        message_writer.send(chat.customer, chat.id, "a1", "halo"),
        message_writer.send(chat.customer, chat.id, "a1", "something else"),
    )
    assert messages[0] == messages[1]
    assert await stored(database, chat) == ["halo"]
    assert len(await stream_events(database, chat.customer)) == 1


async def test_a_message_that_several_processes_send_concurrently_is_stored_once(
    database: Database, chat: Chat
) -> None:
    writers = [MessageWriter(database) for _ in range(8)]
    sends = [each.send(chat.customer, chat.id, "a1", f"text {n}") for n, each in enumerate(writers * 3)]
    messages = await asyncio.gather(*sends)
    assert len({message.id for message in messages}) == 1
    assert await stored(database, chat) == [messages[0].text]
    assert {message.text for message in messages} == {messages[0].text}
    assert len(await stream_events(database, chat.mitra)) == 1


async def test_message_ids_have_the_order_of_the_stream_when_both_sides_send_concurrently(
    database: Database, chat: Chat
) -> None:
    writers = [MessageWriter(database) for _ in range(4)]
    await asyncio.gather(
        *(
            writers[n % 4].send(chat.customer if n % 2 else chat.mitra, chat.id, f"m{n}", f"text {n}")
            for n in range(40)
        )
    )
    ids = [data["id"] for _, data in await stream_events(database, chat.customer)]
    assert len(ids) == 40
    assert ids == sorted(ids)


async def test_a_user_who_is_not_a_member_gets_not_found(
    database: Database, make: Make, chat: Chat, message_writer: MessageWriter
) -> None:
    other = await open_chat(database, make)
    strangers = [
        other.customer,
        other.mitra,
        # Each caller is a member of the chat, but uses the role of the other member.
        Identity(role="mitra", user_id=chat.customer.user_id),
        Identity(role="customer", user_id=chat.mitra.user_id),
    ]
    for stranger in strangers:
        with pytest.raises(NotFound):
            await message_writer.send(stranger, chat.id, "a1", "halo")
    with pytest.raises(NotFound):
        await message_writer.send(chat.customer, uuid4(), "a1", "halo")
    await message_writer.send(chat.customer, chat.id, "a1", "halo")
    with pytest.raises(NotFound):
        await message_writer.send(
            Identity(role="customer", user_id=other.customer.user_id), chat.id, "a1", "halo"
        )
    assert await stored(database, chat) == ["halo"]


# Near the end --------------------------------------------------------------------------------------------


@pytest.mark.rule("X.8")
async def test_a_new_message_after_the_end_is_refused_but_a_repeated_message_is_answered(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    first = await message_writer.send(chat.customer, chat.id, "a1", "halo")
    await in_transaction(database, service.end_by_customer, chat.customer.user_id, chat.id)
    with pytest.raises(SessionEnded):
        await message_writer.send(chat.customer, chat.id, "a2", "one more")
    with pytest.raises(SessionEnded):
        await message_writer.send(chat.mitra, chat.id, "b1", "bye")
    assert await message_writer.send(chat.customer, chat.id, "a1", "halo") == first
    assert await stored(database, chat) == ["halo"]


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_a_message_is_refused_as_soon_as_the_clock_of_the_database_reaches_the_end_time(
    database: Database, make: Make, clock: VirtualClock, message_writer: MessageWriter
) -> None:
    await clock.set(START)
    chat = await open_chat(database, make, minutes=30)
    await clock.advance(30 * 60 - 0.001)
    last = await message_writer.send(chat.customer, chat.id, "a1", "in time")
    assert last.sent_at == await clock.now()
    await clock.advance(0.001)
    with pytest.raises(SessionEnded):
        await message_writer.send(chat.customer, chat.id, "a2", "too late")
    # The worker has not ended the session yet, but the time of the session is over.
    assert await database.fetchval("SELECT status FROM sessions WHERE id = $1", chat.id) == "active"
    assert await stored(database, chat) == ["in time"]


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_a_message_is_refused_if_it_waits_for_the_lock_of_the_session_until_the_end_time(
    database: Database, make: Make, clock: VirtualClock, message_writer: MessageWriter
) -> None:
    await clock.set(START)
    chat = await open_chat(database, make, minutes=30)
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", chat.id)
        sending = asyncio.create_task(message_writer.send(chat.customer, chat.id, "a1", "halo"))
        await wait_for_lock(database)
        await clock.advance(30 * 60)
    with pytest.raises(SessionEnded):
        await sending
    assert await stored(database, chat) == []


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_a_message_is_refused_if_its_batch_waits_for_a_lock_until_the_end_time(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set(START)
    first, second = sorted(
        [await open_chat(database, make), await open_chat(database, make)], key=lambda chat: chat.id
    )
    outgoing = [
        OutgoingMessage(first.customer, first.id, "a1", "halo"),
        OutgoingMessage(second.customer, second.id, "a1", "halo"),
    ]
    outcomes: list[object] = []

    async def send() -> None:
        async with database.transaction() as tx:
            outcomes.extend(await service.send_messages(tx, outgoing))

    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", second.id)
        sending = asyncio.create_task(send())
        await wait_for_lock(database)
        await clock.advance(30 * 60)
    await sending
    assert [type(outcome) for outcome in outcomes] == [SessionEnded, SessionEnded]
    assert await stored(database, first) == []


@pytest.mark.rule("X.8")
async def test_a_message_that_waits_while_the_session_ends_is_refused(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    """The message waits until the transaction that ends the session commits."""
    latch = Latch("session_end.written")
    ending = in_transaction(database, service.end_by_mitra, chat.mitra.user_id, chat.id, "sakit")
    await latch.reached.wait()
    sending = asyncio.create_task(message_writer.send(chat.customer, chat.id, "a1", "halo"))
    await wait_for_lock(database)
    latch.open()
    await ending
    with pytest.raises(SessionEnded):
        await sending
    assert await stored(database, chat) == []
    assert [kind for kind, _ in await stream_events(database, chat.customer)] == ["session.ended"]


@pytest.mark.rule("X.8")
async def test_the_end_of_a_session_waits_until_an_earlier_message_commits(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    latch = Latch("messages.before_commit")
    sending = asyncio.create_task(message_writer.send(chat.customer, chat.id, "a1", "halo"))
    await latch.reached.wait()
    ending = in_transaction(database, service.end_by_mitra, chat.mitra.user_id, chat.id, "sakit")
    await wait_for_lock(database)
    latch.open()
    message = await sending
    await ending
    assert await stored(database, chat) == ["halo"]
    assert message.sent_at < await database.fetchval("SELECT ended_at FROM sessions WHERE id = $1", chat.id)
    assert [kind for kind, _ in await stream_events(database, chat.mitra)] == [
        "message.created",
        "session.ended",
    ]


async def test_a_message_repeated_while_the_session_ends_returns_the_first_message(
    database: Database, chat: Chat
) -> None:
    """The repeated message waits until the transaction that ends the session commits."""
    latch = Latch("messages.before_commit")
    sending = asyncio.create_task(MessageWriter(database).send(chat.customer, chat.id, "a1", "halo"))
    await latch.reached.wait()
    ending = in_transaction(database, service.end_by_mitra, chat.mitra.user_id, chat.id, "sakit")
    await wait_for_lock(database)
    repeating = asyncio.create_task(MessageWriter(database).send(chat.customer, chat.id, "a1", "halo"))
    await wait_for_lock(database, 2)
    latch.open()
    await ending
    assert await repeating == await sending
    assert await stored(database, chat) == ["halo"]


@pytest.mark.rule("X.8")
@pytest.mark.invariant(12)
@pytest.mark.usefixtures("no_message_limits")
async def test_the_server_under_load_stores_all_acknowledged_messages_and_no_message_after_the_end(
    database: Database, make: Make
) -> None:
    chats = [await open_chat(database, make) for _ in range(6)]
    writers = [MessageWriter(database) for _ in range(3)]
    acknowledged: dict[str, Message] = {}
    refused: set[str] = set()

    async def talk(chat: Chat, sender: Identity, number: int) -> None:
        for n in range(1_000_000):
            name = f"{number}-{n}"
            try:
                message = await writers[(number + n) % 3].send(sender, chat.id, name, name)
            except SessionEnded:
                refused.add(name)
                return
            acknowledged[name] = message

    async def end(chat: Chat, delay_messages: int) -> None:
        while len(acknowledged) < delay_messages:
            await asyncio.sleep(0)
        await in_transaction(database, service.end_by_customer, chat.customer.user_id, chat.id)

    people = [(chat, person) for chat in chats for person in (chat.customer, chat.mitra)]
    await asyncio.gather(
        *(talk(chat, person, number) for number, (chat, person) in enumerate(people)),
        *(end(chat, 40 * (number + 1)) for number, chat in enumerate(chats)),
    )

    rows = await database.fetch(
        "SELECT messages.*, ended_at FROM messages JOIN sessions ON sessions.id = session_id"
    )
    assert {row["text"] for row in rows} == acknowledged.keys()
    assert len(refused) == len(people)
    assert all(row["sent_at"] < row["ended_at"] for row in rows)
    for chat in chats:
        for person in (chat.customer, chat.mitra):
            events = await stream_events(database, person)
            assert events[-1][0] == "session.ended"
            sent = [data["text"] for kind, data in events if kind == "message.created"]
            assert sent == await stored(database, chat)


# Batches -------------------------------------------------------------------------------------------------


async def test_concurrent_messages_share_a_transaction_but_have_separate_outcomes(
    database: Database, make: Make, chat: Chat, message_writer: MessageWriter
) -> None:
    over = await open_chat(database, make)
    await message_writer.send(over.customer, over.id, "old", "sent before the end")
    await in_transaction(database, service.end_by_customer, over.customer.user_id, over.id)
    commits = Counter[str]()

    async def count() -> None:
        commits["messages"] += 1

    set_pause_point("messages.before_commit", count)
    outcomes = await asyncio.gather(
        message_writer.send(chat.customer, chat.id, "a1", "halo"),
        message_writer.send(over.customer, over.id, "new", "too late"),
        message_writer.send(over.customer, over.id, "old", "repeated"),
        message_writer.send(over.mitra, chat.id, "x", "not mine"),
        message_writer.send(chat.mitra, chat.id, "b1", "hai"),
        return_exceptions=True,
    )
    assert [_outcome_text(outcome) for outcome in outcomes] == [
        "halo",
        "session_ended",
        "sent before the end",
        "not_found",
        "hai",
    ]
    assert commits["messages"] == 1
    assert await stored(database, chat) == ["halo", "hai"]


def _outcome_text(outcome: Message | BaseException) -> str:
    if isinstance(outcome, BusinessError):
        return outcome.code
    assert isinstance(outcome, Message)
    return outcome.text


@pytest.mark.usefixtures("no_message_limits")
async def test_messages_that_arrive_during_a_transaction_form_the_next_batch(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    latch = Latch("messages.before_commit")
    first = asyncio.create_task(message_writer.send(chat.customer, chat.id, "1", "first"))
    await latch.reached.wait()
    others = [
        asyncio.create_task(message_writer.send(chat.customer, chat.id, f"other {n}", f"other {n}"))
        for n in range(writer.MAX_BATCH_MESSAGES + 1)
    ]
    await asyncio.sleep(0)
    latch.open()
    batches = Counter[str]()

    async def count() -> None:
        batches["more"] += 1

    set_pause_point("messages.before_commit", count)
    await asyncio.gather(first, *others)
    assert batches["more"] == 2
    assert await stored(database, chat) == [
        "first",
        *(f"other {n}" for n in range(writer.MAX_BATCH_MESSAGES + 1)),
    ]


async def test_a_failing_message_does_not_fail_the_other_messages_of_its_batch(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    # This call bypasses the endpoint, because the endpoint refuses an id with NUL. So PostgreSQL raises an error for
    # the id with NUL.
    good, bad, also_good = await asyncio.gather(
        message_writer.send(chat.customer, chat.id, "a1", "halo"),
        message_writer.send(chat.customer, chat.id, "a2\x00", "NUL"),
        message_writer.send(chat.mitra, chat.id, "b1", "hai"),
        return_exceptions=True,
    )
    assert isinstance(good, Message)
    assert isinstance(bad, asyncpg.PostgresError)
    assert isinstance(also_good, Message)
    assert await stored(database, chat) == ["halo", "hai"]


async def test_a_batch_is_repeated_and_stored_once_when_the_connection_to_postgresql_breaks(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    deaths = 0

    async def die_once() -> None:
        nonlocal deaths
        deaths += 1
        if deaths == 1:
            raise ConnectionResetError

    for point in ("messages.before_commit", "messages.after_commit"):
        deaths = 0
        set_pause_point(point, die_once)
        messages = await asyncio.gather(
            message_writer.send(chat.customer, chat.id, f"{point} 1", f"{point} 1"),
            message_writer.send(chat.customer, chat.id, f"{point} 2", f"{point} 2"),
        )
        set_pause_point(point, None)
        assert [message.text for message in messages] == [f"{point} 1", f"{point} 2"]
    assert len(await stored(database, chat)) == 4
    assert len(await stream_events(database, chat.mitra)) == 4


async def test_a_message_does_not_wait_for_the_tries_of_earlier_messages_while_postgresql_is_away(
    chat: Chat, message_writer: MessageWriter
) -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionResetError

    set_pause_point("messages.before_commit", fail)
    outcomes = await asyncio.gather(
        *(message_writer.send(chat.customer, chat.id, f"a{number}", "halo") for number in range(10)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [ConnectionResetError] * 10
    # The writer first sends all messages together, and then the first message alone.
    assert tries == 2


async def test_a_locked_session_delays_messages_of_other_sessions_at_most_until_the_timeout(
    database: Database,
    make: Make,
    chat: Chat,
    message_writer: MessageWriter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "WRITE_TIMEOUT_SECONDS", 0.5)
    held = await open_chat(database, make)
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", held.id)
        stuck, sent = await asyncio.gather(
            message_writer.send(held.customer, held.id, "a1", "stuck"),
            message_writer.send(chat.customer, chat.id, "a1", "halo"),
            return_exceptions=True,
        )
        assert isinstance(stuck, TimeoutError)
        assert isinstance(sent, Message)
    assert (await message_writer.send(held.customer, held.id, "a1", "again")).text == "again"
    assert await stored(database, held) == ["again"]


@pytest.mark.invariant(12)
async def test_a_locked_session_delays_only_its_own_messages_and_keeps_their_order(
    database: Database, make: Make, chat: Chat, message_writer: MessageWriter
) -> None:
    held, next_chat = await open_chat(database, make), await open_chat(database, make)
    with structlog.testing.capture_logs() as logs:
        async with database.transaction() as holder:
            await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", held.id)
            stuck = asyncio.create_task(message_writer.send(held.customer, held.id, "a1", "first"))
            assert (
                await message_writer.send(chat.customer, chat.id, "a1", "same batch")
            ).text == "same batch"
            later = asyncio.create_task(message_writer.send(held.customer, held.id, "a2", "second"))
            assert (await message_writer.send(next_chat.customer, next_chat.id, "a1", "next")).text == "next"
            assert not stuck.done()
            assert not later.done()
        await asyncio.gather(stuck, later)
    assert await stored(database, held) == ["first", "second"]
    # The later message of the locked session was in no batch, so it delayed no batch.
    assert [entry["event"] for entry in logs] == ["messages.batch_failed"]
    assert (await message_writer.send(held.customer, held.id, "a3", "third")).text == "third"


async def test_a_message_is_refused_immediately_when_too_many_messages_wait(
    chat: Chat, message_writer: MessageWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING_MESSAGES", 2)
    latch = Latch("messages.before_commit")
    first = asyncio.create_task(message_writer.send(chat.customer, chat.id, "1", "first"))
    await latch.reached.wait()
    waiting = [
        asyncio.create_task(message_writer.send(chat.customer, chat.id, f"w{n}", "waits")) for n in range(2)
    ]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests) as refusal:
        await message_writer.send(chat.customer, chat.id, "too many", "too many")
    assert refusal.value.retry_after_seconds == 1
    latch.open()
    await asyncio.gather(first, *waiting)


async def test_cancelling_the_caller_of_a_message_does_not_affect_other_messages(
    database: Database, chat: Chat, message_writer: MessageWriter
) -> None:
    latch = Latch("messages.before_commit")
    gone = asyncio.create_task(message_writer.send(chat.customer, chat.id, "1", "gone"))
    stays = asyncio.create_task(message_writer.send(chat.customer, chat.id, "2", "stays"))
    await latch.reached.wait()
    gone.cancel()
    latch.open()
    assert (await stays).text == "stays"
    assert await stored(database, chat) == ["gone", "stays"]


async def test_the_outcomes_of_a_batch_have_the_order_of_the_messages(database: Database, chat: Chat) -> None:
    outgoing = [OutgoingMessage(chat.customer, chat.id, f"m{n}", f"text {n}") for n in range(20)]
    async with database.transaction() as tx:
        outcomes = await service.send_messages(tx, outgoing)
    texts = [outcome.message.text for outcome in outcomes if isinstance(outcome, SentMessage)]
    assert texts == [message.text for message in outgoing]
    assert await stored(database, chat) == texts
    moments: set[datetime] = {
        outcome.message.sent_at for outcome in outcomes if isinstance(outcome, SentMessage)
    }
    assert len(moments) == 1


# Limits ------------------------------------------------------------------------------------------------------


class Seconds:
    """Moves the clocks of the process and of the database together."""

    def __init__(self, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = clock
        self._now = 1_000.0
        monkeypatch.setattr(pace, "monotonic", lambda: self._now)

    async def pass_by(self, seconds: float) -> None:
        self._now += seconds
        await self._clock.advance(seconds)


@pytest.fixture
async def seconds(clock: VirtualClock, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> Seconds:
    """Stop both clocks after the start of the chat."""
    await clock.set(await clock.now())
    return Seconds(clock, monkeypatch)


@pytest.mark.rule("X.13")
async def test_a_person_sends_at_most_twenty_messages_in_five_seconds(
    chat: Chat, message_writer: MessageWriter, seconds: Seconds
) -> None:
    for n in range(20):
        for _ in range(2):  # A repeated message is not counted again, and does not take its first count back.
            await message_writer.send(chat.customer, chat.id, f"m{n}", "halo")
        await seconds.pass_by(0.125)
    with pytest.raises(TooManyRequests) as refusal:
        await message_writer.send(chat.customer, chat.id, "m20", "halo")
    assert refusal.value.retry_after_seconds == 3
    # The limit refuses neither a repeated message nor messages of the other person.
    assert (await message_writer.send(chat.customer, chat.id, "m3", "halo")).client_message_id == "m3"
    await message_writer.send(chat.mitra, chat.id, "m20", "halo")
    await seconds.pass_by(2.5)
    await message_writer.send(chat.customer, chat.id, "m20", "halo")


@pytest.mark.rule("X.13")
async def test_a_person_sends_at_most_sixty_messages_in_a_minute(
    chat: Chat, message_writer: MessageWriter, seconds: Seconds
) -> None:
    for n in range(60):
        await message_writer.send(chat.customer, chat.id, f"m{n}", "halo")
        await seconds.pass_by(0.5)
    with pytest.raises(TooManyRequests) as refusal:
        await message_writer.send(chat.customer, chat.id, "m60", "halo")
    assert refusal.value.retry_after_seconds == 30
    await seconds.pass_by(30)
    await message_writer.send(chat.customer, chat.id, "m60", "halo")


@pytest.mark.rule("X.13")
@pytest.mark.usefixtures("seconds")
async def test_two_devices_at_two_server_processes_share_one_limit(
    database: Database, make: Make, chat: Chat
) -> None:
    """All chats of a mitra also share one limit."""
    other = await open_chat(database, make, mitra_id=chat.mitra.user_id)
    writers = [MessageWriter(database), MessageWriter(database)]
    for n in range(20):
        await writers[n % 2].send(chat.mitra, (chat, other)[n // 2 % 2].id, f"m{n}", "halo")
    for each in writers:
        with pytest.raises(TooManyRequests):
            await each.send(chat.mitra, chat.id, "m20", "halo")
    # A new process does not ask PostgreSQL for the count of messages at first. After some messages, the process asks
    # PostgreSQL for the count.
    third = MessageWriter(database)
    for n in range(pace.LIMITS[0].unchecked):
        await third.send(chat.mitra, chat.id, f"third {n}", "halo")
    with pytest.raises(TooManyRequests):
        await third.send(chat.mitra, chat.id, "one more", "halo")
    # PostgreSQL counts the messages. The limit does not refuse a repeated message that another process stored.
    assert (await third.send(chat.mitra, chat.id, "m0", "halo")).client_message_id == "m0"


@pytest.mark.rule("X.13")
async def test_messages_of_one_batch_beyond_the_limit_are_refused_and_the_others_are_stored(
    database: Database, chat: Chat
) -> None:
    """Another process has sent the first 15 messages.

    The process of this test has marked the messages of its batch as fast.
    """
    async with database.transaction() as tx:
        await service.send_messages(
            tx, [OutgoingMessage(chat.customer, chat.id, f"first {n}", "halo") for n in range(15)]
        )
    fast = [OutgoingMessage(chat.customer, chat.id, f"m{n}", "halo", is_fast=True) for n in range(8)]
    by_mitra = OutgoingMessage(chat.mitra, chat.id, "m7", "hai")
    async with database.transaction() as tx:
        outcomes = await service.send_messages(tx, [*fast, by_mitra])
    assert [type(outcome) for outcome in outcomes] == [SentMessage] * 5 + [TooManyRequests] * 3 + [
        SentMessage
    ]
    assert len(await stored(database, chat)) == 15 + 5 + 1


def test_a_process_forgets_a_person_who_has_sent_nothing_for_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr(pace, "monotonic", lambda: now)
    people = pace.Pace()
    for _ in range(100):
        people.enter(Identity(role="customer", user_id=uuid4()), "m1")
    now += pace.LONGEST_WINDOW_SECONDS + 1
    people.enter(Identity(role="customer", user_id=uuid4()), "m1")
    assert len(people._people) == 1


async def test_a_message_answers_an_earlier_message_of_the_same_chat_only(
    database: Database, make: Make, chat: Chat, message_writer: MessageWriter
) -> None:
    other = await open_chat(database, make)
    first = await message_writer.send(chat.mitra, chat.id, "first", "apa kabar?")
    reply = await message_writer.send(chat.customer, chat.id, "reply", "baik", first.id)
    assert reply.reply_to_message_id == first.id
    told = [data for kind, data in await stream_events(database, chat.mitra) if kind == "message.created"]
    assert msgspec.convert(told[-1], Message) == reply
    async with database.transaction() as tx:
        page = await service.messages_page(tx, chat.mitra, chat.id, None)
    assert [message.reply_to_message_id for message in page.items] == [first.id, None]
    assert await message_writer.send(chat.customer, chat.id, "reply", "baik", first.id) == reply
    for unknown in (first.id, uuid4()):
        with pytest.raises(ValidationFailed):
            await message_writer.send(other.customer, other.id, "foreign", "halo", unknown)
    assert await stored(database, other) == []
