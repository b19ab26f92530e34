"""Describes a correct call of every operation of the contract, with the caller, the ids and the body.

The operations come from the contract. The entries are written by hand.
`test_the_table_of_calls_has_an_entry_for_every_operation` fails for an operation without an entry.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
import msgspec

from curhat.accounts.service import digest_of_token
from curhat.app.contracts import openapi
from curhat.content.help_lines import service as help_lines
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.reports import service as report_decisions
from curhat.control_center.reports.schemas import ReportVerdict
from curhat.kit.identity import AnyRole, Identity, Role
from curhat.notebook import service as notebook
from curhat.notifications.port import BrowserAddress
from curhat.notifications.service import subscribe
from curhat.pairing import service as pairing
from curhat.pairing.service import Target
from curhat.safety.blocks import service as blocks
from curhat.safety.reports import service as reports
from curhat.safety.reports.schemas import NewReport
from curhat.safety.reports.states import ReportDecision, ReportReason
from curhat.sessions import extension
from curhat.sessions import service as sessions
from tests.support.cases import make_failed_search
from tests.support.fresh_code import fresh_code
from tests.support.push import Browser
from tests.support.server import Person
from tests.support.signed_in import OPERATOR_PASSWORD, RunningServer
from tests.support.texts import note_all, publish_drafts

Body = dict[str, Any]


class Operation(msgspec.Struct, frozen=True):
    """One operation of the contract. `codes` maps the status of a refusal to the possible codes of the refusal."""

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
        """Return whether the Idempotency-Key is required."""
        return any(parameter["name"] == "Idempotency-Key" for parameter in self.parameters)

    @property
    def needs_fresh_code(self) -> bool:
        """Return whether the operation needs a fresh one-time code."""
        return any(parameter["name"] == "X-Fresh-Code" for parameter in self.parameters)

    @property
    def is_for_development(self) -> bool:
        """Return whether the operation exists only in development."""
        return self.path.startswith("/api/dev/")


CONTRACT = openapi()


def resolve(schema: Body) -> Body:
    """Return the schema, or the schema to which its `$ref` points."""
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
    """The parts of a correct call: the caller, the ids in the path, the query and the body."""

    caller: Person | None
    ids: dict[str, UUID | str] = {}
    query: dict[str, str] = {}
    body: Body | None = None
    headers: dict[str, str] = {}


class Entry(msgspec.Struct, frozen=True):
    """The role that is allowed to call an operation, and the status and the preparation of a correct call."""

    whose: AnyRole | Literal["anybody"]
    status: int
    prepare: Callable[[RunningServer], Awaitable[Call]]
    # Return whether a suspended mitra is allowed to call the operation.
    admits_suspended: bool = False


async def send(
    server: RunningServer,
    operation: Operation,
    call: Call,
    *,
    token: str | None = None,
    key: str | None = None,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Call an operation. `token` replaces the token of the call, and `content` replaces the body. `headers` are
    added.
    """
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
    # A browser can send a header in Latin-1, so a header can contain any character up to U+00FF.
    sent |= call.headers | (headers or {})
    written = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return await server.http.request(
        operation.method, path, params=call.query, content=content, headers=written
    )


# Correct calls -----------------------------------------------------------------------


def _new_phone() -> str:
    return f"+62812{uuid4().int % 10**8:08d}"


async def _code_request(_server: RunningServer) -> Call:
    return Call(None, body={"phone": _new_phone()})


def _verification(role: str) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        phone = _new_phone()
        if role == "mitra":
            person_id = await server.database.fetchval(
                "INSERT INTO people (phone_number) VALUES ($1) RETURNING id", phone
            )
            await server.make.mitra(person_id=person_id)
        prefix = "client" if role == "customer" else "mitra"
        asked = await server.http.post(f"/api/{prefix}/auth/otp/request", json={"phone": phone})
        inbox = await server.http.get("/api/dev/inbox", params={"phone": phone})
        body = {"request_id": asked.json()["request_id"], "code": inbox.json()["messages"][0]["code"]}
        return Call(None, body={**body, "call_name": "Bunga"} if role == "customer" else body)

    return prepare


async def _customer(server: RunningServer) -> Call:
    return Call(await server.customer())


async def _mitra(server: RunningServer) -> Call:
    return Call(await server.mitra())


async def _nobody(_server: RunningServer) -> Call:
    return Call(None)


async def _rename(server: RunningServer) -> Call:
    return Call(await server.customer(), body={"call_name": "Melati"})


async def _pricing(server: RunningServer) -> Call:
    return Call(await server.customer(), query={"purpose": "session"})


async def _order(server: RunningServer) -> Call:
    customer = await server.customer()
    # Another operation's call has perhaps published the texts on this server.
    await publish_drafts(server.database)
    await note_all(server.database, customer)
    return Call(customer, body={"offer_id": str(await server.make.offer())})


