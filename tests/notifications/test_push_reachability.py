"""Test that push reaches a mitra without a connection for 15 minutes after the app was last seen (1.1)."""

import asyncio

import pytest
import valkey.asyncio

from curhat.kit.errors import PresenceUnknown
from curhat.presence.service import Presence
from curhat.presence.states import PUSH_REACHABLE_SECONDS
from curhat.presence.store import Standing
from tests.notifications.conftest import Worker
from tests.support.clock import VirtualClock
from tests.support.push import PushService
from tests.support.server import Person
from tests.support.signed_in import RunningServer


async def subscribed_mitra(server: RunningServer, vendor: PushService, *, online: bool = True) -> Person:
    mitra = await server.mitra(online=online)
    assert (await mitra.put("/push-subscriptions", vendor.browser().to_json())).status_code == 204
    await server.application.services.presence.refresh([mitra.id])
    return mitra


@pytest.fixture
def presence(server: RunningServer) -> Presence:
    return server.application.services.presence


async def is_available(server: RunningServer) -> bool:
    """Return the answer of a customer's poll, after the cached answer has expired."""
    await asyncio.sleep(0.25)
    answer = await server.http.get("/api/client/mitra-availability")
    return bool(answer.json()["available"])


@pytest.mark.rule("1.1", "1.2", "4.1", "2b.5")
async def test_a_mitra_who_is_reachable_by_push_is_asked_and_can_accept(
    server: RunningServer, vendor: PushService, worker: Worker
) -> None:
    mitra = await server.mitra(online=False)
    await mitra.put("/push-subscriptions", vendor.browser().to_json())
    assert not await is_available(server)
    toggled = await mitra.put("/presence", {"online": True})
    assert toggled.json() == {
        "online": True,
        "connected": False,
        "active_sessions": 0,
        "max_customers": 1,
        "break_until": None,
    }
    assert await is_available(server)

    customer = await server.customer()
    offer_id = await server.make.offer()
    payment = (await customer.post("/payments", {"offer_id": str(offer_id)})).json()
    confirmed = await customer.post(f"/payments/{payment['id']}/confirm")
    assert confirmed.json()["pairing"]["status"] == "open"
    await worker.work()
    assert len(vendor.received) == 1

    (request,) = (await mitra.get("/requests")).json()["items"]
    accepted = await mitra.post(f"/requests/{request['id']}/accept")
    assert accepted.status_code == 200


@pytest.mark.rule("1.1")
async def test_reachability_by_push_ends_15_minutes_after_the_app_was_last_seen(
    server: RunningServer, vendor: PushService, presence: Presence, clock: VirtualClock
) -> None:
    await clock.set()
    mitra = await subscribed_mitra(server, vendor)
    assert await presence.ask_candidates() == [mitra.id]

    await clock.advance(PUSH_REACHABLE_SECONDS - 1)
    await presence.reconcile_push()
    assert await presence.may_be_asked(mitra.id)
    # The last second of the 15 minutes passes on the clock of Valkey.
    async with asyncio.timeout(3):
        while await presence.may_be_asked(mitra.id):
            await asyncio.sleep(0.02)

    await clock.advance(1)
    await presence.reconcile_push()
    assert await presence.count_available() == 0
    assert await presence.ask_candidates() == []


@pytest.mark.rule("1.1")
async def test_every_http_request_of_the_app_counts_as_a_sign_that_the_app_was_seen(
    server: RunningServer, vendor: PushService, presence: Presence, clock: VirtualClock
) -> None:
    await clock.set()
    mitra = await subscribed_mitra(server, vendor)
    await clock.advance(PUSH_REACHABLE_SECONDS + 60)
    await presence.write_last_seen()
    await server.database.execute("UPDATE mitras SET last_seen_at = curhat_now() - interval '16 minutes'")
    await presence.reconcile_push()
    assert not await presence.may_be_asked(mitra.id)

    assert (await mitra.get("/me")).status_code == 200
    await presence.write_last_seen()
    await presence.reconcile_push()

    assert await presence.may_be_asked(mitra.id)


@pytest.mark.rule("1.1")
async def test_a_mitra_who_leaves_the_app_stays_available_through_push(
    server: RunningServer, vendor: PushService, presence: Presence
) -> None:
    mitra = await subscribed_mitra(server, vendor)
    async with mitra.socket():
        assert await presence.is_connected(mitra.id)
    async with asyncio.timeout(10):
        while await presence.is_connected(mitra.id):
            await asyncio.sleep(0.02)
    assert await presence.may_be_asked(mitra.id)


