"""Test that signals make a change visible immediately.

These tests switch the periodic comparisons off, because a comparison would hide that a signal has no effect.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import valkey.asyncio

from curhat.app.wiring import Services, open_services
from curhat.deadlines import loop as deadline_loop
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.notifications import outbox
from curhat.pairing import cards
from curhat.presence import service as presence
from curhat.realtime import hub
from tests.support.push import push_service
from tests.support.signed_in import RunningServer, development_settings, start_server

# Longer than a test.
NEVER_SECONDS = 600.0
# The maximum time until a change must be visible.
SOON_SECONDS = 2.0


@pytest.fixture(autouse=True)
def no_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every loop wait for a signal."""
    for module, name in (
        (hub, "COMPARE_PERIOD_SECONDS"),
        (cards, "LOOK_AGAIN_SECONDS"),
        (presence, "RECONCILE_INTERVAL_SECONDS"),
        (presence, "PUSH_RECONCILE_INTERVAL_SECONDS"),
        (deadline_loop, "MAX_SLEEP_SECONDS"),
        (outbox, "POLL_INTERVAL_SECONDS"),
    ):
        monkeypatch.setattr(module, name, NEVER_SECONDS)


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: "valkey.asyncio.Valkey"
) -> AsyncIterator[RunningServer]:
    """A server, and the test's own pool. The pool sends its signals through the server."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        database.sink = opened.application.services.database.sink
        yield opened


@pytest.fixture
async def worker(
    servers: EmbeddedServers, database_url: str, server: RunningServer
) -> AsyncIterator[Services]:
    """The loops of a worker."""
    settings = development_settings(database_url, servers.valkey_url)
    async with open_services(settings, serves_sockets=False, application_name="worker") as services:
        loop = asyncio.create_task(services.deadline_loop.run())
        async with asyncio.timeout(10):
            while (await services.valkey.pubsub_numsub("curhat:signal:deadlines"))[0][1] == 0:
                await asyncio.sleep(0.01)
        yield services
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@pytest.mark.rule("X.8")
async def test_signals_make_cards_and_events_and_availability_and_sign_outs_visible_immediately(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra(online=False)
    offer_id = str(await server.make.offer())
    count_available = server.application.services.presence.count_available
    async with customer.socket() as phone, mitra.socket() as other_phone:
        done(await mitra.put("/presence", {"online": True}))
        payment = done(await customer.post("/payments", {"offer_id": offer_id}))
        done(await customer.post(f"/payments/{payment['id']}/confirm"))
        card = await other_phone.wait_for("request.offered", SOON_SECONDS)
        done(await mitra.post(f"/requests/{card['id']}/accept"))
        await phone.wait_for("session.started", SOON_SECONDS)
        async with asyncio.timeout(SOON_SECONDS):
            while await count_available():
                await asyncio.sleep(0.01)
        done(await customer.post("/auth/logout"))
        async with asyncio.timeout(SOON_SECONDS):
            await phone.connection.wait_closed()


@pytest.mark.rule("5.6")
async def test_a_sleeping_worker_wakes_for_a_deadline_that_is_due_now(
    server: RunningServer, worker: Services
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with customer.socket() as phone, mitra.socket():
        done(await customer.post(f"/sessions/{chat.id}/extensions", {"offer_id": str(offer_id)}))
        done(await mitra.put("/presence", {"online": False}))
        await phone.wait_for("extension.decided", SOON_SECONDS, status="rejected")


@pytest.mark.rule("4.1")
async def test_the_outbox_immediately_sends_a_message_that_its_own_worker_has_enqueued(
    server: RunningServer, worker: Services
) -> None:
    async with push_service() as vendor:
        mitra, browser = await server.mitra(), vendor.browser()
        done(await mitra.put("/push-subscriptions", browser.to_json()))
        await server.request((await server.customer()).id, mitra.id)
        worker.deadline_loop.wake()
        async with asyncio.timeout(SOON_SECONDS):
            await vendor.arrived.wait()
