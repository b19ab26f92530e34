"""Test that a session ends once and never early, and that all consequences of the end commit together."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.pause_points import set_pause_point
from curhat.sessions import service
from curhat.sessions.errors import SessionEnded
from curhat.sessions.states import ALL_END_REASONS, OPENS_A_CASE, STEPS
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import START, VirtualClock
from tests.support.journey import wait_for_lock
from tests.support.people import Make

HALF_AN_HOUR = 30 * 60

Ending = Callable[[Database, Chat], Coroutine[Any, Any, Any]]


@pytest.fixture
async def chat(database: Database, make: Make, clock: VirtualClock) -> Chat:
    """Start a chat of 30 minutes at START."""
    await clock.set(START)
    return await open_chat(database, make, minutes=30)


async def end(database: Database, step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run a service function in its own transaction, and return the function's result."""
    async with database.transaction() as tx:
        return await step(tx, *arguments)


async def by_customer(database: Database, chat: Chat) -> Any:
    return await end(database, service.end_by_customer, chat.customer.user_id, chat.id)


async def by_mitra(database: Database, chat: Chat) -> Any:
    return await end(database, service.end_by_mitra, chat.mitra.user_id, chat.id, "Saya sakit.")


async def by_suspension(database: Database, chat: Chat) -> Any:
    return await end(database, service.end_for_suspension, chat.id)


async def by_time(database: Database, chat: Chat) -> Any:
    generation = await database.fetchval(
        "SELECT generation FROM deadlines WHERE kind = 'session_end' AND entity_id = $1", chat.id
    )
    return await end(database, service.end_due, {chat.id: generation})


async def state(database: Database, chat: Chat) -> dict[str, Any]:
    """Return all values that the end of a session can change."""
    row = await database.fetchrow(
        """
        SELECT sessions.status, end_reason, end_note, ended_at, ends_at, mitras.active_sessions AS places,
            payments.status AS payment,
            (SELECT count(*) FROM deadlines WHERE kind = 'session_end' AND entity_id = sessions.id) AS armed,
            (SELECT array_agg(reason) FROM review_cases WHERE payment_id = sessions.payment_id) AS cases
        FROM sessions
        JOIN mitras ON mitras.id = mitra_id
        JOIN payments ON payments.id = payment_id
        WHERE sessions.id = $1
        """,
        chat.id,
    )
    assert row is not None
    return dict(row)


@pytest.mark.rule("X.8")
@pytest.mark.parametrize(
    ("how", "after_seconds", "reason", "cases", "note"),
    [
        (by_customer, 60, "customer_ended", None, None),
        (by_mitra, 60, "mitra_ended", ["cut_short"], "Saya sakit."),
        (by_suspension, 60, "mitra_suspended", ["cut_short"], None),
        (by_time, HALF_AN_HOUR, "time_up", None, None),
    ],
)
async def test_the_end_of_a_session_changes_all_its_rows_and_reaches_both_members(
    database: Database,
    chat: Chat,
    clock: VirtualClock,
    how: Ending,
    after_seconds: int,
    reason: str,
    cases: list[str] | None,
    note: str | None,
) -> None:
    """The mitra's capacity is free, the deadline is disarmed, and both members get an event."""
    before = await state(database, chat)
    await clock.advance(after_seconds)
    await how(database, chat)
    assert await state(database, chat) == {
        "status": "ended",
        "end_reason": reason,
        "end_note": note,
        "ended_at": START + timedelta(seconds=after_seconds),
        "ends_at": before["ends_at"],
        "places": 0,
        "payment": "served",
        "armed": 0,
        "cases": cases,
    }
    for person in (chat.customer, chat.mitra):
        ((kind, data),) = await stream_events(database, person)
        assert kind == "session.ended"
        assert (data["id"], data["status"], data["end_reason"]) == (str(chat.id), "ended", reason)
    history = await database.fetch(
        "SELECT old_status, new_status FROM status_changes WHERE entity = 'session' ORDER BY id"
    )
    assert [tuple(row) for row in history] == [(None, "active"), ("active", "ended")]


@pytest.mark.rule("X.8")
async def test_a_session_that_has_ended_cannot_be_ended_again(database: Database, make: Make) -> None:
    for first in (by_customer, by_mitra, by_suspension):
        chat = await open_chat(database, make)
        await first(database, chat)
        before = await state(database, chat)
        for second in (by_customer, by_mitra):
            with pytest.raises(SessionEnded):
                await second(database, chat)
        await by_suspension(database, chat)
        await by_time(database, chat)
        assert await state(database, chat) == before
        assert len(await stream_events(database, chat.mitra)) == 1


