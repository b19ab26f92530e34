"""Test signing in and out over HTTP, with statuses, error codes, cookies, the inbox, and logs without secrets."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from litestar import Litestar, Request, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from valkey.asyncio import Valkey

from curhat.accounts import queries, requesters, service
from curhat.accounts.endpoints import DEVELOPMENT_ROUTES, ROUTES
from curhat.accounts.guards import provide_customer, provide_mitra
from curhat.accounts.senders import code_senders
from curhat.accounts.service import Authenticator
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.kit.http import handle_business_error, handle_http_exception, handle_unexpected
from curhat.kit.identity import Identity
from curhat.kit.settings import Settings
from curhat.pricing.endpoints import ROUTES as PRICING_ROUTES
from curhat.pricing.service import seed_offers
from curhat.safety.erasure.service import inherit_blocks
from tests.support.clock import VirtualClock
from tests.support.signals import RecordedSignals
from tests.support.signed_in import problem

PHONE = "+6281234567890"
ORIGIN = "https://app.curhat.example"


@get("/api/client/probe")
async def read_as_customer(customer: NamedDependency[Identity]) -> Identity:
    return customer


@post("/api/client/probe")
async def write_as_customer(customer: NamedDependency[Identity]) -> Identity:
    return customer


@get("/api/mitra/probe")
async def read_as_mitra(mitra: NamedDependency[Identity]) -> Identity:
    return mitra


@get("/api/client/probe/token")
async def read_digest(customer: NamedDependency[Identity], request: Request[Any, Any, Any]) -> str:
    return f"{customer.role} {request.state['token_digest'].hex()}"


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment(
        {
            "CURHAT_ENVIRONMENT": "development",
            "CURHAT_SECRET_KEY": "k" * 32,
            "CURHAT_PUBLIC_ORIGINS": ORIGIN,
        }
    )


Connect = Callable[[Settings], httpx.AsyncClient]


@pytest.fixture
async def connect(database: Database, valkey_client: Valkey) -> AsyncIterator[Connect]:
    """Yield a function that starts an application with given settings and returns a client of the application.

    The application has the routes of accounts and pricing.
    """
    opened: list[httpx.AsyncClient] = []

    def connect(settings: Settings) -> httpx.AsyncClient:
        authenticator = Authenticator(database, settings)

        def given(value: object) -> Provide:
            return Provide(lambda: value, sync_to_thread=False)

        app = Litestar(
            [
                *ROUTES,
                *PRICING_ROUTES,
                *(DEVELOPMENT_ROUTES if settings.is_development else []),
                read_as_customer,
                write_as_customer,
                read_as_mitra,
                read_digest,
            ],
            dependencies={
                "database": given(database),
                "settings": given(settings),
                "valkey_client": given(valkey_client),
                "authenticator": given(authenticator),
                "code_senders": given(code_senders(settings, database)),
                "inherit_blocks": given(inherit_blocks),
                "customer": Provide(provide_customer),
                "mitra": Provide(provide_mitra),
            },
            exception_handlers={
                BusinessError: handle_business_error,
                HTTPException: handle_http_exception,
                Exception: handle_unexpected,
            },
            logging_config=None,
        )
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, client=("10.0.0.1", 1)),  # type: ignore[arg-type]
            base_url="https://test",
        )
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.aclose()


@pytest.fixture
def client(connect: Connect, settings: Settings) -> httpx.AsyncClient:
    return connect(settings)


async def ask(client: httpx.AsyncClient, role: str = "client", phone: str = PHONE) -> tuple[str, str]:
    """Request a code. Return the id of the request and the code from the inbox."""
    asked = await client.post(f"/api/{role}/auth/otp/request", json={"phone": phone})
    assert asked.status_code == 202, asked.text
    inbox = (await client.get("/api/dev/inbox", params={"phone": phone})).json()
    return asked.json()["request_id"], inbox["messages"][0]["code"]


async def sign_in(client: httpx.AsyncClient, role: str = "client", **further: Any) -> httpx.Response:
    request_id, code = await ask(client, role)
    body = {"request_id": request_id, "code": code, **further}
    return await client.post(f"/api/{role}/auth/otp/verify", json=body)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def set_cookies(response: httpx.Response) -> dict[str, Any]:
    headers = response.headers.get_list("set-cookie")
    return {name: cookie for header in headers for name, cookie in SimpleCookie(header).items()}


def set_cookie(response: httpx.Response) -> Any:
    """Return the cookie that contains the token, and not the cookie of the previous version."""
    (cookie,) = (
        cookie
        for name, cookie in set_cookies(response).items()
        if "device" not in name and not name.startswith("__Secure-")
    )
    return cookie


# Signing in ------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.1")
async def test_a_customer_signs_in_with_a_code_from_the_inbox(client: httpx.AsyncClient) -> None:
    asked = await client.post("/api/client/auth/otp/request", json={"phone": "0812-3456-7890"})
    assert asked.status_code == 202
    assert set(asked.json()) == {"request_id", "expires_at", "resend_after", "server_now"}
    (message,) = (await client.get("/api/dev/inbox", params={"phone": PHONE})).json()["messages"]
    assert set(message) == {"text", "code", "sent_at"}
    assert message["code"] in message["text"]
    body = {"request_id": asked.json()["request_id"], "code": message["code"]}
    unnamed = await client.post("/api/client/auth/otp/verify", json=body)
    assert problem(unnamed) == (422, "call_name_required")
    named = await client.post("/api/client/auth/otp/verify", json={**body, "call_name": "Bunga"})
    assert named.status_code == 200
    assert named.headers["cache-control"] == "no-store"
    assert named.json()["customer"]["call_name"] == "Bunga"
    probe = await client.get("/api/client/probe", headers=bearer(named.json()["token"]))
    assert probe.json() == {"role": "customer", "user_id": named.json()["customer"]["id"]}
    again = await client.post("/api/client/auth/otp/verify", json={**body, "call_name": "Bunga"})
    assert problem(again) == (401, "code_invalid")


@pytest.mark.rule("S.2")
async def test_a_mitra_can_sign_in_only_after_an_invitation(
    client: httpx.AsyncClient, database: Database
) -> None:
    refused = await sign_in(client, "mitra")
    assert problem(refused) == (403, "not_invited")
    async with database.transaction() as tx:
        mitra_id = (await service.invite_mitra(tx, PHONE, "Kak Sari", 1)).mitra_id
    signed_in = await sign_in(client, "mitra")
    assert signed_in.json()["mitra"] == {"id": str(mitra_id), "display_name": "Kak Sari"}
    headers = bearer(signed_in.json()["token"])
    assert (await client.get("/api/mitra/probe", headers=headers)).status_code == 200
    as_customer = await client.get("/api/client/probe", headers=headers)
    assert problem(as_customer) == (403, "forbidden")


@pytest.mark.rule("S.2")
async def test_a_suspended_mitra_can_only_sign_out(client: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as tx:
        mitra_id = (await service.invite_mitra(tx, PHONE, "Kak Sari", 1)).mitra_id
    token = (await sign_in(client, "mitra")).json()["token"]
    async with database.transaction() as tx:
        await service.suspend_mitra(tx, mitra_id)
    refused = await client.get("/api/mitra/probe", headers=bearer(token))
    assert problem(refused) == (403, "suspended")
    assert (await client.post("/api/mitra/auth/logout", headers=bearer(token))).status_code == 204
    refused = await client.get("/api/mitra/probe", headers=bearer(token))
    assert problem(refused) == (401, "unauthenticated")
    again = await sign_in(client, "mitra")
    assert problem(again) == (403, "suspended")


@pytest.mark.rule("S.1")
async def test_the_answer_does_not_reveal_whether_a_number_is_known(
    client: httpx.AsyncClient, database: Database
) -> None:
    async with database.transaction() as tx:
        await service.invite_mitra(tx, PHONE, "Kak Sari", 1)
    known = await client.post("/api/mitra/auth/otp/request", json={"phone": PHONE})
    unknown = await client.post("/api/mitra/auth/otp/request", json={"phone": "+6281234567891"})
    assert known.status_code == unknown.status_code == 202
    assert set(known.json()) == set(unknown.json())
    statements = [queries.LOCK_PHONE, queries.PREPARE_CODE, queries.INSERT_CODE]
    assert not any("people" in sql or "mitras" in sql or "customers" in sql for sql in statements)
    # The statement that reads `people` finds the person by the token or device of the requester.
    assert "\nWHERE id = $" in queries.SHOWS_OWNER


@pytest.mark.rule("S.1")
@pytest.mark.parametrize("role", ["client", "mitra"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"phone": 1}',
        b'{"phone": "1"}',
        b'{"phone": null}',
        b"{}",
        b'{"phone": "081234567890", "role": "mitra"}',
        b'{"phone": "' + b"0" * 100 + b'"}',
    ],
)
async def test_an_invalid_code_request_is_refused_and_creates_no_code(
    client: httpx.AsyncClient, database: Database, role: str, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    refused = await client.post(f"/api/{role}/auth/otp/request", content=body, headers=headers)
    assert problem(refused) == (422, "validation_failed")
    assert await database.fetchval("SELECT count(*) FROM one_time_codes") == 0


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "x"},
        {"code": 123456},
        {"code": None},
        {"code": "1" * 21},
        {"transport": "url"},
        {"call_name": 1},
        {"call_name": " "},
        {"call_name": "0811 0000 0001"},
        {"call_name": "bunga@example.id"},
        {"call_name": "Bu\x00nga"},
        {"call_name": "B" * 41},
        {"is_admin": True},
    ],
)
async def test_an_invalid_verification_is_refused_and_does_not_use_up_the_code(
    client: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    request_id, code = await ask(client)
    body = {"request_id": request_id, "code": code, "call_name": "Bunga"}
    refused = await client.post("/api/client/auth/otp/verify", json=body | change)
    assert problem(refused) == (422, "validation_failed")
    assert (await client.post("/api/client/auth/otp/verify", json=body)).status_code == 200


@pytest.mark.rule("S.1")
async def test_a_wrong_code_and_an_unknown_request_get_the_same_answer(client: httpx.AsyncClient) -> None:
    request_id, code = await ask(client)
    wrong = await client.post(
        "/api/client/auth/otp/verify",
        json={"request_id": request_id, "code": f"{(int(code) + 1) % 10**6:06}", "call_name": "Bunga"},
    )
    unknown = await client.post(
        "/api/client/auth/otp/verify", json={"request_id": str(uuid4()), "code": code, "call_name": "Bunga"}
    )
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


@pytest.mark.rule("S.1")
async def test_a_wrong_try_stays_counted_after_the_refusal(
    client: httpx.AsyncClient, database: Database
) -> None:
    request_id, _ = await ask(client)
    await client.post("/api/client/auth/otp/verify", json={"request_id": request_id, "code": "wrong"})
    assert await database.fetchval("SELECT wrong_tries FROM one_time_codes") == 1


@pytest.mark.rule("S.1")
async def test_a_code_request_that_comes_too_soon_is_refused_with_the_time_to_wait(
    client: httpx.AsyncClient, clock: VirtualClock
) -> None:
    await clock.set()
    await ask(client)
    refused = await client.post("/api/client/auth/otp/request", json={"phone": PHONE})
    assert problem(refused) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "30"


@pytest.mark.rule("S.1")
async def test_codes_are_limited_per_network_address_and_hour(connect: Connect, settings: Settings) -> None:
    client = connect(replace(settings, address_codes_per_hour=3))
    for number in range(3):
        await ask(client, phone=f"+628123456789{number}")
    refused = await client.post("/api/mitra/auth/otp/request", json={"phone": "+6281234567899"})
    assert problem(refused) == (429, "too_many_requests")
    assert 0 < int(refused.headers["retry-after"]) <= 3600


@pytest.mark.rule("S.1")
async def test_many_new_people_behind_one_network_address_can_sign_in_within_an_hour(
    connect: Connect, settings: Settings
) -> None:
    client = connect(replace(settings, address_codes_per_hour=2))
    for number in range(5):
        request_id, code = await ask(client, phone=f"+628123456789{number}")
        body = {"request_id": request_id, "code": code, "call_name": "Bunga"}
        signed_in = await client.post("/api/client/auth/otp/verify", json=body)
        assert signed_in.status_code == 200, signed_in.text
        client.cookies.clear()
    # An unused code still counts towards the limit.
    await ask(client, phone="+6281234567897")
    await ask(client, phone="+6281234567898")
    refused = await client.post("/api/client/auth/otp/request", json={"phone": "+6281234567899"})
    assert problem(refused) == (429, "too_many_requests")


@pytest.mark.rule("S.1")
async def test_a_code_that_was_not_sent_does_not_count_against_the_network_address(
    connect: Connect, settings: Settings, clock: VirtualClock
) -> None:
    await clock.set()
    per_day = {"ID": 10, "SG": 0}
    client = connect(
        replace(settings, address_codes_per_hour=2, phone_regions=tuple(per_day), codes_per_day=per_day)
    )
    await ask(client)
    for phone in [PHONE, "+6581234567"] * 3:
        refused = await client.post("/api/client/auth/otp/request", json={"phone": phone})
        assert refused.status_code in (429, 503), refused.text
    await ask(client, phone="+6281234567891")


# Known devices -----------------------------------------------------------------------------------------------


@pytest.mark.rule("X.13")
@pytest.mark.parametrize("shown", ["cookie", "device_secret", "token"])
async def test_a_known_device_of_the_owner_gets_a_code_while_a_stranger_must_wait(
    connect: Connect, settings: Settings, clock: VirtualClock, shown: str
) -> None:
    await clock.set()
    # The shared address has used up its codes.
    client = connect(replace(settings, address_codes_per_hour=1))
    more = {"transport": "cookie"} if shown == "cookie" else {}
    signed_in = await sign_in(client, call_name="Bunga", **more)
    device = client.cookies.get("curhat_device_customer")
    client.cookies.clear()
    await ask(client)
    body, headers = {"phone": PHONE}, {}
    assert (await client.post("/api/client/auth/otp/request", json=body)).status_code == 429
    if shown == "cookie":
        headers["Cookie"] = f"curhat_device_customer={device}"
    elif shown == "token":
        headers |= bearer(signed_in.json()["token"])
    else:
        body["device_secret"] = signed_in.json()["device_secret"]
    asked = await client.post("/api/client/auth/otp/request", json=body, headers=headers)
    assert asked.status_code == 202, asked.text
    # A device that is known for one person is unknown for every other phone number.
    other = {**body, "phone": "+6281234567891"}
    asked = await client.post("/api/client/auth/otp/request", json=other, headers=headers)
    assert asked.status_code == 429


@pytest.mark.rule("X.13")
async def test_an_invented_device_secret_does_not_let_a_signed_in_person_skip_the_wait(
    client: httpx.AsyncClient, clock: VirtualClock
) -> None:
    await clock.set()
    headers = bearer((await sign_in(client, call_name="Bunga")).json()["token"])
    statuses = []
    for number in range(2):
        body = {"phone": PHONE, "device_secret": f"made up {number}"}
        asked = await client.post("/api/client/auth/otp/request", json=body, headers=headers)
        statuses.append(asked.status_code)
    assert statuses == [202, 429]


@pytest.mark.rule("X.13")
async def test_the_cookie_of_a_known_device_survives_a_sign_out_and_each_sign_in_replaces_the_cookie(
    client: httpx.AsyncClient,
) -> None:
    signed_in = await sign_in(client, call_name="Bunga", transport="cookie")
    cookie = set_cookies(signed_in)["curhat_device_customer"]
    assert (cookie["path"], cookie["samesite"].lower()) == ("/api/client", "strict")
    assert cookie["httponly"]
    assert int(cookie["max-age"]) == 400 * 24 * 3600
    left = await client.post("/api/client/auth/logout", headers={"Origin": ORIGIN})
    assert set(set_cookies(left)) == {"curhat_customer"}
    again = await sign_in(client, transport="cookie")
    assert set_cookies(again)["curhat_device_customer"].value != cookie.value


# Tokens and cookies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{}, bearer("x"), {"Authorization": "Basic eDp4"}, {"Cookie": "curhat_customer=x"}]
)
async def test_every_operation_is_refused_without_a_valid_token(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    for method, path in (
        ("GET", "/api/client/probe"),
        ("GET", "/api/mitra/probe"),
        ("GET", "/api/client/pricing"),
    ):
        refused = await client.request(method, path, headers=headers, params={"purpose": "session"})
        assert problem(refused) == (401, "unauthenticated")
    refused = await client.post("/api/client/auth/logout", headers={**headers, "Origin": ORIGIN})
    assert refused.status_code == 401


async def test_an_operation_can_read_the_digest_of_the_token_of_its_caller(client: httpx.AsyncClient) -> None:
    token = (await sign_in(client, call_name="Bunga")).json()["token"]
    answer = await client.get("/api/client/probe/token", headers=bearer(token))
    assert answer.text == f"customer {service.digest_of_token(token).hex()}"


@pytest.mark.rule("S.1")
async def test_a_web_client_gets_a_cookie_and_no_token(client: httpx.AsyncClient) -> None:
    signed_in = await sign_in(client, call_name="Bunga", transport="cookie")
    assert set(signed_in.json()) == {"customer"}
    cookie = set_cookie(signed_in)
    assert cookie.key == "curhat_customer"
    assert cookie["path"] == "/api/client"
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert int(cookie["max-age"]) == 30 * 24 * 3600
    assert not cookie["domain"]
    assert (await client.get("/api/client/probe")).status_code == 200


@pytest.mark.rule("S.1")
async def test_a_production_cookie_is_secure(
    connect: Connect, settings: Settings, database: Database
) -> None:
    production = replace(settings, environment="production", code_senders=("sms",))
    async with database.transaction() as tx:
        await service.invite_mitra(tx, PHONE, "Kak Sari", 1)
        requester = requesters.stranger(settings.secret_key, "10.0.0.1")
        sent = await service.request_code(tx, settings.secret_key, "mitra", PHONE, requester)
    client = connect(production)
    body = {"request_id": str(sent.request_id), "code": sent.code, "transport": "cookie"}
    signed_in = await client.post("/api/mitra/auth/otp/verify", json=body, headers={"Origin": ORIGIN})
    assert set(signed_in.json()) == {"mitra"}
    cookie = set_cookie(signed_in)
    assert (cookie.key, cookie["path"]) == ("__Host-curhat_mitra", "/")
    assert cookie["secure"]
    assert cookie["httponly"]
    assert (await client.get("/api/mitra/probe")).status_code == 200
    assert (await client.get("/api/dev/inbox", params={"phone": PHONE})).status_code == 404


@pytest.mark.rule("S.1")
async def test_a_change_with_a_cookie_is_accepted_only_from_our_own_pages(client: httpx.AsyncClient) -> None:
    await sign_in(client, call_name="Bunga", transport="cookie")
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/api/client/probe", "/api/client/auth/logout"):
            refused = await client.post(path, headers=headers)
            assert problem(refused) == (403, "forbidden")
    for headers in ({"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}):
        assert (await client.post("/api/client/probe", headers=headers)).status_code == 201
    left = await client.post("/api/client/auth/logout", headers={"Origin": ORIGIN})
    assert left.status_code == 204
    assert int(set_cookie(left)["max-age"]) == 0
    assert (await client.get("/api/client/probe")).status_code == 401


@pytest.mark.rule("S.1")
async def test_a_page_of_another_site_cannot_sign_a_person_in(client: httpx.AsyncClient) -> None:
    request_id, code = await ask(client)
    body = {"request_id": request_id, "code": code, "call_name": "Bunga", "transport": "cookie"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = await client.post("/api/client/auth/otp/verify", json=body, headers=headers)
        assert problem(refused) == (403, "forbidden")
    taken = await client.post("/api/client/auth/otp/verify", json=body, headers={"Origin": ORIGIN})
    assert taken.status_code == 200


async def test_a_new_sign_in_revokes_only_the_replaced_token(client: httpx.AsyncClient) -> None:
    first = (await sign_in(client, call_name="Bunga")).json()["token"]
    elsewhere = (await sign_in(client)).json()["token"]
    request_id, code = await ask(client)
    body = {"request_id": request_id, "code": code}
    renewed = await client.post("/api/client/auth/otp/verify", json=body, headers=bearer(first))
    statuses = [
        (await client.get("/api/client/probe", headers=bearer(token))).status_code
        for token in (first, elsewhere, renewed.json()["token"])
    ]
    assert statuses == [401, 200, 200]


async def test_a_sign_out_takes_effect_immediately_and_signals_the_sockets(
    client: httpx.AsyncClient, signals: RecordedSignals
) -> None:
    token = (await sign_in(client, call_name="Bunga")).json()["token"]
    assert (await client.get("/api/client/probe", headers=bearer(token))).status_code == 200
    left = await client.post("/api/client/auth/logout", headers=bearer(token))
    assert (left.status_code, left.content) == (204, b"")
    assert (await client.get("/api/client/probe", headers=bearer(token))).status_code == 401
    assert len(signals.on("sockets")) == 1


# Inbox and logs ----------------------------------------------------------------------------------------------


@pytest.mark.rule("S.4")
async def test_the_inbox_keeps_the_newest_twenty_messages_of_a_phone_number(
    client: httpx.AsyncClient, clock: VirtualClock
) -> None:
    sent = []
    for _ in range(22):
        await clock.advance(2 * 3600)
        sent.append((await ask(client))[1])
    await ask(client, phone="+6281234567891")
    messages = (await client.get("/api/dev/inbox?phone=081234567890")).json()["messages"]
    assert [message["code"] for message in messages] == sent[:1:-1]
    assert (await client.get("/api/dev/inbox?phone=+6281234567891")).json()["messages"]
    assert (await client.get("/api/dev/inbox?phone=1")).status_code == 422
    assert (await client.get("/api/dev/inbox")).status_code == 422


@pytest.mark.rule("2a.2")
async def test_a_signed_in_customer_can_list_the_offers(
    client: httpx.AsyncClient, database: Database
) -> None:
    async with database.transaction() as tx:
        await seed_offers(tx)
    headers = bearer((await sign_in(client, call_name="Bunga")).json()["token"])
    prices = await client.get("/api/client/pricing?purpose=session", headers=headers)
    assert prices.status_code == 200
    offers = prices.json()["offers"]
    assert [(o["duration_minutes"], o["price_rp"], o["is_trial"]) for o in offers] == [
        (5, 0, True),
        (15, 10_000, False),
        (30, 20_000, False),
        (60, 35_000, False),
    ]
    for query in ("", "?purpose=", "?purpose=trial"):
        refused = await client.get(f"/api/client/pricing{query}", headers=headers)
        assert problem(refused) == (422, "validation_failed")


async def test_no_secret_is_logged_while_signing_in_and_out(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    # Capture the log entries before the redaction, because the code must not rely on the redaction.
    with structlog.testing.capture_logs() as logged:
        request_id, code = await ask(client)
        wrong = {"request_id": request_id, "code": "654321", "call_name": "Bunga"}
        await client.post("/api/client/auth/otp/verify", json=wrong)
        await client.post("/api/client/auth/otp/request", json={"phone": PHONE})
        signed_in = await client.post("/api/client/auth/otp/verify", json={**wrong, "code": code})
        token, device_secret = signed_in.json()["token"], signed_in.json()["device_secret"]
        await client.post("/api/client/auth/logout", headers=bearer(token))
    events = [entry["event"] for entry in logged]
    assert events == [
        "accounts.code_sent",
        "accounts.sign_in_refused",
        "request.refused",
        "request.refused",
        "accounts.signed_in",
        "accounts.signed_out",
    ]
    # Ignore ids, because the random digits of an id can equal the code.
    shown = [str({key: value for key, value in entry.items() if not key.endswith("_id")}) for entry in logged]
    # Ignore the log lines of the test's own HTTP client.
    shown += [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    shown += capfd.readouterr()
    for secret in (
        code,
        "654321",
        token,
        device_secret,
        service.digest_of_token(token).hex(),
        PHONE,
        PHONE[3:],
        "Bunga",
    ):
        assert not any(secret in line for line in shown)