def _acceptance(role: Role) -> Callable[[RunningServer], Awaitable[Call]]:
    """The acceptance of the terms."""

    async def prepare(server: RunningServer) -> Call:
        await publish_drafts(server.database)
        person = await (server.customer() if role == "customer" else server.mitra())
        return Call(person, body={"kind": "terms", "version": 1, "birth_year": 1990})

    return prepare


def _text_of_the_team(**more: UUID | str) -> Callable[[RunningServer], Awaitable[Call]]:
    """An operator who reads a published text."""

    async def prepare(server: RunningServer) -> Call:
        await publish_drafts(server.database)
        return Call(await server.operator(), {"kind": "terms", **more})

    return prepare


async def _publication(server: RunningServer) -> Call:
    body = {"kind": "code_of_conduct", "bodies": {"id": "# Baru", "en": "# New"}, "is_draft": True}
    return Call(await server.operator(), body=body)


async def _payment(server: RunningServer) -> Call:
    customer = await server.customer()
    return Call(customer, {"payment_id": await server.pending_payment(customer.id)})


async def _pairing(server: RunningServer) -> Call:
    customer = await server.customer()
    return Call(customer, {"pairing_id": await server.search(customer.id, [await server.make.mitra()])})


async def _mitra_of_a_past_chat(server: RunningServer) -> Call:
    chat = await server.chat(await server.make.customer(), await server.make.mitra())
    return Call(await server.person("customer", chat.customer.user_id), {"mitra_id": chat.mitra.user_id})


def _after_session(role: Role, *, is_blocked: bool = False) -> Callable[[RunningServer], Awaitable[Call]]:
    """A call about a chat that has ended. With `is_blocked`, the caller has blocked the other side."""

    async def prepare(server: RunningServer) -> Call:
        chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
        who = chat.customer if role == "customer" else chat.mitra
        async with server.database.transaction() as tx:
            await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
            if is_blocked:
                await blocks.block(tx, who, chat.id)
        return Call(await server.person(who.role, who.user_id), {"session_id": chat.id})

    return prepare


async def _fallback(server: RunningServer) -> Call:
    """Make a targeted pairing with an offline mitra. Another mitra is available (RunningServer.available_mitra)."""
    customer, mitra_id = await server.customer(), await server.make.mitra()
    payment_id = await server.make.confirmed_payment(customer.id, target_mitra_id=mitra_id)
    async with server.database.transaction() as tx:
        target = Target(mitra_id, reachable=False, other_available=True)
        pairing_id = await pairing.open_targeted(tx, payment_id, 20, target)
    return Call(customer, {"pairing_id": pairing_id})


async def _extension_order(server: RunningServer, _session_id: UUID) -> Body:
    return {"offer_id": str(await server.make.offer(purpose="extension"))}


async def _extension(server: RunningServer) -> Call:
    chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
    offer_id = await server.make.offer(purpose="extension")
    async with server.database.transaction() as tx:
        asked = await extension.request(tx, chat.customer.user_id, chat.id, offer_id, connected=None)
    return Call(await server.person("mitra", chat.mitra.user_id), {"extension_id": asked.id})


async def _request(server: RunningServer) -> Call:
    mitra = await server.mitra()
    request_id = await server.request(await server.make.customer(), mitra.id)
    return Call(mitra, {"request_id": request_id})


async def _toggle(server: RunningServer) -> Call:
    mitra = await server.mitra()
    await publish_drafts(server.database)
    await note_all(server.database, mitra)
    return Call(mitra, body={"online": True})


async def _break(server: RunningServer) -> Call:
    return Call(await server.mitra(), body={"minutes": 15})


async def _canned_answers(server: RunningServer) -> Call:
    mitra = await server.mitra()
    async with server.database.transaction() as tx:
        version = (await notebook.canned_answers(tx, mitra.id)).version
    return Call(mitra, body={"texts": ["Halo, aku di sini untukmu."], "expected_version": version})


def _in_session(
    role: Role, body: Callable[[RunningServer, UUID], Awaitable[Body]] | None = None
) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
        who = chat.customer if role == "customer" else chat.mitra
        content = None if body is None else await body(server, chat.id)
        return Call(await server.person(who.role, who.user_id), {"session_id": chat.id}, body=content)

    return prepare


async def _ended_chat(server: RunningServer) -> Call:
    chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
    async with server.database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return Call(await server.person("customer", chat.customer.user_id), {"session_id": chat.id})


def _with_fresh_code(role: Role) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        person = await (server.customer() if role == "customer" else server.mitra())
        return Call(person, headers=await fresh_code(server, person))

    return prepare


