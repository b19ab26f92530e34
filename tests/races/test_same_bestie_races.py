"""Races of targeted pairings and their fallback (sections 3 and 4): every pair of steps that may meet, in both
orders.
"""

from uuid import UUID

import msgspec
import pytest

from curhat.journeys import charging, paying, searching
from curhat.kit.database import Database
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.sessions import service as sessions
from tests.support.chats import open_chat
from tests.support.clock import VirtualClock
from tests.support.journey import open_blast, reject, request_of
from tests.support.meeting import Side, Worker, all_at_once, command, meet, past
from tests.support.people import Make
from tests.support.toggle import set_toggle

WINDOW_SECONDS = 20
ANSWER_SECONDS = 20 * 60


class Scene(msgspec.Struct, frozen=True):
    """A customer who wants the mitra of a past chat again. `other` is another mitra who can take a customer."""

    database: Database
    make: Make
    clock: VirtualClock
    customer: UUID
    mitra: UUID
    other: UUID

    async def ask(self) -> tuple[UUID, UUID]:
        """Open the targeted pairing. Returns it and its request."""
        payment_id = await self.make.confirmed_payment(self.customer, target_mitra_id=self.mitra)
        async with self.database.transaction() as tx:
            target = pairing.Target(self.mitra, reachable=True, other_available=True)
            pairing_id = await pairing.open_targeted(tx, payment_id, WINDOW_SECONDS, target)
        return pairing_id, await request_of(self.database, pairing_id, self.mitra)

    async def failed(self) -> UUID:
        """Open a targeted pairing, which its mitra then rejects. Returns the pairing. The customer may take its
        fallback.
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
            lambda tx: searching.reject(tx, self.mitra, request_id, [self.other]),
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

    async def story(self) -> list[tuple[str, str | None]]:
        """The pairings of the customer's last payment, in order: kind and status, or kind and tag."""
        rows = await self.database.fetch(
            """
            SELECT kind, coalesce(failure_tag, status) AS outcome FROM pairings
            WHERE payment_id = (SELECT id FROM payments WHERE customer_id = $1 ORDER BY id DESC LIMIT 1)
            ORDER BY id
            """,
            self.customer,
        )
        return [(row["kind"], row["outcome"]) for row in rows]

    async def log(self) -> list[tuple[str, bool, bool]]:
        """The failures in order: the tag, whether it recovered, and whether it refers to a case."""
        rows = await self.database.fetch("SELECT * FROM failed_pairing_events ORDER BY id")
        return [(row["tag"], row["recovered"], row["case_id"] is not None) for row in rows]

    async def count(self, of: str) -> int:
        counted: int = await self.database.fetchval(f"SELECT count(*) FROM {of}")
        return counted


RUNNING = "sessions WHERE status = 'active'"
OPEN_BLASTS = "pairings WHERE kind = 'blast' AND status = 'open'"


@pytest.fixture
async def scene(database: Database, clock: VirtualClock, make: Make) -> Scene:
    """The clock stands still, and the mitra takes one customer."""
    await clock.set()
    chat = await open_chat(database, make, mitra_id=await make.mitra(max_customers=1))
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return Scene(
        database, make, clock, chat.customer.user_id, chat.mitra.user_id, await make.mitra("Kak Budi")
    )


# The window ----------------------------------------------------------------------------------------------


@pytest.mark.rule("4.3", "2b.7")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("answer", ["accepts", "rejects", "cancels"])
async def test_an_answer_in_time_does_not_count_after_waiting_for_a_lock_past_the_window(
    scene: Scene, answer: str
) -> None:
    pairing_id, request_id = await scene.ask()
    await scene.clock.advance(WINDOW_SECONDS - 0.001)
    somebody = command(
        scene.database,
        lambda tx: tx.execute("SELECT 1 FROM pairings WHERE id = $1 FOR NO KEY UPDATE", pairing_id),
    )
    answers = {
        "accepts": scene.accepts(request_id),
        "rejects": scene.rejects(request_id),
        "cancels": scene.cancels(pairing_id),
    }
    assert await meet(
        scene.database, somebody, answers[answer], meanwhile=lambda: scene.clock.advance(0.001)
    ) == ("done", "pairing_decided" if answer == "cancels" else "request_closed")
    assert await scene.story() == [("targeted", "open")]


