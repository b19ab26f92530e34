"""Test that operators find payments, sessions, customers and mitras, change mitras, and read chats with a reason."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from curhat.control_center.lists.answers import planned_for_filters
from curhat.kit.database import Database
from tests.support.cases import make_chat_cut_short, make_failed_search, run_worker
from tests.support.clock import VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

NOT_FOUND = (404, "not_found")
INVALID = (422, "validation_failed")


async def _found(operator: Person, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await operator.get(path, **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _phone_of(server: RunningServer, person_id: UUID) -> str:
    phone: str = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", person_id)
    return phone


# Payments, sessions, customers -------------------------------------------------------------------------------


async def test_a_payment_is_found_by_id_or_phone_or_name_or_status_or_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    viewer = await server.operator("viewer")
    await clock.set()
    failed = await make_failed_search(server, call_name="Melati")
    _, session_id = await make_chat_cut_short(server)
    later = await clock.advance(3600)
    pending = await server.pending_payment(await server.make.customer("mel_ati"))
    phone = await _phone_of(server, failed.customer_id)
    one = [str(failed.payment_id)]

    async def ids(**query: Any) -> list[str]:
        return [each["id"] for each in await _found(viewer, "/payments", **query)]

    assert len(await ids()) == 3
    for q in (
        failed.payment_id,
        failed.customer_id,
        failed.case_id,
        phone,
        phone.replace("+62", "0"),
        f"{phone[1:6]} {phone[6:]}",
        "melat",
        "MELATI",
    ):
        assert await ids(q=str(q)) == one, q
    assert len(await ids(q=str(session_id))) == 1
    # An underscore in a search text is not a wildcard. An unknown phone number or id finds nothing.
    assert await ids(q="mel_") == [str(pending)]
    for nothing in ("%", "elati", "+628199999999", str(uuid4())):
        assert await ids(q=nothing) == [], nothing
    assert len(await ids(q="  ")) == 3
    assert await ids(status="unserved") == one
    assert await ids(status="pending") == [str(pending)]
    assert await ids(purpose="extension") == []
    assert await ids(customer_id=str(failed.customer_id)) == one
    assert await ids(**{"from": later.isoformat()}) == [str(pending)]
    assert len(await ids(to=later.isoformat())) == 2


@pytest.mark.parametrize(
    "query",
    [{"q": "a\x00b"}, {"q": "A" * 201}, {"status": "lost"}, {"customer_id": "x"}, {"cursor": "AAAA"}],
)
async def test_an_invalid_search_is_refused(server: RunningServer, query: dict[str, str]) -> None:
    viewer = await server.operator("viewer")
    assert problem(await viewer.get("/payments", **query)) == INVALID


async def test_the_timeline_of_a_payment_contains_every_step_from_the_opening_to_the_end_of_the_session(
    server: RunningServer,
) -> None:
    viewer = await server.operator("viewer")
    customer = await server.customer("Melati")
    async with server.available_mitra() as mitra:
        offer = {"offer_id": str(await server.make.offer())}
        payment_id = (await customer.post("/payments", offer)).json()["id"]
        await customer.post(f"/payments/{payment_id}/confirm")
        request_id = (await mitra.get("/requests")).json()["items"][0]["id"]
        session_id = (await mitra.post(f"/requests/{request_id}/accept")).json()["session"]["id"]
        await customer.post(f"/sessions/{session_id}/end")
    payment = (await viewer.get(f"/payments/{payment_id}")).json()
    assert (payment["status"], payment["session_id"], payment["case_id"]) == ("served", session_id, None)
    entries = [(entry["type"], entry["status"] or entry["reason"]) for entry in payment["timeline"]]
    # All changes of one statement have the same time. The field `rank` orders timeline entries that have the same time.
    assert [each for each in entries if each[0] != "payment_status"] == [
        ("payment_opened", None),
        ("charge_started", None),
        ("charge_answered", "approved"),
        ("pairing_opened", None),
        ("mitra_asked", None),
        ("mitra_answered", "accepted"),
        ("pairing_decided", "matched"),
        ("session_started", None),
        ("session_ended", "customer_ended"),
    ]
    assert [status for kind, status in entries if kind == "payment_status"] == [
        "confirming",
        "confirmed",
        "served",
    ]
    assert problem(await viewer.get(f"/payments/{uuid4()}")) == NOT_FOUND


async def test_an_operator_finds_sessions_but_does_not_see_their_messages(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    customer, mitra = await server.customer("Melati"), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    for number in range(3):
        message = {"client_message_id": str(number), "text": "rahasia sekali"}
        await customer.post(f"/sessions/{chat.id}/messages", message)
    await make_chat_cut_short(server)
    for query in (
        {"q": str(chat.id)},
        {"q": str(chat.payment_id)},
        {"q": str(mitra.id)},
        {"q": await _phone_of(server, customer.id)},
        {"q": "mela"},
        {"status": "active"},
        {"mitra_id": str(mitra.id)},
        {"customer_id": str(customer.id)},
    ):
        assert [each["id"] for each in await _found(viewer, "/sessions", **query)] == [str(chat.id)], query
    assert len(await _found(viewer, "/sessions", end_reason="mitra_ended")) == 1
    shown = await viewer.get(f"/sessions/{chat.id}")
    assert (shown.json()["messages_of_customer"], shown.json()["messages_of_mitra"]) == (3, 0)
    assert "server_now" in shown.json()
    assert "rahasia" not in shown.text
    assert problem(await viewer.get(f"/sessions/{uuid4()}")) == NOT_FOUND


async def test_operators_see_the_number_of_payments_and_sessions_and_cases_of_a_customer(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server, call_name="Melati")
    await make_failed_search(server, call_name="Mawar")
    phone = await _phone_of(server, failed.customer_id)
    for q in (str(failed.customer_id), phone, "0" + phone[3:], "mela"):
        assert [each["id"] for each in await _found(reviewer, "/customers", q=q)] == [str(failed.customer_id)]
    shown = (await reviewer.get(f"/customers/{failed.customer_id}")).json()
    assert phone not in str(shown)
    assert (shown["payments"], shown["sessions"], shown["open_cases"], shown["paid_rp"]) == (1, 0, 1, 20_000)
    body = {"decision": "refund", "note": "maaf"}
    await reviewer.post(f"/review-cases/{failed.case_id}/decision", body)
    await run_worker(server)
    shown = (await reviewer.get(f"/customers/{failed.customer_id}")).json()
    assert (shown["open_cases"], shown["paid_rp"]) == (0, 0)
    assert problem(await reviewer.get(f"/customers/{uuid4()}")) == NOT_FOUND


# Transcripts -------------------------------------------------------------------------------------------------


async def test_each_reading_of_a_transcript_needs_a_reason_and_is_audited(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    for sender, text in ((customer, "halo"), (mitra, "apa kabar")):
        await sender.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": text})
    path = f"/sessions/{chat.id}/transcript"
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}):
        assert problem(await reviewer.post(path, body)) == INVALID
    ground = {"kind": "legal_order"}
    await reviewer.post(path, {"reason": "keluhan nomor 12", "ground": ground}, key="")
    answer = await reviewer.post(path, {"reason": " keluhan nomor 12 ", "ground": ground}, key="")
    assert answer.status_code == 200, answer.text
    said = [(message["sender"], message["text"]) for message in answer.json()["messages"]]
    assert said == [("customer", "halo"), ("mitra", "apa kabar")]
    rows = await server.database.fetch(
        "SELECT actor, subject_id, new_value FROM audit_entries WHERE action = 'transcript_revealed'"
    )
    assert [tuple(row) for row in rows] == [
        (str(reviewer.id), str(chat.id), "legal_order: keluhan nomor 12")
    ] * 2
    # The server does not store this answer in idempotency_keys, because the answer contains the chat.
    assert (
        await server.database.fetchval("SELECT count(*) FROM idempotency_keys WHERE body LIKE '%apa kabar%'")
        == 0
    )
    assert problem(await reviewer.post(f"/sessions/{uuid4()}/transcript", {"reason": "x"})) == NOT_FOUND


async def test_a_viewer_cannot_read_a_transcript(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    _, session_id = await make_chat_cut_short(server)
    refused = await viewer.post(f"/sessions/{session_id}/transcript", {"reason": "ingin tahu"})
    assert problem(refused) == (403, "forbidden")
    assert await server.database.fetchval("SELECT count(*) FROM audit_entries") == 0


# Mitras ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.2")
async def test_a_mitra_can_sign_in_after_an_admin_has_sent_an_invitation(server: RunningServer) -> None:
    admin = await server.operator()
    body = {"phone": "0811 2222 333", "display_name": " Kak  Tari ", "max_customers": 2}
    assert problem(await admin.post("/mitras", body, key="")) == (400, "idempotency_key_missing")
    invited = await admin.post("/mitras", body)
    assert invited.status_code == 201, invited.text
    mitra = invited.json()
    assert mitra["is_new"] is True
    assert (mitra["display_name"], mitra["max_customers"], mitra["online"]) == ("Kak Tari", 2, False)
    assert mitra["phone_masked"] == "+62 ***-****-2333"
    again = await admin.post("/mitras", {**body, "display_name": "Kak Lain"})
    assert (again.json()["id"], again.json()["display_name"]) == (mitra["id"], "Kak Tari")
    assert again.json()["is_new"] is False
    asked = await server.http.post("/api/mitra/auth/otp/request", json={"phone": body["phone"]})
    code = (await server.http.get("/api/dev/inbox", params={"phone": "+628112222333"})).json()["messages"][0][
        "code"
    ]
    verified = await server.http.post(
        "/api/mitra/auth/otp/verify", json={"request_id": asked.json()["request_id"], "code": code}
    )
    assert verified.status_code == 200
    audit = await server.database.fetch("SELECT actor, action FROM audit_entries")
    assert [tuple(row) for row in audit] == [(str(admin.id), "mitra_invited")]
    for wrong in (
        {"phone": "1"},
        {"max_customers": 0},
        {"max_customers": 21},
        {"display_name": "0812 3456 7890"},
    ):
        assert problem(await admin.post("/mitras", {**body, **wrong})) == INVALID


async def test_the_list_of_mitras_shows_presence_and_load_and_acceptance(
    server: RunningServer, clock: VirtualClock
) -> None:
    viewer = await server.operator("viewer")
    away = await server.mitra("Kak Away", online=False)
    async with server.available_mitra() as mitra:
        await clock.set()
        first = await server.request(await server.make.customer(), mitra.id)
        second = await server.request(await server.make.customer(), mitra.id)
        await clock.advance(4)
        await mitra.post(f"/requests/{first}/accept")
        await mitra.post(f"/requests/{second}/reject")
        shown = (await viewer.get(f"/mitras/{mitra.id}")).json()
        found = await _found(viewer, "/mitras", online="true")
    assert (shown["online"], shown["connected"], shown["active_sessions"]) == (True, True, 1)
    assert shown["acceptance"] == {
        "asked": 2,
        "accepted": 1,
        "rejected": 1,
        "unanswered": 0,
        "seconds_p50": 4.0,
    }
    assert [each["id"] for each in found] == [str(mitra.id)]
    phone = await _phone_of(server, away.id)
    pasted = f"\u202d{phone[:3]}\u00a0{phone[3:6]}\u2011{phone[6:]}\u202c"
    for q in ("kak aw", "\u200eKak\u00a0Aw", str(away.id), phone, phone[3:], pasted):
        found = await _found(viewer, "/mitras", q=q)
        assert [(each["id"], each["connected"]) for each in found] == [(str(away.id), False)]
    assert problem(await viewer.get(f"/mitras/{uuid4()}")) == NOT_FOUND


@pytest.mark.rule("X.8")
async def test_the_answer_to_a_suspension_shows_the_mitra_as_offline_and_not_connected(
    server: RunningServer,
) -> None:
    admin = await server.operator("admin")
    async with server.available_mitra() as mitra:
        suspended = (await admin.patch(f"/mitras/{mitra.id}", {"suspended": True})).json()
        shown = (await admin.get(f"/mitras/{mitra.id}")).json()
        dashboard = (await admin.get("/dashboard")).json()
        lifted = (await admin.patch(f"/mitras/{mitra.id}", {"suspended": False})).json()
    for each in (suspended, shown, lifted):
        assert (each["online"], each["connected"]) == (False, False)
    assert (dashboard["online"], dashboard["connected"]) == (0, 0)


async def test_the_field_connected_is_null_while_valkey_is_down(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    mitra = await server.mitra()
    await server.application.services.valkey.client_pause(3000)
    shown = await viewer.get(f"/mitras/{mitra.id}")
    assert (shown.status_code, shown.json()["connected"]) == (200, None)
    dashboard = (await viewer.get("/dashboard")).json()
    assert (dashboard["connected"], dashboard["available"], dashboard["free_capacity"]) == (None, None, None)
    assert dashboard["online"] == 1


@pytest.mark.rule("X.7")
async def test_a_higher_capacity_offers_requests_to_a_mitra_and_a_lower_capacity_closes_requests(
    server: RunningServer,
) -> None:
    admin = await server.operator()
    mitra = await server.mitra(online=False, max_customers=1)
    async with mitra.socket() as socket:
        await mitra.put("/presence", {"online": True})
        first = await server.request(await server.make.customer(), mitra.id)
        assert (await mitra.post(f"/requests/{first}/accept")).status_code == 200
        pairing_id = await server.search(await server.make.customer("Melati"), [mitra.id])
        assert (
            await server.database.fetchval("SELECT count(*) FROM requests WHERE pairing_id = $1", pairing_id)
            == 0
        )
        changed = await admin.patch(f"/mitras/{mitra.id}", {"max_customers": 2})
        assert (changed.status_code, changed.json()["max_customers"]) == (200, 2)
        offered = await socket.wait_for("request.offered", call_name="Melati")
        await admin.patch(f"/mitras/{mitra.id}", {"max_customers": 1})
        closed = await socket.wait_for("request.closed", id=offered["id"])
    assert closed["close_reason"] == "at_capacity"
    # The running session continues although the new capacity is lower.
    assert await server.database.fetchval("SELECT count(*) FROM sessions WHERE status = 'active'") == 1
    audit = await server.database.fetch("SELECT old_value, new_value FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in audit] == [("1", "2"), ("2", "1")]


async def test_a_new_name_reaches_the_customer_of_a_running_chat(server: RunningServer) -> None:
    admin = await server.operator()
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    async with customer.socket() as socket:
        changed = await admin.patch(f"/mitras/{mitra.id}", {"display_name": "Kak Baru"})
        assert changed.status_code == 200, changed.text
        await run_worker(server)
        event = await socket.wait_for("session.updated", id=str(chat.id))
    assert event["mitra"]["display_name"] == "Kak Baru"
    assert (await customer.get("/state")).json()["session"]["mitra"] == event["mitra"]


@pytest.mark.rule("X.8")
async def test_a_suspension_closes_requests_and_ends_sessions_and_opens_cases(server: RunningServer) -> None:
    """An operator can lift the suspension."""
    admin = await server.operator()
    async with server.available_mitra() as mitra:
        chat = await server.chat(await server.make.customer(), mitra.id)
        request_id = await server.request(await server.make.customer(), mitra.id)
        changed = await admin.patch(f"/mitras/{mitra.id}", {"suspended": True})
        assert (changed.status_code, changed.json()["suspended"]) == (200, True)
        row = await server.database.fetchrow(
            "SELECT status, close_reason FROM requests WHERE id = $1", request_id
        )
        assert row is not None
        assert tuple(row) == ("closed", "suspended")
        async with asyncio.timeout(5):
            while (refused := await mitra.get("/me")).status_code == 200:
                pass
        assert problem(refused) == (403, "suspended")
    await run_worker(server)
    ended = await server.database.fetchrow("SELECT status, end_reason FROM sessions WHERE id = $1", chat.id)
    assert ended is not None
    assert tuple(ended) == ("ended", "mitra_suspended")
    assert await server.database.fetchval("SELECT reason FROM review_cases") == "cut_short"
    lifted = await admin.patch(f"/mitras/{mitra.id}", {"suspended": False})
    assert lifted.json()["suspended"] is False
    # The mitra signs in again, because a token from before the suspension stays invalid.
    async with asyncio.timeout(5):
        while problem(await mitra.get("/me")) != (401, "unauthenticated"):
            pass
    assert problem(await (await server.person("mitra", mitra.id)).get("/me")) == (200, None)
    audit = await server.database.fetch("SELECT actor, action FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in audit] == [
        (str(admin.id), "mitra_suspended"),
        (str(admin.id), "mitra_suspension_lifted"),
    ]


async def test_an_empty_change_and_a_change_of_an_unknown_mitra_are_refused(server: RunningServer) -> None:
    admin = await server.operator()
    mitra = await server.mitra()
    wrong: list[dict[str, Any]] = [
        {},
        {"max_customers": 0},
        {"max_customers": None},
        {"suspended": "yes"},
        {"online": True},
    ]
    for body in wrong:
        assert problem(await admin.patch(f"/mitras/{mitra.id}", body)) == INVALID, body
    assert problem(await admin.patch(f"/mitras/{uuid4()}", {"max_customers": 2})) == NOT_FOUND
    # The server refuses the change because of one field. The remaining fields of the mitra must also stay unchanged.
    body = {"max_customers": 5, "display_name": "0812 3456 7890"}
    assert problem(await admin.patch(f"/mitras/{mitra.id}", body)) == INVALID
    assert await server.database.fetchval("SELECT max_customers FROM mitras") == 1
    assert await server.database.fetchval("SELECT count(*) FROM audit_entries") == 0


async def test_a_list_is_planned_for_its_filters_and_other_statements_are_not(database: Database) -> None:
    async with planned_for_filters(database) as tx:
        assert [tuple(row) for row in await tx.fetch("SHOW plan_cache_mode")] == [("force_custom_plan",)]
    async with database.transaction() as tx:
        assert [tuple(row) for row in await tx.fetch("SHOW plan_cache_mode")] == [("force_generic_plan",)]
