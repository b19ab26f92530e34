"""Test each pair of concurrent steps of a targeted pairing and its fallback in both orders (sections 3 and 4)."""

from uuid import UUID

import msgspec
import pytest

from curhat.journeys import charging, paying, searching
from curhat.kit.database import Database
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.pricing.schemas import Offer
from curhat.sessions import service as sessions
from tests.support.chats import open_chat
from tests.support.clock import VirtualClock
from tests.support.journey import open_blast, reject, request_of
from tests.support.people import Make
from tests.support.race import Side, Worker, advance_before_commit, command, race, run_concurrently
from tests.support.toggle import set_toggle

WINDOW_SECONDS = 20
ANSWER_SECONDS = 20 * 60


class Scenario(msgspec.Struct, frozen=True):
    """A customer who wants the mitra of a past chat again.

    The field `other` is another mitra who can take a customer.
    """

    database: Database
    make: Make
    clock: VirtualClock
    customer: UUID
    mitra: UUID
    other: UUID

    async def ask(self) -> tuple[UUID, UUID]:
        """Open the targeted pairing. Returns the ids of the pairing and of its request."""
        payment_id = await self.make.confirmed_payment(self.customer, target_mitra_id=self.mitra)
        async with self.database.transaction() as tx:
            target = pairing.Target(self.mitra, reachable=True, other_available=True)
            pairing_id = await pairing.open_targeted(tx, payment_id, WINDOW_SECONDS, target)
        return pairing_id, await request_of(self.database, pairing_id, self.mitra)

    async def failed(self) -> UUID:
        """Open a targeted pairing, and let the mitra reject the request.

        Returns the id of the failed pairing. The fallback of this pairing is open.
        """
        pairing_id, request_id = await self.ask()
        await reject(self.database, self.mitra, request_id)
        return pairing_id

    # Sides

    def accepts(self, request_id: UUID, mitra_id: UUID | None = None) -> Side:
        return command(self.database, lambda tx: searching.accept(tx, mitra_id or self.mitra, request_id))

    def rejects(self, request_id: UUID, *, held_at: str | None = None) -> Side:
        return command(
            self.database,
            lambda tx: pairing.reject(tx, request_id, self.mitra, [self.other]),
            held_at=held_at,
        )

    def cancels(self, pairing_id: UUID) -> Side:
        return command(self.database, lambda tx: searching.cancel_search(tx, self.customer, pairing_id))

    def goes_offline(self) -> Side:
        return command(self.database, lambda tx: set_toggle(tx, self.mitra, online=False))

    def takes_the_fallback(self, pairing_id: UUID) -> Side:
        return command(
            self.database,
            lambda tx: searching.take_fallback(tx, self.customer, pairing_id, [self.mitra, self.other]),
        )

    def declines(self, pairing_id: UUID) -> Side:
        return command(self.database, lambda tx: pairing.decline_fallback(tx, pairing_id, self.customer))

    def worker(self) -> Worker:
        return Worker(self.database, self.other)

    # Outcomes

    async def pairings(self) -> list[tuple[str, str | None]]:
        """Return the pairings of the customer's last payment in order.

        Each pairing has its kind, and its failure tag or its status.
        """
        rows = await self.database.fetch(
            """
            SELECT kind, coalesce(failure_tag, status) AS outcome FROM pairings
            WHERE payment_id = (SELECT id FROM payments WHERE customer_id = $1 ORDER BY id DESC LIMIT 1)
            ORDER BY id
            """,
            self.customer,
        )
        return [(row["kind"], row["outcome"]) for row in rows]

    async def failures(self) -> list[tuple[str, bool, bool]]:
        """Return the failure events in order, each with its tag, `recovered`, and whether the event names a case."""
        rows = await self.database.fetch("SELECT * FROM failed_pairing_events ORDER BY id")
        return [(row["tag"], row["recovered"], row["case_id"] is not None) for row in rows]

    async def count(self, of: str) -> int:
        counted: int = await self.database.fetchval(f"SELECT count(*) FROM {of}")
        return counted


RUNNING = "sessions WHERE status = 'active'"
OPEN_BLASTS = "pairings WHERE kind = 'blast' AND status = 'open'"


@pytest.fixture
async def scenario(database: Database, clock: VirtualClock, make: Make) -> Scenario:
    """A scenario with a stopped clock and with a mitra who takes one customer."""
    await clock.set()
    chat = await open_chat(database, make, mitra_id=await make.mitra(max_customers=1))
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return Scenario(
        database, make, clock, chat.customer.user_id, chat.mitra.user_id, await make.mitra("Kak Budi")
    )


