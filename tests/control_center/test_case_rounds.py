"""Test that every undelivered charge has an open case or a decision about exactly this charge."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
import valkey.asyncio

from curhat.app import invariants
from curhat.dev.embedded import EmbeddedServers
from curhat.journeys import charging, paying, searching
from curhat.kit.database import Database
from curhat.payments.gateway import ChargeAnswer, RefundAnswer
from curhat.payments.service import Charge
from curhat.sessions import extension
from curhat.sessions import service as sessions
from tests.support.cases import run_worker
from tests.support.journey import accept, request_of
from tests.support.server import Person
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

APPROVED, NOT_FOUND = ChargeAnswer("approved"), ChargeAnswer("not_found")


class Attempts(msgspec.Struct):
    """A payment with two charge attempts.

    The first attempt never reached the gateway, and the second attempt has started.
    """

    server: RunningServer
    customer_id: UUID
    mitra_id: UUID
    payment_id: UUID
    first: Charge
    second: Charge

    async def answer(self, charge: Charge, answer: ChargeAnswer = APPROVED) -> None:
        """Let the gateway send an answer about a charge."""
        if answer == APPROVED:
            gateway = self.server.application.services.gateway
            await gateway.set_behaviour("approve", self.payment_id)
            await gateway.charge(charge.key, self.payment_id, charge.amount_rp)
        async with self.server.database.transaction() as tx:
            await charging.charge_answered(tx, charge.key, answer, [self.mitra_id])

    async def answer_late(self, charge: Charge, *, refund: str = "decline") -> None:
        """Let the gateway approve a charge too late, and then handle the refund with the behaviour `refund`."""
        await self.answer(charge)
        await self.behave(refund)
        await run_worker(self.server)

    async def behave(self, behaviour: Any) -> None:
        """Change the gateway's behaviour."""
        await self.server.application.services.gateway.set_behaviour(behaviour, self.payment_id)

    async def case(self, operator: Person) -> dict[str, Any]:
        """Read the payment's case."""
        case_id = await self.server.database.fetchval(
            "SELECT id FROM review_cases WHERE payment_id = $1", self.payment_id
        )
        found: dict[str, Any] = (await operator.get(f"/review-cases/{case_id}")).json()
        return found

    async def decide(
        self, operator: Person, decision: str, seen: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Decide the payment's case in the version that the operator saw. The default is the present version."""
        seen = seen or await self.case(operator)
        body = {"decision": decision, "note": "maaf", "expected_version": seen["version"]}
        return await operator.post(f"/review-cases/{seen['id']}/decision", body)

    async def refunds(self) -> dict[UUID, list[str]]:
        """Return the refunds in the gateway's own records, by charge."""
        found: dict[UUID, list[str]] = {}
        for refund in (await self.server.application.services.gateway.recorded(self.payment_id)).refunds:
            found.setdefault(refund.charge_key, []).append(refund.status)
        return found

    async def pairing_id(self) -> UUID:
        """Find the payment's search."""
        found: UUID = await self.server.database.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", self.payment_id
        )
        return found

    async def start_session(self) -> UUID:
        """The mitra accepts. Returns the session's id."""
        request_id = await request_of(self.server.database, await self.pairing_id(), self.mitra_id)
        return (await accept(self.server.database, self.mitra_id, request_id)).id

    async def end_badly(self, how: str) -> None:
        """End the journey so that the second charge is undelivered."""
        if how == "search cancelled":
            async with self.server.database.transaction() as tx:
                await searching.cancel_search(tx, self.customer_id, await self.pairing_id())
            return
        session_id = await self.start_session()
        async with self.server.database.transaction() as tx:
            if how == "mitra ended":
                await sessions.end_by_mitra(tx, self.mitra_id, session_id, "listrik padam")
            else:
                await tx.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", self.mitra_id)
                await sessions.end_for_suspension(tx, session_id)


async def two_attempts(server: RunningServer) -> Attempts:
    """Make a payment with a lost first attempt and a second attempt."""
    customer_id, mitra_id = await server.make.customer(), await server.make.mitra()
    payment_id = await server.pending_payment(customer_id)
    begun = []
    for _ in range(2):
        async with server.database.transaction() as tx:
            charge = await paying.begin_confirmation(tx, customer_id, payment_id, [mitra_id])
        assert charge is not None
        begun.append(charge)
        if len(begun) == 1:
            async with server.database.transaction() as tx:
                await charging.charge_answered(tx, charge.key, NOT_FOUND, [])
    return Attempts(server, customer_id, mitra_id, payment_id, *begun)


async def _broken(server: RunningServer) -> list[str]:
    return [violation.invariant.name for violation in await invariants.check(server.database)]