@pytest.mark.rule("X.8")
async def test_only_a_member_can_end_a_session(database: Database, make: Make, chat: Chat) -> None:
    other = await open_chat(database, make)
    before = await state(database, chat)
    for attempt in (
        end(database, service.end_by_customer, other.customer.user_id, chat.id),
        end(database, service.end_by_customer, chat.mitra.user_id, chat.id),
        end(database, service.end_by_mitra, other.mitra.user_id, chat.id, "bukan saya"),
        end(database, service.end_by_mitra, chat.customer.user_id, chat.id, "bukan saya"),
        end(database, service.end_by_customer, chat.customer.user_id, uuid4()),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await state(database, chat) == before


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_the_deadline_does_not_end_a_session_before_its_end_time(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(HALF_AN_HOUR - 0.001)
    await by_time(database, chat)
    assert (await state(database, chat))["status"] == "active"
    await clock.advance(0.001)
    await by_time(database, chat)
    assert (await state(database, chat))["end_reason"] == "time_up"


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_a_session_continues_if_it_is_extended_while_its_deadline_waits_for_the_lock(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(HALF_AN_HOUR)
    async with database.transaction() as lengthening:
        await lengthening.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", chat.id)
        ending = asyncio.create_task(by_time(database, chat))
        await wait_for_lock(database)
        await lengthening.execute(
            "UPDATE sessions SET ends_at = ends_at + interval '15 minutes' WHERE id = $1", chat.id
        )
    await ending
    assert (await state(database, chat))["status"] == "active"


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
@pytest.mark.parametrize("how", [by_customer, by_mitra])
async def test_no_member_can_end_a_session_after_its_end_time_even_if_the_worker_is_late(
    database: Database,
    chat: Chat,
    clock: VirtualClock,
    how: Ending,
) -> None:
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", chat.id)
        ending = asyncio.create_task(how(database, chat))
        await wait_for_lock(database)
        await clock.advance(HALF_AN_HOUR)
    with pytest.raises(SessionEnded):
        await ending
    await by_time(database, chat)
    after = await state(database, chat)
    assert (after["end_reason"], after["cases"]) == ("time_up", None)


@pytest.mark.rule("X.8")
async def test_a_suspension_does_not_end_a_session_after_its_end_time(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(HALF_AN_HOUR)
    await by_suspension(database, chat)
    assert (await state(database, chat))["status"] == "active"
    await by_time(database, chat)
    after = await state(database, chat)
    assert (after["end_reason"], after["cases"]) == ("time_up", None)


@pytest.mark.rule("X.8")
@pytest.mark.invariant(6)
async def test_several_concurrent_ends_of_a_session_take_effect_once_and_open_at_most_one_case(
    database: Database, make: Make
) -> None:
    for number in range(12):
        chat = await open_chat(database, make)
        ends = [by_customer, by_mitra, by_suspension]
        outcomes = await asyncio.gather(
            *(how(database, chat) for how in (*ends[number % 3 :], *ends[: number % 3])),
            return_exceptions=True,
        )
        assert all(
            outcome is None or not isinstance(outcome, Exception) or isinstance(outcome, SessionEnded)
            for outcome in outcomes
        )
        after = await state(database, chat)
        assert after["status"] == "ended"
        assert after["places"] == 0
        assert after["cases"] == (["cut_short"] if after["end_reason"] in OPENS_A_CASE else None)
        assert len(await stream_events(database, chat.customer)) == 1


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_the_session_deadline_takes_effect_once_when_many_workers_claim_the_deadline(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    async def session_end(tx: Transaction, deadline: Deadline) -> None:
        await service.end_due(tx, {deadline.entity_id: deadline.generation})

    transitions = {service.SESSION_END: session_end}
    (deadline_id,) = [row["id"] for row in await database.fetch("SELECT id FROM deadlines")]
    assert await deadlines.fire(database, deadline_id, transitions) is None
    await clock.advance(HALF_AN_HOUR)
    fired = await asyncio.gather(*(deadlines.fire(database, deadline_id, transitions) for _ in range(8)))
    assert len([deadline for deadline in fired if deadline is not None]) == 1
    assert (await state(database, chat))["places"] == 0
    assert len(await stream_events(database, chat.customer)) == 1


@pytest.mark.rule("X.8")
async def test_an_early_end_does_not_wait_for_a_worker_that_has_locked_the_deadline(
    database: Database, chat: Chat
) -> None:
    async with database.transaction() as worker:
        await worker.execute("SELECT 1 FROM deadlines WHERE entity_id = $1 FOR UPDATE", chat.id)
        await by_customer(database, chat)
    # The deadline is still armed. When the deadline fires, it must not change the ended session.
    assert (await state(database, chat))["armed"] == 1
    await by_time(database, chat)
    assert (await state(database, chat))["end_reason"] == "customer_ended"


async def test_a_session_is_unchanged_when_the_transaction_that_ends_it_fails(
    database: Database, chat: Chat
) -> None:
    before = await state(database, chat)

    async def fail() -> None:
        raise ConnectionResetError

    set_pause_point("session_end.written", fail)
    with pytest.raises(ConnectionResetError):
        await by_mitra(database, chat)
    set_pause_point("session_end.written", None)
    assert await state(database, chat) == before
    assert await stream_events(database, chat.customer) == []


async def test_the_database_allows_exactly_the_status_changes_and_end_reasons_of_states_py(
    database: Database, make: Make
) -> None:
    for old in ("active", "ended"):
        for new in ("active", "ended"):
            chat = await open_chat(database, make)
            if old == "ended":
                await by_customer(database, chat)
            changes = (
                "status = 'ended', ended_at = curhat_now(), end_reason = 'time_up'"
                if new == "ended"
                else "status = 'active', ended_at = NULL, end_reason = NULL, delivery = NULL"
            )
            step = database.execute(f"UPDATE sessions SET {changes} WHERE id = $1", chat.id)
            if old == new or (old, new) in STEPS:
                await step
            else:
                with pytest.raises(asyncpg.CheckViolationError, match="cannot go from"):
                    await step
    constraint = await database.fetchval(
        """
        SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conname = 'sessions_end_reason_check'
        """
    )
    assert set(constraint.split("'")[1::2]) == ALL_END_REASONS
