"""Test a gateway that contradicts itself about a refund, or answers about a charge that the database lacks."""

import itertools
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest

from curhat.journeys import charging
from curhat.payments.gateway import ChargeAnswer, RefundAnswer
from curhat.payments.mock.schemas import Behaviour
from tests.support.cases import PaymentWithCase, make_failed_search, run_worker
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

FAILED, DONE = RefundAnswer("failed", "closed card"), RefundAnswer("done")


async def _behave(server: RunningServer, behaviour: Behaviour) -> None:
    await server.application.services.gateway.set_behaviour(behaviour, None)


async def _decide_refund(server: RunningServer, operator: Person) -> tuple[PaymentWithCase, UUID]:
    """Let an operator decide a refund.

    The worker has not sent the refund yet. Returns the payment and the key of the refund.
    """
    failed = await make_failed_search(server)
    body = {"decision": "refund", "note": "maaf"}
    assert problem(await operator.post(f"/review-cases/{failed.case_id}/decision", body)) == (200, None)
    key = await server.database.fetchval("SELECT id FROM refunds WHERE payment_id = $1", failed.payment_id)
    return failed, key


async def _refused(server: RunningServer, operator: Person) -> tuple[PaymentWithCase, UUID]:
    """Let the gateway refuse a refund that an operator decided. Returns the payment and the key of the refund."""
    await _behave(server, "decline")
    failed, key = await _decide_refund(server, operator)
    await run_worker(server)
    await _behave(server, "approve")
    return failed, key


async def _change_mind(server: RunningServer, key: UUID, status: Literal["done", "processing"]) -> None:
    """Set the gateway's later answers about this refund: the refund is done, or the refund is not decided yet."""
    await server.database.execute("UPDATE mock_gateway.refunds SET status = $2 WHERE key = $1", key, status)


async def _retry(operator: Person, failed: PaymentWithCase) -> None:
    assert problem(await operator.post(f"/review-cases/{failed.case_id}/refund-retry")) == (200, None)


async def _refunds(server: RunningServer, failed: PaymentWithCase) -> tuple[list[str], list[str]]:
    """Return the states of the payment's refunds in our tables and at the gateway, oldest first."""
    rows = await server.database.fetch(
        "SELECT status FROM refunds WHERE payment_id = $1 ORDER BY id", failed.payment_id
    )
    theirs = (await server.application.services.gateway.recorded(failed.payment_id)).refunds
    return [row["status"] for row in rows], [refund.status for refund in theirs]


async def _payment_status(server: RunningServer, failed: PaymentWithCase) -> str:
    found: str = await server.database.fetchval(
        "SELECT status FROM payments WHERE id = $1", failed.payment_id
    )
    return found


async def _alerts(operator: Person) -> list[tuple[Any, ...]]:
    """Return the alerts in the audit, newest first. Asserts that the dashboard shows the number of the alerts."""
    items = (await operator.get("/audit", subject="gateway")).json()["items"]
    assert (await operator.get("/dashboard")).json()["gateway_alerts"] == len(items)
    return [
        (item["action"], UUID(item["subject_id"]), item["old_value"], item["new_value"]) for item in items
    ]


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9)
@pytest.mark.parametrize("answers", sorted(set(itertools.permutations(["failed", "done", "done"]))))
async def test_contradictory_answers_about_a_refund_lead_to_the_same_state_in_every_order(
    server: RunningServer, answers: tuple[Literal["failed", "done"], ...]
) -> None:
    reviewer = await server.operator("reviewer")
    failed, key = await _decide_refund(server, reviewer)
    for status in answers:
        await charging.record_refund_answer(server.database, key, RefundAnswer(status))

    ours, _ = await _refunds(server, failed)
    assert (ours, await _payment_status(server, failed)) == (["done"], "refunded")
    retried = await reviewer.post(f"/review-cases/{failed.case_id}/refund-retry")
    assert problem(retried) == (409, "refund_not_failed")
    alert = ("gateway_alert:refund_failed_after_done", key, str(failed.payment_id), "20000")
    assert await _alerts(reviewer) == ([] if answers[0] == "failed" else [alert])


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9)
@pytest.mark.parametrize("told_by", ["the worker's question", "a callback"])
async def test_a_retried_refund_is_not_sent_if_the_gateway_has_carried_out_the_first_refund(
    server: RunningServer, told_by: str
) -> None:
    reviewer = await server.operator("reviewer")
    failed, key = await _refused(server, reviewer)
    assert await _refunds(server, failed) == (["failed"], ["failed"])
    await _change_mind(server, key, "done")
    await _retry(reviewer, failed)
    if told_by == "a callback":
        await charging.record_refund_answer(server.database, key, DONE)
    await run_worker(server)

    assert await _refunds(server, failed) == (["done", "failed"], ["done"])
    assert await _payment_status(server, failed) == "refunded"
    case = (await reviewer.get(f"/review-cases/{failed.case_id}")).json()
    assert (case["refund"]["status"], case["refund"]["amount_rp"]) == ("done", 20_000)
    assert await _alerts(reviewer) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9)
async def test_a_retried_refund_waits_while_the_gateway_does_not_know_about_the_first_refund(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed, key = await _refused(server, reviewer)
    await _change_mind(server, key, "processing")
    await _retry(reviewer, failed)
    await run_worker(server)
    assert await _refunds(server, failed) == (["failed", "requested"], ["processing"])


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9)
async def test_operators_are_told_when_the_gateway_refunds_a_charge_twice(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    failed, key = await _refused(server, reviewer)
    await _retry(reviewer, failed)
    await run_worker(server)
    assert await _refunds(server, failed) == (["failed", "done"], ["failed", "done"])

    for _ in range(2):
        await charging.record_refund_answer(server.database, key, DONE)
    assert await _alerts(reviewer) == [("gateway_alert:refunded_twice", key, str(failed.payment_id), "20000")]
    assert (await _refunds(server, failed))[0] == ["failed", "done"]


@pytest.mark.rule("X.9")
@pytest.mark.invariant(2, 15)
async def test_operators_are_told_of_an_approved_charge_that_the_database_does_not_contain(
    server: RunningServer,
) -> None:
    viewer = await server.operator("viewer")
    key, declined = uuid4(), uuid4()
    services = server.application.services
    for _ in range(2):
        await charging.record_charge_answer(
            server.database, services.presence, key, ChargeAnswer("approved", amount_rp=35_000)
        )
    await charging.record_charge_answer(
        server.database, services.presence, declined, ChargeAnswer("declined", "no money")
    )
    assert await _alerts(viewer) == [("gateway_alert:unknown_charge", key, None, "35000")]


@pytest.mark.invariant(9)
async def test_operators_are_told_of_a_refund_that_the_database_does_not_contain(
    server: RunningServer,
) -> None:
    viewer, key = await server.operator("viewer"), uuid4()
    for answer in (DONE, DONE):
        await charging.record_refund_answer(server.database, key, answer)
    await charging.record_refund_answer(server.database, uuid4(), FAILED)
    assert await _alerts(viewer) == [("gateway_alert:unknown_refund", key, None, None)]
