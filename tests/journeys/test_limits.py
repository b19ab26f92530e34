"""Test the limits per person (X.13), the trial rule (2a.9) and the availability check at the confirmation (1.8)."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest
import valkey.asyncio

from curhat.deadlines import loop as deadline_loop
from curhat.journeys import availability, charging, paying, searching
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown, TooManyRequests
from curhat.pairing import service as pairing
from curhat.pairing.errors import MitraUnavailable, NoMitraAvailable
from curhat.pairing.service import Target
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.service import Charge
from curhat.presence.service import Presence
from curhat.pricing import service as pricing
from curhat.pricing.errors import TrialUsed
from curhat.sessions import extension
from curhat.sessions import service as sessions
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, open_blast, reject, request_of
from tests.support.people import Make
from tests.support.presence_hooks import IGNORED_HOOKS
from tests.support.race import command, race
from tests.support.signed_in import RunningServer, problem
from tests.support.toggle import set_toggle

AVAILABLE = availability.GateAnswer(available=True, mitra_reachable=True)


async def open_payment(
    database: Database, customer: UUID, offer: UUID, target_mitra_id: UUID | None = None
) -> UUID:
    async with database.transaction() as tx:
        return (await paying.open_payment(tx, customer, offer, AVAILABLE, target_mitra_id)).id


async def leave(database: Database, customer: UUID, payment_id: UUID) -> None:
    async with database.transaction() as tx:
        await paying.cancel_payment(tx, customer, payment_id)


async def begin(
    database: Database, customer: UUID, payment_id: UUID, candidates: Sequence[UUID] | None
) -> Charge | None:
    async with database.transaction() as tx:
        return await paying.begin_confirmation(tx, customer, payment_id, candidates)


async def answer(database: Database, charge: Charge | None, status: str) -> None:
    assert charge is not None
    async with database.transaction() as tx:
        await charging.charge_answered(tx, charge.key, ChargeAnswer(status), [])  # type: ignore[arg-type]


async def search(database: Database, customer: UUID, offer: UUID, mitra: UUID) -> UUID:
    """Open and confirm a trial. Returns the id of the trial's blast."""
    payment_id = await open_payment(database, customer, offer)
    assert await begin(database, customer, payment_id, [mitra]) is None
    pairing_id: UUID = await database.fetchval("SELECT id FROM pairings WHERE payment_id = $1", payment_id)
    return pairing_id


async def cancel(database: Database, customer: UUID, pairing_id: UUID) -> None:
    async with database.transaction() as tx:
        await searching.cancel_search(tx, customer, pairing_id)


async def trial_is_offered(database: Database, customer: UUID) -> tuple[bool, bool]:
    """Return whether the profile and the list of offers contain the trial."""
    async with database.transaction() as tx:
        in_profile = await pricing.trial_available(tx, customer)
        offers = await pricing.offers(tx, customer, "session")
    return in_profile, any(offer.is_trial for offer in offers)


async def fire_due(database: Database) -> None:
    transitions = Transitions(database, FakePresence(), MockGateway(database))  # type: ignore[arg-type]
    await deadline_loop.run_once(database, transitions.by_kind())


# Counted steps -------------------------------------------------------------------------------------------------


