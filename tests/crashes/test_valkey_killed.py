"""Kill and wipe Valkey during a blast. The rows about money and sessions must not change."""

import asyncio
from uuid import UUID

import pytest
import valkey.asyncio

from curhat.kit.database import Database
from curhat.payments.mock.gateway import MockGateway
from curhat.presence.states import COME_BACK_SECONDS
from curhat.presence.store import AVAILABLE_KEY
from tests.crashes.system import (
    HEALED_SECONDS,
    System,
    available,
    done,
    sockets_of,
    unavailable,
    until,
    working,
)
from tests.support.processes import ServerProcess
from tests.support.signed_in import business_rows, problem


@pytest.fixture(scope="module")
async def server(system: System) -> ServerProcess:
    """Start a server and a worker."""
    server, worker = system.server(), system.worker()
    await asyncio.gather(server.start(), worker.start())
    return server


@pytest.mark.rule("1.6", "2b.6", "X.10")
@pytest.mark.invariant(3, 11)
async def test_chats_and_the_blast_continue_without_new_charges_while_valkey_is_down(
    system: System, server: ServerProcess
) -> None:
    searches, goes_on_searching, chats, pays, wants = await system.customers(5, server)
    accepts, listens, comes_back = [await system.mitra(server) for _ in range(3)]
    customers = (searches, goes_on_searching, chats, pays)
    async with (
        sockets_of(searches, chats) as (searching, _),
        working(accepts, listens) as (accepting, listening),
    ):
        session = await system.chat(chats, listens)
        payment = await system.open_payment(pays)
        accept = f"{await system.request_path(await system.search(searches), accepts)}/accept"
        still_open = await system.search(goes_on_searching)
        await accepting.wait_for_event("request.offered")
        before = await business_rows(system.database)

        system.servers.valkey.kill()
        await system.servers.valkey.wait()

        await until(lambda: unavailable(server))
        confirm = f"/payments/{payment['id']}/confirm"
        assert problem(await pays.post(confirm)) == (503, "presence_unknown")
        offer = {"offer_id": payment["offer"]["id"]}
        assert problem(await wants.post("/payments", offer)) == (503, "presence_unknown")
        assert (await MockGateway(system.database).recorded(UUID(payment["id"]))).charges == []
        assert await business_rows(system.database) == before

        message = {"client_message_id": "m1", "text": "still here?"}
        sent = done(await chats.post(f"/sessions/{session['id']}/messages", message))
        started = done(await accepts.post(accept))["session"]
        await asyncio.gather(
            listening.wait_for_event("message.created", id=sent["id"]),
            searching.wait_for_event("session.started", id=started["id"]),
        )
        assert not await available(server)

        await system.servers.valkey.start()

        async with working(comes_back) as (returned,):
            request = await returned.wait_for_event("request.offered")
            await until(lambda: available(server))
            assert (await system.request_path(still_open, comes_back)).endswith(request["id"])
            done(await pays.post(confirm))
            done(await comes_back.post(f"/requests/{request['id']}/accept"))
            await system.leave(*customers)
            await system.check(server)


async def has_no_wave(database: Database) -> bool:
    return not await database.fetchval("SELECT EXISTS (SELECT 1 FROM deadlines WHERE kind = 'blast_wave')")


@pytest.mark.rule("2b.6", "X.10")
@pytest.mark.invariant(3, 11)
async def test_presence_is_rebuilt_when_valkey_is_wiped_during_a_blast(
    system: System, server: ServerProcess
) -> None:
    """The kill changes no row and no card."""
    customer, chats = await system.customers(2, server)
    asked, listens = [await system.mitra(server, max_customers=2) for _ in range(2)]
    async with sockets_of(customer) as (device,), working(asked, listens) as (asked_device, _):
        session = await system.chat(chats, listens)
        path = await system.request_path(await system.search(customer), asked)
        await asked_device.wait_for_event("request.offered", id=path.removeprefix("/requests/"))
        # After 3 s, the blast looks once whether more mitras are available.
        await until(lambda: has_no_wave(system.database))
        before, shown = await business_rows(system.database), len(asked_device.socket.events)
        async with valkey.asyncio.Valkey.from_url(system.servers.valkey_url) as client:

            async def both_may_be_asked() -> bool:
                return bool(await client.zcard(AVAILABLE_KEY) == 2)

            # A mitra of an earlier test can stay available for some seconds, because the mitra has time to reconnect.
            await until(both_may_be_asked, COME_BACK_SECONDS + HEALED_SECONDS)
            await client.flushall()
            assert not await both_may_be_asked()
            await until(both_may_be_asked)
            await until(lambda: available(server))

        assert await business_rows(system.database) == before
        assert [event["type"] for event in asked_device.socket.events[shown:]] == []
        done(await asked.post(f"{path}/accept"))
        await device.wait_for_event("session.started")
        assert done(await chats.get("/state"))["session"]["id"] == session["id"]
        await system.leave(customer, chats)
        await system.check(server)
