"""Test reports, concerns and notices, as the two sides of a chat see them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from curhat.control_center.reports.service import MESSAGES_AROUND
from curhat.journeys import paying
from curhat.kit.errors import Suspended
from curhat.safety.reports.states import URGENCY
from tests.support.chats import Chat, stream_events
from tests.support.clock import VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

NOT_FOUND = (404, "not_found")
INVALID = (422, "validation_failed")
HELD = "SELECT DISTINCT session_id FROM held_sessions"


class Scene(msgspec.Struct):
    """A chat with messages, and its two members."""

    chat: Chat
    customer: Person
    mitra: Person
    message_ids: list[str]

    @property
    def path(self) -> str:
        return f"/sessions/{self.chat.id}"


async def make_scene(server: RunningServer, messages: int = 2) -> Scene:
    customer, mitra = await server.customer("Melati"), await server.mitra(max_customers=3)
    chat = await server.chat(customer.id, mitra.id)
    ids = [
        str(
            await server.database.fetchval(
                "INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, $2, $3, $4) "
                "RETURNING id",
                chat.id,
                ("customer", "mitra")[number % 2],
                str(number),
                f"pesan {number}",
            )
        )
        for number in range(messages)
    ]
    return Scene(chat, customer, mitra, ids)


async def report(person: Person, scene: Scene, reason: str = "insult", **body: Any) -> Any:
    return await person.post(f"{scene.path}/report", {"reason": reason, **body})


async def decide(
    server: RunningServer, report_id: str, decision: str, operator: Person | None = None, **body: Any
) -> Any:
    operator = operator or await server.operator("reviewer")
    return await operator.post(
        f"/reports/{report_id}/decision", {"decision": decision, "note": "sudah dibaca", **body}
    )


async def warn(server: RunningServer, scene: Scene, reported: Person) -> str:
    """Warn one side of the chat. Returns the id of the notice."""
    reporter = scene.mitra if reported is scene.customer else scene.customer
    made = (await report(reporter, scene)).json()
    assert (await decide(server, made["id"], "warn")).status_code == 200
    (notice,) = (await reported.get("/notices")).json()["items"]
    assert (notice["kind"], notice["rule"], notice["must_acknowledge"]) == ("warning", "insult", True)
    found: str = notice["id"]
    return found


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


# Reporting ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.2")
@pytest.mark.parametrize("reporter", ["customer", "mitra"])
async def test_each_side_reports_a_chat_once_while_it_runs_or_after(
    server: RunningServer, reporter: str
) -> None:
    scene = await make_scene(server)
    mine, theirs = (scene.customer, scene.mitra) if reporter == "customer" else (scene.mitra, scene.customer)
    answer = await report(mine, scene, "sexual", note=" kata kasar ", message_ids=scene.message_ids)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made | {"id": 0, "created_at": 0} == {
        "id": 0,
        "session_id": str(scene.chat.id),
        "reason": "sexual",
        "status": "received",
        "created_at": 0,
    }
    assert problem(await report(mine, scene, "danger")) == (409, "already_reported")
    # The other side sees nothing, and can report too, after the end.
    assert (await theirs.get("/reports")).json()["items"] == []
    assert (await theirs.get("/notices")).json()["items"] == []
    assert (await scene.customer.post(f"{scene.path}/end")).status_code == 200
    assert (await report(theirs, scene, "other")).status_code == 201
    assert (await mine.get("/reports")).json()["items"] == [made]


@pytest.mark.rule("T.2")
async def test_a_person_reports_only_the_own_chats_with_messages_of_these_chats(
    server: RunningServer,
) -> None:
    scene, other = await make_scene(server), await make_scene(server)
    for stranger in (other.customer, other.mitra):
        assert problem(await report(stranger, scene)) == NOT_FOUND
    assert problem(await scene.customer.post(f"/sessions/{uuid4()}/report", {"reason": "other"})) == NOT_FOUND
    assert problem(await report(scene.customer, scene, message_ids=other.message_ids)) == NOT_FOUND
    for body in (
        {"message_ids": [str(uuid4()) for _ in range(21)]},
        {"note": "x" * 501},
        {"note": "  "},
        {"unknown": 1},
    ):
        assert problem(await report(scene.customer, scene, **body)) == INVALID
    assert problem(await report(scene.customer, scene, "boring")) == INVALID
    assert await server.database.fetchval("SELECT count(*) FROM reports") == 0
    # A message that is marked twice counts once.
    answer = await report(scene.customer, scene, message_ids=scene.message_ids[:1] * 20)
    assert answer.status_code == 201
    assert await server.database.fetchval("SELECT cardinality(message_ids) FROM reports") == 1


@pytest.mark.rule("T.2")
async def test_a_person_makes_five_reports_a_day_and_more_about_danger_and_minors(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    mitra = await server.mitra(max_customers=20)
    chats = [await server.chat(await server.make.customer(), mitra.id) for _ in range(9)]
    paths = iter([f"/sessions/{chat.id}/report" for chat in chats])

    async def again(reason: str, path: str | None = None) -> httpx.Response:
        person = await server.person("mitra", mitra.id)
        answer: httpx.Response = await person.post(path or next(paths), {"reason": reason})
        return answer

    for reason in ("insult", "money", "other", "contact", "danger"):
        assert (await again(reason)).status_code == 201
    await clock.advance(3600)
    assert (await again("sexual")).status_code == 201
    refused_path = next(paths)
    refused = await again("other", refused_path)
    assert problem(refused) == (429, "too_many_requests")
    # The first of the five was made an hour ago.
    assert int(refused.headers["Retry-After"]) == 23 * 3600
    assert (await again("minor")).status_code == 201
    await clock.advance(23 * 3600)
    assert (await again("other", refused_path)).status_code == 201


@pytest.mark.rule("T.2")
async def test_the_text_of_a_reported_chat_is_held_until_90_days_after_the_last_step(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    scene = await make_scene(server)
    assert await server.database.fetch(HELD) == []
    made = (await report(scene.mitra, scene)).json()
    await clock.advance(200 * 86_400)
    assert await server.database.fetchval(HELD) == scene.chat.id
    assert (await decide(server, made["id"], "warn")).status_code == 200
    await clock.advance(10 * 86_400)
    customer = await server.person("customer", scene.customer.id)
    (notice,) = (await customer.get("/notices")).json()["items"]
    assert (await customer.post(f"/notices/{notice['id']}/appeal", {"text": "tidak"})).status_code == 201
    await clock.advance(85 * 86_400)
    assert await server.database.fetchval(HELD) == scene.chat.id
    answer = await (await server.operator()).post(
        f"/reports/{made['id']}/appeal-decision", {"decision": "upheld", "note": "tetap"}
    )
    assert answer.status_code == 200, answer.text
    await clock.advance(90 * 86_400 - 1)
    assert await server.database.fetchval(HELD) == scene.chat.id
    await clock.advance(2)
    assert await server.database.fetch(HELD) == []


@pytest.mark.rule("T.2", "T.3")
async def test_a_report_of_a_customer_opens_a_case_if_money_was_taken(server: RunningServer) -> None:
    scene = await make_scene(server)
    assert (await report(scene.mitra, scene)).status_code == 201
    assert await server.database.fetchval("SELECT count(*) FROM review_cases") == 0
    assert (await report(scene.customer, scene)).status_code == 201
    operator = await server.operator()
    (case,) = (await operator.get("/review-cases", reason="reported")).json()["items"]
    assert (case["payment_id"], case["status"], case["opened_by"]) == (
        str(scene.chat.payment_id),
        "open",
        None,
    )
    assert case["refundable_rp"] == 20_000
    decided = await operator.post(
        f"/review-cases/{case['id']}/decision", {"decision": "refund", "note": "maaf"}
    )
    assert decided.status_code == 200, decided.text
    # A free trial opens no case: nothing was taken.
    free = await make_scene(server)
    await server.database.execute("DELETE FROM charge_attempts WHERE payment_id = $1", free.chat.payment_id)
    assert (await report(free.customer, free)).status_code == 201
    assert await server.database.fetchval("SELECT count(*) FROM review_cases") == 1


# Concerns ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("H.3")
async def test_a_concern_is_an_urgent_entry_that_holds_the_text_and_accuses_nobody(
    server: RunningServer,
) -> None:
    scene, other = await make_scene(server), await make_scene(server)
    answer = await scene.mitra.post(
        f"{scene.path}/concern", {"level": "danger_now", "note": "ia menyebut rencana"}
    )
    assert (answer.status_code, answer.json()["level"]) == (201, "danger_now")
    assert await server.database.fetchval(HELD) == scene.chat.id
    assert problem(await other.mitra.post(f"{scene.path}/concern", {"level": "worried"})) == NOT_FOUND
    assert (await scene.mitra.get("/reports")).json()["items"] == []
    operator = await server.operator("reviewer")
    # A report of the same mitra about the same chat stays possible.
    assert (await report(scene.mitra, scene, "other")).status_code == 201
    first, second = (await operator.get("/reports")).json()["items"]
    assert (first["kind"], first["level"], first["reason"], first["urgency"]) == (
        "concern",
        "danger_now",
        None,
        "within_15_minutes",
    )
    assert (second["kind"], second["urgency"]) == ("report", "within_72_hours")
    for decision in ("warn", "suspend"):
        assert problem(await decide(server, first["id"], decision)) == INVALID
    assert (await decide(server, first["id"], "no_action")).json()["status"] == "decided"
    assert (await scene.customer.get("/notices")).json()["items"] == []
    assert (await scene.mitra.get("/notices")).json()["items"] == []


@pytest.mark.rule("H.3")
async def test_a_mitra_raises_at_most_ten_concerns_about_one_chat(server: RunningServer) -> None:
    scene = await make_scene(server)
    answers = [
        (await scene.mitra.post(f"{scene.path}/concern", {"level": "worried"})).status_code for _ in range(11)
    ]
    assert answers == [201] * 10 + [429]


# Notices -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.4")
async def test_both_sides_are_told_and_the_reported_person_learns_the_rule_alone(
    server: RunningServer,
) -> None:
    scene = await make_scene(server)
    made = (await report(scene.mitra, scene, "sexual", note="rahasia", message_ids=scene.message_ids)).json()
    assert (await decide(server, made["id"], "warn")).status_code == 200
    (told,) = (await scene.customer.get("/notices")).json()["items"]
    (event,) = [
        data
        for name, data in await stream_events(server.database, scene.chat.customer)
        if name == "notice.created"
    ]
    assert event | {"server_now": 0} == told | {"server_now": 0}
    assert (told["kind"], told["rule"], told["session_id"]) == ("warning", "sexual", None)
    shown = msgspec.json.encode(told).decode()
    for secret in (made["id"], str(scene.chat.id), str(scene.mitra.id), "rahasia", made["created_at"]):
        assert secret not in shown
    (outcome,) = (await scene.mitra.get("/notices")).json()["items"]
    assert (outcome["kind"], outcome["rule"], outcome["session_id"]) == (
        "report_acted",
        "sexual",
        str(scene.chat.id),
    )
    assert [each["status"] for each in (await scene.mitra.get("/reports")).json()["items"]] == ["acted"]


@pytest.mark.rule("T.4")
async def test_without_a_violation_only_the_reporter_is_told(server: RunningServer) -> None:
    scene = await make_scene(server)
    made = (await report(scene.customer, scene)).json()
    assert (await decide(server, made["id"], "no_action")).status_code == 200
    assert (await scene.mitra.get("/notices")).json()["items"] == []
    (outcome,) = (await scene.customer.get("/notices")).json()["items"]
    assert (outcome["kind"], outcome["appeal_by"]) == ("report_no_violation", None)
    assert problem(await scene.customer.post(f"/notices/{outcome['id']}/appeal", {"text": "x"})) == (
        409,
        "appeal_closed",
    )
    assert [each["status"] for each in (await scene.customer.get("/reports")).json()["items"]] == [
        "no_violation"
    ]


@pytest.mark.rule("T.4")
async def test_a_warned_customer_pays_only_after_acknowledging(server: RunningServer) -> None:
    scene = await make_scene(server)
    notice_id = await warn(server, scene, scene.customer)
    await scene.customer.post(f"{scene.path}/end")
    order = {"offer_id": str(await server.make.offer())}
    async with server.available_mitra():
        refused = await scene.customer.post("/payments", order)
        assert problem(refused) == (409, "acknowledgement_needed")
        assert refused.json()["notice_ids"] == [notice_id]
        for person in (scene.mitra, await server.customer()):
            assert problem(await person.post(f"/notices/{notice_id}/acknowledge")) == NOT_FOUND
        first = (await scene.customer.post(f"/notices/{notice_id}/acknowledge")).json()
        again = (await scene.customer.post(f"/notices/{notice_id}/acknowledge")).json()
        assert first["acknowledged_at"] == again["acknowledged_at"] is not None
        assert (await scene.customer.post("/payments", order)).status_code == 201


@pytest.mark.rule("T.4")
async def test_a_warned_mitra_goes_online_only_after_acknowledging(server: RunningServer) -> None:
    scene = await make_scene(server)
    notice_id = await warn(server, scene, scene.mitra)
    # Who is online stays online, and can go offline.
    assert (await scene.mitra.put("/presence", {"online": True})).status_code == 200
    assert (await scene.mitra.put("/presence", {"online": False})).status_code == 200
    refused = await scene.mitra.put("/presence", {"online": True})
    assert problem(refused) == (409, "acknowledgement_needed")
    assert refused.json()["notice_ids"] == [notice_id]
    assert not await server.database.fetchval("SELECT online FROM mitras WHERE id = $1", scene.mitra.id)
    assert (await scene.mitra.post(f"/notices/{notice_id}/acknowledge")).status_code == 200
    assert (await scene.mitra.put("/presence", {"online": True})).status_code == 200


@pytest.mark.rule("T.4")
async def test_a_person_appeals_once_within_14_days(server: RunningServer, clock: VirtualClock) -> None:
    await clock.set(datetime.now(UTC))
    scene, late = await make_scene(server), await make_scene(server)
    notice_id = await warn(server, scene, scene.customer)
    late_id = await warn(server, late, late.customer)
    assert problem(await scene.mitra.post(f"/notices/{notice_id}/appeal", {"text": "x"})) == NOT_FOUND
    for text in ("", "  ", "x" * 2001):
        assert problem(await scene.customer.post(f"/notices/{notice_id}/appeal", {"text": text})) == INVALID
    await clock.advance(14 * 86_400 - 1)
    customer, other = (
        await server.person("customer", scene.customer.id),
        await server.person("customer", late.customer.id),
    )
    answer = await customer.post(f"/notices/{notice_id}/appeal", {"text": " itu bercanda "})
    assert answer.status_code == 201, answer.text
    assert answer.json()["appeal"] | {"appealed_at": 0} == {
        "text": "itu bercanda",
        "appealed_at": 0,
        "decision": None,
    }
    assert answer.json()["appeal_by"] is None
    again = await customer.post(f"/notices/{notice_id}/appeal", {"text": "lagi"})
    assert problem(again) == (409, "already_appealed")
    await clock.advance(1)
    assert problem(await other.post(f"/notices/{late_id}/appeal", {"text": "x"})) == (409, "appeal_closed")


@pytest.mark.rule("T.4")
async def test_an_overturned_warning_needs_no_acknowledgement(server: RunningServer) -> None:
    scene = await make_scene(server)
    notice_id = await warn(server, scene, scene.mitra)
    await scene.mitra.post(f"/notices/{notice_id}/appeal", {"text": "itu bercanda"})
    report_id = await server.database.fetchval("SELECT id FROM reports")
    answer = await (await server.operator()).post(
        f"/reports/{report_id}/appeal-decision", {"decision": "overturned", "note": "benar"}
    )
    assert answer.status_code == 200, answer.text
    await scene.mitra.put("/presence", {"online": False})
    assert (await scene.mitra.put("/presence", {"online": True})).status_code == 200
    kinds = [each["kind"] for each in (await scene.mitra.get("/notices")).json()["items"]]
    assert kinds == ["appeal_overturned", "warning"]
    kinds = [each["kind"] for each in (await scene.customer.get("/notices")).json()["items"]]
    assert kinds == ["report_no_violation", "report_acted"]
    assert (await scene.customer.get("/reports")).json()["items"][0]["status"] == "no_violation"


# Suspensions -------------------------------------------------------------------------------------------------


@pytest.mark.rule("T.3")
async def test_a_suspended_customer_keeps_the_running_chat_and_pays_for_nothing(
    server: RunningServer,
) -> None:
    scene = await make_scene(server)
    made = (await report(scene.mitra, scene, "threat")).json()
    assert (await decide(server, made["id"], "suspend", until=in_days(7))).status_code == 200
    sent = await scene.customer.post(
        f"{scene.path}/messages", {"client_message_id": "after", "text": "masih di sini"}
    )
    assert sent.status_code == 201
    offer_id = str(await server.make.offer(purpose="extension"))
    refused = await scene.customer.post(f"{scene.path}/extensions", {"offer_id": offer_id})
    assert problem(refused) == (403, "suspended")
    assert (await scene.customer.post(f"{scene.path}/end")).status_code == 200
    async with server.available_mitra():
        order = {"offer_id": str(await server.make.offer())}
        assert problem(await scene.customer.post("/payments", order)) == (403, "suspended")
        (notice,) = (await scene.customer.get("/notices")).json()["items"]
        assert (notice["kind"], notice["rule"], notice["must_acknowledge"]) == ("suspension", "threat", False)
        # Signing in goes on, and so does everything that needs no payment.
        assert (await scene.customer.get("/me")).status_code == 200


@pytest.mark.rule("T.3")
async def test_a_suspension_refuses_the_confirmation_of_an_open_payment_until_it_is_over(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(datetime.now(UTC))
    operator = await server.operator()
    customer_id = await server.make.customer()
    payment_id = await server.pending_payment(customer_id)
    mitra_id = await server.make.mitra()
    suspended = await operator.post(
        f"/customers/{customer_id}/suspension", {"reason": "menghina", "until": in_days(0.01)}
    )
    assert suspended.status_code == 200, suspended.text
    assert (suspended.json()["suspended"], suspended.json()["suspension_reason"]) == (True, "menghina")

    async def confirm() -> None:
        async with server.database.transaction() as tx:
            await paying.begin_confirmation(tx, customer_id, payment_id, [mitra_id])

    with pytest.raises(Suspended):
        await confirm()
    assert (
        await server.database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id) == "pending"
    )
    await clock.advance(0.01 * 86_400 + 1)
    await confirm()
    assert (
        await server.database.fetchval("SELECT status FROM payments WHERE id = $1", payment_id)
        == "confirming"
    )
    shown = (await operator.get(f"/customers/{customer_id}")).json()
    assert (shown["suspended"], shown["suspended_until"]) == (False, None)


@pytest.mark.rule("T.3", "T.4")
async def test_a_suspended_mitra_reads_the_notice_and_appeals(server: RunningServer) -> None:
    scene = await make_scene(server)
    made = (await report(scene.customer, scene, "money")).json()
    assert (await decide(server, made["id"], "suspend", until=in_days(3))).status_code == 200
    mitra = await server.person("mitra", scene.mitra.id)
    assert problem(await mitra.get("/me")) == (403, "suspended")
    (notice,) = (await mitra.get("/notices")).json()["items"]
    assert (notice["kind"], notice["suspended_until"] is not None) == ("suspension", True)
    assert (await mitra.post(f"/notices/{notice['id']}/acknowledge")).status_code == 200
    assert (await mitra.post(f"/notices/{notice['id']}/appeal", {"text": "tidak benar"})).status_code == 201
    answer = await (await server.operator()).post(
        f"/reports/{made['id']}/appeal-decision", {"decision": "overturned", "note": "benar"}
    )
    assert answer.status_code == 200
    back = await server.person("mitra", scene.mitra.id)
    assert (await back.get("/me")).status_code == 200


def test_each_reason_has_an_urgency() -> None:
    assert sorted(URGENCY) == sorted(
        ("sexual", "threat", "insult", "contact", "money", "minor", "danger", "not_listening", "other")
    )
    assert MESSAGES_AROUND == 5


async def test_lists_of_reports_and_notices_are_paged(server: RunningServer) -> None:
    mitra = await server.mitra(max_customers=20)
    customer_id = await server.make.customer()
    chat = await server.chat(customer_id, mitra.id)
    await server.database.execute(
        "INSERT INTO notices (role, user_id, kind) SELECT 'mitra', $1, 'suspension' FROM generate_series(1, 51)",
        mitra.id,
    )
    first = (await mitra.get("/notices")).json()
    rest = (await mitra.get("/notices", cursor=first["next_cursor"])).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (50, 1, None)
    assert len({UUID(each["id"]) for each in [*first["items"], *rest["items"]]}) == 51
    assert problem(await mitra.get("/reports", cursor="x")) == INVALID
    assert (await mitra.get("/reports", cursor=str(chat.id))).json() == {"items": [], "next_cursor": None}
