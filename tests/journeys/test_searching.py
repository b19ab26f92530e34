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
    assert await fire_due(database) == 1
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
    assert await fire_due(database) == 0
    latecomer = await make.mitra()
    assert await service.offer_open_blasts(database, [latecomer]) == 1


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
    assert await service.offer_open_blasts(database, [asked, other]) == 1
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
    assert await service.offer_open_blasts(database, [rejects, other]) == 0
    assert await open_requests(database, [rejects]) == {}


@pytest.mark.rule("2b.6")
async def test_a_search_never_asks_the_customer_who_is_also_a_mitra(database: Database, make: Make) -> None:
    both = await make.customer()
    await make.mitra(person_id=both)
    await open_blast(database, await make.confirmed_payment(both), [both])
    assert await service.offer_open_blasts(database, [both]) == 0
    assert await database.fetchval("SELECT count(*) FROM requests") == 0


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
    assert await service.offer_open_blasts(database, [mitra]) == 0
    await toggle(database, mitra, online=True)
    assert await service.offer_open_blasts(database, [mitra]) == 1
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
    assert await service.offer_open_blasts(database, [mitra]) == 0
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, customers[0], session.id)
    assert await service.offer_open_blasts(database, [mitra]) == 1
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
    assert await service.offer_open_blasts(database, [mitra]) == 0


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
