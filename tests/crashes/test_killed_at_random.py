"""Two servers and a worker killed again and again while people go about their journeys, whatever they are doing."""

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

from tests.crashes.system import System, Witness, done, until
from tests.support.processes import Killable, ServerProcess
from tests.support.server import Socket
from tests.support.signed_in import problem

CUSTOMERS = 8
MITRAS = 3
KILLS = 3
LOOK_SECONDS = 0.1
# How long everything may take to come to rest: an unanswered charge is asked about after 6 s.
REST_SECONDS = 60


class Traveller:
    """A person whose client goes to another server when one does not answer, and whose device follows the stream."""

    def __init__(self, person: Witness, servers: list[ServerProcess]) -> None:
        self.person = person
        self._servers: Iterator[ServerProcess] = itertools.cycle(servers)
        self._connections: list[Socket] = []

    @property
    def seen(self) -> list[int]:
        """The numbers of the events that the device was sent, over all its connections, from before the first."""
        first = [connection.welcome["seq"] for connection in self._connections[:1]]
        frames = itertools.chain.from_iterable(connection.events for connection in self._connections)
        return first + [frame["seq"] for frame in frames if frame.get("seq") is not None]

    async def look(self, path: str) -> Any:
        """GET, from whoever answers."""
        return done(await self._insist(lambda person: person.get(path)))

    async def command(self, path: str, body: Any = None) -> httpx.Response:
        """POST, repeated under one key until somebody answers for good."""
        key = str(uuid4())
        return await self._insist(lambda person: person.post(path, body, key=key))

    async def _insist(self, ask: Callable[[Witness], Awaitable[httpx.Response]]) -> httpx.Response:
        for server in self._servers:
            with contextlib.suppress(httpx.TransportError):
                answer = await ask(self.person.at(server))
                if answer.status_code < 500 and problem(answer) != (409, "idempotency_in_progress"):
                    return answer
            await asyncio.sleep(LOOK_SECONDS)
        raise AssertionError("the servers never end")

    async def try_once(self, path: str) -> None:
        """POST, to whoever is next, answered or not: what became of it is seen in the state."""
        with contextlib.suppress(httpx.TransportError):
            await self.person.at(next(self._servers)).post(path)

    async def follow(self) -> None:
        """Hold a connection, at the next server when one breaks, and go on after what was seen."""
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
            await asyncio.sleep(LOOK_SECONDS)


async def works(mitra: Traveller) -> None:
    """Take whoever asks, until cancelled."""
    while True:
        for request in (await mitra.look("/requests"))["items"]:
            await mitra.command(f"/requests/{request['id']}/accept")
        await asyncio.sleep(LOOK_SECONDS)


async def travels(customer: Traveller, offer_id: str, is_over: asyncio.Event) -> None:
    """One journey after another: pay, search, write, end."""
    while not is_over.is_set():
        opened = await customer.command("/payments", {"offer_id": offer_id})
        if opened.status_code == 201:
            session = await paid_for(customer)
            if session is not None:
                await talks(customer, session)
        else:
            # Those who listen have all gone with the server they were connected to; they come back.
            assert problem(opened) == (409, "no_mitra_available")
            await asyncio.sleep(LOOK_SECONDS)


async def paid_for(customer: Traveller) -> dict[str, Any] | None:
    """Confirm, and wait for the session; None when nobody came."""
    while True:
        state = await customer.look("/state")
        if state["session"] is not None:
            session: dict[str, Any] = state["session"]
            return session
        status = state["payment"]["status"]
        if status == "unserved":
            return None
        if status == "pending":
            await customer.try_once(f"/payments/{state['payment']['id']}/confirm")
        await asyncio.sleep(LOOK_SECONDS)


async def talks(customer: Traveller, session: dict[str, Any]) -> None:
    """Three messages, and the end."""
    path = f"/sessions/{session['id']}"
    for number in range(3):
        message = {"client_message_id": str(uuid4()), "text": f"text {number}"}
        done(await customer.command(f"{path}/messages", message))
    done(await customer.command(f"{path}/end"))


@contextlib.asynccontextmanager
async def beside(*steps: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these until the end of the block; what breaks in them breaks the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
        yield
        for task in tasks:
            task.cancel()


@pytest.mark.rule("V.3")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 8, 10, 12)
async def test_servers_and_worker_killed_at_random_moments_lose_nothing_that_was_acknowledged(
    system: System,
) -> None:
    chance = random.Random(12)
    servers = [system.server("a"), system.server("b")]
    processes: list[Killable] = [*servers, system.worker()]
    await asyncio.gather(*(process.start() for process in processes))
    customers = [Traveller(person, servers) for person in await system.customers(CUSTOMERS, servers[0])]
    mitras = [
        Traveller(await system.mitra(servers[0], max_customers=3, online=True), servers)
        for _ in range(MITRAS)
    ]
    everybody = [*customers, *mitras]
    offer_id, is_over = str(await system.make.offer()), asyncio.Event()

    def acknowledged() -> int:
        return sum(len(one.person.answered) for one in everybody)

    async def next_kill_is_due() -> bool:
        return acknowledged() >= next_kill

    async def all_told() -> bool:
        rows = await system.database.fetch("SELECT user_id, head FROM streams")
        heads = {row["user_id"]: row["head"] for row in rows}
        return all(one.seen[-1] == heads[one.person.id] for one in everybody)

    async with beside(*(one.follow() for one in everybody), *(works(mitra) for mitra in mitras)):
        async with asyncio.TaskGroup() as journeys:
            for customer in customers:
                journeys.create_task(travels(customer, offer_id, is_over))
            for _ in range(KILLS):
                next_kill = acknowledged() + chance.randint(5, 40)
                await until(next_kill_is_due, REST_SECONDS)
                dies = chance.choice(processes)
                await dies.kill_now()
                await dies.start()
            is_over.set()
        await until(all_told, REST_SECONDS)
        for one in everybody:
            assert one.seen == list(range(one.seen[0], one.seen[-1] + 1))
        await system.everything_holds(servers[0])
