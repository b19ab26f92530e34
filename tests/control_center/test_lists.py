"""Test what the lists can do beside filters and pages: order, totals, the answers of mitras, and a mitra's requests."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from curhat.control_center.records import service as records
from tests.support.cases import make_chat_cut_short, make_failed_search
from tests.support.clock import START, VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem


async def _items(operator: Person, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await operator.get(path, **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@pytest.mark.parametrize("path", ["/payments", "/sessions", "/customers"])
async def test_a_list_read_from_the_oldest_on_is_the_reversed_list(
    server: RunningServer, clock: VirtualClock, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = await server.operator("viewer")
    for _ in range(3):
        await make_chat_cut_short(server)
        await clock.advance(60)
    newest = [item["id"] for item in await _items(viewer, path)]
    assert len(newest) == 3

    monkeypatch.setattr("curhat.control_center.lists.answers.PAGE_SIZE", 2)
    oldest: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        query = {"order": "oldest"} | ({} if cursor is None else {"cursor": cursor})
        page = (await viewer.get(path, **query)).json()
        oldest += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert oldest == newest[::-1]


async def test_the_totals_equal_the_sums_of_the_filtered_list(
    server: RunningServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = await server.operator("viewer")
    await make_chat_cut_short(server)
    await make_failed_search(server, tag="no_mitra_available")
    await server.pending_payment(await server.make.customer(), price_rp=35_000)
    payments = await _items(viewer, "/payments")

    async def totals(path: str, **query: str) -> dict[str, Any]:
        found: dict[str, Any] = (await viewer.get(path, **query)).json()
        return found

    assert await totals("/payments/totals") == {
        "payments": 3,
        "amount_rp": sum(one["amount_rp"] for one in payments),
        "taken_rp": sum(one["amount_rp"] for one in payments if one["confirmed_at"] is not None),
        "is_at_least": False,
    }
    assert (await totals("/payments/totals", status="pending"))["amount_rp"] == 35_000
    sessions = await _items(viewer, "/sessions")
    of_sessions = await totals("/sessions/totals")
    assert of_sessions["sessions"] == len(sessions)
    assert of_sessions["minutes"] == sum(one["duration_minutes"] for one in sessions)
    monkeypatch.setattr(records, "MAX_ROWS_TOTALLED", 2)
    assert await totals("/payments/totals") == {
        "payments": 2,
        "amount_rp": sum(one["amount_rp"] for one in payments[:2]),
        "taken_rp": sum(one["amount_rp"] for one in payments[:2] if one["confirmed_at"] is not None),
        "is_at_least": True,
    }


async def _answer(server: RunningServer, mitra_id: UUID, answer: str) -> None:
    mitra = await server.person("mitra", mitra_id)
    request_id = await server.database.fetchval(
        "SELECT id FROM requests WHERE mitra_id = $1 AND status = 'offered'", mitra_id
    )
    answered = await mitra.post(f"/requests/{request_id}/{answer}")
    assert answered.status_code < 300, answered.text


async def _three_answers(server: RunningServer, clock: VirtualClock) -> tuple[UUID, UUID]:
    """One mitra accepts after 7 s and rejects after 3 s. The other mitra loses the first search."""
    await clock.set(START)
    fast = await server.make.mitra("Kak Cepat", online=True, max_customers=3)
    slow = await server.make.mitra("Kak Lain", online=True)
    await server.search(await server.make.customer(), [fast, slow])
    await clock.advance(7)
    await _answer(server, fast, "accept")
    await server.search(await server.make.customer(), [fast])
    await clock.advance(3)
    await _answer(server, fast, "reject")
    return fast, slow


async def test_the_answers_of_mitras_are_the_same_before_and_after_the_worker_stored_their_hours(
    server: RunningServer, clock: VirtualClock
) -> None:
    fast, slow = await _three_answers(server, clock)
    viewer = await server.operator("viewer")
    before = (await viewer.get("/mitras/answers")).json()["items"]
    by_id = {one["id"]: one for one in before}
    assert by_id[str(fast)]["asked"] == 2
    assert by_id[str(fast)]["accepted"] == 1
    assert by_id[str(fast)]["rejected"] == 1
    assert by_id[str(fast)]["seconds_average"] == 7
    assert by_id[str(slow)]["taken"] == 1
    assert by_id[str(slow)]["acceptance"] == 0

    await clock.advance(3 * 3600)
    async with server.database.transaction() as tx:
        assert await records.keep_mitra_hours(tx) == records.MAX_HOURS_PER_KEEP
    assert await server.database.fetchval("SELECT count(*) FROM mitra_hours") == 2
    viewer = await server.operator("viewer")
    assert (await viewer.get("/mitras/answers")).json()["items"] == before
    worst_first = await _items(viewer, "/mitras/answers", sort="acceptance")
    assert [one["id"] for one in worst_first] == [str(slow), str(fast)]


async def test_the_period_of_the_answers_is_bounded(server: RunningServer, clock: VirtualClock) -> None:
    viewer = await server.operator("viewer")
    await clock.set(START)
    for since, until in (
        (START - timedelta(days=40), START),
        (START, START - timedelta(days=1)),
    ):
        query = {"from": since.isoformat(), "to": until.isoformat()}
        assert problem(await viewer.get("/mitras/answers", **query))[0] == 422


async def test_the_page_of_a_mitra_lists_its_requests_with_outcome_and_answer_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    fast, slow = await _three_answers(server, clock)
    viewer = await server.operator("viewer")
    answers = {
        (one["outcome"], one["close_reason"], one["answer_seconds"])
        for one in await _items(viewer, f"/mitras/{fast}/requests")
    }
    assert answers == {("accepted", None, 7), ("rejected", None, 3)}
    (lost,) = await _items(viewer, f"/mitras/{slow}/requests", outcome="closed")
    assert lost["close_reason"] == "already_taken"
    customer = await server.make.customer()
    assert problem(await viewer.get(f"/mitras/{customer}/requests")) == (404, "not_found")


async def test_now_shows_the_money_of_today_the_match_rate_and_the_hours_of_the_week(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(START)
    viewer = await server.operator("viewer")
    await make_chat_cut_short(server)
    await make_failed_search(server, tag="no_mitra_available")
    now = (await viewer.get("/dashboard")).json()
    count = server.database.fetchval
    taken = await count("SELECT sum(amount_rp) FROM charge_attempts WHERE status = 'approved'")
    under_review = await count("SELECT sum(amount_rp) FROM review_cases WHERE status = 'open'")
    assert now["money"] == {"taken_rp": taken or 0, "refunded_rp": 0, "under_review_rp": under_review}
    assert now["match_rate"] == 0.5
    assert (now["cases_overdue"], now["deadlines_overdue"]) == (0, 0)

    began_at = datetime.fromisoformat(now["server_now"]) - timedelta(days=7)
    await server.database.execute(
        "INSERT INTO hourly_counts (began_at, opened, confirmed, matched, finished, failed) VALUES ($1, 9, 8, 5, 5, 3)",
        began_at.replace(minute=0, second=0, microsecond=0),
    )
    local = began_at + timedelta(hours=7)
    (hour,) = (await viewer.get("/dashboard/charts")).json()["week"]
    assert hour == {"weekday": local.isoweekday(), "hour": local.hour, "served": 5, "failed": 3}
    await clock.advance(25 * 3600)
    later = (await (await server.operator("viewer")).get("/dashboard")).json()
    assert later["cases_overdue"] == later["open_cases"] > 0
    assert later["money"]["taken_rp"] == 0
