"""Test each pair of concurrent steps of an extension in both orders (section 5)."""

import asyncio
from functools import partial
from uuid import UUID

import msgspec
import pytest

from curhat.journeys import charging, leaving, mitras
from curhat.journeys.schemas import LeaveByCustomer
from curhat.kit.database import Database, Transaction
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.service import Charge
from curhat.sessions import extension, states
from curhat.sessions import service as sessions
from curhat.sessions.errors import SessionEnded
from curhat.sessions.schemas import Extension
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.journey import in_own_transaction, wait_for_lock
from tests.support.people import Make
from tests.support.race import Hold, Side, Worker, advance_before_commit, command, race, run_concurrently
from tests.support.toggle import set_toggle

WINDOW_SECONDS = 10
MINUTES = 30
ADDED_MINUTES = 15

APPROVED = ChargeAnswer("approved")
DECLINED = ChargeAnswer("declined", reason="no money")


class Scenario(msgspec.Struct):
    """A running chat with a connected mitra."""

    database: Database
    make: Make
    clock: VirtualClock
    chat: Chat
    offer: UUID
    charges: list[Charge] = []

    async def ask(self) -> Extension:
        async with self.database.transaction() as tx:
            return await extension.request(tx, self.chat.customer.user_id, self.chat.id, self.offer, True)

    async def charging(self) -> tuple[Extension, UUID]:
        """Make an approved extension. Returns the extension and the key of its charge.

        The gateway has not carried out the charge yet.
        """
        asked = await self.ask()
        assert await run_concurrently(self.approves(asked)) == ["done"]
        return asked, self.charges[-1].key

    # Sides

    async def decides(self, *, approved: bool) -> Side:
        """Return a side that decides a new extension.

        The side waits after locking the session and before writing.
        """
        if approved:
            _, key = await self.charging()
        else:
            asked = await self.ask()

        async def side(hold: Hold) -> str:
            async def step(tx: Transaction) -> None:
                await extension.lock_session(tx, self.chat.id)
                await hold()
                if approved:
                    await charging.charge_answered(tx, key, APPROVED, [])
                else:
                    await extension.reject_by_mitra(tx, self.chat.mitra.user_id, asked.id)

            return await in_own_transaction(self.database, step)

        return side

    def asks(self) -> Side:
        customer_id, session_id = self.chat.customer.user_id, self.chat.id
        return command(
            self.database,
            lambda tx: extension.request(tx, customer_id, session_id, self.offer, connected=True),
        )

    def approves(self, asked: Extension) -> Side:
        async def step(tx: Transaction) -> None:
            _, charge = await extension.approve_by_mitra(tx, self.chat.mitra.user_id, asked.id)
            if charge is not None:
                self.charges.append(charge)

        return command(self.database, step)

    def rejects(self, asked: Extension) -> Side:
        return command(
            self.database, lambda tx: extension.reject_by_mitra(tx, self.chat.mitra.user_id, asked.id)
        )

    def answers(self, key: UUID, answer: ChargeAnswer) -> Side:
        return command(self.database, lambda tx: charging.charge_answered(tx, key, answer, []))

    def goes_offline(self) -> Side:
        return command(self.database, lambda tx: set_toggle(tx, self.chat.mitra.user_id, online=False))

    def ends(self, *, held_at: str | None = None) -> Side:
        return command(
            self.database,
            lambda tx: sessions.end_by_customer(tx, self.chat.customer.user_id, self.chat.id),
            held_at=held_at,
        )

    def leaves(self, *, held_at: str | None = None) -> Side:
        customer_id, session_id = self.chat.customer.user_id, self.chat.id
        return command(
            self.database,
            lambda tx: leaving.leave_as_customer(tx, customer_id, session_id, LeaveByCustomer(block=True)),
            held_at=held_at,
        )

    def worker(self, *, connected: bool = True) -> Worker:
        return Worker(self.database, *([self.chat.mitra.user_id] if connected else []))

    # Results

    async def look(self, asked: Extension) -> tuple[str, str | None]:
        async with self.database.transaction() as tx:
            shown = await extension.extension_view(tx, asked.id)
        return shown.status, shown.decided_by

    async def money(self, asked: Extension) -> tuple[str, list[str], list[str]]:
        """Return the status of the extension's payment, the statuses of its charge attempts, and its refund reasons."""
        attempts = "SELECT status FROM charge_attempts WHERE payment_id = $1 ORDER BY id"
        refunds = "SELECT reason FROM refunds WHERE payment_id = $1"
        return (
            await self.database.fetchval("SELECT status FROM payments WHERE id = $1", asked.payment_id),
            [row["status"] for row in await self.database.fetch(attempts, asked.payment_id)],
            [row["reason"] for row in await self.database.fetch(refunds, asked.payment_id)],
        )

    async def runs(self) -> bool:
        return bool(
            await self.database.fetchval("SELECT status = 'active' FROM sessions WHERE id = $1", self.chat.id)
        )

    async def minutes(self) -> float:
        """Return the present length of the session in minutes."""
        minutes: float = await self.database.fetchval(
            "SELECT extract(epoch FROM ends_at - started_at)::float8 / 60 FROM sessions WHERE id = $1",
            self.chat.id,
        )
        return minutes

    async def end_is_armed(self) -> bool:
        """Return whether a deadline is armed for the session's current end.

        Without this deadline, the session would never end.
        """
        return bool(
            await self.database.fetchval(
                """
                SELECT EXISTS (SELECT 1 FROM deadlines JOIN sessions ON sessions.id = entity_id
                WHERE kind = 'session_end' AND sessions.id = $1 AND due_at = ends_at)
                """,
                self.chat.id,
            )
        )


