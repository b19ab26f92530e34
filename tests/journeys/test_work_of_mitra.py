"""Test a mitra's sums of a day, a week and a month, and the mitra's past requests."""

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from curhat.journeys.work import first_id_at, period_starts
from curhat.kit.page import PAGE_SIZE
from tests.support.clock import VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

# 1 January 2026 was a Thursday. In Jakarta it is 19:00 then, and in Makassar 20:00.
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.rule("M.1")
@pytest.mark.parametrize(
    ("now", "zone", "today", "week", "month"),
    [
        (NOON, "Asia/Jakarta", "2025-12-31T17:00", "2025-12-28T17:00", "2025-12-31T17:00"),
        # At 16:30 UTC, the next day has begun in Makassar, and not yet in Jakarta.
        ("2026-02-01T16:30", "Asia/Jakarta", "2026-01-31T17:00", "2026-01-25T17:00", "2026-01-31T17:00"),
        ("2026-02-01T16:30", "Asia/Makassar", "2026-02-01T16:00", "2026-02-01T16:00", "2026-01-31T16:00"),
        # The clocks changed at 02:00 on this Sunday. The day began in winter time.
        ("2026-03-29T12:00", "Europe/Berlin", "2026-03-28T23:00", "2026-03-22T23:00", "2026-02-28T23:00"),
    ],
)
def test_a_day_a_week_and_a_month_begin_at_midnight_in_the_zone_of_the_viewer(
    now: datetime | str, zone: str, today: str, week: str, month: str
) -> None:
    moment = now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=UTC)
    starts = [f"{start:%Y-%m-%dT%H:%M}" for start in period_starts(moment, ZoneInfo(zone))]
    assert starts == [today, week, month]


async def test_the_first_id_of_a_moment_is_not_after_the_ids_of_this_moment(server: RunningServer) -> None:
    before = await server.database.fetchval("SELECT clock_timestamp()")
    made = await server.database.fetchval("SELECT uuidv7()")
    after = await server.database.fetchval("SELECT clock_timestamp() + interval '1 millisecond'")
    assert first_id_at(before) <= made < first_id_at(after)


async def ask(server: RunningServer, mitra: Person, *, price_rp: int = 20_000) -> tuple[UUID, Person]:
    """Ask this mitra in a new blast, and return the request's id and the customer."""
    customer = await server.customer("Melati")
    payment_id = await server.make.confirmed_payment(customer.id, price_rp=price_rp)
    pairing_id = await server.search_of(payment_id, [mitra.id])
    request_id: UUID = await server.database.fetchval(
        "SELECT id FROM requests WHERE pairing_id = $1", pairing_id
    )
    return request_id, customer


async def close(server: RunningServer, request_id: UUID, reason: str) -> None:
    """Close a request for this reason."""
    await server.database.execute(
        "UPDATE requests SET status = 'closed', close_reason = $2, answered_at = curhat_now() WHERE id = $1",
        request_id,
        reason,
    )


