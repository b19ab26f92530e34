"""Notes in docs/last-runs.md when a check last ran that most machines cannot run, with which versions and figures.

`make check-backups` and the like set RECORD_LAST_RUN=1. Any other run changes nothing.
"""

import datetime as dt
import os
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "last-runs.md"


def is_recording() -> bool:
    """Whether a make target started this run."""
    return "RECORD_LAST_RUN" in os.environ


def record(target: str, versions: str, figures: str) -> None:
    """Replace the row of a make target, if it started this run."""
    if is_recording():
        today = dt.datetime.now(dt.UTC).date().isoformat()
        FILE.write_text(with_row(FILE.read_text(), target, f"{today} | {versions} | {figures}"))


def with_row(text: str, target: str, row: str) -> str:
    """Return the text of the document with this row for the target. Raises ValueError if the target has no row yet."""
    begin = f"| `make {target}` | "
    lines = text.splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.startswith(begin))
    lines[number] = f"{begin}{row} |"
    return "\n".join(lines) + "\n"
