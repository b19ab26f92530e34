"""Test push to mitras about messages and extension requests of customers while the app is closed."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from curhat.journeys.push import BURST_SECONDS, EXTENSION_INTERVAL_SECONDS
from curhat.kit.identity import Role
from tests.notifications.conftest import Worker
from tests.support.clock import VirtualClock
from tests.support.push import Browser, PushService
from tests.support.server import Person
from tests.support.signed_in import RunningServer


class Chat:
    """A session with a mitra who has a push subscription."""

    def __init__(self, server: RunningServer, vendor: PushService) -> None:
        self.server = server
        self.vendor = vendor
        self.customer: Person
        self.mitra: Person
        self.browser: Browser
        self.id: UUID

    async def say(self, number: int) -> dict[str, Any]:
        """The customer writes a message."""
        body = {"client_message_id": str(number), "text": f"rahasia nomor {number}"}
        answer = await self.customer.post(f"/sessions/{self.id}/messages", body)
        assert answer.status_code == 201, answer.text
        message: dict[str, Any] = answer.json()
        return message

    async def ask_for_more_time(self) -> dict[str, Any]:
        """The customer asks for an extension. The mitra must be connected for this request."""
        offer_id = await self.server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        answer = await self.customer.post(f"/sessions/{self.id}/extensions", {"offer_id": str(offer_id)})
        assert answer.status_code == 201, answer.text
        extension: dict[str, Any] = answer.json()
        assert extension["status"] == "pending"
        return extension

    def payloads(self) -> list[dict[str, Any]]:
        """Return the push payloads that the mitra's browser received."""
        return [self.browser.read(received) for received in self.vendor.for_browser(self.browser)]


@pytest.fixture
async def chat(server: RunningServer, vendor: PushService, clock: VirtualClock) -> Chat:
    """A chat with a stopped clock."""
    await clock.set()
    opened = Chat(server, vendor)
    opened.customer, opened.mitra = await server.customer("Melati"), await server.mitra()
    opened.browser = vendor.browser()
    subscribed = await opened.mitra.put("/push-subscriptions", opened.browser.to_json())
    assert subscribed.status_code == 204
    opened.id = (await server.chat(opened.customer.id, opened.mitra.id)).id
    return opened


