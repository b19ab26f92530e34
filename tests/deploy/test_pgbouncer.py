"""Run journeys through PgBouncer in transaction mode, with the files of deploy/: `make check-pgbouncer`.

Needs PgBouncer 1.21 or newer, which prepares statements in transaction mode. Debian 13 and PGDG have one.
"""

import asyncio
import contextlib
import inspect
import itertools
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import asyncpg
import pytest
import valkey.asyncio

from curhat.app.cli import doctor
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import DATABASE_AWAY, Database, is_away, session_settings
from curhat.kit.migrations import migrate
from curhat.kit.roles import NamedLogin, grant_to_serving_role, make_roles, prepare_database
from tests.deploy import last_runs
from tests.deploy.machine import DEPLOY, Machine, dotted, machine, needs, postgresql, replaced, version_of
from tests.journeys import test_accepting_over_http, test_journeys_over_http
from tests.support.signed_in import RunningServer, development_settings, free_port, start_server

MIN_VERSION = (1, 21)
VERSION = version_of("pgbouncer", "--version")
pytestmark = needs("PgBouncer", VERSION, MIN_VERSION, "which prepares statements in transaction mode")

JOURNEYS = [
    function
    for module in (test_journeys_over_http, test_accepting_over_http)
    for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
    if name.startswith("test_") and list(inspect.signature(function).parameters) == ["server"]
]
_numbers = itertools.count(1)


class Pooled(NamedTuple):
    """The URLs of a database: of the serving role through PgBouncer, and of the administrator without it."""

    serving_url: str
    # Through a PgBouncer that prepares no statement on a second connection, as all did before 1.21.
    forgetful_url: str
    admin_url: str


@pytest.fixture(scope="module")
async def template() -> AsyncIterator[Pooled]:
    """A migrated database to which nobody is connected, and a PgBouncer that admits to every database."""
    with machine() as place:
        port = free_port()
        archive = ("archive_mode = on", "archive_mode = off")
        async with postgresql(place, port, archive) as postgres_url:
            admin_url = postgres_url.replace("/postgres?", "/curhat?")
            await _make_database(postgres_url, admin_url)
            # As docs/operating.md says.
            verifier = await place.run(
                *(place.programs / "psql", "-At", postgres_url, "-c"),
                """SELECT format('"%s" "%s"', rolname, rolpassword) FROM pg_authid WHERE rolname = 'curhat'""",
            )
            (place.folder / "userlist.txt").write_text(verifier)
            async with (
                pgbouncer(place, "pgbouncer", port) as pooler_port,
                pgbouncer(
                    place, "forgetful", port, ("max_prepared_statements = 500", "max_prepared_statements = 0")
                ) as forgetful_port,
            ):
                yield Pooled(
                    f"postgresql://curhat:secret@127.0.0.1:{pooler_port}/curhat",
                    f"postgresql://curhat:secret@127.0.0.1:{forgetful_port}/curhat",
                    admin_url,
                )


