"""Test that a member leaves a chat in one step, and that nothing can keep the member in the chat (T.5)."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.sessions import extension
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

HALF_AN_HOUR = 30 * 60
EVERYTHING = {"report": {"reason": "threat", "note": "Dia mengancam saya."}, "block": True}
# Nobody can see anything in this note, so the report is refused.
REFUSED_REPORT = {"report": {"reason": "other", "note": "\u200b"}, "block": True}

# A chat without any message has no text that an operator could look at.
MESSAGE = (
    "INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, 'mitra', '1', 'halo')"
)


async def chat_of(server: RunningServer, role: Role) -> tuple[Chat, Person]:
    """Start a chat with a message, and sign the member in who leaves it."""
    chat = await server.chat(await server.make.customer(), await server.make.mitra())
    await server.database.execute(MESSAGE, chat.id)
    member = chat.customer if role == "customer" else chat.mitra
    return chat, await server.person(member.role, member.user_id)


async def leave(person: Person, chat: Chat, body: Any = None, *, key: str | None = None) -> dict[str, Any]:
    """Leave the chat, and return the ended session."""
    answer = await person.post(f"/sessions/{chat.id}/leave", body, key=key)
    assert answer.status_code == 200, answer.text
    left: dict[str, Any] = answer.json()
    return left


async def rows_of(database: Database, chat: Chat) -> dict[str, Any]:
    """Return everything that a leave can write."""
    row = await database.fetchrow(
        """
        SELECT sessions.status, end_reason, leave_reason, end_note, mitras.active_sessions AS places,
            (SELECT array_agg(reason) FROM review_cases WHERE payment_id = sessions.payment_id) AS cases,
            (SELECT array_agg(reporter || ' ' || reason) FROM reports WHERE session_id = sessions.id) AS reports,
            (SELECT array_agg(blocked_by) FROM blocks WHERE blocks.customer_id = sessions.customer_id
                AND blocks.mitra_id = sessions.mitra_id) AS blocks
        FROM sessions JOIN mitras ON mitras.id = sessions.mitra_id WHERE sessions.id = $1
        """,
        chat.id,
    )
    assert row is not None
    return dict(row)


@pytest.mark.rule("T.5", "X.8")
@pytest.mark.parametrize(
    ("role", "body", "end_reason", "leave_reason", "cases"),
    [
        ("customer", None, "customer_ended", None, None),
        ("customer", {"reason_code": "felt_unsafe"}, "customer_ended", "felt_unsafe", None),
        ("mitra", None, "mitra_ended", "not_given", ["cut_short"]),
        (
            "mitra",
            {"reason_code": "customer_inappropriate"},
            "mitra_ended",
            "customer_inappropriate",
            ["cut_short"],
        ),
    ],
)
async def test_a_leave_needs_nothing_and_ends_the_chat(
    server: RunningServer,
    role: Role,
    body: Any,
    end_reason: str,
    leave_reason: str | None,
    cases: list[str] | None,
) -> None:
    chat, person = await chat_of(server, role)
    left = await leave(person, chat, body)
    assert (left["status"], left["end_reason"], left["not_stored"]) == ("ended", end_reason, [])
    assert ("payment_id" in left) == (role == "customer")
    assert await rows_of(server.database, chat) == {
        "status": "ended",
        "end_reason": end_reason,
        "leave_reason": leave_reason,
        "end_note": None,
        "places": 0,
        "cases": cases,
        "reports": None,
        "blocks": None,
    }
    for member in (chat.customer, chat.mitra):
        assert [kind for kind, _ in await stream_events(server.database, member)] == ["session.ended"]


@pytest.mark.rule("T.5", "T.1", "T.2")
@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_one_leave_stores_the_end_the_report_and_the_block(server: RunningServer, role: Role) -> None:
    chat, person = await chat_of(server, role)
    assert (await leave(person, chat, EVERYTHING))["not_stored"] == []
    rows = await rows_of(server.database, chat)
    assert (rows["end_reason"], rows["reports"], rows["blocks"]) == (
        f"{role}_ended",
        [f"{role} threat"],
        [role],
    )


@pytest.mark.rule("T.5")
async def test_the_other_side_learns_of_a_leave_only_that_the_chat_ended(server: RunningServer) -> None:
    chat, person = await chat_of(server, "customer")
    await leave(person, chat, {"reason_code": "felt_unsafe", **EVERYTHING})
    ((kind, told),) = await stream_events(server.database, chat.mitra)
    assert (kind, told["end_reason"]) == ("session.ended", "customer_ended")
    mitra = await server.person("mitra", chat.mitra.user_id)
    seen = (await mitra.get(f"/sessions/{chat.id}")).json()
    assert set(told) == set(seen)
    assert not {"leave_reason", "not_stored", "report", "block"} & set(seen)


@pytest.mark.rule("T.5")
@pytest.mark.parametrize("key", ["once", None])
async def test_a_repeated_leave_answers_the_same_and_stores_nothing_twice(
    server: RunningServer, key: str | None
) -> None:
    chat, person = await chat_of(server, "mitra")
    first = await leave(person, chat, EVERYTHING, key=key)
    rows = await rows_of(server.database, chat)
    again = await leave(person, chat, EVERYTHING, key=key)
    assert {**again, "server_now": first["server_now"]} == first
    assert await rows_of(server.database, chat) == rows


@pytest.mark.rule("T.5")
async def test_a_leave_after_the_paid_time_ends_the_chat_by_time_and_stores_the_report_and_the_block(
    server: RunningServer, clock: VirtualClock
) -> None:
    """No worker runs here, so nothing else ends the chat."""
    await clock.set()
    chat, person = await chat_of(server, "customer")
    await clock.advance(HALF_AN_HOUR)
    left = await leave(person, chat, {"reason_code": "felt_unsafe", **EVERYTHING})
    assert (left["status"], left["end_reason"]) == ("ended", "time_up")
    rows = await rows_of(server.database, chat)
    assert (rows["leave_reason"], rows["reports"], rows["blocks"]) == (
        None,
        ["customer threat"],
        ["customer"],
    )


@pytest.mark.rule("T.5")
async def test_a_leave_of_a_chat_that_the_other_side_has_ended_stores_the_report_and_the_block(
    server: RunningServer,
) -> None:
    chat, person = await chat_of(server, "customer")
    mitra = await server.person("mitra", chat.mitra.user_id)
    await leave(mitra, chat, {"reason_code": "emergency"})
    left = await leave(person, chat, EVERYTHING)
    assert (left["end_reason"], left["not_stored"]) == ("mitra_ended", [])
    rows = await rows_of(server.database, chat)
    assert (rows["leave_reason"], rows["reports"], rows["blocks"]) == (
        "emergency",
        ["customer threat"],
        ["customer"],
    )


@pytest.mark.rule("T.5", "T.1")
async def test_a_leave_of_an_ended_chat_with_a_block_closes_the_card_of_the_next_search(
    server: RunningServer,
) -> None:
    """The customer has ended the chat and searches again. The mitra's leave arrives late."""
    chat, mitra = await chat_of(server, "mitra")
    await leave(await server.person("customer", chat.customer.user_id), chat)
    await server.search(chat.customer.user_id, [mitra.id])
    await leave(mitra, chat, {"block": True})
    statuses = await server.database.fetch("SELECT status FROM requests WHERE mitra_id = $1", mitra.id)
    assert [row["status"] for row in statuses] == ["closed"]


@pytest.mark.rule("T.5")
async def test_a_refused_report_keeps_nobody_in_the_chat_and_leaves_no_trace(server: RunningServer) -> None:
    chat, person = await chat_of(server, "customer")
    left = await leave(person, chat, REFUSED_REPORT)
    assert left["not_stored"] == [{"part": "report", "code": "validation_failed"}]
    rows = await rows_of(server.database, chat)
    assert (rows["end_reason"], rows["cases"], rows["reports"], rows["blocks"]) == (
        "customer_ended",
        None,
        None,
        ["customer"],
    )


@pytest.mark.rule("T.5")
async def test_a_report_that_is_refused_at_its_last_check_opens_no_case(server: RunningServer) -> None:
    chat, person = await chat_of(server, "customer")
    no_message_of_this_chat = {"report": {"reason": "threat", "message_ids": [str(chat.id)]}}
    left = await leave(person, chat, no_message_of_this_chat)
    assert left["not_stored"] == [{"part": "report", "code": "not_found"}]
    rows = await rows_of(server.database, chat)
    assert (rows["end_reason"], rows["cases"], rows["reports"]) == ("customer_ended", None, None)


@pytest.mark.rule("T.5", "5.7")
async def test_a_leave_ends_a_pending_extension_without_a_charge(server: RunningServer) -> None:
    chat, person = await chat_of(server, "customer")
    offer = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with server.database.transaction() as tx:
        asked = await extension.request(tx, chat.customer.user_id, chat.id, offer, True)
    left = await leave(person, chat)
    assert (left["extension"]["status"], left["extension"]["decided_by"]) == ("rejected", "session_ended")
    row = await server.database.fetchrow(
        "SELECT status, (SELECT count(*) FROM charge_attempts WHERE payment_id = $1) FROM payments WHERE id = $1",
        asked.payment_id,
    )
    assert row is not None
    assert tuple(row) == ("abandoned", 0)


