"""Push to customers about the outcome of a payment: a failed search, a chosen mitra who did not accept, a refund."""

import json
from typing import Any, Literal, get_args
from uuid import UUID

import pytest

from curhat.journeys.push import OUTCOMES_INTERVAL_SECONDS, OUTCOMES_SECONDS
from curhat.notifications import queries
from curhat.notifications.addresses import KNOWN_ENDPOINT
from curhat.notifications.errors import NoPushSubscription
from curhat.notifications.outbox import RETRY_AGE_RATIO
from curhat.notifications.templates import Language, PushCause, PushKind, words_of
from curhat.pairing import service as pairing
from curhat.pairing.service import Target
from curhat.pairing.states import OFFERS_A_FALLBACK, FailureTag
from tests.notifications.conftest import Worker
from tests.support.clock import VirtualClock
from tests.support.journey import reject, request_of
from tests.support.push import Browser, PushService
from tests.support.server import Person
from tests.support.signed_in import RunningServer


class Journey:
    """A customer with a push subscription, and the customer's payments."""

    def __init__(self, server: RunningServer, vendor: PushService) -> None:
        self.server = server
        self.vendor = vendor
        self.customer: Person
        self.browser: Browser

    async def subscribe(self, language: Language = "id") -> None:
        self.browser = self.vendor.browser()
        subscribed = await self.customer.put("/push-subscriptions", self.browser.to_json(language=language))
        assert subscribed.status_code == 204

    async def pay(self, *, price_rp: int = 20_000, target_mitra_id: UUID | None = None) -> UUID:
        """Make a confirmed payment, whose charge the gateway knows."""
        payment_id = await self.server.make.confirmed_payment(
            self.customer.id, price_rp=price_rp, target_mitra_id=target_mitra_id
        )
        if price_rp:
            key = await self.server.database.fetchval(
                "SELECT id FROM charge_attempts WHERE payment_id = $1", payment_id
            )
            await self.server.application.services.gateway.charge(key, payment_id, price_rp)
        return payment_id

    async def search(self, payment_id: UUID) -> UUID:
        """Open a blast to one mitra. Returns the pairing's id."""
        return await self.server.search_of(payment_id, [await self.server.make.mitra()])

    async def fail(self, pairing_id: UUID, tag: FailureTag = "no_mitra_available") -> None:
        async with self.server.database.transaction() as tx:
            await pairing.fail(tx, await pairing.lock(tx, pairing_id), tag)

    async def failed_search(self, tag: FailureTag = "no_mitra_available", *, price_rp: int = 20_000) -> UUID:
        """Let a search fail. Returns the payment's id."""
        payment_id = await self.pay(price_rp=price_rp)
        await self.fail(await self.search(payment_id), tag)
        return payment_id

    async def ask_chosen_mitra(
        self, *, is_reachable: bool = True, price_rp: int = 20_000
    ) -> tuple[UUID, UUID]:
        """Open a targeted pairing. Returns the ids of the mitra and of the pairing."""
        mitra_id = await self.server.make.mitra("Kak Sari")
        payment_id = await self.pay(price_rp=price_rp, target_mitra_id=mitra_id)
        async with self.server.database.transaction() as tx:
            target = Target(mitra_id, is_reachable, other_available=True)
            return mitra_id, await pairing.open_targeted(tx, payment_id, 20, target)

    def payloads(self) -> list[dict[str, Any]]:
        """What the customer's browser was pushed."""
        return [self.browser.read(received) for received in self.vendor.for_browser(self.browser)]

    async def count(self, table: Literal["push_messages", "deadlines WHERE kind = 'push_outcomes'"]) -> int:
        found: int = await self.server.database.fetchval(f"SELECT count(*) FROM {table}")
        return found


@pytest.fixture
async def journey(server: RunningServer, vendor: PushService, clock: VirtualClock) -> Journey:
    """A customer on a stopped clock."""
    await clock.set()
    opened = Journey(server, vendor)
    opened.customer = await server.customer("Melati")
    await opened.subscribe()
    return opened


# A failed search -------------------------------------------------------------------------------------------------


