"""Check that only the generated modules run SQL, and that the generator refuses a malformed statement."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from curhat.dev import statements
from curhat.dev.statements import StatementError, parse
from curhat.kit.conditions import Conditions

SOURCES = statements.SOURCES
RUNS_SQL = {"fetch", "fetchrow", "fetchval", "execute", "executemany"}
# The modules that run their own SQL, and the reason why each module cannot use a queries.sql.
RUNS_ITS_OWN_SQL = {
    "kit/database.py": "the generated modules use it to run their statements",
    "kit/migrations.py": "it creates the schema from which the statements get their types",
    "dev/statements.py": "it prepares the statements",
    "dev/embedded.py": "it queries a PostgreSQL that has no schema yet",
    "kit/restored.py": "it asks a database that may have an older schema",
    "kit/roles.py": "it grants privileges, and names roles and tables in its statements",
    "app/production_checks.py": "it reads settings of PostgreSQL",
    "app/cli/doctor.py": "it queries a PostgreSQL that may have no schema",
    "app/invariants.py": "it combines the invariants into one statement",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the product except the generated modules."""
    for path in sorted(SOURCES.rglob("*.py")):
        if path.name != "queries.py":
            yield str(path.relative_to(SOURCES)), ast.parse(path.read_text(encoding="utf-8"))


def test_only_the_generated_modules_run_sql() -> None:
    found = {
        f"{name}:{node.lineno}"
        for name, module in modules()
        if name not in RUNS_ITS_OWN_SQL
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RUNS_SQL
        and ast.unparse(node.func.value) in {"tx", "database", "self._database", "connection", "db", "reader"}
    }
    assert found == set()


def test_no_module_reads_a_column_of_a_row_by_name() -> None:
    found = {
        f"{name}:{node.lineno}"
        for name, module in modules()
        if name not in RUNS_ITS_OWN_SQL
        for node in ast.walk(module)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and re.search(r"\brows?\b", ast.unparse(node.value))
    }
    assert found == set()


def test_every_statement_is_used_in_a_module() -> None:
    words = {
        word.lower()
        for path in SOURCES.rglob("*.py")
        if path.name != "queries.py"
        for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    }
    unused = {
        f"{path.parent.name}: {statement.name}"
        for path in SOURCES.rglob("queries.sql")
        for statement in parse(path).statements
        if statement.name not in words
    }
    assert unused == set()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: lock_payment\nSELECT 1", "the result must be one of"),
        ("-- name: lock_payment :first\nSELECT 1", "the result must be one of"),
        ("-- name: lock_payment :one\nSELECT $1::text AS a", "parameters are written @name"),
        ("-- name: lock_payment :one\nSELECT 1 AS a WHERE true /* conditions */", "only a :many"),
        ("-- name: a_payment :one\nSELECT 1\n-- name: a_payment :one\nSELECT 2", "names a statement twice"),
    ],
)
def test_a_malformed_queries_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "queries.sql"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StatementError, match=complaint):
        parse(path)


def test_parameters_are_numbered_in_order_and_operators_are_unchanged() -> None:
    names: list[str] = []
    sql = statements.number_parameters(
        "a = @first AND b @> @second AND c <@ d AND e = @first AND f = 'x@y'", names
    )
    assert sql == "a = $1 AND b @> $2 AND c <@ d AND e = $1 AND f = 'x@y'"
    assert names == ["first", "second"]


def test_parameters_of_conditions_are_numbered_after_the_parameters_of_the_statement() -> None:
    conditions = Conditions()
    conditions.add("a = {0}", 7)
    page = conditions.copy()
    page.add("(b, c) < ({0}, {1})", 8, 9)
    assert page.complete("SELECT 1 WHERE true /* conditions */ LIMIT $1", 50) == (
        "SELECT 1 WHERE true \n    AND a = $2\n    AND (b, c) < ($3, $4) LIMIT $1",
        [50, 7, 8, 9],
    )
    assert conditions.complete("/* conditions */")[1] == [7]
