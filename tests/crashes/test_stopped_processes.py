"""Test processes that stop in the middle of their work (SIGSTOP) and continue later (SIGCONT).

A stopped process keeps its connections open, so no other process notices the stop.
"""

import asyncio
import time
from uuid import UUID

import pytest

from tests.crashes.system import System, done, sockets_of, working
from tests.support.signed_in import problem

# PostgreSQL ends the transaction of a stopped process after 5 s. The additional seconds allow for a busy machine.
MAX_DELAY_SECONDS = 8.0

SESSION_IS_OVER = """
WITH moment AS MATERIALIZED (SELECT curhat_now() AS now), ended AS (
    UPDATE sessions SET started_at = started_at - (ends_at - now), ends_at = now FROM moment WHERE id = $1 RETURNING id
)
UPDATE deadlines SET due_at = curhat_now() FROM ended WHERE kind = 'session_end' AND entity_id = ended.id
"""


@pytest.mark.rule("2b.5", "X.8")
@pytest.mark.invariant(1, 5, 10, 12)
async def test_a_stopped_server_and_a_stopped_worker_delay_other_processes_by_a_few_seconds(
    system: System,
) -> None:
    """The server stops while a mitra accepts.

    The worker stops while it ends a chat. The stopped server and the stopped worker hold locks that other processes
    need.
    """
    stopped_server, server = system.server("stopped server"), system.server()
    stopped_worker, worker = system.worker("stopped worker"), system.worker()
    await asyncio.gather(
        stopped_server.start(stop_at="accept.before_commit"),
        server.start(),
        stopped_worker.start(stop_at="deadline.before_commit"),
    )
    searches, ends, other = await system.customers(3, server)
    slow, quick = [await system.mitra(server) for _ in range(2)]
    listening = [await system.mitra(server) for _ in range(2)]
    async with sockets_of(searches, ends, other) as (device, end_device, other_device):
        chats = []
        for customer, mitra in zip((ends, other), listening, strict=True):
            async with working(mitra):
                chats.append(await system.chat(customer, mitra))
        await system.database.execute("UPDATE payments SET confirmed_at = confirmed_at - interval '1 day'")
        async with working(slow, quick):
            # The worker stops while it ends the first chat, and no other worker ends the second chat yet.
            await system.database.execute(SESSION_IS_OVER, UUID(chats[0]["id"]))
            await stopped_worker.stopped()
            pairing = await system.search(searches)
            paths = [f"{await system.request_path(pairing, mitra)}/accept" for mitra in (slow, quick)]
            unanswered = asyncio.create_task(slow.at(stopped_server).post(paths[0], key="slow"))
            await stopped_server.stopped()
            begun = time.monotonic()
            accepting = asyncio.create_task(quick.post(paths[1]))
            await worker.start()
            await system.database.execute(SESSION_IS_OVER, UUID(chats[1]["id"]))
            # A step that does not need the locks of the stopped worker does not wait.
            await other_device.wait_for_event("session.ended", 2, end_reason="time_up")
            done(await accepting)
            await device.wait_for_event(
                "session.started", mitra={"id": str(quick.id), "display_name": "Kak Sari"}
            )
            await end_device.wait_for_event("session.ended", MAX_DELAY_SECONDS, end_reason="time_up")
            assert time.monotonic() - begun < MAX_DELAY_SECONDS

            for process in (stopped_server, stopped_worker):
                process.resume()
            assert not (await unanswered).is_success
            again = await slow.at(stopped_server).post(paths[0], key="slow")
            assert problem(again) == (409, "already_taken")
            assert [each.count("session.ended") for each in (end_device, other_device)] == [1, 1]
    await system.leave(searches)
    await system.check(server)


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7, 12)
async def test_an_unanswered_extension_is_not_charged_while_the_server_of_the_mitra_is_stopped(
    system: System,
) -> None:
    mitras_server, server, worker = system.server("stopped"), system.server("other"), system.worker("third")
    await asyncio.gather(mitras_server.start(), server.start(), worker.start())
    customer, mitra = await system.customer(server), await system.mitra(server)
    await system.database.execute(
        "UPDATE configuration SET value = '5' WHERE key = 'extension_timeout_seconds'"
    )
    offer_id = await system.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with sockets_of(customer) as (device,), working(mitra.at(mitras_server)) as (phone,):
        session = await system.chat(customer, mitra)
        await mitras_server.stop_now()
        order = {"offer_id": str(offer_id)}
        asked = done(await customer.post(f"/sessions/{session['id']}/extensions", order))
        assert asked["status"] == "pending"
        decided = await device.wait_for_event("extension.decided", 10, id=asked["id"])
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        mitras_server.resume()
        # The phone is still connected and gets the events, so the mitra counts as connected again.
        await phone.wait_for_event("extension.decided", id=asked["id"])
        async with asyncio.timeout(10):
            while (again := done(await customer.post(f"/sessions/{session['id']}/extensions", order)))[
                "status"
            ] != "pending":
                await asyncio.sleep(0.1)
        done(await mitra.post(f"/extensions/{again['id']}/reject"))
    await system.leave(customer)
    await system.check(server)
