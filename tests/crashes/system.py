"""A database, its server and worker processes, and clients that remember every acknowledged command."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from curhat.app import invariants
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.identity import Role
from tests.support.journey import request_of
from tests.support.people import Make
from tests.support.processes import KillableProcess, ServerProcess, WorkerProcess
from tests.support.server import Person, Socket
from tests.support.signed_in import SIGN_IN, problem

# A device gets an event within this time, even if a signal is lost. The server compares the heads of streams with
# PostgreSQL every 3 s, and the cards every 2 s.
HEALED_SECONDS = 4.0


class Answered(NamedTuple):
    """An acknowledged command (path, body and key) with its answer (status and text)."""

    path: str
    body: Any
    key: str
    status: int
    text: str


class RecordingPerson(Person):
    """A person who remembers every acknowledged command. The person can repeat each command and compare the answers."""

    def __init__(self, http: httpx.AsyncClient, role: Role, user_id: UUID, token: str) -> None:
        super().__init__(http, role, user_id, token)
        self.answered: list[Answered] = []

    def at(self, server: ServerProcess) -> "RecordingPerson":
        """Return this person as a client of this server.

        The old client and the new client share the remembered commands.
        """
        there = RecordingPerson(
            server.http, "customer" if self.role == "customer" else "mitra", self.id, self.token
        )
        there.answered = self.answered
        return there

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """Send a command, and remember the command if it succeeds."""
        key = key or str(uuid4())
        answer = await super().post(path, body, key=key)
        if answer.is_success:
            self.answered.append(Answered(path, body, key, answer.status_code, answer.text))
        return answer

    async def until_answered(self, path: str, body: Any = None, *, key: str) -> httpx.Response:
        """Send a command under its key.

        Like a client, repeat the command as long as the server still handles the first request.
        """
        async with asyncio.timeout(30):
            while True:
                answer = await self.post(path, body, key=key)
                if problem(answer) != (409, "idempotency_in_progress"):
                    return answer
                await asyncio.sleep(0.2)

    async def check_answers(self, server: ServerProcess) -> None:
        """Repeat every remembered command under its key at this server.

        Assert that each answer equals the first answer.
        """
        for one in tuple(self.answered):
            again = await self.at(server).post(one.path, one.body, key=one.key)
            assert (again.status_code, again.text) == (one.status, one.text), f"{one} became {again.text}"


class System:
    """A database, its processes, and its people."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], database: Database, servers: EmbeddedServers
    ) -> None:
        self.database = database
        self.make = Make(database)
        self.servers = servers
        self._folder = folder
        self._environment = environment
        self._processes: list[KillableProcess] = []
        self._people: list[RecordingPerson] = []

    # Processes

    def server(self, name: str = "server") -> ServerProcess:
        """Return a new server that is not started."""
        server = ServerProcess(self._folder, name, self._environment)
        self._processes.append(server)
        return server

    def worker(self, name: str = "worker") -> WorkerProcess:
        """Return a new worker that is not started."""
        worker = WorkerProcess(self._folder, name, self._environment)
        self._processes.append(worker)
        return worker

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(process.close() for process in self._processes))

    # People

    async def person(self, role: Role, user_id: UUID, server: ServerProcess) -> RecordingPerson:
        """Sign in an existing person as a client of this server."""
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        await self.database.execute(SIGN_IN, digest, role, user_id, "bearer", 3600.0)
        person = RecordingPerson(server.http, role, user_id, token)
        self._people.append(person)
        return person

    async def customer(self, server: ServerProcess) -> RecordingPerson:
        """Create a customer."""
        return await self.person("customer", await self.make.customer(), server)

    async def customers(self, count: int, server: ServerProcess) -> list[RecordingPerson]:
        """Create several customers."""
        return [await self.customer(server) for _ in range(count)]

    async def mitra(
        self, server: ServerProcess, *, max_customers: int = 1, online: bool = False
    ) -> RecordingPerson:
        """Create a mitra without a connection. The mitra's toggle is on only if `online` is true."""
        return await self.person(
            "mitra", await self.make.mitra(online=online, max_customers=max_customers), server
        )

    # The following methods bring a test to its starting point through the API.

    async def open_payment(self, customer: Person, *, price_rp: int = 20_000) -> dict[str, Any]:
        """Open a payment, but do not confirm it."""
        minutes = 5 if price_rp == 0 else 30
        offer_id = await self.make.offer(duration_minutes=minutes, price_rp=price_rp)
        payment: dict[str, Any] = done(await customer.post("/payments", {"offer_id": str(offer_id)}))
        return payment

    async def search(self, customer: Person) -> dict[str, Any]:
        """Open and confirm a payment. Return the open pairing of the payment."""
        payment = await self.open_payment(customer)
        pairing: dict[str, Any] = done(await customer.post(f"/payments/{payment['id']}/confirm"))["pairing"]
        return pairing

    async def request_path(self, pairing: dict[str, Any], mitra: Person) -> str:
        """Return the URL path of this mitra's request in this pairing."""
        return f"/requests/{await request_of(self.database, UUID(pairing['id']), mitra.id)}"

    async def chat(self, customer: Person, mitra: Person) -> dict[str, Any]:
        """Start a session between this customer and this mitra. The mitra must be online."""
        path = await self.request_path(await self.search(customer), mitra)
        session: dict[str, Any] = done(await mitra.post(f"{path}/accept"))["session"]
        return session

    async def leave(self, *customers: Person) -> None:
        """End the session, the search or the payment of each customer."""
        for customer in customers:
            state = done(await customer.get("/state"))
            if state["session"] is not None:
                done(await customer.post(f"/sessions/{state['session']['id']}/end"))
            elif state["pairing"] is not None and state["pairing"]["status"] == "open":
                done(await customer.post(f"/pairings/{state['pairing']['id']}/cancel"))
            elif state["payment"] is not None and state["payment"]["status"] == "pending":
                done(await customer.post(f"/payments/{state['payment']['id']}/cancel"))

    # Conditions that must hold

    async def check(self, server: ServerProcess | None = None) -> None:
        """Wait until no call or deadline is pending, and then check every invariant.

        If `server` is given, also repeat every acknowledged command at this server.
        """
        async with asyncio.timeout(30):
            while await invariants.violations_of([invariants.IN_FLIGHT], self.database, None):
                await asyncio.sleep(0.05)
        violations = await invariants.check(self.database, quiet=True)
        assert violations == [], violations
        if server is not None:
            await asyncio.gather(*(person.check_answers(server) for person in self._people))
        self._people.clear()