async def _message(_server: RunningServer, _session_id: UUID) -> Body:
    return {"client_message_id": "1", "text": "halo"}


async def _without_review(_server: RunningServer, _session_id: UUID) -> Body:
    return {"review": False}


async def _leave(_server: RunningServer, _session_id: UUID) -> Body:
    return {"reason_code": "emergency", "report": {"reason": "other", "note": "Dia marah."}, "block": True}


async def _rating(server: RunningServer) -> Call:
    """A call about a chat that has ended, and in which both sides wrote."""
    call = await _in_session("customer")(server)
    assert call.caller is not None
    session_id = call.ids["session_id"]
    for sender in ("customer", "mitra"):
        await server.database.execute(
            "INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, $2, '1', 'halo')",
            session_id,
            sender,
        )
    async with server.database.transaction() as tx:
        await sessions.end_by_customer(tx, call.caller.id, UUID(str(session_id)))
    return msgspec.structs.replace(call, body={"answer": "helpful", "tags": ["kind"]})


async def _note(server: RunningServer, session_id: UUID) -> Body:
    mitra_id = await server.database.fetchval("SELECT mitra_id FROM sessions WHERE id = $1", session_id)
    async with server.database.transaction() as tx:
        version = (await notebook.note_about(tx, mitra_id, session_id)).version
    return {"text": "Suka dipanggil Mel.", "expected_version": version}


async def _mark(server: RunningServer, session_id: UUID) -> Body:
    message_id = await server.database.fetchval(
        "INSERT INTO messages (session_id, sender, client_message_id, text) "
        "SELECT $1, sender, 'mark', 'halo' FROM unnest('{customer,mitra}'::text[]) AS sender "
        "RETURNING id",
        session_id,
    )
    return {"up_to_message_id": str(message_id)}


async def _reason(_server: RunningServer, _session_id: UUID) -> Body:
    return {"reason": "listrik padam"}


def _browser() -> Browser:
    # The server accepts a host name that does not resolve. No test sends a push to this host.
    return Browser(f"https://push.invalid/{uuid4()}")


def _subscription(role: Role) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        return Call(await _push_user(server, role), body=_browser().to_json())

    return prepare


def _subscribed(role: Role) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        person, browser = await _push_user(server, role), _browser()
        # Do not subscribe over HTTP, because the server would cache the token. The server would still accept a cached
        # token after a suspension.
        async with server.database.transaction() as tx:
            await subscribe(
                tx,
                Identity(role=role, user_id=person.id),
                digest_of_token(person.token),
                BrowserAddress(browser.endpoint, browser.p256dh, browser.auth),
                "id",
            )
        return Call(person, body=browser.to_json())

    return prepare


async def _push_user(server: RunningServer, role: Role) -> Person:
    # The toggle is off. An online mitra with a push subscription would be offered every open blast.
    return await (server.customer() if role == "customer" else server.mitra(online=False))


async def _push_test(server: RunningServer) -> Call:
    return Call((await _subscribed("mitra")(server)).caller)


async def _gateway(_server: RunningServer) -> Call:
    return Call(None, body={"behaviour": "approve"})


async def _charges(_server: RunningServer) -> Call:
    return Call(None, query={"payment_id": str(uuid4())})


async def _inbox(_server: RunningServer) -> Call:
    return Call(None, query={"phone": "081234567890"})


# Operators. The caller is an admin, because an admin is allowed to do everything. The tests of tests/control_center
# call these operations with the other roles.


async def _login(server: RunningServer) -> Call:
    operator = await server.operator()
    email = await server.database.fetchval("SELECT email FROM operators WHERE id = $1", operator.id)
    return Call(None, body={"email": email, "password": OPERATOR_PASSWORD})


async def _operator(server: RunningServer) -> Call:
    return Call(await server.operator())


async def _new_app(server: RunningServer) -> Call:
    return Call(await server.operator(), body={"password": OPERATOR_PASSWORD})


async def _app_to_confirm(server: RunningServer) -> Call:
    operator, totp = await server.operator_with_app()
    await server.database.execute(
        "UPDATE operators SET totp_new_salt = totp_salt, totp_salt = NULL WHERE id = $1", operator.id
    )
    return Call(operator, body={"totp": totp.now()})


async def _app(server: RunningServer) -> Call:
    operator, totp = await server.operator_with_app()
    return Call(operator, body={"totp": totp.now()})


async def _new_password(server: RunningServer) -> Call:
    body = {"password": OPERATOR_PASSWORD, "new_password": "another password of an operator"}
    return Call(await server.operator(), body=body)


async def _device(server: RunningServer) -> Call:
    operator = await server.operator()
    await server.token("operator", operator.id)
    device_id = await server.database.fetchval(
        "SELECT id FROM operator_tokens WHERE operator_id = $1 ORDER BY id DESC LIMIT 1", operator.id
    )
    return Call(operator, {"device_id": device_id})