@pytest.mark.rule("X.13")
async def test_a_customer_opens_at_most_ten_payments_in_ten_minutes(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer, other, offer = await make.customer(), await make.customer(), await make.offer()
    for _ in range(10):
        await leave(database, customer, await open_payment(database, customer, offer))
        await clock.advance(10)
    with pytest.raises(TooManyRequests) as refusal:
        await open_payment(database, customer, offer)
    assert refusal.value.retry_after_seconds == 500
    await open_payment(database, other, offer)

    await clock.advance(499)
    with pytest.raises(TooManyRequests):
        await open_payment(database, customer, offer)
    await clock.advance(1)
    await open_payment(database, customer, offer)


@pytest.mark.rule("X.13")
async def test_two_concurrent_openings_do_not_exceed_the_limit_together(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """The second opening counts the payments before the first opening commits."""
    await clock.set()
    customer, offer = await make.customer(), await make.offer()
    for _ in range(9):
        await leave(database, customer, await open_payment(database, customer, offer))

    async def open_and_leave(tx: object) -> None:
        payment = await paying.open_payment(tx, customer, offer, AVAILABLE)  # type: ignore[arg-type]
        await paying.cancel_payment(tx, customer, payment.id)  # type: ignore[arg-type]

    tenth = command(database, open_and_leave)
    eleventh = command(database, lambda tx: paying.open_payment(tx, customer, offer, AVAILABLE))
    assert await race(database, tenth, eleventh) == ("done", "too_many_requests")
    assert await database.fetchval("SELECT count(*) FROM payments") == 10


@pytest.mark.rule("X.13")
async def test_a_customer_confirms_at_most_twenty_times_in_an_hour(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """Each confirmation after a decline counts, and a confirmation of a trial counts.

    A repeated confirmation does not count again.
    """
    await clock.set()
    customer, mitra, offer = await make.customer(), await make.mitra(), await make.offer()
    pairing_id = await search(database, customer, await make.offer(duration_minutes=5, price_rp=0), mitra)
    await reject(database, mitra, await request_of(database, pairing_id, mitra))
    payment_id = await open_payment(database, customer, offer)
    for _ in range(19):
        charge = await begin(database, customer, payment_id, [mitra])
        assert await begin(database, customer, payment_id, [mitra]) is None
        await answer(database, charge, "declined")
        await clock.advance(1)
    await leave(database, customer, payment_id)
    payment_id = await open_payment(database, customer, offer)
    with pytest.raises(TooManyRequests) as refusal:
        await begin(database, customer, payment_id, [mitra])
    assert refusal.value.retry_after_seconds == 3600 - 19
    assert await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id) == "pending"
    assert await database.fetchval("SELECT count(*) FROM charge_attempts") == 19


@pytest.mark.rule("X.13")
async def test_a_customer_asks_for_at_most_thirty_extensions_in_an_hour(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    offer = await make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    chat = await open_chat(database, make, minutes=60)

    async def ask() -> None:
        async with database.transaction() as tx:
            asked = await extension.request(tx, chat.customer.user_id, chat.id, offer, connected=True)
            await extension.reject_by_mitra(tx, chat.mitra.user_id, asked.id)

    for _ in range(30):
        await ask()
    await clock.advance(60)
    with pytest.raises(TooManyRequests) as refusal:
        await ask()
    assert refusal.value.retry_after_seconds == 3540
    assert await database.fetchval("SELECT count(*) FROM extensions") == 30


# The trial -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("2a.3", "2a.9")
async def test_a_trial_is_used_up_when_the_customer_cancels_it_after_the_confirmation(
    database: Database, make: Make
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    trial = await make.offer(duration_minutes=5, price_rp=0)
    # If the customer leaves a trial before the confirmation, the trial is not used up.
    await leave(database, customer, await open_payment(database, customer, trial))
    assert await trial_is_offered(database, customer) == (True, True)

    await cancel(database, customer, await search(database, customer, trial, mitra))

    assert await trial_is_offered(database, customer) == (False, False)
    with pytest.raises(TrialUsed):
        await open_payment(database, customer, trial)
    # A cancelled paid search uses up no trial.
    other = await make.customer()
    payment_id = await make.confirmed_payment(other)
    await cancel(database, other, await open_blast(database, payment_id, [mitra]))
    assert await trial_is_offered(database, other) == (True, True)


@pytest.mark.rule("2a.3", "2a.9")
async def test_a_customer_can_confirm_at_most_three_failing_trials_in_24_hours(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer, mitra = await make.customer(), await make.mitra()
    trial = await make.offer(duration_minutes=5, price_rp=0)
    for number in range(3):
        assert await trial_is_offered(database, customer) == (True, True), number
        pairing_id = await search(database, customer, trial, mitra)
        await reject(database, mitra, await request_of(database, pairing_id, mitra))
        await clock.advance(3600)
    assert await trial_is_offered(database, customer) == (False, False)
    with pytest.raises(TrialUsed):
        await open_payment(database, customer, trial)

    await clock.advance(21 * 3600)
    assert await trial_is_offered(database, customer) == (True, True)
    session = await accept(
        database,
        mitra,
        await request_of(database, await search(database, customer, trial, mitra), mitra),
    )
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customer, session.id)
    await clock.advance(48 * 3600)
    assert await trial_is_offered(database, customer) == (False, False)


@pytest.mark.rule("2a.9")
async def test_a_customer_can_ask_a_chosen_mitra_for_at_most_three_trials_in_24_hours(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    mitra = await make.mitra(max_customers=2)
    chat = await open_chat(database, make, mitra_id=mitra)
    customer = chat.customer.user_id
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customer, chat.id)
    trial = await make.offer(duration_minutes=5, price_rp=0)
    for _ in range(3):
        payment_id = await open_payment(database, customer, trial, mitra)
        await begin(database, customer, payment_id, [mitra])
        pairing_id = await database.fetchval("SELECT id FROM pairings WHERE payment_id = $1", payment_id)
        await reject(database, mitra, await request_of(database, pairing_id, mitra))
        async with database.transaction() as tx:
            await pairing.decline_fallback(tx, pairing_id, customer)
    with pytest.raises(TrialUsed):
        await open_payment(database, customer, trial, mitra)
    assert await database.fetchval("SELECT count(*) FROM requests WHERE mitra_id = $1", mitra) == 3


@pytest.mark.rule("2a.9")
async def test_a_trial_cannot_be_opened_while_the_search_of_another_trial_is_being_cancelled(
    database: Database, make: Make
) -> None:
    """The opening reads the unused trial before the cancellation commits."""
    customer, mitra = await make.customer(), await make.mitra()
    trial = await make.offer(duration_minutes=5, price_rp=0)
    pairing_id = await search(database, customer, trial, mitra)
    cancels = command(database, lambda tx: searching.cancel_search(tx, customer, pairing_id))
    opens = command(database, lambda tx: paying.open_payment(tx, customer, trial, AVAILABLE))
    assert await race(database, cancels, opens) == ("done", "trial_used")


@pytest.mark.rule("2a.9")
async def test_a_trial_that_is_used_up_cannot_be_confirmed(database: Database, make: Make) -> None:
    """The service and the database both refuse to confirm the trial."""
    customer, mitra = await make.customer(), await make.mitra()
    trial = await make.offer(duration_minutes=5, price_rp=0)
    payment_id = await open_payment(database, customer, trial)
    await open_and_cancel_by_hand(database, make, customer, mitra)
    with pytest.raises(TrialUsed):
        await begin(database, customer, payment_id, [mitra])
    assert await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id) == "pending"
    with pytest.raises(asyncpg.CheckViolationError, match="used up the trial"):
        await database.execute(
            "UPDATE payments SET status = 'confirmed', confirmed_at = curhat_now() WHERE id = $1", payment_id
        )


async def open_and_cancel_by_hand(database: Database, make: Make, customer: UUID, mitra: UUID) -> None:
    """Give the customer a cancelled trial and an open payment at the same time.

    The services do not allow this state.
    """
    other = await make.customer()
    payment_id = await make.confirmed_payment(other, duration_minutes=5, price_rp=0)
    await cancel(database, other, await open_blast(database, payment_id, [mitra]))
    await database.execute("UPDATE payments SET customer_id = $1 WHERE id = $2", customer, payment_id)


# Availability check --------------------------------------------------------------------------------------------


@pytest.mark.rule("1.7", "1.8")
@pytest.mark.invariant(2)
@pytest.mark.parametrize("price_rp", [20_000, 0])
async def test_a_search_that_can_ask_no_mitra_is_not_charged(
    database: Database, make: Make, price_rp: int
) -> None:
    """For a short time, Valkey's list still contains a mitra whose toggle is off or whose capacity is full."""
    customer, offer = await make.customer(), await make.offer(price_rp=price_rp)
    payment_id = await open_payment(database, customer, offer)
    off = await make.mitra(online=False)
    full = (await open_chat(database, make, mitra_id=await make.mitra())).mitra.user_id
    himself = await make.mitra(person_id=customer)
    for candidates in ([], [off], [full], [himself], [off, full, himself]):
        with pytest.raises(NoMitraAvailable):
            await begin(database, customer, payment_id, candidates)
    assert await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id) == "pending"
    assert (
        await database.fetchval("SELECT count(*) FROM charge_attempts WHERE payment_id = $1", payment_id) == 0
    )
    assert await database.fetchval("SELECT count(*) FROM pairings WHERE payment_id = $1", payment_id) == 0

    somebody = await make.mitra()
    await begin(database, customer, payment_id, [off, somebody])
    confirmed = await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id)
    assert confirmed == ("confirming" if price_rp else "confirmed")


@pytest.fixture
async def past_chat(database: Database, make: Make) -> Chat:
    """A chat that has ended. The chat's mitra is online and takes one customer."""
    chat = await open_chat(database, make, mitra_id=await make.mitra())
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return chat


@pytest.mark.rule("1.8", "4.4")
@pytest.mark.parametrize("status", ["offline", "full", "unreachable"])
async def test_a_payment_for_an_unavailable_mitra_is_charged_only_if_another_mitra_is_available(
    database: Database, make: Make, past_chat: Chat, status: str
) -> None:
    customer, mitra = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await open_payment(database, customer, await make.offer(), mitra)
    candidates = [] if status == "unreachable" else [mitra]
    if status == "offline":
        async with database.transaction() as tx:
            await set_toggle(tx, mitra, online=False)
    elif status == "full":
        await open_chat(database, make, mitra_id=mitra)

    with pytest.raises(MitraUnavailable) as refusal:
        await begin(database, customer, payment_id, candidates)
    shown = "full" if status == "full" else "offline"
    assert refusal.value.fields == {"mitra_status": shown, "other_available": False}
    assert await database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id) == "pending"
    assert (
        await database.fetchval("SELECT count(*) FROM charge_attempts WHERE payment_id = $1", payment_id) == 0
    )

    other = await make.mitra()
    charge = await begin(database, customer, payment_id, [*candidates, other])
    assert charge is not None
    async with database.transaction() as tx:
        await charging.charge_answered(tx, charge.key, ChargeAnswer("approved"), [*candidates, other])
    row = await database.fetchrow(
        "SELECT failure_tag, fallback_status FROM pairings WHERE payment_id = $1", payment_id
    )
    assert row is not None
    assert tuple(row) == ("targeted_mitra_offline", "open")


