"""Applies the numbered SQL files of `migrations/` in order. No migration can be reverted.

Guarantees:
    `migrate` applies a file once. In the same transaction, `migrate` records the file with the checksum of its
    statements.
    A file that begins with `-- migrate: no transaction` builds or drops one index concurrently, outside a transaction.
    If a run of a file without a transaction is interrupted, the next run drops the invalid index and repeats the file.
    A file that begins with `-- migrate: after` holds what older code cannot live with. A deploy first applies the
    files without this marker, then restarts every process, and then applies the files with this marker. `migrate`
    refuses to apply files in the wrong order. The code of one version runs both with and without its own `after` files.
    Two processes never migrate at the same time. The second process waits, and then finds nothing to apply.
    `migrate` refuses a file whose statements changed after the file was applied. Changes of comments, and of white
    space between words, are allowed. `migrate` also refuses a database that is newer than this code.
Relies on:
    A dedicated PostgreSQL session holds the advisory lock. A connection pooler in transaction mode gives no dedicated
    session.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

import asyncpg

from curhat.kit.database import Connection

# Only this module is allowed to use _ADVISORY_LOCK as the key of an advisory lock. The value of the key has no meaning.
_ADVISORY_LOCK: Final = 4_207_193_501
_LOCK_POLL_SECONDS: Final = 0.1
# A migration sometimes has to wait for a lock that a long transaction holds. While the migration waits, every later
# query on the table waits too. So a migration gives up after waiting for _LOCK_TIMEOUT.
_LOCK_TIMEOUT: Final = "5s"
_STATEMENT_TIMEOUT: Final = "15min"

# Matches either quoted text, or a gap of comments and white space outside quotes. The checksum covers quoted text
# unchanged, because PostgreSQL stores the quoted body of a function unchanged.
_QUOTED_OR_GAP: Final = re.compile(
    r"""
      (?P<quoted> \bE'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "[^"]*" | (?P<tag>\$(?:[A-Z_]\w*)?\$) .*? (?P=tag) )
    | (?P<gap> (?: \s | --[^\n]* | /\*.*?\*/ )+ )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

# Each of the first lines of a file can be a marker.
_MARKER: Final = re.compile(r"-- migrate: (.*)\n")
_NO_TRANSACTION: Final = "no transaction"
_AFTER: Final = "after"

# The files that a run applies: all pending files, or only the files for the time before or after the restart of all
# processes.
Phase = Literal["all", "before", "after"]

# A file with the marker _NO_TRANSACTION can contain only one statement of this form. A process can die after it has
# run the file and before it has recorded the file. With IF EXISTS or IF NOT EXISTS, the next run can repeat the file.
_CONCURRENT_STATEMENT: Final = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(?P<created>\w+)\s+ON\s[^;]+;"
    r"|DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+\w+\s*;",
    re.IGNORECASE,
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
    """The files do not match the database, or a file failed. The message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without `.sql`, and its text."""

    number: int
    name: str
    statements: str = field(repr=False)

    @property
    def markers(self) -> frozenset[str]:
        """The markers in the first lines of the file."""
        markers = set()
        for line in self.statements.splitlines(keepends=True):
            matched = _MARKER.fullmatch(line)
            if matched is None:
                break
            markers.add(matched[1])
        return frozenset(markers)

    @property
    def is_after(self) -> bool:
        """Whether a deploy applies the file only when no process of an older version runs any more."""
        return _AFTER in self.markers

    @property
    def checksum(self) -> str:
        """SHA-256, in hexadecimal, of the text without comments and with a single space for each gap."""
        words = _QUOTED_OR_GAP.sub(lambda found: found["quoted"] or " ", self.statements).strip()
        return hashlib.sha256(words.encode()).hexdigest()


def migrations_folder() -> Path:
    """Return the folder of the files: `migrations/` in a checkout, `curhat/_migrations` in an installed wheel."""
    package = Path(__file__).parents[1]
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def load_migrations(folder: Path) -> list[Migration]:
    """Read all files of `folder` in order.

    Raises MigrationError if the folder has no files, if the numbers of the files are not 1, 2, 3, …, or if a marker
    is unknown.
    """
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        if re.fullmatch(rf"{number:04}_[a-z0-9_]+\.sql", path.name) is None:
            raise MigrationError(
                f"{path} does not continue the numbers; use a name such as {number:04}_what_it_adds.sql"
            )
        migration = Migration(number, path.stem, path.read_text(encoding="utf-8"))
        if not migration.markers <= {_NO_TRANSACTION, _AFTER}:
            raise MigrationError(
                f"{path} has an unknown marker; right is `-- migrate: {_NO_TRANSACTION}` or `-- migrate: {_AFTER}`"
            )
        migrations.append(migration)
    if not migrations:
        raise MigrationError(f"there are no migrations in {folder}")
    return migrations


async def pending(connection: Connection, folder: Path | None = None) -> list[str]:
    """Return the names of the migrations that are not applied yet. This function changes nothing.

    Raises MigrationError when the database is newer than this code, or an applied file has changed.
    """
    return [migration.name for migration in await _pending(connection, folder)]


async def missing(connection: Connection, folder: Path | None = None) -> list[str]:
    """Return the names of the migrations that this code needs and the database lacks. This function changes nothing.

    This code runs without its own `after` files. A database that is newer than this code lacks no file, because old
    code runs on a newer schema.
    """
    migrations = load_migrations(folder or migrations_folder())
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return [migration.name for migration in migrations if not migration.is_after]
    applied = {number for (number,) in await connection.fetch("SELECT number FROM schema_migrations")}
    return [
        migration.name
        for migration in migrations
        if migration.number not in applied and not migration.is_after
    ]


async def migrate(connection: Connection, folder: Path | None = None, phase: Phase = "all") -> list[str]:
    """Apply the pending migrations of a phase and return their names, in order.

    `connection` must not be in a transaction. When a file fails, the files before it stay applied.
    In an empty database, the phase `before` applies everything, because no process has used the database yet.
    Raises MigrationError, for example if a file of the other phase must be applied before a file of `phase`.
    """
    # Do not use pg_advisory_lock. A statement that waits for this lock holds a snapshot. If the process with the lock
    # runs CREATE INDEX CONCURRENTLY, this command waits for the release of the snapshot. The two processes would then
    # deadlock.
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ADVISORY_LOCK):
        await asyncio.sleep(_LOCK_POLL_SECONDS)
    try:
        await connection.execute(_CREATE_TABLE)
        applied = []
        for migration in _of_phase(await _pending(connection, folder), phase):
            if _NO_TRANSACTION in migration.markers:
                await _apply_without_transaction(connection, migration)
            else:
                await _apply(connection, migration)
            applied.append(migration.name)
        return applied
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _ADVISORY_LOCK)