def let_die(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate dead connections of all mitras: each socket is open, but has sent no frame for some seconds."""

    async def nobody(_mitra_ids: Sequence[UUID]) -> set[UUID]:
        return set()

    monkeypatch.setattr(server.application.services.presence, "connected_among", nobody)


@pytest.mark.rule("4.7", "M.4", "V.5", "X.4")
async def test_a_mitra_with_a_closed_app_gets_a_push_without_the_text_of_the_message(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    await chat.say(1)
    await worker.work()
    assert chat.payloads() == []  # The mitra may still read the message.
    await chat.say(2)
    await clock.advance(3)
    await worker.work()
    await clock.advance(10)
    await worker.work()
    (payload,) = chat.payloads()
    assert (payload["type"], payload["session_id"]) == ("customer_message", str(chat.id))
    assert "rahasia" not in json.dumps(payload)
    assert "Melati" not in json.dumps(payload)
    # The messages of a burst cause no second push. A later message replaces the notification on the screen.
    await chat.say(3)
    await clock.advance(10)
    await worker.work()
    assert len(chat.payloads()) == 1
    await clock.advance(BURST_SECONDS)
    await worker.work()
    assert [each["topic"] for each in chat.payloads()] == [payload["topic"]] * 2


@pytest.mark.rule("M.4")
async def test_a_message_after_the_mitra_has_read_the_last_push_is_no_burst(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    message = await chat.say(1)
    await clock.advance(3)
    await worker.work()
    read = {"up_to_message_id": message["id"]}
    assert (await chat.mitra.post(f"/sessions/{chat.id}/read", read, key="")).is_success
    await chat.say(2)
    await clock.advance(10)
    await worker.work()
    assert len(chat.payloads()) == 2


@pytest.mark.rule("4.7")
async def test_a_connected_mitra_gets_no_push_of_a_message(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    async with chat.mitra.socket() as phone:
        await chat.say(1)
        await phone.wait_for("message.created")
        await clock.advance(3)
        await worker.work()
    assert chat.vendor.received == []


@pytest.mark.rule("4.7")
async def test_a_message_that_the_mitra_has_read_is_not_pushed(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    message = await chat.say(1)
    read = {"up_to_message_id": message["id"]}
    assert (await chat.mitra.post(f"/sessions/{chat.id}/read", read, key="")).is_success
    await clock.advance(3)
    await worker.work()
    assert chat.vendor.received == []
    assert (
        await worker.services.database.fetchval("SELECT count(*) FROM deadlines WHERE kind = 'push_messages'")
        == 0
    )


@pytest.mark.rule("4.7")
async def test_each_side_of_a_chat_gets_pushes_only_for_messages_of_the_other_side(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    browser = chat.vendor.browser()
    assert (await chat.customer.put("/push-subscriptions", browser.to_json())).status_code == 204
    await clock.advance(60)  # It is too late for a push about the match.
    await chat.say(1)
    answer = await chat.mitra.post(
        f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "halo"}
    )
    assert answer.status_code == 201
    await clock.advance(3)
    await worker.work()
    assert [each["type"] for each in chat.payloads()] == ["customer_message"]
    assert [browser.read(each)["type"] for each in chat.vendor.for_browser(browser)] == ["message"]


@pytest.mark.rule("4.7")
async def test_a_mitra_with_a_dead_connection_gets_a_push_for_an_extension_within_its_window(
    chat: Chat, worker: Worker, server: RunningServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat.mitra.socket() as phone:
        extension = await chat.ask_for_more_time()
        await phone.wait_for("extension.requested")
        await worker.work()
        assert chat.payloads() == []
        # The phone dies during the window. Its socket stays open.
        let_die(server, monkeypatch)
        await clock.advance(EXTENSION_INTERVAL_SECONDS)
        await worker.work()
        (payload,) = chat.payloads()
        assert (payload["type"], payload["session_id"]) == ("extension_requested", str(chat.id))
        assert payload["expires_at"] == extension["deadline_at"]
        assert int(chat.vendor.received[0].headers["TTL"]) == 9
        # The server sends one push per request. After the push, no deadline stays armed.
        await clock.advance(EXTENSION_INTERVAL_SECONDS)
        await worker.work()
        assert len(chat.payloads()) == 1
    armed = "SELECT count(*) FROM deadlines WHERE kind = 'push_messages'"
    assert await worker.services.database.fetchval(armed) == 0


@pytest.mark.rule("4.7")
async def test_a_decided_extension_causes_no_push(
    chat: Chat, worker: Worker, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat.mitra.socket():
        extension = await chat.ask_for_more_time()
        let_die(server, monkeypatch)
        await worker.look()
        assert await server.database.fetchval("SELECT count(*) FROM push_messages") == 1
        assert (await chat.mitra.post(f"/extensions/{extension['id']}/reject")).status_code == 200
        await worker.work()
    assert chat.payloads() == []


@pytest.mark.rule("4.7")
async def test_an_extension_is_pushed_even_if_a_message_of_the_chat_waits_for_a_push(
    chat: Chat, worker: Worker, server: RunningServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat.mitra.socket():
        await chat.say(1)  # Its deadline is due in 3 s.
        await chat.ask_for_more_time()
        let_die(server, monkeypatch)
        await worker.work()
        assert "extension_requested" in [each["type"] for each in chat.payloads()]


@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_a_chat_without_subscriptions_arms_no_deadline(
    server: RunningServer, clock: VirtualClock, role: Role
) -> None:
    await clock.set()
    customer, mitra = await server.customer(), await server.mitra()
    opened = await server.chat(customer.id, mitra.id)
    writer = customer if role == "customer" else mitra
    body = {"client_message_id": "1", "text": "halo"}
    assert (await writer.post(f"/sessions/{opened.id}/messages", body)).status_code == 201
    assert await server.database.fetchval("SELECT count(*) FROM deadlines WHERE kind LIKE 'push%'") == 0


@pytest.mark.rule("M.3")
async def test_a_push_reminds_a_mitra_once_that_the_break_is_over(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    assert (await chat.mitra.put("/break", {"minutes": 15})).status_code == 200
    await clock.advance(14 * 60)
    assert (await chat.mitra.put("/break", {"minutes": 15})).status_code == 200
    await clock.advance(60)
    await worker.work()
    assert chat.payloads() == []  # The first break was replaced.
    await clock.advance(14 * 60)
    for _ in range(3):
        await worker.work()
        await clock.advance(30)
    (payload,) = chat.payloads()
    assert payload["type"] == "break_over"
    assert (await chat.mitra.get("/me")).json()["online"] is False
    # The next break has a reminder of its own.
    assert (await chat.mitra.put("/break", {"minutes": 15})).status_code == 200
    await clock.advance(15 * 60)
    await worker.work()
    assert [each["type"] for each in chat.payloads()] == ["break_over"] * 2
    await clock.advance(3600)
    await worker.work()
    armed = "SELECT count(*) FROM deadlines WHERE kind = 'push_break'"
    assert await worker.services.database.fetchval(armed) == 0


@pytest.mark.rule("M.3")
async def test_a_mitra_who_ended_the_break_gets_no_reminder(
    chat: Chat, worker: Worker, clock: VirtualClock
) -> None:
    assert (await chat.mitra.put("/break", {"minutes": 15})).status_code == 200
    await clock.advance(15 * 60)
    await worker.look()
    assert await worker.services.database.fetchval("SELECT count(*) FROM push_messages") == 1
    assert (await chat.mitra.put("/presence", {"online": True})).status_code == 200
    await worker.work()
    assert chat.payloads() == []


@pytest.mark.rule("V.4")
@pytest.mark.parametrize(("price_rp", "said"), [(20_000, "Sesi berbayar."), (0, "Sesi uji coba gratis.")])
async def test_the_push_of_a_request_says_whether_the_session_is_paid(
    chat: Chat, worker: Worker, server: RunningServer, price_rp: int, said: str
) -> None:
    mitra, browser = await server.mitra(), chat.vendor.browser()
    assert (await mitra.put("/push-subscriptions", browser.to_json())).status_code == 204
    customer_id = (await server.customer()).id
    payment_id = await server.make.confirmed_payment(customer_id, price_rp=price_rp)
    await server.search_of(payment_id, [mitra.id])
    await worker.work()
    (received,) = chat.vendor.for_browser(browser)
    assert browser.read(received)["body"].startswith(said)