@pytest.mark.rule("1.8", "3.6")
async def test_a_payment_for_an_available_mitra_needs_no_other_mitra(
    database: Database, make: Make, past_chat: Chat
) -> None:
    customer, mitra = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await open_payment(database, customer, await make.offer(), mitra)
    assert await begin(database, customer, payment_id, [mitra]) is not None


@pytest.fixture
async def presence(valkey_client: valkey.asyncio.Valkey, database: Database) -> Presence:
    """The presence of one server process, with a real Valkey."""
    return Presence(valkey_client, database, IGNORED_HOOKS)


async def report(presence: Presence, *mitras: UUID) -> None:
    """Report frames and states of these mitras to Valkey."""
    for mitra in mitras:
        presence.frame_received(mitra, "phone")
    await presence.flush()
    await presence.refresh(mitras)


@pytest.mark.rule("1.6", "1.8", "3.6", "4.4", "X.10")
@pytest.mark.invariant(11)
async def test_a_chosen_mitra_who_is_not_in_valkey_yet_does_not_count_as_offline(
    database: Database, make: Make, past_chat: Chat, presence: Presence, valkey_client: valkey.asyncio.Valkey
) -> None:
    """Valkey was emptied. Another mitra is in its list again, so the list is not empty."""
    customer, chosen, other = past_chat.customer.user_id, past_chat.mitra.user_id, await make.mitra()
    for mitra in (chosen, other):
        await presence.opened(mitra, "phone")
    await report(presence, chosen, other)
    payment_id = await open_payment(database, customer, await make.offer(), chosen)
    await valkey_client.flushall()
    await report(presence, other)
    candidates = await availability.candidates_or_none(presence)
    assert candidates == [other]
    with pytest.raises(PresenceUnknown):
        await begin(database, customer, payment_id, candidates)
    attempts = "SELECT count(*) FROM charge_attempts WHERE payment_id = $1"
    assert await database.fetchval(attempts, payment_id) == 0

    await report(presence, chosen)
    candidates = await availability.candidates_or_none(presence)
    charge = await begin(database, customer, payment_id, candidates)
    assert charge is not None
    # Valkey is emptied again while the gateway is called. Then the approval opens the pairing.
    await valkey_client.flushall()
    await report(presence, other)
    await charging.record_charge_answer(database, presence, charge.key, ChargeAnswer("approved"))
    request = "SELECT mitra_id, requests.status FROM requests JOIN pairings ON pairings.id = pairing_id"
    row = await database.fetchrow(f"{request} WHERE payment_id = $1", payment_id)
    assert row is not None
    assert tuple(row) == (chosen, "offered")


