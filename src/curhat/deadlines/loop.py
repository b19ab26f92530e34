"""The worker's loop: sleep until something is due, at most 250 ms, then fire what is due, several at once.

What is due waits in the order in which it was due. A lane takes the oldest, and with it those of the same kind that can
go in one transaction: the more is due, the fewer transactions. When one of them fails, each goes on alone. A deadline
that waits for a lock holds one lane, and a call to the outside holds none: neither keeps the loop from looking again.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping

import structlog
from prometheus_client import Counter, Histogram

from curhat.deadlines import service
from curhat.deadlines.service import TOGETHER_LIMIT, Due, Fired, FollowUp, Together, Transition
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

# The longest a worker sleeps: bounds how late a deadline can be that was armed while it slept.
LONGEST_SLEEP_SECONDS = 0.25
# What comes due within it shares a look and a transaction; nothing is later for it by more than that.
SHORTEST_SLEEP_SECONDS = 0.01
# Transactions of one worker that are under way at once.
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
        # Found due and not gone yet, whether waiting or under way.
        self._in_hand: set[int] = set()
        self._waiting: list[Due] = []
        # Of those that wait: failed together with others, to be fired each in a transaction of its own.
        self._alone: set[int] = set()
        self._lanes = 0
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
        self._waiting += found
        self._open_lanes()
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

    def _open_lanes(self) -> None:
        while self._waiting and self._lanes < LANES:
            self._lanes += 1
            self._start(self._lane(self._take()))

    async def _lane(self, taken: list[Due]) -> None:
        try:
            while taken:
                try:
                    await self._fire(taken)
                finally:
                    self._in_hand.difference_update(due.id for due in taken if due.id not in self._alone)
                taken = self._take()
        finally:
            self._lanes -= 1

    def _take(self) -> list[Due]:
        """The oldest that waits, and those that can go with it. Nothing: none waits."""
        taken = self._waiting[:1]
        if taken and self._together(taken[0]) is not None:
            kind = taken[0].kind
            with_it = (due for due in self._waiting if due.kind == kind and due.id not in self._alone)
            taken = list(itertools.islice(with_it, TOGETHER_LIMIT))
        ids = {due.id for due in taken}
        self._waiting = [due for due in self._waiting if due.id not in ids]
        return taken

    def _together(self, due: Due) -> Together | None:
        transition = self._transitions.get(due.kind)
        return transition if isinstance(transition, Together) and due.id not in self._alone else None

    async def _fire(self, taken: list[Due]) -> None:
        together = self._together(taken[0])
        try:
            if together is None:
                self._alone.discard(taken[0].id)
                one = await service.fire(self._database, taken[0].id, self._transitions)
                fired = [] if one is None else [one]
            else:
                several = await service.fire_together(self._database, [due.id for due in taken], together)
                if several is None:
                    self._each_alone(taken)
                fired = several or []
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
            return
        for each in fired:
            self._count(each)

    def _each_alone(self, taken: list[Due]) -> None:
        self._alone.update(due.id for due in taken)
        self._waiting = taken + self._waiting
        self._open_lanes()

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
