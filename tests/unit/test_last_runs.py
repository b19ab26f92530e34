"""Check docs/last-runs.md, where the make targets of checks that few machines can run note their last run."""

import re

import pytest

from tests.deploy import last_runs

ROW = re.compile(r"\| `make (check-[a-z]+)` \| (\d{4}-\d\d-\d\d) \| [^|]+ \| [^|]+ \|")


def test_each_check_that_few_machines_can_run_says_when_it_last_ran() -> None:
    rows = [line for line in last_runs.FILE.read_text().splitlines() if line.startswith("| `make")]
    noted = [match[1] for match in map(ROW.fullmatch, rows) if match]
    assert len(noted) == len(rows)
    makefile = (last_runs.FILE.parents[1] / "Makefile").read_text()
    assert sorted(noted) == sorted(
        re.findall(r"^(check-[a-z]+):.*\n\t@RECORD_LAST_RUN=1 ", makefile, re.MULTILINE)
    )


def test_a_run_replaces_the_row_of_its_target_alone() -> None:
    text = "# Runs\n| `make check-a` | never | - | - |\n| `make check-b` | never | - | - |\n"
    assert last_runs.with_row(text, "check-b", "2026-12-01 | X 1 | 3 s") == (
        "# Runs\n| `make check-a` | never | - | - |\n| `make check-b` | 2026-12-01 | X 1 | 3 s |\n"
    )
    with pytest.raises(ValueError, match="unpack"):
        last_runs.with_row(text, "check-c", "")
