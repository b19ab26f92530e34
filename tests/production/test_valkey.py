"""Valkey is away, refuses writes as a replica, or is full, while people use the service.

Valkey knows who is available, and nothing else. So chats go on, and a customer who wants to begin is told that nobody
knows who is available. A customer is never told that nobody is available although somebody is.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.production.bed import Bed
from tests.production.people import Crowd, crowd_of
from tests.production.rows import Row

FAULT_SECONDS = 10
# A lease of a mitra lasts 12 s. Only after that would a replica say that nobody is available.
LONG_FAULT_SECONDS = 16
WANTED = "0 chat writes fail; presence_unknown, never a wrong no_mitra_available"


@pytest.fixture(scope="module")
async def crowd(bed: Bed) -> AsyncIterator[Crowd]:
    """The people of all checks of this file. The last check lets them finish."""
    async with crowd_of(bed) as crowd:
        yield crowd


async def measure(row: Row, crowd: Crowd) -> None:
    """Wait until all is well again, and fill in the figures that each of these checks has."""
    await crowd.until_calm()
    await crowd.until_next_deadlines()
    tally = crowd.tally
    row.expect(
        tally.failed_messages == 0, f"{tally.failed_messages} of {len(tally.shown)} chat writes failed"
    )
    row.expect(tally.unknown > 0, f"{tally.unknown} presence_unknown")
    wrong = [each for each in tally.wrong if "no_mitra_available" in each]
    row.expect(not wrong, f"{len(wrong)} wrong no_mitra_available")
    row.expect(tally.wrong == wrong, f"{len(tally.wrong) - len(wrong)} other wrong answers")
    row.expect(not tally.failed, f"{len(tally.failed)} of {tally.requests} requests failed")
    row.note(f"shown within {max(tally.shown):.2f} s")
    row.explain(*tally.wrong[:3], *tally.first_failures())
    row.finish()


@pytest.mark.row(f"Valkey away for {FAULT_SECONDS} s", WANTED)
async def test_chats_go_on_while_valkey_is_away(bed: Bed, crowd: Crowd, row: Row) -> None:
    crowd.clear()
    await bed.valkey.stop()
    await asyncio.sleep(FAULT_SECONDS)
    await bed.valkey.start()
    await measure(row, crowd)


@pytest.mark.row(f"Valkey read-only (a replica) for {LONG_FAULT_SECONDS} s", WANTED)
async def test_chats_go_on_while_valkey_is_a_replica(bed: Bed, crowd: Crowd, row: Row) -> None:
    crowd.clear()
    await bed.valkey.administrate("REPLICAOF", "127.0.0.1", 1)
    await asyncio.sleep(LONG_FAULT_SECONDS)
    await bed.valkey.administrate("REPLICAOF", "NO", "ONE")
    await measure(row, crowd)


@pytest.mark.row(f"Valkey full (maxmemory) for {LONG_FAULT_SECONDS} s", WANTED)
async def test_chats_go_on_while_valkey_is_full(bed: Bed, crowd: Crowd, row: Row) -> None:
    crowd.clear()
    await bed.valkey.administrate("CONFIG", "SET", "maxmemory", 1)
    await asyncio.sleep(LONG_FAULT_SECONDS)
    await bed.valkey.administrate("CONFIG", "SET", "maxmemory", "256mb")
    await measure(row, crowd)


@pytest.mark.row("after all faults of Valkey", "0 messages lost or doubled, 0 parked, invariants hold")
async def test_after_all_faults_of_valkey_nothing_is_lost(crowd: Crowd, row: Row) -> None:
    await crowd.finish()
    parked = await crowd.parked_deadlines()
    row.note(f"{crowd.messages()} messages once and in order; {crowd.commands()} commands answer the same")
    row.expect(parked == 0, f"{parked} parked")
    row.finish()
