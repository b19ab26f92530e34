"""Provides a virtual clock. In a test database, `curhat_now()` returns the time that a test has set.

Only the body of `curhat_now()` differs from production. Every statement of the product runs unchanged.
"""

from datetime import UTC, datetime, timedelta

import asyncpg

from curhat.kit.database import Database

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

# In plpgsql, each statement sees the rows that were committed before the statement began. A transaction that waits for
# a lock while the clock moves therefore sees the new time, as with a real clock.
VIRTUAL = """
CREATE TABLE virtual_clock (now timestamptz);
CREATE OR REPLACE FUNCTION curhat_now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN coalesce((SELECT now FROM virtual_clock), clock_timestamp());
END $$;
"""


async def install_virtual_clock(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Replace the clock of this database. The new clock shows the real time until a test sets it."""
    await connection.execute(VIRTUAL)


class VirtualClock:
    """The clock of one test database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now: datetime | None = None

    async def set(self, now: datetime = START) -> None:
        """Stop the clock at `now`."""
        async with self._database.transaction() as tx:
            await tx.execute("DELETE FROM virtual_clock")
            await tx.execute("INSERT INTO virtual_clock VALUES ($1)", now)
        self._now = now

    async def advance(self, seconds: float) -> datetime:
        """Move the stopped clock forward. A running clock first stops at START. Returns the new time."""
        await self.set((self._now or START) + timedelta(seconds=seconds))
        return await self.now()

    async def now(self) -> datetime:
        """The database's time."""
        now: datetime = await self._database.fetchval("SELECT curhat_now()")
        return now