NOT_CHARGED: tuple[str, list[str], list[str]] = ("abandoned", [], [])
CHARGED: tuple[str, list[str], list[str]] = ("served", ["approved"], [])


@pytest.fixture
async def scenario(database: Database, clock: VirtualClock, make: Make) -> Scenario:
    """A scenario with a stopped clock."""
    await clock.set()
    chat = await open_chat(database, make, minutes=MINUTES)
    offer = await make.offer(purpose="extension", duration_minutes=ADDED_MINUTES, price_rp=10_000)
    return Scenario(database, make, clock, chat, offer)


# Time limit ----------------------------------------------------------------------------------------------


@pytest.mark.rule("5.1", "5.4")
@pytest.mark.invariant(2, 5, 6, 7)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_an_approval_and_the_deadline_charges_once(
    scenario: Scenario, worker_first: bool
) -> None:
    asked = await scenario.ask()
    worker = scenario.worker()
    approves, times_out = scenario.approves(asked), worker.fires(extension.EXTENSION_WINDOW)
    if worker_first:
        await scenario.clock.advance(WINDOW_SECONDS)
        assert await race(scenario.database, times_out, approves) == ("fired", "extension_decided")
        assert (await scenario.look(asked), len(worker.follow_ups)) == (("charging", "timeout"), 1)
    else:
        await scenario.clock.advance(WINDOW_SECONDS - 0.001)
        in_time = advance_before_commit(scenario.clock, 0.002, approves)
        # No worker has claimed the deadline, so the approval disarms the deadline.
        assert await race(scenario.database, in_time, times_out, waits=False) == ("done", "nothing")
        assert (await scenario.look(asked), len(scenario.charges)) == (("charging", "mitra"), 1)
    assert await scenario.money(asked) == ("confirming", ["started"], [])