@pytest.mark.rule("T.5")
@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("customer", "bosan"),
        ("mitra", "Dia kasar sekali"),
        ("customer", "customer_inappropriate"),
        ("mitra", "not_given"),
    ],
)
async def test_a_reason_is_a_code_of_a_closed_set(server: RunningServer, role: Role, reason: str) -> None:
    chat, person = await chat_of(server, role)
    answer = await person.post(f"/sessions/{chat.id}/leave", {"reason_code": reason})
    assert problem(answer) == (422, "validation_failed")
    assert (await rows_of(server.database, chat))["status"] == "active"


@pytest.mark.rule("T.5")
@pytest.mark.parametrize(
    "values",
    [
        "end_reason = 'mitra_ended'",
        "end_reason = 'mitra_ended', leave_reason = 'I did not like her'",
        "end_reason = 'customer_ended', leave_reason = 'not_given'",
        "end_reason = 'time_up', leave_reason = 'emergency'",
        "end_reason = 'mitra_ended', leave_reason = 'emergency', end_note = 'and a text'",
    ],
)
async def test_the_database_forbids_a_reason_outside_the_closed_set(
    database: Database, make: Make, values: str
) -> None:
    chat = await open_chat(database, make)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(
            f"UPDATE sessions SET status = 'ended', ended_at = curhat_now(), {values} WHERE id = $1", chat.id
        )


@pytest.mark.rule("T.5")
async def test_an_operator_sees_why_a_mitra_left(server: RunningServer) -> None:
    chat, person = await chat_of(server, "mitra")
    await leave(person, chat, {"reason_code": "felt_unsafe"})
    operator = await server.operator("viewer")
    session = (await operator.get(f"/sessions/{chat.id}")).json()
    assert (session["end_reason"], session["end_note"], session["leave_reason"]) == (
        "mitra_ended",
        None,
        "felt_unsafe",
    )
    timeline = (await operator.get(f"/payments/{chat.payment_id}")).json()["timeline"]
    assert [(each["reason"], each["note"]) for each in timeline if each["type"] == "session_ended"] == [
        ("mitra_ended", "felt_unsafe")
    ]


@pytest.mark.rule("T.5")
@pytest.mark.parametrize("role", ["customer", "mitra"])
async def test_nobody_leaves_the_chat_of_others(server: RunningServer, role: Role) -> None:
    chat, _ = await chat_of(server, role)
    stranger: Person = await (server.customer() if role == "customer" else server.mitra())
    answer = await stranger.post(f"/sessions/{chat.id}/leave", EVERYTHING)
    assert problem(answer) == (404, "not_found")
    rows = await rows_of(server.database, chat)
    assert (rows["status"], rows["reports"], rows["blocks"]) == ("active", None, None)
    assert problem(await stranger.post(f"/sessions/{UUID(int=1)}/leave")) == (404, "not_found")
