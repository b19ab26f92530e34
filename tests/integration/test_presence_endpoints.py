"""Test PUT /api/mitra/presence, GET /api/mitra/me and the availability poll over HTTP."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
import valkey.asyncio
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.kit.http import StrictRequest, handle_business_error, handle_http_exception
from curhat.kit.identity import Identity
from curhat.presence.endpoints import ROUTES
from curhat.presence.service import Presence
from tests.support.people import Make
from tests.support.presence_hooks import IGNORED_HOOKS

AVAILABILITY = "/api/client/mitra-availability"


def client_of(database: Database, presence: Presence, mitra_id: UUID) -> httpx.AsyncClient:
    """Return a client that is signed in as this mitra."""

    def mitra() -> Identity:
        return Identity(role="mitra", user_id=mitra_id)

    application = Litestar(
        ROUTES,
        dependencies={
            "mitra": Provide(mitra, sync_to_thread=False),
            "database": Provide(lambda: database, sync_to_thread=False),
            "presence": Provide(lambda: presence, sync_to_thread=False),
        },
        exception_handlers={BusinessError: handle_business_error, HTTPException: handle_http_exception},
        request_class=StrictRequest,
    )
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://curhat.test")


@pytest.fixture
def presence(valkey_client: "valkey.asyncio.Valkey", database: Database) -> Presence:
    return Presence(valkey_client, database, IGNORED_HOOKS)


@pytest.fixture
async def absent_presence(database: Database) -> AsyncIterator[Presence]:
    # No server listens on port 1.
    async with contextlib.aclosing(valkey.asyncio.Valkey(port=1)) as nowhere:
        yield Presence(nowhere, database, IGNORED_HOOKS)


@pytest.mark.rule("1.1")
async def test_the_server_changes_the_availability_of_a_mitra_before_it_answers_the_toggle(
    database: Database, presence: Presence, make: Make
) -> None:
    mitra = await make.mitra(online=False, max_customers=3)
    await presence.opened(mitra, "phone")
    async with client_of(database, presence, mitra) as client:
        for online in (True, True, False, False, True):
            answer = await client.put("/api/mitra/presence", json={"online": online})

            assert (answer.status_code, answer.json()) == (
                200,
                {
                    "online": online,
                    "connected": True,
                    "active_sessions": 0,
                    "max_customers": 3,
                    "break_until": None,
                },
            )
            assert await presence.may_be_asked(mitra) is online
            assert (await client.get(AVAILABILITY)).json() == {"available": online}


@pytest.mark.rule("1.1")
async def test_a_mitra_without_a_connection_can_go_online_but_is_not_available(
    database: Database, presence: Presence, make: Make
) -> None:
    mitra = await make.mitra(online=False)
    async with client_of(database, presence, mitra) as client:
        answer = await client.put("/api/mitra/presence", json={"online": True})

    assert answer.json() == {
        "online": True,
        "connected": False,
        "active_sessions": 0,
        "max_customers": 1,
        "break_until": None,
    }
    assert await presence.count_available() == 0


async def test_a_mitra_sees_their_own_profile(database: Database, presence: Presence, make: Make) -> None:
    mitra = await make.mitra("Kak Sari", online=True, max_customers=2)
    async with client_of(database, presence, mitra) as client:
        answer = await client.get("/api/mitra/me")

    assert answer.json() == {
        "id": str(mitra),
        "display_name": "Kak Sari",
        "online": True,
        "connected": False,
        "active_sessions": 0,
        "max_customers": 2,
        "break_until": None,
    }


@pytest.mark.rule("X.10")
async def test_the_toggle_is_saved_and_the_answer_is_presence_unknown_while_valkey_is_down(
    database: Database, absent_presence: Presence, make: Make
) -> None:
    mitra = await make.mitra(online=True)
    async with client_of(database, absent_presence, mitra) as client:
        answer = await client.put("/api/mitra/presence", json={"online": False})
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "presence_unknown"

        shown = await client.get("/api/mitra/me")
        assert shown.status_code == 200
        assert (shown.json()["online"], shown.json()["connected"]) == (False, False)
        assert (await client.get(AVAILABILITY)).json() == {"available": False}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"online": "true"}', b'{"online": 1}', b'{"online": true, "more": 1}']
)
async def test_a_malformed_toggle_is_refused_and_changes_nothing(
    database: Database, presence: Presence, make: Make, body: bytes
) -> None:
    mitra = await make.mitra(online=False)
    async with client_of(database, presence, mitra) as client:
        answer = await client.put(
            "/api/mitra/presence", content=body, headers={"Content-Type": "application/json"}
        )

    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"
    assert await database.fetchval("SELECT online FROM mitras") is False
    assert await database.fetchval("SELECT availability_version FROM mitras") == 1
