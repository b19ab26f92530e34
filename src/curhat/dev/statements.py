"""Generates, beside each `queries.sql`, a module `queries.py` with one typed function per statement.

`python -m curhat.dev.statements` writes the modules. With `--check`, the command writes nothing, and says whether the
committed modules are current. The generator gets the types from PostgreSQL, which prepares each statement on a new
database with every migration. If a statement does not fit the schema, the generator fails.

The lines of a `queries.sql`:
    `-- type: status = PaymentStatus from curhat.payments.states` gives every column or parameter `status` this Python
    type. All type lines come before the first statement.
    `-- name: lock_payment :optional` begins a statement, and says which result its function returns.
    `:one` returns a row, or raises NoRow. `:optional` returns a row or None. `:many` returns a list. `:exec` returns
    nothing. `:execrows` returns the number of changed rows. For a single column, the function returns the bare value
    instead of a struct.
    `-- Lock the payment.` and the other plain comments above the SQL become the docstring of the function.
    `-- nullable: target_mitra_id, @left_out_mitra_id` names columns and parameters that can be null. In this line, the
    name of a parameter begins with @.
    `-- row: LockedPayment` names the struct of a row. Statements with equal columns can share a struct. Without this
    line, the struct has the statement's name in CamelCase, followed by `Row`.
    `SELECT … WHERE id = @payment_id /* conditions */` is the statement, with named parameters. Only a `:many` statement
    can contain `/* conditions */` (kit.conditions).
"""

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from curhat.dev.embedded import migrated_database

SOURCES: Final = Path(__file__).parents[1]
CONDITIONS: Final = "/* conditions */"
RESULTS: Final = ("one", "optional", "many", "exec", "execrows")

# The Python types that asyncpg uses for PostgreSQL's types.
PYTHON_TYPES: Final[Mapping[str, str]] = {
    "bool": "bool",
    "bytea": "bytes",
    "date": "date",
    "float8": "float",
    "int4": "int",
    "int8": "int",
    "interval": "timedelta",
    "jsonb": "str",
    "numeric": "Decimal",
    "text": "str",
    "timestamptz": "datetime",
    "uuid": "UUID",
    "void": "None",
}

_PREAMBLE: Final = '''"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.conditions import Conditions
from curhat.kit.database import Executor, NoRow, rows_changed
'''

_NAME: Final = re.compile(r"^-- name: (\w+)(?: :(\w+))?[ \t]*$", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![\w@<>])@([a-z_]\w*)")
_TYPE: Final = re.compile(r"^-- type: (\w+) = (\w+)(?: from ([\w.]+))?$", re.MULTILINE)


class StatementError(Exception):
    """The generator cannot make a module from a `queries.sql`. The message gives the place and the reason."""


@dataclass
class Statement:
    """One statement of a `queries.sql`. In `sql`, $n stands for the n-th name in `parameters`."""

    name: str
    result: str
    docstring: str
    sql: str
    parameters: list[str]
    nullable: set[str]
    row: str
    types: dict[str, str]
    # The Python type of each parameter and of each column. `prepare` gets the types from PostgreSQL.
    parameter_types: list[str] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class QueriesFile:
    """A parsed `queries.sql`."""

    path: Path
    module: Path
    statements: list[Statement]
    imports: set[str]


def number_parameters(sql: str, parameters: list[str]) -> str:
    """Replace each @name in the statement by $n, where n is the position of the name in `parameters`.

    Appends each missing name to `parameters`.
    """

    def number(found: re.Match[str]) -> str:
        if found[1] not in parameters:
            parameters.append(found[1])
        return f"${parameters.index(found[1]) + 1}"

    return _PARAMETER.sub(number, sql)


def parse(path: Path) -> QueriesFile:
    """Read a `queries.sql`. Raises StatementError."""
    head, *parts = _NAME.split(path.read_text(encoding="utf-8"))
    types: dict[str, str] = {}
    imports: set[str] = set()
    for name, kind, module in _TYPE.findall(head):
        types[name] = kind
        if module:
            imports.add(f"from {module} import {kind}")
    statements = [
        _statement(f"{path}: {name}", name, result, text, types)
        for name, result, text in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]
    if len({statement.name for statement in statements}) != len(statements):
        raise StatementError(f"{path} names a statement twice")
    return QueriesFile(path, path.with_name("queries.py"), statements, imports)


def _statement(where: str, name: str, result: str | None, text: str, types: Mapping[str, str]) -> Statement:
    if result not in RESULTS:
        raise StatementError(
            f"{where}: the result must be one of {', '.join(f':{each}' for each in RESULTS)}"
        )
    lines = text.strip().rstrip(";").splitlines()
    comment = []
    nullable: set[str] = set()
    row = "".join(word.capitalize() for word in name.split("_")) + "Row"
    while lines and lines[0].startswith("--"):
        line = lines.pop(0).removeprefix("--").strip()
        key, _, value = line.partition(": ")
        if key == "nullable":
            nullable |= set(value.split(", "))
        elif key == "row":
            row = value
        else:
            comment.append(line)
    # Comments between the lines of SQL are for readers of the file. PostgreSQL does not need these comments.
    kept = [line for line in lines if line.strip() and not line.strip().startswith("--")]
    parameters: list[str] = []
    sql = number_parameters("\n".join(kept), parameters)
    if re.search(r"\$\d", "\n".join(kept)):
        raise StatementError(f"{where}: parameters are written @name")
    if CONDITIONS in sql and result != "many":
        raise StatementError(f"{where}: only a :many takes conditions")
    return Statement(name, result, "\n".join(comment), sql, parameters, nullable, row, dict(types))


