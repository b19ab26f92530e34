"""Test push to native apps through a fake of FCM: messages, access tokens, faults and subscriptions."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
import structlog

from curhat.notifications import fcm as fcm_module
from curhat.notifications.fcm import Fcm
from curhat.notifications.port import (
    TIMED_OUT,
    AppAddress,
    Delivered,
    Gone,
    Outcome,
    Push,
    Refused,
    Unavailable,
)
from curhat.notifications.schemas import PushPayload
from curhat.pairing import service as pairing
from tests.notifications.conftest import Worker
from tests.support.fcm import Google, Mood, TokenMood
from tests.support.push import PushService
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

APP = "c8Vw0t:APA91b-the-token-of-an-app"
SUBSCRIPTION = uuid4()
REQUEST_ID = UUID("0199a3c1-0000-7000-8000-000000000001")


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    """Run fakes of FCM and of Google's token endpoint on this machine."""
    async with Google().running() as running:
        yield running


@pytest.fixture
async def channel(google: Google) -> AsyncIterator[Fcm]:
    """The adapter."""
    opened = google.fcm()
    yield opened
    await opened.close()


def push(*, ttl_seconds: int = 20) -> Push:
    payload = PushPayload(
        type="request_offered",
        title="Ada permintaan curhat",
        body="Buka aplikasi untuk menjawab sebelum waktunya habis.",
        topic="rABC",
        request_id=REQUEST_ID,
        expires_at=datetime.now(UTC) + timedelta(seconds=ttl_seconds),
    )
    return Push(msgspec.json.encode(payload), payload.topic, ttl_seconds)


async def deliver(channel: Fcm, token: str = APP) -> Outcome:
    return await channel.deliver(SUBSCRIPTION, AppAddress(token), push())


# The port ------------------------------------------------------------------------------------------------


@pytest.mark.rule("4.1")
async def test_an_app_gets_a_notification_that_expires_with_the_request_and_has_data_to_open_the_card(
    channel: Fcm, google: Google
) -> None:
    assert await deliver(channel) == Delivered()
    (message,) = google.received
    assert message["token"] == APP
    assert message["notification"] == {
        "title": "Ada permintaan curhat",
        "body": "Buka aplikasi untuk menjawab sebelum waktunya habis.",
    }
    data = message["data"]
    assert set(data) == {"type", "topic", "request_id", "expires_at"}
    assert (data["type"], data["request_id"]) == ("request_offered", str(REQUEST_ID))
    assert message["android"] == {"priority": "HIGH", "ttl": "20s", "notification": {"tag": "rABC"}}
    headers = message["apns"]["headers"]
    assert (headers["apns-priority"], headers["apns-collapse-id"]) == ("10", "rABC")
    assert abs(int(headers["apns-expiration"]) - time.time() - 20) < 5


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("unregistered", Gone()),
        ("invalid_token", Gone()),
        ("invalid_message", Refused("400/INVALID_ARGUMENT")),
        ("mismatch", Refused("403/SENDER_ID_MISMATCH")),
        ("apns", Refused("401/THIRD_PARTY_AUTH_ERROR")),
        ("no_project", Refused("404/NOT_FOUND")),
        ("quota", Unavailable("429/QUOTA_EXCEEDED", 7.0, is_their_limit=True)),
        ("internal", Unavailable("500/INTERNAL")),
        ("unavailable", Unavailable("503/UNAVAILABLE", 3.0)),
        ("garbage", Unavailable("502/None")),
        ("lost", Unavailable("ServerDisconnectedError")),
    ],
)
async def test_each_answer_of_fcm_leads_to_the_expected_outcome(
    channel: Fcm, google: Google, mood: Mood, outcome: Outcome
) -> None:
    google.answer(APP, mood)
    assert await deliver(channel) == outcome
    assert google.attempts == 1
    assert await deliver(channel, "another-app") == Delivered()


async def test_a_push_is_given_up_after_a_time_limit_if_fcm_does_not_answer(
    channel: Fcm, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcm_module, "SEND_TIMEOUT_SECONDS", 0.2)
    google.answer(APP, "slow")
    assert await deliver(channel) == TIMED_OUT


