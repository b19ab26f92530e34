"""Report the tests that show each rule, and the last outcome of each test.

The file docs/rules.md numbers the promises of the product. A test names the promises that it shows.

    @pytest.mark.rule("2b.5", "X.4")
    @pytest.mark.invariant(1)
    async def test_a_winner_who_repeats_the_accept_gets_the_same_session() -> None: ...

The module tests/conftest.py registers this module as a pytest plugin. The plugin records the last outcome and time of
each test in `.cache/rules.json`, and keeps the outcomes of earlier runs. A full run is a run of all of tests/ that does
not stop early. After a full run, the plugin prints one line per rule. If a rule of a reached phase has no passing test,
the plugin makes the full run fail. If a test cites a rule that docs/rules.md does not have, the plugin makes every run
fail. As a command, `python -m tests.rules_report [--check] [2b.5 …]` prints each rule with its tests.

A skipped test or a test that is expected to fail shows no rule.
"""

import argparse
import fcntl
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

import pytest

# The phases of docs/rules.md, in the order in which we build them. A rule that is decided and not yet built has the
# phase "planned". When we build the rule, we change the rule's phase in docs/rules.md.
PHASES: Final = ("paid chat", "returning chat and extension", "control center", "apps", "safety", "planned")

# If a rule of these phases has no passing test, `make test` fails. Only the first phase of a rule counts, because the
# first phase must add the test.
REACHED_PHASES: Final = PHASES[:-1]

RULES_FILE: Final = Path("docs", "rules.md")
RECORD_FILE: Final = Path(".cache", "rules.json")
RECORD_VERSION: Final = 1
COLUMNS: Final = 100

Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]
Tone = Literal["plain", "bold", "dim", "green", "yellow", "red"]
Line: TypeAlias = list[tuple[str, Tone]]

# The outcomes of one rule's tests, of one test's cases, and of one case's phases can differ. If outcomes differ, the
# report shows the outcome that comes first in these tuples.
_WORST_OF_ONE_TEST: Final[tuple[Outcome, ...]] = ("failed", "xpassed", "xfailed", "skipped", "passed")
_SAID_OF_SEVERAL: Final[tuple[Outcome, ...]] = ("failed", "passed", "xpassed", "xfailed", "skipped")
_TONES: Final[dict[Outcome, Tone]] = {
    "passed": "green",
    "failed": "red",
    "skipped": "yellow",
    "xfailed": "yellow",
    "xpassed": "yellow",
}

_PROPERTY: Final = "shows"
_RULE_NUMBER: Final = r"(?:[1-9][a-z]?|[HMPSTVX])\.[1-9][0-9]*"
_HEADING: Final = re.compile(rf"### (?P<number>{_RULE_NUMBER}) (?P<title>\S.*)")
_FIELD: Final = re.compile(r"(?P<name>phase|same as): (?P<value>.+)")
_INVARIANT_ROW: Final = re.compile(r"\| (?P<number>[0-9]+) \| (?P<title>.+?) \| (?P<phase>.+?) \|")


# Parsing docs/rules.md --------------------------------------------------------------------------------------


class RulesFileError(ValueError):
    """docs/rules.md is malformed. The message names the line and the correct form."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A numbered rule or an invariant. The key of an invariant has the form `invariant:5`."""

    key: str
    title: str
    phases: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return the number in the form that the report prints."""
        return self.key.replace("invariant:", "inv.")

    @property
    def is_reached(self) -> bool:
        """Return whether a passing test must already show this rule."""
        return self.phases[0] in REACHED_PHASES


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules in the order of the file, and then all invariants.

    The field `names` maps every number to its rule, including the second numbers of rules.
    """

    rules: tuple[Rule, ...]
    names: dict[str, str]


@dataclass(slots=True)
class _Draft:
    line_number: int
    key: str
    title: str
    phases: tuple[str, ...] = ()
    same_as: str | None = None
    mark: str = ""

    @property
    def where(self) -> str:
        return f"line {self.line_number}: {self.key}"


