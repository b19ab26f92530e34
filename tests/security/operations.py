"""Every operation of the contract, and how to call it rightly: whose it is, on what, with which body.

The list comes from the contract itself; what is written by hand is checked against it, so that a new operation
without an entry fails `test_every_operation_has_its_entry`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
import msgspec

from curhat.accounts.service import digest_of_token
from curhat.app.contracts import openapi
from curhat.kit.identity import Identity, Role
from curhat.notifications.port import Address
from curhat.notifications.service import subscribe
from tests.support.push import Browser
from tests.support.server import Person
from tests.support.signed_in import Stage

Body = dict[str, Any]


class Operation(msgspec.Struct, frozen=True):
    """One operation as the contract has it. `codes`: what it may refuse with, by status."""

    id: str
    method: str
    path: str
    parameters: list[Body]
    body_schema: Body | None
    codes: dict[int, frozenset[str]]
    statuses: frozenset[int]
    security: list[dict[str, list[str]]]

    @property
    def needs_key(self) -> bool:
        """Whether the Idempotency-Key is required."""
        return any(parameter["name"] == "Idempotency-Key" for parameter in self.parameters)

    @property
    def is_for_development(self) -> bool:
        """Whether it exists in development only."""
        return self.path.startswith("/api/dev/")


CONTRACT = openapi()


def resolve(schema: Body) -> Body:
    """A schema, or what it refers to."""
    name = schema.get("$ref")
    if name is None:
        return schema
    found: Body = CONTRACT["components"]["schemas"][name.rpartition("/")[2]]
    return found


def _codes(response: Body) -> frozenset[str]:
    schema = response.get("content", {}).get("application/problem+json", {}).get("schema", {})
    return frozenset(
        code
        for part in schema.get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    )


def _operation(path: str, method: str, described: Body) -> Operation:
    body = described.get("requestBody")
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        parameters=described.get("parameters", []),
        body_schema=None if body is None else resolve(body["content"]["application/json"]["schema"]),
        codes={int(status): _codes(response) for status, response in described["responses"].items()},
        statuses=frozenset(int(status) for status in described["responses"]),
        security=described.get("security", []),
    )


OPERATIONS: dict[str, Operation] = {
    operation.id: operation
    for path, methods in CONTRACT["paths"].items()
    for method, described in methods.items()
    for operation in [_operation(path, method, described)]
}


class Call(msgspec.Struct, frozen=True):
    """What a rightful call needs: who, with which ids in the path, which query and which body."""

    caller: Person | None
    ids: dict[str, UUID] = {}
    query: dict[str, str] = {}
    body: Body | None = None


class Entry(msgspec.Struct, frozen=True):
    """Whose operation it is, the status of a rightful call, and how to prepare one."""

    whose: Role | Literal["anybody"]
    status: int
    prepare: Callable[[Stage], Awaitable[Call]]
    # A suspended mitra may only sign out.
    admits_suspended: bool = False


async def send(
    stage: Stage,
    operation: Operation,
    call: Call,
    *,
    token: str | None = None,
    key: str | None = None,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Call an operation: as `token` says instead of the call's own caller, with another body or other headers."""
    sent = {"Content-Type": "application/json"} if call.body is not None or content is not None else {}
    if token is None and call.caller is not None:
        token = call.caller.token
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if operation.needs_key:
        sent["Idempotency-Key"] = key or str(uuid4())
    if content is None and call.body is not None:
        content = msgspec.json.encode(call.body)
    path = operation.path.format(**call.ids)
    # As a browser would: a header may hold any character up to U+00FF.
    written = [(name.encode(), value.encode("latin-1")) for name, value in (sent | (headers or {})).items()]
    return await stage.http.request(
        operation.method, path, params=call.query, content=content, headers=written
    )


# How to call each -----------------------------------------------------------------------------------------


def _new_phone() -> str:
    return f"+62812{uuid4().int % 10**8:08d}"


async def _code_request(_stage: Stage) -> Call:
    return Call(None, body={"phone": _new_phone()})