def _own_device(role: Role) -> Callable[[RunningServer], Awaitable[Call]]:
    """Another device of the caller."""

    async def prepare(server: RunningServer) -> Call:
        person = await (server.customer() if role == "customer" else server.mitra())
        await server.token(role, person.id)
        return Call(person, {"device_id": await _device_of(server, person.id)})

    return prepare


def _their_device(role: Role, *, one: bool) -> Callable[[RunningServer], Awaitable[Call]]:
    """Prepare an operator's call about a signed-in customer or mitra.

    If `one` is true, the call names a single device.
    """

    async def prepare(server: RunningServer) -> Call:
        person = await (server.customer() if role == "customer" else server.mitra())
        ids: dict[str, UUID | str] = {f"{role}_id": person.id}
        if one:
            ids["device_id"] = await _device_of(server, person.id)
        return Call(await server.operator(), ids)

    return prepare


async def _device_of(server: RunningServer, user_id: UUID) -> UUID:
    found: UUID = await server.database.fetchval(
        "SELECT id FROM access_tokens WHERE user_id = $1 ORDER BY id DESC LIMIT 1", user_id
    )
    return found


async def _row(server: RunningServer) -> Call:
    return Call(await server.operator(), {"key": "pairing_blast_timeout_seconds"})


async def _row_change(server: RunningServer) -> Call:
    call = await _row(server)
    seen = await server.database.fetchval(
        "SELECT updated_at FROM configuration WHERE key = $1", call.ids["key"]
    )
    value = await server.database.fetchval("SELECT value FROM configuration WHERE key = $1", call.ids["key"])
    # Send the current value of the row, so that several calls of this operation do not conflict.
    return Call(call.caller, call.ids, body={"value": int(value), "expected_updated_at": seen.isoformat()})


async def _case(server: RunningServer) -> Call:
    return Call(await server.operator(), {"case_id": (await make_failed_search(server)).case_id})


async def _decision(server: RunningServer) -> Call:
    call = await _case(server)
    return Call(call.caller, call.ids, body={"decision": "refund", "note": "maaf"})


async def _decisions(server: RunningServer) -> Call:
    call = await _case(server)
    return Call(
        call.caller, body={"case_ids": [str(call.ids["case_id"])], "decision": "refund", "note": "maaf"}
    )


async def _complaint(server: RunningServer) -> Call:
    chat = await server.chat(await server.make.customer(), await server.make.mitra())
    return Call(
        await server.operator(),
        {"payment_id": chat.payment_id},
        body={"reason": "complaint", "note": "bestie datang terlambat"},
    )


async def _search(server: RunningServer) -> Call:
    return Call(await server.operator(), query={"q": "melati"})


async def _approval(server: RunningServer) -> Call:
    call = await _case(server)
    decider = await server.operator("reviewer")
    await server.database.execute(
        "UPDATE review_cases SET status = 'decided', decision = 'refund', decision_note = 'maaf', decided_by = $2, "
        "decided_at = curhat_now(), refund_rp = amount_rp, needs_approval = true WHERE id = $1",
        call.ids["case_id"],
        decider.id,
    )
    return call


async def _failed_refund(server: RunningServer) -> Call:
    call = await _case(server)
    assert call.caller is not None
    await server.database.execute(
        "UPDATE review_cases SET status = 'decided', decision = 'refund', decision_note = 'maaf', decided_by = $2, "
        "decided_at = curhat_now(), refund_rp = amount_rp WHERE id = $1",
        call.ids["case_id"],
        call.caller.id,
    )
    await server.database.execute(
        "INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, status, answered_at) "
        "SELECT charge_attempts.payment_id, charge_attempts.id, charge_attempts.amount_rp, 'operator_decision', "
        "'failed', curhat_now() FROM charge_attempts JOIN review_cases USING (payment_id) WHERE review_cases.id = $1",
        call.ids["case_id"],
    )
    return call


async def _payment_record(server: RunningServer) -> Call:
    payment_id = await server.pending_payment(await server.make.customer())
    return Call(await server.operator(), {"payment_id": payment_id})


async def _session_record(server: RunningServer) -> Call:
    chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
    return Call(await server.operator(), {"session_id": chat.id})


async def _transcript(server: RunningServer) -> Call:
    call = await _session_record(server)
    ground = {"kind": "legal_order"}
    return Call(call.caller, call.ids, body={"reason": "surat perintah 12/2026", "ground": ground})


async def _transcript_request(server: RunningServer) -> Call:
    call = await _session_record(server)
    asking = await server.operator("reviewer")
    request_id = await server.database.fetchval(
        "INSERT INTO transcript_requests (session_id, requested_by, reason) VALUES ($1, $2, 'keluhan') RETURNING id",
        call.ids["session_id"],
        asking.id,
    )
    return Call(call.caller, {"transcript_id": request_id})


