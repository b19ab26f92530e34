"""Test that the server keeps its contract.

Schemathesis sends requests to a real server process. Further tests check facts that authors of clients need.

Every run of this test sends the same requests. Schemathesis generates ids and Idempotency-Keys. The test replaces half
of the ids by existing ids. With generated ids alone, every request would end at "not found". Usually the owner of an
existing id sends the request. The test also replaces most keys by new keys.
"""

import hashlib
import itertools
import json
import secrets
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.errors import (
    BodyTooLarge,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    Suspended,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.identity import AnyRole, Role
from curhat.pricing.service import seed_offers
from tests.conftest import database_url_of
from tests.security.operations import CONTRACT, ENTERED, OPERATIONS, Operation, send
from tests.support.chats import open_chat
from tests.support.journey import open_blast, request_of
from tests.support.people import Make
from tests.support.signed_in import (
    SIGN_IN,
    SIGN_IN_OPERATOR,
    RunningServer,
    environment_of,
    operator_password_hash,
    server_process,
)

SCHEMA = schemathesis.openapi.from_dict(
    CONTRACT,
    config=SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"deterministic": True, "max-examples": 20, "no-shrink": True},
            "checks": {
                # No schema says which texts are phone numbers or names.
                "positive_data_acceptance": {"enabled": False},
                # Litestar answers OPTIONS requests, but names only the methods of one handler of the path. No client
                # sends OPTIONS.
                "allow_header_conformance": {"enabled": False},
            },
        }
    ),
)

# The number of rows of each kind to create. The test needs several rows, because some HTTP requests can use a row only
# once.
ROWS_PER_KIND = 20
SIGN_OUTS = 200


class Population:
    """A server with people, chats, payments and pairings. The owner of each row has a token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        # The tokens for requests that contain no id. Each request gets a new token, because a customer with an open
        # payment cannot open another payment.
        self.tokens: dict[AnyRole, Iterator[str]] = {}
        self.to_be_signed_out: dict[AnyRole, Iterator[str]] = {}
        self.token_of_available_mitra = ""
        # The existing ids, each with the token of its owner. The keys are a role and the name of a parameter or field.
        self.owned: dict[tuple[AnyRole, str], list[tuple[UUID, str]]] = {}
        self.numbers = itertools.count(1)

    def known(self, role: AnyRole, name: str, generated: object) -> tuple[str, str | None] | None:
        """Return an existing id and its owner's token, or None to keep the generated id.

        About half of the generated ids are replaced. The token is None for half of the existing ids, so that another
        person sends the id.
        """
        owned = self.owned.get((role, name))
        try:
            number = UUID(str(generated)).int
        except ValueError:
            return None
        if not owned or number % 2 == 0:
            return None
        row_id, token = owned[number // 4 % len(owned)]
        return str(row_id), token if number % 4 == 1 else None


@pytest.fixture(scope="module")
async def population(
    servers: EmbeddedServers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Population]:
    """Start a server process with an available mitra on this module's own database."""
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute(f"CREATE DATABASE contract TEMPLATE {template}")
    url = database_url_of(servers, "contract")
    log: Path = tmp_path_factory.mktemp("contract") / "server.log"
    database = await Database.connect(url, pool_size=5)
    with server_process(environment_of(url, servers.valkey_url), log) as address:
        population = Population(address)
        await _people(population, database)
        with _available(population):
            yield population
        population.session.close()
    await database.close()
    await admin.execute("DROP DATABASE contract WITH (FORCE)")
    await admin.close()


async def _people(population: Population, database: Database) -> None:
    make = Make(database)
    async with database.transaction() as tx:
        await seed_offers(tx)

    async def tokens(role: Role, user_id: UUID, count: int) -> list[str]:
        made = [secrets.token_urlsafe(32) for _ in range(count)]
        digests = [hashlib.sha256(token.encode()).digest() for token in made]
        async with database.transaction() as tx:
            await tx.connection.executemany(
                SIGN_IN, [(digest, role, user_id, "bearer", 3600.0) for digest in digests]
            )
        return made

    async def token(role: Role, user_id: UUID) -> str:
        return (await tokens(role, user_id, 1))[0]

    mitra_id = await make.mitra(max_customers=20)
    as_mitra = population.token_of_available_mitra = await token("mitra", mitra_id)
    population.tokens["mitra"] = itertools.repeat(await token("mitra", await make.mitra()))
    customers = [await make.customer() for _ in range(ROWS_PER_KIND)]
    population.tokens["customer"] = itertools.cycle(
        [await token("customer", customer) for customer in customers]
    )
    population.to_be_signed_out = {
        "customer": iter(await tokens("customer", await make.customer(), SIGN_OUTS)),
        "mitra": iter(await tokens("mitra", await make.mitra(), SIGN_OUTS)),
    }
    offers = await database.fetch("SELECT id FROM offers")
    population.owned["customer", "offer_id"] = [
        (row["id"], next(population.tokens["customer"])) for row in offers * ROWS_PER_KIND
    ]

    operator_id = await database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ('admin@example.id', 'admin', $1) RETURNING id",
        operator_password_hash(),
    )
    as_operators = [secrets.token_urlsafe(32) for _ in range(SIGN_OUTS)]
    digests = [hashlib.sha256(made.encode()).digest() for made in as_operators]
    async with database.transaction() as tx:
        await tx.connection.executemany(
            SIGN_IN_OPERATOR, [(digest, operator_id, "bearer", 3600.0) for digest in digests]
        )
    as_operator = as_operators.pop()
    population.tokens["operator"] = itertools.repeat(as_operator)
    population.to_be_signed_out["operator"] = iter(as_operators)

    def add(role: AnyRole, name: str, row_id: UUID, owners_token: str) -> None:
        population.owned.setdefault((role, name), []).append((row_id, owners_token))

    for _ in range(ROWS_PER_KIND):
        searching = await make.customer()
        payment_id = await make.confirmed_payment(searching)
        pairing_id = await open_blast(database, payment_id, [mitra_id])
        as_customer = await token("customer", searching)
        add("customer", "payment_id", payment_id, as_customer)
        add("customer", "pairing_id", pairing_id, as_customer)
        add("mitra", "request_id", await request_of(database, pairing_id, mitra_id), as_mitra)

        talking = await make.mitra()
        chat = await open_chat(database, make, mitra_id=talking)
        whose = {
            "customer": await token("customer", chat.customer.user_id),
            "mitra": await token("mitra", talking),
        }
        people: tuple[tuple[Role, Role], ...] = (("customer", "mitra"), ("mitra", "customer"))
        for role, sender in people:
            add(role, "session_id", chat.id, whose[role])
            message_id = await database.fetchval(
                "INSERT INTO messages (session_id, sender, client_message_id, text) "
                "VALUES ($1, $2, 'first', 'halo') RETURNING id",
                chat.id,
                sender,
            )
            add(role, "up_to_message_id", message_id, whose[role])

        paying = await make.customer()
        pending = await database.fetchval(
            "INSERT INTO payments (customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at) "
            "SELECT $1, 'session', id, duration_minutes, price_rp, is_trial, curhat_now() + interval '1 hour' "
            "FROM offers WHERE purpose = 'session' ORDER BY price_rp DESC LIMIT 1 RETURNING id",
            paying,
        )
        add("customer", "payment_id", pending, await token("customer", paying))
        add("operator", "payment_id", pending, as_operator)
        add("operator", "session_id", chat.id, as_operator)
        # An operator can sign this customer out, because no other request needs the customer's token.
        add("operator", "customer_id", await make.customer(), as_operator)
        case_id = await database.fetchval(
            "INSERT INTO review_cases (payment_id, reason, amount_rp) VALUES ($1, 'refund_failed', 20000) RETURNING id",
            pending,
        )
        add("operator", "case_id", case_id, as_operator)


@contextmanager
def _available(population: Population) -> Iterator[None]:
    """Keep a socket of the mitra open in a thread, because the tests are not asynchronous."""
    url = f"{population.url.replace('http', 'ws', 1)}/api/mitra/realtime"
    # Without ping_interval=None, the client's thread would use `random` at the same time as Hypothesis.
    headers = {"Authorization": f"Bearer {population.token_of_available_mitra}"}
    with connect(url, additional_headers=headers, ping_interval=None) as socket:
        socket.send(json.dumps({"op": "hello", "device_id": "d"}))
        socket.recv()

        def answer_pings() -> None:
            try:
                for text in socket:
                    if json.loads(text)["op"] == "ping":
                        socket.send('{"op": "pong"}')
            except ConnectionClosed:
                return

        thread = threading.Thread(target=answer_pings)
        thread.start()
        try:
            yield
        finally:
            socket.close()
            thread.join()


def _role_of(operation: Operation) -> AnyRole:
    if operation.path.startswith("/api/control-center/"):
        return "operator"
    return "mitra" if operation.path.startswith("/api/mitra/") else "customer"


def _fill_in(population: Population, operation: Operation, case: schemathesis.Case[Any]) -> str:
    """Replace some generated values by existing ids, new keys and new phone numbers. Returns the token to send."""
    role = _role_of(operation)
    token = next(
        (population.to_be_signed_out if operation.id.startswith("sign_out") else population.tokens)[role]
    )
    # Each existing id is stored with the token of its owner. Fill in the path last, so that the request uses the token
    # of the path's id.
    for container in (case.body, case.query, case.path_parameters):
        if isinstance(container, dict):
            for name in list(container):
                found = population.known(role, name, container[name])
                if found is not None:
                    container[name], token = found[0], found[1] or token
    number = next(population.numbers)
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and 1 <= len(key) <= 100 and key.isprintable() and number % 4:
        case.headers["Idempotency-Key"] = f"{key}-{number}"
    for container in (case.body, case.query):
        phone = container.get("phone") if isinstance(container, dict) else None
        if isinstance(container, dict) and isinstance(phone, str) and len(phone) <= 40 and number % 2:
            container["phone"] = f"+62812{number:08d}"
    if operation.id == "set_gateway_behaviour" and isinstance(case.body, dict):
        # Set the behaviour only for one payment. A gateway that is slow for all payments would slow down all other
        # requests of this test.
        case.body.setdefault("payment_id", str(UUID(int=0)))
    return token


