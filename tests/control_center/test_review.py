"""Test that operators see failed pairings and review cases, and that each case is decided and refunded at most once."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from curhat.journeys import charging
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.payments.gateway import ChargeAnswer, RefundAnswer
from curhat.payments.mock.schemas import Behaviour
from tests.support.cases import PaymentWithCase, make_chat_cut_short, make_failed_search, run_worker
from tests.support.clock import VirtualClock
from tests.support.csv_files import rows_of
from tests.support.journey import Latch, wait_for_lock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

DECIDED = (409, "case_decided")
NOTHING_TO_REFUND = (409, "nothing_to_refund")


async def _decide(
    operator: Person, failed: PaymentWithCase, decision: str = "refund", note: str = "maaf"
) -> httpx.Response:
    return await operator.post(
        f"/review-cases/{failed.case_id}/decision", {"decision": decision, "note": note}
    )


async def _case(operator: Person, failed: PaymentWithCase) -> dict[str, Any]:
    answer = await operator.get(f"/review-cases/{failed.case_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _status(server: RunningServer, failed: PaymentWithCase) -> str:
    found: str = await server.database.fetchval(
        "SELECT status FROM payments WHERE id = $1", failed.payment_id
    )
    return found


# Reading -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("2b.3", "X.1")
async def test_a_failed_pairing_is_listed_with_its_masked_customer_and_its_case(
    server: RunningServer,
) -> None:
    viewer = await server.operator("viewer")
    failed = await make_failed_search(server, tag="all_mitras_rejected", call_name="Melati")
    items = (await viewer.get("/failed-pairings")).json()["items"]
    assert len(items) == 1
    event = items[0]
    assert event["customer"]["call_name"] == "Melati"
    assert event["customer"]["phone_masked"].startswith("+62 ***")
    assert {
        name: event[name] for name in ("tag", "kind", "payment_id", "amount_rp", "recovered", "case_id")
    } == {
        "tag": "all_mitras_rejected",
        "kind": "blast",
        "payment_id": str(failed.payment_id),
        "amount_rp": 20_000,
        "recovered": False,
        "case_id": str(failed.case_id),
    }


async def test_failed_pairings_are_filtered_by_tag_and_kind_and_recovery_and_amount_and_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    viewer = await server.operator("viewer")
    early = await clock.advance(0)
    first = await make_failed_search(server, price_rp=10_000, tag="customer_cancelled")
    late = await clock.advance(3600)
    second = await make_failed_search(server, price_rp=35_000)
    await server.database.execute(
        "UPDATE failed_pairing_events SET recovered = true, case_id = NULL WHERE payment_id = $1",
        second.payment_id,
    )

    async def found(**query: Any) -> list[str]:
        answer = await viewer.get("/failed-pairings", **query)
        assert answer.status_code == 200, answer.text
        return [event["payment_id"] for event in answer.json()["items"]]

    both, one, two = (
        [str(second.payment_id), str(first.payment_id)],
        [str(first.payment_id)],
        [str(second.payment_id)],
    )
    assert await found() == both
    assert await found(tag="customer_cancelled") == one
    assert await found(tag="targeted_mitra_offline") == []
    assert await found(kind="blast") == both
    assert await found(kind="targeted") == []
    assert await found(recovered="true") == two
    assert await found(recovered="false") == one
    assert await found(minimum_amount_rp=10_001) == two
    assert await found(maximum_amount_rp=10_000) == one
    assert await found(**{"from": late.isoformat()}) == two
    assert await found(**{"from": early.isoformat(), "to": late.isoformat()}) == one


@pytest.mark.parametrize(
    "query",
    [
        {"tag": "other"},
        {"kind": "other"},
        {"recovered": "maybe"},
        {"minimum_amount_rp": "-1"},
        {"maximum_amount_rp": str(2**31)},
        {"minimum_amount_rp": "x"},
        {"from": "2026-01-01"},
        {"from": "2026-01-01T00:00:00"},
        {"to": "0001-01-01T00:00:00+23:59"},
        {"cursor": "x"},
        {"cursor": "AAAA"},
        {"cursor": ""},
        {"format": "xml"},
    ],
)
async def test_an_invalid_filter_is_refused(server: RunningServer, query: dict[str, str]) -> None:
    viewer = await server.operator("viewer")
    for path in ("/failed-pairings", "/review-cases"):
        if path == "/review-cases" and {"kind", "recovered"} & query.keys():
            continue
        if path == "/review-cases" and [name for name in query if "amount" in name]:
            continue
        assert problem(await viewer.get(path, **query)) == (422, "validation_failed"), path


async def test_cases_can_be_filtered_and_are_listed_with_the_oldest_open_case_first(
    server: RunningServer, clock: VirtualClock
) -> None:
    reviewer = await server.operator("reviewer")
    cases = []
    for tag in ("no_mitra_available", "customer_cancelled", "all_mitras_rejected"):
        await clock.advance(60)
        cases.append(await make_failed_search(server, tag=tag))
    await _decide(reviewer, cases[0], "no_refund")

    async def found(**query: Any) -> list[int]:
        ids = [each["id"] for each in (await reviewer.get("/review-cases", **query)).json()["items"]]
        return [[str(case.case_id) for case in cases].index(each) for each in ids]

    assert await found() == [1, 2, 0]
    assert await found(status="open") == [1, 2]
    assert await found(status="decided") == [0]
    assert await found(tag="all_mitras_rejected") == [2]
    assert await found(status="open", tag="no_mitra_available") == []
    assert await found(reason="no_session") == [1, 2, 0]
    assert await found(reason="cut_short") == []


async def test_pages_of_cases_have_no_gap_and_no_overlap(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    customer_id = await server.make.customer()
    await server.database.execute(SEED_CASES, customer_id, await server.make.offer(), 120)
    ids: list[str] = []
    cursor = None
    pages = 0
    while True:
        page = (await viewer.get("/review-cases", **({"cursor": cursor} if cursor else {}))).json()
        ids += [case["id"] for case in page["items"]]
        pages += 1
        cursor = page["next_cursor"]
        if cursor is None:
            break
    expected = await server.database.fetch(
        "SELECT id::text FROM review_cases ORDER BY status DESC, opened_at, review_cases.id"
    )
    assert (pages, ids) == (3, [row["id"] for row in expected])


SEED_CASES = """
WITH paid AS (
    INSERT INTO payments (customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, expires_at,
        confirmed_at)
    SELECT $1, 'session', 'unserved', $2, 30, 20000, false, curhat_now(), curhat_now()
    FROM generate_series(1, $3::integer)
    RETURNING id
)
INSERT INTO review_cases (payment_id, reason, amount_rp, opened_at)
-- Seven cases share each opening time. Their ids order them.
SELECT id, 'no_session', 20000, curhat_now() - make_interval(mins => (row_number() OVER ()::integer / 7))
FROM paid
"""


@pytest.mark.rule("X.1", "2b.3")
async def test_a_case_shows_every_asked_mitra_and_each_answer_with_its_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    reviewer = await server.operator("reviewer", "dewi@example.id")
    customer = await server.customer()
    asked = [await server.mitra(name) for name in ("Kak Sari", "Kak Budi")]
    await clock.set()
    payment_id = await server.make.confirmed_payment(customer.id)
    pairing_id = await server.search_of(payment_id, [mitra.id for mitra in asked])
    rows = await server.database.fetch("SELECT id, mitra_id FROM requests")
    requests = {row["mitra_id"]: row["id"] for row in rows}
    await clock.advance(5)
    await asked[0].post(f"/requests/{requests[asked[0].id]}/reject")
    await clock.advance(2)
    await customer.post(f"/pairings/{pairing_id}/cancel")
    case_id = await server.database.fetchval("SELECT id FROM review_cases")
    await clock.advance(60)
    await reviewer.post(
        f"/review-cases/{case_id}/decision", {"decision": "no_refund", "note": "sudah ditelepon"}
    )

    case = (await reviewer.get(f"/review-cases/{case_id}")).json()
    assert (case["reason"], case["tag"], case["status"]) == ("no_session", "customer_cancelled", "decided")
    assert case["payment"]["status"] == "unserved"
    entries = [
        (
            entry["type"],
            entry["status"],
            entry["tag"] or entry["reason"],
            entry["mitra"] and entry["mitra"]["display_name"],
        )
        for entry in case["timeline"]
        if not entry["type"].startswith(("charge", "payment"))
    ]
    asking = [each for each in entries if each[0] == "mitra_asked"]
    assert {each[3] for each in asking} == {"Kak Sari", "Kak Budi"}
    assert [each for each in entries if each[0] != "mitra_asked"] == [
        ("pairing_opened", None, None, None),
        ("mitra_answered", "rejected", None, "Kak Sari"),
        ("mitra_answered", "closed", "customer_cancelled", "Kak Budi"),
        ("pairing_decided", "failed", "customer_cancelled", None),
        ("failure_logged", None, "customer_cancelled", None),
        ("case_opened", None, "customer_cancelled", None),
        ("case_decided", "no_refund", None, None),
    ]
    assert [entry["at"] for entry in case["timeline"]] == sorted(entry["at"] for entry in case["timeline"])
    decided = case["timeline"][-1]
    assert (decided["operator"]["email"], decided["note"]) == ("dewi@example.id", "sudah ditelepon")


@pytest.mark.rule("X.8", "5.7", "X.9")
async def test_an_extension_has_its_own_case_and_refund_when_the_session_was_cut_short(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    async with server.available_mitra() as mitra:
        chat = await server.chat((await server.customer()).id, mitra.id)
        offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        customer = await server.person("customer", chat.customer.user_id)
        asked = await customer.post(f"/sessions/{chat.id}/extensions", {"offer_id": str(offer_id)})
        added = asked.json()
        given = await mitra.post(f"/extensions/{added['id']}/accept")
        assert (given.status_code, given.json()["status"]) == (200, "approved")
        await mitra.post(f"/sessions/{chat.id}/end", {"reason": "listrik padam"})
    case_id = await server.database.fetchval(
        "SELECT id FROM review_cases WHERE payment_id = $1", UUID(added["payment_id"])
    )
    answer = await reviewer.post(f"/review-cases/{case_id}/decision", {"decision": "refund", "note": "maaf"})
    assert answer.status_code == 200, answer.text
    await run_worker(server)
    case = (await reviewer.get(f"/review-cases/{case_id}")).json()
    assert (case["reason"], case["payment"]["status"], case["payment"]["amount_rp"]) == (
        "cut_short",
        "refunded",
        10_000,
    )
    first = (await reviewer.get(f"/payments/{chat.payment_id}")).json()
    for timeline in (case["timeline"], first["timeline"]):
        steps = [(entry["type"], entry["status"]) for entry in timeline if entry["type"].startswith("ext")]
        assert steps == [
            ("extension_requested", None),
            ("extension_decided", "charging"),
            ("extension_decided", "approved"),
        ]


async def test_an_unknown_case_is_not_found(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    nowhere = uuid4()
    assert problem(await reviewer.get(f"/review-cases/{nowhere}")) == (404, "not_found")
    for step, body in (
        ("decision", {"decision": "refund", "note": "x"}),
        ("approval", None),
        ("refund-retry", None),
    ):
        assert problem(await reviewer.post(f"/review-cases/{nowhere}/{step}", body)) == (404, "not_found")


# Deciding ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("X.9", "2b.3")
async def test_a_payment_is_marked_as_refunded_after_the_gateway_confirmed_the_refund(
    server: RunningServer,
) -> None:
    """The server asks the gateway for the refund only once."""
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    decided = await _decide(reviewer, failed)
    assert decided.status_code == 200, decided.text
    assert (decided.json()["status"], decided.json()["refund"]["status"]) == ("decided", "requested")
    assert await _status(server, failed) == "unserved"
    await run_worker(server)
    case = await _case(reviewer, failed)
    assert (case["refund"]["status"], case["refund"]["amount_rp"]) == ("done", 20_000)
    assert await _status(server, failed) == "refunded"
    recorded = await server.application.services.gateway.recorded(failed.payment_id)
    assert [(refund.charge_key, refund.amount_rp) for refund in recorded.refunds] == [
        (failed.charge_key, 20_000)
    ]
    events = await server.database.fetch(
        "SELECT data FROM stream_events WHERE user_id = $1 ORDER BY seq", failed.customer_id
    )
    assert '"status":"refunded"' in events[-2]["data"]
    actions = await server.database.fetch("SELECT actor, action FROM audit_entries ORDER BY id")
    assert [tuple(row) for row in actions] == [
        (str(reviewer.id), "case_decided"),
        (str(reviewer.id), "refund_requested:operator_decision"),
        ("system", "refund_done"),
    ]


@pytest.mark.rule("X.9")
async def test_an_operator_who_repeats_a_decision_gets_the_first_decision(server: RunningServer) -> None:
    first, second = await server.operator("reviewer", "dewi@example.id"), await server.operator("reviewer")
    failed = await make_failed_search(server)
    decided = await _decide(first, failed, note="pertama")
    again = await _decide(first, failed, note="kedua")
    assert again.status_code == 200
    assert (again.json()["note"], again.json()["id"]) == ("pertama", decided.json()["id"])
    refused = await _decide(second, failed)
    assert problem(refused) == DECIDED
    assert (refused.json()["decision"], refused.json()["decided_by"]) == ("refund", "dewi@example.id")
    assert await server.database.fetchval("SELECT count(*) FROM refunds") == 1


@pytest.mark.rule("X.9")
@pytest.mark.parametrize(
    "decisions", [("refund", "refund"), ("refund", "no_refund"), ("no_refund", "refund")]
)
async def test_the_second_of_two_concurrent_decisions_waits_and_is_refused(
    server: RunningServer, decisions: tuple[str, str]
) -> None:
    first, second = await server.operator("reviewer"), await server.operator("admin")
    failed = await make_failed_search(server)
    latch = Latch()
    set_pause_point("decide.before_commit", latch)
    deciding = asyncio.create_task(_decide(first, failed, decisions[0]))
    await latch.reached.wait()
    late = asyncio.create_task(_decide(second, failed, decisions[1]))
    await wait_for_lock(server.database)
    latch.open()
    assert problem(await deciding) == (200, None)
    assert problem(await late) == DECIDED
    row = await server.database.fetchrow("SELECT decision, decided_by FROM review_cases")
    assert row is not None
    assert tuple(row) == (decisions[0], first.id)
    assert await server.database.fetchval("SELECT count(*) FROM refunds") == (decisions[0] == "refund")


async def test_many_concurrent_decisions_lead_to_one_decision_and_one_refund(server: RunningServer) -> None:
    operators = [await server.operator("reviewer") for _ in range(8)]
    failed = await make_failed_search(server)
    answers = await asyncio.gather(*(_decide(operator, failed) for operator in operators))
    assert sorted(map(problem, answers), key=str) == [(200, None)] + [DECIDED] * 7
    await run_worker(server)
    recorded = await server.application.services.gateway.recorded(failed.payment_id)
    assert len(recorded.refunds) == 1


async def test_two_equal_concurrent_decisions_of_one_operator_both_return_the_decided_case(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    answers = await asyncio.gather(*(_decide(reviewer, failed) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert await server.database.fetchval("SELECT count(*) FROM refunds") == 1


@pytest.mark.rule("X.9")
@pytest.mark.parametrize(("first", "second"), [("refund", "no_refund"), ("no_refund", "refund")])
async def test_an_operator_cannot_replace_an_earlier_decision_by_another_decision(
    server: RunningServer, first: str, second: str
) -> None:
    """The operator decides in one tab.

    The operator then decides differently in a second tab that still shows the open case.
    """
    reviewer = await server.operator("reviewer", "dewi@example.id")
    failed = await make_failed_search(server)
    version = (await _case(reviewer, failed))["version"]
    path = f"/review-cases/{failed.case_id}/decision"
    body = {"note": "maaf", "expected_version": version}
    assert (await reviewer.post(path, {**body, "decision": first})).status_code == 200
    refused = await reviewer.post(path, {**body, "decision": second})
    assert problem(refused) == DECIDED
    assert (refused.json()["decision"], refused.json()["decided_by"]) == (first, "dewi@example.id")
    assert (await _case(reviewer, failed))["decision"] == first


@pytest.mark.rule("X.9")
async def test_only_one_of_two_opposite_concurrent_decisions_of_an_operator_takes_effect(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    decisions = ["refund", "no_refund"] * 2
    answers = await asyncio.gather(*(_decide(reviewer, failed, decision) for decision in decisions))
    made = await server.database.fetchval("SELECT decision FROM review_cases")
    assert list(map(problem, answers)) == [
        (200, None) if decision == made else DECIDED for decision in decisions
    ]
    assert await server.database.fetchval("SELECT count(*) FROM refunds") == (made == "refund")


async def test_a_decision_that_is_repeated_under_its_idempotency_key_gets_the_first_answer(
    server: RunningServer,
) -> None:
    """A decision without an idempotency key is refused."""
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    path, body = f"/review-cases/{failed.case_id}/decision", {"decision": "refund", "note": "maaf"}
    assert problem(await reviewer.post(path, body, key="")) == (400, "idempotency_key_missing")
    first = await reviewer.post(path, body, key="one")
    await run_worker(server)
    again = await reviewer.post(path, body, key="one")
    assert again.content == first.content
    other = await reviewer.post(path, {**body, "decision": "no_refund"}, key="one")
    assert problem(other) == (409, "idempotency_key_reused")


@pytest.mark.rule("X.1")
async def test_a_failed_trial_has_a_case_and_nothing_to_refund(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    trial = await make_failed_search(server, price_rp=0)
    case = await _case(reviewer, trial)
    assert (case["amount_rp"], case["refundable_rp"]) == (0, 0)
    assert problem(await _decide(reviewer, trial)) == NOTHING_TO_REFUND
    assert (await _case(reviewer, trial))["status"] == "open"
    decided = await _decide(reviewer, trial, "no_refund")
    assert (decided.json()["status"], decided.json()["refund"]) == ("decided", None)


async def test_a_session_that_was_cut_short_is_refunded_when_the_gateway_confirms_the_refund(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed, session_id = await make_chat_cut_short(server)
    case = await _case(reviewer, failed)
    assert (case["reason"], case["payment"]["session_id"]) == ("cut_short", str(session_id))
    ended = [entry for entry in case["timeline"] if entry["type"] == "session_ended"]
    assert (ended[0]["reason"], ended[0]["note"]) == ("mitra_ended", "listrik padam")
    assert problem(await _decide(reviewer, failed)) == (200, None)
    await run_worker(server)
    assert await _status(server, failed) == "refunded"


async def test_a_refused_refund_shows_the_reason_and_can_be_retried(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    retry = f"/review-cases/{failed.case_id}/refund-retry"
    assert problem(await reviewer.post(retry)) == (409, "refund_not_failed")
    await server.application.services.gateway.set_behaviour("decline", failed.payment_id)
    await _decide(reviewer, failed)
    assert problem(await reviewer.post(retry)) == (409, "refund_not_failed")
    await run_worker(server)
    case = await _case(reviewer, failed)
    assert case["status"] == "decided"
    assert (case["refund"]["status"], case["refund"]["reason"]) == ("failed", "refused by the mock gateway")
    assert await _status(server, failed) == "unserved"
    await server.application.services.gateway.set_behaviour("approve", failed.payment_id)
    again = await reviewer.post(retry)
    assert (again.status_code, again.json()["refund"]["status"]) == (200, "requested")
    await run_worker(server)
    assert (await _case(reviewer, failed))["refund"]["status"] == "done"
    assert await _status(server, failed) == "refunded"
    assert problem(await reviewer.post(retry)) == (409, "refund_not_failed")
    recorded = await server.application.services.gateway.recorded(failed.payment_id)
    assert [refund.status for refund in recorded.refunds] == ["failed", "done"]


@pytest.mark.invariant(9, 15)
async def test_a_pending_refund_becomes_done_or_refused_when_the_gateway_decides(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    gateway = server.application.services.gateway
    failed = await make_failed_search(server)
    await gateway.set_behaviour("pending", failed.payment_id)

    async def status() -> str:
        found: str = (await _case(reviewer, failed))["refund"]["status"]
        return found

    async def decided_by(behaviour: Behaviour) -> str:
        await run_worker(server)
        assert await status() == "requested"
        await gateway.set_behaviour(behaviour, failed.payment_id)
        async with asyncio.timeout(10):
            while (answer := await status()) == "requested":
                pass  # The gateway calls back.
        return answer

    await _decide(reviewer, failed)
    assert await decided_by("decline") == "failed"
    assert await _status(server, failed) == "unserved"
    await gateway.set_behaviour("pending", failed.payment_id)
    await reviewer.post(f"/review-cases/{failed.case_id}/refund-retry")
    assert await decided_by("approve") == "done"
    assert await _status(server, failed) == "refunded"


async def test_retrying_the_failed_refund_of_a_late_approval_does_not_change_the_payment(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    customer_id = await server.make.customer()
    payment_id = await server.pending_payment(customer_id)
    key = await server.database.fetchval(
        "INSERT INTO charge_attempts (payment_id, amount_rp, status, answered_at) "
        "VALUES ($1, 20000, 'approved_late', curhat_now()) RETURNING id",
        payment_id,
    )
    await server.database.execute(
        "INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, status, answered_at) "
        "VALUES ($1, $2, 20000, 'late_approval', 'failed', curhat_now())",
        payment_id,
        key,
    )
    await server.database.execute(
        "INSERT INTO review_cases (payment_id, reason, amount_rp) VALUES ($1, 'refund_failed', 20000)",
        payment_id,
    )
    await server.database.execute("UPDATE payments SET status = 'abandoned' WHERE id = $1", payment_id)
    await server.application.services.gateway.charge(key, payment_id, 20_000)
    case_id = await server.database.fetchval("SELECT id FROM review_cases")
    failed = PaymentWithCase(customer_id, payment_id, case_id, key)
    assert problem(await _decide(reviewer, failed)) == (200, None)
    await run_worker(server)
    assert (await _case(reviewer, failed))["refund"]["status"] == "done"
    assert await _status(server, failed) == "abandoned"


# Above the limit ---------------------------------------------------------------------------------------------


@pytest.fixture
async def careful(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a server on which a refund above Rp20.000 needs the approval of a second operator."""
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url), refund_approval_limit_rp=20_000
    )
    async with start_server(settings, database) as opened:
        yield opened


