"""Test that docs/security.md lists each requirement of ASVS level 2 once, with a test for each tested requirement."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
# A row of the tables of requirements.
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| [12] \| .+ \| (.+) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`tests/\S+\.py: test_\w+`")
REQUIREMENTS = 253  # ASVS 5.0.0, levels 1 and 2


def rows() -> list[tuple[str, str, str]]:
    """Yield the number, the state and the place of each requirement."""
    return [(number, state, where) for number, state, where in ROW.findall(DOCUMENT.read_text())]


def test_every_requirement_has_one_row_and_a_known_state() -> None:
    numbers = [number for number, _, _ in rows()]
    assert len(numbers) == len(set(numbers)) == REQUIREMENTS
    assert {state for _, state, _ in rows()} == {"met and tested", "met", "not applicable", "**open**"}


def test_a_requirement_names_a_test_if_and_only_if_it_counts_as_tested() -> None:
    wrong = [
        number for number, state, where in rows() if bool(TEST.search(where)) != (state == "met and tested")
    ]
    assert wrong == []


def test_the_document_names_only_files_and_tests_that_exist() -> None:
    text = DOCUMENT.read_text()
    roots = (ROOT, ROOT / "src" / "curhat")
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)[`:]", text)
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []
    tests = re.findall(r"`(tests/\S+\.py): (test_\w+)`", text)
    assert [test for path, test in tests if f"def {test}(" not in (ROOT / path).read_text()] == []
    assert len(paths) > len(tests) > 100


def test_the_summary_counts_the_rows() -> None:
    count = Counter(state.strip("*") for _, state, _ in rows())
    summary = ", ".join(
        f"{count[state]} {state}" for state in ("met and tested", "met", "not applicable", "open")
    )
    assert f"State: {summary}." in DOCUMENT.read_text()
