"""Test that the worker gives up a charge in time if the gateway says "processing" or does not answer (2a.10)."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from curhat.app import invariants
from curhat.deadlines import loop as deadline_loop
from curhat.journeys import availability, charging, paying
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.pairing.schemas import Payment
from curhat.payments.errors import JourneyInProgress
from curhat.payments.gateway import ChargeAnswer, GatewayUnknown
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.service import Charge
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.people import Make

TIME_TO_PAY_SECONDS = 20 * 60
PATIENCE_SECONDS = 10 * 60


class SilentGateway(MockGateway):
    """A gateway that carries out charges but answers no query."""

    async def find_charge(self, key: UUID) -> ChargeAnswer:
        raise GatewayUnknown


Gateway = Callable[[Database, UUID], Awaitable[MockGateway]]


async def _processing(database: Database, payment_id: UUID) -> MockGateway:
    gateway = MockGateway(database)
    await gateway.set_behaviour("processing", payment_id)
    return gateway


async def _silent(database: Database, _payment_id: UUID) -> MockGateway:
    return SilentGateway(database)


async def _begin(database: Database, make: Make) -> tuple[Payment, Charge, UUID]:
    customer, mitra, offer = await make.customer(), await make.mitra(), await make.offer()
    async with database.transaction() as tx:
        payment = await paying.open_payment(tx, customer, offer, availability.GateAnswer(available=True))
    async with database.transaction() as tx:
        charge = await paying.begin_confirmation(tx, customer, payment.id, [mitra])
    assert charge is not None
    return payment, charge, customer


async def _fire_due(database: Database, gateway: MockGateway) -> None:
    transitions = Transitions(database, FakePresence(), gateway).by_kind()  # type: ignore[arg-type]
    while await deadline_loop.run_once(database, transitions):
        pass


async def _wait(database: Database, clock: VirtualClock, gateway: MockGateway, seconds: float) -> None:
    """Let the worker fire each deadline of the next `seconds` at the deadline's due time."""
    until = await clock.now() + timedelta(seconds=seconds)
    while True:
        due = await database.fetchval(
            "SELECT due_at FROM deadlines WHERE due_at <= $1 ORDER BY due_at LIMIT 1", until
        )
        if due is None:
            break
        await clock.set(max(due, await clock.now()))
        await _fire_due(database, gateway)
    await clock.set(until)


async def _status(database: Database, payment_id: UUID) -> str:
    found: str = await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id)
    return found


@pytest.mark.rule("2a.10")
@pytest.mark.invariant(5, 15)
@pytest.mark.parametrize("trouble", [_processing, _silent])
async def test_a_payment_whose_charge_gets_no_answer_expires_ten_minutes_after_the_time_to_pay_is_over(
    database: Database, clock: VirtualClock, make: Make, trouble: Gateway
) -> None:
    await clock.set()
    payment, charge, customer = await _begin(database, make)
    gateway = await trouble(database, payment.id)
    if trouble is _processing:
        await gateway.charge(charge.key, payment.id, charge.amount_rp)

    await _wait(database, clock, gateway, TIME_TO_PAY_SECONDS + PATIENCE_SECONDS - 0.001)
    assert await _status(database, payment.id) == "confirming"
    async with database.transaction() as tx:
        with pytest.raises(JourneyInProgress):
            await paying.open_payment(tx, customer, payment.offer.id, availability.GateAnswer(True))

    await _wait(database, clock, gateway, 0.001)
    assert await _status(database, payment.id) == "expired"
    event = await database.fetchrow("SELECT tag, case_id FROM failed_pairing_events")
    assert event is not None
    assert tuple(event) == ("payment_session_expired", None)
    shown = await database.fetchval(
        "SELECT data::json ->> 'status' FROM stream_events ORDER BY seq DESC LIMIT 1"
    )
    assert shown == "expired"
    assert await database.fetchval("SELECT count(*) FROM unanswered_calls") == 1
    async with database.transaction() as tx:
        await paying.open_payment(tx, customer, payment.offer.id, availability.GateAnswer(available=True))
    assert [each.invariant.name for each in await invariants.check(database)] == []


@pytest.mark.rule("2a.10")
@pytest.mark.invariant(9, 15)
async def test_a_charge_that_is_approved_after_its_time_limit_is_refunded(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment, charge, _ = await _begin(database, make)
    gateway = await _processing(database, payment.id)
    await gateway.charge(charge.key, payment.id, charge.amount_rp)
    await _wait(database, clock, gateway, TIME_TO_PAY_SECONDS + PATIENCE_SECONDS)
    await _wait(database, clock, gateway, 3 * 24 * 3600)  # The worker goes on asking, without end.
    assert await database.fetchval("SELECT count(*) FROM refunds") == 0

    await gateway.set_behaviour("approve", payment.id)
    await _wait(database, clock, gateway, 3600)
    assert await _status(database, payment.id) == "expired"
    assert [refund.status for refund in (await gateway.recorded(payment.id)).refunds] == ["done"]
    assert await database.fetchval("SELECT count(*) FROM failed_pairing_events") == 1
    assert await database.fetchval("SELECT count(*) FROM unanswered_calls") == 0


@pytest.mark.rule("2a.10")
@pytest.mark.invariant(5)
async def test_an_approval_after_the_time_limit_of_the_charge_confirms_nothing_even_if_the_worker_is_late(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment, charge, _ = await _begin(database, make)
    await clock.advance(TIME_TO_PAY_SECONDS + PATIENCE_SECONDS)
    async with database.transaction() as tx:
        outcome = await charging.charge_answered(tx, charge.key, ChargeAnswer("approved"), [])
    assert outcome is not None
    assert outcome.step == "given_up"
    assert await _status(database, payment.id) == "expired"
    assert await database.fetchval("SELECT reason FROM refunds") == "late_approval"
    assert await database.fetchval("SELECT tag FROM failed_pairing_events") == "payment_session_expired"
    assert [each.invariant.name for each in await invariants.check(database)] == []


@pytest.mark.rule("2a.6", "2a.10")
async def test_a_charge_that_is_approved_just_before_its_time_limit_confirms_the_payment(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment, charge, _ = await _begin(database, make)
    await clock.advance(TIME_TO_PAY_SECONDS + PATIENCE_SECONDS - 0.001)
    async with database.transaction() as tx:
        await charging.charge_answered(tx, charge.key, ChargeAnswer("approved"), [])
    assert await _status(database, payment.id) == "confirmed"
