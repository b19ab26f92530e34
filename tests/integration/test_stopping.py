"""Test that a server and a worker lose no work after SIGTERM, and that the operations port closes last."""

import asyncio
import contextlib
import dataclasses
import signal

import httpx
import pytest
import valkey.asyncio
from websockets.protocol import State

from curhat.app import worker
from curhat.app.asgi import Server
from curhat.app.closing.service import ONLY_ID
from curhat.app.connections import ServerConfig
from curhat.app.shutdown import DrainingServer
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.kit.settings import Settings
from curhat.realtime import hub as hub_module
from tests.support.signed_in import RunningServer, development_settings, free_port

POLL = "/api/client/mitra-availability"
DUE_DEADLINE = """
INSERT INTO deadlines (kind, entity_id, due_at) VALUES ('payment_expiry', uuidv7(), curhat_now()) RETURNING id
"""


BOOKS_ARE_CLOSED = """
INSERT INTO deadlines (kind, entity_id, due_at) VALUES ('books_close', $1, curhat_now() + interval '1 day')
"""


class Latch:
    """Blocks each task that arrives, until the test opens the latch."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let everybody go on."""
        self._opened.set()


class StoppingServer(DrainingServer):
    """A server that waits for the proxy until the test opens the latch."""

    def __init__(self, settings: Settings) -> None:
        self.application = Server(settings)
        config = ServerConfig(
            self.application, max_connections=100, host="127.0.0.1", port=free_port(), lifespan="on"
        )
        super().__init__(config, self.application, 0.0)
        self.notice = Latch()
        self.url = f"http://127.0.0.1:{config.port}"
        self.operations_url = f"http://127.0.0.1:{settings.operations_port}"

    async def _let_the_proxy_notice(self) -> None:
        await self.notice()


@pytest.fixture
def settings(servers: EmbeddedServers, database_url: str) -> Settings:
    """The settings of a process in production."""
    return dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
    )


async def answers_at(url: str) -> int | None:
    """Send a request on a new connection. Returns the status of the answer, or None if no process listens."""
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(url)).status_code
        except httpx.ConnectError:
            return None


async def until_answer(url: str, status: int) -> None:
    """Wait until this URL answers with this status."""
    async with asyncio.timeout(15):
        while await answers_at(url) != status:
            await asyncio.sleep(0.01)


@pytest.mark.invariant(12)
async def test_a_stopping_server_first_waits_for_the_proxy_and_closes_its_operations_port_last(
    settings: Settings, database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    server = StoppingServer(settings)
    serving = asyncio.create_task(server.serve())
    await until_answer(f"{server.operations_url}/livez", 200)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        people = RunningServer(server.url, server.application, http, database)
        customer, mitra = await people.customer(), await people.mitra()
        closing = Latch()
        server.application.services.gateway.close = closing  # type: ignore[method-assign]
        async with customer.socket() as phone:
            held = Latch()
            set_pause_point("presence.intent_committed", held)
            request = asyncio.create_task(mitra.put("/presence", {"online": False}))
            await held.reached.wait()

            server.should_exit = True
            await until_answer(f"{server.operations_url}/livez", 503)
            # The proxy has not yet noticed that the server is stopping. The server still serves requests on new and old
            # connections, and its sockets are open.
            assert await answers_at(server.url + POLL) == 200
            assert (await http.get(POLL)).headers["connection"] == "close"
            assert phone.connection.state is State.OPEN

            server.notice.open()
            async with asyncio.timeout(10):
                await phone.connection.wait_closed()
            assert phone.connection.close_code == 1012
            assert await answers_at(server.url + POLL) == 200

            held.open()
            assert (await request).status_code == 200
            async with asyncio.timeout(10):
                await closing.reached.wait()
            assert await answers_at(server.url + POLL) is None
            assert await answers_at(f"{server.operations_url}/livez") == 503
            # HAProxy then leaves the requests under way alone.
            assert await answers_at(f"{server.operations_url}/livez?stopping=404") == 404
            assert await answers_at(f"{server.operations_url}/metrics") == 200
            closing.open()
    await serving
    assert await answers_at(f"{server.operations_url}/livez") is None


async def test_a_second_interrupt_ends_the_wait_for_the_proxy(settings: Settings) -> None:
    server = StoppingServer(settings)
    waiting = asyncio.create_task(server._unless_forced(server._let_the_proxy_notice()))
    await server.notice.reached.wait()
    server.force_exit = True
    async with asyncio.timeout(5):
        await waiting


async def test_a_stopping_server_closes_its_sockets_one_by_one_and_open_sockets_still_work(
    settings: Settings,
    database: Database,
    valkey_client: valkey.asyncio.Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If all people reconnected at once, the other servers could not welcome them in time."""
    monkeypatch.setattr(hub_module, "DRAINED_PER_SECOND", 1)
    monkeypatch.setattr(hub_module, "MAX_DRAIN_SECONDS", 1.5)
    server = StoppingServer(settings)
    serving = asyncio.create_task(server.serve())
    await until_answer(f"{server.operations_url}/livez", 200)
    closed_at = []
    async with httpx.AsyncClient(base_url=server.url) as http, contextlib.AsyncExitStack() as stack:
        people = RunningServer(server.url, server.application, http, database)
        phones = [await stack.enter_async_context((await people.customer()).socket()) for _ in range(30)]

        async def note_close(index: int) -> None:
            await phones[index].connection.wait_closed()
            assert phones[index].connection.close_code == 1012
            closed_at.append(asyncio.get_running_loop().time())

        waiting = [asyncio.create_task(note_close(index)) for index in range(30)]
        server.should_exit = True
        server.notice.open()
        async with asyncio.timeout(15):
            await asyncio.gather(*waiting)
            await serving
    assert 0.5 < closed_at[-1] - closed_at[0] < 8


@pytest.mark.invariant(12)
async def test_a_stopping_worker_finishes_its_current_transaction(
    settings: Settings, database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    claimed = Latch()
    # The worker would close the books at its start, and would arrive at the pause point with this deadline first.
    await database.execute(BOOKS_ARE_CLOSED, ONLY_ID)
    set_pause_point("deadline.before_commit", claimed)
    running = asyncio.create_task(worker.run(settings))
    livez = f"http://127.0.0.1:{settings.operations_port}/livez"
    try:
        await until_answer(livez, 200)
        deadline_id = await database.fetchval(DUE_DEADLINE)
        async with asyncio.timeout(10):
            await claimed.reached.wait()
        signal.raise_signal(signal.SIGTERM)
        await until_answer(livez, 503)
        # If a deadline becomes due now, the stopping worker leaves the deadline to another worker.
        later_id = await database.fetchval(DUE_DEADLINE)
        claimed.open()
        async with asyncio.timeout(15):
            await running
        left = await database.fetch("SELECT id FROM deadlines WHERE kind <> 'books_close'")
        assert [row["id"] for row in left] == [later_id] != [deadline_id]
        assert await answers_at(livez) is None
    finally:
        claimed.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