async def test_a_push_to_an_unreachable_fcm_counts_as_unavailable(google: Google) -> None:
    channel = google.fcm()
    await deliver(channel)  # Fetches the access token.
    channel._send = "http://127.0.0.1:9/v1/projects/curhat-tests/messages:send"
    outcome = await deliver(channel)
    await channel.close()
    assert isinstance(outcome, Unavailable)


# Access tokens -------------------------------------------------------------------------------------------


async def test_many_messages_share_one_access_token(channel: Fcm, google: Google) -> None:
    outcomes = await asyncio.gather(*(deliver(channel, f"app-{number}") for number in range(20)))
    assert set(outcomes) == {Delivered()}
    assert google.token_requests == 1


async def test_an_access_token_is_replaced_before_it_expires(channel: Fcm, google: Google) -> None:
    google.expires_in = int(fcm_module.TOKEN_MARGIN_SECONDS)
    assert await deliver(channel) == Delivered()
    assert await deliver(channel) == Delivered()
    assert google.token_requests == 2


async def test_a_revoked_access_token_is_replaced_within_the_same_attempt(
    channel: Fcm, google: Google
) -> None:
    assert await deliver(channel) == Delivered()
    google.revoke_tokens()
    assert await deliver(channel) == Delivered()
    assert (google.token_requests, google.attempts) == (2, 3)


async def test_a_push_is_tried_only_twice_if_fcm_accepts_no_access_token(
    channel: Fcm, google: Google
) -> None:
    google.valid = _Nothing()
    assert await deliver(channel) == Unavailable("401/UNAUTHENTICATED")
    assert google.attempts == 2


class _Nothing(set[str]):
    """A set that always stays empty."""

    def add(self, element: str, /) -> None:
        """Do nothing."""