async def _report_of(server: RunningServer, reporter: Role, reason: ReportReason = "insult") -> UUID:
    chat = await server.chat(await server.make.customer(), await server.make.mitra(max_customers=3))
    who = chat.customer if reporter == "customer" else chat.mitra
    async with server.database.transaction() as tx:
        return (await reports.report(tx, who, chat.id, NewReport(reason))).id


async def _report_record(server: RunningServer) -> Call:
    return Call(await server.operator(), {"report_id": await _report_of(server, "mitra", "danger")})


async def _report_decision(server: RunningServer) -> Call:
    call = await _report_record(server)
    return Call(call.caller, call.ids, body={"decision": "warn", "note": "kasar"})


async def _phone_order(server: RunningServer) -> Call:
    call = await _report_record(server)
    return Call(call.caller, call.ids, body={"reason": "ia menyebut rencana"})


async def _decided_report(server: RunningServer, reporter: Role, decision: ReportDecision) -> UUID:
    """Make a report that another operator has decided. Returns the report's id."""
    report_id = await _report_of(server, reporter)
    decider = await server.operator("reviewer")
    async with server.database.transaction() as tx:
        signed_in = SignedInOperator(
            decider.id,
            "decider@example.id",
            "reviewer",
            uuid4(),
            "bearer",
            totp_enrolled=True,
            must_change_password=False,
            known_device_digest=None,
        )
        await report_decisions.decide(tx, signed_in, report_id, ReportVerdict(decision, "kasar"), "kasar")
    return report_id


async def _suspension_to_approve(server: RunningServer) -> Call:
    report_id = await _decided_report(server, "mitra", "suspend")
    return Call(await server.operator(), {"report_id": report_id}, body={"approved": True})


def _notice(role: Role, body: Body | None = None) -> Callable[[RunningServer], Awaitable[Call]]:
    async def prepare(server: RunningServer) -> Call:
        await _decided_report(server, "mitra" if role == "customer" else "customer", "warn")
        notice = await server.database.fetchrow(
            "SELECT id, user_id FROM notices WHERE role = $1 AND kind = 'warning' ORDER BY id DESC LIMIT 1",
            role,
        )
        assert notice is not None
        return Call(await server.person(role, notice["user_id"]), {"notice_id": notice["id"]}, body=body)

    return prepare


async def _appeal(server: RunningServer) -> Call:
    call = await _notice("customer")(server)
    assert call.caller is not None
    notice_id = UUID(str(call.ids["notice_id"]))
    async with server.database.transaction() as tx:
        await reports.appeal(tx, Identity("customer", call.caller.id), notice_id, "itu bercanda")
    report_id = await server.database.fetchval("SELECT report_id FROM notices WHERE id = $1", notice_id)
    body = {"decision": "overturned", "note": "benar bercanda"}
    return Call(await server.operator(), {"report_id": report_id}, body=body)


async def _suspension(server: RunningServer) -> Call:
    until = datetime.now(UTC) + timedelta(days=7)
    return Call(
        await server.operator(),
        {"customer_id": await server.make.customer()},
        body={"reason": "menghina", "until": until.isoformat()},
    )


async def _new_report(_server: RunningServer, _session_id: UUID) -> Body:
    return {"reason": "insult", "note": "kasar"}


async def _concern(_server: RunningServer, _session_id: UUID) -> Body:
    return {"level": "danger_now", "note": "ia menyebut rencana"}


async def _customer_record(server: RunningServer) -> Call:
    return Call(await server.operator(), {"customer_id": await server.make.customer()})


async def _mitra_record(server: RunningServer) -> Call:
    return Call(await server.operator(), {"mitra_id": await server.make.mitra()})


async def _mitra_change(server: RunningServer) -> Call:
    call = await _mitra_record(server)
    return Call(
        call.caller, call.ids, body={"display_name": "Kak Baru", "max_customers": 2, "suspended": False}
    )


async def _invitation(server: RunningServer) -> Call:
    body = {"phone": _new_phone(), "display_name": "Kak Tari", "max_customers": 2}
    return Call(await server.operator(), body=body)


async def _operator_invitation(server: RunningServer) -> Call:
    return Call(await server.operator(), body={"email": f"{uuid4().hex}@example.id", "role": "viewer"})


def _other_operator(body: Body | None = None) -> Callable[[RunningServer], Awaitable[Call]]:
    """Prepare an admin's call about another operator."""

    async def prepare(server: RunningServer) -> Call:
        other = await server.operator("viewer")
        return Call(await server.operator(), {"operator_id": other.id}, body=body)

    return prepare


