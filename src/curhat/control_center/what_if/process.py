"""The process of one replay: `python -m curhat.control_center.what_if.process`.

It reads a Task as JSON from standard input, and writes one Line of JSON per step to standard output. The last Line has
the answer. The process only reads the database.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from curhat.control_center.what_if import queries
from curhat.control_center.what_if.past import Past, percentile
from curhat.control_center.what_if.replay import Replay, Result, World
from curhat.control_center.what_if.schemas import (
    Estimate,
    Interval,
    MitraLoad,
    Replayed,
    WhatIfAnswer,
    WhatIfQuestion,
)
from curhat.kit.database import Database

MAX_SEARCHES: Final = 20_000
MAX_REQUESTS: Final = 400_000
STATEMENT_TIMEOUT_MS: Final = 20_000
# Chats that began before the period still fill mitras at its beginning.
WARM_UP: Final = timedelta(hours=3)
MAX_RUNS: Final = 20
MIN_RUNS: Final = 5
# Bounds the work of all runs together: about 6 µs per offer.
MAX_OFFERS_DRAWN: Final = 2_000_000
MAX_MITRAS_LISTED: Final = 50
NICENESS: Final = 10


class Task(msgspec.Struct, frozen=True):
    """What the process has to do. `since` and `until` are set in the question."""

    database_url: str
    question: WhatIfQuestion


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the process's output."""

    progress: float
    answer: WhatIfAnswer | None = None


async def read_past(
    database: Database, since: datetime, until: datetime
) -> tuple[Past, dict[object, str], bool]:
    """Read the records in one snapshot. Returns them, the mitras' names, and whether there are more than the limits."""
    async with database.transaction(snapshot=True) as tx:
        pairings = await queries.list_pairings(
            tx, since=since - WARM_UP, until=until, max_payments=MAX_SEARCHES
        )
        requests = await queries.list_requests(
            tx, pairing_ids=[one.id for one in pairings], max_requests=MAX_REQUESTS
        )
        known = {one.mitra_id for one in requests}
        known |= {
            mitra_id for one in pairings for mitra_id in (one.mitra_id, one.target_mitra_id) if mitra_id
        }
        mitras = await queries.list_capacities(tx, mitra_ids=list(known))
    is_cut = len({one.payment_id for one in pairings}) >= MAX_SEARCHES or len(requests) >= MAX_REQUESTS
    past = Past(pairings, requests, {one.id: one.max_customers for one in mitras}, since)
    return past, {one.id: one.display_name for one in mitras}, is_cut


def answer_question(
    past: Past,
    names: dict[object, str],
    is_cut: bool,
    question: WhatIfQuestion,
    tell: Callable[[float], None],
    runs: int | None = None,
) -> WhatIfAnswer:
    """Replay the records as they were and with the change, with the same random numbers."""
    assert question.since is not None
    assert question.until is not None
    world = past.world()
    changed = past.changed(world, question, question.until)
    if runs is None:
        offers = 1 + 2 * sum(len(one.online or ()) for one in world.presence)
        runs = max(MIN_RUNS, min(MAX_RUNS, MAX_OFFERS_DRAWN // offers))
    before: list[Result] = []
    after: list[Result] = []
    for seed in range(runs):
        before.append(Replay(world, seed).run())
        tell((2 * seed + 1) / (2 * runs + 1))
        after.append(Replay(changed, seed).run())
        tell((2 * seed + 2) / (2 * runs + 1))
    return WhatIfAnswer(
        since=question.since,
        until=question.until,
        runs=runs,
        is_cut=is_cut,
        happened=past.happened(),
        as_it_was=_replayed(before, world),
        what_if=_replayed(after, changed),
        served_more=_interval(
            [len(new.waits) - len(old.waits) for old, new in zip(before, after, strict=True)]
        ),
        mitras=_loads(past, names, before, after),
        estimated=_estimated(question),
    )


def _replayed(results: Sequence[Result], world: World) -> Replayed:
    tags = sorted({tag for one in results for tag in one.failures})
    mitras = max(1, len(world.capacities))
    return Replayed(
        served=_interval([len(one.waits) for one in results]),
        wait_p50=_interval_of_known([percentile(one.waits, 50) for one in results]),
        wait_p95=_interval_of_known([percentile(one.waits, 95) for one in results]),
        failures={tag: _interval([one.failures[tag] for one in results]) for tag in tags},
        sessions_per_mitra=_interval([one.sessions.total() / mitras for one in results]),
        busiest_mitra=_interval([max(one.sessions.values(), default=0) for one in results]),
    )


def _interval(values: Sequence[float]) -> Interval:
    ordered = sorted(values)
    return Interval(
        low=percentile(ordered, 5) or 0.0,
        mean=sum(ordered) / len(ordered),
        high=percentile(ordered, 95) or 0.0,
    )


def _interval_of_known(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return _interval(known) if known else None


def _loads(
    past: Past, names: dict[object, str], before: Sequence[Result], after: Sequence[Result]
) -> list[MitraLoad]:
    """Return the load of the busiest mitras, and of the extra mitras together."""
    happened = past.sessions()
    count = len(past.mitra_ids)

    def mean(results: Sequence[Result], number: int) -> float:
        return sum(one.sessions[number] for one in results) / len(results)

    loads = [
        MitraLoad(
            id=mitra_id,
            display_name=names[mitra_id],
            happened=happened[number],
            as_it_was=mean(before, number),
            what_if=mean(after, number),
        )
        for number, mitra_id in enumerate(past.mitra_ids)
    ]
    loads.sort(key=lambda one: (-one.what_if, -one.happened, str(one.id)))
    extra = {number for one in after for number in one.sessions if number >= count}
    together = sum(mean(after, number) for number in extra)
    extras = [MitraLoad(id=None, display_name="", happened=0, as_it_was=0, what_if=together)] if extra else []
    return [*extras, *loads[:MAX_MITRAS_LISTED]]


def _estimated(question: WhatIfQuestion) -> list[Estimate]:
    always: list[Estimate] = ["online_times", "answer_times", "patience", "session_lengths", "fallbacks"]
    return always if question.extra_mitras is None else [*always, "extra_mitras"]


def _tell(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    """Read the task, replay, and write the answer."""
    os.nice(NICENESS)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    question = task.question
    assert question.since is not None
    assert question.until is not None
    database = await Database.connect(
        task.database_url,
        pool_size=1,
        application_name="curhat what-if",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    try:
        past, names, is_cut = await read_past(database, question.since, question.until)
    finally:
        await database.close()
    _tell(Line(0.0))
    answer = answer_question(past, names, is_cut, question, lambda progress: _tell(Line(progress)))
    _tell(Line(1.0, answer))


if __name__ == "__main__":
    asyncio.run(main())
