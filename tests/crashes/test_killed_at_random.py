"""Test that no acknowledged command is lost when two servers and a worker are killed at random moments."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import WebSocketException

from tests.crashes.system import RecordingPerson, System, done, until
from tests.support.processes import KillableProcess, ServerProcess
from tests.support.server import Socket
from tests.support.signed_in import problem

CUSTOMERS = 8
MITRAS = 3
KILLS = 3
RETRY_SECONDS = 0.1
# The maximum time for which calls or deadlines can stay pending. After 6 s, the worker asks the gateway about an
# unanswered charge.
REST_TIMEOUT_SECONDS = 60

AN_HOUR_AGO = (
    "UPDATE payments SET created_at = created_at - interval '1 hour' WHERE customer_id = $1",
    """
    UPDATE charge_attempts SET started_at = started_at - interval '1 hour' FROM payments
    WHERE payments.id = payment_id AND customer_id = $1
    """,
)


class Client:
    """A person with a client and a device. If a server does not answer, the client tries the other server."""

    def __init__(self, person: RecordingPerson, servers: list[ServerProcess]) -> None:
        self.person = person
        self._servers: Iterator[ServerProcess] = itertools.cycle(servers)
        self._connections: list[Socket] = []

    @property
    def seen(self) -> list[int]:
        """The seq of the first welcome, and then the seq of each event in the order of arrival."""
        first = [connection.welcome["seq"] for connection in self._connections[:1]]
        frames = itertools.chain.from_iterable(connection.events for connection in self._connections)
        return first + [frame["seq"] for frame in frames if frame.get("seq") is not None]

    async def look(self, path: str) -> Any:
        """Repeat a GET until a server answers, and return the JSON."""
        return done(await self._repeat_until_answered(lambda person: person.get(path)))

    async def command(self, path: str, body: Any = None) -> httpx.Response:
        """Send a POST, and repeat the POST under the same key until a server gives the final answer."""
        key = str(uuid4())
        return await self._repeat_until_answered(lambda person: person.post(path, body, key=key))

    async def _repeat_until_answered(
        self, ask: Callable[[RecordingPerson], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        for server in self._servers:
            with contextlib.suppress(httpx.TransportError):
                answer = await ask(self.person.at(server))
                if answer.status_code < 500 and problem(answer) != (409, "idempotency_in_progress"):
                    return answer
            await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError("the servers never end")

    async def try_once(self, path: str) -> None:
        """Send one POST to the next server.

        Ignores the answer, because the caller reads the result from the state.
        """
        with contextlib.suppress(httpx.TransportError):
            await self.person.at(next(self._servers)).post(path)

    async def follow(self) -> None:
        """Keep a connection open. When the connection breaks, resume the stream at the next server."""
        epoch = None
        for server in self._servers:
            seen = self.seen
            with contextlib.suppress(OSError, WebSocketException):
                async with self.person.at(server).socket(
                    epoch=epoch, seq=seen[-1] if seen else None
                ) as socket:
                    assert socket.welcome["resumed"] == bool(seen)
                    epoch = socket.welcome["epoch"]
                    self._connections.append(socket)
                    await socket.connection.wait_closed()
            await asyncio.sleep(RETRY_SECONDS)


async def accept_requests(mitra: Client) -> None:
    """Accept every request of this mitra until the task is cancelled."""
    while True:
        for request in (await mitra.look("/requests"))["items"]:
            await mitra.command(f"/requests/{request['id']}/accept")
        await asyncio.sleep(RETRY_SECONDS)


async def go_through_journeys(
    system: System, customer: Client, offer_id: str, is_over: asyncio.Event
) -> None:
    """Repeat a whole journey until `is_over` is set.

    A journey pays, searches, writes messages, and ends the session.
    """
    while not is_over.is_set():
        opened = await customer.command("/payments", {"offer_id": offer_id})
        if opened.status_code == 201:
            session = await pay(customer)
            if session is not None:
                await chat(customer, session)
        elif opened.status_code == 429:
            # Simulate a customer who returns an hour later.
            for statement in AN_HOUR_AGO:
                await system.database.execute(statement, customer.person.id)
        else:
            # All mitras were connected to the killed server. Wait until the mitras have reconnected to another server.
            assert problem(opened) == (409, "no_mitra_available")
            await asyncio.sleep(RETRY_SECONDS)


async def pay(customer: Client) -> dict[str, Any] | None:
    """Confirm the payment and wait for the session. Returns None if no mitra accepted."""
    while True:
        state = await customer.look("/state")
        if state["session"] is not None:
            session: dict[str, Any] = state["session"]
            return session
        status = state["payment"]["status"]
        if status == "unserved":
            return None
        if status == "pending":
            # If no mitra is available at this moment, the server refuses the payment, and the customer tries again.
            await customer.try_once(f"/payments/{state['payment']['id']}/confirm")
        await asyncio.sleep(RETRY_SECONDS)


async def chat(customer: Client, session: dict[str, Any]) -> None:
    """Send one message, and then end the session.

    More messages would exceed the limit of messages per person.
    """
    path = f"/sessions/{session['id']}"
    done(await customer.command(f"{path}/messages", {"client_message_id": str(uuid4()), "text": "halo"}))
    done(await customer.command(f"{path}/end"))


@contextlib.asynccontextmanager
async def running_in_background(*steps: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the coroutines during the block, and cancel them at the end of the block.

    An exception in a coroutine ends the block.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
        yield
        for task in tasks:
            task.cancel()


@pytest.mark.rule("V.3")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 8, 10, 12)
async def test_no_acknowledged_command_is_lost_when_processes_are_killed_at_random_moments(
    system: System,
) -> None:
    random_source = random.Random(12)
    servers = [system.server("a"), system.server("b")]
    processes: list[KillableProcess] = [*servers, system.worker()]
    await asyncio.gather(*(process.start() for process in processes))
    customers = [Client(person, servers) for person in await system.customers(CUSTOMERS, servers[0])]
    mitras = [
        Client(await system.mitra(servers[0], max_customers=3, online=True), servers) for _ in range(MITRAS)
    ]
    everybody = [*customers, *mitras]
    offer_id, is_over = str(await system.make.offer()), asyncio.Event()

    def acknowledged() -> int:
        return sum(len(one.person.answered) for one in everybody)

    async def next_kill_is_due() -> bool:
        return acknowledged() >= next_kill

    async def all_events_received() -> bool:
        rows = await system.database.fetch("SELECT user_id, head FROM streams")
        heads = {row["user_id"]: row["head"] for row in rows}
        return all(one.seen[-1] == heads[one.person.id] for one in everybody)

    async with running_in_background(
        *(one.follow() for one in everybody), *(accept_requests(mitra) for mitra in mitras)
    ):
        async with asyncio.TaskGroup() as journeys:
            for customer in customers:
                journeys.create_task(go_through_journeys(system, customer, offer_id, is_over))
            for _ in range(KILLS):
                next_kill = acknowledged() + random_source.randint(5, 40)
                await until(next_kill_is_due, REST_TIMEOUT_SECONDS)
                dies = random_source.choice(processes)
                await dies.kill_now()
                await dies.start()
            is_over.set()
        await until(all_events_received, REST_TIMEOUT_SECONDS)
        for one in everybody:
            assert one.seen == list(range(one.seen[0], one.seen[-1] + 1))
        await system.check(servers[0])
