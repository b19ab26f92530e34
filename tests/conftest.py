"""What every test may ask for: real servers, a fresh database with a virtual clock, and people to begin with.

PostgreSQL and Valkey are the embedded ones, started once a run. Each test gets a database of its own, made from a
template that has all migrations.
"""

import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.database import Database
from curhat.kit.migrations import migrate
from tests.simulation.bugs import named
from tests.support.checked_rows import check_rows
from tests.support.clock import VirtualClock, install_virtual_clock
from tests.support.databases import create_database, parent_of_data_folders
from tests.support.people import Make
from tests.support.signals import RecordedSignals

pytest_plugins = ["tests.rules_report"]

# A deliberate fault to be planted in this run, by name (`make planted-bugs`).
PLANTED_BUG = named(os.environ["PLANTED_BUG"]) if "PLANTED_BUG" in os.environ else None
if PLANTED_BUG is not None and PLANTED_BUG.plant is not None:
    PLANTED_BUG.plant()

check_rows()

TEMPLATE = "curhat_template"
_numbers = itertools.count(1)


def database_url_of(servers: EmbeddedServers, name: str) -> str:
    """The address of another database of the same server."""
    return servers.database_url.replace("/curhat?", f"/{name}?")


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[EmbeddedServers]:
    """PostgreSQL and Valkey, real, for the whole run."""
    with tempfile.TemporaryDirectory(prefix="curhat-tests-", dir=parent_of_data_folders()) as folder:
        async with embedded_servers(Path(folder)) as started:
            # Nothing here outlives the run, so nothing has to reach the disk; crash tests start their own servers.
            admin = await asyncpg.connect(started.database_url)
            await admin.execute("ALTER SYSTEM SET fsync = off")
            await admin.execute("ALTER SYSTEM SET full_page_writes = off")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()
            yield started


@pytest.fixture(scope="session")
async def template(servers: EmbeddedServers) -> str:
    """The name of a database with all migrations and the virtual clock, from which tests get theirs."""
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(database_url_of(servers, TEMPLATE))
    await migrate(connection)
    await install_virtual_clock(connection)
    if PLANTED_BUG is not None and PLANTED_BUG.schema is not None:
        await connection.execute(PLANTED_BUG.schema)
    await connection.close()
    await admin.close()
    return TEMPLATE


@pytest.fixture
async def database_url(servers: EmbeddedServers, template: str) -> AsyncIterator[str]:
    """The address of a fresh, migrated database of this test's own; its clock runs until `clock` stops it."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(servers.database_url)
    await create_database(admin, name, template)
    yield database_url_of(servers, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def signals() -> RecordedSignals:
    """What was signalled after commits, in order."""
    return RecordedSignals()


@pytest.fixture
async def database(database_url: str, signals: RecordedSignals) -> AsyncIterator[Database]:
    """A pool on this test's own database, with room for 60 connections at once."""
    opened = await Database.connect(database_url, pool_size=60, sink=signals)
    yield opened
    await opened.close()


@pytest.fixture
def clock(database: Database) -> VirtualClock:
    """The database's clock, to be stopped and moved."""
    return VirtualClock(database)


@pytest.fixture
def make(database: Database) -> Make:
    """People, offers and payments to begin with."""
    return Make(database)


@pytest.fixture
async def valkey_client(servers: EmbeddedServers) -> AsyncIterator[valkey.asyncio.Valkey]:
    """The run's Valkey, empty."""
    client = valkey.asyncio.Valkey.from_url(servers.valkey_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def no_pause_points_left() -> Iterator[None]:
    """A handler that a test set must not reach the next test."""
    from curhat.kit import pause_points

    yield
    pause_points._handlers.clear()
