"""PostgreSQL's disk is full for 100 s, while people pay and search."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.production.bed import Bed, Plan, open_bed
from tests.production.people import crowd_of
from tests.production.rows import Row

FULL_SECONDS = 100
DISK_MEGABYTES = 192
BLOCK = bytes(4096)
# Fewer tries would prove nothing: the worker parks a deadline only after 10.
MIN_TRIES = 50
RETRY_PAUSE_SECONDS = 1.0


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own."""
    path = folder / "disk"
    path.mkdir()
    options = f"size={DISK_MEGABYTES}m,mode=0755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs a disk of its own: run it as root ({mounted.stderr.strip()})")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
async def small(folder: Path, disk: Path) -> AsyncIterator[Bed]:
    """An installation whose PostgreSQL has a small disk."""
    (folder / "small").mkdir()
    async with open_bed(folder / "small", Plan(data_folder=disk / "data", has_own_wal_disk=True)) as opened:
        yield opened


# In a database that has been in use, the table of deadlines has free pages, so its rows can still be written on a full
# disk. What a deadline itself writes needs new pages, and fails. Without free pages, nothing could count a try or park
# a deadline, so nothing would be shown.
FREE_PAGES = (
    """
    INSERT INTO deadlines (kind, entity_id, due_at, parked_at)
    SELECT 'nothing', gen_random_uuid(), 'infinity', CASE WHEN n > 4900 THEN curhat_now() END
    FROM generate_series(1, 5000) AS n
    """,
    "DELETE FROM deadlines WHERE kind = 'nothing'",
    "VACUUM (TRUNCATE false) deadlines",
)


class Filler:
    """A file that takes all space of a disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def fill(self) -> None:
        """Take what is left, to the last block."""
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as file:
            while True:
                file.write(BLOCK)

    def remove(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


async def failing_check(bed: Bed) -> str:
    """What /status says of PostgreSQL."""
    async with aiohttp.ClientSession() as http, http.get(f"{bed.servers[0].health_url}/status") as answer:
        check = (await answer.json())["checks"]["postgresql"]
        return "" if check["ok"] else str(check["detail"])


def met_full_disk(bed: Bed) -> int:
    """How often a deadline of the workers met the full disk."""
    lines = [line for worker in bed.workers for line in worker.log().splitlines()]
    return sum("deadline" in line and "DiskFullError" in line for line in lines)


@pytest.mark.row(
    f"PostgreSQL's disk full for {FULL_SECONDS} s", "0 parked afterwards; every payment has its outcome"
)
async def test_after_a_full_disk_no_deadline_is_parked_and_each_payment_has_its_outcome(
    small: Bed, disk: Path, row: Row
) -> None:
    for statement in FREE_PAGES:
        await small.database.execute(statement)
    restarting = asyncio.create_task(small.postgres.restart_whenever_it_ends())
    async with crowd_of(small, chats=3, searchers=8) as crowd:
        crowd.retry_pause_seconds = RETRY_PAUSE_SECONDS
        said: set[str] = set()
        filler, ends_at = Filler(disk), time.monotonic() + FULL_SECONDS
        while time.monotonic() < ends_at:
            # PostgreSQL may have removed a file.
            filler.fill()
            said.add(await failing_check(small))
            await asyncio.sleep(1)
        filler.remove()
        space_again_at = time.monotonic()
        parked = await crowd.parked_deadlines()
        row.expect(parked == 0, f"{parked} parked while it was full")
        await crowd.until_calm()
        back = time.monotonic() - space_again_at
        tally = crowd.tally
        row.expect(
            len(tally.failed) > 0, f"{len(tally.failed)} of {tally.requests} requests failed meanwhile"
        )
        row.expect(bool(said - {""}), f"/status: {', '.join(sorted(said - {''})) or 'noticed nothing'}")
        # A deadline that fails by its own fault is parked after 10 tries, within 51 s.
        met = met_full_disk(small)
        row.expect(met >= MIN_TRIES, f"deadlines met the full disk {met} times")
        row.note(f"all well {back:.0f} s after there was space again")
        row.expect(not tally.wrong, f"{len(tally.wrong)} wrong answers")
        row.explain(*tally.wrong[:3])
        await crowd.finish()
        parked = await crowd.parked_deadlines()
        row.expect(parked == 0, f"{parked} parked at the end")
        payments = await small.database.fetchval("SELECT count(*) FROM payments")
        row.note(f"{payments} payments have their outcome, 0 of {crowd.messages()} messages lost")
    restarting.cancel()
    row.finish()
