"""Test a second chat with the same bestie through the services: targeted pairing, failures and fallback (3 and 4)."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec
import pytest

from curhat.deadlines import loop as deadline_loop
from curhat.journeys import availability, mitras, paying, searching
from curhat.journeys.snapshot import customer_state
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.kit.identity import Identity
from curhat.pairing import service as pairing
from curhat.pairing import states
from curhat.pairing.cards import open_requests
from curhat.pairing.errors import FallbackDecided, MitraUnavailable, NoMitraAvailable, PairingDecided
from curhat.pairing.schemas import Pairing, Payment
from curhat.pairing.service import Target
from curhat.payments.mock.gateway import MockGateway
from curhat.sessions import service as sessions
from tests.support.chats import open_chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, in_own_transaction, open_blast, reject, request_of
from tests.support.people import Make
from tests.support.toggle import set_toggle

WINDOW_SECONDS = 20
BLAST_SECONDS = 60
ANSWER_SECONDS = 20 * 60


class PastChat(msgspec.Struct, frozen=True):
    """A customer and a mitra who had a chat."""

    customer: UUID
    mitra: UUID


@pytest.fixture
async def past_chat(database: Database, make: Make) -> PastChat:
    """A chat that has ended. The mitra is online and takes two customers."""
    mitra = await make.mitra(max_customers=2)
    chat = await open_chat(database, make, mitra_id=mitra)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return PastChat(chat.customer.user_id, mitra)


async def fire_due(database: Database, *available: UUID) -> int:
    decided = FakePresence(*available)
    transitions = Transitions(database, decided, MockGateway(database))  # type: ignore[arg-type]
    return await deadline_loop.run_once(database, transitions.by_kind())


async def ask(
    database: Database,
    make: Make,
    past_chat: PastChat,
    *,
    reachable: bool = True,
    other_available: bool = True,
    price_rp: int = 20_000,
) -> UUID:
    """Open the targeted pairing of a confirmed payment. Returns its id."""
    payment_id = await make.confirmed_payment(
        past_chat.customer,
        price_rp=price_rp,
        duration_minutes=30 if price_rp else 5,
        target_mitra_id=past_chat.mitra,
    )
    async with database.transaction() as tx:
        target = Target(past_chat.mitra, reachable, other_available)
        return await pairing.open_targeted(tx, payment_id, WINDOW_SECONDS, target)


async def shown(database: Database, past_chat: PastChat) -> tuple[Payment, Pairing]:
    state = await customer_state(database, past_chat.customer)
    assert state.payment is not None
    assert state.pairing is not None
    return state.payment, state.pairing


async def fail_by_rejection(database: Database, make: Make, past_chat: PastChat) -> UUID:
    pairing_id = await ask(database, make, past_chat)
    await reject(database, past_chat.mitra, await request_of(database, pairing_id, past_chat.mitra))
    return pairing_id


async def take(
    database: Database, past_chat: PastChat, pairing_id: UUID, available: Sequence[UUID] | None
) -> Pairing:
    async with database.transaction() as tx:
        return await searching.take_fallback(tx, past_chat.customer, pairing_id, available)


async def decline(database: Database, past_chat: PastChat, pairing_id: UUID) -> None:
    async with database.transaction() as tx:
        await pairing.decline_fallback(tx, pairing_id, past_chat.customer)


async def toggle(database: Database, mitra: UUID, *, online: bool) -> None:
    async with database.transaction() as tx:
        await set_toggle(tx, mitra, online=online)


async def log_of(database: Database) -> list[tuple[str, bool, bool]]:
    """Return the failure events in order, each with its tag, `recovered`, and whether it names the payment's case."""
    rows = await database.fetch(
        """
        SELECT tag, recovered, case_id IS NOT NULL AND case_id = (
            SELECT id FROM review_cases WHERE review_cases.payment_id = failed_pairing_events.payment_id
        ) AS in_case
        FROM failed_pairing_events ORDER BY id
        """
    )
    return [tuple(row) for row in rows]


async def open_again(
    database: Database,
    past_chat: PastChat,
    offer: UUID,
    presence_says: FakePresence,
    mitra: UUID | None = None,
) -> Payment:
    target = mitra or past_chat.mitra
    gate = await availability.ask_gate(database, presence_says, past_chat.customer, target)  # type: ignore[arg-type]
    async with database.transaction() as tx:
        return await paying.open_payment(tx, past_chat.customer, offer, gate, target)


