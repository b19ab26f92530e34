"""Test sockets on real servers: hello, resume, gaps, several devices, slow readers, and the end of a connection."""

import asyncio
import json
import random
import socket as network
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import valkey.asyncio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from curhat.dev.embedded import EmbeddedServers
from curhat.kit import signals as signals_module
from curhat.kit.database import Database, Executor
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Identity, Role
from curhat.kit.pause_points import set_pause_point
from curhat.realtime import hub as hub_module
from curhat.realtime import service
from curhat.realtime import sockets as sockets_module
from curhat.realtime.queries import StreamHead
from curhat.realtime.sockets import MAX_QUEUE_FRAMES
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.realtime import (
    Device,
    FakeHooks,
    Note,
    ServerProcess,
    append,
    card,
    digest_of,
    note,
    server_process,
    until,
)

StartProcess = Callable[..., Awaitable[ServerProcess]]


@pytest.fixture
async def start_process(
    database_url: str, servers: EmbeddedServers, valkey_client: object
) -> AsyncIterator[StartProcess]:
    """Yield a function that starts a server process. All processes end with the test."""
    del valkey_client  # The fixture empties Valkey.
    async with AsyncExitStack() as stack:

        async def start(hooks: FakeHooks | None = None, **options: object) -> ServerProcess:
            manager = server_process(database_url, servers.valkey_url, hooks, **options)  # type: ignore[arg-type]
            return await stack.enter_async_context(manager)

        yield start


@pytest.fixture
async def process(start_process: StartProcess) -> ServerProcess:
    """Start one server process.

    The hub sends pings and compares stream heads with PostgreSQL only when the test calls the hub.
    """
    return await start_process()


def one_period(count: hub_module._CountPerPerson) -> None:
    """Make the period of the count endless, because a new period during the test would reset the count."""
    count._period_seconds = float("inf")


# Hello ------------------------------------------------------------------------------------------------------


