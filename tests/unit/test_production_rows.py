"""Test the table of the production checks (tests/production/rows.py)."""

import re

import pytest

from tests.production.rows import Row, markdown, summary, table


def filled_row(*, is_met: bool) -> Row:
    row = Row("kill -9 of a server", "shown < 5 s late", begun=0)
    row.expect(is_met, "shown within 6.20 s")
    row.note("12 sockets back")
    row.explain("POST /messages: 502")
    row.verdict = "ok" if is_met else "FAILED"
    return row


def test_a_check_fails_at_its_end_if_one_figure_is_not_as_wanted() -> None:
    filled_row(is_met=True).finish()
    with pytest.raises(AssertionError, match=re.escape("shown within 6.20 s\nPOST /messages: 502")):
        filled_row(is_met=False).finish()


def test_the_table_shows_the_figures_of_a_failed_check_and_fits_the_terminal() -> None:
    lines = table([filled_row(is_met=False)], 80)
    assert max(map(len, lines)) <= 100
    assert lines[2].startswith("kill -9 of a server")
    assert lines[2].endswith("FAILED")
    assert "shown within 6.20" in " ".join(lines)


def test_the_file_has_a_line_per_check_and_counts_the_verdicts() -> None:
    skipped = Row("restore", "epochs changed", measured=["not built yet | see #12"], verdict="not run")
    rows = [filled_row(is_met=True), filled_row(is_met=False), skipped]
    text = markdown(rows, 61.4, "2026-12-01 03:00 UTC")
    assert summary(rows) == "1 ok, 1 FAILED, 1 not run"
    assert "2026-12-01 03:00 UTC, 61 s in all. 1 ok, 1 FAILED, 1 not run." in text
    assert "| restore | epochs changed | not built yet \\| see #12 | not run | 0 |" in text
