"""Arms, disarms and claims deadlines. The package's docstring states the guarantees."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
import structlog

from curhat.deadlines import queries
from curhat.deadlines.metrics import FAILED, INTERRUPTED
from curhat.deadlines.queries import Deadline, RetryParkedDeadlinesRow
from curhat.kit.database import Database, Transaction, is_away, is_busy
from curhat.kit.errors import PresenceUnknown
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import limit_lock_waits

log = structlog.get_logger(__name__)

# The signal that wakes sleeping workers.
SIGNAL = "deadlines"

# Limits how many deadlines of one kind a worker reads ahead. A limit for all kinds together would let a backlog of one
# kind hide the deadlines of the other kinds.
MAX_DUE_PER_KIND = 200
# Limits how many journeys one transaction locks, and how long the transaction holds these locks.
MAX_BATCH_DEADLINES = 50
# The longest time that a batch waits for one lock. After BATCH_LOCK_TIMEOUT, the worker fires each deadline of the
# batch in its own transaction. BATCH_LOCK_TIMEOUT is shorter than deadlock_timeout, so PostgreSQL never checks for a
# deadlock.
BATCH_LOCK_TIMEOUT = "100ms"
# A transition that failed MAX_ATTEMPTS times by a fault of its own probably has a bug. The worker parks the deadline,
# and an operator must investigate.
MAX_ATTEMPTS = 10
# How long a parked deadline waits for its next try. After PARKED_RETRY_SECONDS, a later version of the code has perhaps
# fixed the bug.
PARKED_RETRY_SECONDS = 3600.0
# How long a deadline waits for its next try after a fault of the surroundings.
INTERRUPTED_RETRY_SECONDS = 1.0
# How long a deadline waits for its next try after a statement that took too long. SLOW_RETRY_SECONDS is longer than
# INTERRUPTED_RETRY_SECONDS, because each try occupies an executor for several seconds.
SLOW_RETRY_SECONDS = 30.0


class Fired(msgspec.Struct, frozen=True):
    """A deadline that took effect, and the external call that its transition returned."""

    deadline: Deadline
    follow_up: "FollowUp | None"


# A call to an external service. A transition returns the call, and the worker makes the call after the commit. The
# transition also arms a later deadline. If the call is lost, the worker repeats the call at the later deadline.
FollowUp = Callable[[], Awaitable[object]]
# The step of a deadline. The worker runs the step in the transaction that claims the deadline.
Transition = Callable[[Transaction, Deadline], Awaitable[FollowUp | None]]


class BatchTransition:
    """A transition for one or several deadlines of one kind, in one transaction.

    `run` locks rows table by table in the global lock order (payments, pairings, sessions, mitras, requests, streams).
    Within a table, `run` locks the rows in id order. Batches and single transitions lock in the same order, so they
    never deadlock.
    `run` returns a mapping from the deadline's entity id to the external call to make, or None for no calls.
    """

    def __init__(
        self, run: Callable[[Transaction, Sequence[Deadline]], Awaitable[Mapping[UUID, FollowUp] | None]]
    ) -> None:
        self.run = run

    async def __call__(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        owed = await self.run(tx, [deadline])
        return None if owed is None else owed.get(deadline.entity_id)


async def arm(tx: Transaction, kind: str, entity_id: UUID, due_at: datetime, generation: int = 1) -> None:
    """Arm the deadline of `kind` for `entity_id`. If this deadline is already armed, move the deadline to `due_at`.

    Only a worker is allowed to move a deadline, because the move waits for another worker that has claimed the
    deadline. A person's step is allowed only to arm a deadline that is certainly new, or to call `arm_another`.
    """
    await arm_each(tx, kind, [(entity_id, due_at, generation)])


async def arm_each(tx: Transaction, kind: str, armed: Sequence[tuple[UUID, datetime, int]]) -> None:
    """Arm several deadlines of one kind, each given as (entity id, due time, generation)."""
    if armed:
        entity_ids, due_at, generations = zip(*armed, strict=True)
        await queries.arm_deadlines(
            tx,
            kind=kind,
            entity_ids=entity_ids,
            generations=generations,
            due_at=due_at,
            correlation_id=current_correlation_id(),
        )


async def arm_now(tx: Transaction, kind: str, entity_id: UUID) -> None:
    """Make a worker run the transition of `kind` for `entity_id` as soon as this transaction is committed.

    Use this function for a change to rows that come earlier in the lock order than the rows that this transaction has
    locked. The change then runs in its own transaction. The new deadline never replaces an older deadline. Perhaps the
    older deadline's transition is already running, and has missed this transaction's changes. `arm_now` also signals
    the workers. A lost signal delays the deadline by at most MAX_SLEEP_SECONDS.
    """
    await arm_another(tx, kind, [entity_id], 0)
    wake_workers(tx)


async def arm_another(tx: Transaction, kind: str, entity_ids: Sequence[UUID], wait_seconds: float) -> None:
    """Arm a deadline for each entity, in addition to the armed deadlines of the same kind. Never waits."""
    await queries.arm_another_deadline(
        tx,
        kind=kind,
        entity_ids=entity_ids,
        wait_seconds=wait_seconds,
        correlation_id=current_correlation_id(),
    )


async def arm_if_none_is_armed(tx: Transaction, kind: str, entity_id: UUID, wait_seconds: float) -> None:
    """Arm a deadline if the entity has no armed deadline of this kind. Never waits."""
    await queries.arm_if_none_is_armed(
        tx,
        kind=kind,
        entity_id=entity_id,
        wait_seconds=wait_seconds,
        correlation_id=current_correlation_id(),
    )


def wake_workers(tx: Transaction) -> None:
    """Wake the sleeping workers after the commit of this transaction."""
    tx.signal(SIGNAL, b"")


async def disarm(tx: Transaction, kind: str, *entity_ids: UUID) -> None:
    """Delete these entities' deadlines of one `kind`.

    If a worker has locked a deadline, the deadline stays and fires as a no-op.
    """
    await disarm_each(tx, (kind,), *entity_ids)


async def disarm_each(tx: Transaction, kinds: Sequence[str], *entity_ids: UUID) -> None:
    """Delete these entities' deadlines of all `kinds`.

    If a worker has locked a deadline, the deadline stays and fires as a no-op.
    """
    await queries.disarm_deadlines(tx, kinds=kinds, entity_ids=entity_ids)


async def fire(database: Database, deadline_id: int, transitions: Mapping[str, Transition]) -> Fired | None:
    """Claim one deadline and run its transition in the same transaction.

    Returns the deadline that took effect. Returns None if another worker has claimed the deadline, or if the deadline
    was moved or disarmed. Also returns None if the transition failed and the deadline was postponed or parked.
    Raises the errors of DATABASE_AWAY if the claim itself fails, or if the deadline could not be postponed because
    PostgreSQL is away. After an error of DATABASE_AWAY, the caller tries again later.
    """
    claimed: Deadline | None = None
    structlog.contextvars.clear_contextvars()
    try:
        async with database.transaction() as tx:
            found = await queries.claim_deadlines(tx, ids=[deadline_id])
            if not found:
                return None
            claimed = found[0]
            structlog.contextvars.bind_contextvars(
                correlation_id=claimed.correlation_id, deadline=claimed.kind
            )
            await pause_point("deadline.claimed")
            follow_up = await transitions[claimed.kind](tx, claimed)
            await pause_point("deadline.before_commit")
        await pause_point("deadline.after_commit")
    except Exception as error:
        if claimed is None:
            raise
        await _postpone(database, deadline_id, claimed, error)
        return None
    return Fired(claimed, follow_up)


async def fire_batch(
    database: Database, deadline_ids: Sequence[int], transition: BatchTransition
) -> list[Fired] | None:
    """Claim these deadlines of one kind and run their transition, all in one transaction.

    Returns the deadlines that took effect. Returns None if the transition failed or waited too long for a lock. After a
    result of None, nothing has changed, and the caller fires each deadline in its own transaction.
    Raises the errors of DATABASE_AWAY if the claim itself fails or PostgreSQL is away.
    """
    claimed: list[Deadline] = []
    structlog.contextvars.clear_contextvars()
    try:
        async with database.transaction() as tx:
            await limit_lock_waits(tx, lock_timeout=BATCH_LOCK_TIMEOUT)
            claimed = await queries.claim_deadlines(tx, ids=deadline_ids)
            if not claimed:
                return []
            structlog.contextvars.bind_contextvars(deadline=claimed[0].kind)
            if len(claimed) == 1:
                structlog.contextvars.bind_contextvars(correlation_id=claimed[0].correlation_id)
            owed = await transition.run(tx, claimed) or {}
            await pause_point("deadline.before_commit")
        await pause_point("deadline.after_commit")
    except Exception as error:
        if not claimed or (is_away(error) and not isinstance(error, asyncpg.QueryCanceledError)):
            raise
        log.info(
            "deadlines.batch_failed", kind=claimed[0].kind, count=len(claimed), error=type(error).__name__
        )
        return None
    return [Fired(deadline, owed.get(deadline.entity_id)) for deadline in claimed]


def is_interruption(error: BaseException) -> bool:
    """Return whether the surroundings caused the error: PostgreSQL or Valkey is away, or a lock is held."""
    return is_away(error) or is_busy(error) or isinstance(error, PresenceUnknown)


async def _postpone(database: Database, deadline_id: int, deadline: Deadline, error: Exception) -> None:
    """Make the deadline due again later. Only a fault of the transition itself uses up a try."""
    interrupted = is_interruption(error)
    attempts = deadline.attempts + (not interrupted)
    is_parked = attempts >= MAX_ATTEMPTS
    if is_parked:
        wait_seconds = PARKED_RETRY_SECONDS
    elif not interrupted:
        wait_seconds = min(0.1 * 2**deadline.attempts, 30.0)
    elif isinstance(error, asyncpg.QueryCanceledError):
        wait_seconds = SLOW_RETRY_SECONDS
    else:
        wait_seconds = INTERRUPTED_RETRY_SECONDS
    (INTERRUPTED if interrupted else FAILED).labels(deadline.kind).inc()
    fields = {"kind": deadline.kind, "entity_id": str(deadline.entity_id), "attempts": attempts}
    if interrupted:
        log.warning("deadline.interrupted", error=type(error).__name__, **fields)
    else:
        log.error("deadline.parked" if is_parked else "deadline.failed", exc_info=error, **fields)
    await queries.postpone_deadline(
        database,
        id=deadline_id,
        wait_seconds=wait_seconds,
        is_parked=is_parked,
        counts=not interrupted,
        last_error=f"{type(error).__name__}: {error}"[:500],
    )


async def retry_parked(tx: Transaction, ids: Sequence[int] | None) -> list[RetryParkedDeadlinesRow]:
    """Make parked deadlines due now, and give each MAX_ATTEMPTS new tries. Without `ids`, retry every parked deadline.

    Wakes the workers after the commit. Returns the deadlines.
    """
    retried = await queries.retry_parked_deadlines(tx, ids=ids)
    wake_workers(tx)
    return retried