# Time limit ----------------------------------------------------------------------------------------------


@pytest.mark.rule("4.3", "2b.7")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("answer", ["accepts", "rejects", "cancels"])
async def test_an_answer_that_waits_for_a_lock_until_the_window_is_over_is_refused(
    scenario: Scenario, answer: str
) -> None:
    pairing_id, request_id = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS - 0.001)
    lock_holder = command(
        scenario.database,
        lambda tx: tx.execute("SELECT 1 FROM pairings WHERE id = $1 FOR NO KEY UPDATE", pairing_id),
    )
    answers = {
        "accepts": scenario.accepts(request_id),
        "rejects": scenario.rejects(request_id),
        "cancels": scenario.cancels(pairing_id),
    }
    assert await race(
        scenario.database, lock_holder, answers[answer], meanwhile=lambda: scenario.clock.advance(0.001)
    ) == ("done", "pairing_decided" if answer == "cancels" else "request_closed")
    assert await scenario.pairings() == [("targeted", "open")]


@pytest.mark.rule("4.3", "2b.5", "2b.7")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_accept_and_timeout_has_one_outcome(
    scenario: Scenario, worker_first: bool
) -> None:
    _, request_id = await scenario.ask()
    accepts, times_out = scenario.accepts(request_id), scenario.worker().fires(pairing.TARGETED_WINDOW)
    if worker_first:
        await scenario.clock.advance(WINDOW_SECONDS)
        assert await race(scenario.database, times_out, accepts) == ("fired", "request_closed")
        assert await scenario.pairings() == [("targeted", "targeted_mitra_timeout")]
        assert await scenario.count(RUNNING) == 0
    else:
        await scenario.clock.advance(WINDOW_SECONDS - 0.001)
        in_time = advance_before_commit(scenario.clock, 0.002, accepts)
        assert await race(scenario.database, in_time, times_out) == ("done", "fired")
        assert await scenario.pairings() == [("targeted", "matched")]
        assert await scenario.failures() == []


@pytest.mark.rule("3.5", "4.3")
@pytest.mark.invariant(4, 5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_rejection_and_timeout_has_one_outcome(
    scenario: Scenario, worker_first: bool
) -> None:
    _, request_id = await scenario.ask()
    rejects, times_out = scenario.rejects(request_id), scenario.worker().fires(pairing.TARGETED_WINDOW)
    if worker_first:
        await scenario.clock.advance(WINDOW_SECONDS)
        assert await race(scenario.database, times_out, rejects) == ("fired", "request_closed")
        tag = "targeted_mitra_timeout"
    else:
        await scenario.clock.advance(WINDOW_SECONDS - 0.001)
        # The mitra's rejection pauses before it disarms the deadline. The worker claims the deadline, and then waits
        # for the rejection.
        in_time = advance_before_commit(
            scenario.clock, 0.002, scenario.rejects(request_id, held_at="reject.before_tally")
        )
        assert await race(scenario.database, in_time, times_out) == ("done", "fired")
        tag = "targeted_mitra_rejected"
    assert await scenario.pairings() == [("targeted", tag)]
    assert await scenario.failures() == [(tag, False, False)]


@pytest.mark.rule("4.2", "2b.5", "2b.9")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_targeted_accept_and_cancellation_has_one_outcome(
    scenario: Scenario, accept_first: bool
) -> None:
    pairing_id, request_id = await scenario.ask()
    accepts, cancels = scenario.accepts(request_id), scenario.cancels(pairing_id)
    if accept_first:
        assert await race(scenario.database, accepts, cancels) == ("done", "pairing_decided")
        assert (await scenario.pairings(), await scenario.failures()) == ([("targeted", "matched")], [])
    else:
        assert await race(scenario.database, cancels, accepts) == ("done", "request_closed")
        assert await scenario.failures() == [("customer_cancelled", False, True)]
        assert await scenario.count(RUNNING) == 0


@pytest.mark.rule("4.2", "3.5", "2b.9")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("reject_first", [True, False])
async def test_a_race_between_rejection_and_cancellation_has_one_outcome(
    scenario: Scenario, reject_first: bool
) -> None:
    pairing_id, request_id = await scenario.ask()
    rejects, cancels = scenario.rejects(request_id), scenario.cancels(pairing_id)
    if reject_first:
        assert await race(scenario.database, rejects, cancels) == ("done", "pairing_decided")
        assert await scenario.failures() == [("targeted_mitra_rejected", False, False)]
    else:
        assert await race(scenario.database, cancels, rejects) == ("done", "request_closed")
        assert await scenario.failures() == [("customer_cancelled", False, True)]


# Unavailable mitras --------------------------------------------------------------------------------------


@pytest.mark.rule("4.4", "4.3")
@pytest.mark.invariant(4, 5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_going_offline_and_timeout_fails_the_pairing_once(
    scenario: Scenario, worker_first: bool
) -> None:
    await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS)
    worker = scenario.worker()
    goes, times_out = scenario.goes_offline(), worker.fires(pairing.TARGETED_WINDOW)
    sides = (times_out, goes) if worker_first else (goes, times_out)
    assert set(await race(scenario.database, *sides)) == {"done", "fired"}
    await run_concurrently(worker.fires(pairing.TARGETED_LOST))
    # The time limit of the targeted pairing was over before the mitra went offline.
    assert await scenario.failures() == [("targeted_mitra_timeout", False, False)]
    assert await scenario.count("deadlines WHERE kind IN ('targeted_window', 'targeted_lost')") == 0


@pytest.mark.rule("4.4")
@pytest.mark.invariant(4, 6)
async def test_two_workers_that_fire_two_deadlines_of_a_pairing_fail_the_pairing_once(
    scenario: Scenario,
) -> None:
    """One worker fires the timeout. The second worker fires the deadline that was armed when the mitra went offline."""
    await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS)
    await run_concurrently(scenario.goes_offline())
    lost, window = (
        scenario.worker().fires(kind) for kind in (pairing.TARGETED_LOST, pairing.TARGETED_WINDOW)
    )
    assert await race(scenario.database, window, lost) == ("fired", "fired")
    assert await scenario.failures() == [("targeted_mitra_offline", False, False)]


