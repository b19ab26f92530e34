"""Checks the invariants on a separate connection, so that PostgreSQL plans the invariants' statement only once.

One statement checks all invariants. The statement is too long for the statement cache of the pool's connections. The
statement runs after every step. PostgreSQL needs more time to plan the statement than to run it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from curhat.kit.database import Database

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Checker:
    """Prepares each statement once, and then runs the prepared statement repeatedly (invariants.Reader)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared: dict[str, PreparedStatement[asyncpg.Record]] = {}

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return all rows of one statement."""
        if query not in self._prepared:
            self._prepared[query] = await self._connection.prepare(query)
        return await self._prepared[query].fetch(*arguments)


@asynccontextmanager
async def checker_of(database: Database) -> AsyncIterator[Checker]:
    """A checker on a separate connection."""
    async with database.pool.acquire() as connection:
        yield Checker(connection)