@pytest.mark.rule("5.1", "5.4")
@pytest.mark.invariant(5, 6, 7)
@pytest.mark.parametrize("worker_first", [False, True])
async def test_a_race_between_a_rejection_and_the_deadline_has_one_outcome(
    scenario: Scenario, worker_first: bool
) -> None:
    asked = await scenario.ask()
    rejects, times_out = scenario.rejects(asked), scenario.worker().fires(extension.EXTENSION_WINDOW)
    if worker_first:
        await scenario.clock.advance(WINDOW_SECONDS)
        assert await race(scenario.database, times_out, rejects) == ("fired", "extension_decided")
        assert await scenario.look(asked) == ("charging", "timeout")
    else:
        await scenario.clock.advance(WINDOW_SECONDS - 0.001)
        assert await race(
            scenario.database, advance_before_commit(scenario.clock, 0.002, rejects), times_out, waits=False
        ) == (
            "done",
            "nothing",
        )
        assert await scenario.look(asked) == ("rejected", "mitra")
        assert await scenario.money(asked) == NOT_CHARGED


@pytest.mark.rule("5.4")
@pytest.mark.invariant(5, 6, 7)
@pytest.mark.parametrize("answer", ["approves", "rejects"])
async def test_an_answer_that_gets_its_lock_after_the_deadline_is_refused(
    scenario: Scenario, answer: str
) -> None:
    asked = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS - 0.001)
    lock_holder = command(scenario.database, lambda tx: extension.lock_session(tx, scenario.chat.id))
    answers = scenario.approves(asked) if answer == "approves" else scenario.rejects(asked)
    assert await race(
        scenario.database, lock_holder, answers, meanwhile=lambda: scenario.clock.advance(0.001)
    ) == (
        "done",
        "extension_decided",
    )
    assert await scenario.look(asked) == ("pending", None)


@pytest.mark.rule("5.1")
@pytest.mark.invariant(6, 7)
async def test_two_concurrent_answers_have_one_outcome(scenario: Scenario) -> None:
    """The first of two concurrent answers takes effect. Two approvals cause only one charge."""
    asked = await scenario.ask()
    assert await race(scenario.database, scenario.rejects(asked), scenario.approves(asked)) == (
        "done",
        "extension_decided",
    )
    assert await scenario.money(asked) == NOT_CHARGED
    again = await scenario.ask()
    approves = scenario.approves(again)
    # Both approvals succeed, but the gateway gets only one charge.
    assert await race(scenario.database, approves, approves) == ("done", "done")
    assert await run_concurrently(scenario.rejects(again)) == ["extension_decided"]
    assert (len(scenario.charges), await scenario.money(again)) == (1, ("confirming", ["started"], []))


# Absent mitras -------------------------------------------------------------------------------------------


@pytest.mark.rule("5.6")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("toggle_first", [True, False])
async def test_a_race_between_the_toggle_and_an_approval_has_one_outcome(
    scenario: Scenario, toggle_first: bool
) -> None:
    asked = await scenario.ask()
    goes, approves = scenario.goes_offline(), scenario.approves(asked)
    if toggle_first:
        assert await race(scenario.database, goes, approves) == ("done", "extension_decided")
    else:
        assert await race(scenario.database, approves, goes) == ("done", "done")
    await run_concurrently(scenario.worker().fires(extension.EXTENSION_LOST))
    if toggle_first:
        assert await scenario.look(asked) == ("rejected", "mitra_unreachable")
        assert await scenario.money(asked) == NOT_CHARGED
    else:
        # The mitra was online at the time of the approval, so the charge continues.
        assert await scenario.look(asked) == ("charging", "mitra")


@pytest.mark.rule("5.6")
@pytest.mark.invariant(5, 6, 7)
@pytest.mark.parametrize("toggle_first", [True, False])
async def test_a_race_between_the_toggle_and_the_deadline_has_one_outcome(
    scenario: Scenario, toggle_first: bool
) -> None:
    asked = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS)
    worker = scenario.worker()
    goes, times_out = scenario.goes_offline(), worker.fires(extension.EXTENSION_WINDOW)
    sides = (goes, times_out) if toggle_first else (times_out, goes)
    assert set(await race(scenario.database, *sides)) == {"done", "fired"}
    await run_concurrently(worker.fires(extension.EXTENSION_LOST))
    if toggle_first:
        assert await scenario.look(asked) == ("rejected", "mitra_unreachable")
        assert (await scenario.money(asked), worker.follow_ups) == (NOT_CHARGED, [])
    else:
        assert await scenario.look(asked) == ("charging", "timeout")


