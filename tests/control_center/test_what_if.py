"""Test that a replay of real records tells what happened, and what other settings would have changed."""

import asyncio
import random
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from curhat.control_center.what_if import runner
from curhat.control_center.what_if.behaviour import Answers, Ended, uniform
from curhat.control_center.what_if.process import answer_question, read_past
from curhat.control_center.what_if.replay import Fallback, Presence, Replay, Search, World
from curhat.control_center.what_if.schemas import ExtraMitras, WhatIfAnswer, WhatIfQuestion
from curhat.kit.database import Database
from tests.support.business import Business, Habit
from tests.support.clock import START, VirtualClock
from tests.support.people import Make
from tests.support.signed_in import RunningServer, business_rows, problem

SEARCHES: Final = 260
# Some are fast, some slow, one ignores nearly everything. Together they are often fully occupied.
HABITS: Final = (
    Habit(ignores=0.10, rejects=0.05, median_seconds=9, begins_hour=0, ends_hour=16),
    Habit(ignores=0.20, rejects=0.10, median_seconds=16, begins_hour=0, ends_hour=16),
    Habit(ignores=0.35, rejects=0.10, median_seconds=24, begins_hour=0, ends_hour=10),
    Habit(ignores=0.30, rejects=0.20, median_seconds=35, begins_hour=1, ends_hour=16),
    Habit(ignores=0.85, rejects=0.05, median_seconds=30, begins_hour=0, ends_hour=16),
)


PERIOD: Final = timedelta(hours=17)


async def _happen(
    database: Database, clock: VirtualClock, make: Make, window_seconds: int, day: int = 0
) -> WhatIfQuestion:
    """Let the business run with this window. Returns a question about its period, without a change."""
    business = Business(database, clock, make, seed=11, window_seconds=window_seconds)
    begins_at = START + timedelta(days=day)
    await business.run(HABITS, searches=SEARCHES, hours=14, minutes=8, begins_at=begins_at)
    return WhatIfQuestion(since=begins_at, until=begins_at + PERIOD)


async def _replay(database: Database, question: WhatIfQuestion, **change: Any) -> WhatIfAnswer:
    assert question.since is not None
    assert question.until is not None
    past, names, is_cut = await read_past(database, question.since, question.until)
    asked = WhatIfQuestion(since=question.since, until=question.until, **change)
    return answer_question(past, names, is_cut, asked, lambda _progress: None)


