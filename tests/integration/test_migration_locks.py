"""Test that a migration locks at most one of the tables that a customer's step locks together.

A migration keeps its locks until its commit. With locks on two of these tables, it can deadlock with a confirmation or
an accept, which locks them in another order. PostgreSQL itself says which tables a file locks.
"""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Connection
from curhat.kit.migrations import load_migrations, migrate, migrations_folder

# The files up to this number are older than the rule.
LAST_OLD_NUMBER: Final = 29
# Each confirmation, accept, end of a session or refund writes rows of several of these tables in one transaction.
HOT: Final = frozenset(
    {
        "payments",
        "charge_attempts",
        "refunds",
        "review_cases",
        "pairings",
        "requests",
        "sessions",
        "extensions",
    }
)
# The tables on which this transaction holds a lock that makes a writer wait.
LOCKED: Final = """
SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE pid = pg_backend_pid() AND relnamespace = 'public'::regnamespace
    AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""


@pytest.fixture
async def old_schema(servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Connection]:
    """A connection to a database with the files that are older than the rule."""
    for path in sorted(migrations_folder().glob("*.sql"))[:LAST_OLD_NUMBER]:
        shutil.copy(path, tmp_path)
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute("CREATE DATABASE old_schema")
    connection = await asyncpg.connect(servers.database_url.replace("/curhat?", "/old_schema?"))
    await migrate(connection, tmp_path)
    yield connection
    await connection.close()
    await admin.execute("DROP DATABASE old_schema WITH (FORCE)")
    await admin.close()


async def hot_tables_locked_by(connection: Connection, statements: str) -> set[str]:
    """Run the statements in one transaction. Return the hot tables that the transaction has locked at its end."""
    async with connection.transaction():
        await connection.execute(statements)
        return {row["relname"] for row in await connection.fetch(LOCKED)} & HOT


async def test_each_migration_locks_at_most_one_hot_table(old_schema: Connection) -> None:
    locked = {}
    for migration in load_migrations(migrations_folder())[LAST_OLD_NUMBER:]:
        if "no transaction" in migration.markers:
            # The runner allows only one statement about an index.
            await old_schema.execute(migration.statements)
        else:
            locked[migration.name] = await hot_tables_locked_by(old_schema, migration.statements)
    assert {name: tables for name, tables in locked.items() if len(tables) > 1} == {}


@pytest.mark.parametrize(
    ("statements", "tables"),
    [
        ("ALTER TABLE payments ADD COLUMN a integer; UPDATE sessions SET id = id", {"payments"}),
        (
            "ALTER TABLE payments ADD COLUMN a integer; ALTER TABLE pairings ADD COLUMN a integer",
            {"payments", "pairings"},
        ),
        (
            "CREATE TABLE notes (p uuid REFERENCES payments, s uuid REFERENCES sessions)",
            {"payments", "sessions"},
        ),
        (
            "CREATE INDEX again ON refunds (amount_rp); DROP TRIGGER review_cases_decided_once ON review_cases",
            {"refunds", "review_cases"},
        ),
    ],
)
async def test_the_check_notices_each_kind_of_lock(
    old_schema: Connection, statements: str, tables: set[str]
) -> None:
    assert await hot_tables_locked_by(old_schema, statements) == tables
