"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.what_if.schemas import WhatIfStatus
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.pairing.states import (
    CloseReason,
    FailureTag,
    FallbackStatus,
    PairingKind,
    PairingStatus,
    RequestStatus,
)


class PastPairing(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    kind: PairingKind
    pairing_status: PairingStatus
    created_at: datetime
    deadline_at: datetime
    decided_at: datetime
    tag: FailureTag | None
    target_mitra_id: UUID | None
    fallback_status: FallbackStatus | None
    duration_minutes: int
    mitra_id: UUID | None
    started_at: datetime | None
    ended_at: datetime | None


LIST_PAIRINGS: Final = """
SELECT pairings.id, page.id AS payment_id, pairings.kind, pairings.status AS pairing_status, pairings.created_at,
    pairings.deadline_at, pairings.decided_at::timestamptz AS decided_at, pairings.failure_tag AS tag,
    pairings.target_mitra_id, pairings.fallback_status, page.duration_minutes, sessions.mitra_id, sessions.started_at,
    sessions.ended_at
FROM (
    SELECT id, duration_minutes FROM payments
    WHERE confirmed_at >= $1 AND confirmed_at < $2 AND purpose = 'session'
    ORDER BY confirmed_at DESC LIMIT $3
) AS page
JOIN pairings ON pairings.payment_id = page.id AND pairings.status <> 'open'
LEFT JOIN sessions ON sessions.pairing_id = pairings.id
ORDER BY pairings.created_at, pairings.id
"""


async def list_pairings(
    db: Executor, /, *, since: datetime, until: datetime, max_payments: int
) -> list[PastPairing]:
    """Read the decided pairings of the newest @max_payments payments that were confirmed from @since to @until, with the
    session of each matched pairing. The oldest pairing comes first."""
    return [PastPairing(*row) for row in await db.fetch(LIST_PAIRINGS, since, until, max_payments)]


class PastRequest(msgspec.Struct, frozen=True):
    pairing_id: UUID
    mitra_id: UUID
    outcome: RequestStatus
    close_reason: CloseReason | None
    offered_at: datetime
    answered_at: datetime | None


LIST_REQUESTS: Final = """
SELECT requests.pairing_id, requests.mitra_id, requests.status AS outcome, requests.close_reason, requests.offered_at,
    requests.answered_at
FROM unnest($1::uuid[]) AS asked (id)
JOIN requests ON requests.pairing_id = asked.id
LIMIT $2
"""


async def list_requests(
    db: Executor, /, *, pairing_ids: Sequence[UUID], max_requests: int
) -> list[PastRequest]:
    """Read the requests of these pairings, at most @max_requests."""
    return [PastRequest(*row) for row in await db.fetch(LIST_REQUESTS, pairing_ids, max_requests)]


class ListCapacitiesRow(msgspec.Struct, frozen=True):
    id: UUID
    display_name: str
    max_customers: int


LIST_CAPACITIES: Final = """
SELECT id, display_name, max_customers FROM mitras WHERE id = ANY ($1::uuid[])
"""


async def list_capacities(db: Executor, /, *, mitra_ids: Sequence[UUID]) -> list[ListCapacitiesRow]:
    return [ListCapacitiesRow(*row) for row in await db.fetch(LIST_CAPACITIES, mitra_ids)]


INSERT_WHAT_IF: Final = """
INSERT INTO what_ifs (asked_by, question) VALUES ($1, $2) RETURNING id
"""


async def insert_what_if(db: Executor, /, *, asked_by: UUID, question: str) -> UUID:
    row = await db.fetchrow(INSERT_WHAT_IF, asked_by, question)
    if row is None:
        raise NoRow(INSERT_WHAT_IF)
    value: UUID = row[0]
    return value


LOCK_ASKING: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('what-ifs', 0)) AS locked
"""


async def lock_asking(db: Executor, /) -> None:
    """Take the lock under which what-ifs are asked, until this transaction ends."""
    row = await db.fetchrow(LOCK_ASKING)
    if row is None:
        raise NoRow(LOCK_ASKING)
    value: None = row[0]
    return value


COUNT_UNFINISHED: Final = """
SELECT count(*) AS unfinished FROM what_ifs WHERE status IN ('waiting', 'running')
"""


async def count_unfinished(db: Executor, /) -> int:
    row = await db.fetchrow(COUNT_UNFINISHED)
    if row is None:
        raise NoRow(COUNT_UNFINISHED)
    value: int = row[0]
    return value


class WhatIfRow(msgspec.Struct, frozen=True):
    id: UUID
    status: WhatIfStatus
    question: str
    asked_by: UUID
    email: str
    asked_at: datetime
    progress: float
    finished_at: datetime | None
    answer: str | None
    problem: str | None


LIST_WHAT_IFS: Final = """
SELECT what_ifs.id, what_ifs.status, what_ifs.question, what_ifs.asked_by, operators.email, what_ifs.asked_at,
    what_ifs.progress::double precision AS progress, what_ifs.finished_at, what_ifs.answer, what_ifs.problem
