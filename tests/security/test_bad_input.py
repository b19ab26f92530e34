"""Test that the server refuses every bad input with the reason, and changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from curhat.kit.pause_points import set_pause_point
from tests.security.operations import (
    ENTERED,
    ENTRIES,
    NEEDS_AVAILABLE_MITRA,
    OPERATIONS,
    WITH_IDS,
    Call,
    Operation,
    resolve,
    send,
)
from tests.support.clock import VirtualClock
from tests.support.journey import Latch
from tests.support.server import Person, Socket
from tests.support.signed_in import RunningServer, business_rows, problem

INVALID = (422, "validation_failed")
NOT_FOUND = (404, "not_found")
KEY_MISSING = (400, "idempotency_key_missing")
KEY_REUSED = (409, "idempotency_key_reused")
IN_PROGRESS = (409, "idempotency_in_progress")
DONE = (200, None)

LIMIT_BYTES = 64 * 1024

WITH_BODY = [(operation, entry) for operation, entry in ENTERED if operation.body_schema is not None]
WITH_KEY = [(operation, entry) for operation, entry in ENTERED if operation.needs_key]


@pytest.fixture
async def prepared(server: RunningServer) -> dict[str, Call]:
    """A correct call of every operation. No mitra is available, so no row changes by itself."""
    return {operation.id: await entry.prepare(server) for operation, entry in ENTERED}


# Bodies ------------------------------------------------------------------------------------------------------


# The customer can end a chat without a body, or with an empty object.
WITHOUT_REQUIRED_FIELD = {"end_session_by_customer", "approve_suspension"}
# A leave needs a body, and an empty object is enough (T.5).
ALL_FIELDS_OPTIONAL = {"leave_session_by_customer", "leave_session_by_mitra"}


def _not_json(body: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Bodies that are invalid for every operation. The name of each body describes the mistake."""
    right = msgspec.json.encode(body)
    yield "empty", b""
    yield "truncated", right[:-1]
    yield "followed by more", right + b"{}"
    yield "two bodies", right + right
    yield "no JSON", b"phone=081234567890"
    yield "a comment", b"/* */" + right
    yield "a byte order mark", b"\xef\xbb\xbf" + right
    yield "UTF-16", right.decode().encode("utf-16")
    yield "invalid UTF-8 in a name", b'{"\xff": 1}'
    yield "invalid UTF-8 in a value", right[:-1] + b', "x": "\xc3\x28"}'
    yield "a lone surrogate", right[:-1] + b', "x": "\\ud800"}'
    yield "NaN", right[:-1] + b', "x": NaN}'
    yield "null", b"null"
    yield "a list", b"[" + right + b"]"
    yield "a text", json.dumps(right.decode()).encode()
    yield "a number", b"1"
    yield "no field", b"{}"
    yield "an unknown field", right[:-1] + b', "amount_rp": 0}'
    yield "deep lists", b"[" * (LIMIT_BYTES - 1)
    yield "deep objects", b'{"x":' * (LIMIT_BYTES // 5)
    yield "deep in a field", b'{"' + next(iter(body)).encode() + b'":' + b"[" * 50_000 + b"]" * 10_000


# Use raw JSON, because the encoder refuses to write these values.
LONE_SURROGATE = msgspec.Raw(b'"\\ud83d"')
HUGE = msgspec.Raw(b"1" + b"0" * 400)
BEYOND_A_FLOAT = msgspec.Raw(b"1e999")
WRONG_VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    1.5,
    2**64,
    HUGE,
    BEYOND_A_FLOAT,
    [],
    ["a"],
    {},
    {"$ne": None},
    "",
    "null",
    "true",
    "1",
    LONE_SURROGATE,
    "A" * 10_000,
    "00000000-0000-0000-0000-00000000000",
]

