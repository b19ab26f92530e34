"""Test the owner and the end of a subscription, and the subscriptions that the server refuses."""

from typing import Any

import pytest
import structlog

from curhat.notifications import service
from tests.notifications.conftest import Worker
from tests.support.push import Browser, PushService, base64url, from_base64url
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem


async def owners(server: RunningServer) -> list[tuple[str, Any]]:
    """Return the owners of the subscriptions, oldest subscription first."""
    rows = await server.database.fetch("SELECT role, user_id FROM push_subscriptions ORDER BY id")
    return [(row["role"], row["user_id"]) for row in rows]


async def subscribe(person: Person, browser: Browser, **more: Any) -> None:
    answer = await person.put("/push-subscriptions", browser.to_json(**more))
    assert answer.status_code == 204, answer.text


async def test_both_roles_get_the_same_public_key_for_subscriptions(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    keys = {(await person.get("/push-key")).json()["public_key"] for person in (customer, mitra)}
    (key,) = keys
    raw = from_base64url(key)
    assert (len(raw), raw[0]) == (65, 4)


async def test_repeated_put_requests_keep_one_subscription_and_a_delete_request_removes_it(
    server: RunningServer, vendor: PushService
) -> None:
    customer, browser = await server.customer(), vendor.browser()
    for _ in range(2):
        await subscribe(customer, browser)
    assert await owners(server) == [("customer", customer.id)]
    for _ in range(2):
        gone = await customer.delete("/push-subscriptions", browser.to_json())
        assert gone.status_code == 204
    assert await owners(server) == []


async def test_a_subscription_of_another_user_cannot_be_deleted(
    server: RunningServer, vendor: PushService
) -> None:
    mitra, other, customer = await server.mitra(), await server.mitra(), await server.customer()
    browser = vendor.browser()
    await subscribe(mitra, browser)
    for stranger in (other, customer):
        answer = await stranger.delete("/push-subscriptions", {"endpoint": browser.endpoint})
        assert answer.status_code == 204
    assert await owners(server) == [("mitra", mitra.id)]


async def test_a_subscription_moves_to_another_user_who_signs_in_and_subscribes_in_the_same_browser(
    server: RunningServer, vendor: PushService
) -> None:
    first, second, browser = await server.mitra(), await server.mitra(), vendor.browser()
    await subscribe(first, browser)
    await subscribe(second, browser)
    assert await owners(server) == [("mitra", second.id)]
    assert not await server.database.fetchval("SELECT push_ready FROM mitras WHERE id = $1", first.id)


async def test_a_user_who_knows_only_the_endpoint_cannot_take_over_a_subscription(
    server: RunningServer, vendor: PushService
) -> None:
    mitra, thief, browser = await server.mitra(), await server.customer(), vendor.browser()
    await subscribe(mitra, browser)
    await subscribe(thief, Browser(browser.endpoint))
    assert await owners(server) == [("mitra", mitra.id), ("customer", thief.id)]


async def test_the_oldest_subscription_is_deleted_when_a_user_exceeds_the_maximum(
    server: RunningServer, vendor: PushService
) -> None:
    customer = await server.customer()
    browsers = [vendor.browser() for _ in range(service.MAX_SUBSCRIPTIONS_PER_USER + 2)]
    for browser in browsers:
        await subscribe(customer, browser)
    rows = await server.database.fetch("SELECT endpoint FROM push_subscriptions ORDER BY id")
    assert [row["endpoint"] for row in rows] == [browser.endpoint for browser in browsers[2:]]


@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_a_sign_out_ends_only_the_subscriptions_of_its_own_sign_in(
    server: RunningServer, vendor: PushService, role: str
) -> None:
    one = await (server.customer() if role == "customer" else server.mitra())
    same_elsewhere = await server.person(one.role, one.id)  # type: ignore[arg-type]
    await subscribe(one, vendor.browser())
    kept = vendor.browser()
    await subscribe(same_elsewhere, kept)

    assert (await one.post("/auth/logout")).status_code == 204

    rows = await server.database.fetch("SELECT endpoint FROM push_subscriptions")
    assert [row["endpoint"] for row in rows] == [kept.endpoint]


async def test_nothing_is_sent_to_a_subscription_whose_token_has_expired(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, browser = await server.mitra(), vendor.browser()
    await subscribe(mitra, browser)
    assert (await mitra.post("/push-subscriptions/test", key="")).status_code == 202
    await server.database.execute("UPDATE access_tokens SET expires_at = curhat_now() WHERE role = 'mitra'")
    await worker.work()
    assert vendor.received == []
    assert await owners(server) == []


@pytest.mark.parametrize(
    "endpoint",
    ["https://10.0.0.1/1", "http://push.example.com/1", "https://[::ffff:192.168.0.1]/1", "https://a b/"],
)
async def test_a_forbidden_endpoint_is_refused_and_the_answer_does_not_contain_the_endpoint(
    server: RunningServer, endpoint: str
) -> None:
    mitra = await server.mitra()
    answer = await mitra.put("/push-subscriptions", Browser(endpoint).to_json())
    assert problem(answer) == (422, "validation_failed")
    (error,) = answer.json()["errors"]
    assert error["field"] == "endpoint"
    assert endpoint not in answer.text
    assert await owners(server) == []


def _without_a_point(body: dict[str, Any]) -> None:
    body["keys"]["p256dh"] = base64url(b"\4" + b"\1" * 64)


WRONG_KEYS = {
    "a point beside the curve": _without_a_point,
    "a short key": lambda body: body["keys"].update(p256dh="BAAA"),
    "a short secret": lambda body: body["keys"].update(auth="AAAA"),
    "no base64": lambda body: body["keys"].update(auth="%%%"),
    "no keys": lambda body: body.pop("keys"),
    "an unknown field": lambda body: body.update(p256dh="AAAA"),
    "another language": lambda body: body.update(language="fr"),
}


@pytest.mark.parametrize("spoil", WRONG_KEYS.values(), ids=WRONG_KEYS.keys())
async def test_a_malformed_subscription_is_refused(
    server: RunningServer, vendor: PushService, spoil: Any
) -> None:
    body = vendor.browser().to_json()
    spoil(body)
    answer = await (await server.customer()).put("/push-subscriptions", body)
    assert problem(answer) == (422, "validation_failed")
    assert await owners(server) == []


# The mitra's test ---------------------------------------------------------------------------------------------


async def test_a_test_notification_needs_a_subscription(server: RunningServer, vendor: PushService) -> None:
    mitra = await server.mitra()
    await subscribe(await server.mitra(), vendor.browser())
    answer = await mitra.post("/push-subscriptions/test", key="")
    assert problem(answer) == (409, "no_push_subscription")


async def test_a_test_notification_reaches_every_device_in_its_language_and_cannot_be_repeated_immediately(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra = await server.mitra()
    phone, tablet = vendor.browser(), vendor.browser()
    await subscribe(mitra, phone, language="en")
    await subscribe(await server.person("mitra", mitra.id), tablet)

    async with mitra.socket():  # A connected mitra also gets the push of a test.
        assert (await mitra.post("/push-subscriptions/test", key="")).json() == {"sent_to": 2}
        again = await mitra.post("/push-subscriptions/test", key="")
        assert problem(again) == (429, "too_many_requests")
        assert 1 <= int(again.headers["Retry-After"]) <= service.SECONDS_PER_TEST
        await worker.work()

    assert len(vendor.received) == 2
    for browser, title in ((phone, "Notifications work"), (tablet, "Notifikasi berfungsi")):
        (received,) = vendor.for_browser(browser)
        payload = browser.read(received)
        assert (payload["type"], payload["title"]) == ("test", title)


async def test_a_delivered_test_notification_clears_the_failure_of_a_subscription(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, browser = await server.mitra(), vendor.browser()
    await subscribe(mitra, browser)
    await server.database.execute("UPDATE push_subscriptions SET failures = 5, failed_at = curhat_now()")
    assert not await server.database.fetchval("SELECT push_ready FROM mitras WHERE id = $1", mitra.id)

    assert (await mitra.post("/push-subscriptions/test", key="")).status_code == 202
    await worker.work()

    assert await server.database.fetchval("SELECT push_ready FROM mitras WHERE id = $1", mitra.id)


async def test_no_secret_of_a_subscription_is_logged(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra, browser = await server.mitra(), vendor.browser()
    gone = vendor.browser()
    vendor.answer(browser, 400)
    vendor.answer(gone, 410)
    secret = {
        browser.endpoint.rpartition("/")[2],
        gone.endpoint.rpartition("/")[2],
        base64url(browser.auth),
        base64url(browser.p256dh),
        repr(browser.auth),
        repr(browser.p256dh),
        "Notifikasi",
    }
    with structlog.testing.capture_logs() as lines:
        await subscribe(mitra, browser)
        await subscribe(mitra, gone)
        await mitra.post("/push-subscriptions/test", key="")
        await worker.work()
    assert {line["event"] for line in lines} >= {"push.failed", "push.subscription_gone"}
    said = repr(lines)
    assert [each for each in secret if each in said] == []
