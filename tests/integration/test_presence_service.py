"""Test the presence service: toggle, leases, capacity, suspension, and the updates of Valkey from PostgreSQL."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import structlog
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.journeys.availability import others_available
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.presence import service
from curhat.presence.schemas import MitraPresence
from curhat.presence.service import (
    MIN_MITRAS_PER_STEP,
    Presence,
    announce,
    mitra_state,
    release_places,
    set_intent,
)
from curhat.presence.store import AVAILABLE_KEY
from tests.support.people import Make
from tests.support.presence_hooks import IGNORED_HOOKS, ignore


async def change(database: Database, mitra: UUID, assignment: str) -> None:
    """Change a mitra's row and send no signal. The function simulates a lost signal of another process."""
    await database.execute(f"UPDATE mitras SET {assignment} WHERE id = $1", mitra)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until the condition holds. Fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(*processes: Presence) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(presence.run()) for presence in processes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def presence_with(client: "valkey.asyncio.Valkey", database: Database, **hooks: Any) -> Presence:
    """Return a Presence with these hooks."""
    return Presence(client, database, msgspec.structs.replace(IGNORED_HOOKS, **hooks))


@pytest.fixture
def offered() -> "asyncio.Queue[list[UUID]]":
    """Return a queue that receives each list of mitras from the hook `newly_available` of `presence`."""
    return asyncio.Queue()


@pytest.fixture
def device_messages() -> list[tuple[UUID, MitraPresence]]:
    """Return a list that receives each pair (mitra, presence) that `presence` sends to devices."""
    return []


@pytest.fixture
def presence(
    valkey_client: "valkey.asyncio.Valkey",
    database: Database,
    offered: "asyncio.Queue[list[UUID]]",
    device_messages: list[tuple[UUID, MitraPresence]],
) -> Presence:
    async def offer(mitra_ids: list[UUID]) -> bool:
        offered.put_nowait(mitra_ids)
        return True

    return presence_with(
        valkey_client,
        database,
        newly_available=offer,
        presence_changed=lambda mitra_id, shown: device_messages.append((mitra_id, shown)),
    )


class Sink:
    """Forwards signals to a Presence, as app/wiring.py does."""

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        self.payloads: list[bytes] = []

    def publish(self, channel: str, payload: bytes) -> None:
        if channel == service.SIGNAL:
            self.payloads.append(payload)
            self.presence.mitra_changed(payload)


@pytest.fixture
def sink(presence: Presence, database: Database) -> Sink:
    database.sink = sink = Sink(presence)
    return sink


# Available mitras ----------------------------------------------------------------------------------------


@pytest.mark.rule("1.1")
async def test_an_online_mitra_is_available_immediately_after_connecting(
    presence: Presence, make: Make
) -> None:
    mitra = await make.mitra()
    assert not await presence.may_be_asked(mitra)

    await presence.opened(mitra, "phone")

    assert await presence.may_be_asked(mitra)
    assert await presence.is_connected(mitra)
    assert await presence.ask_candidates() == [mitra]
    assert await presence.count_available() == 1


WHAT_TAKES_A_MITRA_OUT = {
    "intent": ("online = false", "online = true"),
    "suspension": ("suspended_at = curhat_now()", "suspended_at = NULL"),
    "at capacity": ("active_sessions = 2", "active_sessions = 1"),
    "less room": ("max_customers = 1", "max_customers = 2"),
}


@pytest.mark.rule("1.1")
@pytest.mark.parametrize(("out", "back"), WHAT_TAKES_A_MITRA_OUT.values(), ids=WHAT_TAKES_A_MITRA_OUT.keys())
async def test_a_mitra_who_cannot_take_a_customer_is_not_available(
    presence: Presence, database: Database, out: str, back: str, make: Make
) -> None:
    mitra = await make.mitra(max_customers=2)
    await change(database, mitra, "active_sessions = 1")
    await presence.opened(mitra, "phone")
    assert await presence.count_available() == 1

    await change(database, mitra, out)
    assert await presence.refresh([mitra]) == {}

    assert await presence.count_available() == 0
    assert await presence.ask_candidates() == []
    assert not await presence.may_be_asked(mitra)
    assert await presence.is_connected(mitra) == ("suspended_at" not in out)

    await change(database, mitra, back)
    await presence.refresh([mitra])
    presence.frame_received(mitra, "phone")
    await presence.flush()
    assert list(await presence.refresh([mitra])) == [mitra]
    assert await presence.count_available() == 1