NUL = "a\x00b"
# The text has a joiner, a zero-width space, a Hangul filler, a mark without a letter, and an empty override.
UNSEEN = "\u200d\u200b\u3164\u0301\u202e\u202c"
# These texts fit their schema, but other rules refuse them.
WRONG_TEXTS: dict[str, list[str]] = {
    "phone": [
        " ",
        NUL,
        "08",
        "+62812345678901234567",
        "0812-CURHAT",
        "+1",
        "1234567890",
        "081234567890;x",
        "+6591234567",
    ],
    "call_name": ["", " ", NUL, "\u202eagnuB", "\u200b", "a" * 41, "0812 3456 7890", "@bunga", "Tim Curhat"],
    "text": [" ", "\n\t", NUL, "\x00", UNSEEN],
    "client_message_id": [NUL, "\x00"],
    "reason": [" ", NUL, "\x00", UNSEEN],
    "note": [" ", "\n\t", NUL, UNSEEN],
    "display_name": ["", " ", NUL, "\u200b", "a" * 41, "0812 3456 7890", "wa.me/628", "Admin"],
}


def _is_right(schema: dict[str, Any], value: Any) -> bool:
    """Return whether the schema allows this value."""
    schema = resolve(schema)
    if "oneOf" in schema:
        return any(_is_right(one, value) for one in schema["oneOf"])
    if "enum" in schema:
        return any(value == one and type(value) is type(one) for one in schema["enum"])
    match schema["type"]:
        case "string":
            if not isinstance(value, str) or schema.get("format") == "uuid":
                return False
            return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9))
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return is_whole and schema.get("minimum", value) <= value <= schema.get("maximum", value)
        case "array":
            return isinstance(value, list) and all(_is_right(schema["items"], each) for each in value)
        case "null":
            return value is None
        case "object":
            # The value {} is a valid object if the schema requires no field. All other wrong values are invalid
            # objects.
            return value == {} and not schema.get("required")
        case other:
            raise AssertionError(f"a new type of field: {other}")