@pytest.mark.rule("M.1")
async def test_a_mitra_sees_the_sessions_and_requests_of_today_this_week_and_this_month(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(NOON)
    mitra, other = await server.mitra(max_customers=5), await server.mitra("Kak Budi", max_customers=5)
    paid, customer = await ask(server, mitra)
    free, _ = await ask(server, mitra, price_rp=0)
    taken, unanswered, withdrawn, _open = [(await ask(server, mitra))[0] for _ in range(4)]
    session = (await mitra.post(f"/requests/{paid}/accept")).json()["session"]
    await clock.advance(12 * 60)
    assert (await customer.post(f"/sessions/{session['id']}/end")).status_code == 200
    assert (await mitra.post(f"/requests/{free}/accept")).status_code == 409  # Its window is over.
    free, _ = await ask(server, mitra, price_rp=0)
    assert (await mitra.post(f"/requests/{free}/accept")).status_code == 200
    rejected, _ = await ask(server, mitra)
    assert (await mitra.post(f"/requests/{rejected}/reject")).status_code == 204
    for request_id, reason in (
        (taken, "already_taken"),
        (unanswered, "timed_out"),
        (withdrawn, "customer_cancelled"),
    ):
        await close(server, request_id, reason)
    await server.chat(
        (await server.customer()).id, other.id
    )  # Another mitra's session counts for the other mitra.
    await clock.advance(3 * 60)
    summary = (await mitra.get("/summary")).json()
    requests = {
        "asked": 8,
        "accepted": 2,
        "taken_by_another": 1,
        "not_answered": 1,
        "rejected": 1,
        "withdrawn": 1,
    }
    # The running session has lasted 3 minutes.
    work = {"sessions": 2, "minutes": 15, "paid_sessions": 1, "trial_sessions": 1, "requests": requests}
    assert summary.pop("server_now") == "2026-01-01T12:15:00Z"
    assert summary == {
        "zone": "Asia/Jakarta",
        "today": {**work, "since": "2025-12-31T17:00:00Z"},
        "week": {**work, "since": "2025-12-28T17:00:00Z"},
        "month": {**work, "since": "2025-12-31T17:00:00Z"},
    }
    # On the next day, the week has the same work, and the day has none.
    await clock.advance(6 * 3600)
    later = (await mitra.get("/summary", zone="Asia/Jakarta")).json()
    assert (later["today"]["sessions"], later["today"]["minutes"], later["today"]["requests"]["asked"]) == (
        0,
        0,
        0,
    )
    assert (later["week"]["sessions"], later["month"]["requests"]) == (2, requests)


@pytest.mark.rule("M.1")
@pytest.mark.parametrize(
    "zone", ["", "Asia/Nowhere", "../../etc/passwd", "/etc/passwd", "Asia", "x" * 65, "a\0b"]
)
async def test_an_unknown_time_zone_is_refused(server: RunningServer, zone: str) -> None:
    answer = await (await server.mitra()).get("/summary", zone=zone)
    assert problem(answer) == (422, "validation_failed")


@pytest.mark.rule("M.1", "X.4")
async def test_a_past_request_says_how_it_ended_and_shows_no_amount(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set(NOON)
    mitra, other = await server.mitra(max_customers=5), await server.mitra("Kak Budi", max_customers=5)
    late, _ = await ask(server, mitra)
    await clock.advance(60)  # The window is over, and no worker has closed the request.
    paid, _ = await ask(server, mitra)
    session = (await mitra.post(f"/requests/{paid}/accept")).json()["session"]
    free, _ = await ask(server, mitra, price_rp=0)
    assert (await mitra.post(f"/requests/{free}/reject")).status_code == 204
    taken, _ = await ask(server, mitra)
    await close(server, taken, "already_taken")
    await ask(server, mitra)  # This request waits for an answer.
    await ask(server, other)
    page = (await mitra.get("/requests/history")).json()
    shown = [(one["id"], one["outcome"], one["is_trial"], one["session_id"]) for one in page["items"]]
    assert page["next_cursor"] is None
    assert shown == [
        (str(taken), "already_taken", False, None),
        (str(free), "rejected", True, None),
        (str(paid), "accepted", False, session["id"]),
        (str(late), "timed_out", False, None),
    ]
    assert page["items"][0].keys() == {
        "id",
        "kind",
        "call_name",
        "is_returning",
        "duration_minutes",
        "is_trial",
        "offered_at",
        "answered_at",
        "outcome",
        "session_id",
    }


@pytest.mark.rule("M.1")
async def test_the_pages_of_past_requests_have_each_request_once(server: RunningServer) -> None:
    mitra = await server.mitra()
    first, _ = await ask(server, mitra)
    await close(server, first, "timed_out")
    for _ in range(PAGE_SIZE):
        request_id, _ = await ask(server, mitra)
        await close(server, request_id, "timed_out")
    page = (await mitra.get("/requests/history")).json()
    rest = (await mitra.get("/requests/history", cursor=page["next_cursor"])).json()
    assert (len(page["items"]), rest["next_cursor"]) == (PAGE_SIZE, None)
    assert [one["id"] for one in rest["items"]] == [str(first)]
    wrong = await mitra.get("/requests/history", cursor="none of ours")
    assert problem(wrong) == (422, "validation_failed")