@pytest.mark.rule("4.4", "2b.7", "2b.8")
@pytest.mark.invariant(6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_going_offline_and_accept_has_one_outcome(
    scenario: Scenario, accept_first: bool
) -> None:
    _, request_id = await scenario.ask()
    accepts, goes = scenario.accepts(request_id), scenario.goes_offline()
    if accept_first:
        assert await race(scenario.database, accepts, goes) == ("done", "done")
        outcome = [("targeted", "matched")]
    else:
        assert await race(scenario.database, goes, accepts) == ("done", "request_closed")
        outcome = [("targeted", "targeted_mitra_offline")]
    await run_concurrently(scenario.worker().fires(pairing.TARGETED_LOST))
    assert await scenario.pairings() == outcome


@pytest.mark.rule("4.4", "3.5")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("reject_first", [True, False])
async def test_a_race_between_going_offline_and_rejection_has_one_outcome(
    scenario: Scenario, reject_first: bool
) -> None:
    _, request_id = await scenario.ask()
    rejects, goes = scenario.rejects(request_id), scenario.goes_offline()
    if reject_first:
        assert await race(scenario.database, rejects, goes) == ("done", "done")
        tag = "targeted_mitra_rejected"
    else:
        assert await race(scenario.database, goes, rejects) == ("done", "request_closed")
        tag = "targeted_mitra_offline"
    await run_concurrently(scenario.worker().fires(pairing.TARGETED_LOST))
    assert await scenario.failures() == [(tag, False, False)]


@pytest.mark.rule("4.4")
@pytest.mark.invariant(6)
@pytest.mark.parametrize("asked_first", [True, False])
@pytest.mark.parametrize("departure", ["offline", "full"])
async def test_the_pairing_fails_when_its_mitra_becomes_unavailable_during_the_creation_of_the_request(
    scenario: Scenario, asked_first: bool, departure: str
) -> None:
    charge = await _begin_confirmation(scenario)
    blast_id = await open_blast(
        scenario.database,
        await scenario.make.confirmed_payment(await scenario.make.customer()),
        [scenario.mitra],
    )
    fills_up = scenario.accepts(await request_of(scenario.database, blast_id, scenario.mitra))
    goes = scenario.goes_offline() if departure == "offline" else fills_up
    is_asked = command(
        scenario.database,
        lambda tx: charging.charge_answered(
            tx, charge, ChargeAnswer("approved"), [scenario.mitra, scenario.other]
        ),
    )
    sides = (is_asked, goes) if asked_first else (goes, is_asked)
    assert await race(scenario.database, *sides) == ("done", "done")
    # In both orders, the pairing fails before the time limit is over.
    await run_concurrently(scenario.worker().fires(pairing.TARGETED_LOST))
    assert await scenario.pairings() == [("targeted", "targeted_mitra_offline")]


async def _begin_confirmation(scenario: Scenario) -> UUID:
    """Open a payment for the mitra and begin its charge. Returns the charge's key."""
    offer_id = await scenario.make.offer()
    offer = Offer(offer_id, duration_minutes=30, price_rp=20_000, is_trial=False)
    async with scenario.database.transaction() as tx:
        payment_id = await payments.open_payment(tx, scenario.customer, offer, 20, scenario.mitra)
        charge = await paying.begin_confirmation(tx, scenario.customer, payment_id, [scenario.mitra])
    assert charge is not None
    return charge.key


@pytest.mark.rule("4.4", "2b.7")
@pytest.mark.invariant(6, 8)
@pytest.mark.parametrize("targeted_first", [True, False])
async def test_a_race_between_accepting_another_customer_and_the_targeted_accept_has_one_outcome(
    scenario: Scenario, targeted_first: bool
) -> None:
    _, targeted = await scenario.ask()
    payment_id = await scenario.make.confirmed_payment(await scenario.make.customer())
    blast_id = await open_blast(scenario.database, payment_id, [scenario.mitra])
    blast = await request_of(scenario.database, blast_id, scenario.mitra)
    first, second = (targeted, blast) if targeted_first else (blast, targeted)
    # The first accept fills the mitra's capacity and so closes the other request.
    assert await race(scenario.database, scenario.accepts(first), scenario.accepts(second)) == (
        "done",
        "request_closed",
    )
    assert await scenario.count(RUNNING) == 1
    await run_concurrently(scenario.worker().fires(pairing.TARGETED_LOST))
    outcome = "matched" if targeted_first else "targeted_mitra_offline"
    assert await scenario.pairings() == [("targeted", outcome)]


@pytest.mark.rule("4.4", "3.5")
@pytest.mark.invariant(4, 6, 8)
@pytest.mark.parametrize("answer", ["rejects", "times out", "customer cancels"])
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_filling_the_capacity_and_another_step_that_ends_the_window_has_one_outcome(
    scenario: Scenario, accept_first: bool, answer: str
) -> None:
    pairing_id, request_id = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS if answer == "times out" else 1)
    payment_id = await scenario.make.confirmed_payment(await scenario.make.customer())
    blast_id = await open_blast(scenario.database, payment_id, [scenario.mitra])
    fills_up = scenario.accepts(await request_of(scenario.database, blast_id, scenario.mitra))
    other: Side = {
        "rejects": scenario.rejects(request_id),
        "times out": scenario.worker().fires(pairing.TARGETED_WINDOW),
        "customer cancels": scenario.cancels(pairing_id),
    }[answer]
    sides = (fills_up, other) if accept_first else (other, fills_up)
    outcomes = await race(scenario.database, *sides)
    assert "request_closed" not in outcomes or (accept_first and answer == "rejects")
    await run_concurrently(scenario.worker().fires(pairing.TARGETED_LOST))
    [(tag, recovered, _)] = await scenario.failures()
    assert not recovered
    expected = {
        "rejects": "targeted_mitra_offline" if accept_first else "targeted_mitra_rejected",
        "times out": "targeted_mitra_timeout",
        "customer cancels": "customer_cancelled",
    }[answer]
    assert tag == expected
    assert await scenario.count(RUNNING) == 1


