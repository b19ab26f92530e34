"""Provides servers and a system of processes for tests that kill processes.

The commits are durable, as in production.
"""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.database import Database
from curhat.kit.migrations import migrate
from tests.conftest import database_url_of
from tests.crashes.system import System
from tests.support.signed_in import environment_of

TEMPLATE = "crash_template"


@pytest.fixture(scope="session")
async def crash_servers() -> AsyncIterator[EmbeddedServers]:
    """Start PostgreSQL and Valkey. The tests of this folder are allowed to kill both servers.

    PostgreSQL writes each commit to the disk, as in production.
    """
    with tempfile.TemporaryDirectory(prefix="curhat-crashes-") as folder:
        async with embedded_servers(Path(folder)) as started:
            admin = await asyncpg.connect(started.database_url)
            await admin.execute(f"CREATE DATABASE {TEMPLATE}")
            await admin.close()
            template = await asyncpg.connect(database_url_of(started, TEMPLATE))
            await migrate(template)
            await template.close()
            yield started


@pytest.fixture(scope="module")
async def system(
    crash_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[System]:
    """Create a database with the real clock, and a system for the processes that the module's tests start."""
    name = request.path.stem
    admin = await asyncpg.connect(crash_servers.database_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    await admin.close()
    url = database_url_of(crash_servers, name)
    database = await Database.connect(url, pool_size=20)
    folder = tmp_path_factory.mktemp(name)
    environment = environment_of(
        url, crash_servers.valkey_url, CURHAT_ERASURE_LIST=str(folder / "erasures.jsonl")
    )
    opened = System(folder, environment, database, crash_servers)
    yield opened
    await opened.close()
    await database.close()
