"""Test a PostgreSQL that is unreachable, silent, disconnecting or busy. Every wait must have a bound."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from curhat.kit import connecting
from curhat.kit import database as kit_database
from curhat.kit.connecting import Host, hosts_of
from curhat.kit.database import (
    DATABASE_AWAY,
    CommitUnknown,
    Database,
    is_away,
    is_busy,
    role_settings,
    session_settings,
)
from tests.support.people import Make
from tests.support.postgres_proxy import PostgresProxy, drop_packets, proxy_of

# The maximum time in which a process must notice an unreachable or silent primary and reach the next host.
MAX_FAILOVER_SECONDS = 10.0

RENAME = "UPDATE mitras SET display_name = $2 WHERE id = $1"


@pytest.fixture
async def primary(database_url: str) -> AsyncIterator[PostgresProxy]:
    """A port in front of this test's database."""
    async with proxy_of(database_url).running() as running:
        yield running


@pytest.fixture
async def standby(database_url: str) -> AsyncIterator[PostgresProxy]:
    """A second port in front of this test's database. The second port represents the promoted standby."""
    async with proxy_of(database_url).running() as running:
        yield running


@pytest.fixture
async def pool(primary: PostgresProxy, standby: PostgresProxy) -> AsyncIterator[Database]:
    """The pool of a process whose URL names the primary and the standby."""
    ports = f"{primary.port},{standby.port}"
    url = f"postgresql://curhat@/{primary.url.rpartition('/')[2]}?host=127.0.0.1,127.0.0.1&port={ports}"
    opened = await Database.connect(url, pool_size=3)
    yield opened
    await opened.close()


@pytest.fixture
def short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are fractions of a second, in the same proportions as the bounds of production."""
    monkeypatch.setattr(connecting, "HOST_CONNECT_TIMEOUT_SECONDS", 0.25)
    monkeypatch.setattr(connecting, "DARK_TIMEOUT_MS", 400)
    monkeypatch.setattr(connecting, "KEEPALIVE_IDLE_SECONDS", 1)
    monkeypatch.setattr(kit_database, "MAX_ANSWER_DELAY_SECONDS", 0.1)
    monkeypatch.setattr(kit_database, "RELEASE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(kit_database, "CLOSE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(kit_database, "CONNECTION_WAIT_TIMEOUT_SECONDS", 0.6)


@pytest.mark.invariant(12)
def test_a_process_leaves_an_unreachable_or_silent_primary_within_10_s() -> None:
    noticed_dark = connecting.KEEPALIVE_IDLE_SECONDS + connecting.DARK_TIMEOUT_MS / 1000
    noticed_silent = (
        kit_database.STATEMENT_TIMEOUT_MS / 1000
        + kit_database.MAX_ANSWER_DELAY_SECONDS
        + kit_database.RELEASE_TIMEOUT_SECONDS
    )
    for noticed in (noticed_dark, noticed_silent):
        assert noticed + connecting.HOST_CONNECT_TIMEOUT_SECONDS < MAX_FAILOVER_SECONDS
    # If a step waits for a stopped process's lock, PostgreSQL ends that process's transaction before the step gives up.
    assert kit_database.IDLE_IN_TRANSACTION_TIMEOUT_MS < kit_database.LOCK_TIMEOUT_MS
    assert kit_database.LOCK_TIMEOUT_MS < kit_database.STATEMENT_TIMEOUT_MS
    # If the first host is unreachable, a caller waits long enough for a connection to the second host.
    assert connecting.HOST_CONNECT_TIMEOUT_SECONDS * 2 < kit_database.CONNECTION_WAIT_TIMEOUT_SECONDS


@pytest.mark.invariant(12)
async def test_a_new_connection_skips_an_unreachable_host(
    short_bounds: None, primary: PostgresProxy, standby: PostgresProxy, pool: Database
) -> None:
    assert standby.accepted == 0
    drop_packets(primary._listener)  # Its open connections work.
    await pool.pool.expire_connections()
    begun = time.monotonic()
    assert await pool.fetchval("SELECT 1") == 1
    assert time.monotonic() - begun < 2
    assert standby.accepted == 1
    # The process first tries the host that answered last.
    assert pool.connector._hosts[0].port == standby.port


@pytest.mark.invariant(12)
async def test_a_new_connection_skips_a_host_that_accepts_and_never_answers(
    short_bounds: None, primary: PostgresProxy, standby: PostgresProxy, pool: Database
) -> None:
    primary.is_silent = True
    await pool.pool.expire_connections()
    assert await pool.fetchval("SELECT 1") == 1
    assert standby.accepted == 1


@pytest.mark.invariant(12)
@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT pg_sleep(5)"])
async def test_the_kernel_ends_a_pooled_connection_to_a_primary_that_becomes_unreachable(
    short_bounds: None, primary: PostgresProxy, pool: Database, statement: str
) -> None:
    """The network loses the packets of the statement, or the keepalive packets while PostgreSQL runs the statement."""
    is_running = statement != "SELECT 1"
    if not is_running:
        primary.go_dark()
    asked = asyncio.create_task(pool.fetchval(statement))
    if is_running:
        async with asyncio.timeout(5):
            while not await _runs(primary, statement):
                await asyncio.sleep(0.01)
        primary.go_dark()
    async with asyncio.timeout(5):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError) as lost:
            await asked
        assert is_away(lost.value)
        assert await pool.fetchval("SELECT 1") == 1


async def _runs(primary: PostgresProxy, statement: str) -> bool:
    watcher = await asyncpg.connect(_direct_url(primary))
    try:
        return bool(
            await watcher.fetchval(
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query = $1 AND state = 'active')",
                statement,
            )
        )
    finally:
        await watcher.close()


def _direct_url(proxy: PostgresProxy) -> str:
    folder, _, name = proxy._socket_path.rpartition("/")
    return f"postgresql://curhat@/{proxy._name}?host={folder}&port={name.rpartition('.')[2]}"


@pytest.mark.invariant(12)
async def test_a_process_leaves_a_primary_that_keeps_connections_and_never_answers(
    short_bounds: None, primary: PostgresProxy, standby: PostgresProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary acts like a frozen virtual machine behind a proxy.

    The kernel of the proxy acknowledges every packet.
    """
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    url = f"postgresql://curhat@{hosts}/{primary.url.rpartition('/')[2]}"
    pool = await Database.connect(url, pool_size=3, statement_timeout_ms=200)
    primary.is_silent = True
    begun = time.monotonic()
    with pytest.raises(TimeoutError) as silent:
        await pool.execute("SELECT 1")
    assert is_away(silent.value)
    assert await pool.fetchval("SELECT 1") == 1
    assert time.monotonic() - begun < 2
    assert standby.accepted
    await pool.close()