@pytest.mark.rule("X.9")
@pytest.mark.invariant(4, 15)
@pytest.mark.parametrize("decision", ["refund", "no_refund"])
@pytest.mark.parametrize("how", ["search cancelled", "mitra ended", "mitra suspended"])
async def test_the_case_opens_again_when_a_second_charge_becomes_undelivered_after_a_decision(
    server: RunningServer, how: str, decision: str
) -> None:
    first, second = await server.operator("reviewer"), await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer_late(journey.first)
    case = await journey.case(first)
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "refund_failed", 20_000)
    assert problem(await journey.decide(first, decision)) == (200, None)
    await run_worker(server)
    assert (await journey.case(first))["status"] == "decided"

    await journey.answer(journey.second)
    assert (await journey.case(first))["status"] == "decided"  # The second charge may still be delivered.
    await journey.end_badly(how)

    again = await journey.case(second)
    assert (again["id"], again["status"], again["decision"]) == (case["id"], "open", None)
    assert again["refundable_rp"] == 20_000
    assert again["reason"] == ("no_session" if how == "search cancelled" else "cut_short")
    (earlier,) = again["earlier_decisions"]
    assert (earlier["decision"], earlier["decided_by"]["id"]) == (decision, str(first.id))
    assert (earlier["reason"], earlier["withdrawn"]) == ("refund_failed", False)
    listed = (await first.get("/review-cases", status="open")).json()["items"]
    assert [item["id"] for item in listed] == [case["id"]]

    assert problem(await journey.decide(second, "refund")) == (200, None)
    assert problem(await journey.decide(first, "refund")) == (409, "case_decided")
    await run_worker(server)
    refunds = await journey.refunds()
    assert refunds[journey.second.key] == ["done"]
    assert refunds[journey.first.key] == (["failed", "failed"] if decision == "refund" else ["failed"])
    status = await server.database.fetchval("SELECT status FROM payments WHERE id = $1", journey.payment_id)
    assert status == "refunded"
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_late_charge_that_cannot_be_refunded_opens_the_case_again_after_every_decision(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")
    assert problem(await journey.decide(reviewer, "no_refund")) == (200, None)

    await journey.answer_late(journey.first)
    case = await journey.case(reviewer)
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "refund_failed", 20_000)
    await journey.behave("approve")
    assert problem(await journey.decide(reviewer, "refund")) == (200, None)
    await run_worker(server)
    # The charge of the payment keeps the decision no_refund.
    assert await journey.refunds() == {journey.first.key: ["failed", "done"]}
    decided = await journey.case(reviewer)
    assert (decided["status"], decided["refund"]["status"]) == ("decided", "done")
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_decision_does_not_cover_a_charge_whose_refund_is_pending(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")
    await journey.answer_late(journey.first, refund="pending")
    assert (await journey.case(reviewer))["refundable_rp"] == 20_000
    assert problem(await journey.decide(reviewer, "refund")) == (200, None)

    refund_id = await server.database.fetchval(
        "SELECT id FROM refunds WHERE charge_attempt_id = $1", journey.first.key
    )
    await charging.record_refund_answer(server.database, refund_id, RefundAnswer("failed", "closed card"))
    case = await journey.case(reviewer)
    assert (case["status"], case["refundable_rp"]) == ("open", 20_000)
    assert [earlier["refund"]["status"] for earlier in case["earlier_decisions"]] == ["requested"]
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_case_stays_decided_after_a_refused_refund_and_a_later_round_can_retry_the_refund(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")
    await journey.behave("decline")
    assert problem(await journey.decide(reviewer, "refund")) == (200, None)
    await run_worker(server)
    assert (await journey.case(reviewer))["status"] == "decided"

    await journey.answer_late(journey.first)
    case = await journey.case(reviewer)
    assert (case["status"], case["refundable_rp"]) == ("open", 20_000)
    await journey.behave("approve")
    retried = await reviewer.post(f"/review-cases/{case['id']}/refund-retry")
    assert problem(retried) == (200, None)
    await run_worker(server)
    assert await journey.refunds() == {
        journey.second.key: ["failed", "done"],
        journey.first.key: ["failed"],
    }
    assert (await journey.case(reviewer))["status"] == "open"
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
@pytest.mark.parametrize("decision", ["refund", "no_refund"])
@pytest.mark.parametrize("how", ["search cancelled", "mitra ended"])
async def test_a_decision_covers_no_charge_that_came_after_the_operator_read_the_case(
    server: RunningServer, how: str, decision: str
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer_late(journey.first)
    seen = await journey.case(reviewer)
    await journey.answer(journey.second)
    await journey.end_badly(how)

    refused = await journey.decide(reviewer, decision, seen)
    assert problem(refused) == (409, "changed_meanwhile")
    now = await journey.case(reviewer)
    reason = "no_session" if how == "search cancelled" else "cut_short"
    assert (now["status"], now["refundable_rp"], now["reason"]) == ("open", 40_000, reason)
    told = refused.json()
    assert (told["version"], told["refundable_rp"], told["reason"]) == (now["version"], 40_000, reason)
    assert problem(await journey.decide(reviewer, decision, now)) == (200, None)
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_decision_on_an_earlier_round_is_refused_after_the_case_opened_again(
    server: RunningServer,
) -> None:
    first, second = await server.operator("reviewer"), await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer_late(journey.first)
    seen = await journey.case(second)
    await journey.decide(first, "no_refund")
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")

    # The amount is the same as before, but the amount belongs to another charge.
    assert (await journey.case(second))["refundable_rp"] == seen["refundable_rp"]
    assert problem(await journey.decide(second, "no_refund", seen)) == (409, "changed_meanwhile")
    assert (await journey.case(second))["status"] == "open"


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_decision_is_refused_if_the_case_now_has_another_charge_of_the_same_amount(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer_late(journey.first)
    seen = await journey.case(reviewer)
    refund_id = await server.database.fetchval(
        "SELECT id FROM refunds WHERE charge_attempt_id = $1", journey.first.key
    )
    # The gateway first refused the refund, and then carried out the refund.
    await charging.record_refund_answer(server.database, refund_id, RefundAnswer("done"))
    await journey.answer(journey.second)
    await journey.end_badly("mitra ended")

    assert (await journey.case(reviewer))["refundable_rp"] == seen["refundable_rp"]
    assert problem(await journey.decide(reviewer, "no_refund", seen)) == (409, "changed_meanwhile")
    assert problem(await journey.decide(reviewer, "no_refund")) == (200, None)


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_a_bulk_decision_leaves_out_a_case_that_changed_after_the_list_was_read(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    changed, same = await two_attempts(server), await two_attempts(server)
    for journey in (changed, same):
        await journey.answer_late(journey.first)
    listed = (await reviewer.get("/review-cases", status="open")).json()["items"]
    versions = {item["id"]: item["version"] for item in listed}
    body = {"case_ids": list(versions), "decision": "no_refund", "note": "maaf"}
    await changed.answer(changed.second)
    await changed.end_badly("mitra ended")

    answer = await reviewer.post("/review-cases/decisions", {**body, "expected_versions": versions})
    codes = {item["case_id"]: item["problem"] and item["problem"]["code"] for item in answer.json()["items"]}
    now, decided = await changed.case(reviewer), await same.case(reviewer)
    assert codes == {now["id"]: "changed_meanwhile", decided["id"]: None}
    assert (now["status"], decided["status"]) == ("open", "decided")

    again = {**body, "case_ids": [now["id"]], "decision": "refund"}
    versions = {now["id"]: now["version"]}
    answer = await reviewer.post("/review-cases/decisions", {**again, "expected_versions": versions})
    assert [item["case"]["refund"]["amount_rp"] for item in answer.json()["items"]] == [40_000]
    await run_worker(server)
    assert await changed.refunds() == {changed.first.key: ["failed", "done"], changed.second.key: ["done"]}
    assert await _broken(server) == []


@pytest.fixture
async def careful(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a server that requires the approval of a second operator for every refund."""
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url), refund_approval_limit_rp=0
    )
    async with start_server(settings, database) as opened:
        yield opened


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_an_unapproved_refund_is_withdrawn_when_the_case_opens_again(
    careful: RunningServer,
) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    journey = await two_attempts(careful)
    await journey.answer_late(journey.first)
    assert (await journey.decide(first, "refund")).json()["refund"]["status"] == "awaiting_approval"
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")

    case = await journey.case(first)
    assert (case["status"], case["refundable_rp"]) == ("open", 40_000)
    assert [(one["withdrawn"], one["refund"]) for one in case["earlier_decisions"]] == [(True, None)]
    approval = f"/review-cases/{case['id']}/approval"
    assert problem(await second.post(approval)) == (409, "nothing_to_approve")
    assert (await journey.decide(first, "refund")).json()["refund"]["amount_rp"] == 40_000
    assert problem(await second.post(approval)) == (200, None)
    await run_worker(careful)
    assert await journey.refunds() == {journey.first.key: ["failed", "done"], journey.second.key: ["done"]}
    assert await _broken(careful) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_an_approval_covers_no_charge_that_came_after_the_approver_read_the_case(
    careful: RunningServer,
) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    journey = await two_attempts(careful)
    await journey.answer_late(journey.first)
    await journey.decide(first, "refund")
    seen = await journey.case(second)
    await journey.answer(journey.second)
    await journey.end_badly("search cancelled")
    await journey.decide(first, "refund")

    approval = f"/review-cases/{seen['id']}/approval"
    stale = await second.post(f"{approval}?expected_version={seen['version']}")
    assert problem(stale) == (409, "changed_meanwhile")
    now = await journey.case(second)
    assert (now["refund"]["status"], now["refund"]["amount_rp"]) == ("awaiting_approval", 40_000)
    assert problem(await second.post(f"{approval}?expected_version={now['version']}")) == (200, None)
    assert await _broken(careful) == []


@pytest.mark.invariant(9, 15)
async def test_an_approval_refunds_nothing_after_the_gateway_has_already_refunded_the_charge(
    careful: RunningServer,
) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    journey = await two_attempts(careful)
    await journey.answer_late(journey.first)
    await journey.decide(first, "refund")
    refund_id = await careful.database.fetchval(
        "SELECT id FROM refunds WHERE charge_attempt_id = $1", journey.first.key
    )
    await charging.record_refund_answer(careful.database, refund_id, RefundAnswer("done"))

    case = await journey.case(second)
    approval = f"/review-cases/{case['id']}/approval?expected_version={case['version']}"
    assert (case["refund"]["status"], case["refundable_rp"]) == ("awaiting_approval", 0)
    assert problem(await second.post(approval)) == (200, None)
    assert (await first.get("/dashboard")).json()["refunds_awaiting_approval"] == 0
    refunds = await careful.database.fetchval("SELECT count(*) FROM refunds")
    assert refunds == 1
    await journey.answer(journey.second, ChargeAnswer("declined"))
    assert await _broken(careful) == []


@pytest.mark.invariant(15)
async def test_another_undelivered_charge_opens_a_case_again_after_an_approved_refund_failed(
    careful: RunningServer,
) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    journey = await two_attempts(careful)
    await journey.answer_late(journey.first)
    await journey.decide(first, "refund")
    case_id = (await journey.case(first))["id"]
    assert problem(await second.post(f"/review-cases/{case_id}/approval")) == (200, None)
    await run_worker(careful)
    assert (await journey.case(first))["refund"]["status"] == "failed"
    assert (await first.get("/dashboard")).json()["refunds_refused"] == 1

    await journey.answer(journey.second)
    await journey.end_badly("mitra ended")
    case = await journey.case(first)
    assert (case["status"], case["refundable_rp"]) == ("open", 20_000)
    assert [one["refund"]["status"] for one in case["earlier_decisions"]] == ["failed"]
    assert await _broken(careful) == []


@pytest.mark.invariant(15)
async def test_a_late_charge_of_an_extension_gets_a_separate_case_after_the_case_of_the_session_is_decided(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer(journey.second)
    session_id = await journey.start_session()
    offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with server.database.transaction() as tx:
        asked = await extension.request(tx, journey.customer_id, session_id, offer_id, connected=True)
    async with server.database.transaction() as tx:
        _, charge = await extension.approve_by_mitra(tx, journey.mitra_id, asked.id)
    assert charge is not None
    async with server.database.transaction() as tx:
        await sessions.end_by_mitra(tx, journey.mitra_id, session_id, "listrik padam")
    assert problem(await journey.decide(reviewer, "no_refund")) == (200, None)

    lengthened = msgspec.structs.replace(journey, payment_id=asked.payment_id, first=charge)
    await lengthened.answer_late(charge)
    case = await lengthened.case(reviewer)
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "refund_failed", 10_000)
    assert (await journey.case(reviewer))["status"] == "decided"
    assert await _broken(server) == []


@pytest.mark.invariant(15)
async def test_the_database_requires_a_case_or_a_decision_for_each_undelivered_charge(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    journey = await two_attempts(server)
    await journey.answer(journey.second)

    with pytest.raises(asyncpg.CheckViolationError, match="has no open case"):
        await server.database.execute(
            "UPDATE payments SET status = 'unserved', closed_at = curhat_now() WHERE id = $1",
            journey.payment_id,
        )
    await journey.end_badly("search cancelled")
    await journey.decide(reviewer, "no_refund")
    with pytest.raises(asyncpg.CheckViolationError, match="is decided"):
        await server.database.execute("UPDATE review_cases SET status = 'open'")
    with pytest.raises(asyncpg.CheckViolationError, match="is decided"):
        await server.database.execute("UPDATE charge_attempts SET decided_round = 2 WHERE decided_round = 1")