@pytest.mark.rule("5.6")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("asked_first", [True, False])
async def test_a_race_between_asking_for_an_extension_and_going_offline_rejects_the_extension(
    scenario: Scenario, asked_first: bool
) -> None:
    goes, asks = scenario.goes_offline(), scenario.asks()
    sides = (asks, goes) if asked_first else (goes, asks)
    assert await race(scenario.database, *sides) == ("done", "done")
    await run_concurrently(scenario.worker().fires(extension.EXTENSION_LOST))
    rows = await scenario.database.fetch("SELECT status, decided_by FROM extensions")
    assert [tuple(row) for row in rows] == [("rejected", "mitra_unreachable")]


@pytest.mark.rule("5.6")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("worker_first", [True, False])
async def test_a_race_between_a_closed_socket_and_an_approval_has_one_outcome(
    scenario: Scenario, worker_first: bool
) -> None:
    asked = await scenario.ask()
    await scenario.clock.advance(extension.PRESENCE_CHECK_SECONDS)
    approves = scenario.approves(asked)
    looks = scenario.worker(connected=False).fires(extension.EXTENSION_PRESENCE)
    if worker_first:
        assert await race(scenario.database, looks, approves) == ("fired", "extension_decided")
        assert await scenario.look(asked) == ("rejected", "mitra_unreachable")
    else:
        assert await race(scenario.database, approves, looks, waits=False) == ("done", "nothing")
        assert await scenario.look(asked) == ("charging", "mitra")


@pytest.mark.rule("5.6", "X.8")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("suspended_first", [True, False])
async def test_a_race_between_a_suspension_and_an_approval_has_one_outcome(
    scenario: Scenario, suspended_first: bool
) -> None:
    asked = await scenario.ask()
    suspends = command(scenario.database, lambda tx: mitras.suspend_mitra(tx, scenario.chat.mitra.user_id))
    approves = scenario.approves(asked)
    sides = (suspends, approves) if suspended_first else (approves, suspends)
    assert await race(scenario.database, *sides) == (
        "done",
        "extension_decided" if suspended_first else "done",
    )
    lost, ended = (
        scenario.worker().fires(kind) for kind in (extension.EXTENSION_LOST, mitras.SUSPENSION_END)
    )
    await run_concurrently(lost, ended)
    assert not await scenario.runs()
    if suspended_first:
        assert (await scenario.look(asked))[0] == "rejected"
        assert await scenario.money(asked) == NOT_CHARGED
        return
    assert await scenario.look(asked) == ("charge_failed", "mitra")
    await run_concurrently(scenario.answers(scenario.charges[0].key, APPROVED))
    assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])