@pytest.mark.rule("5.6")
async def test_a_mitra_without_a_socket_is_not_connected_during_a_session(
    presence: Presence, database: Database, make: Make
) -> None:
    mitra = await make.mitra(max_customers=2)
    await change(database, mitra, "active_sessions = 1")
    await presence.refresh([mitra])

    assert not await presence.is_connected(mitra)
    assert not await presence.may_be_asked(mitra)


@pytest.mark.rule("5.6")
async def test_a_mitra_counts_as_connected_for_three_seconds_after_the_socket_closed(
    presence: Presence, make: Make
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    closed_at = time.monotonic()
    await presence.closed(mitra, "phone")
    assert await presence.is_connected(mitra)
    assert await presence.may_be_asked(mitra)

    async def gone() -> bool:
        return not await presence.is_connected(mitra)

    await until(gone)

    assert 2.9 <= time.monotonic() - closed_at <= 4.5
    assert not await presence.may_be_asked(mitra)


@pytest.mark.rule("5.6")
async def test_a_mitra_whose_token_has_ended_is_disconnected_without_the_wait_of_three_seconds(
    presence: Presence, make: Make
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    await presence.opened(mitra, "tablet")
    await presence.closed(mitra, "phone", may_come_back=False)
    assert await presence.is_connected(mitra)
    await presence.closed(mitra, "tablet", may_come_back=False)
    assert not await presence.is_connected(mitra)
    assert not await presence.may_be_asked(mitra)


@pytest.mark.rule("5.6")
async def test_presence_repeats_the_report_of_a_closed_socket_if_valkey_did_not_get_the_first_report(
    presence: Presence, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")

    async def unreachable(_reports: object) -> set[UUID]:
        raise PresenceUnknown

    with monkeypatch.context() as outage:
        outage.setattr(presence._store, "report", unreachable)
        await presence.closed(mitra, "phone")
    await presence.flush()

    async def gone() -> bool:
        return not await presence.may_be_asked(mitra)

    await until(gone, seconds=4.5)


@pytest.mark.rule("5.6")
async def test_a_frame_after_the_close_of_its_connection_changes_nothing(
    presence: Presence, make: Make
) -> None:
    mitra = await make.mitra()
    presence.frame_received(mitra, "phone")
    await presence.flush()
    assert not await presence.is_connected(mitra)

    await presence.opened(mitra, "phone")
    await presence.closed(mitra, "phone")
    await presence.closed(mitra, "phone")
    presence.frame_received(mitra, "phone")
    await presence.flush()

    async def gone() -> bool:
        return not await presence.is_connected(mitra)

    await until(gone, seconds=4.5)


@pytest.mark.rule("1.1")
async def test_a_lease_ends_unless_a_frame_renews_it(presence: Presence, make: Make) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    # Simulate a phone that sent its last frame 11.8 s ago.
    connection = presence._mitras[mitra].connections["phone"]
    connection.last_frame -= 11.8
    await presence._store._execute("DEL", f"curhat:mitra:{mitra}", AVAILABLE_KEY)
    await presence.reconcile()
    assert await presence.may_be_asked(mitra)
    assert not await presence.is_connected(mitra)

    presence.frame_received(mitra, "phone")
    await presence.flush()
    assert await presence.is_connected(mitra)

    connection.last_frame -= 12
    await presence._store._execute("DEL", f"curhat:mitra:{mitra}", AVAILABLE_KEY)
    await presence.reconcile()
    assert not await presence.may_be_asked(mitra)


@pytest.mark.rule("1.1")
async def test_a_mitra_is_connected_while_any_process_holds_a_lease(
    valkey_client: "valkey.asyncio.Valkey", database: Database, make: Make
) -> None:
    one, other = presence_with(valkey_client, database), presence_with(valkey_client, database)
    mitra, second = await make.mitra(), await make.mitra()
    await one.opened(mitra, "phone")
    await other.opened(mitra, "tablet")
    await other.opened(second, "phone")
    await one.closed(mitra, "phone")

    for process in (one, other):
        assert set(await process.ask_candidates()) == {mitra, second}
        assert await process.is_connected(mitra)


@pytest.mark.rule("2b.6")
async def test_many_mitras_who_reconnect_at_the_same_time_are_available_immediately(
    servers: EmbeddedServers, valkey_client: "valkey.asyncio.Valkey", database: Database, make: Make
) -> None:
    mitras = await make.mitras(300)
    # The client can open at most two connections to Valkey. Presence uses one of the two connections for queries.
    async with contextlib.aclosing(
        valkey.asyncio.Valkey.from_url(servers.valkey_url, max_connections=2)
    ) as client:
        presence = presence_with(client, database)
        with structlog.testing.capture_logs() as logs:
            await asyncio.gather(*(presence.opened(mitra, "phone") for mitra in mitras))
        assert set(await presence.ask_candidates()) == set(mitras)
        await asyncio.gather(*(presence.closed(mitra, "phone") for mitra in mitras))
        assert presence._unreported == set()
        assert logs == []
    assert await valkey_client.zcard(AVAILABLE_KEY) == len(mitras)


# The toggle ----------------------------------------------------------------------------------------------


async def test_the_toggle_returns_the_new_state(database: Database, sink: Sink, make: Make) -> None:
    mitra = await make.mitra(online=False, max_customers=3)
    async with database.transaction() as tx:
        state = await set_intent(tx, mitra, True, ignore)

    assert state.online
    assert state.can_take_customer
    assert state.max_customers == 3
    assert state == await mitra_state(database, mitra)
    assert sink.payloads == [msgspec.json.encode([mitra])]


async def test_the_hook_is_called_only_when_the_toggle_changed(database: Database, make: Make) -> None:
    heard: list[tuple[UUID, bool]] = []

    async def hook(tx: Transaction, mitra_id: UUID, online: bool) -> None:
        assert await tx.connection.fetchval("SELECT online FROM mitras WHERE id = $1", mitra_id) is online
        heard.append((mitra_id, online))

    mitra = await make.mitra(online=False)
    for online in (True, True, False, False):
        async with database.transaction() as tx:
            await set_intent(tx, mitra, online, hook)

    assert heard == [(mitra, True), (mitra, False)]


async def test_the_hook_is_called_once_for_two_equal_concurrent_toggles(
    database: Database, make: Make
) -> None:
    heard: list[bool] = []

    async def hook(_tx: Transaction, _mitra_id: UUID, online: bool) -> None:
        heard.append(online)

    mitra = await make.mitra(online=True)

    async def second() -> None:
        async with database.transaction() as tx:
            await set_intent(tx, mitra, False, hook)

    async with database.transaction() as first:
        await set_intent(first, mitra, False, hook)
        waiting = asyncio.create_task(second())

        async def second_waits() -> bool:
            return bool(await database.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

        await until(second_waits)
    await waiting

    assert heard == [False]
    assert (await mitra_state(database, mitra)).availability_version == 2


async def test_the_toggle_stays_unchanged_when_the_hook_refuses(
    database: Database, sink: Sink, make: Make
) -> None:
    async def refuse(_tx: Transaction, _mitra_id: UUID, _online: bool) -> None:
        raise NotFound

    mitra = await make.mitra()
    with pytest.raises(NotFound):
        async with database.transaction() as tx:
            await set_intent(tx, mitra, False, refuse)

    assert (await mitra_state(database, mitra)).online
    assert sink.payloads == []


async def test_a_user_who_is_not_a_mitra_has_no_toggle(database: Database) -> None:
    with pytest.raises(NotFound):
        async with database.transaction() as tx:
            await set_intent(tx, uuid4(), True, ignore)
    with pytest.raises(NotFound):
        await mitra_state(database, uuid4())


@pytest.mark.invariant(8)
async def test_the_number_of_active_sessions_never_falls_below_zero(
    presence: Presence, database: Database, sink: Sink, make: Make
) -> None:
    mitra = await make.mitra()
    await change(database, mitra, "active_sessions = 1")
    await presence.opened(mitra, "phone")
    assert await presence.count_available() == 0

    async with database.transaction() as tx:
        await release_places(tx, [mitra])
    assert sink.payloads == [msgspec.json.encode([mitra])]
    assert list(await presence.refresh([mitra])) == [mitra]
    with pytest.raises(Exception, match="active_sessions"):
        async with database.transaction() as tx:
            await release_places(tx, [mitra])


# Following PostgreSQL ------------------------------------------------------------------------------------


async def test_a_state_that_was_read_before_a_toggle_does_not_overwrite_the_new_toggle(
    presence: Presence, database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    read_before = await mitra_state(database, mitra)
    await change(database, mitra, "online = false")
    await presence.refresh([mitra])

    await presence._store.apply([read_before])

    assert not await presence.may_be_asked(mitra)


@pytest.mark.invariant(11)
async def test_the_next_heartbeat_rebuilds_a_wiped_valkey(
    presence: Presence, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    mitra = await make.mitra()
    async with running(presence):
        await presence.opened(mitra, "phone")
        await valkey_client.flushall()
        with pytest.raises(PresenceUnknown):
            await presence.count_available()
        presence.frame_received(mitra, "phone")

        async def back() -> bool:
            with contextlib.suppress(PresenceUnknown):
                return await presence.ask_candidates() == [mitra]
            return False

        await until(back)


@pytest.mark.invariant(11)
async def test_a_wiped_valkey_is_rebuilt_without_a_heartbeat(
    presence: Presence, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    mitras = {await make.mitra() for _ in range(3)}
    for mitra in mitras:
        await presence.opened(mitra, "phone")
    await presence.flush()
    await valkey_client.flushall()

    await presence.reconcile()

    assert set(await presence.ask_candidates()) == mitras
    # A customer may search again, as soon as somebody is there.
    assert await others_available(presence, uuid4())


@pytest.mark.invariant(11)
async def test_reconciling_reads_every_mitra_in_small_batches(
    database: Database, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    mitras = await make.mitras(2 * MIN_MITRAS_PER_STEP + 1)
    steps: list[set[UUID]] = []

    async def last_one_leaves(mitra_ids: list[UUID]) -> bool:
        if not steps:
            await process.closed(mitras[-1], "phone")
        steps.append(set(mitra_ids))
        return True

    process = presence_with(valkey_client, database, newly_available=last_one_leaves)
    for mitra in mitras:
        await process.opened(mitra, "phone")
    await valkey_client.flushall()

    await process.reconcile()

    assert steps == [
        set(mitras[:MIN_MITRAS_PER_STEP]),
        set(mitras[MIN_MITRAS_PER_STEP : 2 * MIN_MITRAS_PER_STEP]),
    ]
    assert set(await process.ask_candidates()) >= set(mitras[:-1])


async def test_reconciling_finds_a_change_whose_signal_from_another_process_was_lost(
    presence: Presence, database: Database, make: Make
) -> None:
    leaving, coming = await make.mitra(), await make.mitra(online=False)
    async with running(presence):
        await presence.opened(leaving, "phone")
        await presence.opened(coming, "phone")
        assert await presence.ask_candidates() == [leaving]
        await change(database, leaving, "online = false")
        await change(database, coming, "online = true")

        async def found() -> bool:
            return await presence.ask_candidates() == [coming]

        await until(found)


@pytest.mark.rule("2b.6")
async def test_presence_offers_the_open_blasts_to_a_mitra_who_becomes_available(
    presence: Presence, offered: "asyncio.Queue[list[UUID]]", database: Database, sink: Sink, make: Make
) -> None:
    mitra = await make.mitra(online=False)
    async with running(presence):
        await presence.opened(mitra, "phone")
        await presence.reconcile()
        assert offered.empty()
        # This process committed the toggle, so Presence makes the offer immediately.
        async with database.transaction() as tx:
            await set_intent(tx, mitra, True, ignore)
        async with asyncio.timeout(1):
            assert await offered.get() == [mitra]
        # The mitra stays available, so there is nothing more to offer.
        await presence.reconcile()
        assert offered.empty()
        # Another version is enough: the mitra was offline for a moment that no process has seen.
        await change(database, mitra, "online = false")
        await change(database, mitra, "online = true")
        async with asyncio.timeout(5):
            assert await offered.get() == [mitra]
    assert sink.payloads


@pytest.mark.rule("2b.6")
@pytest.mark.invariant(12)
async def test_an_offer_is_repeated_until_a_process_has_completed_it(
    database: Database, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    mitra = await make.mitra()
    outcomes: list[bool | RuntimeError] = [False, RuntimeError("killed"), True]
    calls = 0

    async def offer(mitra_ids: list[UUID]) -> bool:
        nonlocal calls
        assert mitra_ids == [mitra]
        outcome = outcomes[calls]
        calls += 1
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    incomplete = presence_with(valkey_client, database, newly_available=offer)
    await incomplete.opened(mitra, "phone")
    await incomplete.reconcile()
    with pytest.raises(RuntimeError):
        await incomplete.reconcile()
    # The process dies, and the mitra's phone connects to another process.
    other = presence_with(valkey_client, database, newly_available=offer)
    await other.opened(mitra, "phone again")
    await other.reconcile()
    await other.reconcile()
    assert calls == len(outcomes)


@pytest.mark.rule("2b.6")
async def test_a_mitra_who_becomes_available_during_an_offer_is_offered_again(
    database: Database, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    mitra = await make.mitra()
    calls = 0

    async def offer(_mitra_ids: list[UUID]) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            # The offer has perhaps read the blasts before this change.
            await change(database, mitra, "online = false")
            await change(database, mitra, "online = true")
            await elsewhere.refresh([mitra])
        return True

    elsewhere = presence_with(valkey_client, database)
    presence = presence_with(valkey_client, database, newly_available=offer)
    await presence.opened(mitra, "phone")
    for _ in range(3):
        await presence.reconcile()
    assert calls == 2


@pytest.mark.rule("2b.6")
async def test_presence_offers_the_open_blasts_to_a_mitra_who_connects(
    presence: Presence, offered: "asyncio.Queue[list[UUID]]", make: Make
) -> None:
    mitra = await make.mitra()
    async with running(presence):
        await presence.opened(mitra, "phone")
        async with asyncio.timeout(1):
            assert await offered.get() == [mitra]


async def test_the_loops_continue_after_a_failed_offer(
    database: Database, valkey_client: "valkey.asyncio.Valkey", make: Make
) -> None:
    calls: asyncio.Queue[list[UUID]] = asyncio.Queue()

    async def fail(mitra_ids: list[UUID]) -> bool:
        calls.put_nowait(mitra_ids)
        raise RuntimeError("pairing has a fault")

    presence = presence_with(valkey_client, database, newly_available=fail)
    mitra = await make.mitra()
    with structlog.testing.capture_logs() as logs:
        async with running(presence), asyncio.timeout(10):
            await presence.opened(mitra, "phone")
            for _ in range(3):
                assert await calls.get() == [mitra]
    assert {entry["event"] for entry in logs} == {"presence.step_failed"}


async def test_devices_get_each_change_of_presence_once(
    presence: Presence, device_messages: list[tuple[UUID, MitraPresence]], database: Database, make: Make
) -> None:
    """A new device gets the current state."""
    mitra, elsewhere = await make.mitra(), await make.mitra()
    await presence.opened(mitra, "phone")
    device_messages.clear()
    online = MitraPresence(online=True, connected=True, active_sessions=0, max_customers=1)

    await presence.refresh([mitra, elsewhere])
    await presence.refresh([mitra, elsewhere])
    assert device_messages == [(mitra, online)]

    await change(database, mitra, "online = false")
    await presence.refresh([mitra, elsewhere])
    await presence.refresh([mitra, elsewhere])
    assert device_messages[1:] == [(mitra, msgspec.structs.replace(online, online=False))]

    await presence.opened(mitra, "tablet")
    await presence.refresh([mitra])
    assert device_messages[2:] == [(mitra, msgspec.structs.replace(online, online=False))]


async def test_the_server_corrects_a_wrong_report_of_a_disconnected_mitra(
    presence: Presence,
    device_messages: list[tuple[UUID, MitraPresence]],
    valkey_client: "valkey.asyncio.Valkey",
    make: Make,
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    device_messages.clear()
    # Simulate a refresh that asked Valkey before the socket opened and that reports its result now.
    await valkey_client.flushall()
    await presence.refresh([mitra])

    await presence.reconcile()
    await presence.reconcile()

    assert [shown.connected for _, shown in device_messages] == [False, True]


async def test_changes_of_many_mitras_in_one_transaction_cause_one_refresh(
    presence: Presence, offered: "asyncio.Queue[list[UUID]]", database: Database, make: Make
) -> None:
    mitras = {await make.mitra() for _ in range(20)}
    for mitra in mitras:
        await presence.opened(mitra, "phone")
    database.sink = Sink(presence)
    async with database.transaction() as tx:
        for mitra in mitras:
            announce(tx, [mitra])

    await presence.refresh_waiting()

    assert offered.qsize() == 1
    assert set(await offered.get()) == mitras


# Last seen -----------------------------------------------------------------------------------------------


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7, 12)
async def test_frames_that_arrived_while_the_process_was_stopped_count_as_old(
    presence: Presence, make: Make
) -> None:
    """A phone sends its last frames and then dies.

    The server is stopped while the phone sends these frames. After the stop, the server reads these frames.
    """
    mitra, stopped_seconds = await make.mitra(), 30.0
    await presence.opened(mitra, "phone")
    await presence.watch_for_pauses()
    for connection in presence._mitras[mitra].connections.values():
        connection.last_frame -= stopped_seconds
    presence._awake_at -= stopped_seconds

    presence.frame_received(mitra, "phone")
    await presence.watch_for_pauses()
    presence.frame_received(mitra, "phone")
    connection = presence._mitras[mitra].connections["phone"]
    assert time.monotonic() - connection.last_frame >= stopped_seconds

    presence._old_until = time.monotonic()
    presence.frame_received(mitra, "phone")
    await presence.flush()
    assert (await presence.frame_ages([mitra]))[mitra][0].last_frame < 1


async def test_the_field_last_seen_has_the_time_of_the_last_frame(
    presence: Presence, database: Database, make: Make
) -> None:
    """When the service writes the last-seen time, the availability version stays the same."""
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    connection = presence._mitras[mitra].connections["phone"]
    presence._unwritten_last_seen.clear()
    presence.frame_received(mitra, "phone")
    connection.last_frame -= 5
    await presence.flush()
    await presence.write_last_seen()

    row = await database.fetchrow(
        "SELECT extract(epoch FROM curhat_now() - last_seen_at)::float8 AS age, availability_version FROM mitras"
    )
    assert row is not None
    assert 5 <= row["age"] < 6
    assert row["availability_version"] == 1


async def test_the_field_last_seen_is_written_after_an_immediate_disconnect_and_never_moves_back(
    presence: Presence, database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")
    await presence.closed(mitra, "phone")
    await presence.write_last_seen()
    first = await database.fetchval("SELECT last_seen_at FROM mitras")
    assert first is not None

    presence._unwritten_last_seen[mitra] = time.monotonic() - 60
    await presence.write_last_seen()
    assert await database.fetchval("SELECT last_seen_at FROM mitras") == first
    assert presence._unwritten_last_seen == {}


async def test_the_update_of_the_field_last_seen_skips_locked_rows(
    presence: Presence, database: Database, make: Make
) -> None:
    held, free = await make.mitra(), await make.mitra()
    await presence.opened(held, "phone")
    await presence.opened(free, "phone")
    async with database.transaction() as tx:
        await tx.execute("SELECT FROM mitras WHERE id = $1 FOR NO KEY UPDATE", held)
        async with asyncio.timeout(2):
            await presence.write_last_seen()
    seen = "SELECT id FROM mitras WHERE last_seen_at IS NOT NULL"
    assert [row["id"] for row in await database.fetch(seen)] == [free]

    await presence.write_last_seen()
    assert {row["id"] for row in await database.fetch(seen)} == {held, free}


@pytest.mark.parametrize("turns", range(0, 120, 7))
async def test_the_loops_can_be_cancelled_at_any_step(presence: Presence, make: Make, turns: int) -> None:
    await presence.opened(await make.mitra(), "phone")
    task = asyncio.create_task(presence.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task


# Without PostgreSQL --------------------------------------------------------------------------------------


async def test_leases_are_renewed_while_postgresql_is_down(
    presence: Presence, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mitra = await make.mitra()
    await presence.opened(mitra, "phone")

    async def refuse() -> None:
        raise ConnectionRefusedError("PostgreSQL is away")

    monkeypatch.setattr(database, "_acquire", refuse)
    with structlog.testing.capture_logs() as logs:
        async with running(presence):
            await presence.closed(mitra, "phone")
            await presence.opened(mitra, "tablet")

            async def logged() -> bool:
                return any(entry["event"] == "presence.database_failed" for entry in logs)

            await until(logged)
            presence.frame_received(mitra, "tablet")
            await presence.flush()
            assert await presence.is_connected(mitra)


async def test_a_mitra_is_shown_as_disconnected_while_presence_is_unknown(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    async with contextlib.aclosing(valkey.asyncio.Valkey(port=1)) as nowhere:
        presence = presence_with(nowhere, database)
        await presence.opened(mitra, "phone")
        presence.frame_received(mitra, "phone")
        shown = await presence.view(await mitra_state(database, mitra))
        assert shown == MitraPresence(online=True, connected=False, active_sessions=0, max_customers=1)
        for question in (presence.count_available(), presence.ask_candidates(), presence.refresh([mitra])):
            with pytest.raises(PresenceUnknown):
                await question
        await presence.closed(mitra, "phone")