async def test_the_first_welcome_contains_the_head_and_later_events_follow(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    await append(process.database, note("customer", person, "before"))
    device = await Device("customer", person).open(process)
    welcome = await device.hello()
    assert welcome.pop("server_now").endswith("Z")
    head = await service.read_head(process.database, "customer", person)
    assert welcome == {"op": "welcome", "epoch": str(head.epoch), "seq": 1, "resumed": False}
    await append(process.database, note("customer", person, "after"), note("mitra", person, "not mine"))
    await append(process.database, note("customer", person, "last"))
    await device.read_until(3)
    assert device.applied == [(2, "after"), (3, "last")]


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_a_device_that_reconnects_gets_exactly_the_missed_events(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("mitra", person).start(process)
    await append(process.database, note("mitra", person, "seen"))
    await device.read_until(1)
    await device.cut_network()
    # Append more events than the queue of a socket can hold, and more events than one read can return.
    for number in range(3):
        await append(
            process.database, *(note("mitra", person, f"missed {number}.{part}") for part in range(200))
        )
    await device.open(process)
    welcome = await device.hello()
    assert (welcome["resumed"], welcome["seq"]) == (True, 601)
    await append(process.database, note("mitra", person, "live"))
    await device.read_until(602)
    assert [seq for seq, _ in device.applied] == list(range(1, 603))
    assert device.applied[-1] == (602, "live")


async def test_a_device_that_missed_nothing_resumes_without_events(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    await device.leave()
    await device.open(process)
    assert (await device.hello())["resumed"] is True
    await device.sync()
    assert device.applied == []


@pytest.mark.parametrize(
    ("epoch", "seq"),
    [(None, None), (None, 2), ("right", None), ("right", 4), ("right", -1), ("right", 2**70), ("wrong", 2)],
)
async def test_a_device_starts_at_the_head_when_its_stream_cannot_be_resumed(
    process: ServerProcess, make: Make, epoch: str | None, seq: int | None
) -> None:
    person = await make.person()
    await append(process.database, *(note("customer", person, str(number)) for number in range(3)))
    device = await Device("customer", person).open(process)
    if epoch == "right":
        epoch = str((await service.read_head(process.database, "customer", person)).epoch)
    device.epoch, device.seq = epoch, seq
    welcome = await device.hello()
    assert (welcome["resumed"], welcome["seq"]) == (False, 3)
    await append(process.database, note("customer", person, "next"))
    await device.read_until(4)
    assert device.applied == [(4, "next")]


async def test_a_client_cannot_resume_from_a_seq_before_a_pruned_event(
    process: ServerProcess, make: Make, clock: VirtualClock
) -> None:
    person = await make.person()
    await clock.set()
    await append(process.database, *(note("customer", person, str(number)) for number in range(3)))
    await clock.advance(seconds=24 * 3600 + 1)
    await append(process.database, note("customer", person, "3"))
    async with process.database.transaction() as tx:
        await service.prune(tx)
    epoch = str((await service.read_head(process.database, "customer", person)).epoch)
    for seq, resumed in ((2, False), (3, True), (4, True)):
        device = await Device("customer", person).open(process)
        device.epoch, device.seq = epoch, seq
        assert (await device.hello())["resumed"] is resumed
        await device.read_until(4)
        await device.leave()


async def test_the_server_answers_a_second_hello_with_the_events_after_the_seq_of_the_hello(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    await append(process.database, *(note("customer", person, str(number)) for number in range(5)))
    await device.read_until(5)
    device.seq = 2
    welcome = await device.hello()
    assert (welcome["resumed"], welcome["seq"]) == (True, 5)
    await append(process.database, note("customer", person, "5"))
    await device.read_until(6)
    assert [seq for seq, _ in device.applied] == [1, 2, 3, 4, 5, 3, 4, 5, 6]
    assert len(process.hooks.opened_connections) == 1


@pytest.mark.invariant(10)
@pytest.mark.parametrize("point", ["realtime.registered", "realtime.looked"])
@pytest.mark.parametrize("resumes", [True, False])
async def test_events_that_are_committed_while_the_server_answers_a_hello_are_sent_once(
    process: ServerProcess, make: Make, point: str, resumes: bool
) -> None:
    person = await make.person()
    await append(process.database, note("customer", person, "0"), note("customer", person, "1"))
    device = await Device("customer", person).open(process)
    if resumes:
        device.epoch = str((await service.read_head(process.database, "customer", person)).epoch)
        device.seq = 1

    async def append_meanwhile() -> None:
        set_pause_point(point, None)
        await append(process.database, note("customer", person, "2"), note("customer", person, "3"))
        # Wait until the hub has handled the signals. The hub answers the hello after handling the signals.
        await until(lambda: process.hub._feeds["customer"][person].head == 4)

    set_pause_point(point, append_meanwhile)
    await device.hello()
    await append(process.database, note("customer", person, "4"))
    await device.read_until(5)
    expected = list(range(2, 6)) if resumes else list(range(device.applied[0][0], 6))
    assert [seq for seq, _ in device.applied] == expected
    assert device.applied[0][0] in ({2} if resumes else {3, 5})


@pytest.mark.invariant(10)
async def test_an_event_that_is_committed_just_after_the_read_of_the_head_is_sent_once(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make.person()
    read_head = service.read_head

    async def read_head_then_append(db: Executor, role: Role, user_id: UUID) -> StreamHead:
        head = await read_head(db, role, user_id)
        await append(process.database, note("customer", person, "just after"))
        await until(lambda: process.hub._feeds["customer"][person].head == 1)
        return head

    monkeypatch.setattr(service, "read_head", read_head_then_append)
    device = await Device("customer", person).start(process)
    await device.read_until(1)


@pytest.mark.invariant(10)
async def test_a_hello_stops_a_running_read_of_missed_events(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    events_after = service.events_after
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(
        db: Executor, role: Role, user_id: UUID, seq: int, max_events: int
    ) -> list[service.StoredEvent]:
        monkeypatch.setattr(service, "events_after", events_after)
        begun.set()
        await goes_on.wait()
        return await events_after(db, role, user_id, seq, max_events)

    monkeypatch.setattr(service, "events_after", slow)
    process.signals.losing = True
    await append(process.database, note("customer", person, "1"), note("customer", person, "2"))
    process.signals.losing = False
    await append(process.database, note("customer", person, "3"))
    await begun.wait()
    assert (await device.hello())["resumed"] is True
    await device.read_until(3)
    goes_on.set()
    await until(lambda: not process.hub._tasks)
    await device.send("?")
    assert (await device.receive())["op"] == "error"
    await append(process.database, note("customer", person, "4"))
    await device.read_until(4)


async def test_a_device_starts_at_the_head_when_missed_events_are_deleted_during_their_read(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_EVENTS_PER_READ", 2)
    person = await make.person()
    await append(process.database, *(note("customer", person, str(number)) for number in range(6)))
    device = await Device("customer", person).open(process)
    device.epoch = str((await service.read_head(process.database, "customer", person)).epoch)
    device.seq = 0

    async def delete_events() -> None:
        set_pause_point("realtime.looked", None)
        await process.database.execute("DELETE FROM stream_events WHERE seq IN (3, 4)")

    set_pause_point("realtime.looked", delete_events)
    assert (await device.hello())["resumed"] is True
    anew = await device.next("welcome")
    assert (anew["resumed"], anew["seq"]) == (False, 6)
    assert [seq for seq, _ in device.applied] == [1, 2]
    device.seq = 6
    await append(process.database, note("customer", person, "6"))
    await device.read_until(7)


async def test_the_socket_closes_with_1013_when_postgresql_does_not_answer_a_hello(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError

    monkeypatch.setattr(service, "read_head", away)
    device = await Device("customer", await make.person()).open(process)
    await device.send({"op": "hello", "device_id": "d"})
    assert await device.close_code() == 1013
    await until(lambda: process.open_sockets() == 0)


# Gaps and devices -------------------------------------------------------------------------------------------


async def test_all_devices_of_a_user_at_two_processes_get_every_event_of_the_user(
    start_process: StartProcess, make: Make
) -> None:
    here, there = await start_process(), await start_process()
    person, other = await make.person(), await make.person()
    devices = [
        await Device("customer", person).start(here),
        await Device("customer", person).start(here),
        await Device("customer", person).start(there),
    ]
    stranger = await Device("customer", other).start(there)
    same_person_as_mitra = await Device("mitra", person).start(here)
    for number in range(20):
        process = (here, there)[number % 2]
        await append(process.database, note("customer", person, str(number)))
    for device in devices:
        await device.read_until(20)
        assert [text for _, text in device.applied] == [str(number) for number in range(20)]
    for device in (stranger, same_person_as_mitra):
        await device.sync()
        assert device.applied == []


async def test_the_comparison_with_postgresql_finds_an_event_whose_signal_was_lost(
    process: ServerProcess, make: Make
) -> None:
    behind, in_step = await make.person(), await make.person()
    device = await Device("customer", behind).start(process)
    other = await Device("mitra", in_step).start(process)
    process.signals.losing = True
    await append(process.database, note("customer", behind, "lost"), note("customer", behind, "lost too"))
    await device.sync()
    assert device.applied == []
    await process.compare()
    await device.read_until(2)
    process.signals.losing = False
    await append(process.database, note("customer", behind, "live"), note("mitra", in_step, "live"))
    await device.read_until(3)
    await other.read_until(1)


async def test_a_running_hub_periodically_compares_stream_heads_with_postgresql(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_PERIOD_SECONDS", 0.05)
    process = await start_process(runs=True)
    person = await make.person()
    device = await Device("customer", person).start(process)
    process.signals.losing = True
    await append(process.database, note("customer", person, "lost"))
    await device.read_until(1)
    process.hooks.revoked.add(digest_of(device.token))
    assert await device.close_code() == 4401


async def test_a_failed_comparison_is_repeated(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "COMPARE_PERIOD_SECONDS", 0.05)
    process = await start_process()
    person = await make.person()
    device = await Device("customer", person).start(process)
    failures = [asyncpg.ConnectionDoesNotExistError(), ZeroDivisionError()]
    compare_heads = process.hub.compare_heads

    async def fail_first() -> None:
        if failures:
            raise failures.pop()
        await compare_heads()

    monkeypatch.setattr(process.hub, "compare_heads", fail_first)
    process.signals.losing = True
    await append(process.database, note("customer", person, "lost"))
    running = asyncio.create_task(process.hub.run())
    await device.read_until(1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_next_event_makes_the_hub_read_an_event_whose_signal_was_lost(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    process.signals.losing = True
    await append(process.database, note("customer", person, "lost"))
    process.signals.losing = False
    await append(process.database, note("customer", person, "arrives"))
    await device.read_until(2)
    assert device.applied == [(1, "lost"), (2, "arrives")]


async def test_the_hub_repeats_a_failed_read_of_missed_events_at_the_next_comparison(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    events_after = service.events_after
    failed = asyncio.Event()

    async def away(*_: object) -> None:
        failed.set()
        raise asyncpg.ConnectionDoesNotExistError

    monkeypatch.setattr(service, "events_after", away)
    process.signals.losing = True
    await append(process.database, note("customer", person, "1"))
    process.signals.losing = False
    await append(process.database, note("customer", person, "2"))
    await failed.wait()
    monkeypatch.setattr(service, "events_after", events_after)
    await until(lambda: {socket.phase for socket in process.hub._all()} == {"live"})
    await process.compare()
    await device.read_until(2)


def count_signals(process: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that gets the channel of each signal that the process receives."""
    received: list[bytes] = []
    dispatch = process.signals._dispatch

    def counted(message: dict[str, bytes]) -> None:
        received.append(message["channel"])
        dispatch(message)

    monkeypatch.setattr(process.signals, "_dispatch", counted)
    return received


@pytest.mark.invariant(10)
async def test_a_process_receives_only_the_signals_of_the_people_whom_it_holds(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat between two people on two processes sends nothing to a third process."""
    processes = [await start_process() for _ in range(3)]
    customer, mitra, other = [await make.person() for _ in range(3)]
    first = await Device("customer", customer).start(processes[0])
    second = await Device("mitra", mitra).start(processes[1])
    await Device("customer", other).start(processes[2])
    received = [count_signals(process, monkeypatch) for process in processes]
    for number in range(20):
        await append(
            processes[0].database, note("customer", customer, str(number)), note("mitra", mitra, str(number))
        )
    await first.read_until(20)
    await second.read_until(20)
    assert set(received[0]) == {f"curhat:signal:person:customer:{customer}".encode()}
    assert set(received[1]) == {f"curhat:signal:person:mitra:{mitra}".encode()}
    assert received[2] == []

    # The mitra moves to the third process.
    await second.leave()
    await second.start(processes[2])
    await until(lambda: not processes[1].open_sockets())
    received[1].clear()
    await append(processes[0].database, note("mitra", mitra, "moved"))
    await second.read_until(21)
    assert received[1] == []
    assert received[2] == [f"curhat:signal:person:mitra:{mitra}".encode()]


@pytest.mark.invariant(10, 11)
async def test_the_processes_follow_their_people_again_after_valkey_has_lost_the_subscriptions(
    process: ServerProcess, make: Make, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    person, latecomer = await make.person(), await make.person()
    device = await Device("customer", person).start(process)
    await valkey_client.client_kill_filter(_type="pubsub")
    await until(lambda: not process.signals.subscribed.is_set())
    # A hello does not wait for the subscription.
    late = await Device("customer", latecomer).start(process)
    await append(process.database, note("customer", person, "lost"))
    await until(
        lambda: (
            all(each.done() for each in process.signals._followed.values())
            and process.signals.subscribed.is_set()
        )
    )
    await append(process.database, note("customer", latecomer, "arrives"))
    await late.read_until(1)
    # The next event shows that one was lost. Without it, the comparison of the heads does.
    await append(process.database, note("customer", person, "arrives"))
    await device.read_until(2)
    assert [text for _, text in device.applied] == ["lost", "arrives"]


async def test_a_process_of_the_previous_release_gets_every_signal(
    process: ServerProcess,
    make: Make,
    valkey_client: "valkey.asyncio.Valkey",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals_module, "RELEASE_CHECK_INTERVAL_SECONDS", 0.02)
    await until(lambda: not process.signals._tells_everybody)
    person = await make.person()
    device = await Device("customer", person).start(process)
    async with valkey_client.pubsub() as previous_release:
        # The previous release subscribes to this channel, and to none of a person.
        await previous_release.subscribe("curhat:signal:stream")
        await until(lambda: process.signals._tells_everybody)
        await append(process.database, note("customer", person, "for both"))
        await device.read_until(1)
        async with asyncio.timeout(5):
            while (message := await previous_release.get_message(timeout=1)) is None or message[
                "type"
            ] != "message":
                pass
        (signal,) = msgspec.msgpack.decode(message["data"], type=list[service.StreamSignal])
        assert signal.seq == 1
        # A process of the previous release publishes on this channel.
        await valkey_client.publish(
            "curhat:signal:stream",
            msgspec.msgpack.encode(
                [msgspec.structs.replace(signal, seq=2, frame=signal.frame.replace("1", "2", 1))]
            ),
        )
        await until(lambda: {each.seq for each in process.hub._all()} == {2})
    await until(lambda: not process.signals._tells_everybody)


async def test_doubled_and_reordered_signals_change_nothing(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    published: list[bytes] = []
    monkeypatch.setattr(process.signals, "publish", lambda _channel, payload: published.append(payload))
    for number in range(6):
        await append(process.database, note("customer", person, str(number)))
    for payload in (published[1], published[0], *reversed(published), *published):
        process.hub.handle_stream_signal(payload)
    await device.read_until(6)
    await device.sync()
    assert [text for _, text in device.applied] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.invariant(10)
@pytest.mark.parametrize("seed", range(3))
async def test_every_device_applies_every_event_in_order_despite_bad_signals_and_networks(
    start_process: StartProcess, database: Database, make: Make, seed: int
) -> None:
    choose = random.Random(seed)
    processes = [await start_process(), await start_process()]
    for process in processes:
        process.signals.chaos = random.Random(choose.random())
    people = [await make.person() for _ in range(4)]
    writers_done = asyncio.Event()

    async def write(number: int) -> None:
        own = random.Random(number * 1000 + seed)
        for part in range(15):
            targets = own.sample(people, own.randint(1, 3))
            await append(
                own.choice(processes).database,
                *(note("customer", target, f"{number}.{part}") for target in targets),
            )
            await asyncio.sleep(own.random() * 0.01)

    async def live(device: Device, number: int) -> None:
        own = random.Random(number * 7777 + seed)
        device.epoch = str((await service.read_head(database, "customer", device.user_id)).epoch)
        device.seq = 0
        while True:
            await device.start(own.choice(processes))
            stays_for = own.random() * 0.1
            with suppress(TimeoutError):
                async with asyncio.timeout(None if writers_done.is_set() else stays_for):
                    last_visit = writers_done.is_set()
                    head = (await service.read_head(database, "customer", device.user_id)).seq
                    await device.read_until(head if last_visit else -1)
                    return
            await (device.cut_network() if own.random() < 0.5 else device.leave())

    async def compare() -> None:
        while True:
            for process in processes:
                await process.compare()
            await asyncio.sleep(0.05)

    devices = [Device("customer", person) for person in people for _ in range(2)]
    comparing = asyncio.create_task(compare())
    living = [asyncio.create_task(live(device, number)) for number, device in enumerate(devices)]
    await asyncio.gather(*(write(number) for number in range(12)))
    writers_done.set()
    await asyncio.gather(*living)
    comparing.cancel()
    for device in devices:
        events = await service.events_after(database, "customer", device.user_id, 0, 10_000)
        assert len(events) > 10
        assert device.applied == [(event.seq, json.loads(event.frame)["data"]["text"]) for event in events]


# Pings ----------------------------------------------------------------------------------------------------------


async def test_mitras_are_pinged_every_3_seconds_and_customers_every_15_seconds(
    process: ServerProcess, make: Make, clock: VirtualClock
) -> None:
    """The pings to different sockets are spread over time."""
    person = await make.person()
    now = await clock.advance(seconds=0)
    await process.compare()
    await append(process.database, note("mitra", person, "one"))
    mitra = await Device("mitra", person).start(process)
    customer = await Device("customer", person).start(process)
    without_hello = await Device("mitra", person).open(process)

    process.run_ticks(3)
    ping = await mitra.receive()
    at = datetime.fromisoformat(ping.pop("server_now"))
    assert ping == {"op": "ping", "seq": 1}
    assert timedelta(0) <= at - now < timedelta(seconds=20)
    assert at.tzinfo == UTC
    process.run_ticks(12)
    assert (await customer.receive())["seq"] == 0
    for _ in range(4):
        assert (await mitra.receive())["op"] == "ping"
    for device in (mitra, customer, without_hello):
        await device.send("?")
        assert (await device.receive())["op"] == "error"

    others = [await Device("mitra", await make.person()).start(process) for _ in range(29)]
    slots = [len(slot) for slot in process.hub._slots["mitra"]]
    assert max(slots) <= 2
    process.run_ticks(3)
    for device in others:
        assert (await device.receive())["op"] == "ping"


async def test_a_client_that_learns_from_a_ping_that_it_missed_events_can_say_hello_and_resume(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    (socket,) = process.hub._all()
    socket.phase = "behind"  # In this phase the hub sends no events to the socket.
    await append(process.database, note("customer", person, "one"))
    await until(lambda: process.hub._feeds["customer"][person].head == 1)
    process.run_ticks(15)
    assert (await device.next("ping"))["seq"] == 1
    assert (await device.hello())["resumed"] is True
    await device.read_until(1)


async def test_every_frame_after_the_welcome_is_reported_to_the_hooks(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    identity = Identity(role="mitra", user_id=person)
    hooks = process.hooks
    device = await Device("mitra", person).open(process)
    await device.send({"op": "pong"})
    await device.sync()
    assert hooks.opened_connections == []
    await device.hello()
    await device.sync()
    ((opened, connection_id),) = hooks.opened_connections
    assert opened == identity
    before = hooks.frames[connection_id]
    await device.send({"op": "pong"})
    await device.send({"op": "signal", "type": "typing", "session_id": str(uuid4())})
    await device.send("not even JSON")
    await device.hello()
    await device.sync()
    # The hooks received the four frames above and the frame of `sync`.
    assert hooks.frames[connection_id] == before + 5
    assert process.hub.held("mitra") == {person}
    assert process.hub.held("customer") == set()
    await device.cut_network()
    await until(lambda: hooks.closed_connections == [(identity, connection_id)])
    assert process.hub.held("mitra") == set()


async def test_a_connection_without_a_hello_is_not_reported_to_the_hooks(
    process: ServerProcess, make: Make
) -> None:
    device = await Device("mitra", await make.person()).open(process)
    await device.leave()
    await until(lambda: process.open_sockets() == 0)
    assert process.hooks.opened_connections == process.hooks.closed_connections == []


# Unsequenced events -----------------------------------------------------------------------------------------


async def test_an_unsequenced_event_reaches_only_the_sockets_of_the_user_in_the_same_process(
    start_process: StartProcess, make: Make
) -> None:
    here, there = await start_process(), await start_process()
    person = await make.person()
    devices = [await Device("mitra", person).start(here) for _ in range(2)]
    elsewhere = await Device("mitra", person).start(there)
    here.hub.send_unsequenced(card(person, "card"))
    here.hub.send_unsequenced(card(await make.person(), "nobody's"))
    for device in devices:
        event = await device.next("event")
        assert event.pop("at").endswith("Z")
        assert event == {"op": "event", "seq": None, "type": "request.offered", "data": {"text": "card"}}
    await elsewhere.send("?")
    assert (await elsewhere.receive())["op"] == "error"


async def test_an_event_that_is_sent_during_the_hello_arrives_after_the_welcome(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    process.hooks.extras[Identity(role="mitra", user_id=person)] = {"requests": [Note("open")]}

    async def meanwhile() -> None:
        process.hub.send_unsequenced(card(person, "closed"))

    set_pause_point("realtime.looked", meanwhile)
    device = await Device("mitra", person).open(process)
    assert (await device.hello())["requests"] == [{"text": "open"}]
    assert (await device.receive())["data"] == {"text": "closed"}


async def test_the_socket_closes_with_4409_when_too_many_events_wait_for_the_welcome(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()

    async def meanwhile() -> None:
        for _ in range(MAX_QUEUE_FRAMES + 1):
            process.hub.send_unsequenced(card(person, "card"))

    set_pause_point("realtime.looked", meanwhile)
    device = await Device("mitra", person).open(process)
    await device.send({"op": "hello", "device_id": "d"})
    assert await device.close_code() == 4409


async def test_typing_signals_reach_the_other_side_at_most_once_per_2_seconds_and_are_never_stored(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = FakeHooks()
    here, there = await start_process(hooks), await start_process(hooks)
    customer, mitra, session = await make.person(), await make.person(), uuid4()
    hooks.counterparts[Identity("customer", customer), session] = Identity("mitra", mitra)
    typist = await Device("customer", customer).start(here)
    own_other_device = await Device("customer", customer).start(here)
    readers = [await Device("mitra", mitra).start(here), await Device("mitra", mitra).start(there)]
    typing = {"op": "signal", "type": "typing", "session_id": str(session)}

    for _ in range(5):
        await typist.send(typing)
    await typist.sync()
    assert hooks.typing_questions == 1
    await typist.send({**typing, "session_id": str(uuid4())})
    await typist.sync()
    assert hooks.typing_questions == 2
    # The event is the next frame, so the server sent no other frame before the event.
    await append(here.database, note("mitra", mitra, "after"))
    for reader in readers:
        assert await reader.receive() == typing
        assert (await reader.receive())["op"] == "event"
    assert await here.database.fetchval("SELECT count(*) FROM stream_events") == 1

    monkeypatch.setattr(sockets_module, "TYPING_PERIOD_SECONDS", 0.0)
    await typist.send(typing)
    for reader in readers:
        assert await reader.receive() == typing
    await own_other_device.send("?")
    assert (await own_other_device.receive())["op"] == "error"


async def test_a_typing_signal_before_the_hello_is_not_forwarded(process: ServerProcess, make: Make) -> None:
    device = await Device("customer", await make.person()).open(process)
    await device.send({"op": "signal", "type": "typing", "session_id": str(uuid4())})
    await device.sync()
    assert process.hooks.typing_questions == 0


# Slow readers -----------------------------------------------------------------------------------------------------


def narrow_socket(process: ServerProcess) -> network.socket:
    """Return a client's TCP socket with a small receive buffer."""
    narrow = network.socket()
    narrow.setsockopt(network.SOL_SOCKET, network.SO_RCVBUF, 8192)
    narrow.connect(("127.0.0.1", process.port))
    narrow.setblocking(False)
    return narrow


async def open_slow(device: Device, process: ServerProcess) -> Device:
    """Connect a client that reads only when the test requests a read."""
    return await device.start(process, sock=narrow_socket(process), max_queue=1)


@pytest.mark.invariant(10)
async def test_a_slow_client_resumes_without_loss_after_its_socket_closed_with_4409(
    start_process: StartProcess, make: Make
) -> None:
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    slow = await open_slow(Device("customer", person), process)
    quick = await Device("customer", person).start(process)
    (slow_socket, _) = sorted(process.hub._all(), key=lambda socket: socket.slot)
    written = 0
    while slow_socket.close_code is None:
        assert written < 2000, "the queue has no bound"
        await append(process.database, *(note("customer", person, "x" * 4000) for _ in range(20)))
        written += 20
        # The slow device does not delay the quick device.
        await quick.read_until(written)
    assert slow_socket.close_code == 4409
    with pytest.raises(ConnectionClosed):
        await slow.read_until(written + 1)
    assert slow.connection.close_code == 4409
    assert slow.seq is not None
    assert slow.seq < written
    await slow.open(process)
    assert (await slow.hello())["resumed"] is True
    await append(process.database, note("customer", person, "live"))
    await slow.read_until(written + 1)
    assert [seq for seq, _ in slow.applied] == list(range(1, written + 2))


async def test_the_queue_of_a_socket_has_a_limit_in_bytes(start_process: StartProcess, make: Make) -> None:
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    device = await open_slow(Device("mitra", person), process)
    (socket,) = process.hub._all()
    for _ in range(60):
        process.hub.send_unsequenced(card(person, "x" * 40_000))
        if socket.close_code is not None:
            break
    assert socket.close_code == 4409
    await device.cut_network()


async def test_a_client_that_reads_nothing_is_disconnected(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "CLOSE_TIMEOUT_SECONDS", 0.05)
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    device = await open_slow(Device("mitra", person), process)
    while process.hub.held("mitra"):
        process.hub.send_unsequenced(card(person, "x" * 40_000))
        await asyncio.sleep(0)
    await until(lambda: len(process.hooks.closed_connections) == 1)
    await device.cut_network()


async def test_the_socket_of_a_client_that_stops_reading_missed_events_is_closed_with_4409(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "STALL_TIMEOUT_SECONDS", 0.05)
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    await append(process.database, *(note("customer", person, "x" * 4000) for _ in range(400)))
    device = Device("customer", person)
    device.epoch = str((await service.read_head(process.database, "customer", person)).epoch)
    device.seq = 0
    await open_slow(device, process)
    (socket,) = process.hub._all()
    await until(lambda: socket.close_code is not None)
    assert socket.close_code == 4409
    with pytest.raises(ConnectionClosed):
        await device.read_until(400)
    assert device.connection.close_code == 4409


async def test_a_slow_client_that_keeps_reading_gets_every_missed_event(
    start_process: StartProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The events are more data than the network buffers can take.
    monkeypatch.setattr(hub_module, "MAX_REPLAYED_BYTES", 2 * 1024 * 1024)
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    await append(process.database, *(note("customer", person, "x" * 4000) for _ in range(400)))
    device = Device("customer", person)
    device.epoch = str((await service.read_head(process.database, "customer", person)).epoch)
    device.seq = 0
    await open_slow(device, process)
    (socket,) = process.hub._all()
    await until(lambda: socket.has_backlog)
    await append(process.database, note("customer", person, "meanwhile"))
    await device.read_until(401)
    assert device.applied[-1] == (401, "meanwhile")


async def test_a_welcomed_client_can_say_hello_again_while_its_queue_is_full(
    start_process: StartProcess, make: Make
) -> None:
    process = await start_process(send_buffer_bytes=8192)
    person = await make.person()
    device = await open_slow(Device("customer", person), process)
    (socket,) = process.hub._all()
    for _ in range(10):
        await append(process.database, *(note("customer", person, "x" * 4000) for _ in range(10)))
    await until(lambda: socket.has_backlog)
    assert (await device.hello())["resumed"] is True
    await device.read_until(100)
    assert [seq for seq, _ in device.applied] == list(range(1, 101))


# Closed sockets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_a_socket_without_a_valid_token_is_closed_with_4401(process: ServerProcess, role: Role) -> None:
    device = await Device(role, uuid4(), token="nobody").open(process)
    assert await device.close_code() == 4401
    assert process.open_sockets() == 0


async def test_signing_out_closes_the_sockets_of_the_revoked_token_with_4401(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    gone = [await Device("customer", person, f"{person}.phone").start(process) for _ in range(2)]
    stays = await Device("customer", person, f"{person}.tablet").start(process)
    process.hub.close_tokens({digest_of(f"{person}.phone")})
    for device in gone:
        assert await device.close_code() == 4401
    await append(process.database, note("customer", person, "still here"))
    await stays.read_until(1)


async def test_the_method_close_user_closes_the_sockets_of_one_role_before_and_after_the_hello(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    welcomed = await Device("mitra", person).start(process)
    silent = await Device("mitra", person).open(process)
    customer = await Device("customer", person).start(process)
    process.hub.close_user("mitra", person)
    assert await welcomed.close_code() == 4401
    assert await silent.close_code() == 4401
    await customer.sync()


async def test_a_signed_out_user_counts_as_disconnected_before_the_client_answers_the_close_frame(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    device = await Device("mitra", person).start(process)
    ((identity, connection_id),) = process.hooks.opened_connections
    process.hub.close_user("mitra", person)
    assert not process.hub.holds(identity)
    await asyncio.sleep(0)
    assert process.open_sockets() == 1
    assert process.hooks.closed_for_good == [connection_id]
    assert await device.close_code() == 4401
    await until(lambda: process.open_sockets() == 0)
    assert process.hooks.closed_connections == [(identity, connection_id)]


async def test_the_sockets_of_a_revoked_token_close_even_if_the_signal_was_lost(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_USERS_PER_COMPARISON", 2)
    people = [await make.person() for _ in range(5)]
    devices = [await Device("customer", person).start(process) for person in people]
    process.hooks.revoked = {digest_of(devices[0].token), digest_of(devices[3].token)}
    await process.compare()
    assert await devices[0].close_code() == 4401
    assert await devices[3].close_code() == 4401
    for device in (devices[1], devices[2], devices[4]):
        await device.sync()


async def test_a_socket_without_a_hello_within_5_seconds_is_closed_with_4408(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub_module.HELLO_TIMEOUT_SECONDS == 5
    person = await make.person()
    in_time = await Device("customer", person).open(process)
    monkeypatch.setattr(hub_module, "HELLO_TIMEOUT_SECONDS", 0)
    late = await Device("customer", person).open(process)
    said_hello = await Device("customer", person).start(process)
    await late.send({"op": "pong"})
    await late.sync()
    # The hub checks the sockets in order, and stops at the first socket that still has time. The socket `in_time` has 5
    # s left, so move this socket behind the socket `late`.
    process.hub._awaiting_hello.rotate(-1)
    process.hub.tick()
    assert await late.close_code() == 4408
    await in_time.hello()
    await said_hello.sync()


async def test_the_socket_of_a_client_that_sends_no_frame_for_too_long_is_closed_with_4408(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await Device("mitra", await make.person()).start(process)
    process.run_ticks(3)
    assert (await device.receive())["op"] == "ping"
    monkeypatch.setattr(hub_module, "SILENCE_TIMEOUT_SECONDS", -1)
    process.run_ticks(3)
    assert await device.close_code() == 4408


@pytest.mark.parametrize("frame", ["a" * 65_537, "é" * 32_769, b"a" * 65_537, "a" * 1_000_000])
async def test_a_frame_over_64_kib_closes_the_socket_with_4413(
    process: ServerProcess, make: Make, frame: str | bytes
) -> None:
    device = await Device("customer", await make.person()).start(process)
    with suppress(ConnectionClosed):
        await device.send(frame)
    assert await device.close_code() == 4413


async def test_a_frame_of_64_kib_does_not_close_the_socket(process: ServerProcess, make: Make) -> None:
    device = await Device("customer", await make.person()).start(process)
    await device.send("a" * 65_536)
    assert (await device.receive())["op"] == "error"


async def test_a_flood_of_frames_closes_the_socket_with_4429_but_a_burst_keeps_the_socket_open(
    process: ServerProcess, make: Make
) -> None:
    device = await Device("customer", await make.person()).start(process)
    for _ in range(90):
        await device.send({"op": "pong"})
    await device.sync()
    with suppress(ConnectionClosed):
        for _ in range(500):
            await device.send({"op": "pong"})
    assert await device.close_code() == 4429


async def test_an_unreadable_frame_is_answered_with_an_error_and_counts_against_the_frame_limit(
    process: ServerProcess, make: Make
) -> None:
    device = await Device("customer", await make.person()).open(process)
    await device.send('{"op": "subscribe", "to": "everything"}')
    error = await device.receive()
    assert (error["op"], error["code"]) == ("error", "validation_failed")
    assert error["detail"]
    await device.send(b"\xff")
    assert (await device.receive())["op"] == "error"
    await device.hello()
    with suppress(ConnectionClosed):
        for _ in range(500):
            await device.send("{")
    assert await device.close_code() == 4429


async def _pings(connection: ClientConnection) -> None:
    for _ in range(500):
        await connection.ping()


async def _pongs(connection: ClientConnection) -> None:
    for _ in range(500):
        await connection.pong()


async def _empty_pieces(connection: ClientConnection) -> None:
    await connection.send([""] * 500)


@pytest.mark.parametrize("flood", [_pings, _pongs, _empty_pieces])
async def test_frames_that_the_application_never_sees_count_against_the_frame_limit(
    process: ServerProcess, make: Make, flood: Callable[[ClientConnection], Awaitable[None]]
) -> None:
    device = await Device("customer", await make.person()).start(process)
    with suppress(ConnectionClosed):
        await flood(device.connection)
    assert await device.close_code() == 4429
    await until(lambda: process.open_sockets() == 0)


async def test_a_text_frame_with_invalid_utf8_closes_the_socket_and_logs_nothing(
    process: ServerProcess, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    device = await Device("customer", await make.person()).start(process)
    bad_text, ping = b"\x81\x81\0\0\0\0\xff", b"\x89\x80\0\0\0\0"
    device.connection.transport.write(bad_text + ping + bad_text)
    assert await device.close_code() == 1007
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_the_sixth_hello_within_ten_seconds_closes_the_socket_with_4429(
    process: ServerProcess, make: Make
) -> None:
    device = await Device("customer", await make.person()).open(process)
    for _ in range(5):
        await device.hello()
    await device.send({"op": "hello", "device_id": "device"})
    assert await device.close_code() == 4429


@pytest.mark.parametrize("says_hello", [True, False])
async def test_an_eleventh_socket_of_a_person_closes_the_oldest_socket_with_4429(
    process: ServerProcess, make: Make, says_hello: bool
) -> None:
    person = await make.person()
    devices = []
    for _ in range(12):
        device = await Device("customer", person).open(process)
        if says_hello:
            await device.hello()
        devices.append(device)
    other = await Device("mitra", person).start(process)
    assert [await device.close_code() for device in devices[:2]] == [4429, 4429]
    for device in (*devices[2:], other):
        await device.sync()


async def test_a_client_that_has_missed_more_events_than_the_bound_does_not_resume(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_REPLAYED_EVENTS", 150)
    person = await make.person()
    device = await Device("customer", person).start(process)
    for seq, missed, resumed in ((0, 150, True), (150, 151, False)):
        await device.cut_network()
        await append(process.database, *(note("customer", person, str(number)) for number in range(missed)))
        await device.open(process)
        assert (await device.hello())["resumed"] is resumed
        await device.read_until(seq + missed)
    assert len(device.applied) == 150


async def test_a_client_that_has_missed_more_bytes_than_the_bound_does_not_resume(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_REPLAYED_BYTES", 250_000)
    person = await make.person()
    device = await Device("customer", person).start(process)
    for seq, missed, resumed in ((0, 60, True), (60, 90, False)):
        await device.cut_network()
        await append(process.database, *(note("customer", person, "x" * 4_000) for _ in range(missed)))
        await device.open(process)
        assert (await device.hello())["resumed"] is resumed
        await device.read_until(seq + missed)


async def test_a_long_replay_that_exceeds_the_bound_ends_with_a_welcome_that_does_not_resume(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_REPLAYED_BYTES", 250_000)
    person = await make.person()
    device = await Device("customer", person).start(process)
    await device.cut_network()
    for size in (10, 10_000):
        await append(process.database, *(note("customer", person, "x" * size) for _ in range(100)))
    await append(process.database, note("customer", person, "last"))
    await device.open(process)
    assert (await device.hello())["resumed"] is True
    await device.read_until(200)
    welcome = await device.next("welcome")
    assert (welcome["resumed"], welcome["seq"]) == (False, 201)


async def test_no_client_resumes_while_the_process_holds_too_many_missed_events(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make.person()
    device = await Device("customer", person).start(process)
    await device.cut_network()
    await append(process.database, note("customer", person, "missed"))
    monkeypatch.setattr(hub_module, "MAX_REPLAYING_BYTES", 0)
    await device.open(process)
    assert (await device.hello())["resumed"] is False
    monkeypatch.undo()
    device.seq = 0
    assert (await device.hello())["resumed"] is True
    assert process.hub._replaying_bytes == 0


@pytest.mark.rule("X.13")
async def test_the_number_of_hellos_of_a_person_is_bounded_across_many_sockets(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_HELLOS_PER_PERSON", 3)
    one_period(process.hub._hellos)
    person = await make.person()
    device = Device("customer", person)
    for _ in range(3):
        await device.start(process)
        await device.leave()
    await device.open(process)
    await device.send({"op": "hello", "epoch": device.epoch, "seq": 0, "device_id": "device"})
    assert await device.close_code() == 4429
    await Device("customer", await make.person()).start(process)


@pytest.mark.rule("X.13")
async def test_a_person_who_has_read_too_many_missed_events_must_fetch_the_state(
    process: ServerProcess, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MAX_REPLAYED_BYTES_PER_PERSON", 1_000)
    one_period(process.hub._replayed_bytes)
    person, other = await make.person(), await make.person()
    device = await Device("customer", person).start(process)
    await append(process.database, note("customer", person, "x" * 600))
    await device.read_until(1)
    resumed = []
    for _ in range(3):
        device.seq = 0
        resumed.append((await device.hello())["resumed"])
    assert resumed == [True, True, False]
    theirs = await Device("customer", other).start(process)
    await append(process.database, note("customer", other, "x"))
    await theirs.read_until(1)
    theirs.seq = 0
    assert (await theirs.hello())["resumed"] is True


async def test_a_draining_process_closes_every_open_and_every_new_socket_with_1012(
    process: ServerProcess, make: Make
) -> None:
    person = await make.person()
    devices = [await Device("mitra", person).start(process), await Device("customer", person).open(process)]
    await process.hub.drain()
    for device in devices:
        assert await device.close_code() == 1012
    assert process.open_sockets() == 0
    assert len(process.hooks.closed_connections) == 1
    late = await Device("mitra", person).open(process)
    assert await late.close_code() == 1012


async def test_a_device_whose_server_closes_with_1012_resumes_at_the_next_server(
    start_process: StartProcess, make: Make
) -> None:
    person = await make.person()
    old = await start_process()
    device = await Device("customer", person).start(old)
    await append(old.database, note("customer", person, "before"))
    await device.read_until(1)
    closing = asyncio.create_task(device.close_code())
    await old.stop()
    assert await closing == 1012
    new = await start_process()
    await append(new.database, note("customer", person, "between"))
    await device.open(new)
    assert (await device.hello())["resumed"] is True
    await device.read_until(2)


async def test_a_failed_authentication_lookup_closes_the_socket_with_1013(process: ServerProcess) -> None:
    process.hooks.authentication_error = PresenceUnknown()
    assert await (await Device("customer", uuid4()).open(process)).close_code() == 1013
    process.hooks.authentication_error = TimeoutError()
    assert await (await Device("customer", uuid4()).open(process)).close_code() == 1013


async def test_an_internal_error_closes_the_socket_with_1011(process: ServerProcess, make: Make) -> None:
    process.hooks.authentication_error = ZeroDivisionError()
    assert await (await Device("customer", uuid4()).open(process)).close_code() == 1011
    process.hooks.authentication_error = None
    device = await Device("customer", await make.person()).start(process)
    process.hooks.typing_error = ZeroDivisionError()
    await device.send({"op": "signal", "type": "typing", "session_id": str(uuid4())})
    assert await device.close_code() == 1011
    await until(lambda: len(process.hooks.closed_connections) == 1)


async def test_a_socket_on_an_unknown_path_is_refused(
    process: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.realtime.PATHS", {"/api/client/other": "customer"})
    with pytest.raises(InvalidStatus) as refusal:
        await Device("customer", UUID(int=1)).open(process)
    assert refusal.value.response.status_code == 403