def read_rules(path: Path) -> Rulebook:
    """Read and check docs/rules.md. Raises RulesFileError when the file is malformed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RulesFileError(f"{path} cannot be read: {error.strerror}") from error
    drafts: list[_Draft] = []
    current: _Draft | None = None
    in_invariants = False
    for line_number, line in enumerate(lines, start=1):
        if line.startswith("## "):
            current = None
            in_invariants = line == "## Invariants"
        elif line.startswith("### "):
            current = _heading(line_number, line)
            drafts.append(current)
        elif in_invariants and (row := _INVARIANT_ROW.fullmatch(line)):
            phases = _phases(line_number, row["phase"])
            drafts.append(_Draft(line_number, f"invariant:{row['number']}", row["title"], phases, mark="●"))
        elif current is not None and (field := _FIELD.fullmatch(line)):
            if field["name"] == "phase":
                current.phases = _phases(line_number, field["value"])
            else:
                current.same_as = field["value"]
        elif current is not None and not current.mark and line[:1] in ("●", "○"):
            current.mark = line[0]
    return _rulebook(drafts)


def _heading(line_number: int, line: str) -> _Draft:
    heading = _HEADING.fullmatch(line)
    if heading is None:
        raise RulesFileError(
            f"line {line_number}: {line!r} is not a rule's heading like '### 2b.5 Title'; '###' is for rules"
        )
    return _Draft(line_number, heading["number"], heading["title"])


def _phases(line_number: int, text: str) -> tuple[str, ...]:
    phases = tuple(phase.strip() for phase in text.split(","))
    for phase in phases:
        if phase not in PHASES:
            raise RulesFileError(
                f"line {line_number}: there is no phase {phase!r}; the phases are {', '.join(PHASES)}"
            )
    return phases


def _rulebook(drafts: list[_Draft]) -> Rulebook:
    by_key: dict[str, _Draft] = {}
    for draft in drafts:
        if draft.key in by_key:
            raise RulesFileError(f"{draft.where} is there already, in line {by_key[draft.key].line_number}")
        by_key[draft.key] = draft
    for draft in drafts:
        if draft.same_as is not None:
            if draft.same_as not in by_key or by_key[draft.same_as].same_as is not None:
                raise RulesFileError(f"{draft.where} is the same as {draft.same_as}, which is not a rule")
        elif not draft.phases:
            raise RulesFileError(f"{draft.where} has no phase; right is a line 'phase: {PHASES[0]}' below it")
        elif not draft.mark:
            raise RulesFileError(f"{draft.where} has no text that begins with ● (fixed) or ○ (open)")
    rules = tuple(
        Rule(
            draft.key,
            draft.title,
            draft.phases,
            also=tuple(other.key for other in drafts if other.same_as == draft.key),
        )
        for draft in drafts
        if draft.same_as is None
    )
    return Rulebook(rules, names={draft.key: draft.same_as or draft.key for draft in drafts})


# Recorded outcomes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """The last outcome of one test, and the rules that the test cites."""

    cites: tuple[str, ...]
    outcome: Outcome
    at: str


def load_record(path: Path) -> dict[str, Shown]:
    """Return a map from each test's pytest id to its last outcome. A missing or damaged record counts as empty."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != RECORD_VERSION:
            return {}
        return {
            test: Shown(tuple(entry["cites"]), cast("Outcome", entry["outcome"]), entry["at"])
            for test, entry in document["tests"].items()
            if entry["outcome"] in _WORST_OF_ONE_TEST
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def merge_record(root: Path, results: dict[str, Shown], *, replaces_everything: bool) -> None:
    """Add the outcomes of this run to the record. Drop tests that no longer exist or no longer cite a rule."""
    path = root / RECORD_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        record = {} if replaces_everything else load_record(path)
        record |= results
        tests = {
            test: {"cites": list(shown.cites), "outcome": shown.outcome, "at": shown.at}
            for test, shown in sorted(record.items())
            if shown.cites and (root / _file_of(test)).is_file()
        }
        draft = path.with_suffix(".new")
        document = {"version": RECORD_VERSION, "tests": tests}
        draft.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file, so that two concurrent runs do not overwrite each other's results."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file_of(test: str) -> str:
    return test.split("::", 1)[0]


# Report lines -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test function with all its parametrised cases."""

    file: str
    name: str
    cases: int
    outcome: Outcome
    at: str


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """One rule with the tests that cite it."""

    rule: Rule
    evidence: tuple[Evidence, ...]

    @property
    def outcome(self) -> Outcome | None:
        """Return the outcome of the rule: the tests' outcome that comes first in _SAID_OF_SEVERAL.

        Return None if the rule has no test.
        """
        return min((test.outcome for test in self.evidence), key=_SAID_OF_SEVERAL.index, default=None)

    @property
    def is_owed(self) -> bool:
        """Return True if the rule still needs a passing test: its phase is reached, and no passing test shows it."""
        return self.rule.is_reached and not any(test.outcome == "passed" for test in self.evidence)


def summarise(book: Rulebook, record: dict[str, Shown]) -> list[RuleSummary]:
    """Return each rule with its tests, in the order of docs/rules.md."""
    cases: dict[str, dict[tuple[str, str], list[Shown]]] = {}
    for test, shown in record.items():
        file, _, name = test.partition("::")
        for key in {book.names[citation] for citation in shown.cites if citation in book.names}:
            cases.setdefault(key, {}).setdefault((file, name.split("[", 1)[0]), []).append(shown)
    return [
        RuleSummary(
            rule,
            tuple(
                Evidence(
                    file,
                    name,
                    cases=len(found),
                    outcome=min((shown.outcome for shown in found), key=_SAID_OF_SEVERAL.index),
                    at=max(shown.at for shown in found),
                )
                for (file, name), found in sorted(cases.get(rule.key, {}).items())
            ),
        )
        for rule in book.rules
    ]


def unknown_citations(book: Rulebook, record: dict[str, Shown]) -> list[str]:
    """Return one sentence for each citation of a rule that is missing in docs/rules.md."""
    return [
        f"{test} cites {citation.replace(':', ' ')}, which {RULES_FILE} does not have"
        for test, shown in record.items()
        for citation in shown.cites
        if citation not in book.names
    ]


def rule_line(summary: RuleSummary) -> Line:
    """Format one rule as a line of COLUMNS characters, with its number, title, number of tests and last outcome."""
    rule, count = summary.rule, len(summary.evidence)
    title = rule.title + (f" (also {', '.join(rule.also)})" if rule.also else "")
    room = COLUMNS - 8 - 11 - 14
    title = title if len(title) <= room else title[: room - 1] + "…"
    tests = "no test" if count == 0 else "1 test" if count == 1 else f"{count} tests"
    verdict, tone = _verdict(summary)
    return [
        (f"{rule.label:<8}", "bold"),
        (f"{title:<{room}}", "plain"),
        (f"{tests:>9}  ", "plain" if count else "dim"),
        (verdict, tone),
    ]


def _verdict(summary: RuleSummary) -> tuple[str, Tone]:
    outcome = summary.outcome
    if outcome == "failed":
        return "FAILED", "red"
    if summary.is_owed:
        return "OWED" if outcome is None else f"OWED, {outcome}", "red"
    if outcome is None:
        return "not yet", "dim"
    return outcome, _TONES[outcome]


def evidence_lines(summary: RuleSummary) -> list[Line]:
    """Format the tests of one rule with their last outcomes, grouped by file."""
    lines: list[Line] = []
    file = ""
    indent = 36
    for test in summary.evidence:
        if test.file != file:
            file = test.file
            lines.append([(f"        {file}", "dim")])
        when = datetime.fromisoformat(test.at).astimezone().strftime("%Y-%m-%d %H:%M")
        outcome: tuple[str, Tone] = (f"          {test.outcome:<8}", _TONES[test.outcome])
        first, *more = _broken_name(test.name, COLUMNS - indent)
        lines.append([outcome, (f"{when}  ", "dim"), (first, "plain")])
        lines.extend([(" " * indent + part, "plain")] for part in more)
        if test.cases > 1:
            lines.append([(" " * indent + f"{test.cases} cases", "dim")])
    return lines


def _broken_name(name: str, columns: int) -> list[str]:
    """Break a test's name into lines at underscores. A line has at most `columns` characters where this is possible."""
    pieces = [""]
    for word in re.findall(r"[^_]*_|[^_]+$", name):
        if pieces[-1] and len(pieces[-1]) + len(word) > columns:
            pieces.append("")
        pieces[-1] += word
    return pieces


def closing_lines(summaries: Sequence[RuleSummary]) -> list[Line]:
    """Return a sentence with the number of shown rules, and name the reached rules that no passing test shows."""
    reached = [summary for summary in summaries if summary.rule.is_reached]
    owed = [summary.rule.label for summary in reached if summary.is_owed]
    said = f"{len(reached) - len(owed)} of {len(reached)} rules and invariants reached are shown"
    if not owed:
        return [[(said, "green")]]
    said += f". Owed a test that passes ({', '.join(REACHED_PHASES)}): {', '.join(owed)}"
    return [[(line, "red")] for line in textwrap.wrap(said, COLUMNS)]


# The pytest plugin ------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder only in the process that gets the reports of all xdist workers."""
    if hasattr(config, "workerinput"):
        return
    try:
        book = read_rules(config.rootpath / RULES_FILE)
    except RulesFileError as error:
        raise pytest.UsageError(f"{RULES_FILE}: {error}") from error
    config.pluginmanager.register(Recorder(config, book), "rules-recorder")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the citations of each test into its user properties, because the test's report contains these properties."""
    for item in items:
        cites = {
            f"{prefix}{number}"
            for name, prefix in (("rule", ""), ("invariant", "invariant:"))
            for mark in item.iter_markers(name)
            for number in mark.args or ("(no number)",)
        }
        item.user_properties.append((_PROPERTY, json.dumps(sorted(cites))))


class Recorder:
    """Records the outcomes of one run.

    If a reached rule has no passing test, the recorder makes a full run fail at its end.
    """

    def __init__(self, config: pytest.Config, book: Rulebook) -> None:
        self._config = config
        self._book = book
        self._results: dict[str, Shown] = {}
        self._is_full = False
        self._trouble: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the worst outcome of a test's set-up, call and tear-down."""
        if report.outcome not in ("passed", "failed", "skipped"):
            return
        outcome: Outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xpassed" if outcome == "passed" else "xfailed"
        earlier = self._results.get(report.nodeid)
        if earlier is not None and report.when != "setup":
            outcome = min((earlier.outcome, outcome), key=_WORST_OF_ONE_TEST.index)
        cites: tuple[str, ...] = ()
        for name, value in report.user_properties:
            if name == _PROPERTY:
                cites = tuple(json.loads(str(value)))
        self._results[report.nodeid] = Shown(cites, outcome, datetime.now(UTC).isoformat(timespec="seconds"))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        """Write the record. Fail the run if a reached rule is not shown or a citation is unknown."""
        if not self._results:
            return
        ended_by_itself = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        was_cut_short = bool(session.shouldfail or session.shouldstop)
        self._is_full = ended_by_itself and not was_cut_short and is_full_run(self._config)
        try:
            merge_record(self._config.rootpath, self._results, replaces_everything=self._is_full)
        except OSError as error:
            self._trouble.append(f"what the tests showed could not be kept: {error}")
        self._trouble += unknown_citations(self._book, self._results)
        owes = self._is_full and any(summary.is_owed for summary in summarise(self._book, self._results))
        if (owes or self._trouble) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one line per rule after a full run, and unknown citations after any run."""
        lines: list[Line] = [[(trouble, "red")] for trouble in self._trouble]
        if self._is_full:
            summaries = summarise(self._book, self._results)
            lines += [*map(rule_line, summaries), *closing_lines(summaries)]
        if not lines:
            return
        terminalreporter.write_sep("=", "rules")
        for line in lines:
            for text, tone in line:
                terminalreporter.write(text, **_PYTEST_MARKUP[tone])
            terminalreporter.write_line("")


_PYTEST_MARKUP: Final[dict[Tone, dict[str, bool]]] = {
    "plain": {},
    "bold": {"bold": True},
    "dim": {"light": True},
    "green": {"green": True},
    "yellow": {"yellow": True},
    "red": {"red": True},
}

# A run with one of these options is not a full run.
_SELECTING_OPTIONS: Final = (
    "keyword",
    "markexpr",
    "deselect",
    "ignore",
    "ignore_glob",
    "lf",
    "stepwise",
    "collectonly",
)


def is_full_run(config: pytest.Config) -> bool:
    """Return whether this run has every test of tests/."""
    if any(config.getoption(option, None) for option in _SELECTING_OPTIONS):
        return False
    tests = config.rootpath / "tests"
    asked_for = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return any(path in (tests, *tests.parents) for path in asked_for)


# The command ------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each rule with its tests and their last outcomes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.rules_report",
        description="Each rule of docs/rules.md with the tests that show it, and their last outcomes.",
    )
    parser.add_argument("number", nargs="*", help="only these: 2b.5, 2b (a whole section), invariant:5")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a rule is owed a test")
    options = parser.parse_args(arguments)
    root = Path(__file__).resolve().parents[1]
    try:
        book = read_rules(root / RULES_FILE)
    except RulesFileError as error:
        sys.stderr.write(f"{RULES_FILE}: {error}\n")
        return 2
    record = {
        test: shown
        for test, shown in load_record(root / RECORD_FILE).items()
        if (root / _file_of(test)).is_file()
    }
    summaries = summarise(book, record)
    chosen = [summary for summary in summaries if _is_chosen(summary.rule, book, options.number)]
    if not chosen:
        sys.stderr.write(f"{RULES_FILE} has no {' or '.join(options.number)}\n")
        return 2
    show = _printer()
    if not record:
        show([("No test has been recorded yet: run `make test`.", "yellow")])
    for summary in chosen:
        for line in (rule_line(summary), *evidence_lines(summary)):
            show(line)
    for line in closing_lines(chosen):
        show(line)
    return 1 if options.check and any(summary.is_owed for summary in chosen) else 0


def _is_chosen(rule: Rule, book: Rulebook, numbers: Sequence[str]) -> bool:
    section = re.split(r"[.:]", rule.key)[0]
    return not numbers or any(number == section or book.names.get(number) == rule.key for number in numbers)


def _printer() -> Callable[[Line], None]:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return _print_plainly
    console = Console(highlight=False)
    styles = {"plain": "", "bold": "bold", "dim": "dim", "green": "green", "yellow": "yellow", "red": "red"}
    return lambda line: console.print(
        Text.assemble(*((text, styles[tone]) for text, tone in line)), soft_wrap=True
    )


def _print_plainly(line: Line) -> None:
    """Print a line without colour."""
    sys.stdout.write("".join(text for text, _ in line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