@pytest.mark.rule("1.6", "1.8", "3.5", "X.10")
@pytest.mark.invariant(11)
@pytest.mark.parametrize("chosen_is", [None, "offline", "full"])
async def test_nobody_is_said_to_be_available_only_from_a_list_that_lacks_no_mitra(
    database: Database, make: Make, past_chat: Chat, chosen_is: str | None
) -> None:
    customer, mitra = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await open_payment(
        database, customer, await make.offer(), None if chosen_is is None else mitra
    )
    himself = await make.mitra(person_id=customer)
    if chosen_is == "offline":
        async with database.transaction() as tx:
            await set_toggle(tx, mitra, online=False)
    elif chosen_is == "full":
        await open_chat(database, make, mitra_id=mitra)
    known = [himself, mitra] if chosen_is else [himself]
    with pytest.raises(PresenceUnknown):
        await begin(database, customer, payment_id, availability.SomeCandidates(known))
    with pytest.raises(NoMitraAvailable if chosen_is is None else MitraUnavailable):
        await begin(database, customer, payment_id, known)
    # A mitra who is in the list can be asked all the same.
    known.append(await make.mitra())
    assert await begin(database, customer, payment_id, availability.SomeCandidates(known)) is not None


@pytest.mark.rule("3.5", "X.10")
async def test_the_fallback_is_refused_for_lack_of_mitras_only_from_a_list_that_lacks_no_mitra(
    database: Database, make: Make, past_chat: Chat
) -> None:
    customer, mitra = past_chat.customer.user_id, past_chat.mitra.user_id
    payment_id = await make.confirmed_payment(customer, target_mitra_id=mitra)
    async with database.transaction() as tx:
        target = Target(mitra, reachable=False, other_available=True)
        pairing_id = await pairing.open_targeted(tx, payment_id, 20, target)

    async def take(candidates: list[UUID]) -> None:
        async with database.transaction() as tx:
            await searching.take_fallback(tx, customer, pairing_id, candidates)

    with pytest.raises(PresenceUnknown):
        await take(availability.SomeCandidates([mitra]))
    with pytest.raises(NoMitraAvailable):
        await take([mitra])
    await take(availability.SomeCandidates([mitra, await make.mitra()]))


