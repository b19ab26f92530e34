"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow


class MitraState(msgspec.Struct, frozen=True):
    id: UUID
    display_name: str
    online: bool
    suspended: bool
    can_take_customer: bool
    active_sessions: int
    max_customers: int
    push_reachable_seconds: float
    availability_version: int
    break_until: datetime | None


READ_MITRA_STATES: Final = """
SELECT id, display_name, online, suspended_at IS NOT NULL AS suspended, can_take_customer, active_sessions,
    max_customers,
    CASE WHEN push_ready
        THEN greatest(0, $1 - extract(epoch FROM curhat_now() - last_seen_at)::float8)
        ELSE 0
    END AS push_reachable_seconds,
    availability_version + (SELECT ordered_version(0)) AS availability_version, break_until
FROM mitras
WHERE id = ANY ($2::uuid[])
"""


async def read_mitra_states(
    db: Executor, /, *, push_window_seconds: float, mitra_ids: Sequence[UUID]
) -> list[MitraState]:
    """Read the columns on which the availability of these mitras depends. `push_reachable_seconds` is the number of seconds
    for which push can still reach the mitra. Push reaches the mitra until @push_window_seconds after last_seen_at. The
    number is 0 if the mitra has no subscription, or if all subscriptions of the mitra have failed.
    `availability_version` increases when the toggle, the suspension, active_sessions, max_customers, push_ready or
    break_until changes. The version does not increase when `push_reachable_seconds` falls with time. After a failover, every version
    is higher than before."""
    return [MitraState(*row) for row in await db.fetch(READ_MITRA_STATES, push_window_seconds, mitra_ids)]


class LockedMitra(msgspec.Struct, frozen=True):
    id: UUID
    online: bool
    is_on_break: bool


LOCK_MITRAS: Final = """
SELECT id, online, break_until IS NOT NULL AS is_on_break
FROM mitras WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""


async def lock_mitras(db: Executor, /, *, mitra_ids: Sequence[UUID]) -> list[LockedMitra]:
    """Lock these mitras in id order, and read their toggles and breaks. The caller must change a mitra in a later statement, because
    one statement that both locks and changes a mitra can deadlock.

    Example of the deadlock:
    T0 has changed the mitra and has not committed.
    T1 inserts a request for the mitra, and so holds FOR KEY SHARE on the old row version.
    T2 starts one statement that both locks and changes the mitra. T2 waits for T0.
    T3 wants to lock the mitra too, and waits behind T2.
    T0 commits, and T2 locks the new row version.
    T2 then tries to lock the old row version, because its statement read this version at the start.
    T2 must wait, because T1 holds a lock on the old row version.
    T3 is already in the queue for the old row version, so T2 waits behind T3, and T3 waits for T2."""
    return [LockedMitra(*row) for row in await db.fetch(LOCK_MITRAS, mitra_ids)]


SET_INTENT: Final = """
UPDATE mitras SET online = $1, break_until = NULL
WHERE id = $2
RETURNING id, display_name, online, suspended_at IS NOT NULL AS suspended, can_take_customer, active_sessions,
    max_customers,
    CASE WHEN push_ready
        THEN greatest(0, $3 - extract(epoch FROM curhat_now() - last_seen_at)::float8)
        ELSE 0
    END AS push_reachable_seconds,
    availability_version + (SELECT ordered_version(0)) AS availability_version, break_until
"""


async def set_intent(
    db: Executor, /, *, online: bool, mitra_id: UUID, push_window_seconds: float
) -> MitraState:
    """Set mitras.online, and end the mitra's break. The caller holds the row's lock. Returns the state after the change."""
    row = await db.fetchrow(SET_INTENT, online, mitra_id, push_window_seconds)
    if row is None:
        raise NoRow(SET_INTENT)
    return MitraState(*row)


BEGIN_BREAK: Final = """
UPDATE mitras SET online = false, break_until = curhat_now() + make_interval(secs => $1)
WHERE id = $2
RETURNING id, display_name, online, suspended_at IS NOT NULL AS suspended, can_take_customer, active_sessions,
    max_customers,
    CASE WHEN push_ready
        THEN greatest(0, $3 - extract(epoch FROM curhat_now() - last_seen_at)::float8)
        ELSE 0
    END AS push_reachable_seconds,
    availability_version + (SELECT ordered_version(0)) AS availability_version, break_until
"""


async def begin_break(
    db: Executor, /, *, break_seconds: float, mitra_id: UUID, push_window_seconds: float
) -> MitraState:
    """Switch the mitra offline, and begin a break of @break_seconds. If the mitra is on a break already, the new break
    replaces it. The caller holds the row's lock. Returns the state after the change."""
    row = await db.fetchrow(BEGIN_BREAK, break_seconds, mitra_id, push_window_seconds)
    if row is None:
        raise NoRow(BEGIN_BREAK)
    return MitraState(*row)


READ_PUSH_REACHABLE_MITRAS: Final = """
SELECT id FROM mitras
WHERE push_ready AND online AND suspended_at IS NULL
    AND last_seen_at > (SELECT curhat_now() - make_interval(secs => $1))
"""


async def read_push_reachable_mitras(db: Executor, /, *, push_window_seconds: float) -> list[UUID]:
    """Find the mitras whom push can reach now. Push can reach a mitra who is online and not suspended, has a subscription
    that has not failed, and was last seen within @push_window_seconds."""
    return [row[0] for row in await db.fetch(READ_PUSH_REACHABLE_MITRAS, push_window_seconds)]


RELEASE_PLACES: Final = """
UPDATE mitras SET active_sessions = mitras.active_sessions - ended.places
FROM (
    SELECT mitra_id, count(*)::integer AS places FROM unnest($1::uuid[]) AS mitra_id GROUP BY mitra_id
) AS ended
WHERE mitras.id = ended.mitra_id
"""


async def release_places(db: Executor, /, *, mitra_ids: Sequence[UUID]) -> None:
    """For each element of @mitra_ids, subtract 1 from this mitra's active_sessions. The caller holds the rows'
    locks. A result below 0 violates the table's CHECK."""
    await db.execute(RELEASE_PLACES, mitra_ids)


WRITE_LAST_SEEN: Final = """
WITH seen AS (
    SELECT mitra_id, curhat_now() - make_interval(secs => age_seconds) AS seen_at
    FROM unnest($1::uuid[], $2::double precision[]) AS frames (mitra_id, age_seconds)
), locked_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE mitras SET last_seen_at = greatest(mitras.last_seen_at, seen.seen_at)
FROM locked_mitras JOIN seen ON seen.mitra_id = locked_mitras.id
WHERE mitras.id = locked_mitras.id
RETURNING mitras.id
"""


async def write_last_seen(
    db: Executor, /, *, mitra_ids: Sequence[UUID], ages_seconds: Sequence[float]
) -> list[UUID]:
    """Set each mitra's last_seen_at to the time @ages_seconds ago. If the stored last_seen_at is later, the statement keeps
    the stored time. Returns the mitras whose rows the statement wrote. The statement skips rows that another transaction
    has locked, so the statement never waits and never takes part in a deadlock."""
    return [row[0] for row in await db.fetch(WRITE_LAST_SEEN, mitra_ids, ages_seconds)]
