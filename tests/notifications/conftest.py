"""Provides a running server, a push service, and a worker that works only when a test calls its methods."""

from collections.abc import AsyncIterator

import pytest
import valkey.asyncio

from curhat.app.wiring import Services
from curhat.deadlines import loop as deadline_loop
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.support.push import PushService, push_service
from tests.support.signed_in import RunningServer, development_settings, start_server


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a development server on the test's own database and an empty Valkey."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


@pytest.fixture
async def vendor() -> AsyncIterator[PushService]:
    """A push service on this machine."""
    async with push_service() as running:
        yield running


class Worker:
    """The part of a worker that sends pushes. Each call of a method does one round of work."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def look(self) -> None:
        """Fire the deadlines that are due."""
        await deadline_loop.run_once(self.services.database, self.services.transitions)

    async def work(self) -> None:
        """Fire the deadlines that are due, and send the push messages in the outbox."""
        await self.look()
        await self.services.outbox.settle()


@pytest.fixture
def worker(server: RunningServer) -> Worker:
    """A worker that uses the server's own Services."""
    return Worker(server.application.services)
