"""Test the operators' path: the queue of reports, decisions, approvals, appeals, and the look at a chat."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from curhat.app.operations.figures import show
from curhat.app.operations.queries import read_figures
from curhat.control_center.transcripts.service import APPROVAL_VALID_SECONDS
from curhat.journeys import suspensions
from tests.support.chats import Chat
from tests.support.clock import VirtualClock
from tests.support.csv_files import rows_of
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

NOT_FOUND = (404, "not_found")
INVALID = (422, "validation_failed")
DECIDED = (409, "report_decided")


async def make_chat(server: RunningServer, messages: int = 0, mitra_id: UUID | None = None) -> Chat:
    mitra_id = mitra_id or await server.make.mitra(max_customers=20)
    chat = await server.chat(await server.make.customer(), mitra_id)
    await server.database.execute(
        "INSERT INTO messages (session_id, sender, client_message_id, text) "
        "SELECT $1, CASE WHEN n % 2 = 0 THEN 'customer' ELSE 'mitra' END, n::text, 'pesan ' || n "
        "FROM generate_series(1, $2) AS numbers (n) ORDER BY numbers.n",
        chat.id,
        messages,
    )
    return chat


async def report(server: RunningServer, chat: Chat, reason: str, by: str = "mitra", **body: Any) -> str:
    """Report the other side of the chat. Returns the report's id."""
    identity = chat.mitra if by == "mitra" else chat.customer
    person = await server.person(identity.role, identity.user_id)
    answer = await person.post(f"/sessions/{chat.id}/report", {"reason": reason, **body})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


async def decide(operator: Person, report_id: str, decision: str, **body: Any) -> Any:
    body = {"decision": decision, "note": "sudah dibaca", **body}
    return await operator.post(f"/reports/{report_id}/decision", body)


async def appeal(server: RunningServer, chat: Chat) -> None:
    """The customer of the chat appeals against the sanction."""
    customer = await server.person("customer", chat.customer.user_id)
    (notice,) = (await customer.get("/notices")).json()["items"]
    answer = await customer.post(f"/notices/{notice['id']}/appeal", {"text": "itu bercanda"})
    assert answer.status_code == 201, answer.text


async def in_days(server: RunningServer, days: float) -> str:
    now: datetime = await server.database.fetchval("SELECT curhat_now()")
    return (now + timedelta(days=days)).isoformat()