@pytest.mark.rule("4.3", "2b.5", "2b.7")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_accept_and_timeout_has_one_outcome(scene: Scene, worker_first: bool) -> None:
    _, request_id = await scene.ask()
    accepts, times_out = scene.accepts(request_id), scene.worker().fires(pairing.TARGETED_WINDOW)
    if worker_first:
        await scene.clock.advance(WINDOW_SECONDS)
        assert await meet(scene.database, times_out, accepts) == ("fired", "request_closed")
        assert await scene.story() == [("targeted", "targeted_mitra_timeout")]
        assert await scene.count(RUNNING) == 0
    else:
        await scene.clock.advance(WINDOW_SECONDS - 0.001)
        in_time = past(scene.clock, 0.002, accepts)
        assert await meet(scene.database, in_time, times_out) == ("done", "fired")
        assert await scene.story() == [("targeted", "matched")]
        assert await scene.log() == []


@pytest.mark.rule("3.5", "4.3")
@pytest.mark.invariant(4, 5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_rejection_and_timeout_has_one_outcome(scene: Scene, worker_first: bool) -> None:
    _, request_id = await scene.ask()
    rejects, times_out = scene.rejects(request_id), scene.worker().fires(pairing.TARGETED_WINDOW)
    if worker_first:
        await scene.clock.advance(WINDOW_SECONDS)
        assert await meet(scene.database, times_out, rejects) == ("fired", "request_closed")
        tag = "targeted_mitra_timeout"
    else:
        await scene.clock.advance(WINDOW_SECONDS - 0.001)
        # The reject is held before it disarms the deadline. The worker claims the deadline, and waits for the reject.
        in_time = past(scene.clock, 0.002, scene.rejects(request_id, held_at="reject.before_tally"))
        assert await meet(scene.database, in_time, times_out) == ("done", "fired")
        tag = "targeted_mitra_rejected"
    assert await scene.story() == [("targeted", tag)]
    assert await scene.log() == [(tag, False, False)]


@pytest.mark.rule("4.2", "2b.5", "2b.9")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_targeted_accept_and_cancellation_has_one_outcome(
    scene: Scene, accept_first: bool
) -> None:
    pairing_id, request_id = await scene.ask()
    accepts, cancels = scene.accepts(request_id), scene.cancels(pairing_id)
    if accept_first:
        assert await meet(scene.database, accepts, cancels) == ("done", "pairing_decided")
        assert (await scene.story(), await scene.log()) == ([("targeted", "matched")], [])
    else:
        assert await meet(scene.database, cancels, accepts) == ("done", "request_closed")
        assert await scene.log() == [("customer_cancelled", False, True)]
        assert await scene.count(RUNNING) == 0


@pytest.mark.rule("4.2", "3.5", "2b.9")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("reject_first", [True, False])
async def test_a_race_between_rejection_and_cancellation_has_one_outcome(
    scene: Scene, reject_first: bool
) -> None:
    pairing_id, request_id = await scene.ask()
    rejects, cancels = scene.rejects(request_id), scene.cancels(pairing_id)
    if reject_first:
        assert await meet(scene.database, rejects, cancels) == ("done", "pairing_decided")
        assert await scene.log() == [("targeted_mitra_rejected", False, False)]
    else:
        assert await meet(scene.database, cancels, rejects) == ("done", "request_closed")
        assert await scene.log() == [("customer_cancelled", False, True)]


# The mitra becomes unavailable -----------------------------------------------------------------------------


@pytest.mark.rule("4.4", "4.3")
@pytest.mark.invariant(4, 5, 6)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_going_offline_and_timeout_fails_the_pairing_once(
    scene: Scene, worker_first: bool
) -> None:
    await scene.ask()
    await scene.clock.advance(WINDOW_SECONDS)
    worker = scene.worker()
    goes, times_out = scene.goes_offline(), worker.fires(pairing.TARGETED_WINDOW)
    sides = (times_out, goes) if worker_first else (goes, times_out)
    assert set(await meet(scene.database, *sides)) == {"done", "fired"}
    await all_at_once(worker.fires(pairing.TARGETED_LOST))
    # The window had ended before the mitra went offline.
    assert await scene.log() == [("targeted_mitra_timeout", False, False)]
    assert await scene.count("deadlines WHERE kind IN ('targeted_window', 'targeted_lost')") == 0


@pytest.mark.rule("4.4")
@pytest.mark.invariant(4, 6)
async def test_two_workers_that_fire_the_timeout_and_the_loss_of_the_mitra_fail_the_pairing_once(
    scene: Scene,
) -> None:
    await scene.ask()
    await scene.clock.advance(WINDOW_SECONDS)
    await all_at_once(scene.goes_offline())
    lost, window = (scene.worker().fires(kind) for kind in (pairing.TARGETED_LOST, pairing.TARGETED_WINDOW))
    assert await meet(scene.database, window, lost) == ("fired", "fired")
    assert await scene.log() == [("targeted_mitra_offline", False, False)]


@pytest.mark.rule("4.4", "2b.7", "2b.8")
@pytest.mark.invariant(6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_going_offline_and_accept_has_one_outcome(
    scene: Scene, accept_first: bool
) -> None:
    _, request_id = await scene.ask()
    accepts, goes = scene.accepts(request_id), scene.goes_offline()
    if accept_first:
        assert await meet(scene.database, accepts, goes) == ("done", "done")
        outcome = [("targeted", "matched")]
    else:
        assert await meet(scene.database, goes, accepts) == ("done", "request_closed")
        outcome = [("targeted", "targeted_mitra_offline")]
    await all_at_once(scene.worker().fires(pairing.TARGETED_LOST))
    assert await scene.story() == outcome


@pytest.mark.rule("4.4", "3.5")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("reject_first", [True, False])
async def test_a_race_between_going_offline_and_rejection_has_one_outcome(
    scene: Scene, reject_first: bool
) -> None:
    _, request_id = await scene.ask()
    rejects, goes = scene.rejects(request_id), scene.goes_offline()
    if reject_first:
        assert await meet(scene.database, rejects, goes) == ("done", "done")
        tag = "targeted_mitra_rejected"
    else:
        assert await meet(scene.database, goes, rejects) == ("done", "request_closed")
        tag = "targeted_mitra_offline"
    await all_at_once(scene.worker().fires(pairing.TARGETED_LOST))
    assert await scene.log() == [(tag, False, False)]


@pytest.mark.rule("4.4")
@pytest.mark.invariant(6)
@pytest.mark.parametrize("asked_first", [True, False])
@pytest.mark.parametrize("departure", ["offline", "full"])
async def test_the_pairing_fails_when_its_mitra_becomes_unavailable_while_the_request_is_made(
    scene: Scene, asked_first: bool, departure: str
) -> None:
    charge = await _begin_confirmation(scene)
    blast_id = await open_blast(
        scene.database, await scene.make.confirmed_payment(await scene.make.customer()), [scene.mitra]
    )
    fills_up = scene.accepts(await request_of(scene.database, blast_id, scene.mitra))
    goes = scene.goes_offline() if departure == "offline" else fills_up
    is_asked = command(
        scene.database,
        lambda tx: charging.charge_answered(tx, charge, ChargeAnswer("approved"), [scene.mitra, scene.other]),
    )
    sides = (is_asked, goes) if asked_first else (goes, is_asked)
    assert await meet(scene.database, *sides) == ("done", "done")
    # In either order the pairing fails without waiting for the end of its window.
    await all_at_once(scene.worker().fires(pairing.TARGETED_LOST))
    assert await scene.story() == [("targeted", "targeted_mitra_offline")]


async def _begin_confirmation(scene: Scene) -> UUID:
    """Open a payment for the mitra and begin its charge. Returns the charge's key."""
    offer_id = await scene.make.offer()
    terms = payments.PaymentTerms(
        purpose="session",
        offer_id=offer_id,
        duration_minutes=30,
        amount_rp=20_000,
        is_trial=False,
        target_mitra_id=scene.mitra,
    )
    async with scene.database.transaction() as tx:
        payment_id = await payments.open_payment(tx, scene.customer, terms, 20)
        charge = await paying.begin_confirmation(tx, scene.customer, payment_id, [])
    assert charge is not None
    return charge.key


@pytest.mark.rule("4.4", "2b.7")
@pytest.mark.invariant(6, 8)
@pytest.mark.parametrize("targeted_first", [True, False])
async def test_a_race_between_accepting_another_customer_and_the_targeted_accept_has_one_outcome(
    scene: Scene, targeted_first: bool
) -> None:
    _, targeted = await scene.ask()
    payment_id = await scene.make.confirmed_payment(await scene.make.customer())
    blast_id = await open_blast(scene.database, payment_id, [scene.mitra])
    blast = await request_of(scene.database, blast_id, scene.mitra)
    first, second = (targeted, blast) if targeted_first else (blast, targeted)
    # The first accept fills the mitra's capacity, and therefore closes the other request.
    assert await meet(scene.database, scene.accepts(first), scene.accepts(second)) == (
        "done",
        "request_closed",
    )
    assert await scene.count(RUNNING) == 1
    await all_at_once(scene.worker().fires(pairing.TARGETED_LOST))
    outcome = "matched" if targeted_first else "targeted_mitra_offline"
    assert await scene.story() == [("targeted", outcome)]


@pytest.mark.rule("4.4", "3.5")
@pytest.mark.invariant(4, 6, 8)
@pytest.mark.parametrize("answer", ["rejects", "times out", "customer cancels"])
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_becoming_full_and_another_end_of_the_window_has_one_outcome(
    scene: Scene, accept_first: bool, answer: str
) -> None:
    pairing_id, request_id = await scene.ask()
    await scene.clock.advance(WINDOW_SECONDS if answer == "times out" else 1)
    payment_id = await scene.make.confirmed_payment(await scene.make.customer())
    blast_id = await open_blast(scene.database, payment_id, [scene.mitra])
    fills_up = scene.accepts(await request_of(scene.database, blast_id, scene.mitra))
    other: Side = {
        "rejects": scene.rejects(request_id),
        "times out": scene.worker().fires(pairing.TARGETED_WINDOW),
        "customer cancels": scene.cancels(pairing_id),
    }[answer]
    sides = (fills_up, other) if accept_first else (other, fills_up)
    outcomes = await meet(scene.database, *sides)
    assert "request_closed" not in outcomes or (accept_first and answer == "rejects")
    await all_at_once(scene.worker().fires(pairing.TARGETED_LOST))
    [(tag, recovered, _)] = await scene.log()
    assert not recovered
    expected = {
        "rejects": "targeted_mitra_offline" if accept_first else "targeted_mitra_rejected",
        "times out": "targeted_mitra_timeout",
        "customer cancels": "customer_cancelled",
    }[answer]
    assert tag == expected
    assert await scene.count(RUNNING) == 1


# The fallback --------------------------------------------------------------------------------------------


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(2, 4, 6)
@pytest.mark.parametrize("taken_first", [True, False])
async def test_a_race_between_taking_and_declining_the_fallback_has_one_outcome(
    scene: Scene, taken_first: bool
) -> None:
    failed_id = await scene.failed()
    takes, declines = scene.takes_the_fallback(failed_id), scene.declines(failed_id)
    sides = (takes, declines) if taken_first else (declines, takes)
    assert await meet(scene.database, *sides) == ("done", "fallback_decided")
    assert await scene.count(OPEN_BLASTS) == (1 if taken_first else 0)
    assert await scene.count("review_cases") == (0 if taken_first else 1)


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(2, 4, 5, 6)
@pytest.mark.parametrize("step", ["takes", "declines"])
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_an_answer_to_the_fallback_and_its_timeout_has_one_outcome(
    scene: Scene, worker_first: bool, step: str
) -> None:
    failed_id = await scene.failed()
    answers = scene.takes_the_fallback(failed_id) if step == "takes" else scene.declines(failed_id)
    times_out = scene.worker().fires(pairing.FALLBACK_ANSWER)
    if worker_first:
        await scene.clock.advance(ANSWER_SECONDS)
        assert await meet(scene.database, times_out, answers) == ("fired", "fallback_decided")
        assert await scene.log() == [
            ("targeted_mitra_rejected", False, True),
            ("payment_session_expired", False, True),
        ]
        return
    await scene.clock.advance(ANSWER_SECONDS - 0.001)

    # The customer's answer has deleted the deadline and holds its row lock. The worker skips the deadline and does
    # not wait.
    outcomes = await meet(scene.database, past(scene.clock, 0.002, answers), times_out, waits=False)
    assert outcomes == ("done", "nothing")
    assert await scene.log() == [("targeted_mitra_rejected", False, step == "declines")]
    assert await scene.count(OPEN_BLASTS) == (1 if step == "takes" else 0)


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(5, 6)
async def test_a_fallback_is_not_taken_after_waiting_for_a_lock_past_its_deadline(
    scene: Scene,
) -> None:
    failed_id = await scene.failed()
    await scene.clock.advance(ANSWER_SECONDS - 0.001)
    somebody = command(
        scene.database,
        lambda tx: tx.execute("SELECT 1 FROM pairings WHERE id = $1 FOR NO KEY UPDATE", failed_id),
    )
    assert await meet(
        scene.database,
        somebody,
        scene.takes_the_fallback(failed_id),
        meanwhile=lambda: scene.clock.advance(0.001),
    ) == ("done", "fallback_decided")
    assert await scene.count(OPEN_BLASTS) == 0


@pytest.mark.rule("3.5")
@pytest.mark.invariant(2, 3, 6)
async def test_concurrently_taking_the_fallback_on_two_phones_opens_one_blast(scene: Scene) -> None:
    failed_id = await scene.failed()
    takes = scene.takes_the_fallback(failed_id)
    assert await meet(scene.database, takes, takes) == ("done", "fallback_decided")
    outcomes = await all_at_once(*(takes for _ in range(10)))
    assert set(outcomes) == {"fallback_decided"}
    assert await scene.count(OPEN_BLASTS) == 1
    assert await scene.count("requests WHERE status = 'offered'") == 1


@pytest.mark.rule("3.5", "4.2")
@pytest.mark.invariant(4, 6)
@pytest.mark.parametrize("taken_first", [True, False])
async def test_the_fallback_can_be_taken_while_the_failed_pairing_is_cancelled(
    scene: Scene, taken_first: bool
) -> None:
    failed_id = await scene.failed()
    takes, cancels = scene.takes_the_fallback(failed_id), scene.cancels(failed_id)
    if taken_first:
        assert await meet(scene.database, takes, cancels) == ("done", "pairing_decided")
    else:
        # The refused cancel holds the pairing's lock until its transaction is rolled back.
        assert await all_at_once(cancels, takes) == ["pairing_decided", "done"]
    assert await scene.count("review_cases") == 0
    assert await scene.count(OPEN_BLASTS) == 1


@pytest.mark.rule("3.5", "3.8", "2b.9")
@pytest.mark.invariant(1, 2, 4, 6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_accepting_and_cancelling_the_fallback_has_one_outcome(
    scene: Scene, accept_first: bool
) -> None:
    failed_id = await scene.failed()
    await all_at_once(scene.takes_the_fallback(failed_id))
    blast_id = await scene.database.fetchval(
        "SELECT id FROM pairings WHERE kind = 'blast' AND status = 'open'"
    )
    accepts = scene.accepts(await request_of(scene.database, blast_id, scene.other), scene.other)
    cancels = scene.cancels(blast_id)
    if accept_first:
        assert await meet(scene.database, accepts, cancels) == ("done", "pairing_decided")
        assert await scene.log() == [("targeted_mitra_rejected", True, False)]
    else:
        assert await meet(scene.database, cancels, accepts) == ("done", "request_closed")
        assert await scene.log() == [
            ("targeted_mitra_rejected", False, True),
            ("customer_cancelled", False, True),
        ]
    assert await scene.count("charge_attempts JOIN payments ON payments.id = payment_id"
        " WHERE target_mitra_id IS NOT NULL AND charge_attempts.status = 'approved'") == 1  # fmt: skip
