"""A connection for the checks alone, that plans each of them once.

The invariants are one long statement, longer than what the pool's connections keep prepared: planning it takes longer
than running it, and it runs after every step.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from curhat.kit.database import Database

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Checker:
    """Runs statements that it has planned before (invariants.Reader)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared: dict[str, PreparedStatement[asyncpg.Record]] = {}

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows of one statement."""
        if query not in self._prepared:
            self._prepared[query] = await self._connection.prepare(query)
        return await self._prepared[query].fetch(*arguments)


@asynccontextmanager
async def checker_of(database: Database) -> AsyncIterator[Checker]:
    """A checker for a whole run of schedules."""
    async with database.pool.acquire() as connection:
        yield Checker(connection)