@pytest.mark.rule("5.6")
async def test_push_never_makes_a_mitra_connected(
    server: RunningServer, vendor: PushService, presence: Presence
) -> None:
    mitra = await subscribed_mitra(server, vendor)
    assert await presence.may_be_asked(mitra.id)
    assert not await presence.is_connected(mitra.id)
    assert await presence.connected_among([mitra.id]) == set()
    assert (await mitra.get("/me")).json()["connected"] is False


@pytest.mark.rule("1.1")
@pytest.mark.parametrize("why", ["offline", "suspended", "full", "unsubscribed", "signed out", "failed"])
async def test_a_push_subscription_does_not_make_an_ineligible_mitra_available(
    server: RunningServer, vendor: PushService, presence: Presence, why: str
) -> None:
    mitra, browser = await server.mitra(), vendor.browser()
    await mitra.put("/push-subscriptions", browser.to_json())
    await presence.refresh([mitra.id])
    assert await presence.may_be_asked(mitra.id)
    change = "UPDATE mitras SET {} WHERE id = $1"
    match why:
        case "offline":
            await mitra.put("/presence", {"online": False})
        case "suspended":
            await server.database.execute(change.format("suspended_at = curhat_now()"), mitra.id)
        case "full":
            await server.database.execute(change.format("active_sessions = 1"), mitra.id)
        case "unsubscribed":
            await mitra.delete("/push-subscriptions", browser.to_json())
        case "signed out":
            await mitra.post("/auth/logout")
        case "failed":
            await server.database.execute("UPDATE push_subscriptions SET failed_at = curhat_now()")
    # Without a signal, the workers find the mitras who must no longer be asked.
    await presence.reconcile_push()
    assert not await presence.may_be_asked(mitra.id)
    assert await presence.count_available() == 0


@pytest.mark.invariant(11)
@pytest.mark.rule("X.10", "1.1")
async def test_reachability_by_push_is_rebuilt_from_postgresql_after_valkey_was_wiped(
    server: RunningServer, vendor: PushService, presence: Presence, valkey_client: valkey.asyncio.Valkey
) -> None:
    mitra = await subscribed_mitra(server, vendor)
    bystander = await server.mitra()
    await valkey_client.flushall()
    with pytest.raises(PresenceUnknown):
        await presence.count_available()

    await presence.reconcile_push()

    assert await presence.ask_candidates() == [mitra.id]
    standings = await presence._store.look_at([mitra.id, bystander.id])
    assert standings == [
        Standing(may_be_asked=True, connected=False),
        Standing(may_be_asked=False, connected=False),
    ]


@pytest.mark.rule("2b.2", "1.1")
async def test_a_mitra_who_is_reachable_by_push_is_offered_a_blast_that_began_while_the_mitra_was_full(
    server: RunningServer, vendor: PushService, worker: Worker, presence: Presence
) -> None:
    mitra = await subscribed_mitra(server, vendor)
    chat = await server.chat((await server.customer()).id, mitra.id)
    await server.search((await server.customer()).id, [])
    await presence.reconcile_push()
    assert (await mitra.get("/requests")).json()["items"] == []

    assert (await mitra.post(f"/sessions/{chat.id}/end", {"reason": "selesai"})).status_code == 200
    async with asyncio.timeout(10):
        while not (await mitra.get("/requests")).json()["items"]:
            await asyncio.sleep(0.02)
    await worker.work()
    assert len(vendor.received) == 1


@pytest.mark.rule("1.2")
async def test_a_poll_costs_one_zcount_for_any_number_of_mitras_who_are_reachable_by_push(
    server: RunningServer, vendor: PushService, valkey_client: valkey.asyncio.Valkey
) -> None:
    for _ in range(3):
        await subscribed_mitra(server, vendor)
    # One sorted set has one member per mitra. The score of a member is the end of the mitra's reachability. A poll
    # therefore needs only one ZCOUNT.
    members = await valkey_client.zrange("curhat:available", 0, -1, withscores=True)
    seconds, _ = await valkey_client.time()
    assert len(members) == 3
    for _, until_ms in members:
        assert PUSH_REACHABLE_SECONDS - 30 < until_ms / 1000 - seconds <= PUSH_REACHABLE_SECONDS + 1
