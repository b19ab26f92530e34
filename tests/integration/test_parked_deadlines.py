"""Test which failures use up the tries of a deadline, and how a parked deadline becomes due again."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from curhat.app.cli.main import main
from curhat.deadlines import loop as deadline_loop
from curhat.deadlines import queries, service
from curhat.deadlines.loop import Loop, run_once
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import BatchTransition, FollowUp, Transition
from curhat.kit.database import CommitUnknown, Database, Transaction
from curhat.kit.errors import PresenceUnknown
from tests.support.clock import VirtualClock

KIND = "a_kind"

# PostgreSQL itself raises each error, so each SQLSTATE is real.
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = '{}'; END $$"
OF_THE_SURROUNDINGS = [
    "08006",  # connection_failure
    "25006",  # read_only_sql_transaction
    "53100",  # disk_full
    "53200",  # out_of_memory
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "40P01",  # deadlock_detected
    "57014",  # query_canceled
    "57P01",  # admin_shutdown
    "58030",  # io_error
]
OF_ITS_OWN = ["23505", "22012", "42P01", "P0001"]


def raising(error: Exception) -> Transition:
    """A transition that always raises this error."""

    async def fail(_tx: Transaction, _deadline: Deadline) -> FollowUp | None:
        raise error

    return fail


def raising_state(sqlstate: str) -> Transition:
    """A transition with a statement that always fails with this SQLSTATE."""

    async def fail(tx: Transaction, _deadline: Deadline) -> FollowUp | None:
        await tx.execute(RAISE.format(sqlstate))
        return None

    return fail


def taking_effect(fired: list[Deadline]) -> Transition:
    """A transition that records its deadline."""

    async def note(_tx: Transaction, deadline: Deadline) -> FollowUp | None:
        fired.append(deadline)
        return None

    return note


async def arm(database: Database, clock: VirtualClock, kind: str = KIND) -> None:
    async with database.transaction() as tx:
        await service.arm(tx, kind, uuid4(), await clock.now())


async def fail_repeatedly(database: Database, clock: VirtualClock, transition: Transition) -> None:
    """Make twice as many tries as the maximum number of failures of a deadline."""
    for _ in range(2 * service.MAX_ATTEMPTS):
        await run_once(database, {KIND: transition})
        await clock.advance(31)


@pytest.mark.rule("X.1")
@pytest.mark.invariant(12)
@pytest.mark.parametrize("sqlstate", OF_THE_SURROUNDINGS)
async def test_a_fault_of_the_surroundings_never_uses_up_a_try_of_a_deadline(
    database: Database, clock: VirtualClock, sqlstate: str
) -> None:
    await clock.set()
    await arm(database, clock)
    await fail_repeatedly(database, clock, raising_state(sqlstate))
    assert await database.fetchval("SELECT attempts FROM deadlines") == 0
    fired: list[Deadline] = []
    await run_once(database, {KIND: taking_effect(fired)})
    assert len(fired) == 1


@pytest.mark.invariant(12)
@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(), TimeoutError(), CommitUnknown(), PresenceUnknown(), asyncpg.InterfaceError("")],
    ids=repr,
)
async def test_a_lost_connection_never_uses_up_a_try_of_a_deadline(
    database: Database, clock: VirtualClock, error: Exception
) -> None:
    await clock.set()
    await arm(database, clock)
    await fail_repeatedly(database, clock, raising(error))
    assert await database.fetchval("SELECT attempts FROM deadlines") == 0
    assert await queries.count_parked_deadlines(database) == 0


@pytest.mark.rule("X.1")
@pytest.mark.parametrize("sqlstate", OF_ITS_OWN)
async def test_a_deadline_whose_own_step_fails_is_parked_and_tried_again_every_hour(
    database: Database, clock: VirtualClock, sqlstate: str
) -> None:
    await clock.set()
    await arm(database, clock)
    await fail_repeatedly(database, clock, raising_state(sqlstate))
    (parked,) = await queries.list_parked_deadlines(database, max_deadlines=10)
    assert parked.attempts == service.MAX_ATTEMPTS
    await clock.advance(service.PARKED_RETRY_SECONDS)
    await run_once(database, {KIND: raising_state(sqlstate)})
    (still,) = await queries.list_parked_deadlines(database, max_deadlines=10)
    assert (still.attempts, still.parked_at) == (parked.attempts + 1, parked.parked_at)
    # A later version of the code has mended the fault.
    fired: list[Deadline] = []
    await run_once(database, {KIND: taking_effect(fired)})
    assert not fired
    await clock.advance(service.PARKED_RETRY_SECONDS)
    await run_once(database, {KIND: taking_effect(fired)})
    assert len(fired) == 1
    assert await queries.count_parked_deadlines(database) == 0


@pytest.mark.invariant(12)
@pytest.mark.parametrize(
    "wrap", [lambda one: one, lambda one: BatchTransition(batch_of(one))], ids=["single", "batch"]
)
async def test_deadlines_are_tried_once_per_second_and_none_is_lost_while_postgresql_cannot_write(
    database: Database,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    wrap: Callable[[Transition], Transition],
) -> None:
    """When a disk is full, for example, PostgreSQL can write neither the transition nor the postponement."""
    monkeypatch.setattr(deadline_loop, "AWAY_RETRY_SECONDS", 0.2)
    await clock.set()
    for _ in range(8):
        await arm(database, clock)
    tries = 0
    fired: list[Deadline] = []
    full = True

    async def write(tx: Transaction, deadline: Deadline) -> FollowUp | None:
        nonlocal tries
        if full:
            tries += 1
            await tx.execute(RAISE.format("53100"))
        fired.append(deadline)
        return None

    async def postpone(*_arguments: object, **_named: object) -> None:
        raise asyncpg.exceptions.DiskFullError("no space left on device")

    monkeypatch.setattr(queries, "postpone_deadline", postpone)
    running = asyncio.create_task(Loop(database, {KIND: wrap(write)}).run())
    async with asyncio.timeout(10):
        await asyncio.sleep(0.5)  # The time is the condition: how often the loop tries in it.
        assert 1 <= tries <= 8 * 4
        full = False
        while len(fired) < 8:
            await asyncio.sleep(0.01)
    running.cancel()
    assert await database.fetchval("SELECT count(*) FROM deadlines") == 0


def batch_of(one: Transition) -> Callable[[Transaction, object], Awaitable[None]]:
    """A batch transition that runs `one` for each deadline."""

    async def run(tx: Transaction, deadlines: object) -> None:
        assert isinstance(deadlines, list)
        for deadline in deadlines:
            await one(tx, deadline)

    return run


async def test_the_command_lists_parked_deadlines_and_makes_them_due_with_new_tries(
    database: Database,
    database_url: str,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CURHAT_ENVIRONMENT", "development")
    monkeypatch.setenv("CURHAT_DATABASE_URL", database_url)
    monkeypatch.setenv("CURHAT_VALKEY_URL", "valkey://127.0.0.1:1/0")

    async def command(*words: str) -> tuple[int, str]:
        status = await asyncio.to_thread(main, ["deadlines", *words])
        return status, capsys.readouterr().out

    assert await command("list") == (0, "no deadline is parked\n")
    await clock.set()
    await arm(database, clock)
    await fail_repeatedly(database, clock, raising_state("P0001"))
    (parked,) = await queries.list_parked_deadlines(database, max_deadlines=10)
    status, listed = await command("list")
    assert status == 0
    assert f"{parked.id}  {KIND}  {parked.entity_id}  10 tries" in listed
    assert "RaiseError: a fault" in listed
    assert await command("retry", "0") == (1, "0 is not parked\n")
    assert (await command("retry", str(parked.id)))[0] == 0
    row = await database.fetchrow("SELECT attempts, parked_at FROM deadlines")
    assert row is not None
    assert tuple(row) == (0, None)
    fired: list[Deadline] = []
    await run_once(database, {KIND: taking_effect(fired)})
    assert len(fired) == 1
    assert await command("retry", "--all") == (0, "no deadline is parked\n")