def _of_phase(pending: Sequence[Migration], phase: Phase) -> Sequence[Migration]:
    """Return the files at the beginning of `pending` that belong to `phase`.

    Raises MigrationError for the wrong order.
    """
    if phase == "all" or not pending:
        return pending
    first = pending[0]
    if phase == "before" and first.number == 1:
        return pending
    if phase == "after":
        if not first.is_after:
            raise MigrationError(
                f"{first.name} is not applied yet: first run curhat migrate --before, and restart every process"
            )
        return list(takewhile(lambda migration: migration.is_after, pending))
    before = list(takewhile(lambda migration: not migration.is_after, pending))
    rest = pending[len(before) :]
    behind = next((migration for migration in rest if not migration.is_after), None)
    if behind is not None:
        raise MigrationError(
            f"{behind.name} comes after {rest[0].name}, which waits until every process runs the version before this "
            "one: first end that deploy with curhat migrate --after (in a new installation: curhat migrate)"
        )
    return before


async def _pending(connection: Connection, folder: Path | None) -> list[Migration]:
    migrations = load_migrations(folder or migrations_folder())
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return migrations
    applied = await connection.fetch("SELECT number, name, checksum FROM schema_migrations ORDER BY number")
    for number, name, checksum in applied:
        if number > len(migrations):
            raise MigrationError(
                f"the database has migration {name}, which this code does not know: "
                "it belongs to a newer version; run that one"
            )
        migration = migrations[number - 1]
        if migration.checksum != checksum:
            raise MigrationError(
                f"{migration.name} changed after it was applied to this database (as {name}): "
                "put its text back, and say what is new in a migration of its own"
            )
    return migrations[len(applied) :]


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            await connection.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")
            await connection.execute(migration.statements)
            await _record(connection, migration)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.name} failed, and nothing of it was kept: {error}") from error


async def _apply_without_transaction(connection: Connection, migration: Migration) -> None:
    statement = re.sub(r"--.*", "", migration.statements).strip()
    matched = _CONCURRENT_STATEMENT.fullmatch(statement)
    if matched is None:
        raise MigrationError(
            f"{migration.name} runs outside a transaction, so it must be one statement that can be repeated: "
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS … or DROP INDEX CONCURRENTLY IF EXISTS …"
        )
    try:
        # CREATE INDEX CONCURRENTLY blocks no other query, but can take hours on a large table.
        await connection.execute("SET lock_timeout = 0")
        await connection.execute("SET statement_timeout = 0")
        if matched["created"] is not None:
            await _drop_invalid_index(connection, matched["created"])
        await connection.execute(statement)
        await _record(connection, migration)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.name} failed; the next run repeats it: {error}") from error


async def _drop_invalid_index(connection: Connection, name: str) -> None:
    """Drop the invalid index that an interrupted CREATE INDEX CONCURRENTLY left.

    CREATE INDEX CONCURRENTLY IF NOT EXISTS would keep the invalid index.
    """
    invalid = await connection.fetchval(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid",
        name,
    )
    if invalid is not None:
        await connection.execute(f"DROP INDEX CONCURRENTLY {invalid}")


async def _record(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
        migration.number,
        migration.name,
        migration.checksum,
    )
