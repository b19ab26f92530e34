"""Counts for the dashboard. PostgreSQL counts payments and sessions.

Valkey knows which mitras are connected and available.
"""

from typing import Final, Literal

from curhat.content.help_lines import queries as help_lines
from curhat.content.help_lines.service import MAX_VERIFIED_DAYS
from curhat.control_center.dashboard import queries
from curhat.control_center.dashboard.schemas import (
    AcceptanceSeconds,
    Bucket,
    Charts,
    ClosedDay,
    Dashboard,
    FrequentReader,
    Funnel,
    MoneyToday,
    SearchNow,
    WeekHour,
)
from curhat.control_center.schemas import OperatorReference, from_row
from curhat.deadlines import queries as deadlines
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.kit.queries import read_clock
from curhat.presence.service import Presence

MAX_SEARCHES_SHOWN: Final = 100
# An operator who opens more chats on one day stands on the dashboard (P.8).
MAX_CHATS_OPENED_PER_DAY: Final = 10
HOURS_CHARTED: Final = 24
DAYS_CHARTED: Final = 30
# Limits how long one call of `keep_hourly_counts` takes, even in a database with many payments.
MAX_HOURS_PER_KEEP: Final = 48


async def read_dashboard(database: Database, presence: Presence) -> Dashboard:
    """Read the current figures, and the figures since midnight in Jakarta. PostgreSQL counts in one snapshot."""
    connected, available, free_capacity = await _read_presence(database, presence)
    async with database.transaction(snapshot=True) as tx:
        figures = await queries.read_figures(tx)
        money = await queries.read_money(tx, since=figures.today_began_at)
        failures = await queries.count_failures_by_tag(tx, since=figures.today_began_at)
        searches = await queries.list_open_searches(tx, max_searches=MAX_SEARCHES_SHOWN)
        readers = await queries.list_frequent_readers(
            tx, since=figures.today_began_at, max_chats=MAX_CHATS_OPENED_PER_DAY
        )
        overdue = await deadlines.count_overdue_deadlines(tx)
        closed = await queries.find_last_closed_day(tx)
        unverified = await help_lines.count_unverified(tx, max_days=MAX_VERIFIED_DAYS)
        parked = await deadlines.count_parked_deadlines(tx)
    return from_row(
        Dashboard,
        figures,
        connected=connected,
        available=available,
        free_capacity=free_capacity,
        searches=[from_row(SearchNow, search) for search in searches],
        funnel=from_row(Funnel, figures),
        acceptance_seconds=AcceptanceSeconds(*figures.acceptance_seconds or (None, None)),
        money=from_row(MoneyToday, money),
        match_rate=_match_rate(money.matches, money.unmatched),
        frequent_readers=[
            FrequentReader(OperatorReference(reader.id, reader.email), reader.chats) for reader in readers
        ],
        deadlines_parked=parked,
        deadlines_overdue=overdue,
        help_lines_unverified=unverified,
        closed_day=None if closed is None else from_row(ClosedDay, closed),
        failures_by_tag={failure.tag: failure.failures for failure in failures},
    )


def _match_rate(matches: int, unmatched: int) -> float | None:
    searches = matches + unmatched
    return None if searches == 0 else matches / searches


async def _read_presence(database: Database, presence: Presence) -> tuple[int | None, int | None, int | None]:
    """Read the numbers of connected and available mitras, and the free capacity.

    All three numbers are None while Valkey is away.
    """
    mitra_ids = await queries.list_mitras_perhaps_connected(database)
    try:
        connected = await presence.connected_among(mitra_ids)
        candidates = await presence.ask_candidates()
    except PresenceUnknown:
        return None, None, None
    free_capacity = await queries.sum_free_capacity(database, mitra_ids=candidates)
    return len(connected), len(candidates), free_capacity


async def read_charts(tx: Transaction) -> Charts:
    """Read the counts of the last 24 hours, per hour, and the counts of the last 30 days, per day."""
    return Charts(
        hours=await _read_buckets(tx, "hour", HOURS_CHARTED),
        days=await _read_buckets(tx, "day", DAYS_CHARTED),
        week=[from_row(WeekHour, row) for row in await queries.sum_week_hours(tx)],
        server_now=await read_clock(tx),
    )


async def keep_hourly_counts(tx: Transaction) -> int:
    """Store the counts of past hours, newest first, so that the charts need not count them again.

    Returns the number of stored hours, at most MAX_HOURS_PER_KEEP.
    """
    return await queries.keep_hourly_counts(tx, days=DAYS_CHARTED, max_hours=MAX_HOURS_PER_KEEP)


async def _read_buckets(tx: Transaction, unit: Literal["hour", "day"], count: int) -> list[Bucket]:
    rows = await queries.count_by_bucket(tx, unit=unit, bucket_count=count)
    return [from_row(Bucket, row) for row in rows]
