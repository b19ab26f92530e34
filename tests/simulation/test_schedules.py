"""Seeded schedules under the virtual clock, in the checks: 500, or as many as three minutes allow."""

import secrets
import time

import pytest

from curhat.kit.database import Database
from tests.simulation.checker import checker_of
from tests.simulation.world import World

SCHEDULES = 500
LONGEST_SECONDS = 180
# Fewer would say too little; a machine that cannot run these in three minutes fails honestly.
FEWEST = 150


# Schedules that never come here would show nothing of it: what at least one in fifteen was seen to reach. Outcomes of
# targeted pairings and fallbacks are still reached too rarely to stand here, and their rules are not claimed below.
MUST_BE_REACHED = {
    "blast matched",
    "blast no_mitra_available",
    "extension approved by mitra",
    "extension charge_failed by mitra",
    "extension rejected by mitra",
    "extension rejected by mitra_unreachable",
    "late approval of extension",
    "session customer_ended",
    "session mitra_ended",
    "session time_up",
}


@pytest.mark.timeout(400)
@pytest.mark.rule("2a.6", "2a.7", "2a.8", "2b.6", "2b.7", "2b.8")
@pytest.mark.rule("5.4", "5.6", "5.7", "X.1", "X.10")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
async def test_no_schedule_of_people_faults_and_clock_jumps_breaks_an_invariant(database: Database) -> None:
    first = secrets.randbelow(10**9)
    begun = time.monotonic()
    done = 0
    reached: set[str] = set()
    async with checker_of(database) as checker:
        while done < SCHEDULES and time.monotonic() - begun < LONGEST_SECONDS:
            reached |= await World(database, checker, first + done).run()
            done += 1
    assert done >= min(FEWEST, SCHEDULES)
    assert reached >= MUST_BE_REACHED
