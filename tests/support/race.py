"""Runs races of two sides on real connections. The second side begins when the first side is about to commit.

A side is a command or a worker. A command runs a step in a separate transaction, and a worker fires a due deadline as
in production. The calls `race(a, b)` and `race(b, a)` test the two orders.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from curhat.deadlines import service as deadlines
from curhat.deadlines.service import FollowUp
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import set_pause_point
from curhat.payments.mock.gateway import MockGateway
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import Latch, in_own_transaction

Hold: TypeAlias = Callable[[], Awaitable[None]]
# A side does its work, awaits `hold` just before the commit, and returns its outcome.
Side: TypeAlias = Callable[[Hold], Awaitable[str]]


def command(
    database: Database, step: Callable[[Transaction], Awaitable[object]], *, held_at: str | None = None
) -> Side:
    """Return a side that runs a step in a separate transaction. The outcome is `done`, or the code of the error.

    The first side of a race is held just before its commit, or at the pause point `held_at`.
    """

    async def side(hold: Hold) -> str:
        async def held(tx: Transaction) -> None:
            if held_at is not None:
                set_pause_point(held_at, hold)
            await step(tx)
            if held_at is None:
                await hold()

        return await in_own_transaction(database, held)

    return side


def advance_before_commit(clock: VirtualClock, seconds: float, side: Side) -> Side:
    """Return a side that does the work of `side`, and advances the clock by `seconds` just before the commit."""

    async def later(hold: Hold) -> str:
        async def advance_then_hold() -> None:
            await clock.advance(seconds)
            await hold()

        return await side(advance_then_hold)

    return later


class Worker:
    """Fires one deadline at a time.

    The attribute `presence` has the connected mitras. The attribute `follow_ups` has the pending calls to outside
    services.
    """

    def __init__(self, database: Database, *connected: UUID) -> None:
        self.presence = FakePresence(*connected)
        self.follow_ups: list[FollowUp] = []
        self._database = database
        self._transitions = Transitions(
            database,
            self.presence,  # type: ignore[arg-type]
            MockGateway(database),
        ).by_kind()

    def fires(self, kind: str, generation: int | None = None) -> Side:
        """Fire the oldest due deadline of this kind, or the deadline of `generation`.

        The outcome is `fired`. If no such deadline exists or another worker has claimed the deadline, the outcome is
        `nothing`.
        """

        async def side(hold: Hold) -> str:
            async def once() -> None:
                set_pause_point("deadline.before_commit", None)
                await hold()

            set_pause_point("deadline.before_commit", once)
            deadline_id = await self._database.fetchval(
                "SELECT id FROM deadlines WHERE kind = $1 AND ($2::integer IS NULL OR generation = $2) "
                "AND due_at <= curhat_now() ORDER BY id LIMIT 1",
                kind,
                generation,
            )
            if deadline_id is None:
                return "nothing"
            fired = await deadlines.fire(self._database, deadline_id, self._transitions)
            failed = await self._database.fetchval(
                "SELECT last_error FROM deadlines WHERE id = $1", deadline_id
            )
            assert failed is None, failed
            if fired is None:
                return "nothing"
            if fired.follow_up is not None:
                self.follow_ups.append(fired.follow_up)
            return "fired"

        return side


async def race(
    database: Database,
    first: Side,
    second: Side,
    *,
    meanwhile: Callable[[], Awaitable[object]] | None = None,
    waits: bool = True,
) -> tuple[str, str]:
    """Run both sides and return their outcomes. The side `second` begins when the side `first` is about to commit.

    With `waits`, `second` must wait for a lock. Without `waits`, `second` must end without waiting for a lock.
    `meanwhile` runs before `first` commits.
    """
    latch = Latch()
    one = asyncio.create_task(_outcome(first(latch)))
    await _wait_for_either(one, latch.reached)
    assert not one.done(), f"the first side ended before its commit: {one.result()}"
    other = asyncio.create_task(_outcome(second(_do_not_hold)))
    if waits:
        await _wait_for_lock(database, other)
    else:
        await other
    if meanwhile is not None:
        await meanwhile()
    latch.open()
    return await one, await other


async def run_concurrently(*sides: Side) -> list[str]:
    """Run all sides at the same time without holding a side. Returns the outcomes of the sides."""
    return list(await asyncio.gather(*(side(_do_not_hold) for side in sides)))


async def _do_not_hold() -> None:
    return None


async def _outcome(side: Awaitable[str]) -> str:
    return await side


async def _wait_for_either(task: "asyncio.Task[str]", event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    waiting.cancel()


async def _wait_for_lock(database: Database, side: "asyncio.Task[str]") -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while not await database.fetchval(waiting):
            assert not side.done(), f"the second side waited for nobody: {side.result()}"