# The fallback --------------------------------------------------------------------------------------------


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(2, 4, 6)
@pytest.mark.parametrize("taken_first", [True, False])
async def test_a_race_between_taking_and_declining_the_fallback_has_one_outcome(
    scenario: Scenario, taken_first: bool
) -> None:
    failed_id = await scenario.failed()
    takes, declines = scenario.takes_the_fallback(failed_id), scenario.declines(failed_id)
    sides = (takes, declines) if taken_first else (declines, takes)
    assert await race(scenario.database, *sides) == ("done", "fallback_decided")
    assert await scenario.count(OPEN_BLASTS) == (1 if taken_first else 0)
    assert await scenario.count("review_cases") == (0 if taken_first else 1)


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(2, 4, 5, 6)
@pytest.mark.parametrize("step", ["takes", "declines"])
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_an_answer_to_the_fallback_and_its_timeout_has_one_outcome(
    scenario: Scenario, worker_first: bool, step: str
) -> None:
    failed_id = await scenario.failed()
    answers = scenario.takes_the_fallback(failed_id) if step == "takes" else scenario.declines(failed_id)
    times_out = scenario.worker().fires(pairing.FALLBACK_ANSWER)
    if worker_first:
        await scenario.clock.advance(ANSWER_SECONDS)
        assert await race(scenario.database, times_out, answers) == ("fired", "fallback_decided")
        assert await scenario.failures() == [
            ("targeted_mitra_rejected", False, True),
            ("payment_session_expired", False, True),
        ]
        return
    await scenario.clock.advance(ANSWER_SECONDS - 0.001)

    # The transaction of the customer's answer has deleted the deadline, so this transaction holds the row's lock. The
    # worker skips the locked deadline and does not wait.
    outcomes = await race(
        scenario.database, advance_before_commit(scenario.clock, 0.002, answers), times_out, waits=False
    )
    assert outcomes == ("done", "nothing")
    assert await scenario.failures() == [("targeted_mitra_rejected", False, step == "declines")]
    assert await scenario.count(OPEN_BLASTS) == (1 if step == "takes" else 0)


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(5, 6)
async def test_a_fallback_is_not_taken_if_the_answer_waits_for_a_lock_until_after_the_deadline(
    scenario: Scenario,
) -> None:
    failed_id = await scenario.failed()
    await scenario.clock.advance(ANSWER_SECONDS - 0.001)
    lock_holder = command(
        scenario.database,
        lambda tx: tx.execute("SELECT 1 FROM pairings WHERE id = $1 FOR NO KEY UPDATE", failed_id),
    )
    assert await race(
        scenario.database,
        lock_holder,
        scenario.takes_the_fallback(failed_id),
        meanwhile=lambda: scenario.clock.advance(0.001),
    ) == ("done", "fallback_decided")
    assert await scenario.count(OPEN_BLASTS) == 0


