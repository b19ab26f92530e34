"""Generated from queries.sql by `make contracts`. Do not edit."""

from typing import Final

import msgspec

from curhat.kit.database import Executor, NoRow

LIMIT_SORT_MEMORY: Final = """
SELECT set_config('work_mem', '64kB', true) AS work_mem
"""


async def limit_sort_memory(db: Executor, /) -> str:
    """Let the next statement of this transaction use at most 64 kB of memory, so that the statement writes a temporary
    file."""
    row = await db.fetchrow(LIMIT_SORT_MEMORY)
    if row is None:
        raise NoRow(LIMIT_SORT_MEMORY)
    value: str = row[0]
    return value


class ProbeWritingRow(msgspec.Struct, frozen=True):
    spilled_rows: int
    wal_position: str


PROBE_WRITING: Final = """
SELECT count(*) AS spilled_rows, pg_logical_emit_message(true, 'curhat', 'status')::text AS wal_position
FROM generate_series(1, 20000)
"""


async def probe_writing(db: Executor, /) -> ProbeWritingRow:
    """Write 280 kB into a temporary file on the data disk, and a record into the WAL. The commit flushes the record, and
    waits for a synchronous standby. So the probe fails or hangs when the database cannot write. The statement needs no
    table and takes no lock. The statement leaves only 60 bytes of WAL behind."""
    row = await db.fetchrow(PROBE_WRITING)
    if row is None:
        raise NoRow(PROBE_WRITING)
    return ProbeWritingRow(*row)


class Figures(msgspec.Struct, frozen=True):
    mitras_online: int
    sessions_active: int
    searches_open: int
    searches_overdue: int
    payments_in_flight: int
    in_flight_rp: float
    payments_stuck: int
    cases_open: int
    cases_open_rp: float
    oldest_case_seconds: float
    refunds_awaiting_approval: int
    refunds_requested: int
    gateway_unanswered: int
    reports_waiting: int
    urgent_reports_overdue: int
    other_reports_overdue: int
    deadlines_parked: int
    help_lines_unverified: int
    oldest_due_seconds: float
    book_differences: int
    invariants_broken: int
    books_closed_age_seconds: float


READ_FIGURES: Final = """
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
)
SELECT
    (SELECT count(*) FROM mitras WHERE online AND suspended_at IS NULL) AS mitras_online,
    (SELECT count(*) FROM sessions WHERE status = 'active') AS sessions_active,
    (SELECT count(*) FROM pairings WHERE status = 'open') AS searches_open,
    (
        SELECT count(*) FROM pairings WHERE status = 'open' AND deadline_at < moment.now - interval '5 seconds'
    ) AS searches_overdue,
    (SELECT count(*) FROM payments WHERE status IN ('confirming', 'confirmed')) AS payments_in_flight,
    (
        SELECT coalesce(sum(amount_rp), 0)::float8 FROM payments WHERE status IN ('confirming', 'confirmed')
    ) AS in_flight_rp,
    (
        SELECT count(*) FROM payments
        WHERE status IN ('confirming', 'confirmed') AND confirmed_at < moment.now - interval '1 hour'
    ) AS payments_stuck,
    (SELECT count(*) FROM review_cases WHERE status = 'open') AS cases_open,
    (SELECT coalesce(sum(amount_rp), 0)::float8 FROM review_cases WHERE status = 'open') AS cases_open_rp,
    (
        SELECT coalesce(extract(epoch FROM moment.now - min(opened_at)), 0)::float8
        FROM review_cases WHERE status = 'open'
    ) AS oldest_case_seconds,
    (
        SELECT count(*) FROM review_cases WHERE needs_approval AND approved_by IS NULL
    ) AS refunds_awaiting_approval,
    (SELECT count(*) FROM refunds WHERE status = 'requested') AS refunds_requested,
    (SELECT count(DISTINCT payment_id) FROM unanswered_calls) AS gateway_unanswered,
    (SELECT count(*) FROM reports WHERE queue_rank < 3) AS reports_waiting,
    (SELECT count(*) FROM reports WHERE queue_rank = 0 AND due_at < moment.now) AS urgent_reports_overdue,
    (SELECT count(*) FROM reports WHERE queue_rank IN (1, 2) AND due_at < moment.now) AS other_reports_overdue,
    (SELECT count(*) FROM deadlines WHERE parked_at IS NOT NULL) AS deadlines_parked,
    (
        SELECT count(*)
        FROM (
            SELECT items FROM help_line_versions WHERE published_at IS NOT NULL ORDER BY version DESC LIMIT 1
        ) AS current_version, jsonb_array_elements(items) AS listed (item)
        WHERE item ->> 'kind' = 'line'
            AND coalesce((item ->> 'verified_at')::timestamptz < moment.now - interval '30 days', true)
    ) AS help_lines_unverified,
    (
        SELECT greatest(coalesce(extract(epoch FROM moment.now - min(due_at)), 0), 0)::float8
        FROM deadlines WHERE parked_at IS NULL
    ) AS oldest_due_seconds,
    coalesce((SELECT differences FROM closed_days ORDER BY day DESC LIMIT 1), 0) AS book_differences,
    coalesce(
        (SELECT cardinality(broken_invariants) FROM closed_days ORDER BY day DESC LIMIT 1), 0
    ) AS invariants_broken,
    (
        SELECT coalesce(extract(epoch FROM moment.now - max(closed_at)), 0)::float8 FROM closed_days
    ) AS books_closed_age_seconds
FROM moment
"""


async def read_figures(db: Executor, /) -> Figures:
    """Read the counts that the metrics show. `oldest_due_seconds` is the time since the oldest due deadline came due, or 0
    if no deadline is due. A payment is stuck if it was confirmed more than an hour ago and is still searching.
    The figures of the books are those of the last closed day, and 0 before the first."""
    row = await db.fetchrow(READ_FIGURES)
    if row is None:
        raise NoRow(READ_FIGURES)
    return Figures(*row)


class CodesOfToday(msgspec.Struct, frozen=True):
    region: str
    codes: int


LIST_CODES_OF_TODAY: Final = """
SELECT region, codes FROM code_days WHERE day = (curhat_now() AT TIME ZONE 'UTC')::date
"""


async def list_codes_of_today(db: Executor, /) -> list[CodesOfToday]:
    """Read how many one-time codes were made today (UTC), by country. A country without codes has no row."""
    return [CodesOfToday(*row) for row in await db.fetch(LIST_CODES_OF_TODAY)]
