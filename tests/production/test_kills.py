"""Anything may be killed with `kill -9`, and a server may stand still, while people use the service."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.production.bed import RESTART_PAUSE_SECONDS, Bed, Postgres, Process
from tests.production.people import Crowd, crowd_of
from tests.production.rows import Row

MAX_SHOWN_SECONDS = 5.0
MAX_LATE_SECONDS = 5.0
FROZEN_SECONDS = 20


@pytest.fixture(scope="module")
async def crowd(bed: Bed) -> AsyncIterator[Crowd]:
    """The people of all checks of this file. The last check lets them finish."""
    async with crowd_of(bed) as crowd:
        yield crowd


def measure(row: Row, crowd: Crowd) -> None:
    """Fill in the figures that each of these checks has."""
    tally = crowd.tally
    shown, late = max(tally.shown, default=99.0), max(tally.late, default=0.0)
    row.expect(shown < MAX_SHOWN_SECONDS, f"{len(tally.shown)} messages shown within {shown:.2f} s")
    row.expect(late < MAX_LATE_SECONDS, f"{len(tally.late)} deadlines at most {late:.2f} s late")
    row.expect(not tally.wrong, f"{len(tally.wrong)} wrong answers")
    if tally.away:
        row.note(f"{len(tally.away)} sockets back within {max(tally.away):.2f} s")
    if tally.failed:
        row.note(f"{len(tally.failed)} of {tally.requests} requests had to be repeated")
    row.explain(*tally.wrong[:3], *tally.first_failures())
    row.finish()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.row(f"kill -9 of {title}", "shown < 5 s late, nothing lost"))
        for name, title in {
            "server-1": "a server",
            "worker-1": "a worker",
            "valkey": "Valkey",
            "postgres": "PostgreSQL",
            "haproxy": "the proxy",
        }.items()
    ],
)
async def test_what_was_killed_comes_back_and_nothing_is_shown_late(
    bed: Bed, crowd: Crowd, row: Row, name: str
) -> None:
    everything: list[Process | Postgres] = [*bed.processes, bed.valkey, bed.postgres, bed.haproxy]
    victim = next(each for each in everything if each.folder.name == name)
    crowd.clear()
    await victim.kill_now()
    await asyncio.sleep(RESTART_PAUSE_SECONDS)
    await victim.start()
    await crowd.until_calm()
    await crowd.until_next_deadlines()
    measure(row, crowd)


@pytest.mark.row(f"SIGSTOP of a server for {FROZEN_SECONDS} s", "shown < 5 s late, nothing lost")
async def test_a_server_that_stands_still_delays_nobody_for_long(bed: Bed, crowd: Crowd, row: Row) -> None:
    frozen: Process = bed.servers[0]
    crowd.clear()
    frozen.freeze()
    await asyncio.sleep(FROZEN_SECONDS)
    frozen.thaw()
    await crowd.until_calm()
    measure(row, crowd)


@pytest.mark.row(
    "after all kills: every message, every command",
    "0 messages lost or doubled, every acknowledged command answers the same, 0 parked, invariants hold",
)
async def test_after_all_kills_nothing_is_lost_or_doubled(crowd: Crowd, row: Row) -> None:
    await crowd.finish()
    row.note(f"{crowd.messages()} messages once and in order; {crowd.commands()} commands answer the same")
    parked = await crowd.parked_deadlines()
    row.expect(parked == 0, f"{parked} parked")
    row.finish()
