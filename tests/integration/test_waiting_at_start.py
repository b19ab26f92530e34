"""Test that a starting server or worker waits for an absent PostgreSQL, for example after a reboot."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog

from curhat.app import worker
from curhat.app.wiring import open_services
from curhat.dev.embedded import EmbeddedServers
from tests.support.server import running_server
from tests.support.signed_in import development_settings, environment_of, free_port

Lines = list[MutableMapping[str, Any]]


class LateServer:
    """The address of the test's PostgreSQL in a separate folder.

    No server listens at this address before a test starts one.
    """

    def __init__(self, folder: Path, database_url: str) -> None:
        query = parse_qs(urlsplit(database_url).query)
        (real_folder,), (port,) = query["host"], query["port"]
        name = f".s.PGSQL.{port}"
        self._real, self._own = Path(real_folder, name), folder / name
        self.url = database_url.replace(real_folder, str(folder))

    def arrive(self) -> None:
        self._own.symlink_to(self._real)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


def events(logged: Lines) -> list[str]:
    return [line["event"] for line in logged]


@pytest.fixture
def late(tmp_path: Path, database_url: str) -> LateServer:
    return LateServer(tmp_path, database_url)


async def test_a_server_waits_for_postgresql_and_then_serves(
    servers: EmbeddedServers, late: LateServer
) -> None:
    settings = development_settings(late.url, servers.valkey_url)
    with structlog.testing.capture_logs() as logged:

        async def serve() -> int:
            async with running_server(settings) as (url, _), httpx.AsyncClient(base_url=url) as http:
                return (await http.get("/api/dev/inbox?phone=08123456789")).status_code

        serving = asyncio.create_task(serve())
        await until(lambda: "postgresql.waiting" in events(logged))
        assert not serving.done()
        late.arrive()
        assert await serving == 200


async def test_a_worker_waits_for_postgresql_and_then_works(
    servers: EmbeddedServers, late: LateServer
) -> None:
    settings = development_settings(late.url, servers.valkey_url)
    with structlog.testing.capture_logs() as logged:
        working = asyncio.create_task(worker.run(settings))
        await until(lambda: "postgresql.waiting" in events(logged))
        late.arrive()
        await until(lambda: "worker.started" in events(logged))
        os.kill(os.getpid(), signal.SIGTERM)
        await working


async def test_a_waiting_worker_stops_at_sigterm(servers: EmbeddedServers, late: LateServer) -> None:
    settings = development_settings(late.url, servers.valkey_url)
    with structlog.testing.capture_logs() as logged:
        working = asyncio.create_task(worker.run(settings))
        await until(lambda: "postgresql.waiting" in events(logged))
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(2):
            await working
    assert events(logged)[-1] == "worker.stopped"


async def test_a_waiting_server_stops_at_sigterm(servers: EmbeddedServers, late: LateServer) -> None:
    environ = environment_of(late.url, servers.valkey_url, CURHAT_PORT=str(free_port()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "curhat.app.cli", "serve"),
        env={"PATH": os.environ["PATH"], **environ},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"postgresql.waiting" not in (line := await process.stderr.readline()):
            assert line, "the server ended"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_no_process_waits_for_a_database_that_refuses_the_connection(servers: EmbeddedServers) -> None:
    settings = development_settings(
        servers.database_url.replace("/curhat?", "/no_such_database?"), servers.valkey_url
    )
    with pytest.raises(Exception, match='database "no_such_database" does not exist'):
        async with open_services(settings, serves_sockets=False, application_name="test"):
            pass


@pytest.mark.rule("X.10")
async def test_a_server_starts_without_valkey(database_url: str, tmp_path: Path) -> None:
    settings = development_settings(database_url, f"unix://{tmp_path}/no-valkey.sock")
    async with running_server(settings) as (url, _), httpx.AsyncClient(base_url=url) as http:
        poll = await http.get("/api/client/mitra-availability")
    assert (poll.status_code, poll.json()["available"]) == (200, False)
