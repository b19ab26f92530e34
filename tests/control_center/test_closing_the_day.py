"""Test that every day is closed once, and that a difference between the gateway's books and ours opens a case."""

import asyncio
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from curhat.app.closing import service as closing
from curhat.deadlines import loop as deadline_loop
from curhat.payments.gateway import GatewayUnknown
from tests.support.cases import make_failed_search, run_worker
from tests.support.clock import VirtualClock
from tests.support.signed_in import RunningServer, problem

JAKARTA = ZoneInfo("Asia/Jakarta")


def _today() -> date:
    return datetime.now(JAKARTA).date()


async def _close(server: RunningServer, day: date) -> bool:
    return await closing.close_day(server.database, server.application.services.gateway, day)


async def _differences(server: RunningServer) -> list[tuple[str, str | None, str | None]]:
    rows = await server.database.fetch(
        "SELECT about, our_status, gateway_status FROM book_differences ORDER BY found_at, key"
    )
    return [(row["about"], row["our_status"], row["gateway_status"]) for row in rows]


@pytest.mark.rule("X.12")
async def test_a_day_whose_books_agree_is_closed_once_and_stands_on_the_first_screen(
    server: RunningServer,
) -> None:
    viewer, reviewer = await server.operator("viewer"), await server.operator("reviewer")
    failed = await make_failed_search(server)
    await reviewer.post(f"/review-cases/{failed.case_id}/decision", {"decision": "refund", "note": "maaf"})
    await run_worker(server)
    assert (await viewer.get("/dashboard")).json()["closed_day"] is None
    assert await _close(server, _today()) is True
    assert await _close(server, _today()) is False
    closed = (await viewer.get("/dashboard")).json()["closed_day"]
    assert (closed["day"], closed["charges"], closed["charged_rp"]) == (_today().isoformat(), 1, 20_000)
    assert (closed["refunds"], closed["refunded_rp"], closed["differences"]) == (1, 20_000, 0)
    assert closed["invariants_checked"] > 40
    with pytest.raises(Exception, match="closed_days"):
        await server.database.execute("UPDATE closed_days SET differences = 1")


@pytest.mark.rule("X.12")
async def test_a_charge_that_the_gateway_forgot_opens_a_case_with_its_evidence(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    case_path = f"/review-cases/{failed.case_id}"
    await reviewer.post(f"{case_path}/decision", {"decision": "no_refund", "note": "sudah dilayani"})
    body = {"behaviour": "forget", "payment_id": str(failed.payment_id)}
    told = await server.http.put("/api/dev/gateway", json=body)
    assert told.status_code == 200, told.text
    assert await _close(server, _today())
    case = (await reviewer.get(case_path)).json()
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "books_differ", 20_000)
    (evidence,) = case["book_differences"]
    assert (evidence["our_status"], evidence["our_rp"]) == ("approved", 20_000)
    assert (evidence["gateway_status"], evidence["gateway_rp"]) == (None, None)
    dashboard = (await reviewer.get("/dashboard")).json()
    assert (dashboard["closed_day"]["differences"], dashboard["gateway_alerts"]) == (1, 1)
    # What was found once is not found again on the next night.
    decided = await reviewer.post(f"{case_path}/decision", {"decision": "no_refund", "note": "gateway salah"})
    assert decided.status_code == 200
    assert await _close(server, _today() + timedelta(days=1))
    assert (await reviewer.get(case_path)).json()["status"] == "decided"
    assert await _differences(server) == [("charge", "approved", None)]