@pytest.mark.invariant(12)
async def test_a_caller_waits_for_a_connection_of_the_pool_only_for_a_bounded_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_database, "CONNECTION_WAIT_TIMEOUT_SECONDS", 0.05)
    pool = await Database.connect(database_url, pool_size=1)
    async with pool.transaction():
        with pytest.raises(TimeoutError) as given_up:
            await pool.fetchval("SELECT 1")
        with pytest.raises(TimeoutError):
            async with pool.transaction():
                pass
    assert is_away(given_up.value)
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_statement_that_takes_too_long_is_ended_by_postgresql(database_url: str) -> None:
    pool = await Database.connect(database_url, pool_size=1, statement_timeout_ms=50)
    before = await pool.fetchval("SELECT pg_backend_pid()")
    with pytest.raises(asyncpg.QueryCanceledError) as ended:
        await pool.execute("SELECT pg_sleep(5)")
    assert is_away(ended.value)
    assert await pool.fetchval("SELECT pg_backend_pid()") == before
    await pool.close()


async def test_a_step_waits_for_a_lock_only_for_a_bounded_time(
    database_url: str, make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_database, "LOCK_TIMEOUT_MS", 50)
    pool = await Database.connect(database_url, pool_size=1)
    mitra = await make.mitra()
    async with database.transaction() as holder:
        await holder.execute(RENAME, mitra, "Kak Sari")
        with pytest.raises(asyncpg.LockNotAvailableError) as refused:
            await pool.execute(RENAME, mitra, "Kak Budi")
    assert is_busy(refused.value)
    assert not is_away(refused.value)
    await pool.close()