@pytest.mark.rule("3.5")
@pytest.mark.invariant(2, 3, 6)
async def test_two_phones_that_take_the_fallback_concurrently_open_one_blast(scenario: Scenario) -> None:
    failed_id = await scenario.failed()
    takes = scenario.takes_the_fallback(failed_id)
    assert await race(scenario.database, takes, takes) == ("done", "fallback_decided")
    outcomes = await run_concurrently(*(takes for _ in range(10)))
    assert set(outcomes) == {"fallback_decided"}
    assert await scenario.count(OPEN_BLASTS) == 1
    assert await scenario.count("requests WHERE status = 'offered'") == 1


@pytest.mark.rule("3.5", "4.2")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("taken_first", [True, False])
async def test_cancelling_a_failed_pairing_is_refused_and_does_not_stop_the_fallback(
    scenario: Scenario, taken_first: bool
) -> None:
    failed_id = await scenario.failed()
    takes, cancels = scenario.takes_the_fallback(failed_id), scenario.cancels(failed_id)
    if taken_first:
        assert await race(scenario.database, takes, cancels) == ("done", "pairing_decided")
    else:
        # The refused cancellation holds the lock of the pairing until the cancellation's transaction is rolled back.
        assert await run_concurrently(cancels, takes) == ["pairing_decided", "done"]
    assert await scenario.count("review_cases") == 0
    assert await scenario.count(OPEN_BLASTS) == 1


@pytest.mark.rule("3.5", "3.8", "2b.9")
@pytest.mark.invariant(1, 2, 4, 6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_accepting_and_cancelling_the_fallback_has_one_outcome(
    scenario: Scenario, accept_first: bool
) -> None:
    failed_id = await scenario.failed()
    await run_concurrently(scenario.takes_the_fallback(failed_id))
    blast_id = await scenario.database.fetchval(
        "SELECT id FROM pairings WHERE kind = 'blast' AND status = 'open'"
    )
    accepts = scenario.accepts(await request_of(scenario.database, blast_id, scenario.other), scenario.other)
    cancels = scenario.cancels(blast_id)
    if accept_first:
        assert await race(scenario.database, accepts, cancels) == ("done", "pairing_decided")
        assert await scenario.failures() == [("targeted_mitra_rejected", True, False)]
    else:
        assert await race(scenario.database, cancels, accepts) == ("done", "request_closed")
        assert await scenario.failures() == [
            ("targeted_mitra_rejected", False, True),
            ("customer_cancelled", False, True),
        ]
    assert await scenario.count("charge_attempts JOIN payments ON payments.id = payment_id"
        " WHERE target_mitra_id IS NOT NULL AND charge_attempts.status = 'approved'") == 1  # fmt: skip