@pytest.mark.rule("4.7", "2b.3", "V.5", "X.4")
async def test_a_search_that_nobody_accepts_is_pushed_once_with_its_cause_and_what_happens_to_the_money(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    payment_id = await journey.pay()
    await journey.search(payment_id)
    await clock.advance(60)
    await worker.look()  # This ends the search.
    for _ in range(3):
        await worker.work()
        await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    (payload,) = journey.payloads()
    assert payload == {
        "type": "search_failed",
        "title": "Belum ada bestie yang bisa menemani",
        "body": "Pembayaranmu tercatat. Tim kami memeriksanya dan memutuskan apakah uangnya dikembalikan.",
        "topic": payload["topic"],
        "payment_id": str(payment_id),
        "expires_at": payload["expires_at"],
    }
    assert int(journey.vendor.received[0].headers["TTL"]) == 24 * 3600
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0


@pytest.mark.rule("4.7")
async def test_a_rejected_search_is_pushed_in_the_language_of_the_app(
    journey: Journey, worker: Worker
) -> None:
    await journey.subscribe("en")
    payment_id = await journey.pay()
    mitra_id = await journey.server.make.mitra()
    pairing_id = await journey.server.search_of(payment_id, [mitra_id])
    await reject(
        journey.server.database, mitra_id, await request_of(journey.server.database, pairing_id, mitra_id)
    )
    await worker.work()
    (payload,) = journey.payloads()
    assert (payload["title"], payload["body"]) == (
        "Every bestie is busy right now",
        "Your payment is on record. Our team reviews it and decides on the refund.",
    )


@pytest.mark.rule("4.7")
async def test_the_push_of_a_free_search_says_that_no_money_was_taken(
    journey: Journey, worker: Worker
) -> None:
    await journey.failed_search(price_rp=0)
    await worker.work()
    (payload,) = journey.payloads()
    assert payload["body"] == "Tidak ada uang yang diambil, dan sesi gratismu belum terpakai."


@pytest.mark.rule("4.7")
async def test_a_customer_who_cancels_the_search_gets_no_push(journey: Journey, worker: Worker) -> None:
    pairing_id = await journey.search(await journey.pay())
    assert (await journey.customer.post(f"/pairings/{pairing_id}/cancel")).is_success
    await worker.work()
    assert await journey.count("push_messages") == 0
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0


@pytest.mark.rule("4.7")
async def test_a_connected_customer_gets_the_push_only_after_the_connection_has_ended(
    journey: Journey, worker: Worker, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = {journey.customer.id}

    async def connected_among(user_ids: list[UUID]) -> set[UUID]:
        return connected.intersection(user_ids)

    monkeypatch.setattr(journey.server.application.services.customers, "connected_among", connected_among)
    await journey.failed_search()
    await worker.work()
    assert await journey.count("push_messages") == 0
    connected.clear()
    await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    await worker.work()
    assert [payload["type"] for payload in journey.payloads()] == ["search_failed"]


@pytest.mark.rule("4.7")
async def test_a_customer_who_stays_connected_gets_no_push_and_the_worker_stops_looking(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    async with journey.customer.socket():
        await journey.failed_search()
        await worker.work()
        assert await journey.count("push_messages") == 0
        assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 1
        await clock.advance(OUTCOMES_SECONDS)
        await worker.work()
    assert await journey.count("push_messages") == 0
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0


@pytest.mark.rule("4.7")
async def test_a_failed_search_is_not_pushed_once_its_customer_has_begun_a_new_journey(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    await journey.failed_search()
    await worker.look()
    assert await journey.count("push_messages") == 1
    await clock.advance(1)
    await journey.pay()
    await worker.work()
    assert journey.payloads() == []


@pytest.mark.rule("4.7")
@pytest.mark.invariant(12)
async def test_a_failure_that_is_rolled_back_arms_no_push(journey: Journey, worker: Worker) -> None:
    pairing_id = await journey.search(await journey.pay())

    async def fail_and_roll_back() -> None:
        async with journey.server.database.transaction() as tx:
            await pairing.fail(tx, await pairing.lock(tx, pairing_id), "no_mitra_available")
            armed = await tx.connection.fetchval(
                "SELECT count(*) FROM deadlines WHERE kind = 'push_outcomes'"
            )
            assert armed == 1
            raise NoPushSubscription

    with pytest.raises(NoPushSubscription):
        await fail_and_roll_back()
    await worker.work()
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0
    assert await journey.count("push_messages") == 0


async def test_a_customer_without_a_subscription_causes_no_deadline(
    server: RunningServer, vendor: PushService, clock: VirtualClock
) -> None:
    await clock.set()
    journey = Journey(server, vendor)
    journey.customer = await server.customer()
    await journey.failed_search()
    await journey.ask_chosen_mitra(is_reachable=False)
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0


# The chosen mitra did not accept ---------------------------------------------------------------------------------


@pytest.mark.rule("4.7", "3.5", "3.8")
@pytest.mark.parametrize(
    ("how", "title"),
    [
        ("offline", "Bestie pilihanmu sedang tidak online"),
        ("rejected", "Bestie pilihanmu belum bisa menemani"),
        ("timeout", "Bestie pilihanmu tidak sempat menjawab"),
    ],
)
async def test_a_customer_whose_chosen_mitra_did_not_accept_is_pushed_that_an_answer_is_waited_for(
    journey: Journey, worker: Worker, clock: VirtualClock, how: str, title: str
) -> None:
    database = journey.server.database
    mitra_id, pairing_id = await journey.ask_chosen_mitra(is_reachable=how != "offline")
    if how == "rejected":
        await reject(database, mitra_id, await request_of(database, pairing_id, mitra_id))
    elif how == "timeout":
        await clock.advance(20)
    for _ in range(3):
        await worker.work()
        await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    (payload,) = journey.payloads()
    assert (payload["type"], payload["title"], payload["body"]) == (
        "fallback_offered",
        title,
        "Pembayaranmu tetap berlaku. Buka aplikasi untuk memilih sebelum waktunya habis.",
    )
    assert "Sari" not in json.dumps(payload)
    (shown,) = [(await journey.customer.get("/state")).json()["pairing"]]
    assert payload["expires_at"] == shown["fallback"]["answer_by"]


@pytest.mark.rule("4.7", "3.8")
@pytest.mark.parametrize("how", ["declined", "over"])
async def test_a_fallback_that_is_answered_is_not_pushed(
    journey: Journey, worker: Worker, clock: VirtualClock, how: str
) -> None:
    _, pairing_id = await journey.ask_chosen_mitra(is_reachable=False)
    await worker.look()
    assert await journey.count("push_messages") == 1
    if how == "declined":
        declined = await journey.customer.post(f"/pairings/{pairing_id}/decline-fallback")
        assert declined.is_success, declined.text
    else:
        await clock.advance(20 * 60)
    await worker.services.outbox.settle()
    assert journey.payloads() == []
    # A customer who declined needs no push about the customer's own step.
    await worker.work()
    await worker.work()
    expected = [] if how == "declined" else ["search_failed"]
    assert [payload["type"] for payload in journey.payloads()] == expected


@pytest.mark.rule("4.7", "3.8")
async def test_a_fallback_that_nobody_answers_ends_with_a_push_that_replaces_the_earlier_one(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    await journey.ask_chosen_mitra(is_reachable=False, price_rp=0)
    await worker.work()
    await clock.advance(20 * 60)
    await worker.work()
    await worker.work()
    offered, over = journey.payloads()
    assert offered["body"].startswith("Sesi gratismu tetap berlaku.")
    assert (over["type"], over["title"]) == ("search_failed", "Waktu untuk memilih sudah habis")
    assert over["topic"] == offered["topic"]


# A refund --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("4.7", "X.9")
async def test_a_refund_is_pushed_once_when_the_gateway_has_carried_it_out(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    payment_id = await journey.failed_search()
    await worker.work()
    await clock.advance(OUTCOMES_SECONDS)
    await worker.work()
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0
    operator = await journey.server.operator()
    case_id = await journey.server.database.fetchval(
        "SELECT id FROM review_cases WHERE payment_id = $1", payment_id
    )
    decided = await operator.post(
        f"/review-cases/{case_id}/decision", {"decision": "refund", "note": "sistem sibuk"}
    )
    assert decided.is_success, decided.text
    assert len(journey.payloads()) == 1
    for _ in range(4):
        await worker.work()
        await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    failed, refunded = journey.payloads()
    assert refunded == {
        "type": "refunded",
        "title": "Uangmu sudah kami kembalikan",
        "body": "Pengembaliannya sudah selesai. Kamu tidak perlu melakukan apa-apa.",
        "topic": failed["topic"],
        "payment_id": str(payment_id),
        "expires_at": refunded["expires_at"],
    }
    assert "sibuk" not in json.dumps(refunded)


async def _decide(journey: Journey, payment_id: UUID, decision: Literal["refund", "no_refund"]) -> None:
    operator = await journey.server.operator()
    case_id = await journey.server.database.fetchval(
        "SELECT id FROM review_cases WHERE payment_id = $1", payment_id
    )
    decided = await operator.post(
        f"/review-cases/{case_id}/decision", {"decision": decision, "note": "sistem sibuk"}
    )
    assert decided.is_success, decided.text


@pytest.mark.rule("4.7", "X.9", "V.5")
async def test_a_decision_without_a_refund_is_pushed_once(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    payment_id = await journey.failed_search()
    await worker.work()
    # No deadline of the failed search is left, so only the decision can arm one.
    await clock.advance(OUTCOMES_SECONDS)
    await worker.work()
    assert await journey.count("deadlines WHERE kind = 'push_outcomes'") == 0
    await _decide(journey, payment_id, "no_refund")
    for _ in range(3):
        await worker.work()
        await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    failed, decided = journey.payloads()
    assert decided == {
        "type": "decided",
        "title": "Ada keputusan tentang pembayaranmu",
        "body": "Tim kami sudah selesai memeriksanya. Buka aplikasi untuk melihat hasilnya.",
        "topic": failed["topic"],
        "payment_id": str(payment_id),
        "expires_at": decided["expires_at"],
    }


@pytest.mark.rule("4.7", "X.9")
async def test_a_decision_to_refund_is_pushed_only_if_the_money_is_not_back_after_ten_seconds(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    payment_id = await journey.failed_search()
    await worker.work()
    await _decide(journey, payment_id, "refund")
    # No worker sends the refund to the gateway.
    await journey.server.database.execute("DELETE FROM deadlines WHERE kind = 'refund_answer'")
    await clock.advance(9)
    await worker.work()
    assert [payload["type"] for payload in journey.payloads()] == ["search_failed"]
    await clock.advance(OUTCOMES_INTERVAL_SECONDS)
    await worker.work()
    assert [payload["type"] for payload in journey.payloads()] == ["search_failed", "decided"]


@pytest.mark.rule("4.7")
async def test_a_refund_that_the_gateway_refuses_is_not_pushed(journey: Journey, worker: Worker) -> None:
    payment_id = await journey.failed_search()
    await worker.work()
    await journey.server.database.execute(
        """
        INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason)
        SELECT payment_id, id, amount_rp, 'operator_decision' FROM charge_attempts WHERE payment_id = $1
        """,
        payment_id,
    )
    await journey.server.database.execute("UPDATE refunds SET status = 'failed', answered_at = curhat_now()")
    await worker.work()
    assert [payload["type"] for payload in journey.payloads()] == ["search_failed"]


# All outcomes ----------------------------------------------------------------------------------------------------


def test_every_failure_that_the_customer_did_not_cause_has_a_text() -> None:
    assert {*get_args(PushCause), "customer_cancelled"} == set(get_args(FailureTag))
    texts = set()
    for cause in get_args(PushCause):
        kind: PushKind = "fallback_offered" if cause in OFFERS_A_FALLBACK else "search_failed"
        for language in get_args(Language):
            for is_free in (False, True):
                words = words_of(kind, language, cause, is_free=is_free)
                texts.add((words.title, words.body))
                # Longer lines are cut off on a locked phone.
                assert len(words.title) <= 45
                assert len(words.body) <= 100
    assert len(texts) == 6 * 2 * 2


async def test_a_message_of_a_kind_that_a_worker_does_not_know_waits_for_a_newer_worker(
    journey: Journey, worker: Worker
) -> None:
    await journey.failed_search()
    await worker.look()

    async def claim(*kinds: PushKind) -> int:
        claimed = await queries.claim_messages(
            journey.server.database,
            max_messages=10,
            kinds=kinds,
            known_endpoint=KNOWN_ENDPOINT,
            busy_services=[],
            claim_seconds=7.0,
        )
        return len(claimed)

    assert await claim("request_offered", "matched") == 0
    assert await claim("search_failed") == 1


async def test_an_old_message_is_tried_less_often(
    journey: Journey, worker: Worker, clock: VirtualClock
) -> None:
    await journey.failed_search()
    journey.vendor.answer(journey.browser, 503)
    await worker.work()
    await clock.advance(1800)
    await worker.work()
    wait_seconds = await journey.server.database.fetchval(
        "SELECT extract(epoch FROM due_at - curhat_now())::float8 FROM push_messages"
    )
    assert wait_seconds == pytest.approx(1800 * RETRY_AGE_RATIO)
