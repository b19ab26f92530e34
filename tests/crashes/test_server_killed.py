"""Test a server that is killed at each point of a journey.

Another server must continue, and must lose no acknowledged command.

All devices are connected to a second server. No test kills the second server. The tests send commands to the first
server.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from curhat.payments.mock.gateway import MockGateway
from tests.crashes.system import RecordingPerson, System, done, expect_no_answer, sockets_of, working
from tests.support.processes import ServerProcess
from tests.support.signed_in import problem


@pytest.fixture(scope="module")
async def survivor(system: System) -> ServerProcess:
    """Start a worker and the server that no test kills."""
    server, worker = system.server("survivor"), system.worker()
    await asyncio.gather(server.start(), worker.start())
    return server


@pytest.fixture
async def victim(system: System) -> AsyncIterator[ServerProcess]:
    """Yield the server that the test starts and then kills."""
    server = system.server("victim")
    yield server
    await server.close()


class Command:
    """A command with its idempotency key.

    A test sends the command to a server that dies, and then repeats the command at the surviving server.
    """

    def __init__(self, person: RecordingPerson, path: str, body: Any = None) -> None:
        self.person = person
        self.path = path
        self.body = body
        self.key = str(uuid4())

    async def sent_to(self, server: ServerProcess) -> httpx.Response:
        """Send the command to this server, and return the answer."""
        return await self.person.at(server).until_answered(self.path, self.body, key=self.key)


@pytest.mark.rule("2b.5", "V.3")
@pytest.mark.invariant(1, 2, 6, 10, 12)
@pytest.mark.parametrize(
    "kill_at",
    ["idempotency.stored*8", "idempotency.stored>transaction.committed*8"],
    ids=["before_their_commit", "between_their_commit_and_its_publication"],
)
async def test_each_of_eight_interrupted_commands_takes_effect_once(
    system: System, survivor: ServerProcess, victim: ServerProcess, kill_at: str
) -> None:
    """Every device gets the events of the accept."""
    await victim.start(kill_at)
    customers = await system.customers(8, survivor)
    opens, leaves, tries, searches, refused, gives_up, ends, is_left = customers
    mitras = [await system.mitra(survivor, max_customers=20) for _ in range(4)]
    accepts, rejects, chats, stops = mitras
    async with sockets_of(*customers) as devices, working(*mitras) as mitra_devices:
        device_of = dict(zip([*customers, *mitras], [*devices, *mitra_devices], strict=True))
        offer_id = await system.make.offer()
        left = await system.open_payment(leaves)
        trial = await system.open_payment(tries, price_rp=0)
        accepted = await system.request_path(await system.search(searches), accepts)
        rejected = await system.request_path(await system.search(refused), rejects)
        given_up = await system.search(gives_up)
        ended = await system.chat(ends, chats)
        stopped = await system.chat(is_left, stops)
        commands = [
            Command(opens, "/payments", {"offer_id": str(offer_id)}),
            Command(leaves, f"/payments/{left['id']}/cancel"),
            Command(tries, f"/payments/{trial['id']}/confirm"),
            Command(accepts, f"{accepted}/accept"),
            Command(rejects, f"{rejected}/reject"),
            Command(gives_up, f"/pairings/{given_up['id']}/cancel"),
            Command(ends, f"/sessions/{ended['id']}/end"),
            Command(stops, f"/sessions/{stopped['id']}/end", {"reason": "a power cut"}),
        ]

        await asyncio.gather(*(expect_no_answer(command.sent_to(victim)) for command in commands))
        await victim.killed()

        async def everybody_learns() -> None:
            await asyncio.gather(
                device_of[opens].wait_for_event("payment.updated", status="pending"),
                device_of[leaves].wait_for_event("payment.updated", id=left["id"], status="abandoned"),
                device_of[tries].wait_for_event("pairing.updated", payment_id=trial["id"], status="open"),
                device_of[searches].wait_for_event("session.started"),
                device_of[accepts].wait_for_event("session.started"),
                device_of[rejects].wait_for_event("request.closed", close_reason="rejected"),
                device_of[gives_up].wait_for_event(
                    "pairing.updated", id=given_up["id"], failure_tag="customer_cancelled"
                ),
                *(device_of[one].wait_for_event("session.ended", id=ended["id"]) for one in (ends, chats)),
                *(
                    device_of[one].wait_for_event("session.ended", id=stopped["id"])
                    for one in (is_left, stops)
                ),
            )

        if "committed" in kill_at:
            await everybody_learns()
        for command in commands:
            done(await command.sent_to(survivor))
        await everybody_learns()
        assert device_of[searches].count("session.started") == 1
        assert device_of[ends].count("session.ended") == 1

        await system.leave(*customers)
        await system.check(survivor)


@pytest.mark.rule("2a.6", "2a.7")
@pytest.mark.invariant(2, 4, 9, 12)
async def test_a_payment_is_charged_once_when_the_confirming_server_is_killed_before_or_after_the_charge(
    system: System, survivor: ServerProcess
) -> None:
    before, after, recorded = (system.server(f"victim {name}") for name in ("before", "after", "recorded"))
    await asyncio.gather(
        before.start("confirm.before_charge"),
        after.start("confirm.after_charge"),
        recorded.start("confirm.after_charge>transaction.committed"),
    )
    victims = (before, after, recorded)
    customers = await system.customers(3, survivor)
    mitra = await system.mitra(survivor, max_customers=3)
    async with sockets_of(*customers) as devices, working(mitra) as (mitra_device,):
        payments = [await system.open_payment(customer) for customer in customers]
        commands = [
            Command(customer, f"/payments/{payment['id']}/confirm")
            for customer, payment in zip(customers, payments, strict=True)
        ]
        steps = zip(commands, victims, strict=True)
        await asyncio.gather(*(expect_no_answer(command.sent_to(victim)) for command, victim in steps))
        await asyncio.gather(*(victim.killed() for victim in victims))

        # The third customer's device gets its event immediately, because the third server recorded the charge's
        # answer. The device of the second customer gets its event after the worker has asked the gateway.
        await devices[2].wait_for_event("pairing.updated", status="open")
        await mitra_device.wait_for_event("request.offered")
        await devices[1].wait_for_event("pairing.updated", 12, status="open")
        # By now, the gateway has told the worker that the first customer's charge does not exist. So the first
        # customer's repeated command can start another charge attempt.
        for command in commands:
            confirmation = done(await command.sent_to(survivor))
            assert confirmation["payment"]["status"] == "confirmed"
            assert confirmation["pairing"]["status"] == "open"
        for payment in payments:
            books = await MockGateway(system.database).recorded(UUID(payment["id"]))
            assert [charge.amount_rp for charge in books.charges] == [20_000]

        await system.leave(*customers)
        await system.check(survivor)
    await asyncio.gather(*(victim.close() for victim in victims))


@pytest.mark.rule("2b.5", "2b.7")
@pytest.mark.invariant(1, 6, 12)
async def test_every_device_gets_the_events_of_an_accept_when_the_accepting_server_dies(
    system: System, survivor: ServerProcess, victim: ServerProcess
) -> None:
    """The server dies before it sends the signals. The events still arrive within 4 s."""
    await victim.start("accept.before_commit>transaction.committed")
    customer, waits = await system.customers(2, survivor)
    winner, loser = await system.mitra(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,), working(winner, loser) as (winning, losing):
        pairing = await system.search(customer)
        path = await system.request_path(pairing, winner)
        card = await losing.wait_for_event("request.offered")
        other = (await system.request_path(await system.search(waits), winner)).removeprefix("/requests/")
        await winning.wait_for_event("request.offered", id=other)
        accept = Command(winner, f"{path}/accept")
        await expect_no_answer(accept.sent_to(victim))
        await victim.killed()

        hears = asyncio.create_task(device.wait_for_event("session.started"))
        await asyncio.gather(
            losing.wait_for_event("request.closed", id=card["id"], close_reason="already_taken"),
            winning.wait_for_event("request.closed", id=other, close_reason="at_capacity"),
            hears,
        )

        started = hears.result()
        assert done(await accept.sent_to(survivor))["session"]["id"] == started["id"]
        assert done(await winner.post(f"{path}/accept"))["session"]["id"] == started["id"]
        assert problem(await loser.post(f"/requests/{card['id']}/accept")) == (409, "already_taken")
        assert done(await customer.get("/state"))["session"]["id"] == started["id"]
        await system.leave(customer, waits)
        await system.check(survivor)


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1, 6, 12)
async def test_another_mitra_can_accept_when_the_server_dies_before_it_commits_the_first_accept(
    system: System, survivor: ServerProcess, victim: ServerProcess
) -> None:
    await victim.start("accept.before_commit")
    customer, dies, lives = (
        await system.customer(survivor),
        await system.mitra(survivor),
        await system.mitra(survivor),
    )
    async with sockets_of(customer) as (device,), working(dies, lives):
        pairing = await system.search(customer)
        accept = Command(dies, f"{await system.request_path(pairing, dies)}/accept")
        await expect_no_answer(accept.sent_to(victim))
        await victim.killed()

        other = done(await lives.post(f"{await system.request_path(pairing, lives)}/accept"))

        assert (await device.wait_for_event("session.started"))["id"] == other["session"]["id"]
        assert problem(await accept.sent_to(survivor)) == (409, "already_taken")
        await system.leave(customer)
        await system.check(survivor)


@pytest.mark.invariant(10, 12)
@pytest.mark.parametrize(
    ("kill_at", "stored"), [("messages.before_commit:4", 3), ("messages.after_commit:4", 4)]
)
async def test_every_acknowledged_or_repeated_message_is_stored_once_when_its_server_is_killed(
    system: System, survivor: ServerProcess, victim: ServerProcess, kill_at: str, stored: int
) -> None:
    await victim.start(kill_at)
    customer, mitra = await system.customer(survivor), await system.mitra(survivor)
    async with sockets_of(customer) as (device,), working(mitra) as (mitra_device,):
        session = await system.chat(customer, mitra)
        path = f"/sessions/{session['id']}/messages"
        messages = [{"client_message_id": f"m{number}", "text": f"text {number}"} for number in range(1, 6)]
        for message in messages[:3]:
            done(await customer.at(victim).post(path, message))
        await expect_no_answer(customer.at(victim).post(path, messages[3]))
        await victim.killed()

        assert len(done(await customer.get(path))["items"]) == stored
        sent = [done(await customer.post(path, message)) for message in messages]

        shown = done(await mitra.get(path))["items"]
        assert [message["id"] for message in reversed(shown)] == [message["id"] for message in sent]
        for one in (device, mitra_device):
            await one.wait_for_event("message.created", id=sent[-1]["id"])
            created = [f["data"]["id"] for f in one.socket.events if f.get("type") == "message.created"]
            assert created == [message["id"] for message in sent]
        await system.leave(customer)
        await system.check(survivor)