async def _operator_link(server: RunningServer) -> Call:
    """Make a one-time link, and return its use."""
    call = await _operator_invitation(server)
    made = await send(server, OPERATIONS["invite_operator"], call)
    return Call(None, body={"secret": made.json()["secret"], "password": "three words unrelated"})


async def _what_if_question(server: RunningServer) -> Call:
    # The service lets five what-ifs wait, and the tests of bad input ask more.
    await server.database.execute("DELETE FROM what_ifs")
    return Call(await server.operator(), body={"blast_timeout_seconds": 30})


async def _what_if(server: RunningServer) -> Call:
    operator = await server.operator()
    what_if_id = await server.database.fetchval(
        """
        INSERT INTO what_ifs (asked_by, question, status, finished_at, problem)
        SELECT id, '{"blast_timeout_seconds": 30}', 'failed', curhat_now(), 'the worker stopped' FROM operators LIMIT 1
        RETURNING id
        """
    )
    return Call(operator, {"what_if_id": what_if_id})


async def _waiting_what_if(server: RunningServer) -> Call:
    call = await _what_if(server)
    await server.database.execute(
        "UPDATE what_ifs SET status = 'waiting', finished_at = NULL, problem = NULL"
    )
    return call


async def _help_lines(server: RunningServer) -> Call:
    async with server.database.transaction() as tx:
        await help_lines.publish_shipped(tx)
    return Call(None)


async def _help_line_proposal(server: RunningServer) -> Call:
    items = msgspec.to_builtins(help_lines.shipped_items())
    return Call(await server.operator(), body={"items": items})


async def _proposed_help_lines(server: RunningServer) -> Call:
    other = await server.operator()
    async with server.database.transaction() as tx:
        version = await help_lines.propose(tx, other.id, help_lines.shipped_items())
    return Call(await server.operator(), ids={"version": str(version)})


