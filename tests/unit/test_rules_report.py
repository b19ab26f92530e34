"""Test the rules report in real pytest runs of small projects, and check docs/rules.md."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests import rules_report

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

RULES = """\
# The rules

## 1. A section

### 1.1 The button is live while somebody is there
phase: paid chat

● Text. *Held in: presence.*

### 1.2 The button is grey
phase: planned

● Text. *Held in: web.*

### 2b.5 Accepting is unique
phase: paid chat, apps

○ Text. *Held in: pairing.*

### X.2 Accepting is unique
same as: 2b.5

## Invariants

| no. | invariant | phase |
|---|---|---|
| 1 | One winner at most | paid chat |
"""

# This test file has a passing test for every reached rule of RULES.
COMPLETE = """
import pytest

@pytest.mark.rule("1.1", "X.2")
@pytest.mark.invariant(1)
def test_the_button_is_live(): pass
"""

SETTINGS = """
[pytest]
addopts = --import-mode=importlib --strict-markers -p no:schemathesis -p no:hypothesispytest -p no:faker
pythonpath = .
testpaths = tests
filterwarnings = error
markers =
    rule(number): shows this rule
    invariant(number): shows this invariant
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Make a project that uses the plugin as this repository does.

    The project has rules and a conftest, but no tests.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    write(
        pytester,
        "tests/rules_report.py",
        (ROOT / "tests" / "rules_report.py").read_text(encoding="utf-8"),
    )
    write(pytester, "tests/conftest.py", 'pytest_plugins = ["tests.rules_report"]\n')
    write(pytester, "docs/rules.md", RULES)
    write(pytester, "pytest.ini", SETTINGS)
    return pytester


def write(project: pytest.Pytester, name: str, text: str) -> None:
    path = project.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*arguments)


def report(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.run(sys.executable, "-m", "tests.rules_report", *arguments, timeout=60)


def recorded(project: pytest.Pytester) -> dict[str, tuple[list[str], str]]:
    document = json.loads((project.path / ".cache" / "rules.json").read_text(encoding="utf-8"))
    return {test: (entry["cites"], entry["outcome"]) for test, entry in document["tests"].items()}


# Full runs --------------------------------------------------------------------------------------------------


def test_a_full_run_prints_one_line_per_rule_if_every_reached_rule_has_a_passing_test(
    project: pytest.Pytester,
) -> None:
    write(project, "tests/test_all.py", COMPLETE)
    result = run(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= rules =*",
            "1.1 *The button is live while somebody is there*1 test  passed",
            "1.2 *The button is grey*no test  not yet",
            "2b.5 *Accepting is unique (also X.2)*1 test  passed",
            "inv.1 *One winner at most*1 test  passed",
            "3 of 3 rules and invariants reached are shown",
        ],
        consecutive=True,
    )
    rules = [line for line in result.outlines if line.startswith(("1.", "2b.", "inv."))]
    assert [line for line in rules if len(line) > 100] == []


