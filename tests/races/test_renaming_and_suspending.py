"""Test an operator who renames or suspends users while other steps change the chats and payments of these users."""

import asyncio
from uuid import UUID

import pytest

from curhat.accounts import service as accounts
from curhat.journeys import availability, mitras, paying, renaming
from curhat.journeys.snapshot import customer_state
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.sessions import service as sessions
from tests.support.chats import open_chat
from tests.support.clock import VirtualClock
from tests.support.journey import Latch, wait_for_lock
from tests.support.people import Make
from tests.support.race import Worker, command, race, run_concurrently


@pytest.mark.invariant(10)
async def test_a_chat_that_ends_during_a_rename_of_the_customer_stays_ended_for_both_members(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    customer = chat.customer.user_id
    ends = command(database, lambda tx: sessions.end_by_customer(tx, customer, chat.id))
    renames = command(database, lambda tx: renaming.rename_customer(tx, customer, "Anggrek"))

    assert await race(database, ends, renames) == ("done", "done")

    for who in (chat.customer, chat.mitra):
        assert await last_event(database, who.user_id) == ("session.ended", "ended")
    assert (await customer_state(database, customer)).session is None


@pytest.mark.invariant(10)
async def test_a_mitra_learns_a_new_call_name_until_a_worker_ends_the_session(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    chat = await open_chat(database, make)
    await clock.advance(24 * 60 * 60)
    async with database.transaction() as tx:
        await renaming.rename_customer(tx, chat.customer.user_id, "Anggrek")
    assert await last_event(database, chat.mitra.user_id) == ("session.updated", "active")


@pytest.mark.invariant(10)
async def test_a_chat_that_ends_during_a_rename_of_the_mitra_stays_ended_for_both_members(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    mitra = chat.mitra.user_id
    await renamed(database, mitra, "Kak Rani")
    ends = command(database, lambda tx: sessions.end_by_customer(tx, chat.customer.user_id, chat.id))

    assert await race(database, ends, Worker(database, mitra).fires("session_renamed")) == (
        "done",
        "fired",
    )

    assert await last_event(database, chat.customer.user_id) == ("session.ended", "ended")


@pytest.mark.invariant(10)
async def test_a_payment_that_is_cancelled_during_a_rename_of_the_mitra_stays_cancelled_for_the_customer(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    customer, mitra = chat.customer.user_id, chat.mitra.user_id
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customer, chat.id)
    offer = await make.offer()
    gate = availability.GateAnswer(available=False, mitra_reachable=True)
    async with database.transaction() as tx:
        payment = await paying.open_payment(tx, customer, offer, gate, mitra)
    await renamed(database, mitra, "Kak Rani")
    leaves = command(database, lambda tx: paying.cancel_payment(tx, customer, payment.id))

    assert await race(database, leaves, Worker(database, mitra).fires("payment_renamed")) == ("done", "fired")

    assert await last_event(database, customer) == ("payment.updated", "abandoned")


@pytest.mark.invariant(6, 8)
async def test_a_second_suspension_does_not_wait_for_a_worker_that_ends_the_chat(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    mitra = chat.mitra.user_id
    async with database.transaction() as tx:
        await mitras.suspend_mitra(tx, mitra)
    worker_latch, operator_latch = Latch(), Latch()
    set_pause_point("session_end.written", worker_latch)
    worker = Worker(database, mitra).fires("suspension_end")
    ending = asyncio.ensure_future(worker(_do_nothing))
    await worker_latch.reached.wait()

    async def again() -> None:
        async with database.transaction() as tx:
            await accounts.lift_suspension(tx, mitra)
            await mitras.suspend_mitra(tx, mitra)
            await operator_latch()

    suspending = asyncio.create_task(again())
    # The operator has locked the mitra's row without waiting for the worker.
    await asyncio.wait_for(operator_latch.reached.wait(), 10)
    worker_latch.open()
    await wait_for_lock(database)
    operator_latch.open()
    await suspending

    assert await ending == "fired"
    assert await database.fetchval("SELECT status FROM sessions") == "ended"
    assert await database.fetchval("SELECT active_sessions FROM mitras WHERE id = $1", mitra) == 0


async def test_a_second_suspension_has_no_effect(database: Database, make: Make) -> None:
    mitra = await make.mitra()
    for _ in range(2):
        async with database.transaction() as tx:
            await mitras.suspend_mitra(tx, mitra)

    assert await database.fetchval("SELECT count(*) FROM audit_entries WHERE action = 'mitra_suspended'") == 1


@pytest.mark.invariant(6, 10)
async def test_a_second_rename_does_not_wait_for_the_worker_and_the_last_name_is_sent(
    database: Database, make: Make
) -> None:
    chat = await open_chat(database, make)
    mitra = chat.mitra.user_id
    await renamed(database, mitra, "Kak Rani")
    worker = Worker(database, mitra)
    again = command(database, lambda tx: mitras.rename_mitra(tx, mitra, "Kak Dewi", by="test"))

    tells = worker.fires("session_renamed")
    assert await race(database, tells, again, waits=False) == ("fired", "done")
    assert await run_concurrently(worker.fires("session_renamed")) == ["fired"]

    names = await database.fetch(
        "SELECT data::jsonb->'mitra'->>'display_name' AS name FROM stream_events "
        "WHERE user_id = $1 AND type = 'session.updated' ORDER BY seq",
        chat.customer.user_id,
    )
    assert [row["name"] for row in names] == ["Kak Rani", "Kak Dewi"]


async def renamed(database: Database, mitra: UUID, display_name: str) -> None:
    async with database.transaction() as tx:
        await mitras.rename_mitra(tx, mitra, display_name, by="test")


async def _do_nothing() -> None:
    return None


async def last_event(database: Database, who: UUID) -> tuple[str, str]:
    """Return the type of the last event in a user's stream, and the status in the event's data."""
    row = await database.fetchrow(
        "SELECT type, data::jsonb->>'status' AS status FROM stream_events WHERE user_id = $1 ORDER BY seq DESC LIMIT 1",
        who,
    )
    assert row is not None
    return row["type"], row["status"]
