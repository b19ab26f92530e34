"""Provides a running server for the journeys over HTTP and sockets."""

from collections.abc import AsyncIterator

import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.support.signed_in import RunningServer, development_settings, start_server


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a development server on the test's own database and an empty Valkey."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened
