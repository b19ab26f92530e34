"""Test every operation of the contract with every role and with data of other people."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import valkey.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from curhat.app.operations.endpoints import PATHS
from curhat.dev.embedded import EmbeddedServers
from curhat.journeys import mitras
from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.kit.settings import Settings, SettingsError
from curhat.realtime import protocol
from tests.security.operations import (
    ENTERED,
    ENTRIES,
    FOR_SIGNED_IN,
    NEEDS_AVAILABLE_MITRA,
    OPERATIONS,
    WITH_IDS,
    Call,
    Operation,
    send,
)
from tests.support.server import Person
from tests.support.signed_in import (
    ORIGIN,
    RunningServer,
    business_rows,
    development_settings,
    environment_of,
    free_port,
    problem,
    start_server,
)

Answers = dict[str, tuple[int, Any]]

UNAUTHENTICATED = (401, "unauthenticated")
FORBIDDEN = (403, "forbidden")
SUSPENDED = (403, "suspended")
NOT_FOUND = (404, "not_found")


def test_the_table_of_calls_has_an_entry_for_every_operation() -> None:
    assert set(OPERATIONS) == set(ENTRIES)


# Operations --------------------------------------------------------------------------------------------------


async def test_every_operation_accepts_its_own_role(server: RunningServer) -> None:
    answers: Answers = {}
    async with server.available_mitra():
        for operation, entry in ENTERED:
            answers[operation.id] = problem(await send(server, operation, await entry.prepare(server)))
    assert answers == {operation.id: (entry.status, None) for operation, entry in ENTERED}


@pytest.mark.rule("S.1")
async def test_only_sign_in_and_availability_need_no_valid_token(server: RunningServer) -> None:
    someone = await server.make.customer()
    expired = await server.token("customer", someone, good_for_seconds=-1)
    revoked = await server.token("customer", someone)
    await server.http.post("/api/client/auth/logout", headers={"Authorization": f"Bearer {revoked}"})
    cookie = await server.token("customer", someone, transport="cookie")
    calls = [(operation, entry, await entry.prepare(server)) for operation, entry in FOR_SIGNED_IN]
    before = await business_rows(server.database)
    for token in ("", "x", "\xff", "null", str(someone), expired, revoked, cookie):
        answers: Answers = {}
        for operation, _, call in calls:
            nobody = Call(None, call.ids, call.query, call.body)
            answers[operation.id] = problem(await send(server, operation, nobody, token=token))
        assert answers == {operation.id: UNAUTHENTICATED for operation, _, _ in calls}, token
    assert await business_rows(server.database) == before


@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_an_operation_of_another_role_is_forbidden(server: RunningServer, role: Role) -> None:
    person = await (server.customer() if role == "customer" else server.mitra())
    calls = [(op, await entry.prepare(server)) for op, entry in FOR_SIGNED_IN if entry.whose != role]
    before = await business_rows(server.database)
    answers = {op.id: problem(await send(server, op, call, token=person.token)) for op, call in calls}
    assert answers == {op.id: FORBIDDEN for op, _ in calls}
    assert await business_rows(server.database) == before


async def test_the_token_of_an_operator_is_invalid_in_the_operations_of_the_apps(
    server: RunningServer,
) -> None:
    operator = await server.operator()
    calls = [(op, await entry.prepare(server)) for op, entry in FOR_SIGNED_IN if entry.whose != "operator"]
    before = await business_rows(server.database)
    answers = {op.id: problem(await send(server, op, call, token=operator.token)) for op, call in calls}
    assert answers == {op.id: UNAUTHENTICATED for op, _ in calls}
    assert await business_rows(server.database) == before


async def test_a_customer_who_is_also_a_mitra_needs_a_token_for_each_role(server: RunningServer) -> None:
    person_id = await server.make.person()
    await server.make.customer(person_id=person_id)
    await server.make.mitra(person_id=person_id)
    for role in ("customer", "mitra"):
        token = await server.token(role, person_id)
        answers = {
            operation.id: problem(
                await send(server, operation, Call(None, query={"purpose": "session"}), token=token)
            )
            for operation, entry in FOR_SIGNED_IN
            if operation.method == "GET" and "{" not in operation.path and not operation.needs_fresh_code
        }
        assert answers == {
            name: (200, None) if ENTRIES[name].whose == role else FORBIDDEN for name in answers
        }


@pytest.mark.rule("X.8")
async def test_a_suspended_mitra_can_only_sign_out(server: RunningServer) -> None:
    answers: Answers = {}
    expected: Answers = {}
    for operation, entry in FOR_SIGNED_IN:
        call = await entry.prepare(server)
        if entry.whose != "mitra":
            suspended = await server.suspended_mitra()
            expected[operation.id] = FORBIDDEN
        else:
            assert call.caller is not None
            suspended = call.caller
            await server.database.execute(
                "UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", suspended.id
            )
            expected[operation.id] = (entry.status, None) if entry.admits_suspended else SUSPENDED
        before = await business_rows(server.database)
        answers[operation.id] = problem(await send(server, operation, call, token=suspended.token))
        if not entry.admits_suspended:
            assert await business_rows(server.database) == before
    assert answers == expected


async def _answer_about(
    server: RunningServer, operation: Operation, call: Call, ids: dict[str, UUID | str], stranger: Person
) -> tuple[int, bytes, dict[str, str]]:
    """Return the whole answer to a stranger who names these ids. Headers that differ in each answer are left out."""
    answer = await send(server, operation, Call(stranger, ids, call.query, call.body))
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, answer.content, headers


@pytest.mark.rule("X.4")
@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_a_request_for_data_of_another_person_gets_the_same_answer_as_for_unknown_data(
    server: RunningServer, role: Role
) -> None:
    stranger = await (server.customer("Tari") if role == "customer" else server.mitra("Kak Dewi"))
    # The stranger also has a chat. So the server never refuses the stranger only for having no chat.
    if role == "customer":
        await server.chat(stranger.id, await server.make.mitra(max_customers=3))
    else:
        await server.chat(await server.make.customer(), stranger.id)
    calls = [(op, await entry.prepare(server)) for op, entry in WITH_IDS if entry.whose == role]
    assert calls
    before = await business_rows(server.database)
    for operation, call in calls:
        not_there: dict[str, UUID | str] = dict.fromkeys(call.ids, uuid4())
        theirs = await _answer_about(server, operation, call, call.ids, stranger)
        nothing = await _answer_about(server, operation, call, not_there, stranger)
        assert theirs == nothing, operation.id
        assert (theirs[0], json.loads(theirs[1])["code"]) == NOT_FOUND, operation.id
    assert await business_rows(server.database) == before


async def test_a_mitra_cannot_answer_the_request_of_another_mitra_in_the_same_blast(
    server: RunningServer,
) -> None:
    asked, other = await server.mitra(), await server.mitra("Kak Dewi")
    pairing_id = await server.search(await server.make.customer(), [asked.id, other.id])
    rows = await server.database.fetch("SELECT id, mitra_id FROM requests WHERE pairing_id = $1", pairing_id)
    requests = {row["mitra_id"]: row["id"] for row in rows}
    for step in ("accept", "reject"):
        assert problem(await other.post(f"/requests/{requests[asked.id]}/{step}")) == NOT_FOUND
    assert problem(await asked.post(f"/requests/{requests[asked.id]}/accept")) == (200, None)


async def test_the_customer_of_a_chat_cannot_act_as_its_mitra(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    # The customer of the chat is also a mitra, and calls the operations of mitras.
    await server.database.execute(
        "INSERT INTO mitras (id, display_name, max_customers) VALUES ($1, 'Kak Bunga', 1)", customer.id
    )
    as_mitra = await server.person("mitra", customer.id)
    for path in (f"/sessions/{chat.id}", f"/sessions/{chat.id}/messages"):
        assert problem(await as_mitra.get(path)) == NOT_FOUND
    body = {"client_message_id": "1", "text": "halo"}
    assert problem(await as_mitra.post(f"/sessions/{chat.id}/messages", body)) == NOT_FOUND
    assert problem(await as_mitra.post(f"/sessions/{chat.id}/end", {"reason": "x"})) == NOT_FOUND


@pytest.mark.rule("X.4")
async def test_ids_of_another_person_in_a_body_or_query_find_nothing(server: RunningServer) -> None:
    customer, other = await server.customer(), await server.customer("Tari")
    mitra = await server.mitra(max_customers=3)
    chat, others = await server.chat(customer.id, mitra.id), await server.chat(other.id, mitra.id)
    said = await other.post(f"/sessions/{others.id}/messages", {"client_message_id": "1", "text": "rahasia"})
    message_id = said.json()["id"]

    before = await business_rows(server.database)
    mark = await customer.post(f"/sessions/{chat.id}/read", {"up_to_message_id": message_id})
    page = await customer.get(f"/sessions/{chat.id}/messages", before=message_id)
    assert problem(mark) == NOT_FOUND
    assert page.json()["items"] == []
    assert await business_rows(server.database) == before


async def test_a_mitra_without_a_past_chat_gets_the_same_answer_as_an_unknown_mitra(
    server: RunningServer,
) -> None:
    customer, offer_id = await server.customer(), await server.make.offer()
    async with server.available_mitra() as mitra:
        before = await business_rows(server.database)
        for mitra_id in (mitra.id, uuid4(), customer.id):
            order = {"offer_id": str(offer_id), "target_mitra_id": str(mitra_id)}
            assert problem(await customer.post("/payments", order)) == NOT_FOUND
        assert await business_rows(server.database) == before


@pytest.mark.rule("X.4")
async def test_no_answer_or_event_for_a_mitra_identifies_the_customer(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    chat = await server.chat(customer.id, mitra.id)
    another = await server.make.customer("Tari")
    await server.request(another, mitra.id)
    async with mitra.socket() as socket:
        message = {"client_message_id": "1", "text": "halo"}
        await customer.post(f"/sessions/{chat.id}/messages", message)
        await socket.wait_for("message.created", text="halo")
        told = json.dumps([socket.welcome, *socket.events])
    for path in ("/state", "/requests", "/sessions", f"/sessions/{chat.id}", f"/sessions/{chat.id}/messages"):
        answer = await mitra.get(path)
        assert answer.status_code == 200
        told += answer.text
    assert "Bunga" in told
    assert "Tari" in told
    for secret in (str(customer.id), str(another), phone, phone[3:], str(chat.payment_id)):
        assert secret not in told


# Cookies -----------------------------------------------------------------------------------------------------

FOREIGN_PAGES: list[dict[str, str]] = [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"{ORIGIN}.evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
]


async def test_a_change_with_a_cookie_must_come_from_our_own_page(server: RunningServer) -> None:
    for operation, entry in FOR_SIGNED_IN:
        if operation.method == "GET" or operation.id in NEEDS_AVAILABLE_MITRA:
            continue
        call = await entry.prepare(server)
        assert call.caller is not None
        role = call.caller.role
        assert entry.whose != "anybody"
        token = await server.token(entry.whose, call.caller.id, transport="cookie")
        nobody = Call(None, call.ids, call.query, call.body)
        cookie = {"Cookie": f"curhat_{role}={token}", **call.headers}
        before = await business_rows(server.database)
        answers = [
            problem(await send(server, operation, nobody, headers={**cookie, **page}))
            for page in FOREIGN_PAGES
        ]
        assert answers == [FORBIDDEN] * len(FOREIGN_PAGES), operation.id
        assert await business_rows(server.database) == before, operation.id
        own = await send(server, operation, nobody, headers={**cookie, "Origin": ORIGIN})
        assert own.status_code == entry.status, operation.id


# Idempotency keys --------------------------------------------------------------------------------------------


async def test_an_idempotency_key_belongs_to_its_user_and_role(server: RunningServer) -> None:
    person_id = await server.make.person()
    await server.make.customer(person_id=person_id)
    await server.make.mitra(person_id=person_id, max_customers=3)
    bunga, as_mitra = await server.person("customer", person_id), await server.person("mitra", person_id)
    tari = await server.customer("Tari")
    answers = []
    for customer in (bunga, tari):
        payment_id = await server.pending_payment(customer.id)
        answers.append(await customer.post(f"/payments/{payment_id}/cancel", key="the same key"))
    request_id = await server.request(await server.make.customer(), person_id)
    answers.append(await as_mitra.post(f"/requests/{request_id}/accept", key="the same key"))
    assert [problem(answer) for answer in answers] == [(200, None)] * 3
    assert answers[0].json()["id"] != answers[1].json()["id"]


# Sockets and tickets -----------------------------------------------------------------------------------------

HELLO = json.dumps({"op": "hello", "epoch": None, "seq": None, "device_id": "d"})


@contextlib.asynccontextmanager
async def _socket(
    server: RunningServer, role: Role, headers: dict[str, str] | None = None, query: str = ""
) -> AsyncIterator[ClientConnection]:
    path = "client" if role == "customer" else "mitra"
    url = f"{server.url.replace('http', 'ws', 1)}/api/{path}/realtime{query}"
    async with connect(url, additional_headers=headers or {}) as connection:
        yield connection


async def _first(connection: ClientConnection) -> str | int | None:
    """Return the `op` of the first frame after a hello, or the close code of the server.

    Pings do not count as frames.
    """
    try:
        await connection.send(HELLO)
        async with asyncio.timeout(10):
            operation = "ping"
            while operation == "ping":
                operation = json.loads(await connection.recv())["op"]
        return operation
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


async def _close_code(connection: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await connection.recv()
    return connection.close_code


async def _opened(
    server: RunningServer, role: Role, headers: dict[str, str] | None = None, query: str = ""
) -> str | int | None:
    async with _socket(server, role, headers, query) as connection:
        return await _first(connection)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_socket_opens_only_with_a_valid_token_of_its_role(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    suspended = await server.suspended_mitra()
    expired = await server.token("customer", customer.id, good_for_seconds=-1)
    revoked = await server.person("customer", customer.id)
    await revoked.post("/auth/logout")
    attempts: list[tuple[Role, str, str | int]] = [
        ("customer", customer.token, "welcome"),
        ("mitra", mitra.token, "welcome"),
        ("customer", mitra.token, protocol.SIGNED_OUT),
        ("mitra", customer.token, protocol.SIGNED_OUT),
        ("mitra", suspended.token, protocol.SIGNED_OUT),
        ("customer", expired, protocol.SIGNED_OUT),
        ("customer", revoked.token, protocol.SIGNED_OUT),
        ("customer", "x", protocol.SIGNED_OUT),
    ]
    outcomes = [await _opened(server, role, _bearer(token)) for role, token, _ in attempts]
    assert outcomes == [expected for _, _, expected in attempts]
    assert await _opened(server, "customer") == protocol.SIGNED_OUT
    # A token in the URL is not accepted, because logs and browser histories keep URLs.
    assert await _opened(server, "customer", query=f"?token={customer.token}") == protocol.SIGNED_OUT
    assert await _opened(server, "customer", query=f"?ticket={customer.token}") == protocol.SIGNED_OUT


async def test_a_socket_opened_with_a_cookie_must_come_from_our_own_page(server: RunningServer) -> None:
    customer_id = await server.make.customer()
    cookie = {"Cookie": f"curhat_customer={await server.token('customer', customer_id, transport='cookie')}"}
    assert await _opened(server, "customer", {**cookie, "Origin": ORIGIN}) == "welcome"
    for origin in (
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": ORIGIN.replace("http:", "https:")},
        {"Origin": ORIGIN.replace(":8000", ":8001")},
    ):
        assert await _opened(server, "customer", {**cookie, **origin}) == protocol.SIGNED_OUT


async def _ticket(person: Person) -> str:
    answer = await person.post("/realtime-ticket", key="")
    assert answer.status_code == 201
    ticket: str = answer.json()["ticket"]
    return ticket


async def test_a_ticket_opens_one_socket_of_its_own_role(server: RunningServer) -> None:
    customer = await server.customer()
    ticket = await _ticket(customer)
    assert await _opened(server, "customer", query=f"?ticket={ticket}") == "welcome"
    assert await _opened(server, "customer", query=f"?ticket={ticket}") == protocol.SIGNED_OUT
    # A failed try in the other role also uses up the ticket.
    ticket = await _ticket(customer)
    assert await _opened(server, "mitra", query=f"?ticket={ticket}") == protocol.SIGNED_OUT
    assert await _opened(server, "customer", query=f"?ticket={ticket}") == protocol.SIGNED_OUT


async def test_only_one_of_many_concurrent_uses_of_a_ticket_succeeds(server: RunningServer) -> None:
    ticket = await _ticket(await server.customer())
    outcomes = await asyncio.gather(
        *(_opened(server, "customer", query=f"?ticket={ticket}") for _ in range(10))
    )
    assert sorted(map(str, outcomes)) == sorted(["welcome", *[str(protocol.SIGNED_OUT)] * 9])


@pytest.mark.rule("X.8")
async def test_a_ticket_becomes_invalid_together_with_its_token(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    tickets = [await _ticket(customer), await _ticket(mitra)]
    await customer.post("/auth/logout")
    await server.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra.id)
    assert await _opened(server, "customer", query=f"?ticket={tickets[0]}") == protocol.SIGNED_OUT
    assert await _opened(server, "mitra", query=f"?ticket={tickets[1]}") == protocol.SIGNED_OUT


async def test_a_sign_out_closes_only_the_sockets_of_its_token(server: RunningServer) -> None:
    customer = await server.customer()
    elsewhere = await server.person("customer", customer.id)
    ticket = await _ticket(customer)
    async with (
        _socket(server, "customer", _bearer(customer.token)) as first,
        _socket(server, "customer", query=f"?ticket={ticket}") as second,
        _socket(server, "customer", _bearer(elsewhere.token)) as other,
    ):
        assert [await _first(socket) for socket in (first, second, other)] == ["welcome"] * 3
        assert (await customer.post("/auth/logout")).status_code == 204
        async with asyncio.timeout(5):
            assert [await _close_code(first), await _close_code(second)] == [protocol.SIGNED_OUT] * 2
        assert await _first(other) == "welcome"


@pytest.mark.rule("X.8")
async def test_a_suspension_closes_the_sockets_of_the_mitra_and_refuses_requests_within_five_seconds(
    server: RunningServer,
) -> None:
    mitra = await server.mitra()
    async with _socket(server, "mitra", _bearer(mitra.token)) as socket:
        assert await _first(socket) == "welcome"
        assert (await mitra.get("/me")).status_code == 200
        # Suspend the mitra outside the server process, as the command line does. The server then sends no signal.
        async with server.database.transaction() as tx:
            await mitras.suspend_mitra(tx, mitra.id)
        async with asyncio.timeout(5):
            assert await _close_code(socket) == protocol.SIGNED_OUT
            while (answer := await mitra.get("/me")).status_code == 200:
                pass
    assert problem(answer) == SUSPENDED


@pytest.mark.rule("X.4")
async def test_events_and_typing_signals_of_a_chat_reach_only_its_two_members(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    stranger, other_mitra = await server.customer("Tari"), await server.mitra("Kak Dewi")
    chat = await server.chat(customer.id, mitra.id)
    own = await server.chat(stranger.id, other_mitra.id)
    async with (
        customer.socket() as told,
        stranger.socket() as untold,
        other_mitra.socket() as untold_mitra,
    ):
        typing = {"op": "signal", "type": "typing"}
        # A typing signal for another person's chat reaches no device.
        await untold.connection.send(json.dumps({**typing, "session_id": str(chat.id)}))
        await untold_mitra.connection.send(json.dumps({**typing, "session_id": str(chat.id)}))
        message = {"client_message_id": "1", "text": "rahasia"}
        await mitra.post(f"/sessions/{chat.id}/messages", message)
        await told.wait_for("message.created", text="rahasia")
        await stranger.post(f"/sessions/{own.id}/messages", {**message, "text": "sendiri"})
        for socket in (untold, untold_mitra):
            await socket.wait_for("message.created", text="sendiri")
            assert "rahasia" not in json.dumps(socket.events)
        assert [frame for frame in told.events if frame["op"] == "signal"] == []


async def test_the_epoch_of_another_person_does_not_resume_a_stream(server: RunningServer) -> None:
    customer, stranger = await server.customer(), await server.customer("Tari")
    mitra = await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    await mitra.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "rahasia"})
    epoch = (await customer.get("/state")).json()["stream"]["epoch"]
    async with stranger.socket(epoch=epoch, seq=0) as socket:
        assert socket.welcome["resumed"] is False
        assert socket.welcome["epoch"] != epoch
        assert socket.events == []


# Production --------------------------------------------------------------------------------------------------


@pytest.fixture
async def production(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """A server in production."""
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
        public_origins=("https://app.example.id",),
    )
    async with start_server(settings, database) as opened:
        yield opened


@pytest.mark.rule("S.4")
async def test_the_operations_for_development_do_not_exist_in_production(production: RunningServer) -> None:
    for operation in OPERATIONS.values():
        if operation.is_for_development:
            call = await ENTRIES[operation.id].prepare(production)
            answer = await send(production, operation, call)
            nothing = await production.http.request(operation.method, "/api/no/such/path")
            assert problem(answer) == NOT_FOUND
            assert answer.content == nothing.content
    contract = (await production.http.get("/api/openapi.json")).json()
    assert not [path for path in contract["paths"] if path.startswith("/api/dev")]


@pytest.mark.rule("S.4")
async def test_health_and_metrics_are_not_on_the_public_port_of_production(production: RunningServer) -> None:
    port = production.application.services.settings.operations_port
    for path in PATHS:
        assert problem(await production.http.get(path)) == NOT_FOUND
        elsewhere = await production.http.get(f"http://127.0.0.1:{port}{path}")
        assert elsewhere.status_code == 200, elsewhere.text


@pytest.mark.rule("S.4")
@pytest.mark.parametrize("sender", ["inbox", ""])
def test_production_does_not_start_with_the_inbox_as_its_code_sender(sender: str) -> None:
    environment = environment_of(
        "postgresql://u:p@localhost/curhat",
        "valkey://localhost:6379/0",
        CURHAT_ENVIRONMENT="production",
        CURHAT_GATEWAY="mock",
        CURHAT_CODE_SENDERS=sender,
        CURHAT_PUBLIC_ORIGINS="https://app.example.id",
    )
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environment)
    assert [text.partition(" ")[0] for text in refused.value.problems] == ["CURHAT_CODE_SENDERS"]
    del environment["CURHAT_ENVIRONMENT"]  # Production is the default.
    with pytest.raises(SettingsError):
        Settings.from_environment(environment)


async def test_production_accepts_a_cookie_only_under_its_secure_name(production: RunningServer) -> None:
    customer_id: UUID = await production.make.customer()
    token = await production.token("customer", customer_id, transport="cookie")
    statuses = [
        (await production.http.get("/api/client/me", headers={"Cookie": f"{name}={token}"})).status_code
        for name in ("__Host-curhat_customer", "curhat_customer")
    ]
    assert statuses == [200, 401]


@pytest.mark.rule("S.1")
async def test_a_person_who_signed_in_before_the_new_cookies_stays_signed_in_and_gets_one(
    production: RunningServer,
) -> None:
    customer_id: UUID = await production.make.customer()
    token = await production.token("customer", customer_id, transport="cookie")
    old = {"Cookie": f"__Secure-curhat_customer={token}", "Origin": "https://app.example.id"}
    answer = await production.http.get("/api/client/me", headers=old)
    assert answer.status_code == 200
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"__Host-curhat_customer={token};")
    new = {**old, "Cookie": f"{old['Cookie']}; {cookie.partition(';')[0]}"}
    assert "set-cookie" not in (await production.http.get("/api/client/me", headers=new)).headers
    # Signing out deletes both, and the token is gone under either name.
    signed_out = await production.http.post("/api/client/auth/logout", headers=old)
    assert [each.partition("=")[0] for each in signed_out.headers.get_list("set-cookie")] == [
        "__Host-curhat_customer",
        "__Secure-curhat_customer",
    ]
    for headers in (old, new):
        assert (await production.http.get("/api/client/me", headers=headers)).status_code == 401


@pytest.mark.rule("S.1")
async def test_a_page_of_one_client_acts_with_no_cookie_of_another(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> None:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
        public_origins=("https://app.example.id", "https://mitra.example.id"),
        customer_origins=("https://app.example.id",),
        mitra_origins=("https://mitra.example.id",),
    )
    async with start_server(settings, database) as server:
        mitra_id: UUID = await server.make.mitra(online=False)
        cookie = f"__Host-curhat_mitra={await server.token('mitra', mitra_id, transport='cookie')}"

        async def status(origin: str) -> list[int]:
            headers = {"Cookie": cookie, "Origin": origin}
            shown = await server.http.get("/api/mitra/me", headers=headers)
            changed = await server.http.put("/api/mitra/presence", json={"online": False}, headers=headers)
            return [shown.status_code, changed.status_code]

        assert await status("https://mitra.example.id") == [200, 200]
        assert await status("https://app.example.id") == [403, 403]
        for origin, outcome in (
            ("https://mitra.example.id", "welcome"),
            ("https://app.example.id", protocol.SIGNED_OUT),
        ):
            assert await _opened(server, "mitra", {"Cookie": cookie, "Origin": origin}) == outcome
