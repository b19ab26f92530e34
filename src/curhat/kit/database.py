"""PostgreSQL: a pool of connections, and transactions.

Guarantees
    A transaction sends its signals after its commit, and never after a rollback.
    A signal can be lost, because the process may die after the commit and before it sends the signal. So every
    receiver of signals also reads the database every few seconds.
Relies on
    asyncpg.
    Callers, which must not use one Transaction in two tasks at the same time.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, Self, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from prometheus_client import Histogram

from curhat.kit.pause_points import pause_point
from curhat.kit.signals import NoSignals, SignalSink

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

# asyncpg raises one of these errors if it cannot reach PostgreSQL, or if the connection breaks during a statement. A
# loop that catches such an error tries again. asyncpg raises InternalClientError if PostgreSQL has closed the
# connection and asyncpg has not noticed this yet.
DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


# The SQLSTATE classes, and single SQLSTATEs, of faults that are not in our statements: lost connections, no resources,
# a shutdown, a disk; a server that has become read-only; a session ended because this process stood still.
_SQLSTATES_AWAY: Final = ("08", "53", "57", "58", "25006", "25P03")


def is_away(error: BaseException) -> bool:
    """Whether PostgreSQL cannot be reached, or cannot write, at the moment. False for a bug in our statements.

    After such an error, it is not known whether a commit took effect.
    """
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_SQLSTATES_AWAY)
    # asyncpg raises an InterfaceError that is a ValueError for an argument that does not fit its type.
    return isinstance(error, DATABASE_AWAY) and not isinstance(error, ValueError)


# If a process stops in the middle of a transaction, PostgreSQL ends the transaction after this time and frees its
# locks. So nobody waits longer for a process that has stopped. Between two statements of a transaction, a process that
# works waits at most one second (for Valkey).
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000


WAIT_SECONDS: Final = Histogram(
    "curhat_database_wait_seconds",
    "How long a caller waited for a connection of the pool",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)


class NoRow(Exception):
    """A statement returned no row, although it must return one. This is a bug in our code.

    The error's text is the SQL statement.
    """


class Executor(Protocol):
    """The interface that the functions of a generated `queries.py` need. Transaction and Database implement it."""

    async def fetch(self, query: str, /, *arguments: object) -> list[asyncpg.Record]: ...
    async def fetchrow(self, query: str, /, *arguments: object) -> asyncpg.Record | None: ...
    async def execute(self, query: str, /, *arguments: object) -> str: ...


def rows_changed(command_tag: str) -> int:
    """Return the number of rows that a statement changed, from PostgreSQL's command tag such as `UPDATE 3`."""
    return int(command_tag.rpartition(" ")[2])


class Transaction:
    """An open transaction. A function that takes a Transaction never commits it.

    `fetch`, `fetchrow` and `execute` each run one statement.
    """

    __slots__ = ("_signals", "_sink", "connection")

    def __init__(self, connection: Connection, sink: SignalSink) -> None:
        self.connection = connection
        self._sink = sink
        self._signals: list[tuple[str, bytes]] = []

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        return await self.connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        return await self.connection.fetchrow(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> str:
        return await self.connection.execute(query, *arguments)

    def signal(self, channel: str, payload: bytes) -> None:
        """Publish `payload` on `channel` after the commit of this transaction, and never after a rollback."""
        self._signals.append((channel, payload))

    def committed(self) -> None:
        """Send this transaction's signals. Only Database.transaction calls this method, after the commit."""
        for channel, payload in self._signals:
            self._sink.publish(channel, payload)


class Database:
    """A pool of connections to PostgreSQL.

    `fetch`, `fetchrow`, `fetchval` and `execute` each run one statement, in a separate transaction.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", sink: SignalSink) -> None:
        self.pool = pool
        self.sink = sink
        self._failover = _Failover(pool)

    @classmethod
    async def connect(
        cls, url: str, *, pool_size: int, sink: SignalSink | None = None, application_name: str = "curhat"
    ) -> Self:
        """Open a pool of at most `pool_size` connections. Without a `sink`, the Database drops all signals."""
        pool = await asyncpg.create_pool(
            url,
            min_size=min(2, pool_size),
            max_size=pool_size,
            command_timeout=30,
            max_inactive_connection_lifetime=0,
            # Of several hosts, take the one that can write. If none can, there is no connection.
            target_session_attrs=SessionAttribute.read_write,
            # Make asyncpg look up every array type that our statements use. Otherwise, on each connection, the first
            # statement with an array parameter takes several milliseconds longer.
            init=lambda connection: connection.prepare(
                "SELECT $1::uuid[], $2::text[], $3::timestamptz[], $4::integer[], $5::bigint[], $6::bytea[]"
            ),
            # Skip the pool's own reset query, which takes one round trip per transaction. Our statements change no
            # state of the connection.
            reset=_skip_reset,
            server_settings={
                "application_name": application_name,
                "jit": "off",
                # PostgreSQL plans each statement once per connection, for all parameter values (decision 0051).
                "plan_cache_mode": "force_generic_plan",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_MS}ms",
            },
        )
        return cls(pool, sink or NoSignals())

    async def close(self) -> None:
        """Close all connections. Waits until no connection is in use."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction. Commit it at the end of the block. If the block raises, roll the transaction back.

        With `snapshot`, every statement sees the same state of the data (repeatable read). Use `snapshot` only to
        read, because a decision needs the newest state.
        """
        async with self._failover, self._connection() as connection:
            transaction = Transaction(connection, self.sink)
            async with connection.transaction(isolation="repeatable_read" if snapshot else None):
                yield transaction
        await pause_point("transaction.committed")
        transaction.committed()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._failover, self._connection() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        async with self._failover, self._connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        async with self._failover, self._connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> str:
        async with self._failover, self._connection() as connection:
            return await connection.execute(query, *arguments)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Take a connection of the pool for the block, and measure how long it took to get one."""
        began = time.perf_counter()
        connection = await self.pool.acquire()
        WAIT_SECONDS.observe(time.perf_counter() - began)
        try:
            yield connection
        finally:
            await self.pool.release(connection)

    async def is_read_only(self) -> bool:
        """Whether the connections lead to a server that cannot write, such as a primary after a failover.

        If so, replace the connections.
        """
        async with self.pool.acquire() as connection:
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                await self.pool.expire_connections()
                return True
        return False


class _Failover:
    """Replaces all connections of a pool after an error that shows that they lead to a read-only server.

    A new connection must lead to a server that can write.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            await self._pool.expire_connections()


async def _skip_reset(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    return None
