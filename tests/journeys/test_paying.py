"""Test opening, confirming, leaving and expiring a payment through the services (sections 1 and 2a)."""

import itertools
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec
import pytest

from curhat.app import invariants
from curhat.configuration import service as configuration
from curhat.deadlines import loop as deadline_loop
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.journeys import availability, charging, paying
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.pairing.errors import NoMitraAvailable
from curhat.pairing.schemas import Payment
from curhat.payments.errors import (
    JourneyInProgress,
    PaymentClosed,
    PaymentConfirmed,
    PaymentConfirming,
    PaymentExpired,
)
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.service import Charge
from curhat.pricing.errors import TrialUsed
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, open_blast, reject, request_of, somebody
from tests.support.people import Make

TIMEOUT_MINUTES = 20


async def open_payment(
    database: Database, customer: UUID, offer: UUID, *, available: bool | None = True
) -> Payment:
    async with database.transaction() as tx:
        return await paying.open_payment(tx, customer, offer, availability.GateAnswer(available))


async def begin(
    database: Database, customer: UUID, payment_id: UUID, candidates: Sequence[UUID] | None = ()
) -> Charge | None:
    """Begin the confirmation. If the caller gives no `candidates`, one mitra is available."""
    if candidates == ():
        candidates = await somebody(database)
    async with database.transaction() as tx:
        return await paying.begin_confirmation(tx, customer, payment_id, candidates)


async def answer(database: Database, key: UUID, said: ChargeAnswer) -> str:
    async with database.transaction() as tx:
        outcome = await charging.charge_answered(tx, key, said, [])
    assert outcome is not None
    return outcome.step


async def fire_due(database: Database, presence: FakePresence | None = None) -> int:
    transitions = Transitions(database, presence or FakePresence(), MockGateway(database))  # type: ignore[arg-type]
    return await deadline_loop.run_once(database, transitions.by_kind())


async def status(database: Database, payment_id: UUID) -> str:
    found: str = await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id)
    return found


@pytest.mark.rule("1.7")
async def test_no_payment_is_opened_when_no_mitra_is_available(database: Database, make: Make) -> None:
    customer, offer = await make.customer(), await make.offer()
    with pytest.raises(NoMitraAvailable):
        await open_payment(database, customer, offer, available=False)
    assert await database.fetchval("SELECT count(*) FROM payments") == 0


@pytest.mark.rule("1.7", "2b.6")
async def test_a_customer_who_is_the_only_available_mitra_sees_no_mitra_as_available(make: Make) -> None:
    both = await make.customer()
    await make.mitra(person_id=both)
    assert await availability.others_available(FakePresence(both), both) is False  # type: ignore[arg-type]
    other = await make.mitra()
    assert await availability.others_available(FakePresence(both, other), both) is True  # type: ignore[arg-type]


@pytest.mark.rule("1.6", "X.10")
async def test_no_payment_is_opened_or_confirmed_or_charged_while_presence_is_unknown(
    database: Database, make: Make
) -> None:
    customer, offer = await make.customer(), await make.offer()
    with pytest.raises(PresenceUnknown):
        await open_payment(database, customer, offer, available=None)
    assert await database.fetchval("SELECT count(*) FROM payments") == 0

    payment = await open_payment(database, customer, offer)
    with pytest.raises(PresenceUnknown):
        await begin(database, customer, payment.id, None)
    assert await status(database, payment.id) == "pending"
    assert await database.fetchval("SELECT count(*) FROM charge_attempts") == 0


@pytest.mark.rule("2a.8")
async def test_opening_a_second_payment_is_refused_and_the_error_names_the_open_payment(
    database: Database, make: Make
) -> None:
    customer, offer = await make.customer(), await make.offer()
    payment = await open_payment(database, customer, offer)
    with pytest.raises(JourneyInProgress) as refusal:
        await open_payment(database, customer, offer)
    assert refusal.value.fields == {"payment_id": payment.id}


