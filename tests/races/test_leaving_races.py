"""Test a member who leaves a chat while something else ends it, each pair of steps in both orders (T.5)."""

from typing import Any

import pytest

from curhat.journeys import leaving, mitras
from curhat.journeys.schemas import LeaveByCustomer, LeaveByMitra
from curhat.kit.database import Database
from curhat.safety.reports.schemas import NewReport
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.race import Side, Worker, command, race

REPORT = NewReport(reason="threat")
MINUTES = 30


async def open_chat_with_text(database: Database, make: Make) -> Chat:
    """Open a chat with a message. A chat without any message has no text that an operator could look at."""
    chat = await open_chat(database, make, minutes=MINUTES)
    await database.execute(
        "INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, 'mitra', '1', 'halo')",
        chat.id,
    )
    return chat


def customer_leaves(database: Database, chat: Chat, *, held_at: str | None = None) -> Side:
    wanted = LeaveByCustomer(report=REPORT, block=True)
    return command(
        database,
        lambda tx: leaving.leave_as_customer(tx, chat.customer.user_id, chat.id, wanted),
        held_at=held_at,
    )


def mitra_leaves(database: Database, chat: Chat, *, held_at: str | None = None) -> Side:
    wanted = LeaveByMitra(reason_code="felt_unsafe", report=REPORT, block=True)
    return command(
        database, lambda tx: leaving.leave_as_mitra(tx, chat.mitra.user_id, chat.id, wanted), held_at=held_at
    )


async def state(database: Database, chat: Chat) -> tuple[Any, ...]:
    """Return how the chat ended, the mitra's running chats, and who reported and blocked."""
    row = await database.fetchrow(
        """
        SELECT end_reason, mitras.active_sessions,
            array(SELECT reporter FROM reports WHERE session_id = sessions.id ORDER BY reporter) AS reports,
            array(SELECT blocked_by FROM blocks WHERE blocks.mitra_id = sessions.mitra_id ORDER BY blocked_by) AS blocks
        FROM sessions JOIN mitras ON mitras.id = sessions.mitra_id WHERE sessions.id = $1
        """,
        chat.id,
    )
    assert row is not None
    return tuple(row.values())


@pytest.mark.rule("T.5", "X.8")
@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_race_between_a_leave_and_the_end_of_the_time_stores_everything(
    database: Database, make: Make, clock: VirtualClock, leave_first: bool
) -> None:
    await clock.set()
    chat = await open_chat_with_text(database, make)
    await clock.advance(MINUTES * 60)
    time_is_up = Worker(database).fires("session_end")
    if leave_first:
        leaves = customer_leaves(database, chat, held_at="session_end.written")
        assert await race(database, leaves, time_is_up) == ("done", "fired")
    else:
        assert await race(database, time_is_up, customer_leaves(database, chat)) == ("fired", "done")
    assert await state(database, chat) == ("time_up", 0, ["customer"], ["customer"])


@pytest.mark.rule("T.5", "X.8")
@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_race_between_a_leave_and_a_suspension_of_the_mitra_has_one_end(
    database: Database, make: Make, leave_first: bool
) -> None:
    chat = await open_chat_with_text(database, make)
    async with database.transaction() as tx:
        await mitras.suspend_mitra(tx, chat.mitra.user_id)
    ends = Worker(database).fires(mitras.SUSPENSION_END)
    if leave_first:
        leaves = customer_leaves(database, chat, held_at="session_end.written")
        assert await race(database, leaves, ends) == ("done", "fired")
    else:
        assert await race(database, ends, customer_leaves(database, chat)) == ("fired", "done")
    reason = "customer_ended" if leave_first else "mitra_suspended"
    assert await state(database, chat) == (reason, 0, ["customer"], ["customer"])


@pytest.mark.rule("T.5")
@pytest.mark.parametrize("customer_first", [True, False])
async def test_two_members_who_leave_at_the_same_time_both_store_their_reports_and_blocks(
    database: Database, make: Make, customer_first: bool
) -> None:
    chat = await open_chat_with_text(database, make)
    first, second = customer_leaves, mitra_leaves
    if not customer_first:
        first, second = mitra_leaves, customer_leaves
    held = first(database, chat, held_at="session_end.written")
    assert await race(database, held, second(database, chat)) == ("done", "done")
    reason = "customer_ended" if customer_first else "mitra_ended"
    assert await state(database, chat) == (reason, 0, ["customer", "mitra"], ["customer", "mitra"])


@pytest.mark.rule("T.5", "X.8")
@pytest.mark.parametrize("customer_first", [True, False])
async def test_two_members_who_only_leave_at_the_same_time_end_the_chat_once(
    database: Database, make: Make, customer_first: bool
) -> None:
    chat = await open_chat_with_text(database, make)
    sides = [
        lambda tx: leaving.leave_as_customer(tx, chat.customer.user_id, chat.id, LeaveByCustomer()),
        lambda tx: leaving.leave_as_mitra(tx, chat.mitra.user_id, chat.id, LeaveByMitra()),
    ]
    first, second = sides if customer_first else reversed(sides)
    held = command(database, first, held_at="session_end.written")
    assert await race(database, held, command(database, second)) == ("done", "done")
    reason = "customer_ended" if customer_first else "mitra_ended"
    assert await state(database, chat) == (reason, 0, [], [])
