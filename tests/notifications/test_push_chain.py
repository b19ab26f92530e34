"""Test the path of a push from its event to the browser: recipients, text, and failures of the push service."""

import asyncio
import json
import socket
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.kit.pause_points import set_pause_point
from curhat.notifications import service
from curhat.notifications.outbox import CLAIM_SECONDS, MAX_FAILURES, RETRY_SECONDS, Outbox
from tests.notifications.conftest import Worker
from tests.support.clock import VirtualClock
from tests.support.push import Browser, PushService, verified_claims
from tests.support.server import Person
from tests.support.signed_in import RunningServer


async def subscribed_mitra(
    server: RunningServer, vendor: PushService, *, online: bool = True, **more: Any
) -> tuple[Person, Browser]:
    mitra, browser = await server.mitra(online=online), vendor.browser()
    answer = await mitra.put("/push-subscriptions", browser.to_json(**more))
    assert answer.status_code == 204, answer.text
    return mitra, browser


async def subscribed_customer(
    server: RunningServer, vendor: PushService, call_name: str = "Bunga"
) -> tuple[Person, Browser]:
    customer, browser = await server.customer(call_name), vendor.browser()
    answer = await customer.put("/push-subscriptions", browser.to_json())
    assert answer.status_code == 204, answer.text
    return customer, browser


