"""Test batches of deadlines in one transaction.

A locked or failing deadline must not delay the other deadlines of its batch.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from curhat.deadlines import loop as deadline_loop
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import BatchTransition
from curhat.journeys.transitions import end_sessions
from curhat.kit.database import Database, Transaction
from curhat.sessions.service import SESSION_END
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.people import Make

HALF_AN_HOUR = 30 * 60
TRANSITIONS = {SESSION_END: BatchTransition(end_sessions)}


async def ended(database: Database) -> set[UUID]:
    """Return the ids of the sessions that have ended."""
    return {row["id"] for row in await database.fetch("SELECT id FROM sessions WHERE status = 'ended'")}


async def armed(database: Database) -> list[int]:
    """Return the ids of all deadlines."""
    return [row["id"] for row in await database.fetch("SELECT id FROM deadlines ORDER BY id")]


async def chats_past_their_end(
    database: Database, make: Make, clock: VirtualClock, mitra_id: UUID | None = None
) -> list[Chat]:
    """Make three chats whose end time has passed. No worker has fired the end deadlines yet."""
    await clock.set()
    chats = [await open_chat(database, make, mitra_id=mitra_id) for _ in range(3)]
    await clock.advance(HALF_AN_HOUR)
    return chats


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5, 8, 10)
async def test_sessions_that_end_in_one_batch_free_the_capacity_and_send_each_event_once(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    mitra_id = await make.mitra(max_customers=20)
    chats = await chats_past_their_end(database, make, clock, mitra_id)
    assert await deadline_loop.run_once(database, TRANSITIONS) == 3
    assert await ended(database) == {chat.id for chat in chats}
    assert await database.fetchval("SELECT active_sessions FROM mitras WHERE id = $1", mitra_id) == 0
    for chat in chats:
        assert [(kind, data["id"]) for kind, data in await stream_events(database, chat.customer)] == [
            ("session.ended", str(chat.id))
        ]
    seen = await database.fetch("SELECT seq FROM stream_events WHERE role = 'mitra' ORDER BY seq")
    assert [row["seq"] for row in seen] == [1, 2, 3]
    assert await armed(database) == []


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_a_deadline_takes_effect_once_when_it_is_in_the_batches_of_several_workers(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    chats = await chats_past_their_end(database, make, clock)
    ids = await armed(database)
    several = [ids, ids[::-1], ids[1:], ids[:2]]
    fired = await asyncio.gather(
        *(deadlines.fire_batch(database, some, TRANSITIONS[SESSION_END]) for some in several)
    )
    # If a row of a batch is locked, the worker fires the batch's deadlines one by one.
    await deadline_loop.run_once(database, TRANSITIONS)
    once = [each.deadline.entity_id for some in fired for each in some or []]
    assert len(once) == len(set(once))
    assert await ended(database) == {chat.id for chat in chats}
    assert [len(await stream_events(database, chat.customer)) for chat in chats] == [1, 1, 1]


@pytest.mark.invariant(5)
async def test_a_locked_session_does_not_delay_the_other_sessions_of_its_batch(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    held, *others = await chats_past_their_end(database, make, clock)
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", held.id)
        worker = asyncio.create_task(deadline_loop.Loop(database, TRANSITIONS).run())
        async with asyncio.timeout(10):
            while await ended(database) != {chat.id for chat in others}:
                pass
    async with asyncio.timeout(10):
        while held.id not in await ended(database):
            pass
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert await database.fetchval("SELECT max(attempts) FROM deadlines") is None


@pytest.mark.invariant(5)
async def test_a_failing_deadline_is_postponed_and_the_other_deadlines_of_its_batch_take_effect(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    broken, *others = await chats_past_their_end(database, make, clock)

    async def break_down(tx: Transaction, due: Sequence[Deadline]) -> None:
        await end_sessions(tx, due)
        if any(deadline.entity_id == broken.id for deadline in due):
            raise ZeroDivisionError

    assert await deadline_loop.run_once(database, {SESSION_END: BatchTransition(break_down)}) == 2
    assert await ended(database) == {chat.id for chat in others}
    left = await database.fetchrow("SELECT entity_id, attempts, last_error FROM deadlines")
    assert left is not None
    assert (left["entity_id"], left["attempts"]) == (broken.id, 1)
    assert left["last_error"].startswith("ZeroDivisionError")