@pytest.mark.parametrize("mood", ["refuse", "broken", "lost", "slow"])
async def test_messages_wait_for_an_access_token_and_google_is_asked_only_once(
    channel: Fcm, google: Google, mood: TokenMood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcm_module, "TOKEN_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(fcm_module, "TOKEN_RETRY_SECONDS", 0.05)
    google.token_mood = mood
    outcomes = await asyncio.gather(*(deliver(channel) for _ in range(5)))
    outcomes.append(await deliver(channel))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert google.token_requests == 1
    assert google.attempts == 0
    google.token_mood = "accept"
    async with asyncio.timeout(5):
        while await deliver(channel) != Delivered():
            await asyncio.sleep(0.01)


async def test_a_refused_service_account_is_logged_without_its_key(channel: Fcm, google: Google) -> None:
    google.token_mood = "refuse"
    with structlog.testing.capture_logs() as logs:
        await deliver(channel)
    (entry,) = [entry for entry in logs if entry["event"] == "push.fcm_token_refused"]
    assert (entry["log_level"], entry["status"], entry["error"]) == ("error", 400, "invalid_grant")


# The whole path ------------------------------------------------------------------------------------------


@pytest.fixture
async def with_fcm(server: RunningServer, channel: Fcm) -> None:
    """The server and its worker push to native apps through the fake."""
    server.application.services.push_channels.fcm = channel


async def subscribe(person: Person, token: str = APP, **more: str) -> None:
    answer = await person.put("/push-subscriptions", {"kind": "fcm", "token": token, **more})
    assert answer.status_code == 204, answer.text


async def count(server: RunningServer) -> int:
    found: int = await server.database.fetchval("SELECT count(*) FROM push_subscriptions")
    return found


@pytest.mark.rule("4.1", "4.7")
@pytest.mark.usefixtures("with_fcm")
async def test_a_mitra_gets_the_card_in_the_browser_and_in_the_native_app(
    server: RunningServer, worker: Worker, google: Google, vendor: PushService
) -> None:
    mitra, browser = await server.mitra(), vendor.browser()
    await subscribe(mitra, language="en")
    assert (await mitra.put("/push-subscriptions", browser.to_json())).status_code == 204
    request_id = await server.request((await server.customer("Melati")).id, mitra.id)
    await worker.work()
    (message,) = google.for_app(APP)
    assert message["data"]["request_id"] == str(request_id)
    assert message["notification"]["title"] == "Someone needs to talk"
    assert "Melati" not in str(message)
    assert len(vendor.for_browser(browser)) == 1


@pytest.mark.rule("4.7")
@pytest.mark.usefixtures("with_fcm")
async def test_a_customer_gets_the_push_of_a_failed_search_in_the_native_app(
    server: RunningServer, worker: Worker, google: Google
) -> None:
    customer = await server.customer("Melati")
    await subscribe(customer, language="en")
    payment_id = await server.make.confirmed_payment(customer.id)
    pairing_id = await server.search_of(payment_id, [await server.make.mitra()])
    async with server.database.transaction() as tx:
        await pairing.fail(tx, await pairing.lock(tx, pairing_id), "no_mitra_available")
    await worker.work()
    (message,) = google.for_app(APP)
    assert (message["data"]["type"], message["data"]["payment_id"]) == ("search_failed", str(payment_id))
    assert message["notification"]["title"] == "No bestie could make it"
    assert "Melati" not in str(message)


@pytest.mark.usefixtures("with_fcm")
async def test_an_app_that_was_removed_from_the_phone_loses_its_subscription(
    server: RunningServer, worker: Worker, google: Google
) -> None:
    mitra = await server.mitra()
    await subscribe(mitra)
    google.answer(APP, "unregistered")
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    assert await count(server) == 0
    assert not await server.database.fetchval("SELECT push_ready FROM mitras WHERE id = $1", mitra.id)


@pytest.mark.usefixtures("with_fcm")
@pytest.mark.parametrize("mood", ["quota", "unavailable", "lost"])
async def test_a_message_that_fcm_does_not_take_now_is_tried_again_later(
    server: RunningServer, worker: Worker, google: Google, mood: Mood
) -> None:
    mitra = await server.mitra()
    await subscribe(mitra)
    google.answer(APP, mood)
    await server.request((await server.customer()).id, mitra.id)
    await worker.work()
    google.answer(APP, "accept")
    google.received.clear()
    # The wait is over.
    await server.database.execute("UPDATE push_messages SET due_at = curhat_now() WHERE done_at IS NULL")
    await worker.work()
    assert len(google.for_app(APP)) == 1
    assert await count(server) == 1


@pytest.mark.usefixtures("with_fcm")
async def test_an_app_belongs_to_the_person_who_signed_in_last(server: RunningServer) -> None:
    first, second = await server.mitra(), await server.customer()
    await subscribe(first)
    await subscribe(first)
    assert await count(server) == 1
    await subscribe(second)
    assert await server.database.fetchval("SELECT user_id FROM push_subscriptions") == second.id
    body = {"kind": "fcm", "token": APP}
    assert (await first.delete("/push-subscriptions", body)).status_code == 204
    assert await count(server) == 1
    assert (await second.delete("/push-subscriptions", body)).status_code == 204
    assert await count(server) == 0


@pytest.mark.usefixtures("with_fcm")
async def test_signing_out_ends_the_push_to_the_app(server: RunningServer) -> None:
    mitra = await server.mitra()
    await subscribe(mitra)
    assert (await mitra.post("/auth/logout")).status_code == 204
    assert await count(server) == 0


@pytest.mark.usefixtures("with_fcm")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "fcm"}, "token"),
        ({"kind": "fcm", "token": "two words"}, "token"),
        ({"kind": "fcm", "token": ""}, "token"),
        ({"kind": "apns", "token": APP}, "kind"),
        ({"kind": "web_push", "token": APP}, "endpoint"),
        ({"endpoint": "https://push.example.com/1"}, "keys"),
    ],
)
async def test_a_subscription_without_the_fields_of_its_kind_is_refused(
    server: RunningServer, body: dict[str, str], field: str
) -> None:
    mitra = await server.mitra()
    answer = await mitra.put("/push-subscriptions", body)
    assert problem(answer) == (422, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_service_without_a_service_account_refuses_native_apps(server: RunningServer) -> None:
    mitra = await server.mitra()
    answer = await mitra.put("/push-subscriptions", {"kind": "fcm", "token": APP})
    assert problem(answer) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == "kind"