# Over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("1.8", "2a.9")
async def test_no_trial_is_confirmed_without_an_available_mitra_or_opened_after_a_cancelled_trial(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    trial = {"offer_id": str(await server.make.offer(duration_minutes=5, price_rp=0))}
    async with server.available_mitra() as mitra:
        opened = await customer.post("/payments", trial)
        confirm = f"/payments/{opened.json()['id']}/confirm"
        await mitra.put("/presence", {"online": False})
        assert problem(await customer.post(confirm)) == (409, "no_mitra_available")
        assert (await customer.get(f"/payments/{opened.json()['id']}")).json()["status"] == "pending"
        assert (await customer.get("/me")).json()["trial_available"] is True

        await mitra.put("/presence", {"online": True})
        pairing_id = (await customer.post(confirm)).json()["pairing"]["id"]
        assert problem(await customer.post(f"/pairings/{pairing_id}/cancel")) == (200, None)
        assert (await customer.get("/me")).json()["trial_available"] is False
        offers = (await customer.get("/pricing", purpose="session")).json()["offers"]
        assert not any(offer["is_trial"] for offer in offers)
        assert problem(await customer.post("/payments", trial)) == (409, "trial_used")


@pytest.mark.rule("X.13")
async def test_a_refusal_beyond_a_limit_names_the_time_to_wait_and_the_key_can_be_used_again(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, mitra = await server.customer(), await server.mitra()
    offer = {"offer_id": str(await server.make.offer())}
    async with server.available_mitra():
        for _ in range(10):
            payment_id = (await customer.post("/payments", offer)).json()["id"]
            await customer.post(f"/payments/{payment_id}/cancel")
        refused = await customer.post("/payments", offer, key="the eleventh")
        assert (problem(refused), refused.headers["retry-after"]) == ((429, "too_many_requests"), "600")
        await clock.advance(600)
        opened = await customer.post("/payments", offer, key="the eleventh")
        assert problem(opened) == (201, None)
        await customer.post(f"/payments/{opened.json()['id']}/cancel")

    chat = await server.chat(customer.id, mitra.id)
    path = f"/sessions/{chat.id}/messages"
    sent = [await customer.post(path, {"client_message_id": f"m{n}", "text": "halo"}) for n in range(21)]
    assert [answer.status_code for answer in sent] == [201] * 20 + [429]
    assert problem(sent[-1]) == (429, "too_many_requests")
    assert 1 <= int(sent[-1].headers["retry-after"]) <= 5
    again = await customer.post(path, {"client_message_id": "m0", "text": "halo"})
    assert (again.status_code, again.json()["id"]) == (201, sent[0].json()["id"])