@pytest.mark.rule("X.9")
async def test_a_refund_above_the_limit_waits_for_another_operator(careful: RunningServer) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer", "dewi@example.id")
    at_limit = await make_failed_search(careful, price_rp=20_000)
    assert (await _decide(first, at_limit)).json()["refund"]["status"] == "requested"
    failed = await make_failed_search(careful, price_rp=35_000)
    assert (await _case(first, failed))["needs_approval"] is True
    decided = await _decide(first, failed)
    assert decided.json()["refund"]["status"] == "awaiting_approval"
    waiting = (await second.get("/review-cases", awaiting_approval="true")).json()["items"]
    assert [case["id"] for case in waiting] == [str(failed.case_id)]
    await run_worker(careful)
    assert await _status(careful, failed) == "unserved"
    approval = f"/review-cases/{failed.case_id}/approval"
    approved = await second.post(approval)
    assert approved.status_code == 200, approved.text
    assert approved.json()["refund"]["status"] == "requested"
    assert approved.json()["refund"]["approved_by"]["email"] == "dewi@example.id"
    assert problem(await second.post(approval)) == (200, None)
    await run_worker(careful)
    assert await _status(careful, failed) == "refunded"
    types = [entry["type"] for entry in (await _case(first, failed))["timeline"]]
    assert types[-5:] == [
        "case_decided",
        "refund_approved",
        "refund_requested",
        "refund_answered",
        "payment_status",
    ]


