"""The worker's loop: sleep until something is due, at most 250 ms, then fire what is due, several at once.

Due deadlines wait in due order in one of two queues, each with an executor. The batch executor takes the oldest
deadline and up to MAX_BATCH_DEADLINES of the same kind, and fires them in one transaction: the more are due, the fewer
transactions per deadline. The single executor fires one deadline per transaction: the kinds whose transition is not a
BatchTransition, and every deadline of a batch that failed. A deadline that waits long for a lock therefore occupies
only one place of the single executor, and a call to the outside occupies none. Neither delays the next look.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping

import structlog
from prometheus_client import Counter, Histogram

from curhat.deadlines import service
from curhat.deadlines.service import MAX_BATCH_DEADLINES, BatchTransition, Due, Fired, FollowUp, Transition
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

# The longest a worker sleeps: bounds how late a deadline can be that was armed while it slept.
LONGEST_SLEEP_SECONDS = 0.25
# What comes due within it shares a look and a transaction; nothing is later for it by more than that.
SHORTEST_SLEEP_SECONDS = 0.01
# Transactions of several deadlines that one worker has under way at once. More would make each of them smaller, which
# costs more than it brings: measured, with 6 the same windows were three times as late.
MAX_BATCHES_RUNNING = 2
# Transactions of one deadline that are under way at once beside them.
MAX_SINGLES_RUNNING = 4
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
        # Found due and not gone yet, whether waiting or under way.
        self._in_hand: set[int] = set()
        self._batch_queue: list[Due] = []
        self._single_queue: list[Due] = []
        self._batches_running = 0
        self._singles_running = 0
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
        """Begin to fire what is due now and not in hand. False: nothing new was due."""
        found = [due for due in await service.due(self._database) if due.id not in self._in_hand]
        self._in_hand.update(due.id for due in found)
        for due in found:
            is_batch = isinstance(self._transitions.get(due.kind), BatchTransition)
            (self._batch_queue if is_batch else self._single_queue).append(due)
        self._start_executors()
        return bool(found)

    async def run(self) -> None:
        """Fire deadlines until cancelled. PostgreSQL away for a while is waited out."""
        while True:
            try:
                found = await self.look()
                wait_seconds = 0.0 if found else await service.next_due_in_seconds(self._database)
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

    def _start_executors(self) -> None:
        for _ in range(min(len(self._batch_queue), MAX_BATCHES_RUNNING - self._batches_running)):
            self._batches_running += 1
            self._start(self._run_batches())
        for _ in range(min(len(self._single_queue), MAX_SINGLES_RUNNING - self._singles_running)):
            self._singles_running += 1
            self._start(self._run_singles())

    async def _run_batches(self) -> None:
        try:
            while self._batch_queue:
                await self._fire_batch(self._take_batch())
        finally:
            self._batches_running -= 1

    def _take_batch(self) -> list[Due]:
        """The oldest that waits, and those of its kind."""
        kind = self._batch_queue[0].kind
        taken = list(
            itertools.islice((due for due in self._batch_queue if due.kind == kind), MAX_BATCH_DEADLINES)
        )
        ids = {due.id for due in taken}
        self._batch_queue = [due for due in self._batch_queue if due.id not in ids]
        return taken

    async def _fire_batch(self, taken: list[Due]) -> None:
        transition = self._transitions[taken[0].kind]
        assert isinstance(transition, BatchTransition)  # as look() sorted them
        ids = [due.id for due in taken]
        fired: list[Fired] | None = []
        try:
            fired = await service.fire_batch(self._database, ids, transition)
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
        finally:
            if fired is None:
                self._single_queue += taken
                self._start_executors()
            else:
                self._in_hand.difference_update(ids)
        for each in fired or ():
            self._count(each)

    async def _run_singles(self) -> None:
        try:
            while self._single_queue:
                await self._fire_single(self._single_queue.pop(0))
        finally:
            self._singles_running -= 1

    async def _fire_single(self, due: Due) -> None:
        try:
            fired = await service.fire(self._database, due.id, self._transitions)
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
            return
        finally:
            self._in_hand.discard(due.id)
        if fired is not None:
            self._count(fired)

    def _count(self, fired: Fired) -> None:
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
