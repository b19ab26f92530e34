"""Closes a day, and the deadline that does so every night."""

import asyncio
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from curhat.app import invariants
from curhat.app.closing import queries
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import FollowUp
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock
from curhat.payments import books
from curhat.payments.gateway import Gateway, GatewayUnknown

log = structlog.get_logger(__name__)

BOOKS_CLOSE: Final = "books_close"
# The deadline is about no row, so it has one fixed id.
ONLY_ID: Final = UUID("b0065000-0000-7000-8000-000000000000")
# A day is closed at 02:00 in Jakarta: charges that began before midnight have their answer then.
WAIT_HOURS: Final = 2
MAX_DAYS_BACK: Final = 7
# When the next try begins, if a worker died or the gateway did not answer.
RETRY_SECONDS: Final = 600.0
# The invariants read whole tables, in one snapshot. In a large database, the whole check gives up after this time,
# because an old snapshot keeps VACUUM from removing dead rows.
MAX_INVARIANTS_SECONDS: Final = 120


class _Patient:
    """Reads in a transaction, and waits longer for an answer than other statements do."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._tx.connection.fetch(query, *arguments, timeout=MAX_INVARIANTS_SECONDS + 5)


class BookClosing:
    """The transition of the deadline `books_close`."""

    def __init__(self, database: Database, gateway: Gateway) -> None:
        self._database = database
        self._gateway = gateway

    async def __call__(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Close the next day after the commit, or wait for the next night."""
        next_day = await queries.find_day_to_close(tx, wait_hours=WAIT_HOURS, max_days=MAX_DAYS_BACK)
        day = next_day.day
        if day is None:
            await deadlines.arm(tx, BOOKS_CLOSE, ONLY_ID, next_day.next_at, deadline.generation + 1)
            return None
        retry_at = await read_clock(tx) + timedelta(seconds=RETRY_SECONDS)
        await deadlines.arm(tx, BOOKS_CLOSE, ONLY_ID, retry_at, deadline.generation + 1)

        async def close() -> None:
            try:
                await close_day(self._database, self._gateway, day)
            except GatewayUnknown:
                log.warning("books.gateway_silent", day=day.isoformat())

        return close


async def arm_closing(tx: Transaction) -> None:
    """Arm the deadline if it is not armed. A worker calls this when it starts, and regularly."""
    await deadlines.arm_if_none_is_armed(tx, BOOKS_CLOSE, ONLY_ID, 0)


async def close_day(database: Database, gateway: Gateway, day: date) -> bool:
    """Compare the books of a day that ended, check the invariants, and record the result.

    Returns False if the day was closed meanwhile. Raises GatewayUnknown.
    """
    bounds = await queries.find_bounds(database, day=day)
    compared = await books.compare(database, gateway, bounds.begins_at, bounds.ends_at)
    await pause_point("closing.compared")
    for difference in compared.differences:
        async with database.transaction() as tx:
            await books.record(tx, day, difference)
    broken = await _broken_invariants(database)
    async with database.transaction() as tx:
        closed = await queries.insert_closed_day(
            tx,
            day=day,
            charges=compared.charges,
            charged_rp=compared.charged_rp,
            refunds=compared.refunds,
            refunded_rp=compared.refunded_rp,
            differences=len(compared.differences),
            invariants_checked=0 if broken is None else len(invariants.ALWAYS),
            broken_invariants=broken or [],
        )
    if closed is None:
        return False
    log.info(
        "books.closed",
        day=day.isoformat(),
        charges=compared.charges,
        differences=len(compared.differences),
        broken_invariants=broken,
    )
    return True


async def _broken_invariants(database: Database) -> list[str] | None:
    """Return the names of the invariants that do not hold, or None if the check took too long."""
    try:
        async with asyncio.timeout(MAX_INVARIANTS_SECONDS), database.transaction(snapshot=True) as tx:
            await queries.limit_statement(tx, seconds=MAX_INVARIANTS_SECONDS)
            violations = await invariants.check(_Patient(tx))
    except (asyncpg.QueryCanceledError, TimeoutError):
        log.warning("books.invariants_not_checked", seconds=MAX_INVARIANTS_SECONDS)
        return None
    return sorted({violation.invariant.name for violation in violations})
