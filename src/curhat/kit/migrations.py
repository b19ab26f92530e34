"""Migrations: the numbered SQL files of `migrations/`, applied in order, forward only.

Guarantees
    A file is applied once, whole or not at all, and noted with the checksum of its statements.
    Two processes never migrate at once: the second waits, then finds nothing to do.
    A file whose statements changed after it was applied, and a database that is newer than this code, are
    refused. Comments and white space between the statements' words may change.
Relies on
    a PostgreSQL session of its own (not a transaction-pooled one), for the advisory lock.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

# Any constant does, as long as nothing else in this database takes the same advisory lock.
_ADVISORY_LOCK: Final = 4_207_193_501
# A migration that waits behind a long transaction makes everyone else wait behind it: it gives up instead.
_LOCK_TIMEOUT: Final = "5s"
_STATEMENT_TIMEOUT: Final = "15min"

_FILE_NAME: Final = re.compile(r"(?P<number>[0-9]{4})_[a-z0-9_]+\.sql")

# Finds comments and white space, but not those inside quotes: PostgreSQL stores a function's body as it is written.
_QUOTED_OR_GAP: Final = re.compile(
    r"""
      (?P<quoted> \bE'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "[^"]*" | (?P<tag>\$(?:[A-Z_]\w*)?\$) .*? (?P=tag) )
    | (?P<gap> (?: \s | --[^\n]* | /\*.*?\*/ )+ )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class MigrationError(Exception):
    """The files and the database do not fit together, or a file failed; says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without `.sql`, and its SQL."""

    number: int
    name: str
    statements: str = field(repr=False)

    @property
    def checksum(self) -> str:
        """SHA-256 of the text without its comments and with single spaces, in hexadecimal."""
        words = _QUOTED_OR_GAP.sub(lambda found: found["quoted"] or " ", self.statements).strip()
        return hashlib.sha256(words.encode()).hexdigest()


def migrations_folder() -> Path:
    """Where the files lie: `migrations/` of the checkout, or `curhat/_migrations` of an installed wheel."""
    package = Path(__file__).parents[1]
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def load_migrations(folder: Path) -> list[Migration]:
    """All files of `folder` in order. Raises MigrationError when the numbers are not 1, 2, 3 …"""
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match["number"]) != number:
            raise MigrationError(
                f"{path} is out of step; right is a name such as {number:04}_what_it_adds.sql"
            )
        migrations.append(Migration(number, path.stem, path.read_text(encoding="utf-8")))
    if not migrations:
        raise MigrationError(f"there are no migrations in {folder}")
    return migrations


async def pending(connection: Connection, folder: Path | None = None) -> list[str]:
    """The names of the migrations still to be applied; changes nothing.

    Raises MigrationError when the database is newer than this code, or an applied file has changed.
    """
    return [migration.name for migration in await _pending(connection, folder)]


async def migrate(connection: Connection, folder: Path | None = None) -> list[str]:
    """Apply what is pending and return the names, in order. `connection` must not be in a transaction.

    Each file is a transaction of its own: when one fails, those before it stay. Raises MigrationError.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
    try:
        await connection.execute(_CREATE_TABLE)
        applied = []
        for migration in await _pending(connection, folder):
            await _apply(connection, migration)
            applied.append(migration.name)
        return applied
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _ADVISORY_LOCK)


async def _pending(connection: Connection, folder: Path | None) -> list[Migration]:
    migrations = load_migrations(folder or migrations_folder())
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return migrations
    applied = await connection.fetch("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
    for row in applied:
        if row["number"] > len(migrations):
            raise MigrationError(
                f"the database has migration {row['name']}, which this code does not know: "
                "it belongs to a newer version; run that one"
            )
        migration = migrations[row["number"] - 1]
        if migration.checksum != row["checksum"]:
            raise MigrationError(
                f"{migration.name} changed after it was applied to this database (as {row['name']}): "
                "put its text back, and say what is new in a migration of its own"
            )
    return migrations[len(applied) :]


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            await connection.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")
            await connection.execute(migration.statements)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.name} failed, and nothing of it was kept: {error}") from error
