"""Test targeted pairings, fallbacks and extensions while a server or worker is killed at each step.

A kill must not change the charges or the journey. All devices are connected to a server that no test kills. A worker
runs only in the tests that start a worker.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from curhat.payments.mock.gateway import MockGateway
from curhat.presence.states import COME_BACK_SECONDS
from tests.crashes.system import (
    Device,
    RecordingPerson,
    System,
    done,
    expect_no_answer,
    sockets_of,
    until,
    working,
)
from tests.support.processes import ServerProcess, WorkerProcess
from tests.support.signed_in import problem

# The shortest timeout that an operator can set.
WINDOW_SECONDS = 5
# After 6 s, the worker asks the gateway about a charge that has no answer yet.
ANSWER_TIMEOUT_SECONDS = 14.0


@pytest.fixture(scope="module")
async def survivor(system: System) -> ServerProcess:
    """Start a server with short timeouts. No test kills this server."""
    for key in ("returning_chat_confirmation_timeout_seconds", "extension_timeout_seconds"):
        await system.database.execute(
            "UPDATE configuration SET value = $2 WHERE key = $1", key, str(WINDOW_SECONDS)
        )
    return await system.server("survivor").start()


@pytest.fixture
async def worker(system: System) -> AsyncIterator[WorkerProcess]:
    """Yield a new worker that is not started."""
    worker = system.worker()
    yield worker
    await worker.close()


@pytest.fixture
async def victim(system: System) -> AsyncIterator[ServerProcess]:
    """Yield the server that the test starts and then kills."""
    server = system.server("victim")
    yield server
    await server.close()


async def ask_for_more(system: System, customer: RecordingPerson, session: dict[str, Any]) -> dict[str, Any]:
    """Ask for an extension of 15 minutes as this customer, and return the extension."""
    offer_id = await system.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    asked: dict[str, Any] = done(
        await customer.post(f"/sessions/{session['id']}/extensions", {"offer_id": str(offer_id)})
    )
    return asked


async def charges(system: System, payment_id: str) -> list[int]:
    """Return the amounts of the charges that the gateway approved for a payment."""
    books = await MockGateway(system.database).recorded(UUID(payment_id))
    assert books.refunds == []
    return [charge.amount_rp for charge in books.charges if charge.status == "approved"]


async def minutes(system: System, session: dict[str, Any]) -> float:
    """Return the length of a session in minutes, from its start to its current `ends_at`."""
    length: float = await system.database.fetchval(
        "SELECT extract(epoch FROM ends_at - started_at)::float8 / 60 FROM sessions WHERE id = $1",
        UUID(session["id"]),
    )
    return length


async def make_past_chat(system: System, customer: RecordingPerson, mitra: RecordingPerson) -> None:
    """Start and end a session between this customer and this mitra."""
    session = await system.chat(customer, mitra)
    done(await customer.post(f"/sessions/{session['id']}/end"))


async def pay_for_same_mitra(
    system: System, customer: RecordingPerson, mitra: RecordingPerson
) -> dict[str, Any]:
    """Open and confirm a payment for this mitra. Returns the payment with its pairing."""
    order = {"offer_id": str(await system.make.offer()), "target_mitra_id": str(mitra.id)}
    payment = done(await customer.post("/payments", order))
    confirmed: dict[str, Any] = done(await customer.post(f"/payments/{payment['id']}/confirm"))["payment"]
    return confirmed


async def wait_without_events(device: Device, seconds: float) -> None:
    """Wait for `seconds`, and assert that the device gets no event.

    No worker runs in this test, so no deadline can fire. The device answers pings during the wait.
    """
    before = len(device.socket.events)
    with pytest.raises(TimeoutError):
        await device.socket.wait_for("extension.decided", seconds)
    assert len(device.socket.events) == before


# Charges -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("5.4", "5.7")
@pytest.mark.invariant(2, 7, 9, 12)
async def test_an_approved_extension_is_charged_once_when_the_charging_server_is_killed(
    system: System, survivor: ServerProcess, worker: WorkerProcess
) -> None:
    """The test kills each server before or after the server calls the gateway."""
    points = [
        "extension.approved",
        "confirm.before_charge",
        "confirm.after_charge",
        "confirm.after_charge>transaction.committed",
    ]
    victims = [system.server(f"victim {number}") for number in range(len(points))]
    await asyncio.gather(*(one.start(at) for one, at in zip(victims, points, strict=True)), worker.start())
    customers = await system.customers(len(points), survivor)
    mitra = await system.mitra(survivor, max_customers=len(points))
    async with sockets_of(*customers) as devices, working(mitra) as (mitra_device,):
        chats = [await system.chat(customer, mitra) for customer in customers]
        asked = [
            await ask_for_more(system, customer, chat)
            for customer, chat in zip(customers, chats, strict=True)
        ]
        accepts = [f"/extensions/{extension['id']}/accept" for extension in asked]
        await asyncio.gather(
            *(
                expect_no_answer(mitra.at(one).post(path, key=path))
                for one, path in zip(victims, accepts, strict=True)
            )
        )
        await asyncio.gather(*(one.killed() for one in victims))

        for extension, device in zip(asked, devices, strict=True):
            await device.wait_for_event(
                "extension.decided", ANSWER_TIMEOUT_SECONDS, id=extension["id"], status="approved"
            )
            await mitra_device.wait_for_event("extension.decided", id=extension["id"], status="approved")
        for extension, chat, path in zip(asked, chats, accepts, strict=True):
            again = done(await mitra.until_answered(path, key=path))
            assert (again["status"], again["decided_by"]) == ("approved", "mitra")
            assert await charges(system, extension["payment_id"]) == [10_000]
            assert await minutes(system, chat) == 45
        await system.leave(*customers)
        await system.check(survivor)
    await asyncio.gather(*(one.close() for one in victims))


@pytest.mark.rule("5.1", "5.4", "5.7")
@pytest.mark.invariant(2, 7, 9, 12)
@pytest.mark.parametrize(
    "kill_at",
    ["confirm.before_charge", "confirm.after_charge", "confirm.after_charge>transaction.committed"],
)
async def test_an_extension_approved_by_default_is_charged_once_when_the_worker_is_killed(
    system: System, survivor: ServerProcess, worker: WorkerProcess, kill_at: str
) -> None:
    """The test kills the worker before or after the worker calls the gateway."""
    await worker.start(kill_at)
    customer, mitra = await system.customer(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,), working(mitra):
        chat = await system.chat(customer, mitra)
        asked = await ask_for_more(system, customer, chat)
        await device.wait_for_event("extension.requested", id=asked["id"])
        await worker.killed()
        await worker.start()
        await device.wait_for_event(
            "extension.decided", ANSWER_TIMEOUT_SECONDS, id=asked["id"], status="approved"
        )
        assert await charges(system, asked["payment_id"]) == [10_000]
        assert await minutes(system, chat) == 45
        await system.leave(customer)
        await system.check(survivor)


# Without a worker --------------------------------------------------------------------------------------------


@pytest.mark.rule("5.1", "5.6")
@pytest.mark.invariant(5, 7, 12)
@pytest.mark.parametrize("mitra_leaves", [False, True])
async def test_a_late_answer_to_an_extension_is_refused_while_no_worker_runs(
    system: System, survivor: ServerProcess, worker: WorkerProcess, mitra_leaves: bool
) -> None:
    """A worker that starts later decides the extension."""
    customer, mitra = await system.customer(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,):
        async with working(mitra) as (mitra_device,):
            chat = await system.chat(customer, mitra)
            asked = await ask_for_more(system, customer, chat)
            await mitra_device.wait_for_event("extension.requested", id=asked["id"])
            await wait_without_events(mitra_device, WINDOW_SECONDS + 0.2)
            for answer in ("accept", "reject"):
                late = await mitra.post(f"/extensions/{asked['id']}/{answer}")
                assert problem(late) == (409, "extension_decided")
            if not mitra_leaves:
                await worker.start()
                await device.wait_for_event("extension.decided", id=asked["id"], status="approved")
        if mitra_leaves:
            await until(lambda: is_disconnected(mitra), 10)
            await worker.start()
            decided = await device.wait_for_event("extension.decided", id=asked["id"])
            assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert await charges(system, asked["payment_id"]) == ([] if mitra_leaves else [10_000])
        assert await minutes(system, chat) == (30 if mitra_leaves else 45)
        await system.leave(customer)
        await system.check(survivor)


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7, 12)
async def test_an_unanswered_extension_is_not_charged_if_the_mitra_stayed_away_too_long_after_a_server_was_killed(
    system: System, survivor: ServerProcess, victim: ServerProcess, worker: WorkerProcess
) -> None:
    """The mitra's server is dead, so no process notices that the mitra's socket closes.

    The mitra is connected again at the deadline.
    """
    await asyncio.gather(victim.start(), worker.start())
    customer, mitra = await system.customer(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,):
        async with working(mitra.at(victim)):
            chat = await system.chat(customer, mitra)
            asked = await ask_for_more(system, customer, chat)
            await victim.kill_now()
        with pytest.raises(TimeoutError):
            await device.socket.wait_for("extension.decided", COME_BACK_SECONDS + 0.5)
        async with working(mitra):
            decided = await device.wait_for_event("extension.decided", id=asked["id"])
            assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert decided["server_now"] >= asked["deadline_at"]
        assert await charges(system, asked["payment_id"]) == []
        await system.leave(customer)
        await system.check(survivor)


async def is_disconnected(mitra: RecordingPerson) -> bool:
    """Return whether the server reports the mitra as disconnected.

    After the socket closes, the server waits 3 s for the mitra to reconnect.
    """
    return done(await mitra.get("/me"))["connected"] is False


@pytest.mark.rule("4.3", "3.8")
@pytest.mark.invariant(2, 4, 5, 12)
async def test_a_late_targeted_accept_is_refused_while_no_worker_runs(
    system: System, survivor: ServerProcess, worker: WorkerProcess
) -> None:
    """A worker that starts later fails the pairing."""
    customer, mitra = await system.customer(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,), working(mitra) as (mitra_device,):
        await make_past_chat(system, customer, mitra)
        payment = await pay_for_same_mitra(system, customer, mitra)
        path = await system.request_path(payment["pairing"], mitra)
        await mitra_device.wait_for_event("request.offered", id=path.removeprefix("/requests/"))
        closed = await mitra_device.wait_for_event("request.closed", WINDOW_SECONDS + 4, kind="targeted")
        assert closed["close_reason"] == "timed_out"
        assert problem(await mitra.post(f"{path}/accept")) == (409, "request_closed")
        assert problem(await mitra.post(f"{path}/reject")) == (409, "request_closed")

        await worker.start()

        failed = await device.wait_for_event("pairing.updated", failure_tag="targeted_mitra_timeout")
        assert failed["fallback"]["allowed"] is True
        assert (await customer.post(f"/pairings/{failed['id']}/decline-fallback")).status_code == 204
        assert await charges(system, payment["id"]) == [20_000]
        await system.check(survivor)


# Armed consequences ------------------------------------------------------------------------------------------


@pytest.mark.rule("4.4", "5.6")
@pytest.mark.invariant(6, 7, 12)
async def test_a_targeted_pairing_fails_when_the_server_dies_after_the_mitra_went_offline(
    system: System, survivor: ServerProcess, victim: ServerProcess, worker: WorkerProcess
) -> None:
    await asyncio.gather(victim.start("presence.intent_committed"), worker.start())
    waits, chats = await system.customers(2, survivor)
    mitra = await system.mitra(survivor, max_customers=2)
    async with sockets_of(waits, chats) as (waiting, chatting), working(mitra):
        await make_past_chat(system, waits, mitra)
        chat = await system.chat(chats, mitra)
        payment = await pay_for_same_mitra(system, waits, mitra)
        path = await system.request_path(payment["pairing"], mitra)
        asked = await ask_for_more(system, chats, chat)
        await expect_no_answer(mitra.at(victim).put("/presence", {"online": False}))
        await victim.killed()

        failed = await waiting.wait_for_event("pairing.updated", 2, failure_tag="targeted_mitra_offline")
        decided = await chatting.wait_for_event("extension.decided", 2, id=asked["id"])
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        assert problem(await mitra.post(f"{path}/accept")) == (409, "request_closed")
        assert (await waits.post(f"/pairings/{failed['id']}/decline-fallback")).status_code == 204
        await system.leave(chats)
        await system.check(survivor)


@pytest.mark.rule("4.4", "2b.7")
@pytest.mark.invariant(6, 8, 12)
async def test_a_targeted_pairing_fails_when_the_server_dies_after_an_accept_fills_the_capacity(
    system: System, survivor: ServerProcess, victim: ServerProcess, worker: WorkerProcess
) -> None:
    await asyncio.gather(victim.start("accept.before_commit>transaction.committed"), worker.start())
    waits, other = await system.customers(2, survivor)
    mitra = await system.mitra(survivor)
    async with sockets_of(waits) as (waiting,), working(mitra):
        await make_past_chat(system, waits, mitra)
        search = await system.search(other)
        await pay_for_same_mitra(system, waits, mitra)
        accept = f"{await system.request_path(search, mitra)}/accept"
        await expect_no_answer(mitra.at(victim).post(accept, key="fills-up"))
        await victim.killed()

        failed = await waiting.wait_for_event("pairing.updated", 2, failure_tag="targeted_mitra_offline")
        assert (await waits.post(f"/pairings/{failed['id']}/decline-fallback")).status_code == 204
        done(await mitra.until_answered(accept, key="fills-up"))
        await system.leave(other)
        await system.check(survivor)


@pytest.mark.rule("3.5", "3.8")
@pytest.mark.invariant(2, 4, 6, 12)
@pytest.mark.parametrize("kill_at", ["idempotency.stored", "idempotency.stored>transaction.committed"])
async def test_a_fallback_opens_one_blast_without_another_charge_when_the_server_is_killed(
    system: System, survivor: ServerProcess, victim: ServerProcess, worker: WorkerProcess, kill_at: str
) -> None:
    await asyncio.gather(victim.start(kill_at), worker.start())
    customer = await system.customer(survivor)
    mitra, other = await system.mitra(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,), working(mitra) as (mitra_device,):
        await make_past_chat(system, customer, mitra)
        async with working(other) as (other_device,):
            payment = await pay_for_same_mitra(system, customer, mitra)
            path = await system.request_path(payment["pairing"], mitra)
            await mitra_device.wait_for_event("request.offered", id=path.removeprefix("/requests/"))
            done(await mitra.post(f"{path}/reject"))
            failed = await device.wait_for_event("pairing.updated", failure_tag="targeted_mitra_rejected")
            take = f"/pairings/{failed['id']}/fallback"
            await expect_no_answer(customer.at(victim).post(take, key=kill_at))
            await victim.killed()

            blast = done(await customer.until_answered(take, key=kill_at))
            assert (blast["kind"], blast["payment_id"]) == ("blast", payment["id"])
            assert problem(await customer.post(take)) == (409, "fallback_decided")
            card = await other_device.wait_for_event("request.offered", kind="blast")
            done(await other.post(f"/requests/{card['id']}/accept"))
            await device.wait_for_event("session.started")
            assert await charges(system, payment["id"]) == [20_000]
            assert (
                mitra_device.count("request.offered") == 2
            )  # One request for the past chat, and one request for the targeted pairing.
            await system.leave(customer)
    await system.check(survivor)


# Valkey ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("5.6", "X.10", "3.5")
@pytest.mark.invariant(2, 3, 7, 11)
async def test_only_a_mitra_approves_extensions_and_no_fallback_starts_while_valkey_is_down(
    system: System, survivor: ServerProcess, worker: WorkerProcess
) -> None:
    """Without Valkey, the worker rejects an extension that the mitra does not answer."""
    await worker.start()
    silent, by_hand, wants = await system.customers(3, survivor)
    mitra, other = await system.mitra(survivor, max_customers=3), await system.mitra(survivor)
    async with sockets_of(silent, by_hand) as (device, other_device), working(mitra, other):
        await make_past_chat(system, wants, mitra)
        chats = [await system.chat(customer, mitra) for customer in (silent, by_hand)]
        payment = await pay_for_same_mitra(system, wants, mitra)
        path = await system.request_path(payment["pairing"], mitra)
        done(await mitra.post(f"{path}/reject"))
        asked = [
            await ask_for_more(system, customer, chat)
            for customer, chat in zip((silent, by_hand), chats, strict=True)
        ]

        system.servers.valkey.kill()
        await system.servers.valkey.wait()

        approved = done(await mitra.post(f"/extensions/{asked[1]['id']}/accept"))
        assert (approved["status"], approved["decided_by"]) == ("approved", "mitra")
        await other_device.wait_for_event("extension.decided", id=asked[1]["id"], status="approved")
        take = f"/pairings/{payment['pairing']['id']}/fallback"
        assert problem(await wants.post(take)) == (503, "presence_unknown")
        decided = await device.wait_for_event("extension.decided", WINDOW_SECONDS + 4, id=asked[0]["id"])
        assert (decided["status"], decided["decided_by"]) == ("rejected", "mitra_unreachable")
        later = await ask_for_more(system, silent, chats[0])
        assert (later["status"], later["decided_by"]) == ("pending", None)
        done(await mitra.post(f"/extensions/{later['id']}/reject"))

        await system.servers.valkey.start()

        await until(lambda: can_be_taken(wants, payment), 15)
        blast = done(await wants.post(take))
        assert (blast["kind"], blast["payment_id"]) == ("blast", payment["id"])
        assert [await charges(system, one["payment_id"]) for one in asked] == [[], [10_000]]
        assert [await minutes(system, chat) for chat in chats] == [30, 45]
        assert await charges(system, payment["id"]) == [20_000]
        await system.leave(silent, by_hand, wants)
        await system.check(survivor)


async def can_be_taken(customer: RecordingPerson, payment: dict[str, Any]) -> bool:
    """Return whether the app offers another bestie to the customer."""
    shown = done(await customer.get(f"/payments/{payment['id']}"))["pairing"]
    return bool(shown["fallback"]["other_available"])