@pytest.mark.rule("S.6")
async def test_a_replay_tells_within_a_few_per_cent_what_happened_and_what_another_window_brings(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """The truth comes from the real service: the same customers and mitras, once with 60 s and once with 30 s."""
    long = await _happen(database, clock, make, 60)
    short = await _happen(database, clock, make, 30, day=2)

    answer = await _replay(database, long, blast_timeout_seconds=30)
    happened, replayed = answer.happened, answer.as_it_was
    assert happened.searches == SEARCHES
    assert abs(replayed.served.mean - happened.served) / SEARCHES < 0.03
    assert replayed.wait_p50 is not None
    assert happened.wait_p50 is not None
    assert abs(replayed.wait_p50.mean / happened.wait_p50 - 1) < 0.10
    assert replayed.failures["no_mitra_available"].mean > 9 * replayed.failures["all_mitras_rejected"].mean

    truth = (await _replay(database, short, blast_timeout_seconds=30)).happened
    assert happened.served - truth.served > 0.1 * SEARCHES
    assert abs(answer.what_if.served.mean - truth.served) / SEARCHES < 0.05
    assert answer.what_if.served.low < truth.served + 0.03 * SEARCHES
    assert answer.what_if.wait_p50 is not None
    assert truth.wait_p50 is not None
    assert abs(answer.what_if.wait_p50.mean / truth.wait_p50 - 1) < 0.20

    # START is 19:00 in Jakarta. The extra mitras are there for three of the fourteen hours.
    more = await _replay(database, long, extra_mitras=ExtraMitras(count=2, from_hour=20, to_hour=23))
    assert more.served_more.low > 0
    assert more.mitras[0].id is None
    assert more.mitras[0].what_if > more.mitras[0].as_it_was == 0


async def _ask(server: RunningServer, **question: Any) -> tuple[Any, UUID]:
    reviewer = await server.operator("reviewer")
    answer = await reviewer.post("/what-if", question)
    assert answer.status_code == 202, answer.text
    return reviewer, UUID(answer.json()["id"])


@pytest.mark.rule("S.6")
async def test_a_worker_answers_a_what_if_in_a_process_of_its_own_and_writes_no_other_table(
    server: RunningServer, database_url: str
) -> None:
    mitra_id = await server.make.mitra("Kak Ayu", online=True)
    await server.search(await server.make.customer(), [mitra_id])
    mitra = await server.person("mitra", mitra_id)
    request_id = await server.database.fetchval("SELECT id FROM requests")
    assert (await mitra.post(f"/requests/{request_id}/accept")).status_code == 200
    reviewer, what_if_id = await _ask(server, blast_timeout_seconds=30)
    before = await business_rows(server.database)

    assert await runner.run_next(server.database, database_url)
    assert not await runner.run_next(server.database, database_url)

    found = (await reviewer.get(f"/what-if/{what_if_id}")).json()
    assert found["status"] == "done", found
    assert found["progress"] == 1
    assert found["answer"]["happened"] == {
        "searches": 1,
        "served": 1,
        "wait_p50": found["answer"]["happened"]["wait_p50"],
        "wait_p95": found["answer"]["happened"]["wait_p95"],
        "failures": {},
    }
    after = await business_rows(server.database)
    assert {name for name in before if before[name] != after[name]} == {"public.what_ifs"}
    viewer = await server.operator("viewer")
    assert (await viewer.get("/what-if")).json()["items"][0]["id"] == str(what_if_id)
    assert problem(await viewer.post("/what-if", {"blast_timeout_seconds": 30})) == (403, "forbidden")


@pytest.mark.rule("S.6")
async def test_a_cancelled_what_if_ends_its_process_and_lets_the_next_one_run(
    server: RunningServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PROCESS", ("-c", "import sys, time; sys.stdin.read(); time.sleep(60)"))
    monkeypatch.setattr(runner, "PROGRESS_INTERVAL_SECONDS", 0.02)
    reviewer, what_if_id = await _ask(server, blast_timeout_seconds=30)
    _, waiting_id = await _ask(server, blast_timeout_seconds=40)
    running = asyncio.create_task(runner.run_next(server.database, database_url))
    async with asyncio.timeout(10):
        while (await reviewer.get(f"/what-if/{what_if_id}")).json()["status"] != "running":
            await asyncio.sleep(0.02)
    # A second worker finds that one replay runs.
    assert not await runner.run_next(server.database, database_url)
    assert (await reviewer.delete(f"/what-if/{what_if_id}")).status_code == 204
    async with asyncio.timeout(10):
        assert await running
    assert problem(await reviewer.delete(f"/what-if/{what_if_id}")) == (409, "what_if_finished")
    cancelled = (await reviewer.get("/audit", action="what_if_cancelled")).json()["items"]
    assert [entry["subject_id"] for entry in cancelled] == [str(what_if_id)]
    states = [(one["id"], one["status"]) for one in (await reviewer.get("/what-if")).json()["items"]]
    assert states == [(str(waiting_id), "waiting"), (str(what_if_id), "cancelled")]


@pytest.mark.rule("S.6")
async def test_a_what_if_whose_worker_died_fails_and_the_next_one_is_claimed(
    server: RunningServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PROCESS", ("-c", "raise SystemExit(1)"))
    reviewer, dead_id = await _ask(server, blast_timeout_seconds=30)
    await server.database.execute(
        "UPDATE what_ifs SET status = 'running', started_at = curhat_now(), alive_at = curhat_now() - interval '1 hour'"
    )
    _, next_id = await _ask(server, blast_timeout_seconds=40)
    assert await runner.run_next(server.database, database_url)
    items = (await reviewer.get("/what-if")).json()["items"]
    assert {one["id"]: one["problem"] for one in items} == {
        str(dead_id): "the worker stopped",
        str(next_id): "the replay stopped",
    }


async def test_a_question_needs_a_change_a_bounded_period_and_a_free_place(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    for question in (
        {},
        {"blast_timeout_seconds": 9},
        {"blast_timeout_seconds": 30, "since": "2025-01-01T00:00:00Z"},
        {"extra_mitras": {"count": 2, "from_hour": 20, "to_hour": 25}},
    ):
        assert problem(await reviewer.post("/what-if", question))[0] == 422, question
    for _ in range(5):
        await _ask(server, blast_timeout_seconds=30)
    refused = await reviewer.post("/what-if", {"blast_timeout_seconds": 30})
    assert problem(refused) == (409, "too_many_what_ifs")


def _world(searches: int, capacity: int) -> World:
    draws = random.Random(3)
    ended = [Ended(0, draws.expovariate(0.1), "accepted") for _ in range(300)]
    return World(
        searches=[Search(20.0 * number, 60.0, 20.0, None, 600.0, True) for number in range(searches)],
        presence=[Presence(0.0, online=frozenset({0}))],
        capacities=[capacity],
        recorded_mitras=1,
        answers=Answers(ended, ("accepted", "rejected"), 1),
        patience=Answers([Ended(0, 60.0, None)], ("cancelled",), 1),
        fallback=Fallback(),
    )


def test_a_replay_never_gives_a_mitra_more_customers_than_its_capacity() -> None:
    """A chat lasts 600 s, and searches come every 20 s for 2,000 s. Two places serve at most 2 x 4 of them."""
    result = Replay(_world(100, 2), 1).run()
    assert 6 <= len(result.waits) <= 8
    assert len(result.waits) + result.failures.total() == 100


def test_the_same_seed_gives_the_same_replay_and_another_seed_another_one() -> None:
    world = _world(50, 30)
    first = Replay(world, 1).run().waits
    assert first == Replay(world, 1).run().waits
    assert first != Replay(world, 2).run().waits
    assert abs(sum(first) / len(first) - 10) < 4


def test_the_estimate_counts_the_offers_that_nobody_answered() -> None:
    """Half of the offers are cut off after 5 s. A mean over the answers alone would be far too short."""
    draws = random.Random(5)
    ended = []
    for number in range(4000):
        seconds = draws.expovariate(1 / 20)
        is_cut = number % 2 == 0 and seconds > 5
        ended.append(Ended(0, 5.0, None) if is_cut else Ended(0, min(seconds, 590), "accepted"))
    answers = Answers(ended, ("accepted",), 1)
    drawn = [found[0] for number in range(2000) if (found := answers.draw(0, 1, number)) is not None]
    assert abs(sum(drawn) / len(drawn) - 20) < 2


def test_the_drawn_numbers_are_spread_evenly() -> None:
    drawn = [uniform(seed, number) for seed in range(50) for number in range(100)]
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02
    assert 0 < min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