@schemathesis.check
def every_refusal_is_a_problem_with_a_declared_code(
    _context: schemathesis.CheckContext, response: Response, case: schemathesis.Case[Any]
) -> None:
    """Every refusal is a problem document with a code that the operation declares."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    body = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:curhat:problem:{body['code']}"
    declared = _operation(case).codes.get(response.status_code, frozenset())
    assert body["code"] in declared | {"method_not_allowed"}


def _operation(case: schemathesis.Case[Any]) -> Operation:
    return OPERATIONS[case.operation.definition.raw["operationId"]]


@SCHEMA.parametrize()
def test_an_operation_follows_the_contract_for_any_input(
    case: schemathesis.Case[Any], population: Population
) -> None:
    operation = _operation(case)
    token = _fill_in(population, operation, case)
    headers = {"Authorization": f"Bearer {token}"} if operation.security else None
    case.call_and_validate(base_url=population.url, session=population.session, headers=headers)


async def test_every_correct_call_gets_its_declared_answer(server: RunningServer) -> None:
    async with server.available_mitra():
        for operation, entry in ENTERED:
            answer = await send(server, operation, await entry.prepare(server))
            assert answer.status_code == entry.status
            SCHEMA[operation.path][operation.method].validate_response(answer)


# Client facts ------------------------------------------------------------------------


def _with(code: str) -> set[str]:
    return {
        name
        for name, operation in OPERATIONS.items()
        if any(code in codes for codes in operation.codes.values())
    }


def test_every_operation_and_every_answer_is_described() -> None:
    for methods in CONTRACT["paths"].values():
        for described in methods.values():
            assert described["operationId"].replace("_", "").isalpha()
            assert described["description"]
            assert described["tags"]
            for status, response in described["responses"].items():
                content = response.get("content", {})
                expected = [] if status in ("204", "304") else ["application/json"]
                if status == "200":
                    expected += [
                        f"text/{value}"
                        for parameter in described.get("parameters", [])
                        if parameter["name"] == "format"
                        for value in parameter["schema"]["enum"]
                        if value != "json"
                    ]
                assert list(content) == (["application/problem+json"] if status >= "400" else expected)
                assert response["description"]


def test_every_operation_that_must_not_run_twice_requires_an_idempotency_key() -> None:
    needing = {name for name, operation in OPERATIONS.items() if operation.needs_key}
    assert needing == {
        "open_payment",
        "confirm_payment",
        "cancel_payment",
        "cancel_pairing",
        "take_fallback",
        "decline_fallback",
        "request_extension",
        "accept_extension",
        "reject_extension",
        "accept_request",
        "reject_request",
        "end_session_by_customer",
        "end_session_by_mitra",
        "leave_session_by_customer",
        "leave_session_by_mitra",
        "rate_session",
        "decide_review_case",
        "decide_review_cases",
        "approve_refund",
        "retry_refund",
        "invite_mitra",
        "invite_operator",
        "reset_operator",
        "ask_what_if",
        "open_review_case",
        "publish_text",
        "propose_help_lines",
        "publish_help_lines",
        "report_mitra",
        "report_customer",
        "raise_concern",
        "appeal_of_customer",
        "appeal_of_mitra",
        "decide_report",
        "approve_suspension",
        "decide_appeal",
        "change_customer_suspension",
        "approve_transcript",
    }
    for operation in OPERATIONS.values():
        keys = [parameter for parameter in operation.parameters if parameter["name"] == "Idempotency-Key"]
        assert [(key["in"], key["required"]) for key in keys] == ([("header", True)] if keys else [])
    assert _with(IdempotencyKeyMissing.code) == _with(IdempotencyKeyReused.code) == needing


def test_every_operation_declares_who_must_be_signed_in() -> None:
    schemes = CONTRACT["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    open_to_all = {
        "request_customer_code",
        "verify_customer_code",
        "request_mitra_code",
        "verify_mitra_code",
        "get_gateway_notice",
        "get_service_facts",
        "list_public_texts",
        "get_help_lines",
        "get_mitra_availability",
        "read_development_inbox",
        "set_gateway_behaviour",
        "list_gateway_charges",
        "sign_in_operator",
        "use_operator_link",
    }
    assert {name for name, operation in OPERATIONS.items() if not operation.security} == open_to_all
    assert _with(Unauthenticated.code) == OPERATIONS.keys() - open_to_all
    for operation in OPERATIONS.values():
        used: Sequence[str] = [name for scheme in operation.security for name in scheme]
        cookie = f"{_role_of(operation)}_cookie"
        assert used in ([], ["bearer", cookie])
        assert {*used} <= schemes.keys()


def test_every_operation_declares_its_possible_refusals() -> None:
    signed_in = {name for name, operation in OPERATIONS.items() if operation.security}
    of_mitras = {name for name in signed_in if OPERATIONS[name].path.startswith("/api/mitra/")}
    with_body = {name for name, operation in OPERATIONS.items() if operation.body_schema is not None}
    with_query = {
        name
        for name, op in OPERATIONS.items()
        if any(parameter["in"] == "query" for parameter in op.parameters)
    }
    with_id = {name for name, operation in OPERATIONS.items() if "{" in operation.path}
    # A suspended mitra can sign out, read what was decided, appeal (T.4), export (P.6) and delete (P.3). The server
    # refuses the mitra's next sign-in. A suspended customer can pay for nothing (T.3).
    admitting = {
        "sign_out_mitra",
        "list_reports_of_mitra",
        "list_notices_of_mitra",
        "acknowledge_notice_of_mitra",
        "appeal_of_mitra",
        "export_mitra_data",
        "delete_mitra",
    }
    for_payers = {"open_payment", "confirm_payment", "request_extension"}
    assert _with(Suspended.code) == of_mitras - admitting | {"verify_mitra_code"} | for_payers
    assert _with(BodyTooLarge.code) == with_body
    assert with_body | with_query <= _with(ValidationFailed.code)
    assert with_id <= _with("not_found")
    assert signed_in <= _with(TooManyRequests.code)


def test_every_declared_refusal_lists_its_codes() -> None:
    for operation in OPERATIONS.values():
        for status in operation.statuses:
            codes = operation.codes[status]
            assert bool(codes) == (status >= 400), (operation.id, status)
            assert all(code.replace("_", "").isalpha() for code in codes)


async def test_the_server_serves_the_committed_contract(server: RunningServer) -> None:
    served: Any = (await server.http.get("/api/openapi.json")).json()
    committed = json.loads((Path(__file__).parents[2] / "contracts" / "openapi.json").read_text())
    assert served == committed == json.loads(json.dumps(CONTRACT))