def _verification(role: str) -> Callable[[Stage], Awaitable[Call]]:
    async def prepare(stage: Stage) -> Call:
        phone = _new_phone()
        if role == "mitra":
            person_id = await stage.database.fetchval(
                "INSERT INTO people (phone_number) VALUES ($1) RETURNING id", phone
            )
            await stage.make.mitra(person_id=person_id)
        prefix = "client" if role == "customer" else "mitra"
        asked = await stage.http.post(f"/api/{prefix}/auth/otp/request", json={"phone": phone})
        inbox = await stage.http.get("/api/dev/inbox", params={"phone": phone})
        body = {"request_id": asked.json()["request_id"], "code": inbox.json()["messages"][0]["code"]}
        return Call(None, body={**body, "call_name": "Bunga"} if role == "customer" else body)

    return prepare


async def _customer(stage: Stage) -> Call:
    return Call(await stage.customer())


async def _mitra(stage: Stage) -> Call:
    return Call(await stage.mitra())


async def _nobody(_stage: Stage) -> Call:
    return Call(None)


async def _rename(stage: Stage) -> Call:
    return Call(await stage.customer(), body={"call_name": "Melati"})


async def _pricing(stage: Stage) -> Call:
    return Call(await stage.customer(), query={"purpose": "session"})


async def _order(stage: Stage) -> Call:
    return Call(await stage.customer(), body={"offer_id": str(await stage.make.offer())})


async def _payment(stage: Stage) -> Call:
    customer = await stage.customer()
    return Call(customer, {"payment_id": await stage.pending_payment(customer.id)})


async def _pairing(stage: Stage) -> Call:
    customer = await stage.customer()
    return Call(customer, {"pairing_id": await stage.search(customer.id, [await stage.make.mitra()])})


async def _request(stage: Stage) -> Call:
    mitra = await stage.mitra()
    request_id = await stage.request(await stage.make.customer(), mitra.id)
    return Call(mitra, {"request_id": request_id})


async def _toggle(stage: Stage) -> Call:
    return Call(await stage.mitra(), body={"online": True})


def _in_session(
    role: Role, body: Callable[[Stage, UUID], Awaitable[Body]] | None = None
) -> Callable[[Stage], Awaitable[Call]]:
    async def prepare(stage: Stage) -> Call:
        chat = await stage.chat(await stage.make.customer(), await stage.make.mitra(max_customers=3))
        who = chat.customer if role == "customer" else chat.mitra
        content = None if body is None else await body(stage, chat.id)
        return Call(await stage.person(who.role, who.user_id), {"session_id": chat.id}, body=content)

    return prepare


async def _message(_stage: Stage, _session_id: UUID) -> Body:
    return {"client_message_id": "1", "text": "halo"}


async def _mark(stage: Stage, session_id: UUID) -> Body:
    message_id = await stage.database.fetchval(
        "INSERT INTO messages (session_id, sender, client_message_id, text) "
        "SELECT $1, sender, 'mark', 'halo' FROM unnest('{customer,mitra}'::text[]) AS sender "
        "RETURNING id",
        session_id,
    )
    return {"up_to_message_id": str(message_id)}


async def _reason(_stage: Stage, _session_id: UUID) -> Body:
    return {"reason": "listrik padam"}


def _browser() -> Browser:
    # A name that resolves to nothing is no offence, and nothing is sent to it here.
    return Browser(f"https://push.invalid/{uuid4()}")


def _subscription(role: Role) -> Callable[[Stage], Awaitable[Call]]:
    async def prepare(stage: Stage) -> Call:
        return Call(await _push_user(stage, role), body=_browser().to_json())

    return prepare


def _subscribed(role: Role) -> Callable[[Stage], Awaitable[Call]]:
    async def prepare(stage: Stage) -> Call:
        person, browser = await _push_user(stage, role), _browser()
        # Not over HTTP: the server would remember the token of whoever is suspended next.
        async with stage.database.transaction() as tx:
            await subscribe(
                tx,
                Identity(role=role, user_id=person.id),
                digest_of_token(person.token),
                Address(browser.endpoint, browser.p256dh, browser.auth),
                "id",
            )
        return Call(person, body=browser.to_json())

    return prepare


async def _push_user(stage: Stage, role: Role) -> Person:
    # Offline by intent: whom push reaches is offered every blast that another test's step has begun.
    return await (stage.customer() if role == "customer" else stage.mitra(online=False))


