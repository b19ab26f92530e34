"""Fixtures of the production checks, and the table at the end of their run."""

import datetime as dt
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.production import rows
from tests.production.bed import Bed, open_bed
from tests.production.rows import Row
from tests.support.databases import parent_of_data_folders

_ROW: Final = pytest.StashKey[Row]()
_made: Final[list[Row]] = []
_begun: Final = time.monotonic()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that gives a check its row."""
    config.addinivalue_line(
        "markers", "row(what, wanted): the row of this check in the table of `make production-checks`"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the checks that measure how late something is, while nothing else has made the machine busy."""
    order = ("test_restarts", "test_kills", "test_valkey", "test_postgres", "test_disk")
    items.sort(key=lambda item: order.index(item.path.stem) if item.path.stem in order else len(order))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make the row, so that a check that is skipped has one too."""
    marker = item.get_closest_marker("row")
    if marker is not None:
        row = Row(*marker.args)
        item.stash[_ROW] = row
        _made.append(row)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Fill in the verdict."""
    report = yield
    row = item.stash.get(_ROW, None)
    if row is not None:
        row.seconds += call.duration
        if report.skipped:
            row.verdict = "not run"
            row.note(report.longrepr[2].removeprefix("Skipped: "))
        elif report.failed:
            row.verdict = "FAILED"
            if call.excinfo is not None and not row.missed:
                row.note(str(call.excinfo.value).partition("\n")[0][:200] or call.excinfo.typename)
        elif report.when == "call":
            row.verdict = "ok"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it to results/production-checks.md."""
    if not _made:
        return
    terminalreporter.section("production checks")
    for line in rows.table(_made, rows.columns()):
        failed, not_run = "FAILED" in line, line.endswith("not run")
        terminalreporter.write_line(line, red=failed, yellow=not_run)
    seconds = time.monotonic() - _begun
    terminalreporter.write_line(f"{rows.summary(_made)}; {seconds:.0f} s in all")
    rows.RESULTS.parent.mkdir(exist_ok=True)
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows.RESULTS.write_text(rows.markdown(_made, seconds, when))
    terminalreporter.write_line(f"written to {rows.RESULTS}")


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of this check."""
    row: Row = request.node.stash[_ROW]
    return row


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder for the beds of this run, in memory if the machine has space there."""
    with tempfile.TemporaryDirectory(
        prefix="curhat-production-", dir=parent_of_data_folders(), ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


@pytest.fixture(scope="session")
async def bed(folder: Path) -> AsyncIterator[Bed]:
    """The installation that most checks use, one after the other. Each check leaves it whole."""
    if shutil.which("haproxy") is None:
        pytest.skip("HAProxy is not installed; apt install haproxy")
    (folder / "bed").mkdir()
    async with open_bed(folder / "bed") as opened:
        yield opened
