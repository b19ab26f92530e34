"""Test that each deliberate fault still fits the code.

The command `make planted-bugs` shows that a test catches each fault.
"""

import multiprocessing
from pathlib import Path

from tests.simulation.bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]


def plant(number: int) -> str | None:
    """Plant a bug in the present process. Returns the reason if the bug cannot be planted, or None."""
    bug = BUGS[number]
    try:
        if bug.plant is not None:
            bug.plant()
    except Exception as error:  # noqa: BLE001
        return f"{bug.name}: {error}"
    return None


def test_every_bug_can_be_planted() -> None:
    # Each bug gets a separate process, because a planted bug stays in its process. A forked process has already loaded
    # all modules.
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as processes:
        assert [
            said for said in processes.map(plant, range(len(BUGS)), chunksize=1) if said is not None
        ] == []


def test_the_name_of_every_bug_is_unique_and_its_tests_exist() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert [test for bug in BUGS for test in _missing(bug)] == []


def _missing(bug: Bug) -> list[str]:
    missing = []
    for test in bug.tests:
        file, _, name = test.partition("::")
        path = ROOT / file
        if not path.exists() or (name and f"def {name.partition('[')[0]}(" not in path.read_text("utf-8")):
            missing.append(test)
    return missing
