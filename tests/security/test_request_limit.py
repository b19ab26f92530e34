"""Test that each signed-in person has a separate count, even if strangers share the network address."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey.asyncio

from curhat.accounts import queries
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.settings import Settings
from tests.support.server import Person
from tests.support.signed_in import ORIGIN, RunningServer, environment_of, problem, start_server

REFUSED = (429, "too_many_requests")
LIMIT = 10


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a server on which the strangers of one address can send 10 requests per minute."""
    del valkey_client  # The fixture empties Valkey.
    environment = environment_of(
        database_url, servers.valkey_url, CURHAT_ADDRESS_REQUESTS_PER_MINUTE=str(LIMIT)
    )
    async with start_server(Settings.from_environment(environment), database) as opened:
        yield opened


async def _use_up_the_address(server: RunningServer, **headers: str) -> None:
    # The test sends twice the limit, because the minute of the limit can end during the test.
    answers = [await server.http.get("/api/client/me", headers=headers) for _ in range(2 * LIMIT + 1)]
    assert problem(answers[-1]) == REFUSED


@pytest.mark.rule("X.13")
async def test_strangers_cannot_stop_a_mitra_from_rejecting_an_extension(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    offer_id = await server.make.offer(purpose="extension")
    async with mitra.socket():
        await mitra.put("/presence", {"online": True})
        asked = await customer.post(f"/sessions/{chat.id}/extensions", {"offer_id": str(offer_id)})
        assert problem(asked) == (201, None)
        await _use_up_the_address(server)
        await _use_up_the_address(server, Authorization="Bearer made up")
        rejected = await mitra.post(f"/extensions/{asked.json()['id']}/reject")
        assert rejected.json()["status"] == "rejected"


@pytest.mark.rule("X.13")
async def test_strangers_cannot_use_up_the_limit_of_a_signed_in_person(server: RunningServer) -> None:
    people: list[Person] = [await server.customer(), await server.mitra(), await server.operator()]
    ticket = (await people[0].post("/realtime-ticket")).json()["ticket"]
    await _use_up_the_address(server)
    for person in people:
        path = "/dashboard" if person.role == "operator" else "/me"
        assert problem(await person.get(path)) == (200, None)
    for person in people[:2]:
        async with person.socket():
            pass
    stranger = Person(server.http, "customer", people[0].id, "no token")
    by_ticket = f"/realtime?ticket={ticket}"
    async with stranger.socket(path=by_ticket):
        pass


CODE_REQUEST = "/api/client/auth/otp/request"


@pytest.mark.rule("X.13")
async def test_strangers_cannot_stop_a_known_device_that_signs_in(server: RunningServer) -> None:
    phone = "+6281234567890"
    body = {"call_name": "Bunga", "transport": "cookie"}
    body["request_id"] = (await server.http.post(CODE_REQUEST, json={"phone": phone})).json()["request_id"]
    inbox = (await server.http.get("/api/dev/inbox", params={"phone": phone})).json()
    signed_in = await server.http.post(
        "/api/client/auth/otp/verify", json={**body, "code": inbox["messages"][0]["code"]}
    )
    assert problem(signed_in) == (200, None)
    device = server.http.cookies["curhat_device_customer"]
    await server.http.post("/api/client/auth/logout", headers={"Origin": ORIGIN})
    server.http.cookies.clear()
    for headers in ({}, {"Cookie": "curhat_device_customer=made-up"}):
        answers = [
            await server.http.post(CODE_REQUEST, json={"phone": "x"}, headers=headers)
            for _ in range(2 * LIMIT + 1)
        ]
        assert problem(answers[-1]) == REFUSED
    headers = {"Cookie": f"curhat_device_customer={device}"}
    asked = await server.http.post(CODE_REQUEST, json={"phone": phone}, headers=headers)
    assert problem(asked) == (202, None)


@pytest.mark.rule("X.13")
async def test_strangers_who_use_up_the_limit_of_the_address_prevent_no_sign_in(
    server: RunningServer,
) -> None:
    await _use_up_the_address(server)
    asked = await server.http.post(CODE_REQUEST, json={"phone": "+6281234567890"})
    assert problem(asked) == (202, None)


@pytest.mark.rule("X.13")
async def test_a_person_who_exceeds_the_limit_does_not_stop_other_people(server: RunningServer) -> None:
    customer, other = await server.customer(), await server.customer()
    answers = [await customer.get("/me") for _ in range(8 * LIMIT + 1)]
    assert problem(answers[-1]) == REFUSED
    assert int(answers[-1].headers["retry-after"]) <= 60
    assert problem(await other.get("/me")) == (200, None)


async def test_the_refusal_of_the_limit_has_the_headers_of_every_answer(server: RunningServer) -> None:
    await _use_up_the_address(server)
    answer = await server.http.get("/api/client/me", headers={"X-Request-Id": "a-request-id"})
    assert problem(answer) == REFUSED
    assert answer.headers["x-request-id"] == "a-request-id"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers.get_list("cache-control") == ["no-store"]


async def test_the_server_checks_many_invented_tokens_in_one_statement(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[int] = []
    find = queries.find_valid_tokens

    async def counted(db: Any, *, digests: list[bytes], fresh_seconds: float) -> Any:
        looked_up.append(len(digests))
        return await find(db, digests=digests, fresh_seconds=fresh_seconds)

    monkeypatch.setattr(queries, "find_valid_tokens", counted)
    authenticator = server.application.services.authenticator
    customer = await server.customer()
    tokens = [f"made up {number}" for number in range(1_000)]
    *nobody, found = await asyncio.gather(
        *(authenticator.authenticate(token) for token in (*tokens, customer.token))
    )
    assert nobody == [None] * 1_000
    assert found is not None
    assert found.identity.user_id == customer.id
    assert looked_up == [500, 500, 1]
