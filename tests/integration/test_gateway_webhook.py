"""Test the web hook of the payment gateway, with the mock gateway."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.payments.gateway import RefundAnswer, WebhookForged
from curhat.payments.mock.gateway import MockGateway
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

TOKEN = "the token of the gateway's web hooks"
PATH = "/api/gateway/webhook"


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    del valkey_client  # The fixture empties Valkey.
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        gateway_webhook_token=TOKEN,
        address_requests_per_minute=3,
    )
    async with start_server(settings, database) as opened:
        yield opened


async def send(server: RunningServer, body: object, token: str | None = TOKEN) -> httpx.Response:
    headers = {} if token is None else {"X-Callback-Token": token}
    if isinstance(body, bytes):
        return await server.http.post(PATH, content=body, headers=headers)
    return await server.http.post(PATH, json=body, headers=headers)


async def confirming_payment(server: RunningServer) -> tuple[Any, dict[str, str], UUID]:
    """Make a payment whose charge the gateway approved without telling the server.

    Returns customer, payment and key.
    """
    customer, mitra = await server.customer(), await server.mitra()
    offer_id = await server.make.offer(price_rp=20_000)
    async with mitra.socket():
        await mitra.put("/presence", {"online": True})
        payment = (await customer.post("/payments", {"offer_id": str(offer_id)})).json()
        gateway = MockGateway(server.database)
        await gateway.set_behaviour("processing", UUID(payment["id"]))
        assert (await customer.post(f"/payments/{payment['id']}/confirm")).status_code == 202
    key = await server.database.fetchval("UPDATE mock_gateway.charges SET status = 'approved' RETURNING key")
    return customer, payment, key


@pytest.mark.rule("2a.1", "2a.6")
@pytest.mark.invariant(2, 9)
async def test_a_repeated_web_hook_completes_a_confirmation_once(server: RunningServer) -> None:
    customer, payment, key = await confirming_payment(server)
    for _ in range(3):
        assert (await send(server, {"event": "charge", "key": str(key)})).status_code == 204
    shown = (await customer.get(f"/payments/{payment['id']}")).json()
    assert (shown["status"], shown["pairing"]["kind"]) == ("confirmed", "blast")
    assert await server.database.fetchval("SELECT count(*) FROM pairings") == 1


@pytest.mark.rule("2a.1")
@pytest.mark.parametrize("token", [None, "", "another token of web hooks", "é" * 30])
async def test_a_web_hook_without_the_right_token_changes_nothing(
    server: RunningServer, token: str | None
) -> None:
    customer, payment, key = await confirming_payment(server)
    body = {"event": "charge", "key": str(key)}
    headers = {} if token is None else {b"X-Callback-Token": token.encode("latin-1")}
    refused = await server.http.post(PATH, json=body, headers=headers)
    assert problem(refused) == (403, "webhook_refused")
    assert (await customer.get(f"/payments/{payment['id']}")).json()["status"] == "confirming"


@pytest.mark.invariant(9)
async def test_a_web_hook_takes_effect_only_if_the_gateway_confirms_it(
    server: RunningServer,
) -> None:
    customer, payment, key = await confirming_payment(server)
    await server.database.execute("UPDATE mock_gateway.charges SET status = 'processing'")
    lies = {"event": "charge", "key": str(key), "status": "approved"}
    assert (await send(server, lies)).status_code == 204
    for other in ({"event": "charge", "key": str(uuid4())}, {"event": "refund", "key": str(uuid4())}):
        assert (await send(server, other)).status_code == 204
    assert (await send(server, {"event": "payout", "key": str(key)})).status_code == 204
    assert (await customer.get(f"/payments/{payment['id']}")).json()["status"] == "confirming"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"event": "charge"}', b'{"event": "charge", "key": "x"}', b"\xff"]
)
async def test_a_malformed_web_hook_is_refused(server: RunningServer, body: bytes) -> None:
    assert problem(await send(server, body)) == (422, "validation_failed")


async def test_web_hooks_do_not_count_against_the_limit_for_strangers(server: RunningServer) -> None:
    statuses = [(await send(server, {"event": "charge", "key": str(uuid4())})).status_code for _ in range(20)]
    assert statuses == [204] * 20


async def test_a_gateway_without_a_token_refuses_every_web_hook(database: Database) -> None:
    for headers in ({}, {"x-callback-token": ""}, {"x-callback-token": "None"}):
        with pytest.raises(WebhookForged):
            MockGateway(database).read_webhook(headers, b"{}")


@pytest.mark.rule("X.9")
async def test_a_web_hook_about_a_refund_reports_the_final_result(database: Database) -> None:
    called: list[tuple[UUID, RefundAnswer]] = []

    async def callback(key: UUID, answer: RefundAnswer) -> None:
        called.append((key, answer))

    gateway = MockGateway(database, None, callback, TOKEN)
    charge_key, key, payment_id = uuid4(), uuid4(), uuid4()
    await gateway.set_behaviour("pending", payment_id)
    await gateway.charge(charge_key, payment_id, 20_000)
    await gateway.refund(key, charge_key, payment_id, 20_000)
    body = b'{"event": "refund", "key": "%s"}' % str(key).encode()
    webhook = gateway.read_webhook({"x-callback-token": TOKEN}, body)
    assert webhook is not None
    await gateway.follow_webhook(webhook)
    assert called == []
    await database.execute("UPDATE mock_gateway.refunds SET status = 'failed'")
    await gateway.follow_webhook(webhook)
    assert called == [(key, RefundAnswer("failed", "refused by the mock gateway"))]