async def test_each_case_shows_the_refundable_amount_and_whether_a_refund_needs_approval(
    careful: RunningServer,
) -> None:
    reviewer = await careful.operator("reviewer")
    cases = [await make_failed_search(careful, price_rp=price_rp) for price_rp in (0, 20_000, 35_000)]

    async def refundable() -> list[tuple[int, bool]]:
        items = (await reviewer.get("/review-cases")).json()["items"]
        return [
            (item["refundable_rp"], item["needs_approval"])
            for case in cases
            for item in items
            if item["id"] == str(case.case_id)
        ]

    assert await refundable() == [(0, False), (20_000, False), (35_000, True)]
    statuses = []
    for case in cases:
        answer = await _decide(reviewer, case)
        statuses.append(answer.json()["refund"]["status"] if answer.status_code == 200 else problem(answer))
    assert statuses == [NOTHING_TO_REFUND, "requested", "awaiting_approval"]
    # The second refund has been requested, so no amount is left to refund. The third refund still waits for approval,
    # so the amount of this refund is still refundable.
    assert await refundable() == [(0, False), (0, False), (35_000, True)]


@pytest.mark.rule("X.9")
async def test_an_admin_cannot_approve_a_refund_of_their_own_decision(careful: RunningServer) -> None:
    admin = await careful.operator("admin")
    failed = await make_failed_search(careful, price_rp=35_000)
    await _decide(admin, failed)
    assert problem(await admin.post(f"/review-cases/{failed.case_id}/approval")) == (403, "own_refund")
    assert await careful.database.fetchval("SELECT count(*) FROM refunds") == 0
    with pytest.raises(Exception, match="review_cases_approval"):
        await careful.database.execute(
            "UPDATE review_cases SET approved_by = decided_by, approved_at = curhat_now()"
        )


