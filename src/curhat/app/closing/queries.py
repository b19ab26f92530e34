"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import msgspec

from curhat.kit.database import Executor, NoRow


class DayToClose(msgspec.Struct, frozen=True):
    day: date | None
    next_at: datetime


FIND_DAY_TO_CLOSE: Final = """
WITH moment AS MATERIALIZED (
    SELECT (curhat_now() AT TIME ZONE 'Asia/Jakarta' - make_interval(hours => $1))::date AS today
), days AS (
    SELECT generate_series(
        greatest(
            moment.today - $2::integer, coalesce((SELECT max(day) FROM closed_days) + 1, moment.today - 1)
        )::timestamp, (moment.today - 1)::timestamp, '1 day'
    )::date AS day
    FROM moment
)
SELECT (SELECT min(day) FROM days) AS day,
    ((moment.today + 1)::timestamp + make_interval(hours => $1)) AT TIME ZONE 'Asia/Jakarta' AS next_at
FROM moment
"""


async def find_day_to_close(db: Executor, /, *, wait_hours: int, max_days: int) -> DayToClose:
    """Find the oldest day in Jakarta that ended at least @wait_hours ago and has no row, at most @max_days back. Without any
    closed day, only the last day that ended counts. No such day: `day` is null. `next_at` is when the next day can be
    closed."""
    row = await db.fetchrow(FIND_DAY_TO_CLOSE, wait_hours, max_days)
    if row is None:
        raise NoRow(FIND_DAY_TO_CLOSE)
    return DayToClose(*row)


class FindBoundsRow(msgspec.Struct, frozen=True):
    begins_at: datetime
    ends_at: datetime


FIND_BOUNDS: Final = """
SELECT ($1::date)::timestamp AT TIME ZONE 'Asia/Jakarta' AS begins_at,
    ($1::date + 1)::timestamp AT TIME ZONE 'Asia/Jakarta' AS ends_at
"""


async def find_bounds(db: Executor, /, *, day: date) -> FindBoundsRow:
    """Compute when a day in Jakarta begins and ends."""
    row = await db.fetchrow(FIND_BOUNDS, day)
    if row is None:
        raise NoRow(FIND_BOUNDS)
    return FindBoundsRow(*row)


LIMIT_STATEMENT: Final = """
SELECT set_config('statement_timeout', $1::integer || 's', true) AS statement_timeout
"""


async def limit_statement(db: Executor, /, *, seconds: int) -> str:
    """Let each later statement of this transaction run for up to @seconds."""
    row = await db.fetchrow(LIMIT_STATEMENT, seconds)
    if row is None:
        raise NoRow(LIMIT_STATEMENT)
    value: str = row[0]
    return value


INSERT_CLOSED_DAY: Final = """
INSERT INTO closed_days (day, charges, charged_rp, refunds, refunded_rp, differences, invariants_checked,
    broken_invariants)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING day
"""


async def insert_closed_day(
    db: Executor,
    /,
    *,
    day: date,
    charges: int,
    charged_rp: int,
    refunds: int,
    refunded_rp: int,
    differences: int,
    invariants_checked: int,
    broken_invariants: Sequence[str],
) -> date | None:
    """nothing → closed. Returns no row if the day is closed already."""
    row = await db.fetchrow(
        INSERT_CLOSED_DAY,
        day,
        charges,
        charged_rp,
        refunds,
        refunded_rp,
        differences,
        invariants_checked,
        broken_invariants,
    )
    if row is None:
        return None
    value: date = row[0]
    return value
