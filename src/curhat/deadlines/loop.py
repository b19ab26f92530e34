"""The worker's loop sleeps at most 250 ms, reads the due deadlines, and fires several deadlines at the same time.

Due deadlines wait in due order in one of two queues. Each queue has an executor.
The batch executor takes the oldest deadline and further deadlines of the same kind. The batch executor fires up to
MAX_BATCH_DEADLINES deadlines in one transaction. So if more deadlines are due, there are fewer transactions per
deadline. The single executor fires one deadline per transaction. The single executor gets the kinds whose transition is
not a BatchTransition, and every deadline of a batch that failed.
Each kind has its own single executor, which fires up to MAX_SINGLES_RUNNING deadlines at the same time. A transition
that waits long for a lock occupies one place of its own kind, so the other kinds do not wait. A call to an external
service occupies no executor. Each kind has its own queue of calls, of limited length. So a gateway that does not answer
delays neither a push nor the calls of another kind. The loop never waits for a lock or a call before it reads the due
deadlines again.
"""

import asyncio
import collections
import contextlib
from collections import defaultdict, deque
from collections.abc import Coroutine, Iterable, Mapping

import structlog
from prometheus_client import Counter, Gauge, Histogram

from curhat.deadlines import queries, service
from curhat.deadlines.metrics import INTERRUPTED
from curhat.deadlines.queries import DueDeadline
from curhat.deadlines.service import BatchTransition, Fired, FollowUp, Transition
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

# A deadline that is armed while the worker sleeps fires at most MAX_SLEEP_SECONDS late.
MAX_SLEEP_SECONDS = 0.25
# The worker sleeps at least MIN_SLEEP_SECONDS, so that it can read and fire several deadlines together. The sleep
# delays each deadline by at most MIN_SLEEP_SECONDS.
MIN_SLEEP_SECONDS = 0.01
# How many batches one worker runs at the same time. A higher limit makes each batch smaller. Under the same load,
# deadlines fired three times as late with a limit of 6 as with a limit of 2.
MAX_BATCHES_RUNNING = 2
# How many single deadlines of one kind one worker fires at the same time, beside the batches.
MAX_SINGLES_RUNNING = 2
# How often the loop reads the parked deadlines whose next try is due.
PARKED_LOOK_SECONDS = 10.0
# If PostgreSQL is away, a deadline can neither fire nor be postponed. The loop then ignores the deadline for
# AWAY_RETRY_SECONDS.
AWAY_RETRY_SECONDS = 1.0
# How many calls to external services one worker makes at the same time for the deadlines of one kind.
MAX_FOLLOW_UPS_RUNNING = 20
# How many calls of one kind wait for a place. If more calls come, the worker drops them, because the worker repeats
# each call at a later deadline.
MAX_FOLLOW_UPS_WAITING = 200
# The timeout of one call. If a call is lost, the worker repeats the call at a later deadline.
FOLLOW_UP_TIMEOUT_SECONDS = 5.0

