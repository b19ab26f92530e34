"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow

ARM_DEADLINES: Final = """
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT $1, armed.entity_id, armed.generation, armed.due_at, $2
FROM unnest($3::uuid[], $4::integer[], $5::timestamptz[])
    AS armed (entity_id, generation, due_at)
ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at, attempts = 0, parked_at = NULL
"""


async def arm_deadlines(
    db: Executor,
    /,
    *,
    kind: str,
    correlation_id: str | None,
    entity_ids: Sequence[UUID],
    generations: Sequence[int],
    due_at: Sequence[datetime],
) -> None:
    """Arm a deadline for each entity (nothing → armed). If a deadline of this kind, entity and generation is already armed,
    the statement moves that deadline to the new time."""
    await db.execute(ARM_DEADLINES, kind, correlation_id, entity_ids, generations, due_at)


ARM_ANOTHER_DEADLINE: Final = """
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT $1, entity_id, own_generation(), curhat_now() + make_interval(secs => $2), $3
FROM unnest($4::uuid[]) AS entity_id
ON CONFLICT (kind, entity_id, generation) DO NOTHING
"""


async def arm_another_deadline(
    db: Executor, /, *, kind: str, wait_seconds: float, correlation_id: str | None, entity_ids: Sequence[UUID]
) -> None:
    """Arm a deadline that is due after @wait_seconds (nothing → armed). Each transaction uses a new generation, so the
    INSERT does not conflict with an earlier deadline. So the INSERT never waits for a worker that has claimed an earlier
    deadline."""
    await db.execute(ARM_ANOTHER_DEADLINE, kind, wait_seconds, correlation_id, entity_ids)


ARM_IF_NONE_IS_ARMED: Final = """
WITH armed AS MATERIALIZED (
    SELECT id FROM deadlines WHERE kind = $1 AND entity_id = $2 AND parked_at IS NULL
    FOR KEY SHARE SKIP LOCKED
)
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT $1, $2, own_generation(), curhat_now() + make_interval(secs => $3), $4
WHERE NOT EXISTS (SELECT 1 FROM armed)
ON CONFLICT (kind, entity_id, generation) DO NOTHING
"""


async def arm_if_none_is_armed(
    db: Executor, /, *, kind: str, entity_id: UUID, wait_seconds: float, correlation_id: str | None
) -> None:
    """Arm a deadline that is due after @wait_seconds (nothing → armed). If a deadline of this kind is already armed for the
    entity, the statement does nothing. The statement ignores a deadline that another worker has claimed, and never waits
    for this deadline."""
    await db.execute(ARM_IF_NONE_IS_ARMED, kind, entity_id, wait_seconds, correlation_id)


DISARM_DEADLINES: Final = """
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines WHERE kind = ANY ($1) AND entity_id = ANY ($2::uuid[])
    FOR UPDATE SKIP LOCKED
)
"""


async def disarm_deadlines(db: Executor, /, *, kinds: Sequence[str], entity_ids: Sequence[UUID]) -> None:
    """Disarm the deadlines (armed → gone). The statement skips a deadline that a worker has locked, and the worker's
    transition then finds nothing to do."""
    await db.execute(DISARM_DEADLINES, kinds, entity_ids)


class DueDeadline(msgspec.Struct, frozen=True):
    id: int
    kind: str


DUE_DEADLINES: Final = """
SELECT due.id, due.kind
FROM unnest($1::text[]) AS wanted (kind)
CROSS JOIN LATERAL (
    SELECT id, kind, due_at FROM deadlines
    WHERE kind = wanted.kind AND parked_at IS NULL AND due_at <= (SELECT curhat_now())
    ORDER BY due_at
    LIMIT $2
) AS due
ORDER BY due.due_at
"""


async def due_deadlines(db: Executor, /, *, kinds: Sequence[str], max_per_kind: int) -> list[DueDeadline]:
    """Find the deadlines that are due now, oldest first, at most @max_per_kind of each kind. Without a limit per kind, many
    waiting deadlines of one kind would hide the deadlines of all other kinds. The statement takes no locks, because
    claim_deadlines locks the rows. A subquery reads the clock, so that PostgreSQL calls curhat_now() once and can use
    the result as an index bound."""
    return [DueDeadline(*row) for row in await db.fetch(DUE_DEADLINES, kinds, max_per_kind)]


DUE_PARKED_DEADLINES: Final = """
SELECT id, kind FROM deadlines
WHERE parked_at IS NOT NULL AND due_at <= (SELECT curhat_now()) AND kind = ANY ($1::text[])
ORDER BY due_at
LIMIT $2
"""


async def due_parked_deadlines(
    db: Executor, /, *, kinds: Sequence[str], max_deadlines: int
) -> list[DueDeadline]:
    """Find the parked deadlines of these kinds whose next try is due, oldest first."""
    return [DueDeadline(*row) for row in await db.fetch(DUE_PARKED_DEADLINES, kinds, max_deadlines)]


