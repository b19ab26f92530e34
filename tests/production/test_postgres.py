"""PostgreSQL restarts, goes dark or dies, while people use the service."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.production.bed import RESTART_PAUSE_SECONDS, Bed, Plan, open_bed
from tests.production.people import Crowd, crowd_of
from tests.production.rows import Row
from tests.support.network import Network, may_make_networks

MAX_OUT_SECONDS = 10.0
# Who promotes the standby has noticed after this time. Patroni takes longer, because it must be sure.
NOTICE_SECONDS = 1.0
WANTED = "out < 10 s, 0 acknowledged writes lost"


async def measure(row: Row, crowd: Crowd) -> None:
    """Wait until all is well again, let everybody finish, and fill in the figures that each of these checks has."""
    await crowd.until_calm()
    await crowd.until_next_deadlines()
    tally = crowd.tally
    # The person who waited longest for the acknowledgement of a message.
    out = max(tally.acknowledged)
    row.expect(out < MAX_OUT_SECONDS, f"out for {out:.1f} s")
    row.expect(len(tally.failed) > 0, f"{len(tally.failed)} of {tally.requests} requests had to be repeated")
    row.expect(not tally.wrong, f"{len(tally.wrong)} wrong answers")
    row.note(f"shown within {max(tally.shown):.1f} s, deadlines at most {max(tally.late):.1f} s late")
    row.explain(*tally.wrong[:3], *tally.first_failures())
    await crowd.finish()
    row.note(f"0 of {crowd.messages()} messages and {crowd.commands()} commands lost")
    parked = await crowd.parked_deadlines()
    row.expect(parked == 0, f"{parked} parked")
    row.finish()


@pytest.mark.row("PostgreSQL restarts", WANTED)
async def test_a_restart_of_postgresql_is_a_short_pause(bed: Bed, row: Row) -> None:
    async with crowd_of(bed) as crowd:
        await bed.postgres.stop()
        await asyncio.sleep(RESTART_PAUSE_SECONDS)
        await bed.postgres.start()
        await measure(row, crowd)


_numbers = itertools.count()


@pytest.fixture
def network() -> Iterator[Network]:
    """A network for the primary."""
    if not may_make_networks():
        pytest.skip("needs a network namespace, in which a server can go dark: run it as root")
    # Each test has a network of its own, because the kernel removes a network some time after its namespace.
    made = Network(next(_numbers))
    made.make()
    yield made
    made.remove()


@pytest.fixture
async def pair(folder: Path, network: Network) -> AsyncIterator[Bed]:
    """An installation of which PostgreSQL has a synchronous standby."""
    here = folder / f"pair-{len(list(folder.iterdir()))}"
    here.mkdir()
    async with open_bed(here, Plan(network=network)) as opened:
        yield opened


@pytest.mark.row("PostgreSQL's primary goes dark (packets vanish in its network), standby promoted", WANTED)
async def test_a_primary_that_goes_dark_is_replaced_by_its_standby(pair: Bed, row: Row) -> None:
    async with crowd_of(pair) as crowd:
        assert pair.postgres.network is not None
        pair.postgres.network.go_dark()
        await promote_standby(pair)
        await measure(row, crowd)


@pytest.mark.row("kill -9 of PostgreSQL's primary, standby promoted", WANTED)
async def test_a_primary_that_was_killed_is_replaced_by_its_standby(pair: Bed, row: Row) -> None:
    async with crowd_of(pair) as crowd:
        await pair.postgres.kill_now()
        await promote_standby(pair)
        await measure(row, crowd)


async def promote_standby(pair: Bed) -> None:
    """Promote the standby, as whoever watches the primary does."""
    await asyncio.sleep(NOTICE_SECONDS)
    assert pair.standby is not None
    await pair.standby.promote()
    await pair.follow_standby()
