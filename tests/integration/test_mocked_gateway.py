"""Test that a production server with the mock gateway warns that no payment moves money."""

import dataclasses

import pytest
import structlog

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.settings import Environment
from tests.support.signed_in import development_settings, free_port, start_server


@pytest.mark.rule("2a.1")
@pytest.mark.parametrize("environment", ["production", "development"])
async def test_in_production_a_mocked_gateway_warns_in_the_log_and_on_the_screens_of_operators(
    servers: EmbeddedServers, database_url: str, database: Database, environment: Environment
) -> None:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment=environment,
        code_senders=("sms",),
        operations_port=free_port(),
    )
    with structlog.testing.capture_logs() as logged:
        async with start_server(settings, database) as server:
            notice = (await server.http.get("/api/control-center/gateway")).json()
    is_production = environment == "production"
    assert notice == {"name": "mock", "is_mocked": is_production}
    warnings = [line for line in logged if line["event"] == "gateway.mocked"]
    assert [line["log_level"] for line in warnings] == ["warning"] * is_production