SECONDS_UNTIL_NEXT_DUE: Final = """
SELECT extract(epoch FROM min(due_at) - curhat_now())::float8 AS seconds FROM deadlines
WHERE parked_at IS NULL AND kind = ANY ($1::text[])
"""


async def seconds_until_next_due(db: Executor, /, *, kinds: Sequence[str]) -> float | None:
    """Compute the seconds until the next deadline of these kinds is due. The result is negative if a deadline is overdue,
    and null if no deadline is armed."""
    row = await db.fetchrow(SECONDS_UNTIL_NEXT_DUE, kinds)
    if row is None:
        raise NoRow(SECONDS_UNTIL_NEXT_DUE)
    value: float | None = row[0]
    return value


class Deadline(msgspec.Struct, frozen=True):
    kind: str
    entity_id: UUID
    generation: int
    due_at: datetime
    correlation_id: str | None
    attempts: int
    late_seconds: float


CLAIM_DEADLINES: Final = """
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines
    WHERE id = ANY ($1::bigint[]) AND due_at <= curhat_now()
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
RETURNING kind, entity_id, generation, due_at, correlation_id, attempts,
    extract(epoch FROM curhat_now() - due_at)::float8 AS late_seconds
"""


async def claim_deadlines(db: Executor, /, *, ids: Sequence[int]) -> list[Deadline]:
    """Claim the due deadlines (armed or parked → gone when this transaction commits). The statement skips deadlines that
    another worker has locked. The statement also skips each deadline that was moved or disarmed after due_deadlines
    found the deadline."""
    return [Deadline(*row) for row in await db.fetch(CLAIM_DEADLINES, ids)]


POSTPONE_DEADLINE: Final = """
UPDATE deadlines
SET attempts = attempts + $1::boolean::integer, last_error = $2,
    due_at = curhat_now() + make_interval(secs => $3),
    parked_at = CASE WHEN $4 THEN coalesce(parked_at, curhat_now()) END
WHERE id = $5
"""


async def postpone_deadline(
    db: Executor, /, *, counts: bool, last_error: str, wait_seconds: float, is_parked: bool, id: int
) -> None:
    """Postpone the deadline (armed → due again after @wait_seconds). If @is_parked is true, the statement also parks the
    deadline until its next try. If @counts is true, the statement adds 1 to the deadline's tries. A deadline that is
    already parked keeps its `parked_at`. Stores the transition's error."""
    await db.execute(POSTPONE_DEADLINE, counts, last_error, wait_seconds, is_parked, id)


COUNT_PARKED_DEADLINES: Final = """
SELECT count(*) AS parked FROM deadlines WHERE parked_at IS NOT NULL
"""


async def count_parked_deadlines(db: Executor, /) -> int:
    row = await db.fetchrow(COUNT_PARKED_DEADLINES)
    if row is None:
        raise NoRow(COUNT_PARKED_DEADLINES)
    value: int = row[0]
    return value


COUNT_OVERDUE_DEADLINES: Final = """
SELECT count(*) AS overdue FROM deadlines
WHERE parked_at IS NULL AND due_at < (SELECT curhat_now() - interval '1 minute')
"""


async def count_overdue_deadlines(db: Executor, /) -> int:
    """Count the deadlines that are not parked and more than a minute late."""
    row = await db.fetchrow(COUNT_OVERDUE_DEADLINES)
    if row is None:
        raise NoRow(COUNT_OVERDUE_DEADLINES)
    value: int = row[0]
    return value


class ParkedDeadline(msgspec.Struct, frozen=True):
    id: int
    kind: str
    entity_id: UUID
    attempts: int
    parked_at: datetime
    next_try_at: datetime
    correlation_id: str | None
    last_error: str | None


LIST_PARKED_DEADLINES: Final = """
SELECT id, kind, entity_id, attempts, parked_at, due_at AS next_try_at, correlation_id, last_error
FROM deadlines WHERE parked_at IS NOT NULL
ORDER BY parked_at, id
LIMIT $1
"""


async def list_parked_deadlines(db: Executor, /, *, max_deadlines: int) -> list[ParkedDeadline]:
    """Read the parked deadlines, in the order in which they were parked."""
    return [ParkedDeadline(*row) for row in await db.fetch(LIST_PARKED_DEADLINES, max_deadlines)]


class RetryParkedDeadlinesRow(msgspec.Struct, frozen=True):
    id: int
    kind: str
    entity_id: UUID


RETRY_PARKED_DEADLINES: Final = """
UPDATE deadlines SET parked_at = NULL, attempts = 0, due_at = curhat_now()
WHERE parked_at IS NOT NULL AND ($1::bigint[] IS NULL OR id = ANY ($1::bigint[]))
RETURNING id, kind, entity_id
"""


async def retry_parked_deadlines(
    db: Executor, /, *, ids: Sequence[int] | None
) -> list[RetryParkedDeadlinesRow]:
    """Retry parked deadlines (parked → armed, due now, with 0 tries). If @ids is null, the statement retries all parked
    deadlines. Returns the retried deadlines."""
    return [RetryParkedDeadlinesRow(*row) for row in await db.fetch(RETRY_PARKED_DEADLINES, ids)]
