"""Test a server with a PostgreSQL that becomes read-only, like the old primary after a failover."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database, is_away
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

OWN_CONNECTIONS = """
SELECT array_agg(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'curhat server'
"""


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a development server on the test's own database."""
    del valkey_client  # The fixture empties Valkey.
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


@asynccontextmanager
async def read_only(servers: EmbeddedServers) -> AsyncIterator[None]:
    """Make PostgreSQL read-only during the block, including for open connections."""
    admin = await asyncpg.connect(servers.database_url)
    try:
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()


async def status_of_postgresql(server: RunningServer, *, ok: bool) -> str:
    """Wait until /status reports this state of PostgreSQL. Returns the detail."""
    async with asyncio.timeout(20):
        while True:
            check = (await server.http.get("/status")).json()["checks"]["postgresql"]
            if check["ok"] is ok:
                return str(check["detail"])
            await asyncio.sleep(0.02)


@pytest.mark.invariant(12)
async def test_while_postgresql_is_read_only_the_status_says_so_and_every_write_gets_503(
    servers: EmbeddedServers, server: RunningServer
) -> None:
    customer = await server.customer()
    offer = {"offer_id": str(await server.make.offer())}
    key = str(uuid4())
    before = set(await server.database.fetchval(OWN_CONNECTIONS))
    async with server.available_mitra():
        async with read_only(servers):
            assert await status_of_postgresql(server, ok=False) == "is read-only"
            for probe in ("/livez", "/readyz"):
                assert (await server.http.get(probe)).status_code == 200
            for _ in range(2):
                answer = await customer.post("/payments", offer, key=key)
                assert problem(answer) == (503, "service_unavailable")
                assert int(answer.headers["retry-after"]) > 0
        await status_of_postgresql(server, ok=True)
        assert problem(await customer.post("/payments", offer, key=key)) == (201, None)
    assert not before & set(await server.database.fetchval(OWN_CONNECTIONS))


async def test_a_write_to_a_read_only_server_makes_the_pool_replace_every_connection(
    servers: EmbeddedServers, database_url: str
) -> None:
    """A pool that kept its connections would stay connected to the old primary."""
    pool = await Database.connect(database_url, pool_size=2)
    before = await pool.fetchval("SELECT pg_backend_pid()")
    async with read_only(servers):
        async with asyncio.timeout(20):
            await _write_until_it_is_refused(pool)
        with pytest.raises(asyncpg.exceptions.TargetServerAttributeNotMatched) as refused:
            await pool.fetchval("SELECT 1")
        assert is_away(refused.value)
    async with asyncio.timeout(20):
        while True:
            try:
                assert await pool.fetchval("SELECT pg_backend_pid()") != before
                break
            except asyncpg.exceptions.TargetServerAttributeNotMatched:
                await asyncio.sleep(0.02)
    await pool.close()


async def _write_until_it_is_refused(pool: Database) -> None:
    with contextlib.suppress(asyncpg.ReadOnlySQLTransactionError):
        while True:
            await pool.execute("DELETE FROM streams")


def test_a_fault_of_a_statement_does_not_count_as_an_unreachable_database() -> None:
    ours = (asyncpg.UndefinedTableError(""), asyncpg.exceptions.DataError(""), ValueError())
    theirs = (
        asyncpg.ReadOnlySQLTransactionError(""),
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError(""),
        asyncpg.TooManyConnectionsError(""),
        asyncpg.exceptions.DiskFullError(""),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.exceptions.IdleInTransactionSessionTimeoutError(""),
    )
    assert not [error for error in ours if is_away(error)]
    assert not [error for error in theirs if not is_away(error)]