def _wrong_fields(operation: Operation, body: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield bodies in which one field is wrong, each as (field, wrong value, body)."""
    assert operation.body_schema is not None
    for field in operation.body_schema.get("required", []):
        yield field, "missing", {name: value for name, value in body.items() if name != field}
    for field, schema in operation.body_schema["properties"].items():
        wrong = [value for value in WRONG_VALUES if not _is_right(schema, value)]
        texts = WRONG_TEXTS.get(field, [])
        if (operation.id, field) == ("verify_mitra_code", "call_name"):
            texts = []  # The server uses the name in the invitation instead.
        for value in wrong + texts:
            yield field, value, {**body, field: value}


async def test_a_malformed_body_is_refused_and_changes_nothing(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    answers = {}
    for operation, _ in WITH_BODY:
        call = prepared[operation.id]
        assert call.body is not None
        for name, content in _not_json(call.body):
            if operation.id in WITHOUT_REQUIRED_FIELD and name in ("empty", "null", "no field"):
                continue
            if operation.id in ALL_FIELDS_OPTIONAL and name == "no field":
                continue
            answers[operation.id, name] = problem(await send(server, operation, call, content=content))
    assert answers == dict.fromkeys(answers, INVALID)
    assert await business_rows(server.database) == before


async def test_the_refusal_of_a_body_names_the_missing_or_wrong_field_and_changes_nothing(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    for operation, _ in WITH_BODY:
        call = prepared[operation.id]
        assert call.body is not None
        for field, value, body in _wrong_fields(operation, call.body):
            answer = await send(server, operation, call, content=msgspec.json.encode(body))
            said = (operation.id, field, value, answer.text)
            assert problem(answer) == INVALID, said
            # If a body is not JSON, the server cannot name a field.
            if not isinstance(value, msgspec.Raw):
                # In a list, the error names the element, for example case_ids[0].
                named = {error["field"].partition("[")[0] for error in answer.json()["errors"]}
                assert field in named, said
        assert await business_rows(server.database) == before, operation.id


def _with_nul(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield copies of a body in which one text contains NUL, each with the path of this text."""
    if isinstance(value, str):
        yield path, value + "\0"
    elif isinstance(value, dict):
        for name, inner in value.items():
            for found, changed in _with_nul(inner, f"{path}.{name}" if path else name):
                yield found, {**value, name: changed}
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for found, changed in _with_nul(inner, f"{path}[{number}]"):
                yield found, [*value[:number], changed, *value[number + 1 :]]


async def test_the_character_nul_is_refused_in_every_text_of_every_operation(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    answers = {}
    for operation, _ in ENTERED:
        call = prepared[operation.id]
        for field, body in _with_nul(call.body):
            changed = msgspec.structs.replace(call, body=body)
            answers[operation.id, field] = problem(await send(server, operation, changed))
        for parameter in operation.parameters:
            name = parameter["name"]
            if parameter["in"] == "query":
                changed = msgspec.structs.replace(call, query={**call.query, name: "a\0"})
                answers[operation.id, name] = problem(await send(server, operation, changed))
    assert len(answers) > 80
    assert answers == dict.fromkeys(answers, INVALID)
    assert await business_rows(server.database) == before


async def test_an_email_with_nul_is_refused_at_sign_in_before_the_server_counts_a_try(
    server: RunningServer,
) -> None:
    body = {"email": "sari\0@example.id", "password": "a password"}
    answer = await server.http.post("/api/control-center/auth/login", json=body)
    assert problem(answer) == INVALID
    assert answer.json()["errors"] == [{"field": "email", "message": "contains the character NUL"}]


async def test_a_text_can_contain_the_characters_of_the_escape_for_nul(server: RunningServer) -> None:
    call = await ENTRIES["send_customer_message"].prepare(server)
    text = r"\u0000 and \\u0000"
    changed = msgspec.structs.replace(call, body={"client_message_id": "1", "text": text})
    answer = await send(server, OPERATIONS["send_customer_message"], changed)
    assert answer.json()["text"] == text


async def test_a_body_is_refused_if_its_content_type_is_not_json(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    answers = {}
    for operation, _ in WITH_BODY:
        for content_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/msgpack",
            "",
        ):
            headers = {"Content-Type": content_type}
            answer = await send(server, operation, prepared[operation.id], headers=headers)
            answers[operation.id, content_type] = problem(answer)
    assert answers == dict.fromkeys(answers, INVALID)
    assert await business_rows(server.database) == before


async def test_the_content_type_can_be_written_in_every_standard_way(server: RunningServer) -> None:
    operation = OPERATIONS["change_customer_profile"]
    for content_type in (
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
    ):
        call = await ENTRIES[operation.id].prepare(server)
        assert problem(await send(server, operation, call, headers={"Content-Type": content_type})) == DONE


async def test_a_body_over_64_kib_is_refused_with_and_without_a_content_length(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    too_large = b" " * (LIMIT_BYTES + 1)

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(too_large), 8192):
            yield too_large[start : start + 8192]

    before = await business_rows(server.database)
    answers = {}
    # The server reads the body of each operation with an Idempotency-Key, even if the operation needs no body. The
    # fingerprint of the key includes the body.
    for operation, _ in WITH_BODY + [entered for entered in WITH_KEY if entered not in WITH_BODY]:
        call = prepared[operation.id]
        answer = await send(server, operation, call, content=too_large)
        answers[operation.id, "with its length"] = problem(answer)
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
        if call.caller is not None:
            headers["Authorization"] = f"Bearer {call.caller.token}"
        path = operation.path.format(**call.ids)
        answer = await server.http.request(operation.method, path, content=in_chunks(), headers=headers)
        answers[operation.id, "in chunks"] = problem(answer)
    assert answers == dict.fromkeys(answers, (413, "body_too_large"))
    assert await business_rows(server.database) == before


async def test_the_largest_message_fits_into_the_largest_body(server: RunningServer) -> None:
    call = await ENTRIES["send_customer_message"].prepare(server)
    # An encoder that writes only ASCII needs twelve bytes per character.
    body = json.dumps({"client_message_id": "1", "text": "\U0001f494" * 4000}).encode()
    body += b" " * (LIMIT_BYTES - len(body))
    answer = await send(server, OPERATIONS["send_customer_message"], call, content=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["text"] == "\U0001f494" * 4000


async def test_a_caller_without_a_token_is_refused_before_the_body_is_read(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    answers = {}
    for operation, entry in WITH_BODY:
        if entry.whose != "anybody":
            nobody = Call(None, prepared[operation.id].ids)
            for content in (b"{", b"[" * 60_000, b" " * (LIMIT_BYTES + 1)):
                answer = await send(server, operation, nobody, content=content)
                answers[operation.id, content[:2]] = problem(answer)
    assert answers == dict.fromkeys(answers, (401, "unauthenticated"))


# Paths and queries -------------------------------------------------------------------------------------------

NO_IDS = [
    "1",
    "not-an-id",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "9" * 5000,
    "%00",
    "%ff%fe",
    "%f0%9f%92%94",
    "%2e%2e%2f%2e%2e",
    "a%2fb",
    "'%20OR%201=1",
    "{payment_id}",
]


async def test_a_malformed_id_gets_the_answer_not_found(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    for operation, _ in WITH_IDS:
        call = prepared[operation.id]
        assert call.caller is not None
        for no_id in NO_IDS:
            if "version" in call.ids and no_id == "1":
                continue  # This is the number of a version that exists.
            path = operation.path.format(**dict.fromkeys(call.ids, no_id))
            answer = await server.http.request(
                operation.method,
                path,
                content=msgspec.json.encode(call.body) if call.body else None,
                headers={
                    "Authorization": f"Bearer {call.caller.token}",
                    "Idempotency-Key": str(uuid4()),
                    "Content-Type": "application/json",
                },
            )
            assert problem(answer) == NOT_FOUND, path
    assert await business_rows(server.database) == before


BAD_QUERIES = [
    ("/api/client/pricing", ["", "purpose=", "purpose=trial", "purpose=%00", "purpose[]=session"]),
    (
        "/api/client/sessions",
        ["cursor=x", "cursor=", "cursor=%00", "cursor=%ff", "cursor=AAAA", "cursor=" + "A" * 5000],
    ),
    ("/api/mitra/sessions", ["cursor=x", "cursor=%00", "cursor=é"]),
    ("/api/client/sessions/{chat}/messages", ["before=x", "before=1", "before=", "before=%00"]),
    ("/api/mitra/sessions/{chat}/messages", ["before=x", "before=%ff"]),
    ("/api/dev/inbox", ["", "phone=", "phone=1", "phone=%00", "phone=" + "0" * 5000]),
    ("/api/dev/gateway/charges", ["", "payment_id=x", "payment_id="]),
]


async def test_a_malformed_query_is_refused(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    for path, queries in BAD_QUERIES:
        who = mitra if path.startswith("/api/mitra") else customer
        for query in queries:
            address = f"{path.format(chat=chat.id)}?{query}"
            answer = await server.http.get(address, headers={"Authorization": f"Bearer {who.token}"})
            assert problem(answer) == INVALID, address


async def test_an_unknown_path_or_method_is_refused_with_a_problem_document(server: RunningServer) -> None:
    for path in (
        "/api",
        "/api/",
        "/api/x",
        "/api/client",
        "/api/client/x/y",
        "/api/dev",
        "/favicon.ico",
    ):
        assert problem(await server.http.get(path)) == NOT_FOUND, path
        assert problem(await server.http.post(path, json={})) == NOT_FOUND, path
    for operation in OPERATIONS.values():
        path = operation.path.format(**{p["name"]: uuid4() for p in operation.parameters})
        answer = await server.http.request("TRACE", path)
        assert problem(answer) == (405, "method_not_allowed"), path
        assert operation.method in answer.headers["allow"]


# Idempotency keys --------------------------------------------------------------------------------------------


async def test_a_command_without_a_valid_key_is_refused_and_changes_nothing(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    before = await business_rows(server.database)
    for operation, _ in WITH_KEY:
        call = prepared[operation.id]
        assert call.caller is not None
        without = await server.http.post(
            operation.path.format(**call.ids),
            json=call.body,
            headers={"Authorization": f"Bearer {call.caller.token}"},
        )
        assert problem(without) == KEY_MISSING, operation.id
        for key in ("", "k" * 201, "a\tb", "\x80\x81", "a\xa0b"):
            answer = await send(server, operation, call, headers={"Idempotency-Key": key})
            assert problem(answer) == KEY_MISSING, (operation.id, key)
    assert await business_rows(server.database) == before


async def test_a_repeated_command_gets_the_first_answer_and_takes_effect_once(
    server: RunningServer, prepared: dict[str, Call]
) -> None:
    for operation, _ in WITH_KEY:
        if operation.id in NEEDS_AVAILABLE_MITRA:
            continue
        call = prepared[operation.id]
        key = str(uuid4())
        first = await send(server, operation, call, key=key)
        after = await business_rows(server.database)
        again = [await send(server, operation, call, key=key) for _ in range(3)]
        assert first.status_code == ENTRIES[operation.id].status
        assert {answer.content for answer in again} == {first.content}, operation.id
        assert {answer.status_code for answer in again} == {first.status_code}
        assert await business_rows(server.database) == after


async def test_a_repeated_command_gets_the_first_refusal_even_when_the_reason_no_longer_exists(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    order = {"offer_id": str(await server.make.offer())}
    first = await customer.post("/payments", order, key="one")
    assert problem(first) == (409, "no_mitra_available")
    async with server.available_mitra():
        again = await customer.post("/payments", order, key="one")
        assert (problem(again), again.content) == (problem(first), first.content)
        assert problem(await customer.post("/payments", order, key="two")) == (201, None)


async def test_a_used_key_is_refused_for_another_command(server: RunningServer) -> None:
    customer = await server.customer()
    async with server.available_mitra():
        order = {"offer_id": str(await server.make.offer())}
        opened = await customer.post("/payments", order, key="one")
        payment_id = opened.json()["id"]
        before = await business_rows(server.database)
        other_offer = {"offer_id": str(await server.make.offer(price_rp=35_000, duration_minutes=60))}
        before["public.offers"] = (await business_rows(server.database))["public.offers"]
        for path, body in (
            ("/payments", other_offer),
            ("/payments", {**order, "target_mitra_id": None}),
            (f"/payments/{payment_id}/confirm", None),
            (f"/payments/{payment_id}/cancel", None),
            (f"/payments/{uuid4()}/cancel", None),
            (f"/pairings/{uuid4()}/cancel", None),
        ):
            assert problem(await customer.post(path, body, key="one")) == KEY_REUSED, path
        assert await business_rows(server.database) == before
        again = await customer.post("/payments", order, key="one")
        assert (problem(again), again.content) == ((201, None), opened.content)


async def test_a_used_key_is_refused_for_another_path_with_the_same_body(server: RunningServer) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    assert problem(await customer.post(f"/payments/{payment_id}/cancel", key="one")) == DONE
    before = await business_rows(server.database)
    for path in (
        f"/payments/{payment_id}/confirm",
        f"/payments/{uuid4()}/cancel",
        f"/pairings/{payment_id}/cancel",
    ):
        assert problem(await customer.post(path, key="one")) == KEY_REUSED, path
    assert await business_rows(server.database) == before


@pytest.mark.invariant(2)
async def test_only_one_of_many_concurrent_commands_with_one_key_takes_effect(server: RunningServer) -> None:
    customer = await server.customer()
    async with server.available_mitra():
        order = {"offer_id": str(await server.make.offer())}
        answers = await asyncio.gather(*(customer.post("/payments", order, key="one") for _ in range(20)))
        done = {answer.content for answer in answers if answer.status_code == 201}
        assert len(done) == 1
        assert {problem(answer) for answer in answers} <= {(201, None), IN_PROGRESS}
        assert await server.database.fetchval("SELECT count(*) FROM payments") == 1

        payment_id = msgspec.json.decode(done.pop())["id"]
        answers = await asyncio.gather(
            *(customer.post(f"/payments/{payment_id}/confirm", key="two") for _ in range(20))
        )
        assert {problem(answer) for answer in answers} <= {DONE, IN_PROGRESS}
        assert await server.database.fetchval("SELECT count(*) FROM mock_gateway.charges") == 1
        assert await server.database.fetchval("SELECT count(*) FROM pairings") == 1


@pytest.mark.parametrize("point", ["confirm.before_charge", "confirm.after_charge", "accept.before_commit"])
@pytest.mark.invariant(2)
async def test_a_repeated_command_is_refused_while_the_first_command_runs(
    server: RunningServer, point: str
) -> None:
    latch = Latch()
    set_pause_point(point, latch)
    if point.startswith("accept"):
        person: Person = await server.mitra()
        path = f"/requests/{await server.request(await server.make.customer(), person.id)}/accept"
    else:
        person = await server.customer()
        path = f"/payments/{await server.pending_payment(person.id)}/confirm"
    async with server.available_mitra():
        first = asyncio.create_task(person.post(path, key="one"))
        await latch.reached.wait()
        assert problem(await person.post(path, key="one")) == IN_PROGRESS
        assert problem(await person.post(path, {"other": "body"}, key="one")) in (IN_PROGRESS, KEY_REUSED)
        latch.open()
        answer = await first
        again = await person.post(path, key="one")
    assert (problem(answer), problem(again)) == (DONE, DONE)
    assert again.content == answer.content


# Forbidden steps ---------------------------------------------------------------------------------------------


async def _refused(server: RunningServer, step: Any) -> tuple[int, Any]:
    """Return the refusal of a step, and assert that the step changed nothing."""
    before = await business_rows(server.database)
    answer: httpx.Response = await step
    assert await business_rows(server.database) == before, answer.text
    return problem(answer)


@pytest.mark.rule("2c.1")
async def test_an_abandoned_payment_cannot_be_confirmed(server: RunningServer) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    assert problem(await customer.post(f"/payments/{payment_id}/cancel")) == DONE
    refused = await _refused(server, customer.post(f"/payments/{payment_id}/confirm"))
    assert refused == (409, "payment_closed")
    assert await server.database.fetchval("SELECT count(*) FROM mock_gateway.charges") == 0


async def test_a_confirmed_payment_cannot_be_cancelled(server: RunningServer) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    async with server.available_mitra():
        assert problem(await customer.post(f"/payments/{payment_id}/confirm")) == DONE
    refused = await _refused(server, customer.post(f"/payments/{payment_id}/cancel"))
    assert refused == (409, "payment_confirmed")


@pytest.mark.rule("2a.6")
async def test_a_payment_that_is_being_confirmed_cannot_be_cancelled(server: RunningServer) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    latch = Latch()
    set_pause_point("confirm.before_charge", latch)
    async with server.available_mitra():
        confirming = asyncio.create_task(customer.post(f"/payments/{payment_id}/confirm"))
        await latch.reached.wait()
        refused = await _refused(server, customer.post(f"/payments/{payment_id}/cancel"))
        latch.open()
        assert refused == (409, "payment_confirming")
        assert problem(await confirming) == DONE


@pytest.mark.rule("2a.5")
@pytest.mark.invariant(5)
async def test_an_expired_payment_can_be_neither_confirmed_nor_cancelled(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    await clock.advance(20 * 60)
    for step in ("confirm", "cancel"):
        refused = await _refused(server, customer.post(f"/payments/{payment_id}/{step}"))
        assert refused == (409, "payment_expired")


@pytest.mark.rule("2a.8")
async def test_a_second_journey_is_refused_and_the_error_names_the_first_journey(
    server: RunningServer,
) -> None:
    order = {"offer_id": str(await server.make.offer())}
    async with server.available_mitra() as mitra:
        paying, talking = await server.customer(), await server.customer("Tari")
        payment_id = await server.pending_payment(paying.id)
        chat = await server.chat(talking.id, mitra.id)
        for customer, field, other in (
            (paying, "payment_id", payment_id),
            (talking, "session_id", chat.id),
        ):
            before = await business_rows(server.database)
            answer = await customer.post("/payments", order)
            assert problem(answer) == (409, "journey_in_progress")
            assert answer.json()[field] == str(other)
            assert await business_rows(server.database) == before


@pytest.mark.rule("2a.8")
async def test_an_offer_cannot_be_ordered_if_it_is_withdrawn_or_unknown_or_for_another_purpose(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    withdrawn = await server.make.offer(duration_minutes=15, price_rp=1)
    await server.database.execute("UPDATE offers SET withdrawn_at = curhat_now() WHERE id = $1", withdrawn)
    extension = await server.make.offer(purpose="extension")
    async with server.available_mitra():
        for offer_id in (withdrawn, extension, uuid4()):
            order = {"offer_id": str(offer_id)}
            assert await _refused(server, customer.post("/payments", order)) == NOT_FOUND


@pytest.mark.rule("2a.3")
async def test_a_used_trial_cannot_be_ordered_again(server: RunningServer) -> None:
    customer = await server.customer()
    trial = await server.make.offer(duration_minutes=5, price_rp=0)
    async with server.available_mitra() as mitra, mitra.socket() as socket:
        opened = await customer.post("/payments", {"offer_id": str(trial)})
        confirmed = await customer.post(f"/payments/{opened.json()['id']}/confirm")
        assert problem(confirmed) == DONE
        request = await socket.wait_for("request.offered")
        accepted = await mitra.post(f"/requests/{request['id']}/accept")
        session_id = accepted.json()["session"]["id"]
        assert problem(await customer.post(f"/sessions/{session_id}/end")) == DONE
        refused = await _refused(server, customer.post("/payments", {"offer_id": str(trial)}))
    assert refused == (409, "trial_used")


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(6)
async def test_a_pairing_cannot_be_cancelled_after_it_has_matched_or_failed_or_expired(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    matched, failed, over = [await server.customer(name) for name in ("Bunga", "Tari", "Melati")]
    mitra = await server.mitra(max_customers=3)
    pairings = {customer: await server.search(customer.id, [mitra.id]) for customer in (matched, failed)}
    request_id = await server.database.fetchval(
        "SELECT id FROM requests WHERE pairing_id = $1", pairings[matched]
    )
    assert problem(await mitra.post(f"/requests/{request_id}/accept")) == DONE
    assert problem(await failed.post(f"/pairings/{pairings[failed]}/cancel")) == DONE
    pairings[over] = await server.search(over.id, [mitra.id])
    await clock.advance(60)
    for customer, pairing_id in pairings.items():
        refused = await _refused(server, customer.post(f"/pairings/{pairing_id}/cancel"))
        assert refused == (409, "pairing_decided")


@pytest.mark.rule("2b.5")
async def test_a_taken_or_closed_or_expired_request_cannot_be_accepted_or_rejected(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    winner, loser = await server.mitra(max_customers=9), await server.mitra("Kak Dewi", max_customers=9)
    refusals = {}

    async def asked(name: str) -> tuple[Person, UUID, dict[UUID, UUID]]:
        customer = await server.customer(name)
        pairing_id = await server.search(customer.id, [winner.id, loser.id])
        rows = await server.database.fetch(
            "SELECT id, mitra_id FROM requests WHERE pairing_id = $1", pairing_id
        )
        return customer, pairing_id, {row["mitra_id"]: row["id"] for row in rows}

    _, _, requests = await asked("Bunga")
    assert problem(await winner.post(f"/requests/{requests[winner.id]}/accept")) == DONE
    for step in ("accept", "reject"):
        refusals["taken", step] = await _refused(server, loser.post(f"/requests/{requests[loser.id]}/{step}"))
    refusals["won", "reject"] = await _refused(server, winner.post(f"/requests/{requests[winner.id]}/reject"))

    customer, pairing_id, requests = await asked("Tari")
    assert problem(await customer.post(f"/pairings/{pairing_id}/cancel")) == DONE
    for step in ("accept", "reject"):
        refusals["cancelled", step] = await _refused(
            server, loser.post(f"/requests/{requests[loser.id]}/{step}")
        )

    _, _, requests = await asked("Melati")
    assert problem(await loser.post(f"/requests/{requests[loser.id]}/reject")) == (204, None)
    refusals["rejected", "accept"] = await _refused(
        server, loser.post(f"/requests/{requests[loser.id]}/accept")
    )
    await clock.advance(60)
    for step in ("accept", "reject"):
        refusals["late", step] = await _refused(
            server, winner.post(f"/requests/{requests[winner.id]}/{step}")
        )

    closed = (409, "request_closed")
    assert refusals == {
        ("taken", "accept"): (409, "already_taken"),
        ("taken", "reject"): (409, "already_taken"),
        ("won", "reject"): closed,
        ("cancelled", "accept"): closed,
        ("cancelled", "reject"): closed,
        ("rejected", "accept"): closed,
        ("late", "accept"): closed,
        ("late", "reject"): closed,
    }


@pytest.mark.rule("2b.7")
@pytest.mark.invariant(8)
async def test_a_mitra_who_is_offline_or_at_capacity_cannot_accept(server: RunningServer) -> None:
    offline, full = await server.mitra(), await server.mitra("Kak Dewi")
    requests = [await server.request(await server.make.customer(), mitra.id) for mitra in (offline, full)]
    # Write the row instead of using the toggle, because the toggle would close the request before the accept.
    await server.database.execute("UPDATE mitras SET online = false WHERE id = $1", offline.id)
    await server.chat(await server.make.customer(), full.id)
    refusals = [
        await _refused(server, mitra.post(f"/requests/{request_id}/accept"))
        for mitra, request_id in zip((offline, full), requests, strict=True)
    ]
    assert refusals == [(409, "mitra_offline"), (409, "at_capacity")]


@pytest.mark.rule("X.8")
@pytest.mark.invariant(5)
async def test_an_ended_session_accepts_no_message_and_cannot_be_ended_again(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    ended = await server.chat(customer.id, mitra.id)
    assert problem(await customer.post(f"/sessions/{ended.id}/end")) == DONE
    late = await server.chat(customer.id, mitra.id)
    await clock.advance(30 * 60)
    for chat in (ended, late):
        for person in (customer, mitra):
            message = {"client_message_id": "1", "text": "masih ada?"}
            sent = person.post(f"/sessions/{chat.id}/messages", message)
            assert await _refused(server, sent) == (409, "session_ended")
            body = None if person.role == "customer" else {"reason": "x"}
            end = person.post(f"/sessions/{chat.id}/end", body)
            assert await _refused(server, end) == (409, "session_ended")


async def test_no_message_can_be_sent_without_a_session(server: RunningServer) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    message = {"client_message_id": "1", "text": "halo?"}
    for no_session in (payment_id, await server.search((await server.customer()).id, [])):
        path = f"/sessions/{no_session}/messages"
        assert await _refused(server, customer.post(path, message)) == NOT_FOUND


@pytest.mark.rule("S.1")
async def test_a_code_can_be_used_once_and_only_in_its_role(server: RunningServer) -> None:
    call = await ENTRIES["verify_customer_code"].prepare(server)
    as_mitra = Call(
        None, body={name: call.body[name] for name in ("request_id", "code")} if call.body else {}
    )
    code_invalid = (401, "code_invalid")
    assert await _refused(server, send(server, OPERATIONS["verify_mitra_code"], as_mitra)) == code_invalid
    verify = OPERATIONS["verify_customer_code"]
    assert problem(await send(server, verify, call)) == DONE
    assert await _refused(server, send(server, verify, call)) == code_invalid


# Sockets -----------------------------------------------------------------------------------------------------


async def test_a_malformed_frame_changes_nothing_and_does_not_close_the_socket(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    before = await business_rows(server.database)
    frames: list[str | bytes] = [
        "",
        "{",
        "null",
        "[]",
        '"hello"',
        "[" * 60_000,
        '{"op":' * 10_000,
        '{"op": "event"}',
        '{"op": "accept"}',
        '{"op": "hello"}',
        '{"op": "hello", "device_id": "d", "seq": "1"}',
        '{"op": "hello", "device_id": "d", "seq": 1e999}',
        '{"op": "hello", "device_id": "", "seq": 1}',
        '{"op": "hello", "device_id": "d", "x": 1}',
        '{"op": "pong", "x": 1}',
        '{"op": "signal", "type": "typing"}',
        '{"op": "signal", "type": "typing", "session_id": "x"}',
        '{"op": "signal", "type": "shouting", "session_id": "' + str(chat.id) + '"}',
        '{"op": "\\ud800"}',
        '{"op": "hello", "device_id": "d\\u0000"}',
        b"\xff\xfe",
        b"\x00" * 100,
    ]
    async with customer.socket() as socket:
        for frame in frames:
            await socket.connection.send(frame)
        await mitra.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "halo"})
        await socket.wait_for("message.created", text="halo")
        refusals = [frame for frame in socket.events if frame["op"] == "error"]
    assert [frame["code"] for frame in refusals] == ["validation_failed"] * len(frames)
    after = await business_rows(server.database)
    assert {name for name in after if after[name] != before[name]} == {
        "public.messages",
        "public.stream_events",
    }


async def test_a_hello_with_an_impossible_seq_does_not_resume(server: RunningServer) -> None:
    customer = await server.customer()
    epoch = (await customer.get("/state")).json()["stream"]["epoch"]
    answers = []
    for seq in (-1, -(2**63), 2**31, 2**63 - 1, 2**63, 10**30):
        async with customer.socket() as socket:
            hello = {"op": "hello", "epoch": epoch, "seq": seq, "device_id": "d"}
            await socket.connection.send(json.dumps(hello))
            async with asyncio.timeout(10), socket._arrived:
                await socket._arrived.wait_for(partial(_heard, socket))
            answers.append((socket.events[0]["op"], socket.events[0].get("resumed")))
    # If a number does not fit into 64 bits, the server is also allowed to refuse the number as malformed.
    assert answers[:4] == [("welcome", False)] * 4
    assert {*answers[4:]} <= {("welcome", False), ("error", None)}


def _heard(socket: Socket) -> bool:
    return bool(socket.events)
