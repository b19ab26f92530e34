"""Test races of whole journeys: a second payment, a hanging service, a clock that is set back, and a new call name."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from uuid import uuid4

import prometheus_client
import pytest

from curhat.deadlines import loop as deadline_loop
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import FollowUp, Transition
from curhat.journeys import availability, paying, renaming
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import set_pause_point
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from tests.support.clock import VirtualClock
from tests.support.journey import (
    WINDOW_SECONDS,
    Latch,
    accept,
    in_own_transaction,
    open_blast,
    outcome,
    request_of,
    wait_for_lock,
)
from tests.support.people import Make


@pytest.mark.rule("2a.8")
@pytest.mark.invariant(6)
async def test_a_second_payment_that_waits_for_the_commit_of_an_accept_is_refused(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    offer = await make.offer()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    latch = Latch()
    set_pause_point("accept.before_commit", latch)
    accepting = asyncio.create_task(outcome(accept(database, mitra, request_id)))
    await latch.reached.wait()
    opening = asyncio.create_task(
        in_own_transaction(
            database,
            lambda tx: paying.open_payment(tx, customer, offer, availability.GateAnswer(available=True)),
        )
    )
    await wait_for_lock(database)
    latch.open()
    assert await accepting == "done"
    assert await opening == "journey_in_progress"
    assert await database.fetchval("SELECT count(*) FROM payments") == 1


@pytest.mark.invariant(5)
async def test_a_hanging_call_to_an_outside_service_delays_no_other_deadline(
    database: Database, make: Make
) -> None:
    called, never, fired = asyncio.Event(), asyncio.Event(), asyncio.Event()
    person = await make.person()

    async def hang() -> None:
        called.set()
        await never.wait()

    async def slow(_tx: Transaction, _deadline: Deadline) -> FollowUp:
        return hang

    async def quick(_tx: Transaction, _deadline: Deadline) -> None:
        fired.set()

    worker = asyncio.create_task(deadline_loop.Loop(database, {"slow": slow, "quick": quick}).run())
    try:
        async with asyncio.timeout(10):
            async with database.transaction() as tx:
                await deadlines.arm(tx, "slow", person, await tx.connection.fetchval("SELECT curhat_now()"))
            await called.wait()
            async with database.transaction() as tx:
                await deadlines.arm(tx, "quick", person, await tx.connection.fetchval("SELECT curhat_now()"))
            await fired.wait()
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


GATEWAY, PUSH, REFUND = "charge_answer", "push_requests", "refund_answer"


@contextlib.asynccontextmanager
async def looping(database: Database, transitions: Mapping[str, Transition]) -> AsyncIterator[None]:
    """Run the loop of a worker."""
    worker = asyncio.create_task(deadline_loop.Loop(database, transitions).run())
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def arm_now(database: Database, kind: str, count: int) -> None:
    """Arm `count` deadlines of one kind. The deadlines are due now."""
    async with database.transaction() as tx:
        now = await tx.connection.fetchval("SELECT curhat_now()")
        await deadlines.arm_each(tx, kind, [(uuid4(), now, 1) for _ in range(count)])


def _call(made: asyncio.Event) -> FollowUp:
    async def call() -> None:
        made.set()

    return call


def calls(state: str, kind: str) -> float:
    """Return the number of calls of `kind` in `state` (running, waiting or dropped), from the metric."""
    return prometheus_client.REGISTRY.get_sample_value(f"curhat_follow_ups_{state}", {"kind": kind}) or 0


@pytest.mark.rule("4.1")
@pytest.mark.invariant(5, 12)
async def test_sixty_hanging_gateway_calls_delay_no_push_and_no_refund(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of call has its own bounded queue. A later deadline makes the worker repeat a dropped call."""
    monkeypatch.setattr(deadline_loop, "MAX_FOLLOW_UPS_WAITING", 30)
    never, pushed, refunded = asyncio.Event(), asyncio.Event(), asyncio.Event()
    before = calls("dropped_total", GATEWAY)

    async def hang(_tx: Transaction, _deadline: Deadline) -> FollowUp:
        return never.wait

    async def push(_tx: Transaction, _deadline: Deadline) -> FollowUp:
        return _call(pushed)

    async def refund(_tx: Transaction, _deadline: Deadline) -> FollowUp:
        return _call(refunded)

    async with looping(database, {GATEWAY: hang, PUSH: push, REFUND: refund}):
        await arm_now(database, GATEWAY, 60)
        while calls("dropped_total", GATEWAY) - before < 10:
            await asyncio.sleep(0.01)
        assert (calls("running", GATEWAY), calls("waiting", GATEWAY)) == (20, 30)
        await arm_now(database, PUSH, 1)
        await arm_now(database, REFUND, 1)
        await pushed.wait()
        await refunded.wait()


@pytest.mark.invariant(5, 12)
async def test_transitions_of_one_kind_that_wait_for_locks_delay_no_other_kind(database: Database) -> None:
    never, fired = asyncio.Event(), asyncio.Event()

    async def wait(_tx: Transaction, _deadline: Deadline) -> None:
        await never.wait()

    async def fire(_tx: Transaction, _deadline: Deadline) -> None:
        fired.set()

    async with looping(database, {GATEWAY: wait, PUSH: fire}):
        # More deadlines are due than the worker reads ahead, but the worker must still find the push.
        await arm_now(database, GATEWAY, deadlines.MAX_DUE_PER_KIND + 50)
        await arm_now(database, PUSH, 1)
        await fired.wait()


@pytest.mark.rule("2b.3")
@pytest.mark.invariant(5)
async def test_a_claimed_deadline_is_not_lost_when_the_clock_is_set_back(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """The time limit is not over yet when the transition runs.

    So the worker must fire this deadline again later.
    """
    await clock.set()
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), [])
    await clock.advance(WINDOW_SECONDS)

    async def step_back(tx: Transaction, deadline: Deadline) -> None:
        await clock.advance(-0.05)
        await pairing.window_over(tx, deadline.entity_id)

    await deadline_loop.run_once(database, {pairing.PAIRING_WINDOW: step_back})
    assert await database.fetchval("SELECT status FROM pairings WHERE id = $1", pairing_id) == "open"
    await clock.advance(0.05)

    async def window_over(tx: Transaction, deadline: Deadline) -> None:
        await pairing.window_over(tx, deadline.entity_id)

    assert await deadline_loop.run_once(database, {pairing.PAIRING_WINDOW: window_over}) == 1
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "no_mitra_available"


async def check_arming_again(
    database: Database, kind: str, step: Callable[[Transaction], Awaitable[object]]
) -> None:
    """Run a step that arms the deadline of `kind` again, while another worker holds the claim on the old deadline.

    Asserts that the step does not wait and that its new deadline is armed.
    """
    async with database.transaction() as other_worker:
        await other_worker.execute("DELETE FROM deadlines WHERE kind = $1", kind)
        # Perhaps the worker that claimed the old deadline is already waiting for a lock of this step. If the step
        # waited for the worker, the two would deadlock.
        async with asyncio.timeout(2), database.transaction() as tx:
            await step(tx)
    seconds = await database.fetch(
        "SELECT extract(epoch FROM due_at - curhat_now())::float8 AS left FROM deadlines WHERE kind = $1",
        kind,
    )
    assert len(seconds) == 1
    assert seconds[0]["left"] > 5


@pytest.mark.rule("2a.5")
@pytest.mark.invariant(5)
async def test_an_expiry_that_is_armed_again_does_not_wait_for_another_worker(
    database: Database, make: Make
) -> None:
    customer, offer = await make.customer(), await make.offer()
    async with database.transaction() as tx:
        payment = await paying.open_payment(tx, customer, offer, availability.GateAnswer(available=True))
    await check_arming_again(
        database, payments.PAYMENT_EXPIRY, lambda tx: paying.expire_payments(tx, payment.id)
    )


@pytest.mark.rule("4.3")
@pytest.mark.invariant(5)
async def test_a_targeted_window_that_is_armed_again_does_not_wait_for_another_worker(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    payment_id = await make.confirmed_payment(await make.customer(), target_mitra_id=mitra)
    async with database.transaction() as tx:
        target = pairing.Target(mitra, reachable=True, other_available=True)
        pairing_id = await pairing.open_targeted(tx, payment_id, 20, target)
    await check_arming_again(
        database, pairing.TARGETED_WINDOW, lambda tx: pairing.targeted_over(tx, [pairing_id], ())
    )


@pytest.mark.rule("X.4", "V.3")
@pytest.mark.invariant(10)
async def test_a_new_call_name_reaches_the_mitra_of_a_running_session(database: Database, make: Make) -> None:
    customer, mitra = await make.customer("Bunga"), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    await accept(database, mitra, await request_of(database, pairing_id, mitra))
    async with database.transaction() as tx:
        await renaming.rename_customer(tx, customer, "Melati")
    last = await database.fetchrow(
        "SELECT type, data FROM stream_events WHERE role = 'mitra' AND user_id = $1 ORDER BY seq DESC LIMIT 1",
        mitra,
    )
    assert last is not None
    assert last["type"] == "session.updated"
    assert '"call_name":"Melati"' in last["data"]


@pytest.mark.rule("X.4", "V.3")
@pytest.mark.invariant(10)
async def test_an_accept_that_waits_for_a_rename_shows_the_new_call_name(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer("Bunga"), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM payments FOR NO KEY UPDATE")
        accepting = asyncio.create_task(accept(database, mitra, request_id))
        await wait_for_lock(database)
        async with database.transaction() as tx:
            await renaming.rename_customer(tx, customer, "Melati")
    assert (await accepting).customer.call_name == "Melati"


@pytest.mark.rule("X.4", "V.3")
@pytest.mark.invariant(10)
async def test_the_mitra_gets_the_new_call_name_if_it_changes_before_the_accept_commits(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer("Bunga"), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    latch = Latch()
    set_pause_point("accept.before_commit", latch)
    accepting = asyncio.create_task(accept(database, mitra, request_id))
    await latch.reached.wait()
    changing = asyncio.create_task(
        in_own_transaction(database, lambda tx: renaming.rename_customer(tx, customer, "Melati"))
    )
    await wait_for_lock(database)
    latch.open()
    assert (await accepting).customer.call_name == "Bunga"
    assert await changing == "done"
    last = await database.fetchval(
        "SELECT data FROM stream_events WHERE role = 'mitra' AND type = 'session.updated' AND user_id = $1",
        mitra,
    )
    assert '"call_name":"Melati"' in last
