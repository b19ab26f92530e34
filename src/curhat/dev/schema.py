"""The schema snapshot: contracts/schema.sql, generated from a database with every migration.

`python -m curhat.dev.schema` writes the snapshot. With `--check`, the command writes nothing, and says whether the
committed file is current.

The text is the output of `pg_dump --schema-only`, sorted by table. Each table has its constraints, indexes, triggers
and privileges. Views come after the tables, and functions come last. People read and compare the snapshot. A database
is made by the migrations, never from the snapshot.
"""

import argparse
import asyncio
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from curhat.dev.embedded import migrated_database

FILE: Final = Path(__file__).parents[3] / "contracts" / "schema.sql"

NOTICE: Final = """\
-- The schema after the last migration, to be read; migrations/ makes it. Written by make contracts; do not edit.
"""

# The comment that pg_dump writes above each object.
_HEADER: Final = re.compile(r"^-- Name: .*; Type: (.*); Schema: .*; Owner: .*$", re.MULTILINE)
# Empty lines, comments, and the lines that pg_dump adds for loading the dump.
_NO_STATEMENT: Final = re.compile(r"$|--|SET |\\unrestrict ")
_TABLE: Final = re.compile(
    r"(?:CREATE TABLE|ALTER TABLE|CREATE (?:UNIQUE )?INDEX \w+ ON|"
    r"CREATE (?:CONSTRAINT )?TRIGGER .*? ON|REVOKE .* ON TABLE) ([\w.]+)"
)
# The sequence options of an identity column. The snapshot leaves these options out, because all migrations use
# PostgreSQL's default options.
_IDENTITY: Final = re.compile(r"(?<= AS IDENTITY) \(\n.*?\n\);", re.DOTALL)


def snapshot(dump: str) -> str:
    """Return the text of the snapshot for the output of `pg_dump --schema-only`."""
    tables: dict[str, list[str]] = defaultdict(list)
    others: dict[str, list[str]] = defaultdict(list)
    for kind, statement in _objects(dump):
        table = _TABLE.match(statement)
        if table is not None:
            tables[table[1]].append(statement)
        else:
            others[kind].append(statement)
    parts = [NOTICE, *others.pop("SCHEMA", [])]
    parts += ["\n".join(tables[name]) for name in sorted(tables)]
    parts += [statement for kind in sorted(others, reverse=True) for statement in others[kind]]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _objects(dump: str) -> Iterator[tuple[str, str]]:
    """Yield the type and the statement of each object, without the prefix of the schema public."""
    # The text after a header holds the header's second line, the statement, and the first line of the next header.
    _, *rest = _HEADER.split(dump)
    for kind, text in zip(rest[::2], rest[1::2], strict=True):
        lines = text.strip().splitlines()
        while lines and _NO_STATEMENT.match(lines[0]):
            lines.pop(0)
        while lines and _NO_STATEMENT.match(lines[-1]):
            lines.pop()
        statement = "\n".join(lines).strip().replace("public.", "").replace("ALTER TABLE ONLY", "ALTER TABLE")
        # pg_dump puts each constraint on a separate line.
        statement = re.sub(r"^(ALTER TABLE \S+)\n\s+", r"\1 ", statement)
        yield kind, _IDENTITY.sub(";", statement)


async def dumped() -> str:
    """Return the dump of a new database that has every migration."""
    async with migrated_database() as (servers, _):
        command = [servers.postgres.program("pg_dump"), "--schema-only", "--no-owner", servers.database_url]
        done = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout


def main() -> int:
    """Write or check the snapshot. Returns 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the committed file is current")
    check = parser.parse_args().check
    text = snapshot(asyncio.run(dumped()))
    is_current = FILE.exists() and FILE.read_text(encoding="utf-8") == text
    if check and not is_current:
        sys.stderr.write(f"schema: {FILE.name} differs from the migrations; run make contracts\n")
        return 1
    FILE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"schema: {'current' if is_current else 'written'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