@pytest.mark.rule("2a.8")
async def test_opening_a_payment_during_a_session_is_refused_and_the_error_names_the_session(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    session = await accept(database, mitra, await request_of(database, pairing_id, mitra))
    with pytest.raises(JourneyInProgress) as refusal:
        await open_payment(database, customer, await make.offer())
    assert refusal.value.fields == {"session_id": session.id}


@pytest.mark.rule("2a.2", "2a.8")
async def test_a_payment_keeps_the_price_of_its_offer_when_the_offer_changes(
    database: Database, make: Make
) -> None:
    customer, offer = await make.customer(), await make.offer(duration_minutes=30, price_rp=20_000)
    payment = await open_payment(database, customer, offer)
    await make.offer(duration_minutes=30, price_rp=99_000)
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    assert (payment.amount_rp, charge.amount_rp) == (20_000, 20_000)


@pytest.mark.rule("2a.3", "2c.1", "X.3")
async def test_a_trial_is_confirmed_without_a_charge_at_the_gateway(database: Database, make: Make) -> None:
    """A trial is opened like any other payment."""
    customer, trial = await make.customer(), await make.offer(duration_minutes=5, price_rp=0)
    payment = await open_payment(database, customer, trial)
    assert (payment.status, payment.amount_rp, payment.pairing) == ("pending", 0, None)

    assert await begin(database, customer, payment.id) is None

    assert await status(database, payment.id) == "confirmed"
    assert await database.fetchval("SELECT count(*) FROM charge_attempts") == 0
    assert await database.fetchval("SELECT status FROM pairings") == "open"


@pytest.mark.rule("2a.3")
async def test_a_session_uses_up_the_trial_but_a_rejected_search_does_not(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    trial = await make.offer(duration_minutes=5, price_rp=0)

    async def search() -> UUID:
        payment = await open_payment(database, customer, trial)
        await begin(database, customer, payment.id, [mitra])
        pairing_id: UUID = await database.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", payment.id
        )
        return pairing_id

    await reject(database, mitra, await request_of(database, await search(), mitra))
    session = await accept(database, mitra, await request_of(database, await search(), mitra))
    await database.execute(
        "UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'customer_ended' WHERE id = $1",
        session.id,
    )
    with pytest.raises(TrialUsed):
        await open_payment(database, customer, trial)


@pytest.mark.rule("2a.3")
async def test_the_database_forbids_a_second_trial_session(database: Database, make: Make) -> None:
    customer, mitras = await make.customer(), await make.mitras(2)
    first = await open_blast(database, await make.confirmed_payment(customer, price_rp=0), mitras)
    await accept(database, mitras[0], await request_of(database, first, mitras[0]))
    await database.execute(
        "UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'time_up'"
    )
    second = await open_blast(database, await make.confirmed_payment(customer, price_rp=0), mitras)
    with pytest.raises(asyncpg.UniqueViolationError, match="sessions_one_trial"):
        await accept(database, mitras[1], await request_of(database, second, mitras[1]))


@pytest.mark.rule("2a.4")
async def test_an_abandoned_payment_keeps_its_row_and_the_customer_can_open_another_payment(
    database: Database, make: Make
) -> None:
    customer, offer = await make.customer(), await make.offer()
    payment = await open_payment(database, customer, offer)
    for _ in range(2):  # The second cancellation returns the same result.
        async with database.transaction() as tx:
            left = await paying.cancel_payment(tx, customer, payment.id)
        assert left.status == "abandoned"
    with pytest.raises(PaymentClosed):
        await begin(database, customer, payment.id)
    assert (await open_payment(database, customer, offer)).id != payment.id


@pytest.mark.rule("2a.4", "2a.5", "X.1")
@pytest.mark.invariant(5)
async def test_a_pending_payment_expires_on_time_and_is_logged_without_a_case(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    await clock.advance(TIMEOUT_MINUTES * 60 - 0.001)
    assert await fire_due(database) == 0
    await clock.advance(0.001)
    with pytest.raises(PaymentExpired):
        await begin(database, customer, payment.id)
    assert await fire_due(database) == 1
    assert await fire_due(database) == 0
    assert await status(database, payment.id) == "expired"
    event = await database.fetchrow("SELECT tag, case_id, pairing_id FROM failed_pairing_events")
    assert event is not None
    assert tuple(event) == ("payment_session_expired", None, None)
    assert await database.fetchval("SELECT count(*) FROM review_cases") == 0


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(5, 9)
async def test_a_payment_does_not_expire_during_a_confirmation_that_began_in_time(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    await clock.advance(TIMEOUT_MINUTES * 60 - 1)
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    await clock.advance(2)
    async with database.transaction() as tx:
        assert not await paying.expire_payments(tx, payment.id)
    async with database.transaction() as tx:
        with pytest.raises(PaymentConfirming):
            await paying.cancel_payment(tx, customer, payment.id)
    assert await answer(database, charge.key, ChargeAnswer("approved")) == "confirmed"
    async with database.transaction() as tx:
        with pytest.raises(PaymentConfirmed):
            await paying.cancel_payment(tx, customer, payment.id)


@pytest.mark.rule("2a.6")
async def test_a_payment_expires_when_the_gateway_declines_the_charge_after_the_time_to_pay_is_over(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    await clock.advance(TIMEOUT_MINUTES * 60)
    assert await answer(database, charge.key, ChargeAnswer("declined")) == "expired"
    assert await database.fetchval("SELECT tag FROM failed_pairing_events") == "payment_session_expired"


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(9)
async def test_a_charge_that_is_approved_after_its_payment_was_closed_is_refunded_once_and_audited(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    gateway = MockGateway(database)
    await gateway.charge(charge.key, payment.id, charge.amount_rp)
    assert await answer(database, charge.key, ChargeAnswer("declined")) == "declined"
    async with database.transaction() as tx:
        await paying.cancel_payment(tx, customer, payment.id)
    assert await answer(database, charge.key, ChargeAnswer("approved")) == "refunding"
    assert await answer(database, charge.key, ChargeAnswer("approved")) == "nothing"

    await fire_due(database)

    # The customer's open pages learn that money was taken, and that it is back.
    told = await database.fetch("SELECT data FROM stream_events WHERE type = 'payment.updated' ORDER BY seq")
    statuses = [msgspec.json.decode(event["data"])["status"] for event in told]
    assert statuses == ["pending", "confirming", "pending", *["abandoned"] * 3]
    assert await status(database, payment.id) == "abandoned"
    records = await gateway.recorded(payment.id)
    assert [refund.amount_rp for refund in records.refunds] == [charge.amount_rp]
    assert await database.fetchval("SELECT status FROM refunds") == "done"
    actions = await database.fetch("SELECT action FROM audit_entries ORDER BY id")
    assert [row["action"] for row in actions] == ["refund_requested:late_approval", "refund_done"]


@pytest.mark.rule("2a.7")
async def test_a_new_charge_attempt_must_wait_until_the_last_attempt_is_declined(
    database: Database, make: Make
) -> None:
    """Each charge attempt has its own key."""
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    first = await begin(database, customer, payment.id)
    assert first is not None
    assert await begin(database, customer, payment.id) is None
    assert await answer(database, first.key, ChargeAnswer("declined")) == "declined"
    second = await begin(database, customer, payment.id)
    assert second is not None
    assert second.key != first.key
    assert await answer(database, first.key, ChargeAnswer("approved")) == "refunding"
    assert await answer(database, second.key, ChargeAnswer("approved")) == "confirmed"
    assert await database.fetchval("SELECT count(*) FROM charge_attempts WHERE status = 'approved'") == 1


@pytest.mark.rule("2a.6", "2a.7")
@pytest.mark.invariant(2)
async def test_no_new_charge_attempt_begins_while_the_answer_to_the_last_attempt_is_unknown(
    database: Database, make: Make
) -> None:
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    assert await answer(database, charge.key, ChargeAnswer("processing")) == "nothing"
    assert await status(database, payment.id) == "confirming"
    assert await begin(database, customer, payment.id) is None
    assert await database.fetchval("SELECT count(*) FROM charge_attempts") == 1


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(5, 9)
async def test_a_payment_is_not_confirmed_when_the_charge_is_approved_after_the_time_to_pay_is_over(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """The time limit applies even if no worker has fired the payment's deadline yet."""
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    assert await answer(database, charge.key, ChargeAnswer("declined")) == "declined"
    await clock.advance(TIMEOUT_MINUTES * 60)
    assert await answer(database, charge.key, ChargeAnswer("approved")) == "refunding"
    await fire_due(database)
    assert await status(database, payment.id) == "expired"


@pytest.mark.rule("2a.6", "2a.7")
@pytest.mark.invariant(2, 9)
async def test_every_order_of_the_gateway_answers_leads_to_the_same_state(
    database: Database, make: Make
) -> None:
    said = [
        ChargeAnswer("approved"),
        ChargeAnswer("approved"),
        ChargeAnswer("declined"),
        ChargeAnswer("processing"),
        ChargeAnswer("not_found"),
    ]
    ends = set()
    for order in set(itertools.permutations(range(len(said)))):
        customer = await make.customer()
        payment = await open_payment(database, customer, await make.offer())
        charge = await begin(database, customer, payment.id)
        assert charge is not None
        for index in order:
            await answer(database, charge.key, said[index])
        row = await database.fetchrow(
            """
            SELECT status, (SELECT count(*) FROM pairings WHERE payment_id = payments.id),
                (SELECT count(*) FROM refunds WHERE payment_id = payments.id)
            FROM payments WHERE id = $1
            """,
            payment.id,
        )
        assert row is not None
        ends.add(tuple(row))
    assert ends == {("confirmed", 1, 0)}


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(9, 12)
async def test_a_query_to_the_gateway_under_the_key_of_the_charge_finds_a_lost_answer(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer, mitra = await make.customer(), await make.mitra()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id, [mitra])
    assert charge is not None
    gateway = MockGateway(database)
    await gateway.charge(
        charge.key, payment.id, charge.amount_rp
    )  # The process dies before it records the answer.

    await clock.advance(6)
    await fire_due(database, FakePresence(mitra))

    assert await status(database, payment.id) == "confirmed"
    assert len((await gateway.recorded(payment.id)).charges) == 1
    assert await database.fetchval("SELECT status FROM requests WHERE mitra_id = $1", mitra) == "offered"


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(9, 12)
async def test_a_charge_that_never_reached_the_gateway_counts_as_declined(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    assert await begin(database, customer, payment.id) is not None
    await clock.advance(6)
    await fire_due(database)
    assert await status(database, payment.id) == "pending"
    assert await begin(database, customer, payment.id) is not None


@pytest.mark.rule("2a.6")
@pytest.mark.invariant(2, 9)
async def test_a_charge_that_reached_the_gateway_hours_late_is_found_and_refunded(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer = await make.customer()
    payment = await open_payment(database, customer, await make.offer())
    charge = await begin(database, customer, payment.id)
    assert charge is not None
    await clock.advance(6)
    await fire_due(database)
    await clock.advance(TIMEOUT_MINUTES * 60)
    await fire_due(database)
    assert await status(database, payment.id) == "expired"

    gateway = MockGateway(database)
    await gateway.charge(charge.key, payment.id, charge.amount_rp)  # The answer is lost.
    for _ in range(20):
        await clock.advance(3_600)
        await fire_due(database)

    assert [refund.status for refund in (await gateway.recorded(payment.id)).refunds] == ["done"]
    assert await status(database, payment.id) == "expired"


@pytest.mark.rule("2c.1", "X.2")
@pytest.mark.invariant(3)
async def test_the_database_forbids_a_blast_without_a_confirmed_payment(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    payment = await open_payment(database, customer, await make.offer())
    with pytest.raises(asyncpg.CheckViolationError, match="needs a confirmed payment"):
        await open_blast(database, payment.id, [mitra])


@pytest.mark.rule("X.5")
async def test_a_configuration_change_applies_only_to_payments_that_are_opened_later(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    offer = await make.offer()
    before = await open_payment(database, await make.customer(), offer)
    async with database.transaction() as tx:
        await configuration.change(tx, key="payment_session_timeout_minutes", value=5, changed_by="somebody")
    after = await open_payment(database, await make.customer(), offer)
    assert (before.expires_at - before.created_at).total_seconds() == 20 * 60
    assert (after.expires_at - after.created_at).total_seconds() == 5 * 60


@pytest.mark.invariant(5)
async def test_a_deadline_whose_kind_the_worker_does_not_know_waits_for_a_newer_worker(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    async with database.transaction() as tx:
        await deadlines.arm(tx, "of_the_next_release", await make.person(), await clock.now())
    assert await fire_due(database) == 0
    assert await database.fetchval("SELECT attempts FROM deadlines WHERE parked_at IS NULL") == 0


@pytest.mark.rule("X.1")
@pytest.mark.invariant(4)
async def test_a_deadline_that_fails_repeatedly_is_parked_and_other_deadlines_still_fire(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment = await open_payment(database, await make.customer(), await make.offer())
    async with database.transaction() as tx:
        await deadlines.arm(tx, "has_a_bug", payment.id, await clock.now())

    async def fail(_tx: Transaction, _deadline: Deadline) -> None:
        raise ZeroDivisionError

    for _ in range(deadlines.MAX_ATTEMPTS):
        await deadline_loop.run_once(database, {"has_a_bug": fail})
        await clock.advance(31)
    assert await database.fetchval("SELECT count(*) FROM deadlines WHERE parked_at IS NOT NULL") == 1
    await clock.advance(TIMEOUT_MINUTES * 60)
    await fire_due(database)
    assert await status(database, payment.id) == "expired"
    found = [violation.invariant.name for violation in await invariants.check(database)]
    assert found == ["no_deadline_parked"]
