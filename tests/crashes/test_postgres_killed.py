"""Kill PostgreSQL with `kill -9` during a blast and a chat.

After the kill, all processes and clients must recover by themselves.
"""

import asyncio
import functools
import itertools
import os
import signal
from typing import Any
from uuid import uuid4

import pytest

from curhat.dev.embedded import PostgresServer
from tests.crashes.system import RecordingPerson, System, available, done, sockets_of, until, working
from tests.support.processes import ServerProcess, WorkerProcess
from tests.support.signed_in import problem

WINDOW_ENDS_SOON = """
WITH pairing AS (
    UPDATE pairings SET deadline_at = curhat_now() + interval '1 second' WHERE id = $1
    RETURNING id, deadline_at
)
UPDATE deadlines SET due_at = pairing.deadline_at FROM pairing
WHERE kind = 'pairing_window' AND entity_id = pairing.id
"""

END_CONNECTIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = ANY ('{curhat server, curhat worker}')
"""

# PostgreSQL first replays its write-ahead log. The replay takes longer on a busy machine.
RECOVERY_TIMEOUT_SECONDS = 30


async def kill_immediately(postgres: PostgresServer) -> None:
    """Kill PostgreSQL with `kill -9`. The kill does not wait for the current work of PostgreSQL."""
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    assert await postgres.wait() == "signal SIGKILL"


class Writer:
    """Sends messages one after another, and stops at the first message that the server does not acknowledge."""

    def __init__(self, person: RecordingPerson, path: str) -> None:
        self.person = person
        self.path = path
        self.acknowledged: list[dict[str, Any]] = []
        self.unacknowledged: dict[str, str] = {}

    async def write(self) -> None:
        """Send messages until the server cannot reach PostgreSQL."""
        for number in itertools.count():
            message = {"client_message_id": str(uuid4()), "text": f"text {number}"}
            answer = await self.person.post(self.path, message)
            if not answer.is_success:
                assert problem(answer) == (503, "service_unavailable")
                self.unacknowledged = message
                return
            self.acknowledged.append(answer.json())


@pytest.fixture(scope="module")
async def processes(system: System) -> tuple[ServerProcess, WorkerProcess]:
    """Start a server and a worker."""
    server, worker = system.server(), system.worker()
    await asyncio.gather(server.start(), worker.start())
    return server, worker


@pytest.mark.rule("1.2", "2b.5")
@pytest.mark.invariant(4, 5, 10, 12)
async def test_no_acknowledged_command_is_lost_when_postgresql_is_killed(
    system: System, processes: tuple[ServerProcess, WorkerProcess]
) -> None:
    """The server and the worker keep running."""
    server, worker = processes
    searches, runs_out, chats = await system.customers(3, server)
    accepts, listens = await system.mitra(server, max_customers=2), await system.mitra(server)
    numbers = (server.pid, worker.pid)
    async with (
        sockets_of(searches, runs_out, chats) as (searching, running_out, chatting),
        working(accepts, listens),
    ):
        session = await system.chat(chats, listens)
        path = f"/sessions/{session['id']}/messages"
        accept = f"{await system.request_path(await system.search(searches), accepts)}/accept"
        too_late = await system.search(runs_out)
        late_accept = f"{await system.request_path(too_late, accepts)}/accept"
        await system.database.execute(WINDOW_ENDS_SOON, too_late["id"])

        writers = [Writer(person, path) for person in (chats, listens)]
        writing = asyncio.gather(*(writer.write() for writer in writers))
        await until(lambda: have_written(writers, 5), RECOVERY_TIMEOUT_SECONDS)
        await kill_immediately(system.servers.postgres)
        await writing

        await until(lambda: has_failing_status(server))
        assert await server.is_ready()  # A proxy must not take every server out of service.
        assert await available(server)  # The server answers a poll without PostgreSQL.
        key = str(uuid4())
        assert problem(await accepts.post(accept, key=key)) == (503, "service_unavailable")

        await system.servers.postgres.start()
        await until(server.has_good_status, RECOVERY_TIMEOUT_SECONDS)

        await running_out.wait_for_event("pairing.updated", RECOVERY_TIMEOUT_SECONDS, status="failed")
        assert problem(await accepts.post(late_accept)) == (409, "request_closed")
        started = done(await accepts.post(accept, key=key))["session"]
        await searching.wait_for_event("session.started", id=started["id"])
        again = [done(await writer.person.post(path, writer.unacknowledged)) for writer in writers]
        stored = [row["id"] for row in await system.database.fetch("SELECT id::text FROM messages")]
        expected = [message["id"] for writer in writers for message in writer.acknowledged]
        assert sorted(stored) == sorted(expected + [message["id"] for message in again])
        await chatting.wait_for_event("message.created", id=again[-1]["id"])
        assert (server.pid, worker.pid) == numbers
        assert server.is_running
        assert worker.is_running
        await system.leave(searches, chats)
        await system.check(server)


@pytest.mark.invariant(12)
async def test_no_process_exits_when_its_database_connections_end_repeatedly(
    system: System, processes: tuple[ServerProcess, WorkerProcess]
) -> None:
    server, worker = processes
    for _ in range(20):
        # The server and the worker use a connection at least every 0.25 s, so some connections end while a statement
        # runs.
        await until(functools.partial(has_ended_connections, system), RECOVERY_TIMEOUT_SECONDS)
    await until(server.has_good_status, RECOVERY_TIMEOUT_SECONDS)
    customer, mitra = await system.customer(server), await system.mitra(server)
    async with working(mitra):
        await system.chat(customer, mitra)
        await system.leave(customer)
    assert worker.is_running
    await system.check(server)


async def has_ended_connections(system: System) -> bool:
    """End all connections of the server and the worker. Returns whether at least two connections ended."""
    ended: int = await system.database.fetchval(END_CONNECTIONS)
    return ended >= 2


async def have_written(writers: list[Writer], messages: int) -> bool:
    """Return whether each writer has at least `messages` acknowledged messages."""
    return all(len(writer.acknowledged) >= messages for writer in writers)


async def has_failing_status(server: ServerProcess) -> bool:
    """Return whether /status reports a failed check."""
    return not await server.has_good_status()