def test_a_full_run_fails_if_a_rule_of_a_reached_phase_has_no_test(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", COMPLETE.replace('"1.1", ', ""))
    result = run(project)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1.1 *no test  OWED", "2 of 3 *Owed a test that passes (paid chat*", "*1.1"])


def test_a_reached_invariant_without_a_test_fails_a_full_run(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", COMPLETE.replace("@pytest.mark.invariant(1)\n", ""))
    result = run(project)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["inv.1 *no test  OWED"])


def test_a_rule_counts_as_shown_only_when_its_test_passes(project: pytest.Pytester) -> None:
    write(
        project,
        "tests/test_all.py",
        """
import pytest

@pytest.mark.rule("1.1")
def test_skipped(): pytest.skip("not here")

@pytest.mark.rule("1.2")
@pytest.mark.xfail
def test_passing_against_expectation(): pass

@pytest.mark.rule("2b.5")
def test_failing_as_expected(): pytest.xfail("known")

@pytest.mark.invariant(1)
@pytest.mark.xfail
def test_owed_too(): pass
""",
    )
    result = run(project)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(skipped=1, xfailed=1, xpassed=2)
    result.stdout.fnmatch_lines(
        [
            "1.1 *1 test  OWED, skipped",
            "1.2 *1 test  xpassed",
            "2b.5 *1 test  OWED, xfailed",
            "inv.1 *1 test  OWED, xpassed",
            "0 of 3 *Owed a test that passes (paid chat*",
            "*1.1, 2b.5, inv.1",
        ],
        consecutive=True,
    )


def test_a_failure_in_tear_down_counts_as_failed(project: pytest.Pytester) -> None:
    fixture = "\n@pytest.fixture(autouse=True)\ndef broken():\n    yield\n    raise RuntimeError\n"
    write(project, "tests/test_all.py", COMPLETE + fixture)
    run(project)
    assert recorded(project)["tests/test_all.py::test_the_button_is_live"][1] == "failed"


def test_a_rule_counts_as_failed_when_one_of_several_cases_of_a_test_fails(project: pytest.Pytester) -> None:
    test = """
import pytest

@pytest.mark.rule("1.1")
@pytest.mark.parametrize("case", [1, 2, 3])
def test_cases(case): assert case != 2
"""
    write(project, "tests/test_all.py", COMPLETE.replace('"1.1", ', "") + test)
    result = run(project)
    result.stdout.fnmatch_lines(["1.1 *1 test  FAILED"])


# Selections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["tests"], ["tests/"], ["."], ["-x"], ["-q", "tests"], []], ids=" ".join
)
def test_a_run_of_the_whole_directory_is_a_full_run(pytester: pytest.Pytester, arguments: list[str]) -> None:
    write(pytester, "pytest.ini", SETTINGS)
    write(pytester, "tests/test_all.py", "")
    assert rules_report.is_full_run(pytester.parseconfig(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["tests/test_all.py"],
        ["tests/test_all.py::test_nothing"],
        ["-k", "nothing"],
        ["-m", "not rule"],
        ["--deselect", "tests/test_other.py"],
        ["--ignore", "tests/test_other.py"],
        ["--ignore-glob", "*other*"],
        ["--last-failed"],
        ["--stepwise"],
        ["--collect-only"],
    ],
    ids=" ".join,
)
def test_a_run_of_a_part_of_the_directory_is_not_a_full_run(
    pytester: pytest.Pytester, arguments: list[str]
) -> None:
    write(pytester, "pytest.ini", SETTINGS)
    write(pytester, "tests/test_all.py", "")
    assert not rules_report.is_full_run(pytester.parseconfig(*arguments))


def test_a_run_of_selected_tests_does_not_fail_if_a_rule_has_no_test(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", "def test_nothing(): pass\n")
    result = run(project, "-k", "nothing")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*= rules =*")


def test_a_run_that_stops_early_prints_no_rules_report(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", "def test_first(): assert False\ndef test_second(): pass\n")
    result = run(project, "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*= rules =*")


def test_citing_a_rule_that_does_not_exist_fails_any_run(project: pytest.Pytester) -> None:
    write(
        project,
        "tests/test_all.py",
        """
import pytest

@pytest.mark.rule("9.9")
def test_one(): pass

@pytest.mark.rule()
def test_two(): pass

@pytest.mark.invariant(13)
def test_three(): pass
""",
    )
    result = run(project, "tests/test_all.py")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "tests/test_all.py::test_one cites 9.9, which docs/rules.md does not have",
            "tests/test_all.py::test_two cites (no number), which docs/rules.md does not have",
            "tests/test_all.py::test_three cites invariant 13, which docs/rules.md does not have",
        ],
        consecutive=True,
    )


# The record -------------------------------------------------------------------------------------------------


def test_a_run_of_selected_tests_adds_to_the_record_of_earlier_runs(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", COMPLETE)
    write(project, "tests/test_more.py", "import pytest\n@pytest.mark.rule('1.2')\ndef test_more(): pass\n")
    run(project, "tests/test_all.py")
    run(project, "tests/test_more.py")
    assert recorded(project) == {
        "tests/test_all.py::test_the_button_is_live": (["1.1", "X.2", "invariant:1"], "passed"),
        "tests/test_more.py::test_more": (["1.2"], "passed"),
    }


def test_the_last_outcome_replaces_the_earlier_outcome(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", COMPLETE)
    run(project)
    write(project, "tests/test_all.py", COMPLETE.replace("pass", "assert False"))
    run(project)
    assert recorded(project)["tests/test_all.py::test_the_button_is_live"][1] == "failed"


def test_deleted_tests_and_tests_without_a_citation_are_removed_from_the_record(
    project: pytest.Pytester,
) -> None:
    other = "import pytest\n@pytest.mark.rule('1.2')\ndef test_other(): pass\n"
    write(project, "tests/test_all.py", COMPLETE)
    write(project, "tests/test_gone.py", other)
    write(project, "tests/test_silent.py", other)
    run(project)
    (project.path / "tests/test_gone.py").unlink()
    write(project, "tests/test_silent.py", "def test_other(): pass\n")
    run(project, "tests/test_silent.py")
    assert list(recorded(project)) == ["tests/test_all.py::test_the_button_is_live"]


def test_a_damaged_record_is_replaced(project: pytest.Pytester) -> None:
    write(project, "tests/test_all.py", COMPLETE)
    write(project, ".cache/rules.json", '{"version": 1, "tests": [')
    assert run(project, "tests/test_all.py").ret == 0
    assert list(recorded(project)) == ["tests/test_all.py::test_the_button_is_live"]


# The command ------------------------------------------------------------------------------------------------


def test_the_command_prints_each_rule_with_its_tests_and_their_last_outcomes(
    project: pytest.Pytester,
) -> None:
    name = "test_" + "_".join(["a_sentence_that_goes_on"] * 5)
    cases = f"@pytest.mark.rule('1.2')\n@pytest.mark.parametrize('case', [1, 2])\ndef {name}(case): pass\n"
    write(project, "tests/test_all.py", COMPLETE + cases)
    run(project, "tests/test_all.py")
    result = report(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "1.1 *1 test  passed",
            "        tests/test_all.py",
            "          passed  20??-??-?? ??:??  test_the_button_is_live",
            "1.2 *1 test  passed",
            "        tests/test_all.py",
            "          passed  20??-??-?? ??:??  test_a_sentence_that_goes_on_*_",
            "                                    *_on",
            "                                    2 cases",
            "2b.5 *",
        ],
        consecutive=True,
    )
    assert [line for line in result.outlines if len(line) > 100] == []


def test_the_command_finds_a_rule_by_any_of_its_numbers(
    project: pytest.Pytester,
) -> None:
    by_other_number = report(project, "X.2")
    # The output first has a line per rule, and then lines that name the rules without a passing test.
    assert [line[:4] for line in by_other_number.outlines[1:3]] == ["2b.5", "0 of"]
    by_section = report(project, "1")
    assert [line[:4] for line in by_section.outlines[1:3]] == ["1.1 ", "1.2 "]
    unknown = report(project, "9.9")
    assert unknown.ret == 2
    unknown.stderr.fnmatch_lines(["docs/rules.md has no 9.9"])


def test_the_command_with_the_check_option_fails_when_a_rule_has_no_test(project: pytest.Pytester) -> None:
    assert report(project, "--check").ret == 1
    write(project, "tests/test_all.py", COMPLETE)
    run(project)
    assert report(project, "--check").ret == 0


# docs/rules.md ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("phase: planned\n", "", "line 10: 1.2 has no phase; right is a line 'phase: paid chat' below it"),
        ("phase: planned", "phase: soon", "line 11: there is no phase 'soon'; the phases are paid chat,"),
        ("### 1.2", "### 1.1", "line 10: 1.1 is there already, in line 5"),
        ("### 1.2", "### Second:", "line 10: '### Second: The button is grey' is not a rule's heading"),
        ("same as: 2b.5", "same as: 2b.9", "line 20: X.2 is the same as 2b.9, which is not a rule"),
        ("○ Text", "Text", "line 15: 2b.5 has no text that begins with"),
    ],
)
def test_the_error_for_a_mistake_in_the_rules_contains_the_line_number(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    path = tmp_path / "rules.md"
    path.write_text(RULES.replace(before, after), encoding="utf-8")
    with pytest.raises(rules_report.RulesFileError, match=re.escape(said)):
        rules_report.read_rules(path)


def test_a_mistake_in_the_rules_stops_the_run_with_a_clear_message(project: pytest.Pytester) -> None:
    write(project, "docs/rules.md", RULES.replace("phase: planned", "phase: soon"))
    result = run(project)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: docs/rules.md: line 11: there is no phase 'soon'*"])


def test_docs_rules_contains_every_rule_and_invariant_of_the_product() -> None:
    sections = {"1": 8, "2a": 10, "2b": 10, "2c": 1, "3": 9, "4": 7, "5": 8, "X": 13, "S": 6, "M": 4}
    sections |= {"T": 7, "H": 3, "P": 8, "V": 8}
    numbers = [f"{section}.{number}" for section, last in sections.items() for number in range(1, last + 1)]
    invariants = [f"invariant:{number}" for number in range(1, 16)]
    assert list(rules_report.read_rules(ROOT / "docs" / "rules.md").names) == numbers + invariants


def test_every_rule_says_which_package_enforces_the_rule() -> None:
    sections = re.split(
        r"^### ", (ROOT / "docs" / "rules.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    without = [
        text.splitlines()[0] for text in sections[1:] if "same as:" not in text and "*Held in: " not in text
    ]
    assert without == []


def test_every_constraint_named_in_docs_rules_is_in_the_migrations() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    held_in = re.findall(r"\*Held in: (.+?)\*", text, flags=re.DOTALL)
    named = {name for phrase in held_in for name in re.findall(r"`([a-z]+_[a-z_]+)`", phrase)}
    migrations = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "migrations").glob("*.sql"))
    assert named
    assert sorted(name for name in named if not re.search(rf"\b{name}\b", migrations)) == []


def test_every_link_in_docs_rules_has_an_existing_target() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert [target for target in re.findall(r"\]\(#([^)]+)\)", text) if target not in anchors] == []
    files = re.findall(r"\]\(([^#)]+)\)", text)
    assert [name for name in files if not (ROOT / "docs" / name).is_file()] == []