async def prepare(connection: "asyncpg.Connection[asyncpg.Record]", files: Iterable[QueriesFile]) -> None:
    """Make PostgreSQL determine the types of every statement. Raises StatementError."""
    for file in files:
        for statement in file.statements:
            where = f"{file.path}: {statement.name}"
            try:
                prepared = await connection.prepare(statement.sql.replace(CONDITIONS, ""))
            except asyncpg.PostgresError as error:
                raise StatementError(f"{where}: {error}") from error
            statement.parameter_types = [
                _python_type(where, statement, f"@{name}", kind, "Sequence")
                for name, kind in zip(statement.parameters, prepared.get_parameters(), strict=True)
            ]
            statement.columns = [
                (column.name, _python_type(where, statement, column.name, column.type, "list"))
                for column in prepared.get_attributes()
            ]
            _refuse_unclear(where, statement)


def _python_type(where: str, statement: Statement, name: str, kind: Any, sequence: str) -> str:
    bare = kind.name.removesuffix("[]")
    found = statement.types.get(name.lstrip("@")) or PYTHON_TYPES.get(bare)
    if found is None:
        raise StatementError(f"{where}: there is no Python type for {name}, which is {kind.name}")
    if kind.name.endswith("[]"):
        found = f"{sequence}[{found}]"
    return f"{found} | None" if name in statement.nullable else found


def _refuse_unclear(where: str, statement: Statement) -> None:
    names = [name for name, _ in statement.columns]
    unclear = [name for name in names if not name.isidentifier() or names.count(name) > 1]
    if unclear:
        raise StatementError(f"{where}: the column {unclear[0]!r} needs a name of its own (AS …)")
    unknown = statement.nullable - set(names) - {f"@{name}" for name in statement.parameters}
    if unknown:
        raise StatementError(f"{where}: nullable names {', '.join(sorted(unknown))}, which is not there")
    if bool(names) == statement.result.startswith("exec"):
        raise StatementError(f"{where}: :{statement.result} does not fit its {len(names)} columns")


def render(file: QueriesFile) -> str:
    """Return the text of the generated module, formatted. Raises StatementError."""
    structs: dict[str, list[tuple[str, str]]] = {}
    parts = [_PREAMBLE, *sorted(file.imports)]
    for statement in file.statements:
        if len(statement.columns) > 1:
            if statement.row not in structs:
                fields = "\n".join(f"    {name}: {kind}" for name, kind in statement.columns)
                parts.append(f"class {statement.row}(msgspec.Struct, frozen=True):\n{fields}\n")
            if structs.setdefault(statement.row, statement.columns) != statement.columns:
                raise StatementError(f"{file.path}: {statement.name}: {statement.row} has other columns")
        parts.append(_function(statement))
    text = "\n".join(parts)
    for arguments in (["check", "--fix", "--quiet", "--select=F401,I"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, f"--stdin-filename={file.module}", "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def _function(statement: Statement) -> str:
    constant = statement.name.upper()
    text = f'{constant}: Final = """\n{statement.sql}\n"""\n'
    scalar = len(statement.columns) == 1
    gives = statement.columns[0][1] if scalar else statement.row
    arguments = "".join(
        f", {name}: {kind}"
        for name, kind in zip(statement.parameters, statement.parameter_types, strict=True)
    )
    keywords = f", *{arguments}" if arguments else ""
    call = ", ".join([constant, *statement.parameters])
    one = "row[0]" if scalar else f"{statement.row}(*row)"
    give = f"    value: {gives} = row[0]\n    return value" if scalar else f"    return {one}"
    before = ""
    if CONDITIONS in statement.sql:
        keywords = f", conditions: Conditions{keywords}"
        before = f"    statement, values = conditions.complete({call})\n"
        call = "statement, *values"
    match statement.result:
        case "exec":
            returns, body = "None", f"    await db.execute({call})"
        case "execrows":
            returns, body = "int", f"    return rows_changed(await db.execute({call}))"
        case "many":
            returns, body = f"list[{gives}]", f"    return [{one} for row in await db.fetch({call})]"
        case _:
            is_optional = statement.result == "optional"
            returns = f"{gives} | None" if is_optional and not gives.endswith(" | None") else gives
            missing = "return None" if is_optional else f"raise NoRow({constant})"
            body = f"    row = await db.fetchrow({call})\n    if row is None:\n        {missing}\n{give}"
    indented = "\n    ".join(statement.docstring.splitlines())
    docstring = f'    """{indented}"""\n' if indented else ""
    return f"{text}\n\nasync def {statement.name}(db: Executor, /{keywords}) -> {returns}:\n{docstring}{before}{body}\n"


async def generate(files: list[QueriesFile]) -> dict[Path, str]:
    """Return a map from the path of every module to the module's text. Raises StatementError."""
    async with migrated_database() as (_, connection):
        await prepare(connection, files)
    return {file.module: render(file) for file in files}


def main() -> int:
    """Write or check the modules. Returns 1 when `--check` finds a difference, or when a statement is wrong."""
    parser = argparse.ArgumentParser(description="The typed functions of every queries.sql.")
    parser.add_argument("--check", action="store_true", help="only say whether the modules are current")
    check = parser.parse_args().check
    try:
        modules = asyncio.run(generate([parse(path) for path in sorted(SOURCES.rglob("queries.sql"))]))
    except StatementError as error:
        sys.stderr.write(f"statements: {error}\n")
        return 1
    stale = [path for path, text in modules.items() if not path.exists() or path.read_text("utf-8") != text]
    if check and stale:
        names = ", ".join(str(path.relative_to(SOURCES)) for path in stale)
        sys.stderr.write(f"statements: {names} differ from their queries.sql; run make contracts\n")
        return 1
    for path in stale:
        path.write_text(modules[path], encoding="utf-8")
    sys.stdout.write(f"statements: {len(modules)} modules, {len(stale)} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
