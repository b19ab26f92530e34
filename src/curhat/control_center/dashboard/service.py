"""Counting. What PostgreSQL knows is counted in one snapshot; who is there is asked of presence."""

from typing import Final

from curhat.control_center.dashboard.schemas import (
    AcceptanceSeconds,
    Bucket,
    Charts,
    Dashboard,
    Funnel,
    SearchNow,
)
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import PresenceUnknown
from curhat.presence.service import Presence

SQL = load_queries(__file__)

SEARCHES_SHOWN: Final = 100
HOURS: Final = 24
DAYS: Final = 30


async def now(database: Database, presence: Presence) -> Dashboard:
    """What happens now, and what happened today."""
    connected, available, free_capacity = await _who_is_there(database, presence)
    async with database.transaction(snapshot=True) as tx:
        row = await tx.fetchrow(SQL.figures)
        assert row is not None  # The statement always gives one row.
        p50, p95 = row["seconds"] or (None, None)
        failures = await tx.fetch(SQL.failures_by_tag, row["began_at"])
        searches = await tx.fetch(SQL.searches, SEARCHES_SHOWN)
    return Dashboard(
        online=row["online"],
        connected=connected,
        available=available,
        free_capacity=free_capacity,
        active_sessions=row["active_sessions"],
        searching_now=row["searching_now"],
        searches=[SearchNow(**dict(search)) for search in searches],
        funnel=Funnel(row["opened"], row["confirmed"], row["matched"], row["finished"]),
        acceptance_seconds=AcceptanceSeconds(p50, p95),
        failures_by_tag={failure["tag"]: failure["count"] for failure in failures},
        open_cases=row["open_cases"],
        refunds_awaiting_approval=row["refunds_awaiting_approval"],
        refunds_refused=row["refunds_refused"],
        today_began_at=row["began_at"],
        server_now=row["now"],
    )


async def _who_is_there(database: Database, presence: Presence) -> tuple[int | None, int | None, int | None]:
    """Connected, available, free places; None each while nobody knows."""
    rows = await database.fetch(SQL.perhaps_connected)
    try:
        connected = await presence.connected_among([row["id"] for row in rows])
        candidates = await presence.ask_candidates()
    except PresenceUnknown:
        return None, None, None
    return len(connected), len(candidates), await database.fetchval(SQL.free_capacity, candidates)


async def charts(tx: Transaction) -> Charts:
    """The last day by hour and the last month by day."""
    return Charts(
        hours=await _buckets(tx, "hour", HOURS),
        days=await _buckets(tx, "day", DAYS),
        server_now=await tx.fetchval(SQL.server_now),
    )


async def _buckets(tx: Transaction, unit: str, count: int) -> list[Bucket]:
    return [Bucket(**dict(row)) for row in await tx.fetch(SQL.buckets, unit, count)]
