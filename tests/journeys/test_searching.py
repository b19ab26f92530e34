"""Test the blast, its answers and its failures through the services (section 2b)."""

from uuid import UUID

import msgspec
import pytest

from curhat.deadlines import loop as deadline_loop
from curhat.journeys import mitras, searching
from curhat.journeys.snapshot import customer_state
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.pairing import service, states, views
from curhat.pairing.cards import Cards, open_requests
from curhat.pairing.schemas import Request
from curhat.payments import states as payment_states
from curhat.payments.mock.gateway import MockGateway
from curhat.realtime.event_types import UnsequencedEvent
from curhat.sessions import service as sessions
from curhat.sessions import states as session_states
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import (
    WINDOW_SECONDS,
    accept,
    in_own_transaction,
    open_blast,
    outcome,
    reject,
    request_of,
)
from tests.support.people import Make
from tests.support.signals import RecordedSignals
from tests.support.toggle import set_toggle


async def fire_due(database: Database) -> int:
    transitions = Transitions(database, FakePresence(), MockGateway(database))  # type: ignore[arg-type]
    return await deadline_loop.run_once(database, transitions.by_kind())


async def failure(database: Database) -> tuple[str, ...]:
    row = await database.fetchrow(
        """
        SELECT payments.status, failed_pairing_events.tag, review_cases.reason, review_cases.amount_rp::text
        FROM failed_pairing_events
        JOIN payments ON payments.id = failed_pairing_events.payment_id
        JOIN review_cases ON review_cases.id = failed_pairing_events.case_id
        """
    )
    assert row is not None
    return tuple(row)


async def toggle(database: Database, mitra: UUID, *, online: bool) -> None:
    async with database.transaction() as tx:
        await set_toggle(tx, mitra, online=online)


@pytest.mark.rule("2b.2", "2b.3", "X.1")
@pytest.mark.invariant(4, 5)
async def test_the_payment_is_kept_with_a_tag_and_a_case_when_no_mitra_accepts_in_time(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    customer, mitra = await make.customer(), await make.mitra()
    await open_blast(database, await make.confirmed_payment(customer), [mitra])
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database)
    assert await failure(database) == ("unserved", "no_mitra_available", "no_session", "20000")
    assert await database.fetchval("SELECT close_reason FROM requests") == "timed_out"
    shown = await customer_state(database, customer)
    assert shown.payment is not None
    assert shown.payment.pairing is not None
    assert shown.payment.pairing.failure_tag == "no_mitra_available"


@pytest.mark.rule("1.7", "2b.3")
async def test_a_blast_that_asks_no_mitra_still_runs_its_full_window(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    await open_blast(database, await make.confirmed_payment(await make.customer()), [])
    await clock.advance(WINDOW_SECONDS - 1)
    await fire_due(database)
    latecomer = await make.mitra()
    assert (await service.offer_open_blasts(database, [latecomer])).requests == 1


@pytest.mark.rule("2b.1", "1.5")
async def test_the_customer_learns_once_that_somebody_is_asked_and_never_how_many(
    database: Database, make: Make
) -> None:
    customer = await make.customer()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [])

    async def told() -> list[bool]:
        events = await database.fetch(
            "SELECT data FROM stream_events WHERE type = 'pairing.updated' ORDER BY seq"
        )
        return [msgspec.json.decode(event["data"])["anybody_asked"] for event in events]

    async with database.transaction() as tx:
        assert (await views.pairing_view(tx, pairing_id, customer)).anybody_asked is False
    first, second = await make.mitras(2)
    await service.offer_open_blasts(database, [first])
    await service.offer_open_blasts(database, [first, second])
    assert await told() == [True]
    # The search goes on after everybody who was asked has left.
    await toggle(database, first, online=False)
    async with database.transaction() as tx:
        assert (await views.pairing_view(tx, pairing_id, customer)).anybody_asked is True


@pytest.mark.rule("2b.4")
async def test_the_blast_fails_immediately_when_every_asked_mitra_has_rejected(
    database: Database, make: Make
) -> None:
    mitras = await make.mitras(3)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    for mitra in mitras:
        assert await database.fetchval("SELECT status FROM pairings") == "open"
        await reject(database, mitra, await request_of(database, pairing_id, mitra), mitras)
    assert await failure(database) == ("unserved", "all_mitras_rejected", "no_session", "20000")


