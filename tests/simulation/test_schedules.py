"""Seeded schedules under the virtual clock, in the checks: 500, or as many as three minutes allow."""

import secrets
import time

import pytest

from curhat.kit.database import Database
from tests.simulation.world import World

SCHEDULES = 500
LONGEST_SECONDS = 180
# Fewer would say too little; a machine that cannot run these in three minutes fails honestly.
FEWEST = 150


@pytest.mark.timeout(400)
@pytest.mark.rule("2a.6", "2a.7", "2a.8", "2b.6", "2b.7", "2b.8", "X.1", "X.10")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)
async def test_no_schedule_of_people_faults_and_clock_jumps_breaks_an_invariant(database: Database) -> None:
    first = secrets.randbelow(10**9)
    begun = time.monotonic()
    done = 0
    while done < SCHEDULES and time.monotonic() - begun < LONGEST_SECONDS:
        await World(database, first + done).run()
        done += 1
    assert done >= min(FEWEST, SCHEDULES)