async def _push_test(stage: Stage) -> Call:
    return Call((await _subscribed("mitra")(stage)).caller)


async def _gateway(_stage: Stage) -> Call:
    return Call(None, body={"behaviour": "approve"})


async def _charges(_stage: Stage) -> Call:
    return Call(None, query={"payment_id": str(uuid4())})


async def _inbox(_stage: Stage) -> Call:
    return Call(None, query={"phone": "081234567890"})


ENTRIES: dict[str, Entry] = {
    "request_customer_code": Entry("anybody", 202, _code_request),
    "verify_customer_code": Entry("anybody", 200, _verification("customer")),
    "request_mitra_code": Entry("anybody", 202, _code_request),
    "verify_mitra_code": Entry("anybody", 200, _verification("mitra")),
    "get_mitra_availability": Entry("anybody", 200, _nobody),
    "sign_out_customer": Entry("customer", 204, _customer),
    "sign_out_mitra": Entry("mitra", 204, _mitra, admits_suspended=True),
    "get_customer_profile": Entry("customer", 200, _customer),
    "change_customer_profile": Entry("customer", 200, _rename),
    "list_offers": Entry("customer", 200, _pricing),
    "open_payment": Entry("customer", 201, _order),
    "get_payment": Entry("customer", 200, _payment),
    "confirm_payment": Entry("customer", 200, _payment),
    "cancel_payment": Entry("customer", 200, _payment),
    "get_pairing": Entry("customer", 200, _pairing),
    "cancel_pairing": Entry("customer", 200, _pairing),
    "get_customer_state": Entry("customer", 200, _customer),
    "list_customer_sessions": Entry("customer", 200, _customer),
    "get_customer_session": Entry("customer", 200, _in_session("customer")),
    "list_customer_messages": Entry("customer", 200, _in_session("customer")),
    "send_customer_message": Entry("customer", 201, _in_session("customer", _message)),
    "mark_read_by_customer": Entry("customer", 204, _in_session("customer", _mark)),
    "end_session_by_customer": Entry("customer", 200, _in_session("customer")),
    "issue_customer_realtime_ticket": Entry("customer", 201, _customer),
    "get_mitra_profile": Entry("mitra", 200, _mitra),
    "set_presence": Entry("mitra", 200, _toggle),
    "list_requests": Entry("mitra", 200, _mitra),
    "accept_request": Entry("mitra", 200, _request),
    "reject_request": Entry("mitra", 204, _request),
    "get_mitra_state": Entry("mitra", 200, _mitra),
    "list_mitra_sessions": Entry("mitra", 200, _mitra),
    "get_mitra_session": Entry("mitra", 200, _in_session("mitra")),
    "list_mitra_messages": Entry("mitra", 200, _in_session("mitra")),
    "send_mitra_message": Entry("mitra", 201, _in_session("mitra", _message)),
    "mark_read_by_mitra": Entry("mitra", 204, _in_session("mitra", _mark)),
    "end_session_by_mitra": Entry("mitra", 200, _in_session("mitra", _reason)),
    "issue_mitra_realtime_ticket": Entry("mitra", 201, _mitra),
    "get_customer_push_key": Entry("customer", 200, _customer),
    "get_mitra_push_key": Entry("mitra", 200, _mitra),
    "subscribe_customer_to_push": Entry("customer", 204, _subscription("customer")),
    "subscribe_mitra_to_push": Entry("mitra", 204, _subscription("mitra")),
    "unsubscribe_customer_from_push": Entry("customer", 204, _subscribed("customer")),
    "unsubscribe_mitra_from_push": Entry("mitra", 204, _subscribed("mitra")),
    "test_push": Entry("mitra", 202, _push_test),
    "read_development_inbox": Entry("anybody", 200, _inbox),
    "set_gateway_behaviour": Entry("anybody", 200, _gateway),
    "list_gateway_charges": Entry("anybody", 200, _charges),
}

ENTERED = [(OPERATIONS[name], entry) for name, entry in ENTRIES.items() if name in OPERATIONS]
OF_SIGNED_IN = [(operation, entry) for operation, entry in ENTERED if entry.whose != "anybody"]
ON_THINGS = [(operation, entry) for operation, entry in OF_SIGNED_IN if "{" in operation.path]