FIRED = Counter("curhat_deadlines_fired_total", "Deadlines that took effect", ["kind"])
LATE = Histogram(
    "curhat_deadline_late_seconds",
    "How long after its due time a deadline was claimed",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
WAITING = Gauge("curhat_deadlines_waiting", "Due deadlines that wait for an executor", ["executor"])
RUNNING = Gauge("curhat_deadlines_running", "Executors of deadlines that run", ["executor"])
CALLS_WAITING = Gauge("curhat_follow_ups_waiting", "Calls to other services that wait for a place", ["kind"])
CALLS_RUNNING = Gauge("curhat_follow_ups_running", "Calls to other services that run", ["kind"])
CALLS_DROPPED = Counter("curhat_follow_ups_dropped_total", "Calls dropped because too many waited", ["kind"])


class _Calls:
    """The calls to external services for one kind of deadlines."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._places = asyncio.Semaphore(MAX_FOLLOW_UPS_RUNNING)
        self._waiting = CALLS_WAITING.labels(kind)
        self._running = CALLS_RUNNING.labels(kind)
        self._waiting_count = 0

    async def make(self, follow_up: FollowUp) -> None:
        """Wait for a place, and make the call. Drop the call if too many calls are already waiting."""
        if self._waiting_count >= MAX_FOLLOW_UPS_WAITING:
            CALLS_DROPPED.labels(self._kind).inc()
            return
        self._waiting_count += 1
        with self._waiting.track_inprogress():
            try:
                await self._places.acquire()
            finally:
                self._waiting_count -= 1
        try:
            with self._running.track_inprogress():
                async with asyncio.timeout(FOLLOW_UP_TIMEOUT_SECONDS):
                    await follow_up()
        except Exception as error:  # noqa: BLE001  after any error, the worker repeats the call at a deadline
            log.warning("deadline.follow_up_failed", kind=self._kind, error=repr(error))
        finally:
            self._places.release()


class Loop:
    """Reads the due deadlines for one worker process, and fires them."""

    def __init__(self, database: Database, transitions: Mapping[str, Transition]) -> None:
        self._database = database
        self._transitions = transitions
        # The deadlines of unknown kinds wait for a worker of a newer release, which knows these kinds.
        self._kinds = list(transitions)
        # The ids of all waiting and running deadlines. `look` skips these.
        self._in_hand: set[int] = set()
        self._batch_queue: list[DueDeadline] = []
        self._single_queues: defaultdict[str, deque[DueDeadline]] = defaultdict(deque)
        self._batches_running = 0
        self._singles_running: collections.Counter[str] = collections.Counter()
        self._calls: dict[str, _Calls] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        WAITING.labels("batch").set_function(lambda: len(self._batch_queue))
        WAITING.labels("single").set_function(lambda: sum(map(len, self._single_queues.values())))
        RUNNING.labels("batch").set_function(lambda: self._batches_running)
        RUNNING.labels("single").set_function(self._singles_running.total)
        self.fired = 0
        self._parked_looked_at: float | None = None
        self._woken = asyncio.Event()

    def wake(self, _payload: bytes = b"") -> None:
        """End the loop's sleep. If the loop is not sleeping, its next sleep ends immediately.

        This method handles the signal `deadlines`, which says that a deadline is due now.
        """
        self._woken.set()

    async def look(self) -> bool:
        """Read the due deadlines, and start to fire the new ones.

        Returns False if every due deadline already waits or runs.
        """
        all_due = await queries.due_deadlines(
            self._database, kinds=self._kinds, max_per_kind=service.MAX_DUE_PER_KIND
        )
        found = [due for due in all_due if due.id not in self._in_hand]
        self._in_hand.update(due.id for due in found)
        for due in found:
            is_batch = isinstance(self._transitions.get(due.kind), BatchTransition)
            (self._batch_queue if is_batch else self._single_queues[due.kind]).append(due)
        await self._look_at_parked()
        self._start_executors()
        return bool(found)

    async def _look_at_parked(self) -> None:
        """Every PARKED_LOOK_SECONDS, take the parked deadlines whose next try is due.

        A parked deadline fires in a transaction of its own, because it would probably make a batch fail.
        """
        now = asyncio.get_running_loop().time()
        if self._parked_looked_at is not None and now - self._parked_looked_at < PARKED_LOOK_SECONDS:
            return
        self._parked_looked_at = now
        for due in await queries.due_parked_deadlines(
            self._database, kinds=self._kinds, max_deadlines=service.MAX_DUE_PER_KIND
        ):
            if due.id not in self._in_hand:
                self._in_hand.add(due.id)
                self._single_queues[due.kind].append(due)

    def _leave_out(self, ids: Iterable[int]) -> None:
        """Ignore these deadlines for AWAY_RETRY_SECONDS, so that the next `look` does not try them immediately."""
        loop = asyncio.get_running_loop()
        loop.call_later(AWAY_RETRY_SECONDS, self._in_hand.difference_update, tuple(ids))

    async def run(self) -> None:
        """Fire deadlines until cancelled. If PostgreSQL does not answer, keep trying."""
        while True:
            wait_seconds: float | None = None
            try:
                found = await self.look()
                wait_seconds = (
                    0.0 if found else await queries.seconds_until_next_due(self._database, kinds=self._kinds)
                )
            except DATABASE_AWAY as error:
                log.warning("deadlines.database_trouble", error=type(error).__name__)
            if wait_seconds is None:
                wait_seconds = MAX_SLEEP_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(wait_seconds, MIN_SLEEP_SECONDS), MAX_SLEEP_SECONDS)):
                    await self._woken.wait()
            self._woken.clear()

    async def settle(self) -> None:
        """Wait until all found deadlines have fired and all their calls have ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def finish(self) -> None:
        """Forget the deadlines that wait, and wait until all running transactions and calls have ended.

        Another worker fires the forgotten deadlines. Call `finish` after `run` was cancelled.
        """
        self._batch_queue.clear()
        for queue in self._single_queues.values():
            queue.clear()
        await self.settle()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_executors(self) -> None:
        for _ in range(min(len(self._batch_queue), MAX_BATCHES_RUNNING - self._batches_running)):
            self._batches_running += 1
            self._start(self._run_batches())
        for kind, queue in self._single_queues.items():
            for _ in range(min(len(queue), MAX_SINGLES_RUNNING - self._singles_running[kind])):
                self._singles_running[kind] += 1
                self._start(self._run_singles(kind, queue))

    async def _run_batches(self) -> None:
        try:
            while self._batch_queue:
                await self._fire_batch(self._take_batch())
        finally:
            self._batches_running -= 1

    def _take_batch(self) -> list[DueDeadline]:
        """Take the oldest deadline out of the batch queue, and further deadlines of the same kind."""
        kind = self._batch_queue[0].kind
        same_kind = [due for due in self._batch_queue if due.kind == kind]
        taken = same_kind[: service.MAX_BATCH_DEADLINES]
        ids = {due.id for due in taken}
        self._batch_queue = [due for due in self._batch_queue if due.id not in ids]
        return taken

    async def _fire_batch(self, taken: list[DueDeadline]) -> None:
        transition = self._transitions[taken[0].kind]
        assert isinstance(transition, BatchTransition)  # `look` checked this before it queued the deadline.
        ids = [due.id for due in taken]
        fired: list[Fired] | None = []
        try:
            fired = await service.fire_batch(self._database, ids, transition)
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
            INTERRUPTED.labels(taken[0].kind).inc(len(taken))
            self._leave_out(ids)
            ids = []
        finally:
            if fired is None:
                self._single_queues[taken[0].kind].extend(taken)
                self._start_executors()
            else:
                self._in_hand.difference_update(ids)
        for each in fired or ():
            self._count(each)

    async def _run_singles(self, kind: str, queue: deque[DueDeadline]) -> None:
        try:
            while queue:
                await self._fire_single(queue.popleft())
        finally:
            self._singles_running[kind] -= 1

    async def _fire_single(self, due: DueDeadline) -> None:
        try:
            fired = await service.fire(self._database, due.id, self._transitions)
        except DATABASE_AWAY as error:
            log.warning("deadlines.database_trouble", error=type(error).__name__)
            INTERRUPTED.labels(due.kind).inc()
            self._leave_out([due.id])
            return
        except BaseException:
            self._in_hand.discard(due.id)
            raise
        self._in_hand.discard(due.id)
        if fired is not None:
            self._count(fired)

    def _count(self, fired: Fired) -> None:
        self.fired += 1
        FIRED.labels(fired.deadline.kind).inc()
        LATE.observe(fired.deadline.late_seconds)
        if fired.follow_up is not None:
            kind = fired.deadline.kind
            if kind not in self._calls:
                self._calls[kind] = _Calls(kind)
            self._start(self._calls[kind].make(fired.follow_up))


async def run_once(database: Database, transitions: Mapping[str, Transition]) -> int:
    """Fire all deadlines that are due now, and make the follow-up calls. Returns how many deadlines took effect."""
    loop = Loop(database, transitions)
    await loop.look()
    await loop.settle()
    return loop.fired