@pytest.mark.rule("2b.4")
async def test_the_last_rejection_does_not_fail_the_blast_while_another_mitra_is_available(
    database: Database, make: Make
) -> None:
    asked, other = await make.mitras(2)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), [asked])
    await reject(database, asked, await request_of(database, pairing_id, asked), [asked, other])
    assert await database.fetchval("SELECT status FROM pairings") == "open"
    assert (await service.offer_open_blasts(database, [asked, other])).requests == 1
    await reject(database, other, await request_of(database, pairing_id, other), [asked, other])
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "all_mitras_rejected"


@pytest.mark.rule("2b.4")
async def test_a_mitra_who_was_asked_and_went_offline_does_not_count_as_rejecting(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    stays, leaves = await make.mitras(2)
    pairing_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [stays, leaves]
    )
    async with database.transaction() as tx:
        await mitras.intent_changed(tx, leaves, online=False)
    await reject(database, stays, await request_of(database, pairing_id, stays))
    assert await database.fetchval("SELECT status FROM pairings") == "open"
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database)
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "no_mitra_available"


@pytest.mark.rule("2b.4", "X.10")
async def test_the_worker_counts_rejections_at_the_end_of_the_window_while_presence_is_unknown(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    mitra = await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    async with database.transaction() as tx:
        await service.reject(tx, request_id, mitra, None)
    assert await database.fetchval("SELECT status FROM pairings") == "open"
    await clock.advance(WINDOW_SECONDS)
    await fire_due(database)
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "all_mitras_rejected"


@pytest.mark.rule("2b.6")
async def test_a_mitra_who_rejected_is_not_asked_again(database: Database, make: Make) -> None:
    rejects, other = await make.mitras(2)
    pairing_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [rejects, other]
    )
    await reject(database, rejects, await request_of(database, pairing_id, rejects))
    assert (await service.offer_open_blasts(database, [rejects, other])).requests == 0
    assert await open_requests(database, [rejects]) == {}


@pytest.mark.rule("2b.6")
async def test_a_search_never_asks_the_customer_who_is_also_a_mitra(database: Database, make: Make) -> None:
    both = await make.customer()
    await make.mitra(person_id=both)
    await open_blast(database, await make.confirmed_payment(both), [both])
    assert (await service.offer_open_blasts(database, [both])).requests == 0
    assert await database.fetchval("SELECT count(*) FROM requests") == 0


# Waves ---------------------------------------------------------------------------------------------------


async def fire_waves(database: Database, *available: UUID, unknown: bool = False) -> int:
    """Fire the due deadlines. `available` are the mitras who can be asked now."""
    presence = FakePresence(*available)
    presence.unknown = unknown
    transitions = Transitions(database, presence, MockGateway(database))  # type: ignore[arg-type]
    return await deadline_loop.run_once(database, transitions.by_kind())


async def make_waiting(database: Database, mitra: UUID, minutes: int) -> None:
    """Let the mitra wait for `minutes`."""
    await database.execute(
        "UPDATE mitras SET waiting_since = curhat_now() - make_interval(mins => $2) WHERE id = $1",
        mitra,
        minutes,
    )


async def asked_mitras(database: Database) -> set[UUID]:
    return {row["mitra_id"] for row in await database.fetch("SELECT mitra_id FROM requests")}


