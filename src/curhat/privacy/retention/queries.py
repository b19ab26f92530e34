"""Generated from queries.sql by `make contracts`. Do not edit."""

from typing import Final

import msgspec

from curhat.kit.database import Executor, rows_changed
from curhat.privacy.retention.classes import TimedClass

PRUNE_NOTICES: Final = """
DELETE FROM notices WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM notices WHERE created_at < (SELECT curhat_now() - make_interval(months => $1))
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
))
"""


async def prune_notices(db: Executor, /, *, months: int, max_rows: int) -> int:
    """Delete at most @max_rows notices that are older than @months months, oldest first."""
    return rows_changed(await db.execute(PRUNE_NOTICES, months, max_rows))


PRUNE_RATINGS: Final = """
DELETE FROM ratings WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ratings WHERE rated_at < (SELECT curhat_now() - make_interval(months => $1))
    ORDER BY rated_at LIMIT $2 FOR UPDATE SKIP LOCKED
))
"""


async def prune_ratings(db: Executor, /, *, months: int, max_rows: int) -> int:
    """Delete at most @max_rows ratings that are older than @months months, oldest first."""
    return rows_changed(await db.execute(PRUNE_RATINGS, months, max_rows))


PRUNE_REPORTS: Final = """
DELETE FROM reports WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM reports
    WHERE queue_rank = 3
        AND due_at < (SELECT curhat_now() - make_interval(months => $1, days => -$2::integer))
        AND closed_at < (SELECT curhat_now() - make_interval(months => $1))
        AND NOT EXISTS (SELECT 1 FROM notices WHERE notices.report_id = reports.id)
    ORDER BY queue_rank, due_at LIMIT $3 FOR UPDATE SKIP LOCKED
))
"""


async def prune_reports(db: Executor, /, *, months: int, max_due_days: int, max_rows: int) -> int:
    """Delete at most @max_rows reports and concerns whose last step was done more than @months months ago. A report that has
    a notice stays until its notices are deleted. An operator had to take the last step until due_at, and the time from
    closed_at to due_at is at most @max_due_days. So the index reports_by_queue finds the rows."""
    return rows_changed(await db.execute(PRUNE_REPORTS, months, max_due_days, max_rows))


class Overdue(msgspec.Struct, frozen=True):
    data_class: TimedClass
    overdue_seconds: float | None


LIST_OVERDUE: Final = """
SELECT timed.data_class, extract(epoch FROM curhat_now() - timed.ends_at)::float8 AS overdue_seconds
FROM (VALUES
    ('notices', (SELECT min(created_at) + make_interval(months => $1) FROM notices)),
    ('ratings', (SELECT min(rated_at) + make_interval(months => $1) FROM ratings)),
    ('reports', (
        SELECT closed_at + make_interval(months => $1) FROM reports WHERE queue_rank = 3
        ORDER BY queue_rank, due_at LIMIT 1
    )),
    ('events', (SELECT min(at) + interval '24 hours' FROM stream_events)),
    ('answers to repeated requests', (SELECT min(created_at) + interval '24 hours' FROM idempotency_keys)),
    ('one-time codes', (SELECT min(created_at) + interval '24 hours' FROM one_time_codes)),
    ('known devices', (
        SELECT min(created_at) + make_interval(secs => $2) FROM known_devices
    )),
    ('sign-ins', (SELECT min(least(expires_at, revoked_at)) + interval '7 days' FROM access_tokens)),
    ('sign-ins of operators', (SELECT min(least(expires_at, revoked_at)) + interval '7 days' FROM operator_tokens)),
    ('tries of operators to sign in', (SELECT min(tried_at) + interval '24 hours' FROM operator_sign_in_tries)),
    ('push messages', (SELECT min(expires_at) FROM push_messages)),
    ('exports', (SELECT min(begun_at) + interval '24 hours' FROM exports)),
    ('phones of deleted accounts', (SELECT min(expires_at) FROM erased_phones))
) AS timed (data_class, ends_at)
"""


async def list_overdue(db: Executor, /, *, months: int, known_device_seconds: float) -> list[Overdue]:
    """Read by how many seconds the oldest row of each class is over its time. The seconds are negative or null if no row is
    over its time. An index gives the oldest row of each class. The chat text has a statement of its own (sessions)."""
    return [Overdue(*row) for row in await db.fetch(LIST_OVERDUE, months, known_device_seconds)]
