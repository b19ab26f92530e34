"""Test that a customer sees every payment, with what became of it, and learns of a decision and a refund (X.12)."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from curhat.journeys import charging, queries
from curhat.kit.page import PAGE_SIZE
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.reference import payment_reference
from curhat.sessions import extension
from curhat.sessions import service as sessions
from tests.support.cases import PaymentWithCase, make_failed_search, run_worker
from tests.support.chats import Chat
from tests.support.clock import VirtualClock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem


async def _payments(customer: Person, **query: Any) -> list[dict[str, Any]]:
    answer = await customer.get("/payments", **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _decide(operator: Person, failed: PaymentWithCase, decision: str = "refund") -> httpx.Response:
    body = {"decision": decision, "note": "maaf"}
    answer = await operator.post(f"/review-cases/{failed.case_id}/decision", body)
    assert answer.status_code == 200, answer.text
    return answer


async def _failed_search(server: RunningServer, *, price_rp: int = 20_000) -> tuple[Person, PaymentWithCase]:
    failed = await make_failed_search(server, price_rp=price_rp)
    return await server.person("customer", failed.customer_id), failed


async def _extend(server: RunningServer, chat: Chat, answer: ChargeAnswer) -> UUID:
    """Ask for an extension, let the mitra approve it, and record the gateway's answer. Returns the payment's id."""
    offer_id = await server.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")
    async with server.database.transaction() as tx:
        asked = await extension.request(tx, chat.customer.user_id, chat.id, offer_id, connected=True)
    async with server.database.transaction() as tx:
        _, charge = await extension.approve_by_mitra(tx, chat.mitra.user_id, asked.id)
    assert charge is not None
    async with server.database.transaction() as tx:
        await charging.charge_answered(tx, charge.key, answer, [])
    return asked.payment_id


@pytest.mark.rule("X.12", "X.9")
async def test_a_failed_search_shows_its_review_and_then_the_decision_and_the_refund(
    server: RunningServer,
) -> None:
    operator = await server.operator()
    customer, failed = await _failed_search(server)
    (payment,) = await _payments(customer)
    review = payment["review"]
    assert (payment["status"], payment["what_happened"], payment["charged_rp"]) == (
        "unserved",
        "no_session",
        20_000,
    )
    assert payment["reference"] == payment_reference(failed.payment_id)
    assert (review["status"], review["decision"], review["decided_at"]) == ("open", None, None)
    assert (payment["refunds"], payment["session_id"]) == ([], None)
    assert payment["pairing"]["failure_tag"] == "no_mitra_available"

    await _decide(operator, failed)
    (payment,) = await _payments(customer)
    assert (payment["review"]["status"], payment["review"]["decision"]) == ("decided", "refund")
    assert [(refund["amount_rp"], refund["status"]) for refund in payment["refunds"]] == [
        (20_000, "requested")
    ]

    await run_worker(server)
    (payment,) = await _payments(customer)
    (refund,) = payment["refunds"]
    assert (payment["status"], payment["what_happened"], refund["status"]) == (
        "refunded",
        "no_session",
        "done",
    )
    assert refund["at"] >= payment["review"]["decided_at"]
    one = (await customer.get(f"/payments/{failed.payment_id}")).json()
    assert {**one, "pairing": None, "server_now": None} == {**payment, "pairing": None, "server_now": None}


@pytest.mark.rule("X.12")
async def test_an_open_page_learns_of_a_decision_and_of_a_refund(server: RunningServer) -> None:
    operator = await server.operator()
    for decision in ("no_refund", "refund"):
        customer, failed = await _failed_search(server)
        async with customer.socket() as phone:
            await _decide(operator, failed, decision)
            told = await phone.wait_for("payment.updated")
            assert (told["id"], told["status"]) == (str(failed.payment_id), "unserved")
            if decision == "refund":
                await run_worker(server)
                await phone.wait_for("payment.updated", id=str(failed.payment_id), status="refunded")


@pytest.mark.rule("X.12", "2a.6")
async def test_the_refund_of_a_late_approval_reaches_the_list_and_the_open_page(
    server: RunningServer,
) -> None:
    customer = await server.customer()
    payment_id = await server.pending_payment(customer.id)
    async with server.available_mitra(), customer.socket() as phone:
        told = {"behaviour": "decline", "payment_id": str(payment_id)}
        await server.http.put("/api/dev/gateway", json=told)
        assert problem(await customer.post(f"/payments/{payment_id}/confirm")) == (402, "payment_declined")
        (payment,) = await _payments(customer)
        assert (payment["status"], payment["what_happened"], payment["charged_rp"]) == (
            "pending",
            "declined",
            0,
        )
        await customer.post(f"/payments/{payment_id}/cancel")
        await phone.wait_for("payment.updated", status="abandoned")
        phone.events.clear()
        key = await server.database.fetchval(
            "SELECT id FROM charge_attempts WHERE payment_id = $1", payment_id
        )
        await server.application.services.gateway.charge(key, payment_id, 20_000)
        async with server.database.transaction() as tx:
            await charging.charge_answered(tx, key, ChargeAnswer("approved"), [])
        await phone.wait_for("payment.updated", id=str(payment_id))
    (payment,) = await _payments(customer)
    assert (payment["status"], payment["what_happened"]) == ("abandoned", "abandoned")
    assert (payment["charged_rp"], payment["review"]) == (20_000, None)
    assert [(refund["amount_rp"], refund["status"]) for refund in payment["refunds"]] == [
        (20_000, "requested")
    ]


@pytest.mark.rule("X.12", "5.4", "X.8")
async def test_the_payments_of_a_session_and_its_extensions_share_what_happened_to_the_session(
    server: RunningServer,
) -> None:
    customer, mitra_id = await server.customer(), await server.make.mitra(max_customers=20)
    chat = await server.chat(customer.id, mitra_id)
    approved = await _extend(server, chat, ChargeAnswer("approved"))
    declined = await _extend(server, chat, ChargeAnswer("declined"))
    listed = await _payments(customer)
    assert [(one["id"], one["purpose"], one["what_happened"], one["charged_rp"]) for one in listed] == [
        (str(declined), "extension", "declined", 0),
        (str(approved), "extension", "served", 10_000),
        (str(chat.payment_id), "session", "served", 20_000),
    ]
    assert {one["session_id"] for one in listed} == {str(chat.id)}

    async with server.database.transaction() as tx:
        await sessions.end_by_mitra(tx, mitra_id, chat.id, "listrik padam")
    of_session = await _payments(customer, session_id=str(chat.id))
    assert [(one["what_happened"], one["review"] and one["review"]["status"]) for one in of_session] == [
        ("declined", None),
        ("cut_short", "open"),
        ("cut_short", "open"),
    ]
    # Another customer sees nothing of this session, and the session of another customer shows nothing.
    assert await _payments(await server.customer(), session_id=str(chat.id)) == []


@pytest.mark.rule("X.12", "2a.3")
async def test_a_failed_trial_and_an_expired_payment_took_no_money(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, failed = await _failed_search(server, price_rp=0)
    await server.pending_payment(customer.id)
    await clock.advance(20 * 60)
    await run_worker(server)
    expired, trial = await _payments(customer)
    assert (expired["status"], expired["what_happened"], expired["review"]) == ("expired", "expired", None)
    assert (trial["id"], trial["what_happened"]) == (str(failed.payment_id), "no_session")
    assert [(one["charged_rp"], one["refunds"]) for one in (expired, trial)] == [(0, []), (0, [])]


@pytest.mark.rule("X.12", "X.9")
async def test_a_decision_counts_only_after_the_second_operator_has_approved_it(
    server: RunningServer,
) -> None:
    customer, failed = await _failed_search(server)
    first, second = await server.operator(), await server.operator()
    await server.database.execute(
        "UPDATE review_cases SET status = 'decided', decision = 'refund', decision_note = 'maaf', decided_by = $2, "
        "decided_at = curhat_now(), refund_rp = amount_rp, needs_approval = true WHERE id = $1",
        failed.case_id,
        first.id,
    )
    (payment,) = await _payments(customer)
    assert (payment["review"]["status"], payment["review"]["decision"]) == ("open", None)
    approved = await second.post(f"/review-cases/{failed.case_id}/approval")
    assert approved.status_code == 200, approved.text
    (payment,) = await _payments(customer)
    assert (payment["review"]["status"], payment["review"]["decision"]) == ("decided", "refund")


@pytest.mark.rule("X.12")
async def test_the_list_has_pages_and_shows_only_the_customers_own_payments(server: RunningServer) -> None:
    customer, stranger = await server.customer(), await server.customer()
    offer_id = await server.make.offer()
    made = [
        row["id"]
        for row in await server.database.fetch(
            "INSERT INTO payments (customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, "
            "expires_at) SELECT $1, 'session', 'abandoned', $2, 30, 20000, false, curhat_now() "
            "FROM generate_series(1, $3) RETURNING id",
            customer.id,
            offer_id,
            PAGE_SIZE + 1,
        )
    ]
    first = (await customer.get("/payments")).json()
    second = (await customer.get("/payments", cursor=first["next_cursor"])).json()
    assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (PAGE_SIZE, 1, None)
    assert [UUID(one["id"]) for one in first["items"] + second["items"]] == sorted(made, reverse=True)
    assert problem(await customer.get("/payments", cursor="not ours")) == (422, "validation_failed")

    assert await _payments(stranger) == []
    assert problem(await stranger.get(f"/payments/{made[0]}")) == (404, "not_found")
    assert problem(await stranger.post(f"/payments/{made[0]}/seen")) == (404, "not_found")


@pytest.mark.rule("X.12")
async def test_the_home_screen_notes_money_under_review_and_each_outcome_until_it_was_seen(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    operator = await server.operator()
    customer, failed = await _failed_search(server)

    async def is_noted() -> bool:
        return [one["id"] for one in await _payments(customer, news=True)] == [str(failed.payment_id)]

    async def look() -> None:
        await clock.advance(1)
        assert (await customer.post(f"/payments/{failed.payment_id}/seen", key="")).status_code == 204

    assert await is_noted()
    await look()
    assert await is_noted()  # Paid money under review is noted until the decision.
    await clock.advance(60)
    await _decide(operator, failed)
    assert await is_noted()
    await look()
    assert not await is_noted()
    await clock.advance(1)
    await run_worker(server)
    assert await is_noted()  # The money is back.
    await look()
    assert not await is_noted()

    unseen, trial = await _failed_search(server, price_rp=0)
    assert [one["id"] for one in await _payments(unseen, news=True)] == [str(trial.payment_id)]
    await clock.advance(30 * 24 * 3600)
    unseen = await server.person("customer", trial.customer_id)
    assert await _payments(unseen, news=True) == []


@pytest.mark.rule("X.12")
async def test_a_page_of_payments_reads_only_the_payments_of_the_page(server: RunningServer) -> None:
    customer_id, offer_id = await server.make.customer(), await server.make.offer()
    await server.database.execute(
        "INSERT INTO payments (customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, "
        "expires_at) SELECT $1, 'session', 'abandoned', $2, 30, 20000, false, curhat_now() "
        "FROM generate_series(1, 3000)",
        customer_id,
        offer_id,
    )
    await server.database.execute("ANALYZE payments")
    # The service plans a statement once for all parameters (decision 0051), so the test does too.
    async with server.database.pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE listed AS {queries.LIST_CUSTOMER_PAYMENTS}")
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE listed "
            f"('{customer_id}', '{UUID(int=0)}', '{UUID(int=2**128 - 1)}', NULL, {PAGE_SIZE + 1})"
        )
    (planned,) = json.loads(plan)
    assert [scan for scan in scans_of(planned["Plan"]) if scan[0] == "payments"] == [
        ("payments", PAGE_SIZE + 1)
    ]


def scans_of(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the table and the number of rows of each scan in a plan, rows that a filter removed included."""
    if "Relation Name" in plan:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Relation Name"], int(rows * plan["Actual Loops"])
    for child in plan.get("Plans", []):
        yield from scans_of(child)
