"""The report of the production checks: a row per check with what was wanted and what was measured.

A test fills its row through the fixture `row`, and asserts by `row.expect`. So the row shows the figures of a failed
check too. At the end of the run, the table is printed and written to results/production-checks.md.
"""

import shutil
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

RESULTS: Final = Path("results", "production-checks.md")
MIN_COLUMNS: Final = 80
MAX_COLUMNS: Final = 132
OK_COLUMNS: Final = 8

Verdict = Literal["ok", "FAILED", "not run"]


@dataclass(slots=True)
class Row:
    """One row of the table."""

    what: str
    wanted: str
    measured: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    verdict: Verdict = "FAILED"
    seconds: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        """Show a figure that nothing is expected of."""
        self.measured.append(text)

    def expect(self, is_met: bool, text: str) -> None:
        """Show a figure, and let the check fail at its end if the figure is not as wanted."""
        self.measured.append(text)
        if not is_met:
            self.missed.append(text)

    def explain(self, *sentences: str) -> None:
        """Give reasons, which the report shows only if the check fails."""
        self.reasons += sentences

    def finish(self) -> None:
        """Assert that every figure is as wanted."""
        assert not self.missed, "\n".join((*self.missed, *self.reasons))


def table(rows: Sequence[Row], columns: int) -> list[str]:
    """The table as lines for a terminal of this width."""
    what, wanted = 30, 34
    measured = max(20, columns - what - wanted - OK_COLUMNS - 6)
    widths = (what, wanted, measured, OK_COLUMNS)
    lines = [_line(("what", "wanted", "measured", "ok"), widths), "─" * (sum(widths) + 6)]
    for row in rows:
        cells = (row.what, row.wanted, "; ".join(row.measured), row.verdict)
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
        height = max(map(len, wrapped))
        filled = [[*cell, *[""] * (height - len(cell))] for cell in wrapped]
        lines += [_line(parts, widths) for parts in zip(*filled, strict=True)]
        lines.append("")
    return lines


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def markdown(rows: Sequence[Row], seconds: float, when: str) -> str:
    """The table as Markdown."""
    lines = [
        "# Production checks",
        "",
        f"{when}, {seconds:.0f} s in all. {summary(rows)}. Written by `make production-checks`.",
        "",
        "| what | wanted | measured | ok | s |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.what, row.wanted, "; ".join(row.measured), row.verdict, f"{row.seconds:.0f}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Row]) -> str:
    """One sentence with the numbers of the verdicts."""
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("ok", "FAILED", "not run")}
    return ", ".join(f"{number} {verdict}" for verdict, number in count.items() if number or verdict == "ok")


def columns() -> int:
    """The width for the table on this terminal."""
    return min(MAX_COLUMNS, max(MIN_COLUMNS, shutil.get_terminal_size((MAX_COLUMNS, 40)).columns))