# Requests ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("4.1", "V.5", "X.4")
async def test_a_disconnected_mitra_gets_a_push_that_only_its_browser_can_read(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, browser = await subscribed_mitra(server, vendor)
    customer = await server.customer("Melati")
    request_id = await server.request(customer.id, mitra.id)

    await worker.work()

    (received,) = vendor.received
    assert vendor.for_browser(browser) == [received]
    headers = received.headers
    assert headers["Content-Encoding"] == "aes128gcm"
    assert headers["Urgency"] == "high"
    assert 50 <= int(headers["TTL"]) <= 60
    public_key = (await mitra.get("/push-key")).json()["public_key"]
    claims = verified_claims(headers["Authorization"], public_key)
    assert claims["aud"] == vendor.url
    payload = browser.read(received)
    assert payload == {
        "type": "request_offered",
        "title": "Ada permintaan curhat",
        "body": "Sesi berbayar. Buka aplikasi untuk menjawab sebelum waktunya habis.",
        "topic": headers["Topic"],
        "request_id": str(request_id),
        "expires_at": payload["expires_at"],
    }
    (request,) = (await mitra.get("/requests")).json()["items"]
    assert datetime.fromisoformat(payload["expires_at"]) == datetime.fromisoformat(request["deadline_at"])
    # The push service cannot read the text of the push.
    assert b"curhat" not in received.body


async def test_a_push_is_in_the_language_of_its_subscription(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, browser = await subscribed_mitra(server, vendor, language="en")
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    assert browser.read(vendor.received[0])["title"] == "Someone needs to talk"


async def test_each_request_has_its_own_topic_in_the_format_of_the_standard(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, _ = await subscribed_mitra(server, vendor)
    for _ in range(2):
        await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    topics = {received.headers["Topic"] for received in vendor.received}
    assert len(topics) == 2
    assert all(len(topic) <= 32 and topic.replace("-", "").replace("_", "").isalnum() for topic in topics)


async def test_every_device_of_a_mitra_gets_a_push(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, phone = await subscribed_mitra(server, vendor)
    tablet = vendor.browser()
    await mitra.put("/push-subscriptions", tablet.to_json())
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    assert [len(vendor.for_browser(browser)) for browser in (phone, tablet)] == [1, 1]


@pytest.mark.rule("4.1")
async def test_a_connected_mitra_gets_the_card_and_no_push(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, _ = await subscribed_mitra(server, vendor)
    async with mitra.socket() as phone:
        await server.request((await server.customer()).id, mitra.id)
        await phone.wait_for("request.offered")
        await worker.work()
    assert vendor.received == []


@pytest.mark.rule("4.1")
async def test_a_mitra_who_disconnects_during_the_window_gets_one_push(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, _ = await subscribed_mitra(server, vendor)
    async with mitra.socket():
        await server.request((await server.customer()).id, mitra.id)
        await worker.work()
    await until_not_connected(server, mitra.id)
    for _ in range(4):
        await clock.advance(5)
        await worker.work()
    assert len(vendor.received) == 1


async def until_not_connected(server: RunningServer, mitra_id: UUID) -> None:
    """Wait until Valkey says that this mitra is not connected, 3 s after the mitra's socket closed."""
    presence = server.application.services.presence
    async with asyncio.timeout(10):
        while await presence.is_connected(mitra_id):
            await asyncio.sleep(0.02)


@pytest.mark.rule("2b.3")
@pytest.mark.parametrize("how", ["cancelled", "taken", "over", "offline"])
async def test_no_push_is_sent_for_a_request_that_has_closed(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock, how: str
) -> None:
    await clock.set()
    mitra, _ = await subscribed_mitra(server, vendor)
    other, customer = await server.mitra(), await server.customer()
    pairing_id = await server.search(customer.id, [mitra.id, other.id])
    await worker.look()
    assert await waiting(server.database) == 1
    match how:
        case "cancelled":
            await customer.post(f"/pairings/{pairing_id}/cancel")
        case "taken":
            (request,) = (await other.get("/requests")).json()["items"]
            assert (await other.post(f"/requests/{request['id']}/accept")).status_code == 200
        case "over":
            await clock.advance(60)
        case "offline":
            await mitra.put("/presence", {"online": False})
    await worker.work()
    assert vendor.received == []


async def waiting(database: Database) -> int:
    """Return the number of push messages that wait in the outbox."""
    count: int = await database.fetchval("SELECT count(*) FROM push_messages WHERE done_at IS NULL")
    return count


async def test_a_request_that_is_offered_again_causes_a_second_push(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, _ = await subscribed_mitra(server, vendor)
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    await mitra.put("/presence", {"online": False})
    await clock.advance(10)
    await mitra.put("/presence", {"online": True})
    async with asyncio.timeout(10):
        while not (await mitra.get("/requests")).json()["items"]:
            await asyncio.sleep(0.02)
    await worker.work()
    first, second = vendor.received
    assert first.headers["Topic"] == second.headers["Topic"]
    assert int(second.headers["TTL"]) == 50


async def test_a_user_without_a_subscription_causes_no_deadline_and_no_push_message(
    server: RunningServer, worker: Worker
) -> None:
    mitra = await server.mitra()
    chat = await server.chat((await server.customer()).id, (await server.mitra()).id)
    await server.request((await server.customer()).id, mitra.id)
    writer = await server.person("mitra", chat.mitra.user_id)
    body = {"client_message_id": "1", "text": "halo"}
    assert (await writer.post(f"/sessions/{chat.id}/messages", body)).status_code == 201
    kinds = await server.database.fetch("SELECT kind FROM deadlines WHERE kind LIKE 'push%'")
    assert [row["kind"] for row in kinds] == []


# Customers -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("V.5")
async def test_a_customer_who_left_the_app_gets_a_push_when_a_bestie_accepts(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra = await server.mitra("Kak Rahasia")
    customer, browser = await subscribed_customer(server, vendor)
    request_id = await server.request(customer.id, mitra.id)
    accepted = await mitra.post(f"/requests/{request_id}/accept")
    session_id = accepted.json()["session"]["id"]

    await worker.work()
    await worker.work()

    (received,) = vendor.received
    payload = browser.read(received)
    assert (payload["type"], payload["session_id"]) == ("matched", session_id)
    assert payload["title"] == "Bestie sudah siap"
    assert "Rahasia" not in json.dumps(payload)
    assert 1790 <= int(received.headers["TTL"]) <= 1800


async def test_a_connected_customer_gets_no_push(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra = await server.mitra()
    customer, _ = await subscribed_customer(server, vendor)
    async with customer.socket() as phone:
        request_id = await server.request(customer.id, mitra.id)
        session_id = (await mitra.post(f"/requests/{request_id}/accept")).json()["session"]["id"]
        await phone.wait_for("session.started")
        await mitra.post(f"/sessions/{session_id}/messages", {"client_message_id": "1", "text": "halo"})
        await phone.wait_for("message.created")
        for _ in range(5):
            await clock.advance(10)
            await worker.work()
    assert vendor.received == []


@pytest.mark.rule("V.5")
async def test_a_disconnected_customer_gets_a_push_without_the_text_of_the_messages(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    customer, browser = await subscribed_customer(server, vendor)
    chat = await server.chat(customer.id, (await server.mitra()).id)
    writer = await server.person("mitra", chat.mitra.user_id)
    await clock.advance(60)  # It is too late for a push about the match.
    await worker.work()
    vendor.received.clear()

    async def say(number: int) -> None:
        body = {"client_message_id": str(number), "text": f"rahasia nomor {number}"}
        assert (await writer.post(f"/sessions/{chat.id}/messages", body)).status_code == 201

    await say(1)
    await worker.work()
    assert vendor.received == []  # The customer may still read the chat message.
    await say(2)
    await clock.advance(3)
    await worker.work()
    await clock.advance(10)
    await worker.work()
    (first,) = vendor.received
    payload = browser.read(first)
    assert (payload["type"], payload["session_id"]) == ("message", str(chat.id))
    assert "rahasia" not in json.dumps(payload)

    await say(3)
    await clock.advance(3)
    await worker.work()
    assert [each.headers["Topic"] for each in vendor.received] == [first.headers["Topic"]] * 2


async def test_a_message_that_the_customer_has_read_is_not_pushed(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    customer, _ = await subscribed_customer(server, vendor)
    chat = await server.chat(customer.id, (await server.mitra()).id)
    await clock.advance(60)
    writer = await server.person("mitra", chat.mitra.user_id)
    body = {"client_message_id": "1", "text": "halo"}
    message = (await writer.post(f"/sessions/{chat.id}/messages", body)).json()
    await customer.post(f"/sessions/{chat.id}/read", {"up_to_message_id": message["id"]}, key="")
    await clock.advance(3)
    await worker.work()
    assert vendor.received == []
    assert await server.database.fetchval("SELECT count(*) FROM deadlines WHERE kind = 'push_messages'") == 0


async def test_a_message_of_a_customer_causes_no_push_to_the_customer(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    customer, _ = await subscribed_customer(server, vendor)
    chat = await server.chat(customer.id, (await server.mitra()).id)
    await clock.advance(60)
    await customer.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "halo"})
    await clock.advance(3)
    await worker.work()
    assert vendor.received == []


# Failed messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_is_deleted_when_the_push_service_answers_gone(
    server: RunningServer, vendor: PushService, worker: Worker, status: int
) -> None:
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, status)
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    assert await server.database.fetchval("SELECT count(*) FROM push_subscriptions") == 0
    assert not await server.database.fetchval("SELECT push_ready FROM mitras WHERE id = $1", mitra.id)


async def test_a_failing_push_service_is_tried_again_until_it_accepts_the_message(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, 503)
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    await clock.advance(RETRY_SECONDS[0])
    await worker.work()
    vendor.answer(browser, 201)
    await clock.advance(RETRY_SECONDS[1])
    await worker.work()
    await clock.advance(30)
    await worker.work()
    assert [received.headers["TTL"] for received in vendor.received] == ["60", "59", "57"]
    failures = await server.database.fetchval("SELECT failures FROM push_subscriptions")
    assert failures == 0


async def test_a_push_message_is_never_sent_after_the_window_of_its_request(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, 500)
    await server.request((await server.customer()).id, mitra.id)
    for _ in range(80):
        await worker.work()
        await clock.advance(1)
    ttls = [int(received.headers["TTL"]) for received in vendor.received]
    assert len(ttls) > 4
    assert min(ttls) >= 0
    assert await server.database.fetchval("SELECT failures FROM push_subscriptions") == 1
    async with server.database.transaction() as tx:
        await service.prune(tx)
    assert await server.database.fetchval("SELECT count(*) FROM push_messages") == 0


async def test_the_sender_waits_as_long_as_the_push_service_asks_and_counts_no_failure(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, 429, Retry_After="9")
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    await clock.advance(8)
    await worker.work()
    assert len(vendor.received) == 1
    await clock.advance(1)
    await worker.work()
    assert len(vendor.received) == 2
    assert await server.database.fetchval("SELECT failures FROM push_subscriptions") == 0


@pytest.mark.rule("1.1")
@pytest.mark.parametrize("status", [400, 403, 500])
async def test_a_subscription_is_marked_as_failed_after_several_consecutive_failed_messages(
    server: RunningServer, vendor: PushService, worker: Worker, status: int
) -> None:
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, status)
    await server.application.services.presence.refresh([mitra.id])
    for number in range(1, MAX_FAILURES + 1):
        assert await server.application.services.presence.may_be_asked(mitra.id)
        await server.request((await server.customer()).id, mitra.id)
        await worker.work()
        row = await server.database.fetchrow("SELECT failures, failed_at FROM push_subscriptions")
        assert row is not None
        assert (row["failures"], row["failed_at"] is not None) == (number, number == MAX_FAILURES)
    await server.application.services.presence.refresh([mitra.id])
    assert not await server.application.services.presence.may_be_asked(mitra.id)
    # The app subscribes again at each start. The server then clears the failure.
    await mitra.put("/push-subscriptions", browser.to_json())
    await server.application.services.presence.refresh([mitra.id])
    assert await server.application.services.presence.may_be_asked(mitra.id)


async def test_a_permanently_refused_message_is_tried_once(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, 413)
    await server.request((await server.customer()).id, mitra.id)
    for _ in range(5):
        await worker.work()
        await clock.advance(6)
    assert len(vendor.received) == 1


async def test_a_redirect_is_not_followed(server: RunningServer, vendor: PushService, worker: Worker) -> None:
    mitra, browser = await subscribed_mitra(server, vendor)
    vendor.answer(browser, 307, Location=f"{vendor.url}/elsewhere")
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    assert [received.path for received in vendor.received] == [browser.endpoint.removeprefix(vendor.url)]


async def test_a_push_service_that_hangs_delays_no_other_message(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    # The kernel accepts connections, but no process answers.
    dead = socket.create_server(("127.0.0.1", 0))
    port = dead.getsockname()[1]
    slow, _ = await subscribed_mitra(server, vendor)
    await slow.put("/push-subscriptions", Browser(f"http://127.0.0.1:{port}/never").to_json())
    quick, browser = await subscribed_mitra(server, vendor)
    await server.request((await server.customer()).id, slow.id)
    await server.request((await server.customer()).id, quick.id)
    await worker.look()
    sending = asyncio.create_task(worker.services.outbox.settle())
    async with asyncio.timeout(4):
        while not vendor.for_browser(browser):
            vendor.arrived.clear()
            await vendor.arrived.wait()
    assert not sending.done()
    await sending
    dead.close()
    reasons = await server.database.fetch(
        "SELECT failures FROM push_subscriptions WHERE endpoint LIKE '%/never'"
    )
    assert [row["failures"] for row in reasons] == [1]


@pytest.mark.invariant(12)
async def test_no_push_message_is_lost_when_a_worker_dies_after_claiming_the_message(
    server: RunningServer, vendor: PushService, worker: Worker, clock: VirtualClock
) -> None:
    await clock.set()
    mitra, _ = await subscribed_mitra(server, vendor)
    await server.request((await server.customer()).id, mitra.id)
    await worker.look()

    async def die() -> None:
        raise asyncio.CancelledError

    set_pause_point("push.claimed", die)
    with pytest.raises(asyncio.CancelledError):
        await worker.services.outbox.send_due()
    set_pause_point("push.claimed", None)
    await worker.work()
    assert vendor.received == []
    await clock.advance(CLAIM_SECONDS)
    await worker.work()
    assert len(vendor.received) == 1


async def test_two_workers_send_each_message_once(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitras = [(await subscribed_mitra(server, vendor))[0].id for _ in range(20)]
    await server.search((await server.customer()).id, mitras)
    services = worker.services
    first = services.outbox
    second = Outbox(services.database, services.push_channels, first._connected_among, first._still_wanted)
    await asyncio.gather(worker.look(), worker.look())
    await asyncio.gather(first.settle(), second.settle())
    assert len(vendor.received) == 20
    assert len({received.path for received in vendor.received}) == 20


async def test_a_mitra_gets_a_push_while_presence_is_unknown(
    server: RunningServer, vendor: PushService, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mitra, _ = await subscribed_mitra(server, vendor)

    async def unknown(*_arguments: object) -> set[UUID]:
        raise PresenceUnknown

    monkeypatch.setattr(worker.services.presence, "connected_among", unknown)
    async with mitra.socket():
        await server.request((await server.customer()).id, mitra.id)
        await worker.work()
    assert len(vendor.received) == 1