@contextlib.asynccontextmanager
async def pgbouncer(
    place: Machine, name: str, postgres_port: int, *changes: tuple[str, str]
) -> AsyncIterator[int]:
    """Run a PgBouncer with deploy/pgbouncer/pgbouncer.ini and these changes of it. Yields its port."""
    folder, port = place.make_folder(name), free_port()
    text = replaced(
        (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text(),
        ("curhat = host=127.0.0.1 port=5432 dbname=curhat", f"* = host=127.0.0.1 port={postgres_port}"),
        ("listen_port = 6432", f"listen_port = {port}\nunix_socket_dir ="),
        ("/etc/pgbouncer/userlist.txt", str(place.folder / "userlist.txt")),
        *changes,
    )
    (folder / "pgbouncer.ini").write_text(text)
    with (folder / "log").open("w") as log:
        process = await place.start(
            str(shutil.which("pgbouncer")), folder / "pgbouncer.ini", output=log.fileno()
        )
    try:
        async with asyncio.timeout(10):
            while "process up" not in (folder / "log").read_text():
                assert process.returncode is None, (folder / "log").read_text()
                await asyncio.sleep(0.01)
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _make_database(postgres_url: str, admin_url: str) -> None:
    """Make the roles, the database and the tables, as `curhat roles` and `curhat migrate` do."""
    admin = await asyncpg.connect(postgres_url)
    await make_roles(
        admin, NamedLogin("curhat_owner", "owner", "curhat"), NamedLogin("curhat", "secret", "curhat")
    )
    await admin.close()
    admin = await asyncpg.connect(admin_url)
    await prepare_database(admin, "curhat_owner", "curhat")
    await admin.execute("SET ROLE curhat_owner")
    await migrate(admin)
    await grant_to_serving_role(admin, "curhat")
    await admin.close()


@pytest.fixture
async def pooled(template: Pooled) -> Pooled:
    """A database of this test."""
    name = f"curhat_{next(_numbers)}"
    admin = await asyncpg.connect(template.admin_url.replace("/curhat?", "/postgres?"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE curhat STRATEGY FILE_COPY")
    await admin.close()
    return Pooled(*(re.sub(r"/curhat(?=$|\?)", f"/{name}", url) for url in template))


@pytest.fixture
async def server(
    pooled: Pooled, servers: EmbeddedServers, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """A server that reaches PostgreSQL through PgBouncer. The test's own pool does not."""
    del valkey_client  # The fixture empties Valkey.
    database = await Database.connect(pooled.admin_url, pool_size=10)
    settings = development_settings(pooled.serving_url, servers.valkey_url)
    async with start_server(settings, database) as started:
        yield started
    await database.close()


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda function: function.__name__)
async def test_a_journey_works_through_pgbouncer(
    journey: Callable[[RunningServer], Awaitable[None]], server: RunningServer
) -> None:
    await journey(server)


async def test_doctor_finds_every_time_limit_in_force_through_pgbouncer(pooled: Pooled) -> None:
    assert await finding(pooled.serving_url, "session settings") == (
        "ok",
        "each connection gets its time limits",
    )
    assert await finding(pooled.serving_url, "prepared statements") == (
        "ok",
        "they work from one transaction to the next",
    )
    admin = await asyncpg.connect(pooled.admin_url)
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER ROLE curhat IN DATABASE {name} SET lock_timeout = 0")
    # PgBouncer keeps its connections, and a connection reads the settings of the role when it opens.
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'curhat'")
    await admin.close()
    state, sentence = await finding(pooled.serving_url, "session settings")
    assert state == "FAIL"
    assert "a connection does not get lock_timeout" in sentence


async def test_doctor_finds_a_pgbouncer_that_loses_prepared_statements(pooled: Pooled) -> None:
    state, sentence = await finding(pooled.forgetful_url, "prepared statements")
    assert state == "FAIL"
    assert "install PgBouncer 1.21 or newer" in sentence


async def finding(url: str, subject: str) -> tuple[str, str]:
    """The state and the sentence of one finding of `curhat doctor`."""
    settings = development_settings(url, "valkey://127.0.0.1")
    found = doctor._postgres(settings, url, for_production=False)
    return {each.subject: (each.state, each.sentence) async for each in found}[subject]


async def test_a_process_that_stops_in_a_transaction_holds_its_locks_for_five_seconds(pooled: Pooled) -> None:
    """The guard of the role works behind PgBouncer: it drops the setting that the process names."""
    stopped = await asyncpg.connect(pooled.serving_url, server_settings=dict(session_settings()))
    other = await Database.connect(pooled.serving_url, pool_size=1)
    lock = "SELECT 1 FROM configuration ORDER BY key LIMIT 1 FOR UPDATE"
    await stopped.execute("BEGIN")
    await stopped.execute(lock)
    began = time.monotonic()
    async with other.transaction() as waiting:
        await waiting.execute(lock)
    assert 4 < time.monotonic() - began < 5.5
    with pytest.raises(DATABASE_AWAY) as closed:
        await stopped.execute("SELECT 1")
    assert is_away(closed.value)
    stopped.terminate()
    await other.close()


async def test_more_callers_than_server_connections_are_all_served(pooled: Pooled) -> None:
    admin = await asyncpg.connect(pooled.admin_url)
    databases = [await Database.connect(pooled.serving_url, pool_size=20) for _ in range(5)]
    began = time.monotonic()

    async def read(database: Database) -> int:
        async with database.transaction() as transaction:
            await transaction.execute("SELECT pg_sleep(0.05)")
            return len(await transaction.fetch("SELECT $1::int AS number", 1))

    assert await asyncio.gather(*(read(database) for database in databases for _ in range(40))) == [1] * 200
    seconds = time.monotonic() - began
    used = await admin.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'curhat' AND datname = current_database()"
    )
    # The default_pool_size of deploy/pgbouncer/pgbouncer.ini.
    assert used <= 60
    last_runs.record(
        "check-pgbouncer",
        f"PgBouncer {dotted(VERSION)}, PostgreSQL {await admin.fetchval('SHOW server_version')}",
        f"{len(JOURNEYS)} journeys; 100 connections of processes over {used} of PostgreSQL, "
        f"200 transactions of 50 ms in {seconds:.1f} s",
    )
    for database in databases:
        await database.close()
    await admin.close()
