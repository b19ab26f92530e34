"""PostgreSQL: a pool of connections, and transactions.

Guarantees:
    A transaction sends its signals after its commit, and never after a rollback.
    A signal can be lost, because the process can die after the commit and before it sends the signal. So every receiver
    of signals also reads the database every few seconds.
    Each wait for a connection of the pool, a lock, a statement or a commit has a time limit. A wait beyond the limit
    raises an error for which `is_away` or `is_busy` is true.
    If it is not known whether a commit took effect, `Database.transaction` raises CommitUnknown, and no other error.
Relies on:
    asyncpg.
    The module kit/connecting.py chooses the host, and notices a server that has gone dark.
    Callers must not use one Transaction in two tasks at the same time.
"""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol, Self, TypeAlias

import asyncpg
from prometheus_client import Histogram

from curhat.kit.connecting import Connector, Host, HostConnection
from curhat.kit.metrics import COMMITS_UNKNOWN, SILENT_CONNECTIONS, WAITING, WAITS_GIVEN_UP
from curhat.kit.pause_points import pause_point
from curhat.kit.restored import check_open
from curhat.kit.signals import NoSignals, SignalSink

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# asyncpg raises one of the errors in DATABASE_AWAY if it cannot reach PostgreSQL, or if the connection breaks during a
# statement. A loop that catches one of these errors tries again. An InternalClientError means that PostgreSQL has
# closed the connection and asyncpg has not noticed the closing yet.
DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


# SQLSTATE classes and single SQLSTATEs of faults outside our statements. The faults are lost connections, missing
# resources, a shutdown, a disk error, a read-only server, and a session that PostgreSQL ended because this process
# stood still.
_SQLSTATES_AWAY: Final = ("08", "53", "57", "58", "25006", "25P03")


def is_away(error: BaseException) -> bool:
    """Return whether PostgreSQL cannot be reached or cannot write now. For a bug in our statements, return False.

    If a single statement fails with an error for which this function returns true, it is not known whether the
    statement took effect. A transaction that was perhaps committed raises CommitUnknown.
    """
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_SQLSTATES_AWAY)
    # For an argument of a wrong type, asyncpg raises an InterfaceError that is also a ValueError.
    return isinstance(error, DATABASE_AWAY) and not isinstance(error, ValueError)


def is_busy(error: BaseException) -> bool:
    """Return whether other transactions held a lock for too long. A later try of the same step can succeed."""
    return isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError)


class CommitUnknown(ConnectionError):
    """It is not known whether the transaction was committed.

    A caller must report the outcome as unknown, never as failed.

    The connection broke during the COMMIT, or PostgreSQL committed without its synchronous standby. A failover to the
    standby can then lose the commit.
    """

    def __init__(self) -> None:
        super().__init__("the answer to the commit was lost; it is not known whether the change took effect")


# If a process stops in the middle of a transaction, PostgreSQL ends the transaction after
# IDLE_IN_TRANSACTION_TIMEOUT_MS and frees its locks. So nobody waits longer than IDLE_IN_TRANSACTION_TIMEOUT_MS for a
# lock of a stopped process. A running process waits at most one second (for Valkey) between two statements of a
# transaction.
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000
# LOCK_TIMEOUT_MS is longer than IDLE_IN_TRANSACTION_TIMEOUT_MS. So a step that waits for a stopped process's lock gets
# the lock.
LOCK_TIMEOUT_MS: Final = 5_300
# STATEMENT_TIMEOUT_MS includes the wait for a lock.
STATEMENT_TIMEOUT_MS: Final = 5_600
# If a statement exceeds STATEMENT_TIMEOUT_MS by MAX_ANSWER_DELAY_SECONDS, the process abandons the statement and sends
# PostgreSQL a cancellation. Either PostgreSQL does not answer at all, or a COMMIT waits for a lost synchronous standby.
# The setting statement_timeout does not limit a COMMIT that waits for a standby.
MAX_ANSWER_DELAY_SECONDS: Final = 0.5
# How long a caller waits for a connection of the pool. CONNECTION_WAIT_TIMEOUT_SECONDS is enough to connect to the
# second of two hosts while the first host is dark.
CONNECTION_WAIT_TIMEOUT_SECONDS: Final = 6.0
# How long PostgreSQL can take to confirm a cancellation or a rollback. After RELEASE_TIMEOUT_SECONDS, PostgreSQL counts
# as silent.
RELEASE_TIMEOUT_SECONDS: Final = 1.0
CLOSE_TIMEOUT_SECONDS: Final = 5.0