@pytest.mark.rule("2b.2", "2b.6", "2b.10")
async def test_a_blast_asks_in_waves_those_first_who_have_waited_longest(
    database: Database, clock: VirtualClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAVE_MITRAS", 2)
    await clock.set()
    mitras = await make.mitras(5, max_customers=2)
    for mitra, minutes in zip(mitras, [10, 50, 30, 20, 40], strict=True):
        await make_waiting(database, mitra, minutes)
    # This mitra has waited longest, but is in a session.
    await database.execute("UPDATE mitras SET active_sessions = 1 WHERE id = $1", mitras[1])
    await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    assert await asked_mitras(database) == {mitras[4], mitras[2]}

    # A mitra who becomes available between two waves waits behind those who have waited longer.
    newcomer = await make.mitra()
    available = [*mitras, newcomer]
    assert (await service.offer_open_blasts(database, [newcomer])).requests == 0
    await clock.advance(2.9)
    assert await fire_waves(database, *available) == 0
    await clock.advance(0.1)
    assert await fire_waves(database, *available) == 1
    assert await asked_mitras(database) == {mitras[4], mitras[2], mitras[3], mitras[0]}
    await clock.advance(3)
    assert await fire_waves(database, *available) == 1
    assert await asked_mitras(database) == set(available)

    # Everybody was asked. One more wave asks those who became available during the last wave.
    latecomer = await make.mitra()
    assert (await service.offer_open_blasts(database, [latecomer])).requests == 1
    await clock.advance(3)
    assert await fire_waves(database, *available, latecomer) == 1
    assert await database.fetchval("SELECT count(*) FROM deadlines WHERE kind = 'blast_wave'") == 0


@pytest.mark.rule("2b.10")
async def test_a_blast_asks_500_of_1100_available_mitras_at_once(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment_id = await make.confirmed_payment(await make.customer())
    rows = await database.fetch(
        """
        WITH person AS (
            INSERT INTO people (phone_number) SELECT '+62813' || number FROM generate_series(1000001, 1001100) AS number
            RETURNING id
        )
        INSERT INTO mitras (id, display_name, max_customers, online) SELECT id, 'Kak', 1, true FROM person RETURNING id
        """
    )
    mitras = [row["id"] for row in rows]
    await open_blast(database, payment_id, mitras)
    counts = [len(await asked_mitras(database))]
    for _ in range(3):
        await clock.advance(3)
        await fire_waves(database, *mitras)
        counts.append(len(await asked_mitras(database)))
    assert counts == [500, 1000, 1100, 1100]


@pytest.mark.rule("2b.4", "2b.10")
async def test_the_blast_waits_for_the_mitras_of_later_waves_when_every_asked_mitra_has_rejected(
    database: Database, clock: VirtualClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAVE_MITRAS", 1)
    await clock.set()
    first, second = mitras = await make.mitras(2)
    await make_waiting(database, first, 10)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    await reject(database, first, await request_of(database, pairing_id, first), mitras)
    assert await database.fetchval("SELECT status FROM pairings") == "open"
    await clock.advance(3)
    await fire_waves(database, *mitras)
    await reject(database, second, await request_of(database, pairing_id, second), mitras)
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "all_mitras_rejected"


@pytest.mark.rule("2b.4", "2b.10")
async def test_a_blast_whose_time_is_up_before_its_last_wave_has_not_been_rejected_by_all(
    database: Database, clock: VirtualClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAVE_MITRAS", 1)
    await clock.set()
    first, _ = mitras = await make.mitras(2)
    await make_waiting(database, first, 10)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    await reject(database, first, await request_of(database, pairing_id, first), mitras)
    # No worker has run since the blast began.
    await clock.advance(WINDOW_SECONDS)
    await fire_waves(database, *mitras)
    assert await database.fetchval("SELECT failure_tag FROM pairings") == "no_mitra_available"


@pytest.mark.rule("2b.6")
@pytest.mark.invariant(6)
async def test_a_mitra_who_becomes_available_while_the_blast_is_being_opened_is_asked(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    """The blast has asked presence before. The offers to the mitra do not see the blast yet."""
    await clock.set()
    payment_id, mitra = await make.confirmed_payment(await make.customer()), await make.mitra()
    async with database.transaction() as tx:
        await service.open_blast(tx, payment_id, WINDOW_SECONDS, [])
        assert await service.offer_open_blasts(database, [mitra]) == service.Offers(0, is_complete=True)
    await clock.advance(3)
    await fire_waves(database, mitra)
    assert await asked_mitras(database) == {mitra}


@pytest.mark.rule("2b.6", "2b.10", "X.10")
async def test_a_wave_waits_until_presence_is_known(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment_id, mitra = await make.confirmed_payment(await make.customer()), await make.mitra()
    await open_blast(database, payment_id, [])
    for _ in range(2):
        await clock.advance(3)
        assert await fire_waves(database, unknown=True) == 1
    await clock.advance(3)
    await fire_waves(database, mitra)
    assert await asked_mitras(database) == {mitra}
    # The customer learns that somebody is asked now.
    told = await database.fetch("SELECT data FROM stream_events WHERE type = 'pairing.updated'")
    assert [msgspec.json.decode(event["data"])["anybody_asked"] for event in told] == [True]


@pytest.mark.rule("2b.6", "2b.7", "2b.8", "2b.10")
async def test_a_wave_asks_a_mitra_who_has_returned_but_nobody_who_rejected(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    rejects, returns = mitras = await make.mitras(2)
    customer = await make.customer()
    # The customer is also a mitra.
    await make.mitra(person_id=customer)
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [*mitras, customer])
    await reject(database, rejects, await request_of(database, pairing_id, rejects), mitras)
    await toggle(database, returns, online=False)
    await toggle(database, returns, online=True)
    await clock.advance(3)
    await fire_waves(database, *mitras, customer)
    assert await open_requests(database, [rejects, customer]) == {}
    assert list(await open_requests(database, [returns])) == [returns]


@pytest.mark.rule("2b.10")
async def test_a_mitra_waits_since_the_end_of_a_session_or_since_going_online_whichever_is_later(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    async def waited_seconds() -> float:
        return float(
            await database.fetchval("SELECT extract(epoch FROM curhat_now() - waiting_since) FROM mitras")
        )

    await clock.set()
    mitra = await make.mitra()
    await clock.advance(60)
    await toggle(database, mitra, online=True)  # The mitra was online before.
    assert await waited_seconds() == 60
    await toggle(database, mitra, online=False)
    await toggle(database, mitra, online=True)
    assert await waited_seconds() == 0
    customer = await make.customer()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    session = await accept(database, mitra, await request_of(database, pairing_id, mitra))
    await clock.advance(60)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customer, session.id)
    assert await waited_seconds() == 0
    await clock.advance(5)
    assert await waited_seconds() == 5


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(6, 12)
async def test_a_worker_closes_the_requests_of_many_losers_after_the_winner_has_decided(
    database: Database, clock: VirtualClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_CLOSED_BY_WINNER", 2)
    await clock.set()
    winner, *losers = mitras = await make.mitras(4)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    requests = {mitra: await request_of(database, pairing_id, mitra) for mitra in mitras}
    other_id = await open_blast(database, await make.confirmed_payment(await make.customer()), [winner])
    await accept(database, winner, requests[winner])

    # No worker has run. The winner's other request is closed, and nobody sees the card of the first pairing any more.
    assert (
        await database.fetchval("SELECT close_reason FROM requests WHERE pairing_id = $1", other_id)
        == "at_capacity"
    )
    assert await open_requests(database, mitras) == {}
    assert await outcome(accept(database, losers[0], requests[losers[0]])) == "already_taken"
    assert await outcome(reject(database, losers[1], requests[losers[1]])) == "already_taken"

    await fire_due(database)
    reasons = await database.fetch(
        "SELECT DISTINCT close_reason FROM requests WHERE pairing_id = $1 AND mitra_id <> $2",
        pairing_id,
        winner,
    )
    assert [row["close_reason"] for row in reasons] == ["already_taken"]


@pytest.mark.rule("2b.5")
async def test_the_cards_of_many_losers_close_immediately_with_the_reason(
    database: Database, make: Make, signals: RecordedSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_CLOSED_BY_WINNER", 0)
    winner, *losers = mitras = await make.mitras(3)
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), mitras)
    hub = _Hub(*mitras)
    cards = Cards(database, hub)  # type: ignore[arg-type]
    await cards.refresh(mitras)
    hub.sent.clear()
    await accept(database, winner, await request_of(database, pairing_id, winner))
    signalled = msgspec.json.decode(signals.on("requests")[-1], type=list[UUID])
    assert set(signalled) == set(mitras)
    await cards.refresh(signalled)
    assert {(mitra, reason) for mitra, _, reason in hub.sent} == {
        (winner, "accepted"),
        *((loser, "already_taken") for loser in losers),
    }


# The toggle and the capacity -----------------------------------------------------------------------------


@pytest.mark.rule("2b.8")
async def test_going_offline_withdraws_the_requests_and_going_online_offers_them_again(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(await make.customer()), [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    async with database.transaction() as tx:
        await tx.execute("UPDATE mitras SET online = false WHERE id = $1", mitra)
        await mitras.intent_changed(tx, mitra, online=False)
    assert await database.fetchval("SELECT close_reason FROM requests") == "went_offline"
    assert (await service.offer_open_blasts(database, [mitra])).requests == 0
    await toggle(database, mitra, online=True)
    assert (await service.offer_open_blasts(database, [mitra])).requests == 1
    assert [request.id for request in (await open_requests(database, [mitra]))[mitra]] == [request_id]
    assert await outcome(accept(database, mitra, request_id)) == "done"


@pytest.mark.rule("2b.7")
async def test_a_closed_request_is_offered_again_when_the_end_of_a_session_frees_capacity(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra(max_customers=1)
    customers = [await make.customer(), await make.customer()]
    pairings = [
        await open_blast(database, await make.confirmed_payment(customer), [mitra]) for customer in customers
    ]
    first, second = [await request_of(database, pairing_id, mitra) for pairing_id in pairings]
    session = await accept(database, mitra, first)
    assert await database.fetchval("SELECT close_reason FROM requests WHERE id = $1", second) == "at_capacity"
    assert (await service.offer_open_blasts(database, [mitra])).requests == 0
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customers[0], session.id)
    assert (await service.offer_open_blasts(database, [mitra])).requests == 1
    assert await outcome(accept(database, mitra, second)) == "done"


@pytest.mark.rule("2b.7")
async def test_a_refused_accept_gets_the_reason_that_comes_first_in_the_contract(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    winner, loser = await make.mitras(2)
    pairing_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [winner, loser]
    )
    won, lost = [await request_of(database, pairing_id, mitra) for mitra in (winner, loser)]
    await accept(database, winner, won)
    await toggle(database, winner, online=False)
    await toggle(database, loser, online=False)
    await clock.advance(WINDOW_SECONDS + 1)
    # Both mitras are offline, the window is over, and the winner has no free capacity. The winner repeats the accept
    # and still gets the session. The loser still gets the reason that another mitra took the customer.
    assert await outcome(accept(database, winner, won)) == "done"
    assert await outcome(accept(database, loser, lost)) == "already_taken"
    assert await outcome(accept(database, loser, won)) == "not_found"
    assert await outcome(reject(database, loser, lost)) == "already_taken"


@pytest.mark.rule("2b.7")
async def test_an_offline_mitra_and_a_full_mitra_get_the_reason_why_they_cannot_accept(
    database: Database, make: Make
) -> None:
    offline, full = await make.mitras(2)
    pairing_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [offline, full]
    )
    await database.execute("UPDATE mitras SET online = false WHERE id = $1", offline)
    await database.execute("UPDATE mitras SET active_sessions = 1 WHERE id = $1", full)
    assert await outcome(accept(database, offline, await request_of(database, pairing_id, offline))) == (
        "mitra_offline"
    )
    assert (
        await outcome(accept(database, full, await request_of(database, pairing_id, full))) == "at_capacity"
    )
    # The two mitras no longer see the card, although the request is still offered.
    assert await open_requests(database, [offline, full]) == {}


@pytest.mark.rule("2b.9", "X.1")
async def test_cancelling_the_search_opens_a_case_and_closes_the_cards(
    database: Database, make: Make, signals: RecordedSignals
) -> None:
    customer, mitra = await make.customer(), await make.mitra()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
    signals.published.clear()
    assert (
        await in_own_transaction(database, lambda tx: searching.cancel_search(tx, customer, pairing_id))
        == "done"
    )
    assert await failure(database) == ("unserved", "customer_cancelled", "no_session", "20000")
    assert await database.fetchval("SELECT close_reason FROM requests") == "customer_cancelled"
    assert [msgspec.json.decode(payload, type=list[UUID]) for payload in signals.on("requests")] == [[mitra]]
    assert (
        await in_own_transaction(database, lambda tx: searching.cancel_search(tx, customer, pairing_id))
        == "pairing_decided"
    )


@pytest.mark.rule("X.1")
async def test_a_failed_search_for_a_trial_opens_a_case_of_0_rupiah(database: Database, make: Make) -> None:
    customer = await make.customer()
    pairing_id = await open_blast(database, await make.confirmed_payment(customer, price_rp=0), [])
    await in_own_transaction(database, lambda tx: searching.cancel_search(tx, customer, pairing_id))
    assert await failure(database) == ("unserved", "customer_cancelled", "no_session", "0")


@pytest.mark.rule("X.4", "V.4")
async def test_a_card_identifies_the_customer_only_by_the_call_name(database: Database, make: Make) -> None:
    customer, mitra = await make.customer("Melati"), await make.mitra()
    await open_blast(database, await make.confirmed_payment(customer), [mitra])
    (card,) = (await open_requests(database, [mitra]))[mitra]
    shown = msgspec.to_builtins(card)
    assert set(shown) == {
        "id",
        "kind",
        "call_name",
        "is_returning",
        "duration_minutes",
        "is_trial",
        "deadline_at",
        "close_reason",
        "server_now",
    }
    assert (card.call_name, card.is_returning, card.duration_minutes) == ("Melati", False, 30)
    assert str(customer) not in msgspec.json.encode(card).decode()


@pytest.mark.rule("X.8", "X.4")
async def test_a_suspension_withdraws_the_requests_of_the_mitra_and_ends_the_sessions(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra(max_customers=2)
    pairings = [
        await open_blast(database, await make.confirmed_payment(await make.customer()), [mitra])
        for _ in range(2)
    ]
    await accept(database, mitra, await request_of(database, pairings[0], mitra))
    async with database.transaction() as tx:
        await mitras.suspend_mitra(tx, mitra)
    waiting = await request_of(database, pairings[1], mitra)
    assert await database.fetchval("SELECT close_reason FROM requests WHERE id = $1", waiting) == "suspended"
    assert await fire_due(database) == 1
    assert await database.fetchval("SELECT end_reason FROM sessions") == "mitra_suspended"
    assert (await service.offer_open_blasts(database, [mitra])).requests == 0


class _Hub:
    """A fake of the hub methods that Cards uses."""

    def __init__(self, *mitras: UUID) -> None:
        self.mitras = set(mitras)
        self.sent: list[tuple[UUID, str, str | None]] = []

    def held(self, _role: str) -> set[UUID]:
        return self.mitras

    def send_unsequenced(self, event: UnsequencedEvent) -> None:
        assert isinstance(event.data, Request)
        self.sent.append((event.user_id, event.type, event.data.close_reason))


@pytest.mark.rule("2b.5", "V.3")
async def test_a_refresh_without_a_signal_shows_the_open_cards_and_the_reason_of_a_closed_card(
    database: Database, make: Make
) -> None:
    winner, loser = await make.mitras(2)
    hub = _Hub(winner, loser)
    shown = Cards(database, hub)  # type: ignore[arg-type]
    pairing_id = await open_blast(
        database, await make.confirmed_payment(await make.customer()), [winner, loser]
    )
    await shown.refresh([winner, loser])
    await shown.refresh([winner, loser])
    assert hub.sent == [(winner, "request.offered", None), (loser, "request.offered", None)]
    hub.sent.clear()
    await accept(database, winner, await request_of(database, pairing_id, winner))
    await shown.refresh([winner, loser])
    assert sorted(hub.sent) == sorted(
        [(winner, "request.closed", "accepted"), (loser, "request.closed", "already_taken")]
    )


@pytest.mark.invariant(6)
@pytest.mark.parametrize(
    ("function", "steps"),
    [
        ("payment_status_changed", payment_states.STEPS),
        ("pairing_status_changed", states.PAIRING_STEPS),
        ("session_status_changed", session_states.STEPS),
    ],
)
async def test_the_database_allows_exactly_the_transitions_in_the_states_py_of_each_package(
    database: Database, function: str, steps: frozenset[tuple[str, str]]
) -> None:
    source: str = await database.fetchval("SELECT prosrc FROM pg_proc WHERE proname = $1", function)
    listed = source[source.index("NOT IN (") + 8 : source.index(") THEN")]
    pairs = [pair.strip(" ()\n'").split("', '") for pair in listed.split("),")]
    assert {tuple(pair) for pair in pairs} == steps
