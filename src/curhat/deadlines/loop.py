"""The worker's loop: sleep until something is due, at most 250 ms, then fire what is due, several at once.

A deadline that waits for a lock holds one lane, and a call to the outside holds none: neither keeps the loop from
looking again.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping

import structlog
from prometheus_client import Counter, Histogram

from curhat.deadlines import service
from curhat.deadlines.service import FollowUp, Transition
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

# The longest a worker sleeps: bounds how late a deadline can be that was armed while it slept.
LONGEST_SLEEP_SECONDS = 0.25
# Waking a little after the due time, not before it: a look too early finds nothing and costs a round trip.
SHORTEST_SLEEP_SECONDS = 0.002
# Deadlines of one worker that are fired at once.
LANES = 6
# Calls to the outside of one worker that are under way at once, and how long each may take: the next try, which its
# transition has armed, comes later than that.
FOLLOW_UPS = 20
FOLLOW_UP_SECONDS = 5.0

FIRED = Counter("curhat_deadlines_fired_total", "Deadlines that took effect", ["kind"])
LATE = Histogram(
    "curhat_deadline_late_seconds",
    "How long after its due time a deadline was claimed",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


class Loop:
    """What one worker has in hand."""

    def __init__(self, database: Database, transitions: Mapping[str, Transition]) -> None:
        self._database = database
        self._transitions = transitions
        self._in_hand: set[int] = set()
        self._lanes = asyncio.Semaphore(LANES)
        self._calls = asyncio.Semaphore(FOLLOW_UPS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.fired = 0
        self._woken = asyncio.Event()

    def wake(self, _payload: bytes = b"") -> None:
        """Handler of the signal `deadlines`: something is due now. Ends the sleep, or the next one at once."""
        self._woken.set()

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def look(self) -> bool:
        """Start firing what is due now and not in hand, as lanes become free. False: nothing new was due."""
        due = [found for found in await service.due(self._database) if found not in self._in_hand]
        for deadline_id in due:
            await self._lanes.acquire()
            self._in_hand.add(deadline_id)
            self._start(self._fire(deadline_id))
        return bool(due)

    async def run(self) -> None:
        """Fire deadlines until cancelled. PostgreSQL away for a while is waited out."""
        while True:
            try:
                if await self.look():
                    continue
                wait_seconds = await service.next_due_in_seconds(self._database)
            except DATABASE_AWAY as error:
                log.warning("deadlines.database_trouble", error=type(error).__name__)
                wait_seconds = None
            if wait_seconds is None:
                wait_seconds = LONGEST_SLEEP_SECONDS
            await self._sleep(min(max(wait_seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS))

    async def settle(self) -> None:
        """Wait for everything in hand."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fire(self, deadline_id: int) -> None:
        try:
            fired = await service.fire(self._database, deadline_id, self._transitions)
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
            return
        finally:
            self._in_hand.discard(deadline_id)
            self._lanes.release()
        if fired is None:
            return
        self.fired += 1
        FIRED.labels(fired.deadline.kind).inc()
        LATE.observe(fired.deadline.late_seconds)
        if fired.follow_up is not None:
            self._start(self._call(fired.follow_up, fired.deadline.kind))

    async def _call(self, follow_up: FollowUp, kind: str) -> None:
        async with self._calls:
            try:
                async with asyncio.timeout(FOLLOW_UP_SECONDS):
                    await follow_up()
            except Exception as error:  # noqa: BLE001  whatever it is, the armed deadline makes the call again
                log.warning("deadline.follow_up_failed", kind=kind, error=repr(error))


async def run_once(database: Database, transitions: Mapping[str, Transition]) -> int:
    """Fire everything that is due now, calls to the outside included; returns how many deadlines took effect."""
    loop = Loop(database, transitions)
    await loop.look()
    await loop.settle()
    return loop.fired