@pytest.mark.rule("X.12")
async def test_a_charge_that_the_gateway_invented_opens_a_case(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    pending_id = await server.pending_payment(await server.make.customer())
    body = {"behaviour": "invent", "payment_id": str(pending_id)}
    assert (await server.http.put("/api/dev/gateway", json=body)).status_code == 200
    nowhere = {"behaviour": "invent", "payment_id": str(uuid4())}
    assert (await server.http.put("/api/dev/gateway", json=nowhere)).status_code == 200
    without = await server.http.put("/api/dev/gateway", json={"behaviour": "invent"})
    assert problem(without) == (422, "validation_failed")
    assert await _close(server, _today())
    assert await _differences(server) == [("charge", None, "approved")] * 2
    (case,) = (await reviewer.get("/review-cases", reason="books_differ")).json()["items"]
    assert (case["payment_id"], case["refundable_rp"]) == (str(pending_id), 0)


@pytest.mark.rule("X.12")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE mock_gateway.charges SET amount_rp = 19999", ("charge", "approved", "approved")),
        ("UPDATE mock_gateway.charges SET status = 'declined'", ("charge", "approved", "declined")),
        ("UPDATE mock_gateway.refunds SET status = 'failed'", ("refund", "done", "failed")),
        ("UPDATE mock_gateway.refunds SET amount_rp = 5000", ("refund", "done", "done")),
        ("DELETE FROM mock_gateway.refunds", ("refund", "done", None)),
    ],
)
async def test_another_amount_or_status_is_a_difference(
    server: RunningServer, change: str, found: tuple[str, str, str | None]
) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    await reviewer.post(f"/review-cases/{failed.case_id}/decision", {"decision": "refund", "note": "maaf"})
    await run_worker(server)
    await server.database.execute(change)
    assert await _close(server, _today())
    assert await _differences(server) == [found]


@pytest.mark.rule("X.12")
async def test_a_broken_invariant_is_named_by_the_closed_day(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    failed = await make_failed_search(server)
    await server.database.execute("DELETE FROM failed_pairing_events WHERE case_id = $1", failed.case_id)
    assert await _close(server, _today())
    closed = (await viewer.get("/dashboard")).json()["closed_day"]
    assert "failed_attempt_has_event" in closed["broken_invariants"]


@pytest.mark.rule("X.12")
async def test_every_night_one_of_several_workers_closes_the_day_that_ended(
    server: RunningServer, clock: VirtualClock
) -> None:
    services = server.application.services
    await clock.advance(0)
    async with server.database.transaction() as tx:
        await closing.arm_closing(tx)
    async with server.database.transaction() as tx:
        await closing.arm_closing(tx)
    assert await server.database.fetchval("SELECT count(*) FROM deadlines WHERE kind = 'books_close'") == 1
    await asyncio.gather(*(deadline_loop.run_once(server.database, services.transitions) for _ in range(2)))
    days = await server.database.fetch("SELECT day FROM closed_days")
    assert len(days) == 1
    # The retry finds nothing to do, and waits for the next night. Two nights without any worker are made up for.
    await clock.advance(closing.RETRY_SECONDS + 1)
    await run_worker(server)
    assert await server.database.fetchval("SELECT count(*) FROM closed_days") == 1
    await clock.advance(2 * 86_400)
    for _ in range(4):
        await run_worker(server)
        await clock.advance(closing.RETRY_SECONDS + 1)
    found = await server.database.fetch("SELECT day FROM closed_days ORDER BY day")
    first: date = days[0]["day"]
    assert [row["day"] for row in found] == [first, first + timedelta(days=1), first + timedelta(days=2)]
    assert await server.database.fetchval("SELECT count(*) FROM deadlines WHERE kind = 'books_close'") == 1


@pytest.mark.rule("X.12")
async def test_a_silent_gateway_or_a_crash_only_delays_the_day(
    server: RunningServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = server.application.services
    await clock.advance(0)
    tries: list[UUID] = []

    async def silent(*_arguments: object) -> bool:
        tries.append(uuid4())
        raise GatewayUnknown

    async with server.database.transaction() as tx:
        await closing.arm_closing(tx)
    with monkeypatch.context() as patched:
        patched.setattr(closing, "close_day", silent)
        await deadline_loop.run_once(server.database, services.transitions)
    assert (len(tries), await server.database.fetchval("SELECT count(*) FROM closed_days")) == (1, 0)
    await clock.advance(closing.RETRY_SECONDS + 1)
    await run_worker(server)
    assert await server.database.fetchval("SELECT count(*) FROM closed_days") == 1
