"""Arming, disarming and claiming deadlines. See the package's docstring for what is guaranteed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
import structlog

from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# Wakes sleeping workers.
SIGNAL = "deadlines"

# Bounds how many deadlines one look takes, so that a backlog does not starve the newly due.
LOOK_LIMIT = 200
# Bounds how many journeys one transaction holds, and for how long.
MAX_BATCH_DEADLINES = 50
# The longest that a transaction of several waits for a lock: then each goes on in one of its own. Shorter than
# any deadlock_timeout.
BATCH_LOCK_TIMEOUT = "100ms"
# A transition that failed this often is a fault, not a passing trouble.
PARK_AFTER_ATTEMPTS = 10


class Fired(msgspec.Struct, frozen=True):
    """A deadline that took effect, and the call to the outside that its transition owes."""

    deadline: "Deadline"
    follow_up: "FollowUp | None"


class Deadline(msgspec.Struct, frozen=True):
    """A claimed deadline, handed to its transition. `late_seconds` is how long past `due_at` it was claimed."""

    kind: str
    entity_id: UUID
    generation: int
    due_at: datetime
    late_seconds: float


class Due(msgspec.Struct, frozen=True):
    """A deadline whose time has come, seen without locking it."""

    id: int
    kind: str


# Runs in the transaction of the claim. What it returns is awaited after the commit: calls to the outside that
# the transition has prepared (and insured with a later deadline).
FollowUp = Callable[[], Awaitable[None]]
Transition = Callable[[Transaction, Deadline], Awaitable[FollowUp | None]]


class BatchTransition:
    """A transition that takes several deadlines of its kind in one transaction; of one, it is a Transition.

    Its `run` locks level by level in the order of all locks (payments, pairings, sessions, mitras, requests, streams),
    each level in id order, as each single transition does: so the two cannot deadlock. It returns the calls to the
    outside that it owes, by the entity of their deadline, or None.
    """

    def __init__(
        self, run: Callable[[Transaction, Sequence[Deadline]], Awaitable[Mapping[UUID, FollowUp] | None]]
    ) -> None:
        self.run = run

    async def __call__(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Run it for one."""
        owed = await self.run(tx, [deadline])
        return None if owed is None else owed.get(deadline.entity_id)


async def arm(tx: Transaction, kind: str, entity_id: UUID, due_at: datetime, generation: int = 1) -> None:
    """Have the transition of `kind` run for `entity_id` at `due_at`. Armed again, it moves."""
    await arm_each(tx, kind, [(entity_id, due_at, generation)])


async def arm_each(tx: Transaction, kind: str, armed: Sequence[tuple[UUID, datetime, int]]) -> None:
    """`arm` for several entities of one kind: each with when it is due, and its generation."""
    if armed:
        entity_ids, due_at, generations = zip(*armed, strict=True)
        await tx.execute(SQL.arm, kind, entity_ids, generations, due_at, current_correlation_id())


async def arm_now(tx: Transaction, kind: str, entity_id: UUID) -> None:
    """Have the transition of `kind` run for `entity_id` as soon as this transaction is committed.

    For what follows from a step, and must be done in a transaction of its own since its locks come before those
    that the step holds. It never waits for a worker, who may be waiting for one of those, and every step has one of its
    own: a transition under way may have read what was before. A worker is woken; without the signal it looks within
    LONGEST_SLEEP_SECONDS.
    """
    await tx.execute(SQL.arm_now, kind, entity_id, current_correlation_id())
    wake_workers(tx)


def wake_workers(tx: Transaction) -> None:
    """Something is due as soon as this transaction is committed: workers need not sleep until they would look."""
    tx.signal(SIGNAL, b"")


async def disarm(tx: Transaction, kind: str, *entity_ids: UUID) -> None:
    """Take their deadlines away, all generations; one that a worker holds right now fires as a no-op."""
    await disarm_each(tx, (kind,), *entity_ids)


async def disarm_each(tx: Transaction, kinds: Sequence[str], *entity_ids: UUID) -> None:
    """`disarm` of several kinds at once."""
    await tx.execute(SQL.disarm, kinds, entity_ids)