async def test_two_concurrent_approvals_request_the_refund_once(careful: RunningServer) -> None:
    first, second, third = [await careful.operator("reviewer") for _ in range(3)]
    failed = await make_failed_search(careful, price_rp=35_000)
    approval = f"/review-cases/{failed.case_id}/approval"
    assert problem(await second.post(approval)) == (409, "nothing_to_approve")
    await _decide(first, failed)
    answers = await asyncio.gather(second.post(approval), third.post(approval))
    assert sorted(map(problem, answers), key=str) == [(200, None), (409, "nothing_to_approve")]
    assert await careful.database.fetchval("SELECT count(*) FROM refunds") == 1


async def test_the_database_refuses_another_decision_on_a_decided_case(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    await _decide(reviewer, await make_failed_search(server), "no_refund")
    with pytest.raises(Exception, match="is decided"):
        await server.database.execute("UPDATE review_cases SET decision = 'refund', refund_rp = 1")


# Bulk decisions ----------------------------------------------------------------------------------------------


async def test_a_bulk_decision_decides_each_case_separately_and_returns_each_outcome(
    server: RunningServer,
) -> None:
    reviewer, other = await server.operator("reviewer"), await server.operator("reviewer")
    good, trial, taken = (
        await make_failed_search(server),
        await make_failed_search(server, price_rp=0),
        await make_failed_search(server),
    )
    await _decide(other, taken, "no_refund")
    nowhere = uuid4()
    body = {
        "case_ids": [
            str(each) for each in (good.case_id, trial.case_id, taken.case_id, nowhere, good.case_id)
        ],
        "decision": "refund",
        "note": "gangguan kemarin",
    }
    assert problem(await reviewer.post("/review-cases/decisions", body, key="")) == (
        400,
        "idempotency_key_missing",
    )
    answer = await reviewer.post("/review-cases/decisions", body, key="bulk")
    assert answer.status_code == 200, answer.text
    outcomes = [
        (item["case"] and item["case"]["refund"]["status"], item["problem"] and item["problem"]["code"])
        for item in answer.json()["items"]
    ]
    assert outcomes == [
        ("requested", None),
        (None, "nothing_to_refund"),
        (None, "case_decided"),
        (None, "not_found"),
    ]
    await run_worker(server)
    again = await reviewer.post("/review-cases/decisions", body, key="bulk")
    assert again.content == answer.content
    assert await server.database.fetchval("SELECT count(*) FROM refunds") == 1


# CSV ---------------------------------------------------------------------------------------------------------


async def test_a_csv_contains_every_row_but_no_phone_number_and_no_formula(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    for name in ("=1+1", "-Bunga", 'Melati, "dan" Mawar'):
        await make_failed_search(server, call_name=name)
    customer_id = await server.make.customer()
    await server.database.execute(SEED_CASES, customer_id, await server.make.offer(), 1100)
    answer = await viewer.get("/review-cases", format="csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="review-cases.csv"'
    rows = rows_of(answer.content)
    assert len({row["id"] for row in rows}) == 1103
    names = [row["customer_call_name"] for row in rows if row["customer_call_name"] != "Bunga"]
    assert sorted(names) == ["'-Bunga", "'=1+1", 'Melati, "dan" Mawar']
    assert {re.sub(r"\d", "0", row["opened_at"]) for row in rows} == {"0000-00-00 00:00:00"}
    assert {row["time_zone"] for row in rows} == {"WIB"}
    phones = await server.database.fetch("SELECT phone_number FROM people")
    for row in phones:
        assert row["phone_number"] not in answer.text
        assert row["phone_number"][3:] not in answer.text
    assert {row["customer_phone_masked"][:8] for row in rows} == {"'+62 ***"}
    audit = await server.database.fetchrow("SELECT actor, action, subject, new_value FROM audit_entries")
    assert audit is not None
    assert tuple(audit) == (str(viewer.id), "list_exported", "review-cases", None)


async def test_the_csv_of_an_empty_list_has_the_header(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    answer = await viewer.get("/failed-pairings", format="csv", tag="customer_cancelled")
    assert answer.content.decode("utf-8-sig") == (
        "id;tag;kind;payment_id;customer_id;customer_call_name;customer_phone_masked;mitra_id;mitra_display_name;"
        "amount_rp;occurred_at;recovered;case_id;anybody_asked;time_zone\r\n"
    )
    assert await server.database.fetchval("SELECT new_value FROM audit_entries") == "tag=customer_cancelled"


@pytest.mark.rule("X.9")
@pytest.mark.invariant(4, 9, 15)
@pytest.mark.parametrize("decision", ["refund", "no_refund"])
async def test_an_operator_can_refund_a_late_charge_after_the_case_is_decided(
    server: RunningServer, decision: str
) -> None:
    """The gateway refuses the automatic refund after the operator has decided the case."""
    reviewer, failed = await server.operator("reviewer"), await make_failed_search(server)
    # Add an earlier charge attempt. The gateway did not know the attempt's key when the server asked.
    key: UUID = await server.database.fetchval(
        "INSERT INTO charge_attempts (payment_id, amount_rp, status, reason, answered_at) "
        "VALUES ($1, 20000, 'declined', 'not_found', curhat_now()) RETURNING id",
        failed.payment_id,
    )
    assert (await _decide(reviewer, failed, decision)).status_code == 200
    await run_worker(server)

    async with server.database.transaction() as tx:
        await charging.charge_answered(tx, key, ChargeAnswer("approved"), [])
    refund_id = await server.database.fetchval("SELECT id FROM refunds WHERE charge_attempt_id = $1", key)
    async with server.database.transaction() as tx:
        await charging.refund_answered(tx, refund_id, RefundAnswer("failed", "closed card"))

    (listed,) = (await reviewer.get("/review-cases", status="open")).json()["items"]
    assert (listed["id"], listed["reason"], listed["refundable_rp"]) == (
        str(failed.case_id),
        "refund_failed",
        20_000,
    )
    assert (await reviewer.get("/dashboard")).json()["open_cases"] == 1

    # The gateway recorded this charge only after the server asked about it.
    await server.application.services.gateway.charge(key, failed.payment_id, 20_000)
    assert (await _decide(reviewer, failed)).status_code == 200
    await run_worker(server)
    refunds = await server.database.fetch(
        "SELECT reason, status FROM refunds WHERE charge_attempt_id = $1 ORDER BY id", key
    )
    assert [tuple(row) for row in refunds] == [("late_approval", "failed"), ("operator_decision", "done")]
    # The first decision was no_refund, so the second decision must refund only the late charge.
    kept = await server.database.fetchval(
        "SELECT count(*) FROM refunds WHERE charge_attempt_id = $1", failed.charge_key
    )
    assert kept == (1 if decision == "refund" else 0)
    assert (await _case(reviewer, failed))["refund"]["status"] == "done"
    assert (await reviewer.get("/dashboard")).json()["open_cases"] == 0
