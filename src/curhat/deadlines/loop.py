"""The worker's loop: sleep until something is due, at most 250 ms, then fire what is due, several at once."""

import asyncio
from collections.abc import Mapping

import structlog
from prometheus_client import Counter, Histogram

from curhat.deadlines import service
from curhat.deadlines.service import Transition
from curhat.kit.database import DATABASE_AWAY, Database

log = structlog.get_logger(__name__)

# The longest a worker sleeps: bounds how late a deadline can be that was armed while it slept.
LONGEST_SLEEP_SECONDS = 0.25
# Waking a little after the due time, not before it: a look too early finds nothing and costs a round trip.
SHORTEST_SLEEP_SECONDS = 0.002
CONCURRENT = 6

FIRED = Counter("curhat_deadlines_fired_total", "Deadlines that took effect", ["kind"])
LATE = Histogram(
    "curhat_deadline_late_seconds",
    "How long after its due time a deadline was claimed",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


async def run_once(database: Database, transitions: Mapping[str, Transition]) -> int:
    """Fire everything that is due now; returns how many took effect in this look (bounded by LOOK_LIMIT)."""
    waiting = iter(await service.due(database))
    fired = 0

    async def lane() -> None:
        nonlocal fired
        for deadline_id in waiting:
            deadline = await service.fire(database, deadline_id, transitions)
            if deadline is not None:
                fired += 1
                FIRED.labels(deadline.kind).inc()
                LATE.observe(deadline.late_seconds)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(CONCURRENT):
            lanes.create_task(lane())
    return fired


async def run(database: Database, transitions: Mapping[str, Transition]) -> None:
    """Fire deadlines until cancelled. PostgreSQL away for a while is waited out."""
    while True:
        fired, wait_seconds, trouble = 0, None, None
        try:
            fired = await run_once(database, transitions)
            wait_seconds = await service.next_due_in_seconds(database)
        except* DATABASE_AWAY as group:
            trouble = group.exceptions[0]
        if trouble is not None:
            log.warning("deadlines.database_trouble", error=type(trouble).__name__)
            await asyncio.sleep(LONGEST_SLEEP_SECONDS)
            continue
        if fired and wait_seconds is not None and wait_seconds <= 0:
            continue
        if wait_seconds is None:
            wait_seconds = LONGEST_SLEEP_SECONDS
        await asyncio.sleep(min(max(wait_seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS))
