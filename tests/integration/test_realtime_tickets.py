"""Test that a ticket opens one socket within 30 s, and that the data in Valkey is not enough to open a socket."""

from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
import valkey.asyncio
from litestar import Litestar, Request
from litestar.di import Provide
from valkey.exceptions import ConnectionError as ValkeyConnectionError

from curhat.kit.database import Database
from curhat.kit.errors import BusinessError, PresenceUnknown
from curhat.kit.http import handle_business_error
from curhat.kit.identity import Identity
from curhat.realtime.endpoints import ROUTES
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.tickets import TICKET_LIFETIME_SECONDS, issue_ticket, redeem_ticket, ticket_in

MITRA = Identity(role="mitra", user_id=UUID(int=1))
CUSTOMER = Identity(role="customer", user_id=UUID(int=1))
DIGEST = b"\x00digest\xff"

Valkey = valkey.asyncio.Valkey


async def test_a_ticket_can_be_redeemed_once(valkey_client: Valkey) -> None:
    ticket = await issue_ticket(valkey_client, MITRA, DIGEST)
    assert len(ticket) >= 43
    assert await redeem_ticket(valkey_client, "mitra", ticket) == SocketIdentity(MITRA, DIGEST)
    assert await redeem_ticket(valkey_client, "mitra", ticket) is None


async def test_a_ticket_is_refused_and_used_up_when_the_other_role_redeems_the_ticket(
    valkey_client: Valkey,
) -> None:
    ticket = await issue_ticket(valkey_client, MITRA, DIGEST)
    assert await redeem_ticket(valkey_client, "customer", ticket) is None
    assert await redeem_ticket(valkey_client, "mitra", ticket) is None


async def test_an_unknown_ticket_is_refused(valkey_client: Valkey) -> None:
    for ticket in ("", "guess", "\ufffd" * 1000):
        assert await redeem_ticket(valkey_client, "mitra", ticket) is None


async def test_valkey_stores_only_a_digest_of_a_ticket_for_30_seconds(valkey_client: Valkey) -> None:
    ticket = await issue_ticket(valkey_client, CUSTOMER, DIGEST)
    (key,) = await valkey_client.keys("*")
    assert ticket.encode() not in key
    assert ticket.encode() not in await valkey_client.get(key)
    assert (
        TICKET_LIFETIME_SECONDS * 1000 - 5000
        < await valkey_client.pttl(key)
        <= TICKET_LIFETIME_SECONDS * 1000
    )


async def test_tickets_are_neither_issued_nor_redeemed_when_valkey_is_down(
    valkey_client: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ValkeyConnectionError

    monkeypatch.setattr(valkey_client, "execute_command", away)
    with pytest.raises(PresenceUnknown):
        await issue_ticket(valkey_client, CUSTOMER, DIGEST)
    with pytest.raises(PresenceUnknown):
        await redeem_ticket(valkey_client, "customer", "ticket")


@pytest.mark.parametrize(
    ("query", "ticket"),
    [
        (b"", None),
        (b"ticket=", None),
        (b"ticket=abc-_1", "abc-_1"),
        (b"a=b&ticket=x&ticket=y", "x"),
        (b"ticket=%ff%fe", "\ufffd\ufffd"),
        (b"ticket=\xff", "ÿ"),
    ],
)
def test_the_ticket_is_read_from_the_query_of_the_url(query: bytes, ticket: str | None) -> None:
    assert ticket_in({"query_string": query}) == ticket


@pytest.mark.parametrize(
    ("path", "identity"), [("/api/client/realtime-ticket", CUSTOMER), ("/api/mitra/realtime-ticket", MITRA)]
)
async def test_a_signed_in_user_gets_a_ticket_for_a_socket_of_that_user(
    database: Database, valkey_client: Valkey, path: str, identity: Identity
) -> None:
    async def signed_in(request: Request[Any, Any, Any]) -> Identity:
        request.state["token_digest"] = DIGEST
        return identity

    async def provide_database() -> Database:
        return database

    async def provide_valkey() -> Valkey:
        return valkey_client

    app = Litestar(
        [route for route in ROUTES if path in route.paths],
        dependencies={
            identity.role: Provide(signed_in),
            "database": Provide(provide_database),
            "valkey_client": Provide(provide_valkey),
        },
        exception_handlers={BusinessError: handle_business_error},
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(cast(Any, app)), base_url="http://test"
    ) as client:
        answer = await client.post(path)
    assert answer.status_code == 201
    body = answer.json()
    assert datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(
        body["server_now"]
    ) == timedelta(seconds=30)
    assert await redeem_ticket(valkey_client, identity.role, body["ticket"]) == SocketIdentity(
        identity, DIGEST
    )
