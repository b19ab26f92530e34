"""Test that the migrations runner applies files once and in order, and refuses a database that does not match the
files.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Connection
from curhat.kit.migrations import (
    Migration,
    MigrationError,
    Phase,
    load_migrations,
    migrate,
    migrations_folder,
    missing,
    pending,
)


@pytest.fixture
async def empty_url(servers: EmbeddedServers) -> AsyncIterator[str]:
    """Create an empty database, and yield its URL."""
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute("CREATE DATABASE unmigrated")
    yield servers.database_url.replace("/curhat?", "/unmigrated?")
    await admin.execute("DROP DATABASE unmigrated WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(empty_url)
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);\nCREATE TABLE other (id int);\n")
    (tmp_path / "0002_second.sql").write_text("ALTER TABLE first ADD COLUMN name text;\n")
    return tmp_path


async def test_pending_files_are_applied_in_order_and_once(connection: Connection, folder: Path) -> None:
    assert await pending(connection, folder) == ["0001_first", "0002_second"]
    assert await migrate(connection, folder) == ["0001_first", "0002_second"]
    assert await pending(connection, folder) == []
    assert await migrate(connection, folder) == []
    assert await connection.fetchval(
        "SELECT array_agg(number ORDER BY applied_at) FROM schema_migrations"
    ) == [1, 2]


async def test_listing_the_pending_files_changes_nothing(connection: Connection, folder: Path) -> None:
    await pending(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_a_failing_file_changes_nothing_and_earlier_files_stay_applied(
    connection: Connection, folder: Path
) -> None:
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id int);\nSELECT 1 / 0;\n")
    with pytest.raises(
        MigrationError, match="0003_third failed, and nothing of it was kept: division by zero"
    ):
        await migrate(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('third')") is None
    assert await pending(connection, folder) == ["0003_third"]
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id int);\n")
    assert await migrate(connection, folder) == ["0003_third"]


async def test_an_applied_file_that_changed_later_is_refused(connection: Connection, folder: Path) -> None:
    await migrate(connection, folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (id bigint);\n")
    for ask in (pending, migrate):
        with pytest.raises(MigrationError, match="0001_first changed after it was applied"):
            await ask(connection, folder)


async def test_an_applied_file_whose_comments_changed_later_is_accepted(
    connection: Connection, folder: Path
) -> None:
    await migrate(connection, folder)
    (folder / "0001_first.sql").write_text(
        "-- What the tables are for.\nCREATE TABLE first\n    (id int);\n\n/* And why\nboth. */\n"
        "CREATE TABLE other (id int); -- the other one\n"
    )
    assert await pending(connection, folder) == []
    assert await migrate(connection, folder) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT 'a -- b';", "SELECT 'a -- c';"),
        ("SELECT 'it''s -- b';", "SELECT 'it''s -- c';"),
        (r"SELECT E'it\'s -- b';", r"SELECT E'it\'s -- c';"),
        ('SELECT 1 AS "a  b";', 'SELECT 1 AS "a b";'),
        ("DO $$ BEGIN NULL; -- b\nEND $$;", "DO $$ BEGIN NULL; -- c\nEND $$;"),
        ("DO $do$ BEGIN $$ -- b\nEND $do$;", "DO $do$ BEGIN $$ -- c\nEND $do$;"),
        ("SELECT 1; -- a\nSELECT 2;", "SELECT 1; -- a SELECT 2;"),
    ],
)
def test_the_checksum_covers_text_that_only_looks_like_a_comment(before: str, after: str) -> None:
    assert Migration(1, "0001_first", before).checksum != Migration(1, "0001_first", after).checksum


async def test_a_database_is_refused_if_it_has_a_migration_that_the_code_does_not_have(
    connection: Connection, folder: Path
) -> None:
    await migrate(connection, folder)
    (folder / "0002_second.sql").unlink()
    for ask in (pending, migrate):
        with pytest.raises(MigrationError, match="the database has migration 0002_second"):
            await ask(connection, folder)


async def test_four_concurrent_runs_apply_each_file_once(empty_url: str, folder: Path) -> None:
    connections = [await asyncpg.connect(empty_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection, folder) for connection in connections))
    assert sorted(applied) == [[], [], [], ["0001_first", "0002_second"]]
    for connection in connections:
        await connection.close()


async def test_a_migration_that_waits_too_long_for_a_lock_fails_and_can_be_repeated(
    connection: Connection, empty_url: str, folder: Path
) -> None:
    await migrate(connection, folder)
    (folder / "0003_third.sql").write_text("SET LOCAL lock_timeout = '50ms';\nDROP TABLE first;\n")
    holder = await asyncpg.connect(empty_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE first IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="canceling statement due to lock timeout"):
            await migrate(connection, folder)
    assert await migrate(connection, folder) == ["0003_third"]
    await holder.close()


INDEX_FILE = (
    "-- migrate: no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS first_by_id ON first (id);\n"
)


async def index_validity(connection: Connection) -> list[bool]:
    rows = await connection.fetch(
        "SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'first_by_id'"
    )
    return [row["indisvalid"] for row in rows]


async def test_a_migration_without_a_transaction_is_recorded_after_it_builds_its_index(
    connection: Connection, folder: Path
) -> None:
    (folder / "0003_index.sql").write_text(INDEX_FILE)
    assert await migrate(connection, folder) == ["0001_first", "0002_second", "0003_index"]
    assert await index_validity(connection) == [True]
    (folder / "0004_drop.sql").write_text(
        "-- migrate: no transaction\n-- Nothing reads it.\nDROP INDEX CONCURRENTLY IF EXISTS first_by_id;\n"
    )
    assert await migrate(connection, folder) == ["0004_drop"]
    assert await index_validity(connection) == []


async def test_the_next_run_drops_and_rebuilds_an_index_whose_build_was_interrupted(
    connection: Connection, empty_url: str, folder: Path
) -> None:
    await migrate(connection, folder)
    (folder / "0003_index.sql").write_text(INDEX_FILE)
    older = await asyncpg.connect(empty_url)
    async with older.transaction():
        # The index build waits until this transaction ends, because the transaction has written to the table.
        await older.execute("INSERT INTO first VALUES (1)")
        running = asyncio.create_task(migrate(connection, folder))
        async with asyncio.timeout(20):
            while await index_validity(older) != [False]:
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await index_validity(connection) == [False]
    assert await migrate(connection, folder) == ["0003_index"]
    assert await index_validity(connection) == [True]
    await older.close()


async def test_the_next_run_keeps_an_index_that_was_built_but_not_recorded(
    connection: Connection, folder: Path
) -> None:
    (folder / "0003_index.sql").write_text(INDEX_FILE)
    await migrate(connection, folder)
    await connection.execute("DELETE FROM schema_migrations WHERE number = 3")
    before = await connection.fetchval("SELECT 'first_by_id'::regclass::oid")
    assert await migrate(connection, folder) == ["0003_index"]
    assert await connection.fetchval("SELECT 'first_by_id'::regclass::oid") == before


async def test_a_second_run_waits_without_a_deadlock_while_the_first_run_builds_an_index_concurrently(
    empty_url: str, folder: Path
) -> None:
    (folder / "0003_index.sql").write_text(INDEX_FILE)
    connections = [await asyncpg.connect(empty_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection, folder) for connection in connections))
    assert sorted(applied) == [[], [], [], ["0001_first", "0002_second", "0003_index"]]
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE INDEX CONCURRENTLY first_by_id ON first (id);",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS first_by_id ON first (id); DROP TABLE first;",
        "DROP INDEX CONCURRENTLY first_by_id;",
        "UPDATE first SET id = 1;",
    ],
)
async def test_a_migration_without_a_transaction_can_have_only_one_repeatable_statement(
    connection: Connection, folder: Path, statements: str
) -> None:
    (folder / "0003_index.sql").write_text(f"-- migrate: no transaction\n{statements}\n")
    with pytest.raises(MigrationError, match="must be one statement that can be repeated"):
        await migrate(connection, folder)
    assert await pending(connection, folder) == ["0003_index"]


@pytest.mark.parametrize(
    "name", ["0004_late.sql", "0002_twice.sql", "3_short.sql", "0003-dash.sql", "0003_Big.sql"]
)
def test_a_file_name_that_breaks_the_numbering_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;\n")
    with pytest.raises(
        MigrationError, match=r"does not continue the numbers; use a name such as 000\d_what_it_adds.sql"
    ):
        load_migrations(folder)


def test_the_migrations_of_the_project_are_found() -> None:
    assert load_migrations(migrations_folder())[0].name.startswith("0001_")


# Before and after the restart of the processes ------------------------------------------------------------------


@pytest.fixture
async def phased(connection: Connection, folder: Path) -> Path:
    """A database of the previous release, and the files of a release. Its last file must wait until no process of the
    previous release runs.
    """
    await migrate(connection, folder)
    (folder / "0003_third.sql").write_text("ALTER TABLE first ADD COLUMN new_name text;\n")
    (folder / "0004_fourth.sql").write_text("-- migrate: after\nALTER TABLE first DROP COLUMN name;\n")
    return folder


async def test_a_deploy_applies_the_files_before_the_restart_and_later_those_after_it(
    connection: Connection, phased: Path
) -> None:
    assert await migrate(connection, phased, "before") == ["0003_third"]
    assert await migrate(connection, phased, "before") == []
    # The new code needs no more than this, so /readyz says yes.
    assert (await missing(connection, phased), await pending(connection, phased)) == ([], ["0004_fourth"])
    assert await migrate(connection, phased, "after") == ["0004_fourth"]
    assert await migrate(connection, phased, "after") == []


async def test_what_must_come_after_the_restart_is_refused_before_the_rest_is_applied(
    connection: Connection, phased: Path
) -> None:
    with pytest.raises(
        MigrationError, match="0003_third is not applied yet: first run curhat migrate --before"
    ):
        await migrate(connection, phased, "after")
    assert await missing(connection, phased) == ["0003_third"]


async def test_the_next_release_is_refused_until_the_release_before_it_is_deployed_to_its_end(
    connection: Connection, phased: Path
) -> None:
    await migrate(connection, phased, "before")
    (phased / "0005_fifth.sql").write_text("ALTER TABLE first ADD COLUMN name integer;\n")
    with pytest.raises(MigrationError, match="0005_fifth comes after 0004_fourth"):
        await migrate(connection, phased, "before")
    assert await migrate(connection, phased, "after") == ["0004_fourth"]
    assert await migrate(connection, phased, "before") == ["0005_fifth"]


@pytest.mark.parametrize("phase", ["all", "before"])
async def test_in_an_empty_database_every_file_is_applied(
    connection: Connection, folder: Path, phase: Phase
) -> None:
    (folder / "0003_third.sql").write_text("-- migrate: after\nALTER TABLE first DROP COLUMN name;\n")
    assert await migrate(connection, folder, phase) == ["0001_first", "0002_second", "0003_third"]


async def test_a_file_may_come_after_the_restart_and_run_outside_a_transaction(
    connection: Connection, folder: Path
) -> None:
    await migrate(connection, folder)
    (folder / "0003_third.sql").write_text(
        "-- migrate: after\n-- migrate: no transaction\nDROP INDEX CONCURRENTLY IF EXISTS nothing;\n"
    )
    assert await migrate(connection, folder, "after") == ["0003_third"]


def test_an_unknown_marker_is_refused(folder: Path) -> None:
    (folder / "0003_third.sql").write_text("-- migrate: afterwards\nSELECT 1;\n")
    with pytest.raises(MigrationError, match="unknown marker"):
        load_migrations(folder)