def done(answer: httpx.Response) -> Any:
    """Assert that the command succeeded, and return the JSON of its answer."""
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def available(server: ServerProcess) -> bool:
    """Return whether a poll says that a mitra is available."""
    answer: bool = done(await server.http.get("/api/client/mitra-availability"))["available"]
    return answer


async def unavailable(server: ServerProcess) -> bool:
    """Return whether a poll says that no mitra is available."""
    return not await available(server)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = HEALED_SECONDS) -> None:
    """Wait until the condition holds. Raise TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def expect_no_answer(command: Awaitable[httpx.Response]) -> None:
    """Assert that the command gets no answer, because the server dies."""
    with pytest.raises(httpx.TransportError):
        await command


@contextlib.asynccontextmanager
async def sockets_of(*people: Person) -> AsyncIterator[list["Device"]]:
    """Connect a device for each person. At the end of the block, assert that no device missed or repeated an event."""
    async with contextlib.AsyncExitStack() as stack:
        devices = [Device(await stack.enter_async_context(person.socket())) for person in people]
        yield devices
        for device in devices:
            device.check_for_gaps()


@contextlib.asynccontextmanager
async def working(*mitras: Person) -> AsyncIterator[list["Device"]]:
    """Connect a device for each mitra, and set each mitra online."""
    async with sockets_of(*mitras) as devices:
        for mitra in mitras:
            done(await mitra.put("/presence", {"online": True}))
        yield devices


class Device:
    """A connected device, and the events that it received."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def wait_for_event(
        self, event: str, seconds: float = HEALED_SECONDS, **matching: Any
    ) -> dict[str, Any]:
        """Wait for an event of this type that has the values of `matching` in its data. Return the event's data."""
        try:
            return await self.socket.wait_for(event, seconds, **matching)
        except TimeoutError:
            seen = [(frame.get("type"), frame.get("data")) for frame in self.socket.events]
            raise AssertionError(f"no {event} with {matching} in {seconds} s, but {seen}") from None

    def count(self, event: str) -> int:
        """Return how many events of this type the device received."""
        return sum(frame.get("type") == event for frame in self.socket.events)

    def check_for_gaps(self) -> None:
        """Assert that the device received every event after the welcome exactly once and in order."""
        numbers = [frame["seq"] for frame in self.socket.events if frame.get("seq") is not None]
        first = self.socket.welcome["seq"] + 1
        assert numbers == list(range(first, first + len(numbers)))
