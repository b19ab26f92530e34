"""Provides Chromium, and one running system per test file. Each system has its own database, server and worker."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import valkey.asyncio
from playwright.async_api import async_playwright

from curhat.app.static_files import web_folder
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.browser.system import System
from tests.conftest import database_url_of
from tests.support.chromium import Browsers, NoBrowserError
from tests.support.databases import create_database
from tests.support.signals import RecordedSignals
from tests.support.signed_in import environment_of, process, server_process


@pytest.fixture(scope="session")
async def browsers() -> AsyncIterator[Browsers]:
    """Yield the browsers of this test process. Skip the tests if no browser can start."""
    async with async_playwright() as playwright:
        browsers = Browsers(playwright)
        try:
            await browsers.get()
        except NoBrowserError as error:
            sentence = f"browser tests are not run: no Chromium here, and none can be installed ({error})"
            if os.environ.get("CI") == "true":
                pytest.fail(sentence)
            pytest.skip(sentence)
        yield browsers


@pytest.fixture(scope="module")
async def running_system(
    servers: EmbeddedServers,
    template: str,
    browsers: Browsers,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    """Start a database, a server process and a worker process for one test file."""
    assert (web_folder() / "app" / "index.html").is_file(), "the web clients are not built; run make web"
    name = f"browser_{Path(request.path).stem}"
    logs = tmp_path_factory.mktemp(name)
    admin = await asyncpg.connect(servers.database_url)
    await create_database(admin, name, template)
    url = database_url_of(servers, name)
    client = valkey.asyncio.Valkey.from_url(servers.valkey_url)
    await client.flushall()
    await client.aclose()
    environment = environment_of(url, servers.valkey_url)
    database = await Database.connect(url, pool_size=4, sink=RecordedSignals(), statement_timeout_ms=60_000)
    with (
        server_process(environment, logs / "server.log") as address,
        process("worker", environment, logs / "worker.log"),
    ):
        async with httpx.AsyncClient(base_url=address, timeout=30) as http:
            system = System(address, http, database, browsers)
            await system.offers()
            yield system
    await database.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def system(running_system: System) -> AsyncIterator[System]:
    """Yield a system without people. Fail the test if a page reports an error during the test."""
    running_system.problems.clear()
    yield running_system
    await running_system.close()
    assert running_system.problems == []
