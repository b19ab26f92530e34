"""A new version is deployed: each process restarts, one after the other, while people use the service."""

import asyncio

import pytest

from tests.production.bed import Bed
from tests.production.people import crowd_of
from tests.production.rows import Row

# deploy/bin/curhat-restart waits as long, so that the proxy knows this process before the next one stops.
PAUSE_SECONDS = 5
MAX_AWAY_SECONDS = 1.0
# The proxy asks every 2 s, and ends the connections that nobody uses after 4 s (deploy/haproxy/servers.cfg).
MIN_NOTICE_SECONDS = 4.0


async def restart_all(bed: Bed) -> list[float]:
    """Do what deploy/bin/curhat-restart does. Return how long each stopping server served after it had said so."""
    notices = []
    for process in bed.processes:
        if process in bed.servers:
            notices.append(await process.watch_stop(bed.server_port))
        else:
            await process.stop()
        await process.start()
        await asyncio.sleep(PAUSE_SECONDS)
    return notices


@pytest.mark.row(
    "rolling restart of two servers and two workers through HAProxy under load",
    "0 failed requests, 0 messages lost or doubled, sockets back < 1 s",
)
async def test_a_rolling_restart_under_load_fails_no_request_and_loses_no_message(bed: Bed, row: Row) -> None:
    async with crowd_of(bed) as crowd:
        notice = min(await restart_all(bed))
        await crowd.until_calm()
        tally = crowd.tally
        row.expect(not tally.failed, f"{len(tally.failed)} of {tally.requests} requests failed")
        row.expect(not tally.wrong, f"{len(tally.wrong)} wrong answers")
        # Without the notice, the proxy's retries hide most of the failures: then few or none are counted here.
        row.expect(
            notice >= MIN_NOTICE_SECONDS, f"each server served for {notice:.1f} s after /livez had said no"
        )
        slowest = max(tally.away, default=0.0)
        row.expect(0 < slowest < MAX_AWAY_SECONDS, f"{len(tally.away)} sockets back within {slowest:.2f} s")
        row.note(f"shown within {max(tally.shown):.2f} s, deadlines at most {max(tally.late):.2f} s late")
        row.explain(*tally.first_failures(), *tally.wrong[:3])
        await crowd.finish()
        row.note(f"{crowd.messages()} messages, 0 lost or doubled; {tally.journeys} chats begun and ended")
    row.finish()