async def due(database: Database, limit: int = LOOK_LIMIT) -> list[Due]:
    """What is due now, oldest first, without locking anything."""
    return [Due(row["id"], row["kind"]) for row in await database.fetch(SQL.due, limit)]


async def next_due_in_seconds(database: Database) -> float | None:
    """Seconds until the next deadline is due (negative: overdue); None when nothing is armed."""
    seconds: float | None = await database.fetchval(SQL.next_due_in_seconds)
    return seconds


async def count_parked(database: Database) -> int:
    """How many deadlines failed so often that they wait for a person."""
    count: int = await database.fetchval(SQL.count_parked)
    return count


async def fire(database: Database, deadline_id: int, transitions: Mapping[str, Transition]) -> Fired | None:
    """Claim one deadline and run its transition in the same transaction.

    Returns what took effect, with the call to the outside that is owed now, or None: somebody else has it, it was
    moved or disarmed, or it failed and was postponed or parked.
    """
    claimed: Deadline | None = None
    attempts = 0
    structlog.contextvars.clear_contextvars()
    try:
        async with database.transaction() as tx:
            row = await tx.fetchrow(SQL.claim, [deadline_id])
            if row is None:
                return None
            attempts = row["attempts"]
            claimed = _claimed(row)
            structlog.contextvars.bind_contextvars(
                correlation_id=row["correlation_id"], deadline=claimed.kind
            )
            follow_up = await transitions[claimed.kind](tx, claimed)
            await pause_point("deadline.before_commit")
        await pause_point("deadline.after_commit")
    except Exception as error:
        if claimed is None:
            raise  # PostgreSQL itself is in trouble: the loop's matter, not this deadline's.
        await _postpone(database, deadline_id, claimed, attempts, error)
        return None
    return Fired(claimed, follow_up)


async def fire_batch(
    database: Database, deadline_ids: Sequence[int], transition: BatchTransition
) -> list[Fired] | None:
    """Claim these deadlines of one kind and run their transition, all in one transaction.

    Returns those that took effect; None when nothing was changed because something failed or a lock is held: whoever
    calls fires each of them on its own. Raises what DATABASE_AWAY names when not even the claim succeeded.
    """
    claimed: list[Deadline] = []
    structlog.contextvars.clear_contextvars()
    try:
        async with database.transaction() as tx:
            await tx.execute(SQL.limit_waits, BATCH_LOCK_TIMEOUT)
            rows = await tx.fetch(SQL.claim, deadline_ids)
            claimed = [_claimed(row) for row in rows]
            if not claimed:
                return []
            structlog.contextvars.bind_contextvars(deadline=claimed[0].kind)
            if len(rows) == 1:
                structlog.contextvars.bind_contextvars(correlation_id=rows[0]["correlation_id"])
            owed = await transition.run(tx, claimed) or {}
            await pause_point("deadline.before_commit")
        await pause_point("deadline.after_commit")
    except Exception as error:
        if not claimed:
            raise
        log.info("deadlines.each_alone", kind=claimed[0].kind, count=len(claimed), error=type(error).__name__)
        return None
    return [Fired(deadline, owed.get(deadline.entity_id)) for deadline in claimed]


def _claimed(row: asyncpg.Record) -> Deadline:
    return Deadline(
        kind=row["kind"],
        entity_id=row["entity_id"],
        generation=row["generation"],
        due_at=row["due_at"],
        late_seconds=row["late_seconds"],
    )


async def _postpone(
    database: Database, deadline_id: int, deadline: Deadline, attempts: int, error: Exception
) -> None:
    park = attempts + 1 >= PARK_AFTER_ATTEMPTS
    wait_seconds = float(min(0.1 * 2**attempts, 30))
    text = f"{type(error).__name__}: {error}"[:500]
    await database.execute(SQL.postpone, deadline_id, wait_seconds, park, text)
    log.error(
        "deadline.parked" if park else "deadline.failed",
        kind=deadline.kind,
        entity_id=str(deadline.entity_id),
        attempts=attempts + 1,
        exc_info=error,
    )