ENTRIES: dict[str, Entry] = {
    "sign_in_operator": Entry("anybody", 200, _login),
    "get_gateway_notice": Entry("anybody", 200, _nobody),
    "sign_out_operator": Entry("operator", 204, _operator),
    "get_operator_account": Entry("operator", 200, _operator),
    "begin_totp": Entry("operator", 200, _new_app),
    "confirm_totp": Entry("operator", 200, _app_to_confirm),
    "renew_recovery_codes": Entry("operator", 200, _app),
    "change_operator_password": Entry("operator", 204, _new_password),
    "list_operator_devices": Entry("operator", 200, _operator),
    "revoke_operator_device": Entry("operator", 204, _device),
    "get_dashboard": Entry("operator", 200, _operator),
    "get_dashboard_charts": Entry("operator", 200, _operator),
    "list_configuration": Entry("operator", 200, _operator),
    "change_configuration": Entry("operator", 200, _row_change),
    "list_configuration_history": Entry("operator", 200, _row),
    "list_failed_pairings": Entry("operator", 200, _operator),
    "list_review_cases": Entry("operator", 200, _operator),
    "select_review_cases": Entry("operator", 200, _operator),
    "get_review_case": Entry("operator", 200, _case),
    "decide_review_case": Entry("operator", 200, _decision),
    "open_review_case": Entry("operator", 201, _complaint),
    "search_everything": Entry("operator", 200, _search),
    "decide_review_cases": Entry("operator", 200, _decisions),
    "approve_refund": Entry("operator", 200, _approval),
    "retry_refund": Entry("operator", 200, _failed_refund),
    "search_payments": Entry("operator", 200, _operator),
    "get_payment_record": Entry("operator", 200, _payment_record),
    "search_sessions": Entry("operator", 200, _operator),
    "get_session_record": Entry("operator", 200, _session_record),
    "reveal_transcript": Entry("operator", 200, _transcript),
    "list_transcript_requests": Entry("operator", 200, _operator),
    "approve_transcript": Entry("operator", 200, _transcript_request),
    "list_reports": Entry("operator", 200, _operator),
    "get_report": Entry("operator", 200, _report_record),
    "decide_report": Entry("operator", 200, _report_decision),
    "approve_suspension": Entry("operator", 200, _suspension_to_approve),
    "decide_appeal": Entry("operator", 200, _appeal),
    "reveal_phone": Entry("operator", 200, _phone_order),
    "change_customer_suspension": Entry("operator", 200, _suspension),
    "search_customers": Entry("operator", 200, _operator),
    "get_customer_record": Entry("operator", 200, _customer_record),
    "search_mitras": Entry("operator", 200, _operator),
    "get_mitra_record": Entry("operator", 200, _mitra_record),
    "invite_mitra": Entry("operator", 201, _invitation),
    "change_mitra": Entry("operator", 200, _mitra_change),
    "list_devices_of_customer": Entry("operator", 200, _their_device("customer", one=False)),
    "revoke_device_of_customer": Entry("operator", 204, _their_device("customer", one=True)),
    "revoke_devices_of_customer": Entry("operator", 204, _their_device("customer", one=False)),
    "list_devices_of_mitra": Entry("operator", 200, _their_device("mitra", one=False)),
    "revoke_device_of_mitra": Entry("operator", 204, _their_device("mitra", one=True)),
    "revoke_devices_of_mitra": Entry("operator", 204, _their_device("mitra", one=False)),
    "list_audit": Entry("operator", 200, _operator),
    "total_payments": Entry("operator", 200, _operator),
    "total_sessions": Entry("operator", 200, _operator),
    "list_mitra_answers": Entry("operator", 200, _operator),
    "list_mitra_requests": Entry("operator", 200, _mitra_record),
    "ask_what_if": Entry("operator", 202, _what_if_question),
    "list_what_ifs": Entry("operator", 200, _operator),
    "get_what_if": Entry("operator", 200, _what_if),
    "cancel_what_if": Entry("operator", 204, _waiting_what_if),
    "list_texts": Entry("operator", 200, _operator),
    "list_text_versions": Entry("operator", 200, _text_of_the_team()),
    "get_text_version": Entry("operator", 200, _text_of_the_team(version="1")),
    "publish_text": Entry("operator", 201, _publication),
    "list_customer_texts": Entry("customer", 200, _customer),
    "list_mitra_texts": Entry("mitra", 200, _mitra),
    "list_public_texts": Entry("anybody", 200, _nobody),
    "accept_text_as_customer": Entry("customer", 204, _acceptance("customer")),
    "accept_text_as_mitra": Entry("mitra", 204, _acceptance("mitra")),
    "get_help_lines": Entry("anybody", 200, _help_lines),
    "list_help_line_versions": Entry("operator", 200, _operator),
    # A proposal before this call would be the newest one, and only the newest can be published.
    "publish_help_lines": Entry("operator", 200, _proposed_help_lines),
    "propose_help_lines": Entry("operator", 201, _help_line_proposal),
    "list_operators": Entry("operator", 200, _operator),
    "invite_operator": Entry("operator", 201, _operator_invitation),
    "reset_operator": Entry("operator", 201, _other_operator()),
    "change_operator": Entry("operator", 200, _other_operator({"role": "reviewer"})),
    "sign_out_other_operator": Entry("operator", 204, _other_operator()),
    "use_operator_link": Entry("anybody", 200, _operator_link),
    "request_customer_code": Entry("anybody", 202, _code_request),
    "verify_customer_code": Entry("anybody", 200, _verification("customer")),
    "request_mitra_code": Entry("anybody", 202, _code_request),
    "verify_mitra_code": Entry("anybody", 200, _verification("mitra")),
    "get_mitra_availability": Entry("anybody", 200, _nobody),
    "get_service_facts": Entry("anybody", 200, _nobody),
    "sign_out_customer": Entry("customer", 204, _customer),
    "sign_out_mitra": Entry("mitra", 204, _mitra, admits_suspended=True),
    "list_customer_devices": Entry("customer", 200, _customer),
    "revoke_customer_device": Entry("customer", 204, _own_device("customer")),
    "revoke_other_customer_devices": Entry("customer", 204, _customer),
    "list_mitra_devices": Entry("mitra", 200, _mitra),
    "revoke_mitra_device": Entry("mitra", 204, _own_device("mitra")),
    "revoke_other_mitra_devices": Entry("mitra", 204, _mitra),
    "get_customer_profile": Entry("customer", 200, _customer),
    "change_customer_profile": Entry("customer", 200, _rename),
    "list_offers": Entry("customer", 200, _pricing),
    "open_payment": Entry("customer", 201, _order),
    "list_payments": Entry("customer", 200, _customer),
    "get_payment": Entry("customer", 200, _payment),
    "mark_payment_seen": Entry("customer", 204, _payment),
    "confirm_payment": Entry("customer", 200, _payment),
    "cancel_payment": Entry("customer", 200, _payment),
    "get_pairing": Entry("customer", 200, _pairing),
    "cancel_pairing": Entry("customer", 200, _pairing),
    "take_fallback": Entry("customer", 201, _fallback),
    "decline_fallback": Entry("customer", 204, _fallback),
    "block_mitra": Entry("customer", 204, _after_session("customer")),
    "block_customer": Entry("mitra", 204, _after_session("mitra")),
    "unblock_mitra": Entry("customer", 204, _after_session("customer", is_blocked=True)),
    "unblock_customer": Entry("mitra", 204, _after_session("mitra", is_blocked=True)),
    "list_blocked_mitras": Entry("customer", 200, _customer),
    "list_blocked_customers": Entry("mitra", 200, _mitra),
    "get_mitra_status": Entry("customer", 200, _mitra_of_a_past_chat),
    "request_extension": Entry("customer", 201, _in_session("customer", _extension_order)),
    "accept_extension": Entry("mitra", 200, _extension),
    "reject_extension": Entry("mitra", 200, _extension),
    "get_customer_state": Entry("customer", 200, _customer),
    "list_customer_sessions": Entry("customer", 200, _customer),
    "get_customer_session": Entry("customer", 200, _in_session("customer")),
    "delete_chat_text": Entry("customer", 204, _ended_chat),
    "export_customer_data": Entry("customer", 200, _with_fresh_code("customer")),
    "export_mitra_data": Entry("mitra", 200, _with_fresh_code("mitra"), admits_suspended=True),
    "delete_customer": Entry("customer", 204, _with_fresh_code("customer")),
    "delete_mitra": Entry("mitra", 204, _with_fresh_code("mitra"), admits_suspended=True),
    "list_customer_messages": Entry("customer", 200, _in_session("customer")),
    "send_customer_message": Entry("customer", 201, _in_session("customer", _message)),
    "mark_read_by_customer": Entry("customer", 204, _in_session("customer", _mark)),
    "leave_session_by_customer": Entry("customer", 200, _in_session("customer", _leave)),
    "rate_session": Entry("customer", 201, _rating),
    "get_session_rating": Entry("customer", 200, _in_session("customer")),
    "end_session_by_customer": Entry("customer", 200, _in_session("customer", _without_review)),
    "issue_customer_realtime_ticket": Entry("customer", 201, _customer),
    "get_mitra_profile": Entry("mitra", 200, _mitra),
    "set_presence": Entry("mitra", 200, _toggle),
    "take_break": Entry("mitra", 200, _break),
    "get_work_summary": Entry("mitra", 200, _mitra),
    "list_past_requests": Entry("mitra", 200, _mitra),
    "list_canned_answers": Entry("mitra", 200, _mitra),
    "change_canned_answers": Entry("mitra", 200, _canned_answers),
    "get_customer_note": Entry("mitra", 200, _in_session("mitra")),
    "change_customer_note": Entry("mitra", 200, _in_session("mitra", _note)),
    "list_requests": Entry("mitra", 200, _mitra),
    "accept_request": Entry("mitra", 200, _request),
    "reject_request": Entry("mitra", 204, _request),
    "get_mitra_state": Entry("mitra", 200, _mitra),
    "list_mitra_sessions": Entry("mitra", 200, _mitra),
    "get_mitra_session": Entry("mitra", 200, _in_session("mitra")),
    "list_mitra_messages": Entry("mitra", 200, _in_session("mitra")),
    "send_mitra_message": Entry("mitra", 201, _in_session("mitra", _message)),
    "mark_read_by_mitra": Entry("mitra", 204, _in_session("mitra", _mark)),
    "leave_session_by_mitra": Entry("mitra", 200, _in_session("mitra", _leave)),
    "list_rating_sums": Entry("mitra", 200, _mitra),
    "end_session_by_mitra": Entry("mitra", 200, _in_session("mitra", _reason)),
    "report_mitra": Entry("customer", 201, _in_session("customer", _new_report)),
    "report_customer": Entry("mitra", 201, _in_session("mitra", _new_report)),
    "raise_concern": Entry("mitra", 201, _in_session("mitra", _concern)),
    "list_reports_of_customer": Entry("customer", 200, _customer),
    "list_reports_of_mitra": Entry("mitra", 200, _mitra, admits_suspended=True),
    "list_notices_of_customer": Entry("customer", 200, _customer),
    "list_notices_of_mitra": Entry("mitra", 200, _mitra, admits_suspended=True),
    "acknowledge_notice_of_customer": Entry("customer", 200, _notice("customer")),
    "acknowledge_notice_of_mitra": Entry("mitra", 200, _notice("mitra"), admits_suspended=True),
    "appeal_of_customer": Entry("customer", 201, _notice("customer", {"text": "itu bercanda"})),
    "appeal_of_mitra": Entry("mitra", 201, _notice("mitra", {"text": "itu bercanda"}), admits_suspended=True),
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

# A correct call of these operations needs an available mitra. The presence of the available mitra changes rows without
# a call.
NEEDS_AVAILABLE_MITRA = frozenset({"open_payment", "confirm_payment", "take_fallback"})

ENTERED = [(OPERATIONS[name], entry) for name, entry in ENTRIES.items() if name in OPERATIONS]
FOR_SIGNED_IN = [(operation, entry) for operation, entry in ENTERED if entry.whose != "anybody"]
WITH_IDS = [(operation, entry) for operation, entry in FOR_SIGNED_IN if "{" in operation.path]
