"""Test the generator of the typed statements with a real PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from curhat.dev.statements import CONDITIONS, SOURCES, QueriesFile, StatementError, parse, prepare, render

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def queries(tmp_path: Path, text: str) -> QueriesFile:
    path = tmp_path / "queries.sql"
    path.write_text(text, encoding="utf-8")
    return parse(path)


async def test_no_statement_returns_a_column_that_a_later_migration_adds(connection: Connection) -> None:
    # During a deploy, the old code can run on the schema of the next version. A row with an additional column would not
    # fit its struct.
    files = [parse(path) for path in SOURCES.rglob("queries.sql")]
    await prepare(connection, files)
    tables = await connection.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    )
    for table in tables:
        await connection.execute(f"ALTER TABLE {table['name']} ADD COLUMN added_later integer")
    for file in files:
        for statement in file.statements:
            prepared = await connection.prepare(statement.sql.replace(CONDITIONS, ""))
            assert len(prepared.get_attributes()) == len(statement.columns), f"{file.path}: {statement.name}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: read :one\nSELECT nmae FROM mitras", 'column "nmae" does not exist'),
        ("-- name: read :one\nSELECT id, id FROM mitras", "needs a name of its own"),
        ("-- name: read :one\nSELECT 1 + 1", "needs a name of its own"),
        ("-- name: read :exec\nSELECT id FROM mitras", "does not fit its 1 columns"),
        ("-- name: read :many\nUPDATE mitras SET online = true", "does not fit its 0 columns"),
        ("-- name: read :one\n-- nullable: name\nSELECT id FROM mitras", "nullable names name"),
        ("-- name: read :one\nSELECT point(1, 2) AS place", "no Python type for place"),
    ],
)
async def test_the_generator_refuses_an_invalid_statement_with_the_reason(
    connection: Connection, tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(StatementError, match=complaint):
        await prepare(connection, [queries(tmp_path, text)])


async def test_statements_that_share_a_struct_must_have_the_same_columns(
    connection: Connection, tmp_path: Path
) -> None:
    file = queries(
        tmp_path,
        "-- name: first :one\n-- row: Mitra\nSELECT id, online FROM mitras\n"
        "-- name: second :one\n-- row: Mitra\nSELECT id, display_name FROM mitras\n",
    )
    await prepare(connection, [file])
    with pytest.raises(StatementError, match="Mitra has other columns"):
        render(file)
