"""Test that operations answer 503 while PostgreSQL is away, and that an unknown commit is reported as unknown."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.security.operations import ENTERED, send
from tests.support.postgres_proxy import PostgresProxy, proxy_of
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

# The availability poll asks only Valkey, and the gateway notice needs no database.
WITHOUT_POSTGRESQL = {"get_gateway_notice", "get_mitra_availability"}


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[PostgresProxy]:
    """The proxy between the server and PostgreSQL. The tests' own pool does not use the proxy."""
    async with proxy_of(database_url).running() as running:
        yield running


@pytest.fixture
async def server(
    servers: EmbeddedServers, proxy: PostgresProxy, database: Database, valkey_client: "valkey.asyncio.Valkey"
) -> AsyncIterator[RunningServer]:
    """A server that reaches this test's database through the proxy."""
    del valkey_client  # The fixture empties Valkey.
    async with start_server(development_settings(proxy.url, servers.valkey_url), database) as opened:
        yield opened


@pytest.mark.invariant(12)
async def test_every_operation_answers_503_and_says_when_to_repeat_while_postgresql_is_away(
    server: RunningServer, proxy: PostgresProxy
) -> None:
    calls = []
    async with server.available_mitra():
        for operation, entry in ENTERED:
            calls.append((operation, await entry.prepare(server)))
        proxy.refuses = True
        proxy.cut()
        answers: dict[str, tuple[tuple[int, Any], bool]] = {}
        for operation, call in calls:
            answer = await send(server, operation, call)
            answers[operation.id] = (problem(answer), "retry-after" in answer.headers)
        proxy.refuses = False
    others = {name for name, found in answers.items() if found != ((503, "service_unavailable"), True)}
    assert others == WITHOUT_POSTGRESQL, {name: answers[name] for name in others}


@pytest.mark.invariant(2, 12)
async def test_a_command_with_an_unknown_commit_is_answered_as_unknown_and_takes_effect_once(
    server: RunningServer, proxy: PostgresProxy
) -> None:
    customer = await server.customer()
    offer = {"offer_id": str(await server.make.offer())}
    key = str(uuid4())
    async with server.available_mitra():
        proxy.cut_after = b"COMMIT"
        unknown = await customer.post("/payments", offer, key=key)
        proxy.cut_after = None
        assert problem(unknown) == (503, "service_unavailable")
        assert unknown.json()["outcome"] == "unknown"
        assert "not known" in unknown.json()["detail"]
        assert int(unknown.headers["retry-after"]) > 0
        async with asyncio.timeout(10):
            while problem(repeated := await customer.post("/payments", offer, key=key)) != (201, None):
                assert repeated.status_code == 503
    assert await server.database.fetchval("SELECT count(*) FROM payments") == 1