# Choice and payment --------------------------------------------------------------------------------------


@pytest.mark.rule("3.2", "3.6", "2a.8")
async def test_a_payment_for_a_chosen_mitra_needs_no_other_available_mitra(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    """No mitra is asked before the payment is confirmed."""
    payment = await open_again(database, past_chat, await make.offer(), FakePresence(past_chat.mitra))
    assert payment.status == "pending"
    assert payment.target_mitra is not None
    assert payment.target_mitra.id == past_chat.mitra
    assert await database.fetchval("SELECT count(*) FROM pairings WHERE kind = 'targeted'") == 0


@pytest.mark.rule("3.3", "3.4")
@pytest.mark.parametrize("other_available", [True, False])
async def test_no_payment_is_opened_for_a_mitra_who_is_offline_or_full_and_the_error_names_the_reason(
    database: Database, make: Make, past_chat: PastChat, other_available: bool
) -> None:
    others = [await make.mitra()] if other_available else []
    offer, says = await make.offer(), FakePresence(*others)
    for prepare, status in (
        ("UPDATE mitras SET online = true WHERE id = $1", "offline"),  # The mitra is not reachable.
        ("UPDATE mitras SET online = false WHERE id = $1", "offline"),
        ("UPDATE mitras SET online = true, active_sessions = 2 WHERE id = $1", "full"),
    ):
        await database.execute(prepare, past_chat.mitra)
        with pytest.raises(MitraUnavailable) as refusal:
            await open_again(database, past_chat, offer, says)
        problem = refusal.value.problem()
        assert (problem["code"], problem["status"], problem["other_available"]) == (
            "mitra_unavailable",
            status,
            other_available,
        )
        answer = await availability.mitra_status(database, says, past_chat.customer, past_chat.mitra)  # type: ignore[arg-type]
        assert (answer.status, answer.other_available) == (status, other_available)
    assert await database.fetchval("SELECT count(*) FROM payments WHERE status = 'pending'") == 0


@pytest.mark.rule("3.1", "3.6")
async def test_a_mitra_without_a_past_chat_with_the_customer_is_not_found(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    stranger = await make.mitra()
    says = FakePresence(stranger, past_chat.mitra)
    with pytest.raises(NotFound):
        await availability.mitra_status(database, says, past_chat.customer, stranger)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await open_again(database, past_chat, await make.offer(), says, stranger)


@pytest.mark.rule("X.10")
async def test_no_targeted_payment_is_opened_and_no_fallback_is_taken_while_presence_is_unknown(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    says = FakePresence(past_chat.mitra)
    says.unknown = True
    with pytest.raises(PresenceUnknown):
        await open_again(database, past_chat, await make.offer(), says)
    with pytest.raises(PresenceUnknown):
        await availability.mitra_status(database, says, past_chat.customer, past_chat.mitra)  # type: ignore[arg-type]
    pairing_id = await fail_by_rejection(database, make, past_chat)
    with pytest.raises(PresenceUnknown):
        await take(database, past_chat, pairing_id, None)
    _, failed = await shown(database, past_chat)
    assert failed.fallback is not None
    assert failed.fallback.allowed


# Time limit ----------------------------------------------------------------------------------------------


@pytest.mark.rule("4.1", "3.7")
async def test_the_chosen_mitra_gets_a_card_with_the_targeted_window(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    await clock.set()
    await ask(database, make, past_chat)
    [card] = (await open_requests(database, [past_chat.mitra]))[past_chat.mitra]
    assert (card.kind, card.is_returning, card.call_name) == ("targeted", True, "Bunga")
    assert (card.deadline_at - card.server_now).total_seconds() == WINDOW_SECONDS
    fields = set(msgspec.to_builtins(card))
    assert fields == {
        "id", "kind", "call_name", "is_returning", "duration_minutes", "is_trial", "deadline_at", "close_reason",
        "server_now",
    }  # fmt: skip


@pytest.mark.rule("4.5")
async def test_a_targeted_pairing_that_starts_after_a_configuration_change_has_the_new_window(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    await clock.set()
    await database.execute(
        "UPDATE configuration SET value = '45' WHERE key = 'returning_chat_confirmation_timeout_seconds'"
    )
    payment = await open_again(
        database, past_chat, await make.offer(duration_minutes=5, price_rp=0), FakePresence(past_chat.mitra)
    )
    async with database.transaction() as tx:
        await paying.begin_confirmation(tx, past_chat.customer, payment.id, [past_chat.mitra])
    _, asked = await shown(database, past_chat)
    assert (asked.kind, asked.status) == ("targeted", "open")
    assert (asked.deadline_at - asked.server_now).total_seconds() == 45


@pytest.mark.rule("4.6")
async def test_a_mitra_who_has_another_chat_and_free_capacity_gets_the_card(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await open_chat(database, make, mitra_id=past_chat.mitra)
    pairing_id = await ask(database, make, past_chat)
    session = await accept(database, past_chat.mitra, await request_of(database, pairing_id, past_chat.mitra))
    assert session.mitra.id == past_chat.mitra
    assert await database.fetchval("SELECT active_sessions FROM mitras WHERE id = $1", past_chat.mitra) == 2


@pytest.mark.rule("3.5", "4.3")
@pytest.mark.invariant(5)
async def test_a_targeted_pairing_without_an_answer_fails_at_its_deadline_and_not_before(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    await clock.set()
    other = await make.mitra()
    pairing_id = await ask(database, make, past_chat)
    await clock.advance(WINDOW_SECONDS - 0.001)
    assert await fire_due(database, other) == 0
    await clock.advance(0.001)
    # The server already refuses the accept, although no worker has fired the deadline yet.
    request_id = await request_of(database, pairing_id, past_chat.mitra)
    assert await in_own_transaction(
        database, lambda tx: searching.accept(tx, past_chat.mitra, request_id)
    ) == ("request_closed")
    assert await fire_due(database, other) == 1
    payment, failed = await shown(database, past_chat)
    assert (payment.status, failed.status, failed.failure_tag) == (
        "confirmed",
        "failed",
        "targeted_mitra_timeout",
    )
    assert failed.fallback is not None
    assert failed.fallback.allowed
    assert (failed.fallback.answer_by - failed.server_now).total_seconds() == ANSWER_SECONDS
    assert await log_of(database) == [("targeted_mitra_timeout", False, False)]


@pytest.mark.rule("4.3", "4.4", "X.1")
@pytest.mark.invariant(5, 7)
async def test_each_undecided_targeted_pairing_of_a_batch_fails_with_its_own_tag(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    pasts = [PastChat(await make.customer(), await make.mitra(max_customers=2)) for _ in range(4)]
    pairings = [await ask(database, make, past_chat) for past_chat in pasts]
    silent, left, rejected, later = pasts
    await toggle(database, left.mitra, online=False)
    await reject(database, rejected.mitra, await request_of(database, pairings[2], rejected.mitra))
    await clock.advance(WINDOW_SECONDS)
    in_time = "UPDATE pairings SET deadline_at = deadline_at + interval '1 second' WHERE id = $1"
    await database.execute(in_time, pairings[3])
    # Only the first customer's mitra can be asked now. Fallbacks of the other customers can ask the first customer's
    # mitra. No other mitra is available for the first customer.
    await fire_due(database, silent.mitra)
    said = []
    for past_chat in (silent, left, rejected):
        kind, data = (await stream_events(database, Identity(role="customer", user_id=past_chat.customer)))[
            -1
        ]
        assert kind == "pairing.updated"
        said.append((data["failure_tag"], data["fallback"] and data["fallback"]["other_available"]))
    assert said == [
        ("targeted_mitra_timeout", False),
        ("targeted_mitra_offline", True),
        ("targeted_mitra_rejected", False),
    ]
    assert (await shown(database, later))[1].status == "open"


@pytest.mark.rule("3.5")
async def test_a_rejection_fails_the_targeted_pairing_immediately(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await fail_by_rejection(database, make, past_chat)
    payment, failed = await shown(database, past_chat)
    assert (payment.status, failed.failure_tag) == ("confirmed", "targeted_mitra_rejected")
    assert await database.fetchval("SELECT count(*) FROM review_cases") == 0


@pytest.mark.rule("4.4")
@pytest.mark.parametrize("why", ["unreachable", "offline", "full", "suspended"])
async def test_the_targeted_pairing_fails_immediately_when_its_mitra_cannot_be_asked(
    database: Database, make: Make, past_chat: PastChat, why: str
) -> None:
    change = {
        "unreachable": "SELECT $1::uuid",
        "offline": "UPDATE mitras SET online = false WHERE id = $1",
        "full": "UPDATE mitras SET active_sessions = max_customers WHERE id = $1",
        "suspended": "UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1",
    }
    await database.execute(change[why], past_chat.mitra)
    await ask(database, make, past_chat, reachable=why != "unreachable")
    payment, failed = await shown(database, past_chat)
    assert (payment.status, failed.status, failed.failure_tag) == (
        "confirmed",
        "failed",
        "targeted_mitra_offline",
    )
    assert await database.fetchval("SELECT count(*) FROM requests") == 0


@pytest.mark.rule("4.4")
@pytest.mark.invariant(6)
async def test_the_targeted_pairing_fails_when_its_mitra_goes_offline_even_if_the_mitra_returns(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    pairing_id = await ask(database, make, past_chat)
    request_id = await request_of(database, pairing_id, past_chat.mitra)
    await toggle(database, past_chat.mitra, online=False)
    await toggle(database, past_chat.mitra, online=True)
    assert await in_own_transaction(
        database, lambda tx: searching.accept(tx, past_chat.mitra, request_id)
    ) == ("request_closed")
    assert await fire_due(database) == 1
    _, failed = await shown(database, past_chat)
    assert failed.failure_tag == "targeted_mitra_offline"


@pytest.mark.rule("4.4", "2b.7")
@pytest.mark.invariant(8)
async def test_the_targeted_pairing_fails_when_its_mitra_becomes_full_during_the_window(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await database.execute("UPDATE mitras SET max_customers = 1 WHERE id = $1", past_chat.mitra)
    await ask(database, make, past_chat)
    blast_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [past_chat.mitra]
    )
    await accept(database, past_chat.mitra, await request_of(database, blast_id, past_chat.mitra))
    assert await fire_due(database) == 1
    _, failed = await shown(database, past_chat)
    assert failed.failure_tag == "targeted_mitra_offline"


@pytest.mark.rule("4.4")
async def test_the_targeted_pairing_fails_when_its_mitra_is_suspended_during_the_window(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    await ask(database, make, past_chat)
    async with database.transaction() as tx:
        await mitras.suspend_mitra(tx, past_chat.mitra)
    assert await fire_due(database) == 1
    assert (await shown(database, past_chat))[1].failure_tag == "targeted_mitra_offline"


@pytest.mark.rule("4.2", "3.8")
async def test_cancelling_during_the_window_ends_the_journey_without_a_fallback(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    pairing_id = await ask(database, make, past_chat)
    async with database.transaction() as tx:
        cancelled = await searching.cancel_search(tx, past_chat.customer, pairing_id)
    assert (cancelled.failure_tag, cancelled.fallback) == ("customer_cancelled", None)
    assert (await shown(database, past_chat))[0].status == "unserved"
    assert await log_of(database) == [("customer_cancelled", False, True)]
    with pytest.raises(FallbackDecided):
        await take(database, past_chat, pairing_id, [await make.mitra()])


# The fallback --------------------------------------------------------------------------------------------


@pytest.mark.rule("3.5", "3.9")
@pytest.mark.invariant(2)
async def test_the_fallback_is_a_blast_without_the_mitra_who_rejected(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    """The fallback uses the payment of the targeted pairing."""
    await clock.set()
    other = await make.mitra()
    failed_id = await fail_by_rejection(database, make, past_chat)
    await clock.advance(100)
    blast = await take(database, past_chat, failed_id, [past_chat.mitra, other])
    payment, current = await shown(database, past_chat)
    assert (current.id, current.kind, current.payment_id) == (blast.id, "blast", payment.id)
    assert (current.deadline_at - current.server_now).total_seconds() == BLAST_SECONDS
    assert (await pairing.offer_open_blasts(database, [past_chat.mitra])).requests == 0
    asked = await database.fetch("SELECT mitra_id FROM requests WHERE pairing_id = $1", blast.id)
    assert [row["mitra_id"] for row in asked] == [other]
    assert (
        await database.fetchval("SELECT count(*) FROM charge_attempts WHERE payment_id = $1", payment.id) == 1
    )


@pytest.mark.rule("3.9")
async def test_the_fallback_asks_a_mitra_who_was_offline_and_returned(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    failed_id = await ask(database, make, past_chat, reachable=False)
    blast = await take(database, past_chat, failed_id, [await make.mitra()])
    assert (await pairing.offer_open_blasts(database, [past_chat.mitra])).requests == 1
    assert await request_of(database, blast.id, past_chat.mitra) is not None


@pytest.mark.rule("3.8")
@pytest.mark.invariant(4)
async def test_a_successful_fallback_marks_the_failed_pairing_as_recovered_and_opens_no_case(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    other = await make.mitra()
    blast = await take(database, past_chat, await fail_by_rejection(database, make, past_chat), [other])
    await accept(database, other, await request_of(database, blast.id, other))
    assert await log_of(database) == [("targeted_mitra_rejected", True, False)]
    assert await database.fetchval("SELECT count(*) FROM review_cases") == 0


@pytest.mark.rule("3.5", "3.8", "X.1")
@pytest.mark.invariant(4)
async def test_both_failure_events_refer_to_one_case_when_the_fallback_also_fails(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    await clock.set()
    await take(database, past_chat, await fail_by_rejection(database, make, past_chat), [await make.mitra()])
    await clock.advance(BLAST_SECONDS)
    # The blast's next wave, and its window.
    assert await fire_due(database) == 2
    payment, last = await shown(database, past_chat)
    assert (payment.status, last.failure_tag) == ("unserved", "no_mitra_available")
    assert await log_of(database) == [
        ("targeted_mitra_rejected", False, True),
        ("no_mitra_available", False, True),
    ]


@pytest.mark.rule("3.5")
async def test_the_customer_can_take_the_fallback_as_soon_as_another_mitra_is_available(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    failed_id = await fail_by_rejection(database, make, past_chat)
    with pytest.raises(NoMitraAvailable):
        await take(database, past_chat, failed_id, [past_chat.mitra, past_chat.customer])
    _, failed = await shown(database, past_chat)
    assert failed.fallback is not None
    assert failed.fallback.allowed
    assert (await take(database, past_chat, failed_id, [await make.mitra()])).status == "open"


@pytest.mark.rule("3.5")
@pytest.mark.parametrize("available", [True, False])
async def test_a_fallback_shows_whether_another_mitra_is_available_now(
    database: Database, make: Make, past_chat: PastChat, available: bool
) -> None:
    await fail_by_rejection(database, make, past_chat)
    payment, _ = await shown(database, past_chat)
    others = [await make.mitra()] if available else []
    says = FakePresence(past_chat.mitra, *others)
    shown_now = (await paying.as_shown(database, says, past_chat.customer, payment)).pairing  # type: ignore[arg-type]
    assert shown_now is not None
    assert shown_now.fallback is not None
    assert shown_now.fallback.other_available is available


@pytest.mark.rule("3.8")
@pytest.mark.invariant(4)
async def test_declining_the_fallback_twice_ends_the_journey_once(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    """The failure of the journey keeps the tag of the targeted pairing."""
    failed_id = await fail_by_rejection(database, make, past_chat)
    await decline(database, past_chat, failed_id)
    await decline(database, past_chat, failed_id)
    payment, failed = await shown(database, past_chat)
    assert payment.status == "unserved"
    assert failed.fallback is not None
    assert not failed.fallback.allowed
    assert await log_of(database) == [("targeted_mitra_rejected", False, True)]
    with pytest.raises(FallbackDecided):
        await take(database, past_chat, failed_id, [await make.mitra()])


@pytest.mark.rule("3.8")
@pytest.mark.invariant(4, 5)
async def test_the_payment_session_expires_with_a_case_when_the_customer_ignores_the_fallback(
    database: Database, clock: VirtualClock, make: Make, past_chat: PastChat
) -> None:
    await clock.set()
    failed_id = await fail_by_rejection(database, make, past_chat)
    await clock.advance(ANSWER_SECONDS - 0.001)
    assert await fire_due(database) == 0
    await clock.advance(0.001)
    with pytest.raises(FallbackDecided):
        await take(database, past_chat, failed_id, [await make.mitra()])
    assert await fire_due(database) == 1
    assert (await shown(database, past_chat))[0].status == "unserved"
    assert await log_of(database) == [
        ("targeted_mitra_rejected", False, True),
        ("payment_session_expired", False, True),
    ]


@pytest.mark.rule("3.5")
async def test_a_fallback_can_be_taken_once_and_only_by_its_own_customer(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    failed_id, other = await fail_by_rejection(database, make, past_chat), await make.mitra()
    stranger = PastChat(await make.customer(), past_chat.mitra)
    with pytest.raises(NotFound):
        await take(database, stranger, failed_id, [other])
    with pytest.raises(NotFound):
        await decline(database, stranger, failed_id)
    await take(database, past_chat, failed_id, [other])
    with pytest.raises(FallbackDecided):
        await take(database, past_chat, failed_id, [other])
    with pytest.raises(FallbackDecided):
        await decline(database, past_chat, failed_id)
    with pytest.raises(PairingDecided):
        async with database.transaction() as tx:
            await searching.cancel_search(tx, past_chat.customer, failed_id)
    assert (
        await database.fetchval("SELECT count(*) FROM pairings WHERE kind = 'blast' AND status = 'open'") == 1
    )


@pytest.mark.rule("X.1", "3.8")
async def test_a_failed_trial_with_a_chosen_mitra_opens_a_case_of_0_rupiah(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    pairing_id = await ask(database, make, past_chat, price_rp=0)
    await reject(database, past_chat.mitra, await request_of(database, pairing_id, past_chat.mitra))
    await decline(database, past_chat, pairing_id)
    assert await database.fetchval("SELECT amount_rp FROM review_cases") == 0


# Forbidden steps -----------------------------------------------------------------------------------------


@pytest.mark.rule("3.5", "3.9")
@pytest.mark.invariant(2, 3)
async def test_the_database_refuses_a_blast_before_the_customer_has_taken_the_fallback(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    """The database also refuses a request to the mitra whom the fallback leaves out."""
    failed_id = await fail_by_rejection(database, make, past_chat)
    payment_id = await database.fetchval("SELECT payment_id FROM pairings WHERE id = $1", failed_id)
    assert (
        await in_own_transaction(
            database,
            lambda tx: _expect_violation(
                tx.execute(OPEN_BLAST_BY_HAND, payment_id), "pairings_of_their_payment"
            ),
        )
        == "done"
    )
    blast = await take(database, past_chat, failed_id, [await make.mitra()])
    assert (
        await in_own_transaction(
            database,
            lambda tx: _expect_violation(
                tx.execute(ASK_BY_HAND, blast.id, past_chat.mitra), "requests_of_their_pairing"
            ),
        )
        == "done"
    )


@pytest.mark.rule("3.5")
async def test_the_code_and_the_database_allow_a_fallback_for_the_same_failure_tags(
    database: Database, make: Make, past_chat: PastChat
) -> None:
    for tag in sorted(states.ALL_TAGS):
        offers = tag in states.OFFERS_A_FALLBACK
        payment_id = await make.confirmed_payment(past_chat.customer, target_mitra_id=past_chat.mitra)
        await _expect_violation(
            database.execute(FAIL_BY_HAND, payment_id, past_chat.customer, past_chat.mitra, tag, not offers),
            "pairings_fallback_after_a_targeted_failure",
        )
        await database.execute("DELETE FROM charge_attempts")
        await database.execute("UPDATE payments SET status = 'unserved' WHERE id = $1", payment_id)


OPEN_BLAST_BY_HAND = """
INSERT INTO pairings (payment_id, customer_id, kind, deadline_at)
SELECT id, customer_id, 'blast', curhat_now() FROM payments WHERE id = $1
"""
ASK_BY_HAND = "INSERT INTO requests (pairing_id, mitra_id, is_returning) VALUES ($1, $2, true)"
FAIL_BY_HAND = """
INSERT INTO pairings (payment_id, customer_id, kind, target_mitra_id, status, failure_tag, deadline_at, decided_at,
    fallback_status, fallback_answer_by)
VALUES ($1, $2, 'targeted', $3, 'failed', $4, curhat_now(), curhat_now(),
    CASE WHEN $5 THEN 'open' END, CASE WHEN $5 THEN curhat_now() END)
"""


async def _expect_violation(step: object, constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await step  # type: ignore[misc]
    assert refusal.value.constraint_name == constraint