def session_settings(statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Mapping[str, str]:
    """Return the PostgreSQL settings of each session of a server or worker. Times are in milliseconds.

    A process sends these settings when it connects. A pooler in transaction mode drops the settings, so also set them
    on the role (`role_settings`). `curhat doctor` checks that the settings are in force.
    """
    return {
        "jit": "off",
        # PostgreSQL plans each statement once per connection, for all parameter values (decision 0051).
        "plan_cache_mode": "force_generic_plan",
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(statement_timeout_ms),
    }


def role_settings(role: str) -> list[str]:
    """Return the SQL statements that set `session_settings` on a role, for connections through a pooler."""
    quoted = '"' + role.replace('"', '""') + '"'
    return [f"ALTER ROLE {quoted} SET {name} = '{value}'" for name, value in session_settings().items()]


WAIT_SECONDS: Final = Histogram(
    "curhat_database_wait_seconds",
    "How long a caller waited for a connection of the pool",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)


class NoRow(Exception):
    """A statement returned no row, although it must return one row. The missing row is a bug in our code.

    The error's text is the SQL statement.
    """


class Executor(Protocol):
    """The interface that the functions of a generated `queries.py` need.

    Transaction and Database implement this interface.
    """

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

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo the statements and signals of the block, and nothing else, if the block raises an error."""
        signals = len(self._signals)
        try:
            async with self.connection.transaction():
                yield
        except BaseException:
            del self._signals[signals:]
            raise

    def committed(self) -> None:
        """Send this transaction's signals. Only Database.transaction calls this method, after the commit."""
        for channel, payload in self._signals:
            self._sink.publish(channel, payload)


class Database:
    """A pool of connections to PostgreSQL.

    `fetch`, `fetchrow`, `fetchval` and `execute` each run one statement, in a separate transaction.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", sink: SignalSink, connector: Connector) -> None:
        self.pool = pool
        self.sink = sink
        self.connector = connector

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        pool_size: int,
        sink: SignalSink | None = None,
        application_name: str = "curhat",
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
        may_be_restored: bool = False,
    ) -> Self:
        """Open a pool of at most `pool_size` connections. Without a `sink`, the Database drops all signals.

        Each new connection raises NotOpened if the database was restored to an earlier time and is not open yet. Only
        `curhat restore`, with `may_be_restored`, uses such a database.
        """
        connector = Connector(url)

        async def prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            if not may_be_restored:
                await check_open(connection)
            # Make asyncpg look up every array type that our statements use. Without this query, the first statement
            # with an array parameter takes several milliseconds longer on each connection.
            await connection.prepare(
                "SELECT $1::uuid[], $2::text[], $3::timestamptz[], $4::integer[], $5::bigint[], $6::bytea[]"
            )

        pool = await asyncpg.create_pool(
            url,
            min_size=min(2, pool_size),
            max_size=pool_size,
            connect=connector.connect,
            connection_class=HostConnection,
            command_timeout=statement_timeout_ms / 1000 + MAX_ANSWER_DELAY_SECONDS,
            max_inactive_connection_lifetime=0,
            init=prepare,
            # Skip the pool's own reset query, which takes one round trip per transaction. Our statements change no
            # state of the connection.
            reset=_skip_reset,
            server_settings={"application_name": application_name, **session_settings(statement_timeout_ms)},
        )
        return cls(pool, sink or NoSignals(), connector)

    async def close(self) -> None:
        """Close all connections. Waits briefly for the connections in use, and then ends these connections too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self.pool.close()

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction, and commit it at the end of the block. If the block raises, roll the transaction back.

        With `snapshot`, every statement sees the same state of the data (repeatable read). Use `snapshot` only to read,
        because a decision needs the newest state.
        Raises CommitUnknown if it is not known whether the commit took effect. After every error except CommitUnknown,
        nothing is committed.
        """
        async with self._connection() as connection:
            transaction = Transaction(connection, self.sink)
            opened = connection.transaction(isolation="repeatable_read" if snapshot else None)
            await opened.start()
            try:
                yield transaction
            except BaseException:
                await self._roll_back(connection, opened)
                raise
            await _commit(connection, opened)
        await pause_point("transaction.committed")
        transaction.committed()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        async with self._connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        async with self._connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> str:
        async with self._connection() as connection:
            return await connection.execute(query, *arguments)

    async def is_read_only(self) -> bool:
        """Return whether the connected server cannot write, as an old primary cannot after a failover.

        If the server cannot write, replace the connections.
        """
        async with self._connection() as connection:
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                await self.pool.expire_connections()
                return True
        return False

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PooledConnection]:
        """Take a connection of the pool for the block.

        If the block shows that the server is read-only or does not answer, replaces all connections. Raises
        TimeoutError if no connection becomes free in time.
        """
        began = time.perf_counter()
        connection = await self._acquire()
        WAIT_SECONDS.observe(time.perf_counter() - began)
        host: Host = connection.host  # type: ignore[attr-defined]
        try:
            yield connection
        except BaseException as error:
            try:
                await self.pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)
            except TimeoutError:
                await self._leave(host)
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                await self.pool.expire_connections()
            elif _was_ended_by_kernel(error):
                await self._leave(host)
            raise
        await self.pool.release(connection)

    async def _roll_back(self, connection: PooledConnection, opened: asyncpg.transaction.Transaction) -> None:
        """Roll back. If the connection is broken, end the connection, so that PostgreSQL rolls back."""
        if _is_closed(connection):
            return
        host: Host = connection.host  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                await opened.rollback()
        except TimeoutError:
            # Call `_leave` first, because the pool replaces a terminated connection immediately.
            await self._leave(host)
            connection.terminate()
        except DATABASE_AWAY:
            connection.terminate()

    async def _leave(self, host: Host) -> None:
        """Replace all connections, because this host does not answer. Try the other hosts first."""
        SILENT_CONNECTIONS.inc()
        if self.connector.leave(host):
            await self.pool.expire_connections()

    async def _acquire(self) -> PooledConnection:
        # If the queue is not empty, a connection is free, so `acquire` needs no timer. `acquire` sometimes has to
        # connect, and connecting has its own time limit. Read the pool's private queue, because asyncpg's public
        # functions check every connection of the pool.
        if not self.pool._queue.empty():  # type: ignore[attr-defined]  # noqa: SLF001
            return await self.pool.acquire()
        with WAITING.track_inprogress():
            try:
                async with asyncio.timeout(CONNECTION_WAIT_TIMEOUT_SECONDS):
                    return await self.pool.acquire()
            except TimeoutError:
                WAITS_GIVEN_UP.inc()
                raise


async def _commit(connection: PooledConnection, opened: asyncpg.transaction.Transaction) -> None:
    """Commit. Raises CommitUnknown if it is not known whether the transaction is committed."""
    if _is_closed(connection):
        # PostgreSQL has received no COMMIT.
        raise asyncpg.InterfaceError("the connection is closed")
    warnings_before = connection.warnings_heard  # type: ignore[attr-defined]
    try:
        await opened.commit()
    except Exception as error:
        if _is_refused_commit(error):
            raise
        COMMITS_UNKNOWN.inc()
        raise CommitUnknown from error
    # A COMMIT that gave up waiting for its synchronous standby has succeeded with a warning. If a COMMIT of ours did
    # not give up waiting, it gets no warning.
    if connection.warnings_heard != warnings_before:  # type: ignore[attr-defined]
        COMMITS_UNKNOWN.inc()
        raise CommitUnknown


def _is_closed(connection: PooledConnection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # The pool has taken the closed connection back.
        return True


def _is_refused_commit(error: Exception) -> bool:
    """Return whether PostgreSQL itself reported that it rolled the transaction back."""
    # The class 08 comes from asyncpg when the connection breaks. A server that shuts down while it waits for its
    # standby reports 57P, perhaps after the commit.
    return isinstance(error, asyncpg.PostgresError) and not (error.sqlstate or "").startswith(("08", "57P"))


def _was_ended_by_kernel(error: BaseException | None) -> bool:
    """Return whether the kernel ended the connection because the server acknowledged nothing."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
            return True
        error = error.__cause__
    return False


async def _skip_reset(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    return None