# The session's end ---------------------------------------------------------------------------------------


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("asked_first", [True, False])
async def test_a_race_between_asking_for_an_extension_and_the_end_of_the_session_has_one_outcome(
    scenario: Scenario, asked_first: bool
) -> None:
    worker = scenario.worker()
    ends = worker.fires(sessions.SESSION_END)
    if asked_first:
        await scenario.clock.advance(MINUTES * 60 - 0.001)
        assert await race(
            scenario.database, advance_before_commit(scenario.clock, 0.002, scenario.asks()), ends
        ) == ("done", "fired")
        assert await scenario.runs()
        await scenario.clock.advance(WINDOW_SECONDS)
        await run_concurrently(worker.fires(extension.EXTENSION_WINDOW))
        await worker.follow_ups[0]()
        assert (await scenario.runs(), await scenario.minutes()) == (True, MINUTES + ADDED_MINUTES)
        assert await scenario.end_is_armed()
    else:
        await scenario.clock.advance(MINUTES * 60)
        assert await race(scenario.database, ends, scenario.asks()) == ("fired", "session_ended")
        assert await scenario.database.fetchval("SELECT count(*) FROM extensions") == 0


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5, 6)
async def test_a_request_for_an_extension_is_refused_if_it_waits_for_a_lock_until_the_session_is_over(
    scenario: Scenario,
) -> None:
    await scenario.clock.advance(MINUTES * 60 - 0.001)
    lock_holder = command(scenario.database, lambda tx: extension.lock_session(tx, scenario.chat.id))
    assert await race(
        scenario.database, lock_holder, scenario.asks(), meanwhile=lambda: scenario.clock.advance(0.001)
    ) == ("done", "session_ended")


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("approved", [True, False])
async def test_a_decision_takes_effect_even_after_a_worker_has_claimed_the_end_deadline_of_the_session(
    scenario: Scenario, approved: bool
) -> None:
    """After an approval, the session ends at its new end. After a rejection, the worker ends the session."""
    worker = scenario.worker()
    await scenario.clock.advance(MINUTES * 60 - 5)
    decides = await scenario.decides(approved=approved)
    await scenario.clock.advance(5)
    # The worker has claimed the deadline, so the decision cannot disarm the deadline.
    assert await race(scenario.database, decides, worker.fires(sessions.SESSION_END)) == ("done", "fired")
    if not approved:
        assert not await scenario.runs()
        return
    assert (await scenario.runs(), await scenario.minutes()) == (True, MINUTES + ADDED_MINUTES)
    assert await scenario.end_is_armed()
    await scenario.clock.advance(ADDED_MINUTES * 60)
    await run_concurrently(worker.fires(sessions.SESSION_END), worker.fires(sessions.SESSION_END, 2))
    assert not await scenario.runs()


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5, 6)
async def test_two_workers_with_two_end_deadlines_of_one_session_do_not_wait_for_each_other(
    scenario: Scenario,
) -> None:
    first, second = (scenario.worker().fires(sessions.SESSION_END, generation) for generation in (1, 2))
    for end in (MINUTES * 60 - 5, ADDED_MINUTES * 60 - 5):
        await scenario.clock.advance(end)
        decides = await scenario.decides(approved=True)
        await scenario.clock.advance(5)
        two_wait = end < MINUTES * 60 - 5
        both = _both(scenario.database, second, first) if two_wait else first
        # Hold the approval until every worker waits for the lock of the approval.
        waiting = partial(wait_for_lock, scenario.database, 2 if two_wait else 1)
        assert (await race(scenario.database, decides, both, meanwhile=waiting))[1].startswith("fired")
    assert (await scenario.runs(), await scenario.minutes()) == (True, MINUTES + 2 * ADDED_MINUTES)
    assert await scenario.end_is_armed()


def _both(database: Database, one: Side, other: Side) -> Side:
    """Return a side that combines two sides. `other` begins when `one` waits for a lock."""

    async def side(hold: Hold) -> str:
        begun: asyncio.Task[str] = asyncio.create_task(one(hold))  # type: ignore[arg-type]
        await wait_for_lock(database)
        said = await other(hold)
        return f"{await begun} {said}"

    return side


@pytest.mark.rule("5.7")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("end_first", [True, False])
async def test_a_race_between_an_early_end_and_an_approval_has_one_outcome(
    scenario: Scenario, end_first: bool
) -> None:
    asked = await scenario.ask()
    approves = scenario.approves(asked)
    if end_first:
        ends = scenario.ends(held_at="session_end.written")
        assert await race(scenario.database, ends, approves) == ("done", "extension_decided")
        assert await scenario.look(asked) == ("rejected", "session_ended")
        assert await scenario.money(asked) == NOT_CHARGED
    else:
        assert await race(scenario.database, approves, scenario.ends()) == ("done", "done")
        assert await scenario.look(asked) == ("charge_failed", "mitra")
        await run_concurrently(scenario.answers(scenario.charges[0].key, APPROVED))
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert not await scenario.runs()


@pytest.mark.rule("5.7")
@pytest.mark.invariant(5, 6, 7)
@pytest.mark.parametrize("end_first", [True, False])
async def test_a_race_between_an_early_end_and_the_deadline_has_one_outcome(
    scenario: Scenario, end_first: bool
) -> None:
    asked = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS)
    worker = scenario.worker()
    times_out = worker.fires(extension.EXTENSION_WINDOW)
    if end_first:
        ends = scenario.ends(held_at="session_end.written")
        assert await race(scenario.database, ends, times_out) == ("done", "fired")
        assert await scenario.look(asked) == ("rejected", "session_ended")
        assert (await scenario.money(asked), worker.follow_ups) == (NOT_CHARGED, [])
    else:
        assert await race(scenario.database, times_out, scenario.ends()) == ("fired", "done")
        assert await scenario.look(asked) == ("charge_failed", "timeout")
        # The worker's charge comes too late, so the charge is refunded.
        await worker.follow_ups[0]()
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])


@pytest.mark.rule("5.7", "5.6")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("end_first", [True, False])
async def test_a_race_between_an_early_end_and_the_toggle_has_one_outcome(
    scenario: Scenario, end_first: bool
) -> None:
    asked = await scenario.ask()
    ends, goes = scenario.ends(), scenario.goes_offline()
    sides = (ends, goes) if end_first else (goes, ends)
    assert await race(scenario.database, *sides) == ("done", "done")
    await run_concurrently(scenario.worker().fires(extension.EXTENSION_LOST))
    assert await scenario.look(asked) == ("rejected", "session_ended")
    assert await scenario.money(asked) == NOT_CHARGED
    assert await scenario.database.fetchval("SELECT active_sessions FROM mitras") == 0


@pytest.mark.rule("5.7", "X.8")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("rejected_first", [True, False])
async def test_a_race_between_a_late_message_and_a_rejection_has_one_outcome(
    scenario: Scenario, rejected_first: bool
) -> None:
    await scenario.clock.advance(MINUTES * 60 - 5)
    asked = await scenario.ask()
    await scenario.clock.advance(6)
    said: list[sessions.SendOutcome] = []

    async def say(tx: Transaction) -> None:
        said.extend(
            await sessions.send_messages(
                tx, [sessions.OutgoingMessage(scenario.chat.customer, scenario.chat.id, "1", "x")]
            )
        )

    says, rejects = command(scenario.database, say), scenario.rejects(asked)
    sides = (rejects, says) if rejected_first else (says, rejects)
    assert await race(scenario.database, *sides) == ("done", "done")
    assert isinstance(said[0], SessionEnded if rejected_first else sessions.SentMessage)


# Other races ---------------------------------------------------------------------------------------------


@pytest.mark.rule("5.7")
@pytest.mark.invariant(6)
async def test_a_customer_who_asks_several_times_concurrently_opens_one_extension(scenario: Scenario) -> None:
    assert await race(scenario.database, scenario.asks(), scenario.asks()) == ("done", "extension_pending")
    assert set(await run_concurrently(*(scenario.asks() for _ in range(10)))) == {"extension_pending"}
    assert await scenario.database.fetchval("SELECT count(*) FROM extensions") == 1
    assert await scenario.database.fetchval("SELECT count(*) FROM payments WHERE purpose = 'extension'") == 1


@pytest.mark.rule("5.7")
@pytest.mark.invariant(6)
async def test_asking_for_an_extension_waits_for_the_rejection_of_the_last_extension(
    scenario: Scenario,
) -> None:
    asked = await scenario.ask()
    assert await race(scenario.database, scenario.rejects(asked), scenario.asks()) == ("done", "done")
    rows = await scenario.database.fetch("SELECT status FROM extensions ORDER BY id")
    assert [row["status"] for row in rows] == ["rejected", "pending"]


@pytest.mark.rule("5.7")
@pytest.mark.invariant(2, 5, 9)
@pytest.mark.parametrize("answer_first", [True, False])
async def test_a_race_between_an_approval_of_the_gateway_and_the_timeout_has_one_outcome(
    scenario: Scenario, answer_first: bool
) -> None:
    asked, key = await scenario.charging()
    answers, too_late = scenario.answers(key, APPROVED), scenario.worker().fires(extension.EXTENSION_CHARGE)
    if answer_first:
        await scenario.clock.advance(states.CHARGE_TIMEOUT_SECONDS - 0.001)
        in_time = advance_before_commit(scenario.clock, 0.002, answers)
        assert await race(scenario.database, in_time, too_late, waits=False) == ("done", "nothing")
        assert (await scenario.look(asked), await scenario.money(asked)) == (("approved", "mitra"), CHARGED)
        assert await scenario.minutes() == MINUTES + ADDED_MINUTES
    else:
        await scenario.clock.advance(states.CHARGE_TIMEOUT_SECONDS)
        assert await race(scenario.database, too_late, answers) == ("fired", "done")
        assert await scenario.look(asked) == ("charge_failed", "mitra")
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
        assert await scenario.minutes() == MINUTES


@pytest.mark.rule("5.7")
@pytest.mark.invariant(5, 9)
async def test_a_charge_is_refunded_if_its_approval_waits_for_a_lock_until_after_the_thirty_seconds(
    scenario: Scenario,
) -> None:
    asked, key = await scenario.charging()
    await scenario.clock.advance(states.CHARGE_TIMEOUT_SECONDS - 0.001)
    lock_holder = command(scenario.database, lambda tx: extension.lock_session(tx, scenario.chat.id))
    assert await race(
        scenario.database,
        lock_holder,
        scenario.answers(key, APPROVED),
        meanwhile=lambda: scenario.clock.advance(0.001),
    ) == ("done", "done")
    assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert await scenario.look(asked) == ("charge_failed", "mitra")


@pytest.mark.rule("5.7")
@pytest.mark.invariant(9)
@pytest.mark.parametrize("answer_first", [True, False])
@pytest.mark.parametrize("answer", [APPROVED, DECLINED], ids=["approved", "declined"])
async def test_a_race_between_an_answer_of_the_gateway_and_an_early_end_has_one_outcome(
    scenario: Scenario, answer_first: bool, answer: ChargeAnswer
) -> None:
    asked, key = await scenario.charging()
    answers, ends = scenario.answers(key, answer), scenario.ends()
    sides = (answers, ends) if answer_first else (ends, answers)
    assert await race(scenario.database, *sides) == ("done", "done")
    if answer is DECLINED:
        assert await scenario.money(asked) == ("abandoned", ["declined"], [])
    elif answer_first:
        # The extension was added before the customer ended the session, so the charge is not refunded.
        assert await scenario.money(asked) == CHARGED
    else:
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert (await scenario.look(asked))[0] == (
        "approved" if answer is APPROVED and answer_first else "charge_failed"
    )
    assert not await scenario.runs()


@pytest.mark.rule("5.7")
@pytest.mark.invariant(2, 9)
@pytest.mark.parametrize(
    ("first", "second", "attempts", "refunds", "minutes"),
    [
        (APPROVED, APPROVED, ["approved"], [], MINUTES + ADDED_MINUTES),
        (APPROVED, DECLINED, ["approved"], [], MINUTES + ADDED_MINUTES),
        (DECLINED, DECLINED, ["declined"], [], MINUTES),
        (DECLINED, APPROVED, ["approved_late"], ["late_approval"], MINUTES),
    ],
    ids=["twice approved", "approved, declined", "twice declined", "declined, approved"],
)
async def test_two_concurrent_gateway_answers_have_one_outcome(
    scenario: Scenario,
    first: ChargeAnswer,
    second: ChargeAnswer,
    attempts: list[str],
    refunds: list[str],
    minutes: int,
) -> None:
    asked, key = await scenario.charging()
    assert await race(scenario.database, scenario.answers(key, first), scenario.answers(key, second)) == (
        "done",
        "done",
    )
    assert (await scenario.money(asked))[1:] == (attempts, refunds)
    assert await scenario.minutes() == minutes


@pytest.mark.rule("5.7")
@pytest.mark.invariant(2, 9)
@pytest.mark.parametrize("question_first", [True, False])
async def test_a_race_between_a_query_and_an_answer_of_the_gateway_approves_the_charge_once(
    scenario: Scenario, question_first: bool
) -> None:
    asked, key = await scenario.charging()
    await scenario.clock.advance(payments.FIRST_ASK_SECONDS)
    worker = scenario.worker()
    question, answers = worker.fires(payments.CHARGE_ANSWER), scenario.answers(key, APPROVED)
    if question_first:
        assert await race(scenario.database, question, answers) == ("fired", "done")
        # The worker queries the gateway under the key of the charge, although the answer is already recorded.
        await worker.follow_ups[0]()
    else:
        assert await race(scenario.database, answers, question, waits=False) == ("done", "nothing")
    assert (await scenario.look(asked), await scenario.money(asked)) == (("approved", "mitra"), CHARGED)
    assert await scenario.minutes() == MINUTES + ADDED_MINUTES


# Leaving (T.5) -------------------------------------------------------------------------------------------


@pytest.mark.rule("T.5", "5.7")
@pytest.mark.invariant(5, 6, 7)
@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_race_between_a_leave_and_the_silence_of_the_mitra_charges_nobody_who_has_left(
    scenario: Scenario, leave_first: bool
) -> None:
    asked = await scenario.ask()
    await scenario.clock.advance(WINDOW_SECONDS)
    worker = scenario.worker()
    times_out = worker.fires(extension.EXTENSION_WINDOW)
    if leave_first:
        leaves = scenario.leaves(held_at="session_end.written")
        assert await race(scenario.database, leaves, times_out) == ("done", "fired")
        assert await scenario.look(asked) == ("rejected", "session_ended")
        assert (await scenario.money(asked), worker.follow_ups) == (NOT_CHARGED, [])
    else:
        assert await race(scenario.database, times_out, scenario.leaves()) == ("fired", "done")
        assert await scenario.look(asked) == ("charge_failed", "timeout")
        await worker.follow_ups[0]()
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert not await scenario.runs()


@pytest.mark.rule("T.5", "5.7")
@pytest.mark.invariant(6, 7)
@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_race_between_a_leave_and_the_approval_of_the_mitra_charges_nobody_who_has_left(
    scenario: Scenario, leave_first: bool
) -> None:
    asked = await scenario.ask()
    approves = scenario.approves(asked)
    if leave_first:
        leaves = scenario.leaves(held_at="session_end.written")
        assert await race(scenario.database, leaves, approves) == ("done", "extension_decided")
        assert await scenario.look(asked) == ("rejected", "session_ended")
        assert await scenario.money(asked) == NOT_CHARGED
    else:
        assert await race(scenario.database, approves, scenario.leaves()) == ("done", "done")
        assert await scenario.look(asked) == ("charge_failed", "mitra")
        await run_concurrently(scenario.answers(scenario.charges[0].key, APPROVED))
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    assert not await scenario.runs()


@pytest.mark.rule("T.5", "5.7")
@pytest.mark.invariant(5, 6)
@pytest.mark.parametrize("leave_first", [True, False])
async def test_a_race_between_a_leave_and_the_answer_of_the_gateway_has_one_outcome(
    scenario: Scenario, leave_first: bool
) -> None:
    asked, key = await scenario.charging()
    answers = scenario.answers(key, APPROVED)
    if leave_first:
        leaves = scenario.leaves(held_at="session_end.written")
        assert await race(scenario.database, leaves, answers) == ("done", "done")
        assert await scenario.look(asked) == ("charge_failed", "mitra")
        assert await scenario.money(asked) == ("abandoned", ["approved_late"], ["late_approval"])
    else:
        assert await race(scenario.database, answers, scenario.leaves()) == ("done", "done")
        assert await scenario.look(asked) == ("approved", "mitra")
        assert await scenario.money(asked) == CHARGED
    assert not await scenario.runs()
