"""Provides the security tests with a running server on which a test can sign users in."""

from collections.abc import AsyncIterator

import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.support.signed_in import RunningServer, development_settings, start_server


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin of schemathesis only for these tests, because the import of the plugin takes 3 s."""
    config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a development server on the test's own database and an empty Valkey."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened
