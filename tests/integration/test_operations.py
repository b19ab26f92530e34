"""Test the probes, the status and the metrics of a server and of a worker."""

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import valkey.asyncio

from curhat.app import worker
from curhat.app.cli.main import main
from curhat.app.operations import status
from curhat.app.version import version
from curhat.app.wiring import connect_valkey
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.migrations import load_migrations, migrations_folder
from curhat.kit.settings import Settings
from tests.support.signed_in import RunningServer, development_settings, free_port, start_server

NEWER_MIGRATION = "INSERT INTO schema_migrations VALUES (9999, '9999_of_a_newer_version', '')"
LOSE_MIGRATION = "DELETE FROM schema_migrations WHERE number = $1 RETURNING number, name, checksum"
APPLY = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)"


@pytest.fixture
def settings(servers: EmbeddedServers, database_url: str) -> Settings:
    """The settings of a development server on the test's own database."""
    return development_settings(database_url, servers.valkey_url)


@pytest.fixture
async def server(
    settings: Settings,
    database: Database,
    valkey_client: valkey.asyncio.Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[RunningServer]:
    """A development server. The status of this server is never older than the request."""
    monkeypatch.setattr(status, "MAX_AGE_SECONDS", 0.0)
    async with start_server(settings, database) as opened:
        yield opened


@contextlib.asynccontextmanager
async def postgresql_with(servers: EmbeddedServers, name: str, value: str) -> AsyncIterator[None]:
    """Change a setting of PostgreSQL during the block, including for open connections."""
    admin = await asyncpg.connect(servers.database_url)
    try:
        await admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await admin.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await admin.execute(f"ALTER SYSTEM RESET {name}")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()


async def check(server: RunningServer, name: str) -> tuple[bool, str]:
    """Request the status, and return one check of the status."""
    answer = await server.http.get("/status")
    checks: dict[str, dict[str, Any]] = answer.json()["checks"]
    assert answer.status_code == (200 if all(one["ok"] for one in checks.values()) else 503)
    return checks[name]["ok"], checks[name]["detail"]


async def failing(server: RunningServer, name: str) -> str:
    """Wait until a check fails. PostgreSQL reads a changed setting only after a moment. Returns its detail."""
    async with asyncio.timeout(10):
        while (result := await check(server, name))[0]:
            await asyncio.sleep(0.01)
    return result[1]


async def assert_in_service(server: RunningServer) -> None:
    """Assert that a proxy and a deploy leave the server in service."""
    for probe in ("/livez", "/healthz", "/readyz"):
        answer = await server.http.get(probe)
        assert (answer.status_code, answer.text) == (200, "ok\n")


# Probes and status -------------------------------------------------------------------------------------------


async def test_a_healthy_server_is_live_and_ready_and_every_check_succeeds(server: RunningServer) -> None:
    await assert_in_service(server)
    answer = await server.http.get("/status")
    report = answer.json()
    assert answer.status_code == 200, report
    assert (report["status"], report["process"], report["version"]) == ("ok", "server", version())
    assert set(report["checks"]) == {"postgresql", "valkey", "signals", "migrations", "deadlines", "gateway"}


async def test_a_process_that_drains_says_no_to_a_proxy(server: RunningServer) -> None:
    server.application.operations.drain()
    for probe in ("/livez", "/healthz", "/readyz"):
        answer = await server.http.get(probe)
        assert (answer.status_code, answer.text) == (503, "stopping\n")
    # People may still look.
    assert (await server.http.get("/status")).status_code == 200


async def test_an_unreachable_valkey_makes_the_status_fail_and_leaves_the_server_in_service(
    server: RunningServer,
) -> None:
    services = server.application.services
    reachable, services.valkey = services.valkey, connect_valkey("valkey://127.0.0.1:1")
    try:
        assert await check(server, "valkey") == (False, "does not accept writes (ConnectionError)")
        await assert_in_service(server)
    finally:
        await services.valkey.aclose()
        services.valkey = reachable
    assert (await check(server, "valkey"))[0]


async def test_a_full_valkey_makes_the_status_fail_and_leaves_the_server_in_service(
    server: RunningServer, valkey_client: valkey.asyncio.Valkey
) -> None:
    await valkey_client.config_set("maxmemory", 1)
    try:
        assert await check(server, "valkey") == (False, "has reached maxmemory and refuses writes")
        await assert_in_service(server)
    finally:
        await valkey_client.config_set("maxmemory", 0)


async def test_a_nearly_full_valkey_makes_the_status_fail_before_valkey_refuses_writes(
    server: RunningServer, valkey_client: valkey.asyncio.Valkey
) -> None:
    used = (await valkey_client.info("memory"))["used_memory"]
    await valkey_client.config_set("maxmemory", int(used * 1.08))
    try:
        ok, detail = await check(server, "valkey")
        assert not ok
        assert detail.endswith("soon refuses writes")
    finally:
        await valkey_client.config_set("maxmemory", 0)


async def test_a_read_only_valkey_makes_the_status_fail(
    server: RunningServer, valkey_client: valkey.asyncio.Valkey
) -> None:
    await valkey_client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
    try:
        assert await check(server, "valkey") == (False, "is a read-only replica")
    finally:
        await valkey_client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


async def test_a_full_disk_makes_the_status_fail_and_leaves_the_server_in_service(
    servers: EmbeddedServers, server: RunningServer
) -> None:
    """To simulate a full disk, a limit on temporary files makes the write fail."""
    async with postgresql_with(servers, "temp_file_limit", "64kB"):
        assert await failing(server, "postgresql") == "ConfigurationLimitExceededError (53400)"
        await assert_in_service(server)
    async with asyncio.timeout(10):
        while not (await check(server, "postgresql"))[0]:
            await asyncio.sleep(0.01)


@pytest.mark.invariant(12)
async def test_a_commit_that_hangs_makes_the_status_fail_and_leaves_the_server_in_service(
    servers: EmbeddedServers, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "CHECK_TIMEOUT_SECONDS", 0.3)
    async with postgresql_with(servers, "synchronous_standby_names", "a_standby_that_is_gone"):
        assert await failing(server, "postgresql") == "did not answer within 0.3 s"
        await assert_in_service(server)


async def test_an_old_server_stays_in_service_after_the_migration_of_a_newer_version(
    settings: Settings, database: Database, server: RunningServer
) -> None:
    await database.execute(NEWER_MIGRATION)
    await assert_in_service(server)
    ok, detail = await check(server, "migrations")
    assert ok
    assert "9999_of_a_newer_version" in detail
    async with start_server(settings, database) as another:
        await assert_in_service(another)


async def test_a_server_with_a_missing_migration_is_ready_only_after_the_migration_was_applied(
    settings: Settings, database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    needed = [each.number for each in load_migrations(migrations_folder()) if not each.is_after]
    row = await database.fetchrow(LOSE_MIGRATION, needed[-1])
    assert row is not None
    async with start_server(settings, database) as opened:
        for probe in ("/livez", "/readyz"):
            answer = await opened.http.get(probe)
            assert answer.status_code == 503
            assert answer.text.startswith("starting: the schema")
        assert await check(opened, "migrations") == (False, f"not applied: {row['name']}; run curhat migrate")
        await database.execute(APPLY, *row)
        await assert_in_service(opened)


async def test_a_late_deadline_and_a_parked_deadline_each_make_the_status_fail(
    server: RunningServer, database: Database
) -> None:
    await database.execute(
        "INSERT INTO deadlines (kind, entity_id, due_at, parked_at) VALUES "
        "('payment_expiry', uuidv7(), curhat_now() - interval '10 seconds', NULL), "
        "('payment_expiry', uuidv7(), curhat_now() - interval '1 hour', curhat_now())"
    )
    assert await check(server, "deadlines") == (
        False,
        "the oldest due deadline is 10 s late; does a worker run?; 1 are parked after repeated errors",
    )


async def test_many_concurrent_status_requests_share_one_check(
    server: RunningServer, database: Database
) -> None:
    """A monitor that asks often must not use up the pool."""
    await asyncio.gather(*(server.http.get("/status") for _ in range(50)))
    pool = server.application.services.database.pool
    assert pool.get_size() < pool.get_max_size()


# A worker ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running_worker(settings: Settings) -> AsyncIterator[str]:
    """Run a worker. Yields the URL of the worker's operations port."""
    with_port = dataclasses.replace(settings, operations_port=free_port())
    url = f"http://127.0.0.1:{with_port.operations_port}"
    running = asyncio.create_task(worker.run(with_port))
    try:
        async with asyncio.timeout(20), httpx.AsyncClient() as http:
            while True:
                assert not running.done(), running
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{url}/livez")).status_code == 200:
                        break
                await asyncio.sleep(0.01)
        yield url
    finally:
        if not running.done():
            signal.raise_signal(signal.SIGTERM)
        await running
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_worker_answers_probes_and_status_and_metrics_on_its_own_port_until_it_has_stopped(
    settings: Settings, valkey_client: valkey.asyncio.Valkey
) -> None:
    async with running_worker(settings) as url, httpx.AsyncClient(base_url=url) as http:
        for probe in ("/livez", "/healthz", "/readyz"):
            assert (await http.get(probe)).status_code == 200
        report = (await http.get("/status")).json()
        assert (report["process"], report["checks"]["postgresql"]["ok"]) == ("worker", True)
        metrics = (await http.get("/metrics")).text
        assert f'curhat_build_info{{process="worker",version="{version()}"}} 1.0' in metrics
        assert (await http.get("/api/client/me")).status_code == 404
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/livez")


async def test_a_worker_without_the_setting_opens_no_port_in_development(settings: Settings) -> None:
    assert settings.operations_port_of("worker") is None
    production = dataclasses.replace(settings, environment="production")
    assert (production.operations_port_of("server"), production.operations_port_of("worker")) == (9000, 9001)


async def test_a_process_does_not_start_and_names_the_port_if_the_operations_port_is_taken(
    settings: Settings,
) -> None:
    with_port = dataclasses.replace(settings, operations_port=free_port())
    blocker = await asyncio.start_server(
        lambda _reader, _writer: None, "127.0.0.1", with_port.operations_port
    )
    try:
        with pytest.raises(
            OSError, match=f"{with_port.operations_port} cannot be opened .*CURHAT_OPERATIONS_PORT"
        ):
            await worker.run(with_port)
    finally:
        blocker.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


def test_the_command_prints_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"curhat {version()}\n")
