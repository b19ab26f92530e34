"""Test that concurrent writers leave no gap in a stream, and that the server publishes only committed events."""

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import msgspec
import pytest

from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.realtime import service
from curhat.realtime.event_types import StreamEvent
from curhat.realtime.service import StreamSignal
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.realtime import Note, append, note
from tests.support.signals import RecordedSignals


def published(signals: RecordedSignals) -> list[StreamSignal]:
    """Return the published stream signals, decoded as the hub decodes them."""
    decode = msgspec.msgpack.Decoder(list[StreamSignal]).decode
    return [signal for payload in signals.on("stream") for signal in decode(payload)]


async def stored(database: Database, role: Role, user_id: UUID, seq: int = 0) -> list[tuple[int, str]]:
    """Return the seq and text of each stored event with a higher seq than `seq`."""
    events = await service.events_after(database, role, user_id, seq, 100_000)
    return [(event.seq, json.loads(event.frame)["data"]["text"]) for event in events]


class RollBack(Exception):
    """A test raises this error in a transaction, to roll the transaction back."""


async def append_and_fail(
    database: Database, *events: StreamEvent, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Append events in a transaction, and roll the transaction back."""
    with contextlib.suppress(RollBack):
        async with database.transaction() as tx:
            await service.append(tx, events)
            if meanwhile is not None:
                await meanwhile()
            raise RollBack


async def test_events_are_numbered_from_one_in_the_given_order(database: Database, make: Make) -> None:
    customer, mitra = await make.person(), await make.person()
    await append(
        database,
        note("mitra", mitra, "a"),
        note("customer", customer, "b"),
        note("mitra", mitra, "c"),
        note("customer", mitra, "d"),
    )
    await append(database, note("mitra", mitra, "e"))
    assert await stored(database, "mitra", mitra) == [(1, "a"), (2, "c"), (3, "e")]
    assert await stored(database, "customer", customer) == [(1, "b")]
    assert await stored(database, "customer", mitra) == [(1, "d")]
    assert (await service.read_head(database, "mitra", mitra)).seq == 3
    assert await stored(database, "mitra", mitra, seq=2) == [(3, "e")]


async def test_the_published_frame_of_an_event_is_the_stored_frame(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    first, second = await make.person(), await make.person()
    await append(database, note("mitra", second, "satu"), note("customer", first, "dua ✓ \x00"))
    mitras, customers = published(signals)
    assert (mitras.role, mitras.user_id, mitras.seq) == ("mitra", second, 1)
    assert (customers.role, customers.user_id, customers.seq) == ("customer", first, 1)
    for signal in (mitras, customers):
        (event,) = await service.events_after(database, signal.role, signal.user_id, 0, 10)
        assert event.frame == signal.frame
    frame = json.loads(customers.frame)
    assert frame.pop("at").endswith("Z")
    assert frame == {"op": "event", "seq": 1, "type": "message.created", "data": {"text": "dua ✓ \x00"}}


async def test_events_are_published_after_the_commit_and_not_after_a_rollback(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    person = await make.person()
    async with database.transaction() as tx:
        await service.append(tx, [note("customer", person, "kept")])
        assert signals.published == []
        assert await stored(database, "customer", person) == []
    assert [signal.seq for signal in published(signals)] == [1]

    await append_and_fail(database, note("customer", person, "undone"))
    assert len(published(signals)) == 1
    await append(database, note("customer", person, "next"))
    assert await stored(database, "customer", person) == [(1, "kept"), (2, "next")]


async def test_appending_no_events_does_nothing(database: Database, signals: RecordedSignals) -> None:
    await append(database)
    assert signals.published == []


async def test_a_second_writer_reuses_the_number_of_a_writer_that_rolls_back(
    database: Database, make: Make
) -> None:
    """The second writer waits for the first writer."""
    person = await make.person()
    await append(database, note("customer", person, "one"))
    second: list[asyncio.Task[None]] = []

    async def second_waits() -> None:
        second.append(asyncio.create_task(append(database, note("customer", person, "two"))))
        while not await database.fetchval("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)"):
            assert not second[0].done()

    await append_and_fail(database, note("customer", person, "undone"), meanwhile=second_waits)
    await second[0]
    assert await stored(database, "customer", person) == [(1, "one"), (2, "two")]


@pytest.mark.invariant(10)
async def test_streams_have_no_gap_after_concurrent_appends_and_rollbacks(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    people = [await make.person() for _ in range(6)]
    streams: list[tuple[Role, UUID]] = [("customer", person) for person in people]
    streams += [("mitra", person) for person in people]
    committed: dict[tuple[Role, UUID], list[str]] = {stream: [] for stream in streams}

    async def write(writer: int) -> None:
        choose = random.Random(writer)
        for number in range(25):
            # Each transaction appends to several streams in random order. If `append` did not sort the locks, the
            # transactions would deadlock.
            events = [
                note(*choose.choice(streams), f"{writer}.{number}.{part}")
                for part in range(choose.randint(1, 5))
            ]
            if choose.random() < 0.2:
                await append_and_fail(database, *events)
                continue
            await append(database, *events)
            for event in events:
                assert isinstance(event.data, Note)
                committed[event.role, event.user_id].append(event.data.text)

    await asyncio.gather(*(write(writer) for writer in range(30)))

    by_stream: dict[tuple[Role, UUID], dict[int, str]] = {stream: {} for stream in streams}
    for signal in published(signals):
        by_stream[signal.role, signal.user_id][signal.seq] = json.loads(signal.frame)["data"]["text"]
    for stream in streams:
        in_database = await stored(database, *stream)
        assert [seq for seq, _ in in_database] == list(range(1, len(in_database) + 1))
        assert sorted(text for _, text in in_database) == sorted(committed[stream])
        assert (await service.read_head(database, *stream)).seq == len(in_database)
        assert by_stream[stream] == dict(in_database)


async def test_reading_the_head_creates_the_stream(database: Database, make: Make) -> None:
    person = await make.person()
    heads = await asyncio.gather(*(service.read_head(database, "mitra", person) for _ in range(20)))
    assert {head.seq for head in heads} == {0}
    assert len({head.epoch for head in heads}) == 1
    await append(database, note("mitra", person, "first"))
    head = await service.read_head(database, "mitra", person)
    assert (head.epoch, head.seq) == (heads[0].epoch, 1)


async def test_a_user_without_an_account_has_no_stream(database: Database) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await append(database, note("customer", UUID(int=1), "to nobody"))


async def test_new_events_continue_the_numbers_after_old_events_are_pruned(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    person = await make.person()
    await clock.set()
    await append(database, *(note("customer", person, str(number)) for number in range(5)))
    await clock.advance(seconds=12 * 3600)
    await append(database, note("customer", person, "later"))

    async with database.transaction() as tx:
        assert await service.prune(tx) == 0
    await clock.advance(seconds=12 * 3600 + 1)
    async with database.transaction() as tx:
        assert await service.prune(tx, max_events=3) == 3
    assert [seq for seq, _ in await stored(database, "customer", person)] == [4, 5, 6]
    async with database.transaction() as tx:
        assert await service.prune(tx) == 2
    assert await stored(database, "customer", person) == [(6, "later")]

    await clock.advance(seconds=24 * 3600)
    async with database.transaction() as tx:
        assert await service.prune(tx) == 1
    assert (await service.read_head(database, "customer", person)).seq == 6
    await append(database, note("customer", person, "after all"))
    assert await stored(database, "customer", person) == [(7, "after all")]


async def test_two_concurrent_prunings_delete_different_events(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    person = await make.person()
    await clock.set()
    await append(database, *(note("customer", person, str(number)) for number in range(6)))
    await clock.advance(seconds=24 * 3600 + 1)
    async with database.transaction() as first, database.transaction() as second:
        assert await service.prune(first, max_events=4) == 4
        assert await service.prune(second) == 2