FROM what_ifs JOIN operators ON operators.id = what_ifs.asked_by
WHERE $1::uuid IS NULL OR what_ifs.id = $1
ORDER BY what_ifs.asked_at DESC, what_ifs.id DESC
LIMIT $2
"""


async def list_what_ifs(db: Executor, /, *, only_id: UUID | None, max_rows: int) -> list[WhatIfRow]:
    """Read the newest what-ifs, at most @max_rows. If @only_id is not null, only this one."""
    return [WhatIfRow(*row) for row in await db.fetch(LIST_WHAT_IFS, only_id, max_rows)]


FAIL_ABANDONED: Final = """
UPDATE what_ifs SET status = 'failed', finished_at = curhat_now(), problem = 'the worker stopped'
WHERE status = 'running' AND alive_at < curhat_now() - make_interval(secs => $1)
"""


async def fail_abandoned(db: Executor, /, *, max_silent_seconds: float) -> None:
    """running → failed, if the worker has not written for @max_silent_seconds."""
    await db.execute(FAIL_ABANDONED, max_silent_seconds)


class ClaimedWhatIf(msgspec.Struct, frozen=True):
    id: UUID
    question: str


CLAIM_WHAT_IF: Final = """
UPDATE what_ifs SET status = 'running', started_at = curhat_now(), alive_at = curhat_now()
WHERE id = (
    SELECT waiting.id FROM what_ifs AS waiting
    WHERE waiting.status = 'waiting' AND NOT EXISTS (SELECT FROM what_ifs AS other WHERE other.status = 'running')
    ORDER BY waiting.asked_at, waiting.id LIMIT 1 FOR UPDATE SKIP LOCKED
) AND status = 'waiting'
RETURNING id, question
"""


async def claim_what_if(db: Executor, /) -> ClaimedWhatIf | None:
    """Claim the oldest waiting what-if (waiting → running). Returns no row if none waits, or if one runs."""
    row = await db.fetchrow(CLAIM_WHAT_IF)
    if row is None:
        return None
    return ClaimedWhatIf(*row)


WRITE_PROGRESS: Final = """
UPDATE what_ifs SET progress = $1::double precision, alive_at = curhat_now() WHERE id = $2 AND status = 'running' RETURNING id
"""


async def write_progress(db: Executor, /, *, progress: float, id: UUID) -> UUID | None:
    """Write the progress of a running what-if. Returns no row if it does not run any more, for example because it was
    cancelled."""
    row = await db.fetchrow(WRITE_PROGRESS, progress, id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FINISH_WHAT_IF: Final = """
UPDATE what_ifs SET status = 'done', progress = 1, finished_at = curhat_now(), answer = $1
WHERE id = $2 AND status = 'running'
"""


async def finish_what_if(db: Executor, /, *, answer: str, id: UUID) -> None:
    """running → done."""
    await db.execute(FINISH_WHAT_IF, answer, id)


FAIL_WHAT_IF: Final = """
UPDATE what_ifs SET status = 'failed', finished_at = curhat_now(), problem = $1
WHERE id = $2 AND status = 'running'
"""


async def fail_what_if(db: Executor, /, *, problem: str, id: UUID) -> None:
    """running → failed."""
    await db.execute(FAIL_WHAT_IF, problem, id)


CANCEL_WHAT_IF: Final = """
UPDATE what_ifs SET status = 'cancelled', finished_at = curhat_now()
WHERE id = $1 AND status IN ('waiting', 'running')
"""


async def cancel_what_if(db: Executor, /, *, id: UUID) -> int:
    """waiting or running → cancelled. Changes no row if it is finished."""
    return rows_changed(await db.execute(CANCEL_WHAT_IF, id))
