"""The fixtures that all tests share: real servers, a new database with a virtual clock, and people.

PostgreSQL and Valkey are the embedded servers. Each test process starts these servers once. Each test gets its own
database, copied from a template with all migrations.
"""

import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.database import Database
from curhat.kit.migrations import migrate
from curhat.sessions import pace, writer
from tests.simulation.bugs import named
from tests.support.cheap_starts import make_starts_cheap
from tests.support.checked_rows import check_rows
from tests.support.clock import VirtualClock, install_virtual_clock
from tests.support.databases import create_database, parent_of_data_folders
from tests.support.people import Make
from tests.support.signals import RecordedSignals

pytest_plugins = ["tests.rules_report"]

# The name of the deliberate fault that this run plants (`make planted-bugs`).
PLANTED_BUG = named(os.environ["PLANTED_BUG"]) if "PLANTED_BUG" in os.environ else None
if PLANTED_BUG is not None and PLANTED_BUG.plant is not None:
    PLANTED_BUG.plant()

check_rows()
make_starts_cheap()
# Plain tracebacks. By default, the library rich formats each traceback. The formatting takes 0.2 s of processor time.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

TEMPLATE = "curhat_template"
# Test files that run for more than a minute. The long files start first, so that all test processes have work until the
# end.
LONG_FILES = ("test_schedules.py", "test_control_center_screens.py", "test_contract.py", "test_screens.py")
# The statement timeout is long, because some tests insert many rows in one statement.
MAX_PREPARATION_MS = 60_000
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run LONG_FILES first. Then alternate between files of crash tests and other files.

    Crash tests mostly wait, so the other test processes can use the processors meanwhile. If a bug is planted, the
    tests keep the order of the bug's list, because the list begins with a quick test.
    """
    if PLANTED_BUG is not None:
        return
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    first = [path for path in files if path.name in LONG_FILES]
    crashes = [path for path in files if path.parent.name == "crashes"]
    others = [path for path in files if path not in first and path not in crashes]
    pairs = itertools.zip_longest(others, crashes)
    order = [*first, *(path for pair in pairs for path in pair if path is not None)]
    items[:] = [item for path in order for item in files[path]]


def database_url_of(servers: EmbeddedServers, name: str) -> str:
    """Return this URL with the name of another database."""
    return servers.database_url.replace("/curhat?", f"/{name}?")


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[EmbeddedServers]:
    """PostgreSQL and Valkey, for the whole run."""
    with tempfile.TemporaryDirectory(prefix="curhat-tests-", dir=parent_of_data_folders()) as folder:
        async with embedded_servers(Path(folder)) as started:
            # The run deletes the data at its end, so the data need not reach the disk. Crash tests start their own
            # servers.
            admin = await asyncpg.connect(started.database_url)
            await admin.execute("ALTER SYSTEM SET fsync = off")
            await admin.execute("ALTER SYSTEM SET full_page_writes = off")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()
            yield started


@pytest.fixture(scope="session")
async def template(servers: EmbeddedServers) -> str:
    """The name of a database with all migrations and the virtual clock.

    The database of each test is a copy of this database.
    """
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
    """The URL of a new, migrated database for this test. The database's clock runs until the fixture `clock` stops
    it.
    """
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(servers.database_url)
    await create_database(admin, name, template)
    yield database_url_of(servers, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def signals() -> RecordedSignals:
    """The signals that were sent after commits, in order."""
    return RecordedSignals()


@pytest.fixture
async def database(database_url: str, signals: RecordedSignals) -> AsyncIterator[Database]:
    """A pool of at most 60 connections to this test's database."""
    opened = await Database.connect(
        database_url, pool_size=60, sink=signals, statement_timeout_ms=MAX_PREPARATION_MS
    )
    yield opened
    await opened.close()


@pytest.fixture
def clock(database: Database) -> VirtualClock:
    """The clock of this test's database. A test can stop and move the clock."""
    return VirtualClock(database)


@pytest.fixture
def make(database: Database) -> Make:
    """Makes people, offers and payments."""
    return Make(database)


@pytest.fixture
async def valkey_client(servers: EmbeddedServers) -> AsyncIterator[valkey.asyncio.Valkey]:
    """Return a client of the Valkey of this run. The fixture empties Valkey first."""
    client = valkey.asyncio.Valkey.from_url(servers.valkey_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def no_pause_points_left() -> Iterator[None]:
    """Remove the pause point handlers after each test, so that they do not affect the next test."""
    from curhat.kit import pause_points

    yield
    pause_points._handlers.clear()


@pytest.fixture
def no_message_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the limit of messages per person."""
    monkeypatch.setattr(pace, "LIMITS", ())
    monkeypatch.setattr(pace, "MAX_TRIES", 1_000_000)
    monkeypatch.setattr(writer, "MAX_WAITING_PER_PERSON", 1_000_000)