# The queue ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.3")
async def test_the_queue_shows_the_most_urgent_first_and_what_is_overdue(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    operator = await server.operator("viewer")
    reasons = ("other", "money", "danger", "not_listening", "threat", "minor", "sexual", "insult", "contact")
    ids = {}
    for reason in reasons:
        await clock.advance(1)
        ids[reason] = await report(server, await make_chat(server), reason)

    async def queue(**query: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await operator.get("/reports", **query)).json()["items"]
        return items

    order = ["danger", "threat", "minor", "money", "sexual", "insult", "contact", "other", "not_listening"]
    assert [each["reason"] for each in await queue()] == order
    assert [each["overdue"] for each in await queue()] == [False] * 9
    waits = {
        each["reason"]: datetime.fromisoformat(each["due_at"]) - datetime.fromisoformat(each["created_at"])
        for each in await queue()
    }
    assert [waits["danger"], waits["sexual"], waits["other"]] == [
        timedelta(minutes=15),
        timedelta(hours=24),
        timedelta(hours=72),
    ]
    await clock.advance(15 * 60)
    operator = await server.operator("viewer")
    assert [each["reason"] for each in await queue(overdue="true")] == ["danger", "threat", "minor"]
    shown = (await operator.get("/dashboard")).json()
    assert (shown["reports_waiting"], shown["reports_overdue"]) == (9, 3)
    figures = await read_figures(server.database)
    show(figures)
    assert (figures.reports_waiting, figures.urgent_reports_overdue, figures.other_reports_overdue) == (
        9,
        3,
        0,
    )
    # Who is decided stands at the end, and is never overdue.
    reviewer = await server.operator("reviewer")
    assert (await decide(reviewer, ids["danger"], "no_action")).status_code == 200
    assert [each["reason"] for each in await queue()] == [*order[1:], "danger"]
    assert [each["reason"] for each in await queue(status="decided")] == ["danger"]
    assert [each["reason"] for each in await queue(reason="sexual", kind="report", reporter="mitra")] == [
        "sexual"
    ]
    assert await queue(waiting="false", overdue="true") == []
    assert problem(await operator.get("/reports", reason="boring")) == INVALID
    assert problem(await operator.get("/reports", cursor="x")) == INVALID


@pytest.mark.rule("T.3")
async def test_the_queue_is_paged_and_exported_without_notes_and_chat_text(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    mitra_id = await server.make.mitra(max_customers=20)
    chat = await make_chat(server, 2, mitra_id)
    await report(server, chat, "danger", note="sangat rahasia")
    await server.database.execute(
        "INSERT INTO reports (kind, session_id, customer_id, mitra_id, reporter, level, urgency, due_at) "
        "SELECT 'concern', $1, $2, $3, 'mitra', 'worried', n % 3, curhat_now() FROM generate_series(1, 51) AS n",
        chat.id,
        chat.customer.user_id,
        mitra_id,
    )
    first = (await viewer.get("/reports")).json()
    rest = (await viewer.get("/reports", cursor=first["next_cursor"])).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (50, 2, None)
    assert len({each["id"] for each in [*first["items"], *rest["items"]]}) == 52
    urgencies = [each["urgency"] for each in [*first["items"], *rest["items"]]]
    assert urgencies == sorted(urgencies)
    exported = await viewer.get("/reports", format="csv")
    assert len(rows_of(exported.content)) == 52
    for text in (exported.text, str(first)):
        assert "rahasia" not in text
        assert "pesan 1" not in text


@pytest.mark.rule("T.3")
async def test_a_report_shows_the_marked_messages_with_five_on_either_side_and_is_audited(
    server: RunningServer,
) -> None:
    chat = await make_chat(server, 30)
    rows = await server.database.fetch("SELECT id FROM messages ORDER BY id")
    marked = [str(rows[number - 1]["id"]) for number in (2, 20)]
    report_id = await report(server, chat, "sexual", "customer", note="di sini", message_ids=marked)
    reviewer = await server.operator("reviewer")
    shown = (await reviewer.get(f"/reports/{report_id}")).json()
    assert [message["text"] for message in shown["messages"]] == [
        f"pesan {number}" for number in (*range(1, 8), *range(15, 26))
    ]
    assert [message["text"] for message in shown["messages"] if message["is_marked"]] == [
        "pesan 2",
        "pesan 20",
    ]
    assert (shown["note"], shown["reported"], shown["payment_id"]) == (
        "di sini",
        "mitra",
        str(chat.payment_id),
    )
    assert shown["case_id"] is not None
    audited = await server.database.fetch(
        "SELECT actor, subject_id FROM audit_entries WHERE action = 'report_opened'"
    )
    assert [tuple(row) for row in audited] == [(str(reviewer.id), report_id)]
    # Without marked messages, the report shows none of the chat.
    other = await report(server, chat, "other")
    assert (await reviewer.get(f"/reports/{other}")).json()["messages"] == []
    assert problem(await (await server.operator("viewer")).get(f"/reports/{report_id}")) == (403, "forbidden")
    assert problem(await reviewer.get(f"/reports/{uuid4()}")) == NOT_FOUND


# Decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.3")
async def test_the_first_decision_about_a_report_wins(server: RunningServer) -> None:
    report_id = await report(server, await make_chat(server), "insult")
    first = await server.operator("reviewer", "ani@example.id")
    second = await server.operator("reviewer")
    assert (await decide(first, report_id, "warn")).status_code == 200
    assert (await decide(first, report_id, "warn")).json()["decision"] == "warn"
    refused = await decide(second, report_id, "no_action")
    assert problem(refused) == DECIDED
    assert (refused.json()["decision"], refused.json()["decided_by"]) == ("warn", "ani@example.id")
    assert problem(await decide(second, report_id, "warn")) == DECIDED
    assert problem(await decide(first, report_id, "no_action")) == DECIDED
    assert await server.database.fetchval("SELECT count(*) FROM notices WHERE kind = 'warning'") == 1


@pytest.mark.rule("T.3")
async def test_of_two_decisions_at_the_same_time_one_takes_effect(server: RunningServer) -> None:
    report_id = await report(server, await make_chat(server), "insult")
    operators = [await server.operator("reviewer") for _ in range(4)]
    answers = await asyncio.gather(
        *(decide(each, report_id, ("warn", "no_action")[index % 2]) for index, each in enumerate(operators))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert await server.database.fetchval("SELECT count(*) FROM notices WHERE kind <> 'report_acted'") == 1
    assert (
        await server.database.fetchval("SELECT count(*) FROM audit_entries WHERE action = 'report_decided'")
        == 1
    )


@pytest.mark.rule("T.3")
async def test_a_suspension_needs_an_end_or_a_second_operator(server: RunningServer) -> None:
    chat = await make_chat(server)
    report_id = await report(server, chat, "threat")
    decider, approver = await server.operator("reviewer"), await server.operator("reviewer")
    for until in (-1.0, 367.0):
        refused = await decide(decider, report_id, "suspend", until=await in_days(server, until))
        assert problem(refused) == INVALID
    assert problem(await decide(decider, report_id, "warn", until=await in_days(server, 7))) == INVALID
    approval = f"/reports/{report_id}/approval"
    assert problem(await approver.post(approval)) == (409, "nothing_to_approve")
    waiting = (await decide(decider, report_id, "suspend")).json()
    assert (waiting["status"], waiting["suspend_until"]) == ("awaiting_approval", None)
    suspended = "SELECT suspended_at IS NOT NULL FROM customers WHERE id = $1"
    customer_id = chat.customer.user_id
    assert not await server.database.fetchval(suspended, customer_id)
    assert await server.database.fetchval("SELECT count(*) FROM notices") == 0
    assert problem(await decider.post(approval)) == (403, "own_decision")
    assert not await server.database.fetchval(suspended, customer_id)
    approved = (await approver.post(approval)).json()
    assert (approved["status"], approved["approved_by"]["id"]) == ("decided", str(approver.id))
    assert (await approver.post(approval)).status_code == 200
    assert await server.database.fetchval(suspended, customer_id)
    (notice,) = (await (await server.person("customer", customer_id)).get("/notices")).json()["items"]
    assert (notice["kind"], notice["suspended_until"]) == ("suspension", None)


@pytest.mark.rule("T.3")
async def test_a_second_operator_who_disagrees_opens_the_report_again(server: RunningServer) -> None:
    chat = await make_chat(server)
    report_id = await report(server, chat, "threat")
    decider, other = await server.operator("reviewer"), await server.operator("reviewer")
    await decide(decider, report_id, "suspend")
    refused = await other.post(f"/reports/{report_id}/approval", {"approved": False})
    assert (refused.json()["status"], refused.json()["decision"]) == ("open", None)
    assert (await decide(other, report_id, "warn")).status_code == 200
    actions = await server.database.fetch("SELECT action FROM audit_entries ORDER BY id")
    assert [row["action"] for row in actions] == ["report_decided", "suspension_refused", "report_decided"]


@pytest.mark.rule("T.3")
async def test_the_database_forbids_a_second_decision_and_a_suspension_by_one_operator(
    server: RunningServer,
) -> None:
    report_id = await report(server, await make_chat(server), "threat")
    decider, other = await server.operator("reviewer"), await server.operator("reviewer")
    await decide(decider, report_id, "suspend")
    for change in (
        "status = 'decided', closed_at = curhat_now()",
        f"status = 'decided', closed_at = curhat_now(), approved_at = curhat_now(), approved_by = '{decider.id}'",
        f"decided_by = '{other.id}'",
        "status = 'appealed'",
        "decision = 'no_action', status = 'decided', closed_at = curhat_now()",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await server.database.execute(f"UPDATE reports SET {change} WHERE id = $1", UUID(report_id))


@pytest.mark.rule("T.3")
async def test_a_suspended_mitra_is_admitted_again_at_the_end_of_the_suspension(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    chat = await make_chat(server)
    report_id = await report(server, chat, "money", "customer")
    until = await in_days(server, 3)
    assert (await decide(await server.operator(), report_id, "suspend", until=until)).status_code == 200
    mitra_id = chat.mitra.user_id
    deadline = await server.database.fetchrow(
        "SELECT entity_id, due_at FROM deadlines WHERE kind = 'suspension_over'"
    )
    assert deadline is not None
    assert deadline["entity_id"] == mitra_id
    assert abs((deadline["due_at"] - datetime.fromisoformat(until)).total_seconds()) < 1

    async def fire() -> bool:
        async with server.database.transaction() as tx:
            await suspensions.suspension_over(tx, mitra_id)
        found: bool = await server.database.fetchval(
            "SELECT suspended_at IS NULL FROM mitras WHERE id = $1", mitra_id
        )
        return found

    assert not await fire()
    # Another report makes the suspension longer, and a shorter one changes nothing.
    for days in (5.0, 1.0):
        other = await report(server, await make_chat(server, 0, mitra_id), "money", "customer")
        longer = await in_days(server, days)
        assert (await decide(await server.operator(), other, "suspend", until=longer)).status_code == 200
    await clock.advance(4 * 86_400)
    assert not await fire()
    await clock.advance(86_400)
    assert await fire()


@pytest.mark.rule("P.2", "T.3")
async def test_an_upheld_report_about_a_minor_closes_the_account(server: RunningServer) -> None:
    chat = await make_chat(server)
    report_id = await report(server, chat, "minor")
    decider, approver = await server.operator("reviewer"), await server.operator()
    assert problem(await decide(decider, report_id, "warn")) == INVALID
    assert problem(await decide(decider, report_id, "suspend", until=await in_days(server, 7))) == INVALID
    assert (await decide(decider, report_id, "suspend")).json()["status"] == "awaiting_approval"
    assert (await approver.post(f"/reports/{report_id}/approval")).status_code == 200
    shown = (await approver.get(f"/customers/{chat.customer.user_id}")).json()
    assert (shown["suspended"], shown["suspended_until"]) == (True, None)
    customer = await server.person("customer", chat.customer.user_id)
    await customer.post(f"/sessions/{chat.id}/end")
    async with server.available_mitra():
        refused = await customer.post("/payments", {"offer_id": str(await server.make.offer())})
        assert problem(refused) == (403, "suspended")


# Appeals -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.4")
async def test_another_operator_than_the_decider_decides_the_appeal(server: RunningServer) -> None:
    chat = await make_chat(server)
    report_id = await report(server, chat, "insult")
    decider, other, third = [await server.operator("reviewer") for _ in range(3)]
    path, verdict = f"/reports/{report_id}/appeal-decision", {"decision": "upheld", "note": "tetap"}
    assert problem(await other.post(path, verdict)) == (409, "no_appeal")
    await decide(decider, report_id, "suspend", until=await in_days(server, 7))
    assert problem(await other.post(path, verdict)) == (409, "no_appeal")
    await appeal(server, chat)
    (waiting,) = (await other.get("/reports", status="appealed")).json()["items"]
    assert waiting["id"] == report_id
    assert problem(await decider.post(path, verdict)) == (403, "own_decision")
    with pytest.raises(asyncpg.CheckViolationError):
        await server.database.execute(
            "UPDATE reports SET status = 'decided', appeal_decision = 'upheld', appeal_decided_by = decided_by, "
            "appeal_decided_at = curhat_now() WHERE id = $1",
            UUID(report_id),
        )
    assert (await other.post(path, verdict)).json()["appeal_decision"] == "upheld"
    assert (await other.post(path, verdict)).status_code == 200
    assert problem(await third.post(path, verdict)) == (409, "appeal_decided")
    customer = await server.person("customer", chat.customer.user_id)
    kinds = [each["kind"] for each in (await customer.get("/notices")).json()["items"]]
    assert kinds == ["appeal_upheld", "suspension"]
    assert (await other.get(f"/customers/{customer.id}")).json()["suspended"]


@pytest.mark.rule("T.4")
async def test_an_overturned_suspension_ends_unless_another_report_suspends(server: RunningServer) -> None:
    chat = await make_chat(server, 2)
    decider, other = await server.operator("reviewer"), await server.operator("reviewer")
    customer_id = chat.customer.user_id
    customer = await server.person("customer", customer_id)
    assert (await customer.post(f"/sessions/{chat.id}/end")).status_code == 200
    second_chat = await server.chat(customer_id, await server.make.mitra(max_customers=3))
    second = await report(server, second_chat, "threat")
    first = await report(server, chat, "insult")
    for report_id in (first, second):
        until = await in_days(server, 7)
        assert (await decide(decider, report_id, "suspend", until=until)).status_code == 200
    notices = (await customer.get("/notices")).json()["items"]
    verdict = {"decision": "overturned", "note": "benar"}
    states = []
    for notice, report_id in zip(notices, (second, first), strict=True):
        await customer.post(f"/notices/{notice['id']}/appeal", {"text": "tidak"})
        assert (await other.post(f"/reports/{report_id}/appeal-decision", verdict)).status_code == 200
        states.append((await other.get(f"/customers/{customer_id}")).json()["suspended"])
    assert states == [True, False]


# Phone numbers and suspensions by hand -----------------------------------------------------------------------


@pytest.mark.rule("H.3", "X.4")
async def test_a_phone_number_is_revealed_only_for_a_vital_interest_and_audited(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    chat = await make_chat(server)
    number = await server.database.fetchval(
        "SELECT phone_number FROM people WHERE id = $1", chat.customer.user_id
    )
    insult = await report(server, chat, "insult")
    path = f"/reports/{insult}/phone"
    assert problem(await reviewer.post(path, {"reason": "ingin tahu"})) == (409, "no_vital_interest")
    mitra = await server.person("mitra", chat.mitra.user_id)
    raised = await mitra.post(f"/sessions/{chat.id}/concern", {"level": "danger_now"})
    danger = await report(server, await make_chat(server), "danger", "customer")
    for report_id in (raised.json()["id"], danger):
        path = f"/reports/{report_id}/phone"
        for body in ({}, {"reason": " "}, {"reason": "x" * 501}):
            assert problem(await reviewer.post(path, body)) == INVALID
        shown = await reviewer.post(path, {"reason": "ia menyebut rencana"})
        assert (shown.status_code, shown.json()["ground"]) == (200, "vital_interest")
        assert shown.json()["phone_number"].startswith("+62")
    assert (await reviewer.post(f"/reports/{raised.json()['id']}/phone", {"reason": "x"})).json()[
        "phone_number"
    ] == number
    rows = await server.database.fetch(
        "SELECT actor, new_value FROM audit_entries WHERE action = 'phone_revealed' ORDER BY id"
    )
    assert [tuple(row) for row in rows[:2]] == [(str(reviewer.id), "vital_interest: ia menyebut rencana")] * 2
    # The number stands in no stored answer and in no audit entry. The mitra never learns it.
    kept = await server.database.fetchval(
        "SELECT count(*) FROM idempotency_keys WHERE body LIKE '%' || $1 || '%'", number[4:]
    )
    assert kept == 0
    assert number not in (await mitra.get("/sessions")).text + (await mitra.get("/notices")).text


@pytest.mark.rule("T.3")
async def test_an_operator_suspends_a_customer_by_hand_and_lifts_it(server: RunningServer) -> None:
    customer = await server.customer()
    reviewer, admin = await server.operator("reviewer"), await server.operator()
    path = f"/customers/{customer.id}/suspension"
    assert problem(await reviewer.post(path, {"reason": "menghina"})) == (403, "forbidden")
    for body in ({}, {"reason": "x", "until": await in_days(server, -1)}, {"reason": " "}):
        assert problem(await reviewer.post(path, body)) == INVALID
    suspended = (await admin.post(path, {"reason": "menghina"})).json()
    assert (suspended["suspended"], suspended["suspended_until"], suspended["suspension_reason"]) == (
        True,
        None,
        "menghina",
    )
    # A shorter suspension changes nothing.
    body = {"reason": "lagi", "until": await in_days(server, 7)}
    assert (await reviewer.post(path, body)).json()["suspended_until"] is None
    lifted = await reviewer.post(path, {"reason": "keliru", "suspended": False})
    assert not lifted.json()["suspended"]
    kinds = [each["kind"] for each in (await customer.get("/notices")).json()["items"]]
    assert kinds == ["suspension_lifted", "suspension"]
    actions = await server.database.fetch("SELECT action, new_value FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in actions] == [
        ("customer_suspended", "suspended: menghina"),
        ("customer_suspension_lifted", "admitted"),
    ]
    assert problem(await admin.post(f"/customers/{uuid4()}/suspension", {"reason": "x"})) == NOT_FOUND


@pytest.mark.rule("T.3")
async def test_a_person_s_page_counts_the_reports(server: RunningServer) -> None:
    chat = await make_chat(server)
    by_mitra = await report(server, chat, "insult")
    await report(server, chat, "other", "customer")
    operator = await server.operator()
    await decide(operator, by_mitra, "warn")
    customer = (await operator.get(f"/customers/{chat.customer.user_id}")).json()["reports"]
    assert customer == {"made": 1, "about": 1, "sanctions": 1, "concerns": 0}
    mitra = (await operator.get(f"/mitras/{chat.mitra.user_id}")).json()["reports"]
    assert mitra == {"made": 1, "about": 1, "sanctions": 0, "concerns": 0}
    again = await report(server, await make_chat(server, 0, chat.mitra.user_id), "insult", "customer")
    assert (await operator.get(f"/reports/{again}")).json()["sanctions_before"] == 0


# Reading a chat ----------------------------------------------------------------------------------------------


@pytest.mark.rule("P.8")
async def test_a_report_concern_or_case_of_the_chat_is_the_ground(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    chat, other = await make_chat(server, 2), await make_chat(server, 2)
    report_id = await report(server, chat, "insult")
    path = f"/sessions/{chat.id}/transcript"
    answer = await reviewer.post(path, {"reason": "laporan"})
    assert (answer.status_code, answer.json()["ground"]) == (200, {"kind": "report", "id": report_id})
    assert len(answer.json()["messages"]) == 2
    named = {"kind": "report", "id": report_id}
    assert (await reviewer.post(path, {"reason": "x", "ground": named})).status_code == 200
    # A report of another chat is no ground for this one.
    refused = await reviewer.post(f"/sessions/{other.id}/transcript", {"reason": "x", "ground": named})
    assert problem(refused) == NOT_FOUND
    await report(server, other, "insult", "customer")
    case_id = await server.database.fetchval("SELECT id FROM review_cases")
    ground = {"kind": "case", "id": str(case_id)}
    answer = await reviewer.post(
        f"/sessions/{other.id}/transcript", {"reason": "kasus", "ground": {"kind": "case"}}
    )
    assert answer.json()["ground"] == ground
    audited = await server.database.fetch(
        "SELECT new_value FROM audit_entries WHERE action = 'transcript_revealed' ORDER BY id"
    )
    assert [row["new_value"] for row in audited] == [
        f"report {report_id}: laporan",
        f"report {report_id}: x",
        f"case {case_id}: kasus",
    ]


@pytest.mark.rule("P.8")
async def test_without_a_ground_another_operator_approves_for_24_hours(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    chat = await make_chat(server, 2)
    asking, approver = await server.operator("reviewer"), await server.operator("reviewer")
    path = f"/sessions/{chat.id}/transcript"
    refused = await asking.post(path, {"reason": "pengaduan lewat surat"})
    assert problem(refused) == (409, "approval_needed")
    request_id = refused.json()["transcript_id"]
    # Naming a kind that the chat does not have is no ground either.
    again = await asking.post(path, {"reason": "pengaduan lewat surat", "ground": {"kind": "concern"}})
    assert (problem(again), again.json()["transcript_id"]) == ((409, "approval_needed"), request_id)
    (waiting,) = (await approver.get("/transcripts")).json()["items"]
    assert (waiting["reason"], waiting["requested_by"]["id"]) == ("pengaduan lewat surat", str(asking.id))
    assert (await approver.get("/dashboard")).json()["transcripts_waiting"] == 1
    approval = f"/transcripts/{request_id}/approval"
    assert problem(await asking.post(approval)) == (403, "own_transcript")
    assert problem(await asking.post(path, {"reason": "x"})) == (409, "approval_needed")
    assert (await approver.post(approval)).status_code == 200
    assert (await approver.post(approval)).status_code == 200
    assert problem(await (await server.operator()).post(approval)) == (409, "transcript_approved")
    answer = await asking.post(path, {"reason": "pengaduan lewat surat"})
    assert answer.json()["ground"] == {"kind": "approval", "id": request_id}
    # The approval is for the asking operator alone, and for 24 hours.
    assert problem(await approver.post(path, {"reason": "x"})) == (409, "approval_needed")
    await clock.advance(APPROVAL_VALID_SECONDS)
    late = await server.person("operator", asking.id)
    assert problem(await late.post(path, {"reason": "x"})) == (409, "approval_needed")
    assert problem(await late.post(f"/transcripts/{uuid4()}/approval")) == NOT_FOUND
    with pytest.raises(asyncpg.CheckViolationError):
        await server.database.execute(
            "UPDATE transcript_requests SET approved_by = requested_by, approved_at = now()"
        )


@pytest.mark.rule("P.8")
async def test_an_operator_who_opens_more_than_ten_chats_in_a_day_stands_on_the_dashboard(
    server: RunningServer,
) -> None:
    curious, careful = await server.operator("reviewer"), await server.operator("reviewer")
    mitra_id = await server.make.mitra(max_customers=20)
    order = {"reason": "surat", "ground": {"kind": "legal_order"}}
    for number in range(11):
        chat = await make_chat(server, 0, mitra_id)
        for operator in (curious, careful)[: 1 if number == 10 else 2]:
            # The same chat again counts once.
            for _ in range(2):
                assert (await operator.post(f"/sessions/{chat.id}/transcript", order)).status_code == 200
    (reader,) = (await careful.get("/dashboard")).json()["frequent_readers"]
    assert (reader["operator"]["id"], reader["chats"]) == (str(curious.id), 11)
