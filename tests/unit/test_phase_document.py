"""Check that docs/phase3.7.md has every decision, and that each path, name and test in the documents exists.

The documents refer to code and tests as `path: name` or `path: name, name`. The type of the file determines the kind
of a name.

In a .py file, a name is a function, a class, a method (`Class.method`) or a constant.
In a queries.sql, a name is a statement (`-- name: …`).
In migrations/, a name is a word of the SQL, for example a constraint or a trigger.
In any other file, a name is a word of the text.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import rules_report

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "phase3.7.md"
PLAN = ROOT / "docs" / "phase3.7-plan.md"

# The number of the owner's decisions in each section.
DECISIONS = {"1": 6, "2a": 5, "2b": 5, "2c": 2, "3": 7, "4": 6, "5": 6, "X": 6}
# The file rules.md has no rule for this decision, because the decision is about screens of an earlier project.
WITHOUT_A_RULE = {"2c.2"}

PATH = r"(?:src|tests|web|migrations|docs)/[\w./-]+"
REFERENCE = re.compile(rf"`(?P<path>{PATH})(?:: (?P<names>[\w.]+(?:, [\w.]+)*))?`")


def decisions() -> dict[str, str]:
    """Return a map from the number of each decision to its section in the document."""
    sections = re.split(
        r"^### ", DOCUMENT.read_text(encoding="utf-8").split("\n## Section", 1)[1], flags=re.MULTILINE
    )
    return {
        section.split(" ", 1)[0]: re.split(r"^## ", section, flags=re.MULTILINE)[0]
        for section in sections[1:]
    }


def references(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield (path, name) for each name in the text. For a path without names, yield (path, None)."""
    for found in REFERENCE.finditer(text):
        for name in found["names"].split(", ") if found["names"] else [None]:
            yield found["path"], name


@cache
def text_of(path: str) -> str | None:
    """Return the file's text, or None when the file does not exist."""
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


@cache
def python_names(path: str) -> frozenset[str]:
    """Return the functions, classes, methods and constants of a Python file. A method is written `Class.method`."""
    return frozenset(_names(ast.parse(text_of(path) or "").body, ""))


def _names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + statement.name
            case ast.ClassDef():
                yield prefix + statement.name
                yield from _names(statement.body, f"{prefix}{statement.name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield prefix + name
            case _:
                pass


def exists(path: str, name: str | None) -> bool:
    """Return whether the file exists. If `name` is given, return whether the file contains the name."""
    text = text_of(path)
    if text is None or name is None:
        return text is not None
    if path.endswith(".py"):
        return name in python_names(path)
    if path.endswith("queries.sql"):
        return re.search(rf"^-- name: {name}\b", text, flags=re.MULTILINE) is not None
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


@cache
def cited_rules(path: str) -> dict[str, set[str]]:
    """Return the rules that each test of a file cites with `@pytest.mark.rule`."""
    cited: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(text_of(path) or "")):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = [
                mark
                for mark in node.decorator_list
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rule"
            ]
            cited[node.name] = {
                str(rule.value) for mark in marks for rule in mark.args if isinstance(rule, ast.Constant)
            }
    return cited


def linked_rules(section: str) -> list[str]:
    """Return the numbers of the rules to which the section of a decision links."""
    return re.findall(r"\[([^\]]+)\]\(rules\.md#[^)]+\)", section)


@pytest.mark.rule("X.6")
def test_the_document_has_every_decision_of_the_owner() -> None:
    numbers = [f"{part}.{number}" for part, last in DECISIONS.items() for number in range(1, last + 1)]
    assert list(decisions()) == numbers
    assert PLAN.is_file()


def test_every_path_and_name_in_the_documents_exists() -> None:
    text = DOCUMENT.read_text(encoding="utf-8") + PLAN.read_text(encoding="utf-8")
    missing = [
        f"{path}: {name}" if name else path for path, name in references(text) if not exists(path, name)
    ]
    assert missing == []


def test_every_path_in_backticks_has_the_form_of_a_reference() -> None:
    text = DOCUMENT.read_text(encoding="utf-8") + PLAN.read_text(encoding="utf-8")
    quoted = [quote for quote in re.findall(r"`([^`]+)`", text) if re.match(PATH, quote)]
    assert quoted
    assert [quote for quote in quoted if not REFERENCE.fullmatch(f"`{quote}`")] == []


def test_every_decision_refers_to_its_rule_and_its_code_and_its_tests() -> None:
    incomplete = []
    for number, section in decisions().items():
        rules = linked_rules(section)
        paths = [path for path, _ in references(section)]
        has_own_rule = number in rules or (number in WITHOUT_A_RULE and rules)
        has_code = any(not path.startswith("tests/") for path in paths)
        has_test = any(path.startswith("tests/") for path in paths)
        if not (has_own_rule and has_code and has_test):
            incomplete.append(number)
    assert incomplete == []


def test_every_test_of_a_decision_cites_a_rule_of_the_decision() -> None:
    same_as = rules_report.read_rules(ROOT / "docs" / "rules.md").names
    wrong = []
    for number, section in decisions().items():
        rules = {same_as[rule] for rule in linked_rules(section)}
        for path, name in references(section):
            if path.startswith("tests/") and name is not None and exists(path, name):
                cited = {same_as.get(rule) for rule in cited_rules(path)[name]}
                if not cited & rules:
                    wrong.append(f"{number}: {path}: {name}")
    assert wrong == []


def test_every_link_in_the_documents_has_an_existing_target() -> None:
    headings = re.findall(r"^#+ (.+)$", text_of("docs/rules.md") or "", flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    text = DOCUMENT.read_text(encoding="utf-8") + PLAN.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)#?([^)]*)\)", text)
    assert links
    assert [
        (file, anchor)
        for file, anchor in links
        if not (ROOT / "docs" / file).is_file() or (anchor and anchor not in anchors)
    ] == []


def test_the_lookup_does_not_find_a_missing_name() -> None:
    assert exists("src/curhat/pairing/service.py", "cancel")
    assert exists("src/curhat/journeys/queries.sql", "accept_and_start")
    assert not exists("src/curhat/pairing/service.py", "cance")
    assert not exists("src/curhat/pairing/service.py", "Cancel.cancel")
    assert not exists("src/curhat/journeys/queries.sql", "accept")
    assert not exists("migrations/0001_main_road.sql", "pairings_one")
    assert not exists("src/curhat/pairing/nothing.py", None)