@pytest.mark.invariant(12)
async def test_a_commit_whose_answer_was_lost_takes_effect_and_is_reported_as_unknown(
    primary: PostgresProxy, pool: Database, database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    signals: list[bytes] = []

    async def rename() -> None:
        async with pool.transaction() as tx:
            await tx.execute(RENAME, mitra, "Kak Ayu")
            tx.signal("a channel", b"")
            primary.cut_after = b"COMMIT"

    with pytest.raises(CommitUnknown) as unknown:
        await rename()
    assert is_away(unknown.value)
    assert not signals
    assert await database.fetchval("SELECT display_name FROM mitras") == "Kak Ayu"


@pytest.mark.invariant(12)
async def test_a_commit_that_postgresql_never_received_is_reported_as_unknown(
    primary: PostgresProxy, pool: Database, database: Database, make: Make
) -> None:
    mitra = await make.mitra()

    async def rename() -> None:
        async with pool.transaction() as tx:
            await tx.execute(RENAME, mitra, "Kak Ayu")
            primary.cut_before = b"COMMIT"

    with pytest.raises(CommitUnknown):
        await rename()
    assert await database.fetchval("SELECT display_name FROM mitras") != "Kak Ayu"


async def test_a_transaction_whose_connection_breaks_before_the_commit_counts_as_rolled_back(
    primary: PostgresProxy, pool: Database, database: Database, make: Make
) -> None:
    mitra = await make.mitra()

    async def rename() -> None:
        async with pool.transaction() as tx:
            await tx.execute(RENAME, mitra, "Kak Ayu")
            primary.cut()
            await tx.execute("SELECT 1")

    with pytest.raises(DATABASE_AWAY) as lost:
        await rename()
    assert not isinstance(lost.value, CommitUnknown)
    assert await database.fetchval("SELECT display_name FROM mitras") != "Kak Ayu"


async def test_a_commit_that_postgresql_refuses_is_known_to_have_failed(pool: Database) -> None:
    await pool.execute("CREATE TABLE twice (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    async def insert_twice() -> None:
        async with pool.transaction() as tx:
            await tx.execute("INSERT INTO twice VALUES (1), (1)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await insert_twice()


@pytest.mark.invariant(12)
async def test_a_commit_is_reported_as_unknown_after_a_bounded_wait_for_a_lost_standby(
    database_url: str, database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    pool = await Database.connect(database_url, pool_size=2, statement_timeout_ms=300)
    await database.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    try:
        await _reload(database, "nobody")

        async def rename() -> None:
            async with pool.transaction() as tx:
                await tx.execute(RENAME, mitra, "Kak Ayu")

        with pytest.raises(CommitUnknown):
            await rename()
        # The connection is still good, and a read does not wait for a standby.
        assert await pool.fetchval("SELECT display_name FROM mitras") == "Kak Ayu"
    finally:
        await database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await _reload(database, "")
    await pool.close()


@pytest.mark.invariant(12)
async def test_a_commit_is_reported_as_unknown_if_an_operator_cancels_its_wait_for_the_standby(
    database_url: str, database: Database, make: Make
) -> None:
    """PostgreSQL then commits with a warning, because a failover can lose the commit."""
    mitra = await make.mitra()
    pool = await Database.connect(database_url, pool_size=1)
    await database.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    try:
        await _reload(database, "nobody")

        async def rename() -> None:
            async with pool.transaction() as tx:
                await tx.execute(RENAME, mitra, "Kak Ayu")

        renaming = asyncio.create_task(rename())
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        async with asyncio.timeout(5):
            while not await database.fetchval(cancel):
                await asyncio.sleep(0.01)
            with pytest.raises(CommitUnknown):
                await renaming
    finally:
        await database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await _reload(database, "")
    await pool.close()


async def _reload(database: Database, standbys: str) -> None:
    await database.execute("SELECT pg_reload_conf()")
    async with asyncio.timeout(5):
        while await database.fetchval("SHOW synchronous_standby_names") != standbys:
            await asyncio.sleep(0.01)


async def test_a_database_pool_closes_while_a_connection_is_in_use(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_database, "CLOSE_TIMEOUT_SECONDS", 0.05)
    pool = await Database.connect(database_url, pool_size=1)
    asked = asyncio.create_task(pool.execute("SELECT pg_sleep(5)"))
    async with asyncio.timeout(5):
        while pool.pool.get_idle_size():
            await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await asked


async def test_the_settings_of_the_role_apply_behind_a_pooler_that_drops_session_settings(
    database_url: str, database: Database, primary: PostgresProxy
) -> None:
    """PgBouncer in transaction mode drops all settings that a client names in its StartupMessage."""
    primary.drops_startup_settings = True
    wanted = dict(session_settings())
    in_force = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)"
    bare = await Database.connect(primary.url, pool_size=1)
    assert {row["name"]: row["setting"] for row in await bare.fetch(in_force, list(wanted))} != wanted
    await bare.close()
    name = await database.fetchval("SELECT current_database()")
    for statement in role_settings("curhat"):
        # Change the role only in this database, because all tests share the role.
        await database.execute(statement.replace(" SET ", f" IN DATABASE {name} SET ", 1))
    set_on_role = await Database.connect(primary.url, pool_size=1)
    assert {row["name"]: row["setting"] for row in await set_on_role.fetch(in_force, list(wanted))} == wanted
    await set_on_role.close()


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@h/db", [Host("h", 5432)]),
        ("postgresql://h1:6000,h2/db", [Host("h1", 6000), Host("h2", 5432)]),
        ("postgresql://u@[::1]:6000,10.0.0.2/db", [Host("::1", 6000), Host("10.0.0.2", 5432)]),
        ("postgresql://u@/db?host=h1,h2", [Host("h1", 5432), Host("h2", 5432)]),
        ("postgresql://u@/db?host=h1,h2&port=1,2", [Host("h1", 1), Host("h2", 2)]),
        ("postgresql://u@/db?host=/run/postgresql&port=6000", [Host("/run/postgresql", 6000)]),
    ],
)
def test_a_url_can_name_several_hosts(url: str, hosts: list[Host]) -> None:
    assert hosts_of(url) == hosts
