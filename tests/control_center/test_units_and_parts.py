"""Test that a session and its extensions are decided as one unit, in parts, again, by hand and in bulk."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import valkey.asyncio

from curhat.app import invariants
from curhat.dev.embedded import EmbeddedServers
from curhat.journeys import charging
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.payments.gateway import RefundAnswer
from tests.support.cases import make_chat_cut_short, make_failed_search, run_worker
from tests.support.clock import VirtualClock
from tests.support.journey import Latch, wait_for_lock
from tests.support.server import Person
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

FIELD = "amount_rp"


class Extended(msgspec.Struct, frozen=True):
    """A chat with one paid extension."""

    session_id: UUID
    payment_id: UUID
    extension_payment_id: UUID


async def _extended(server: RunningServer, *, cut_short: bool = True) -> Extended:
    """Make a chat of Rp20.000 with an extension of Rp10.000 that the gateway charged."""
    async with server.available_mitra() as mitra:
        chat = await server.chat((await server.customer()).id, mitra.id)
        charge = await server.database.fetchrow(
            "SELECT id, amount_rp FROM charge_attempts WHERE payment_id = $1", chat.payment_id
        )
        assert charge is not None
        await server.application.services.gateway.charge(charge["id"], chat.payment_id, charge["amount_rp"])
        offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        customer = await server.person("customer", chat.customer.user_id)
        asked = (await customer.post(f"/sessions/{chat.id}/extensions", {"offer_id": str(offer_id)})).json()
        given = await mitra.post(f"/extensions/{asked['id']}/accept")
        assert given.json()["status"] == "approved", given.text
        if cut_short:
            await mitra.post(f"/sessions/{chat.id}/end", {"reason": "listrik padam"})
        else:
            await customer.post(f"/sessions/{chat.id}/end")
    return Extended(chat.id, chat.payment_id, UUID(asked["payment_id"]))


async def _case(server: RunningServer, operator: Person, payment_id: UUID) -> dict[str, Any]:
    case_id = await server.database.fetchval("SELECT id FROM review_cases WHERE payment_id = $1", payment_id)
    found: dict[str, Any] = (await operator.get(f"/review-cases/{case_id}")).json()
    return found


async def _decide(operator: Person, case: dict[str, Any], **more: object) -> httpx.Response:
    body = {"decision": "refund", "note": "maaf", "expected_version": case["version"], **more}
    return await operator.post(f"/review-cases/{case['id']}/decision", body)


async def _complain(operator: Person, payment_id: UUID) -> httpx.Response:
    body = {"reason": "complaint", "note": "bestie diam saja"}
    return await operator.post(f"/payments/{payment_id}/case", body)


async def _given_back(server: RunningServer, *payment_ids: UUID) -> list[list[int]]:
    """Return the amounts that the gateway itself gave back, per payment."""
    gateway = server.application.services.gateway
    return [
        [refund.amount_rp for refund in (await gateway.recorded(each)).refunds if refund.status == "done"]
        for each in payment_ids
    ]


async def _broken(server: RunningServer) -> list[str]:
    """Return the broken invariants about money. The chats of these tests have no pairing, so others do not hold."""
    return [
        violation.invariant.name
        for violation in await invariants.check(server.database)
        if violation.invariant.number in ("9", "15")
    ]


@contextlib.asynccontextmanager
async def _server_with_limit(
    servers: EmbeddedServers, database_url: str, database: Database, limit_rp: int
) -> AsyncIterator[RunningServer]:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url), refund_approval_limit_rp=limit_rp
    )
    async with start_server(settings, database) as opened:
        yield opened


@pytest.fixture
async def careful(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a server that requires a second operator for more than Rp25.000."""
    async with _server_with_limit(servers, database_url, database, 25_000) as opened:
        yield opened


# The unit ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("X.9", "X.12")
@pytest.mark.invariant(15)
@pytest.mark.parametrize("decided_on", ["session", "extension"])
async def test_a_decision_on_one_case_of_a_session_refunds_the_session_and_its_extensions(
    server: RunningServer, decided_on: str
) -> None:
    reviewer = await server.operator("reviewer")
    chat = await _extended(server)
    payment_id = chat.payment_id if decided_on == "session" else chat.extension_payment_id
    case = await _case(server, reviewer, payment_id)
    assert (case["refundable_rp"], case["money"]["taken_rp"], case["money"]["left_rp"]) == (
        30_000,
        30_000,
        30_000,
    )
    assert [each["purpose"] for each in case["money"]["payments"]] == ["session", "extension"]
    answer = await _decide(reviewer, case)
    assert answer.status_code == 200, answer.text
    await run_worker(server)
    assert await _given_back(server, chat.payment_id, chat.extension_payment_id) == [[20_000], [10_000]]
    for each_id in (chat.payment_id, chat.extension_payment_id):
        decided = await _case(server, reviewer, each_id)
        assert (decided["status"], decided["refund"]["status"], decided["money"]["left_rp"]) == (
            "decided",
            "done",
            0,
        )
    assert await _broken(server) == []


@pytest.mark.rule("X.12")
async def test_the_pages_of_a_session_show_every_payment_and_one_total(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    chat = await _extended(server)
    pages = [
        (await viewer.get(path)).json()["money"]
        for path in (
            f"/sessions/{chat.session_id}",
            f"/payments/{chat.payment_id}",
            f"/payments/{chat.extension_payment_id}",
        )
    ]
    assert pages[0] == pages[1] == pages[2]
    assert (pages[0]["session_id"], pages[0]["taken_rp"], pages[0]["refunded_rp"]) == (
        str(chat.session_id),
        30_000,
        0,
    )
    assert pages[0]["payments"][0]["reference"] == str(chat.payment_id)[-8:].upper()


@pytest.mark.rule("X.9", "X.12")
async def test_the_case_of_a_free_trial_refunds_the_paid_extension_of_its_session(
    server: RunningServer,
) -> None:
    """The session cost nothing and its extension was taken: the case of the session never says "Rp0"."""
    reviewer = await server.operator("reviewer")
    chat = await _extended(server)
    await server.database.execute("DELETE FROM charge_attempts WHERE payment_id = $1", chat.payment_id)
    case = await _case(server, reviewer, chat.payment_id)
    assert case["refundable_rp"] == 10_000
    assert (await _decide(reviewer, case)).status_code == 200
    await run_worker(server)
    assert await _given_back(server, chat.extension_payment_id) == [[10_000]]
    assert (await _case(server, reviewer, chat.payment_id))["status"] == "decided"


@pytest.mark.rule("X.9")
async def test_the_approval_limit_counts_on_the_sum_of_a_session_and_its_extensions(
    careful: RunningServer,
) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    chat = await _extended(careful)
    case = await _case(careful, first, chat.payment_id)
    assert case["needs_approval"] is True
    decided = (await _decide(first, case)).json()
    assert decided["refund"]["status"] == "awaiting_approval"
    own = await first.post(f"/review-cases/{case['id']}/approval")
    assert problem(own) == (403, "own_refund")
    waiting = await _case(careful, second, chat.extension_payment_id)
    assert waiting["refundable_rp"] == 30_000
    approved = await second.post(
        f"/review-cases/{waiting['id']}/approval?expected_version={waiting['version']}"
    )
    assert approved.status_code == 200, approved.text
    await run_worker(careful)
    assert await _given_back(careful, chat.payment_id, chat.extension_payment_id) == [[20_000], [10_000]]
    assert await _broken(careful) == []


@pytest.mark.rule("X.9")
async def test_of_two_operators_who_decide_two_cases_of_one_session_the_first_wins(
    server: RunningServer,
) -> None:
    first, second = await server.operator("reviewer"), await server.operator("reviewer")
    chat = await _extended(server)
    of_session = await _case(server, first, chat.payment_id)
    of_extension = await _case(server, second, chat.extension_payment_id)
    latch = Latch()
    set_pause_point("decide.before_commit", latch)
    deciding = asyncio.create_task(_decide(first, of_session))
    await latch.reached.wait()
    late = asyncio.create_task(_decide(second, of_extension, decision="no_refund"))
    await wait_for_lock(server.database)
    latch.open()
    assert problem(await deciding) == (200, None)
    assert problem(await late) == (409, "case_decided")
    await run_worker(server)
    assert await _given_back(server, chat.payment_id, chat.extension_payment_id) == [[20_000], [10_000]]


# Parts -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("X.9", "X.12")
@pytest.mark.invariant(15)
async def test_a_part_is_refunded_and_the_rest_is_decided(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    case = await _case(server, reviewer, failed.payment_id)
    answer = await _decide(reviewer, case, amount_rp=5_000)
    assert (answer.status_code, answer.json()["refund"]["amount_rp"]) == (200, 5_000), answer.text
    # The same operator repeats the same decision, and another amount is another decision.
    assert problem(await _decide(reviewer, case, amount_rp=5_000)) == (200, None)
    assert problem(await _decide(reviewer, case)) == (200, None)
    assert problem(await _decide(reviewer, case, amount_rp=6_000)) == (409, "case_decided")
    await run_worker(server)
    assert await _given_back(server, failed.payment_id) == [[5_000]]
    decided = await _case(server, reviewer, failed.payment_id)
    # Only a payment of which nothing is left is `refunded`.
    assert (decided["status"], decided["payment"]["status"]) == ("decided", "unserved")
    assert (decided["money"]["refunded_rp"], decided["money"]["left_rp"]) == (5_000, 15_000)
    assert await _broken(server) == []


@pytest.mark.parametrize("amount_rp", [-1, 0, 20_001, 2**31, 1.5, "5000"])
async def test_an_amount_outside_of_what_is_left_is_refused(server: RunningServer, amount_rp: object) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    case = await _case(server, reviewer, failed.payment_id)
    answer = await _decide(reviewer, case, amount_rp=amount_rp)
    assert problem(answer) == (422, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == [FIELD]
    refused = await _decide(reviewer, case, decision="no_refund", amount_rp=1)
    assert [error["field"] for error in refused.json()["errors"]] == [FIELD]
    assert (await _case(server, reviewer, failed.payment_id))["status"] == "open"


@pytest.mark.rule("X.9")
async def test_the_approval_limit_counts_on_the_amount(careful: RunningServer) -> None:
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    small, large = (
        await make_failed_search(careful, price_rp=35_000),
        await make_failed_search(careful, price_rp=35_000),
    )
    case = await _case(careful, first, small.payment_id)
    assert (await _decide(first, case, amount_rp=25_000)).json()["refund"]["status"] == "requested"
    case = await _case(careful, first, large.payment_id)
    assert (await _decide(first, case, amount_rp=25_001)).json()["refund"]["status"] == "awaiting_approval"
    approved = await second.post(f"/review-cases/{case['id']}/approval")
    assert (approved.status_code, approved.json()["refund"]["amount_rp"]) == (200, 25_001)
    await run_worker(careful)
    assert await _given_back(careful, small.payment_id, large.payment_id) == [[25_000], [25_001]]
    assert await _broken(careful) == []


@pytest.mark.rule("X.12")
async def test_a_part_of_a_unit_is_taken_from_the_case_that_the_operator_looks_at_first(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    chat = await _extended(server)
    case = await _case(server, reviewer, chat.extension_payment_id)
    assert (await _decide(reviewer, case, amount_rp=12_000)).status_code == 200
    await run_worker(server)
    assert await _given_back(server, chat.payment_id, chat.extension_payment_id) == [[2_000], [10_000]]
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(9, 15)
async def test_a_retry_repeats_the_part_that_was_decided_and_not_the_whole_charge(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    gateway = server.application.services.gateway
    await gateway.set_behaviour("decline", failed.payment_id)
    await _decide(reviewer, await _case(server, reviewer, failed.payment_id), amount_rp=5_000)
    await run_worker(server)
    case = await _case(server, reviewer, failed.payment_id)
    assert case["refund"]["status"] == "failed"
    await gateway.set_behaviour("approve", failed.payment_id)
    assert problem(await reviewer.post(f"/review-cases/{case['id']}/refund-retry")) == (200, None)
    await run_worker(server)
    assert await _given_back(server, failed.payment_id) == [[5_000]]
    again = await reviewer.post(f"/review-cases/{case['id']}/refund-retry")
    assert problem(again) == (409, "refund_not_failed")
    assert await _broken(server) == []


@pytest.mark.invariant(9)
async def test_a_refused_part_that_is_done_after_all_takes_back_only_its_own_repetition(
    server: RunningServer,
) -> None:
    """Rp5.000 is done. Rp10.000 is refused and requested again, and then the gateway carries out the refused one."""
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server, price_rp=60_000)
    gateway = server.application.services.gateway
    await _decide(reviewer, await _case(server, reviewer, failed.payment_id), amount_rp=5_000)
    await run_worker(server)
    assert (await _complain(reviewer, failed.payment_id)).status_code == 201
    await gateway.set_behaviour("decline", failed.payment_id)
    case = await _case(server, reviewer, failed.payment_id)
    await _decide(reviewer, case, amount_rp=10_000)
    await run_worker(server)
    await gateway.set_behaviour("approve", failed.payment_id)
    await reviewer.post(f"/review-cases/{case['id']}/refund-retry")
    refused_id = await server.database.fetchval("SELECT id FROM refunds WHERE status = 'failed'")
    await charging.record_refund_answer(server.database, refused_id, RefundAnswer("done"))
    rows = await server.database.fetch("SELECT amount_rp, status FROM refunds ORDER BY id")
    assert [tuple(row) for row in rows] == [(5_000, "done"), (10_000, "done"), (10_000, "failed")]
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_the_database_refuses_refunds_that_exceed_the_charge(server: RunningServer) -> None:
    failed = await make_failed_search(server)
    insert = (
        "INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, decided_round) "
        "VALUES ($1, $2, $3, 'operator_decision', $4)"
    )
    await server.database.execute(insert, failed.payment_id, failed.charge_key, 15_000, 1)
    with pytest.raises(Exception, match="exceeds what is left"):
        await server.database.execute(insert, failed.payment_id, failed.charge_key, 5_001, 2)
    await server.database.execute(insert, failed.payment_id, failed.charge_key, 5_000, 2)
    with pytest.raises(Exception, match="exceeds what is left"):
        await server.database.execute("UPDATE refunds SET amount_rp = amount_rp + 1")


@pytest.mark.invariant(15)
async def test_two_transactions_that_refund_one_charge_at_once_never_exceed_it(server: RunningServer) -> None:
    failed = await make_failed_search(server)
    insert = (
        "INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, decided_round) "
        "VALUES ($1, $2, 15000, 'operator_decision', $3)"
    )
    async with server.database.transaction() as first:
        await first.execute(insert, failed.payment_id, failed.charge_key, 1)
        second = asyncio.create_task(server.database.execute(insert, failed.payment_id, failed.charge_key, 2))
        await wait_for_lock(server.database)
    with pytest.raises(Exception, match="exceeds what is left"):
        await second
    assert await server.database.fetchval("SELECT sum(amount_rp) FROM refunds") == 15_000


# A case by hand ----------------------------------------------------------------------------------------------


@pytest.mark.rule("X.12")
@pytest.mark.parametrize("of", ["session", "extension"])
async def test_an_operator_opens_a_case_on_a_payment_that_was_served(server: RunningServer, of: str) -> None:
    reviewer = await server.operator("reviewer", "dewi@example.id")
    chat = await _extended(server, cut_short=False)
    payment_id, amount_rp = (
        (chat.payment_id, 20_000) if of == "session" else (chat.extension_payment_id, 10_000)
    )
    answer = await _complain(reviewer, payment_id)
    assert answer.status_code == 201, answer.text
    case = answer.json()
    assert (case["reason"], case["status"], case["refundable_rp"], case["payment_id"]) == (
        "complaint",
        "open",
        amount_rp,
        str(payment_id),
    )
    assert (case["opened_by"]["email"], case["opened_note"]) == ("dewi@example.id", "bestie diam saja")
    opened = next(entry for entry in case["timeline"] if entry["type"] == "case_opened")
    assert (opened["reason"], opened["note"], opened["operator"]["email"]) == (
        "complaint",
        "bestie diam saja",
        "dewi@example.id",
    )
    again = await _complain(reviewer, payment_id)
    assert problem(again) == (409, "case_open")
    assert again.json()["case_id"] == case["id"]
    actions = (await reviewer.get("/audit", action="case_opened")).json()["items"]
    assert [entry["subject_id"] for entry in actions] == [case["id"]]
    assert (await _decide(reviewer, case)).status_code == 200
    await run_worker(server)
    assert await _given_back(server, payment_id) == [[amount_rp]]
    assert (await _case(server, reviewer, payment_id))["payment"]["status"] == "refunded"
    assert await _broken(server) == []


@pytest.mark.rule("X.9", "X.12")
@pytest.mark.invariant(15)
async def test_a_decided_case_opens_again_by_hand_about_what_is_left(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    cut, _ = await make_chat_cut_short(server)
    first = await _case(server, reviewer, cut.payment_id)
    await _decide(reviewer, first, amount_rp=5_000)
    await run_worker(server)
    opened = (await _complain(reviewer, cut.payment_id)).json()
    assert (opened["id"], opened["refundable_rp"], opened["reason"]) == (first["id"], 15_000, "complaint")
    assert [each["refund"]["amount_rp"] for each in opened["earlier_decisions"]] == [5_000]
    # What an operator saw before is out of date.
    assert problem(await _decide(reviewer, first)) == (409, "changed_meanwhile")
    assert (await _decide(reviewer, opened)).status_code == 200
    await run_worker(server)
    assert await _given_back(server, cut.payment_id) == [[5_000, 15_000]]
    assert (await _case(server, reviewer, cut.payment_id))["payment"]["status"] == "refunded"
    assert problem(await _complain(reviewer, cut.payment_id)) == (409, "nothing_to_refund")
    assert await _broken(server) == []


@pytest.mark.rule("X.12")
@pytest.mark.invariant(15)
async def test_a_decided_case_opens_again_by_hand_although_the_clock_stands_still(
    server: RunningServer, clock: VirtualClock
) -> None:
    reviewer = await server.operator("reviewer")
    cut, _ = await make_chat_cut_short(server)
    await clock.set(await clock.now())
    for _ in range(2):
        await _decide(reviewer, await _case(server, reviewer, cut.payment_id), decision="no_refund")
        opened = await _complain(reviewer, cut.payment_id)
        assert (opened.status_code, opened.json()["refundable_rp"]) == (201, 20_000)
    assert await _broken(server) == []


@pytest.mark.rule("X.8", "X.12")
@pytest.mark.invariant(15)
async def test_a_decision_during_a_session_does_not_cover_a_mitra_who_leaves_later(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    async with server.available_mitra() as mitra:
        chat = await server.chat((await server.customer()).id, mitra.id)
        opened = (await _complain(reviewer, chat.payment_id)).json()
        await _decide(reviewer, opened, amount_rp=5_000)
        await mitra.post(f"/sessions/{chat.id}/end", {"reason": "listrik padam"})
    case = await _case(server, reviewer, chat.payment_id)
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "cut_short", 15_000)
    assert [each["decision"] for each in case["earlier_decisions"]] == ["refund"]
    assert await _broken(server) == []


@pytest.mark.rule("X.9", "X.12")
async def test_a_session_that_is_served_leaves_the_decision_of_its_case_as_it_is(
    server: RunningServer,
) -> None:
    reviewer = await server.operator("reviewer")
    async with server.available_mitra() as mitra:
        chat = await server.chat((await server.customer()).id, mitra.id)
        for person in (mitra, await server.person("customer", chat.customer.user_id)):
            await person.post(f"/sessions/{chat.id}/messages", {"client_message_id": "1", "text": "halo"})
        opened = (await _complain(reviewer, chat.payment_id)).json()
        await _decide(reviewer, opened, decision="no_refund")
        await (await server.person("customer", chat.customer.user_id)).post(f"/sessions/{chat.id}/end")
    assert (await _case(server, reviewer, chat.payment_id))["status"] == "decided"


@pytest.mark.rule("X.12")
async def test_no_case_opens_by_hand_where_nothing_was_taken_or_a_search_runs(server: RunningServer) -> None:
    reviewer, viewer = await server.operator("reviewer"), await server.operator("viewer")
    pending_id = await server.pending_payment(await server.make.customer())
    assert problem(await _complain(reviewer, pending_id)) == (409, "nothing_to_refund")
    trial = await make_failed_search(server, price_rp=0)
    assert problem(await _complain(reviewer, trial.payment_id))[1] == "case_open"
    searching_id = await server.make.confirmed_payment(await server.make.customer())
    assert problem(await _complain(reviewer, searching_id)) == (409, "journey_in_progress")
    failed = await make_failed_search(server)
    assert problem(await _complain(viewer, failed.payment_id)) == (403, "forbidden")
    assert problem(await _complain(reviewer, failed.customer_id)) == (404, "not_found")
    body = {"reason": "no_session", "note": "x"}
    assert problem(await reviewer.post(f"/payments/{failed.payment_id}/case", body))[0] == 422


@pytest.mark.rule("X.9")
async def test_a_complaint_does_not_withdraw_a_refund_that_waits_for_approval(careful: RunningServer) -> None:
    reviewer = await careful.operator("reviewer")
    failed = await make_failed_search(careful, price_rp=35_000)
    await _decide(reviewer, await _case(careful, reviewer, failed.payment_id))
    answer = await _complain(reviewer, failed.payment_id)
    assert problem(answer) == (409, "case_open")
    assert (await _case(careful, reviewer, failed.payment_id))["refund"]["status"] == "awaiting_approval"


@pytest.mark.rule("X.12")
async def test_of_two_complaints_at_once_one_opens_the_case(server: RunningServer) -> None:
    reviewer = await server.operator("reviewer")
    chat = await _extended(server, cut_short=False)
    answers = await asyncio.gather(*(_complain(reviewer, chat.payment_id) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert await server.database.fetchval("SELECT max(round) FROM review_cases") == 1


@pytest.mark.rule("X.12")
@pytest.mark.invariant(15)
async def test_a_part_that_is_refused_after_the_rest_was_decided_is_in_question_again(
    server: RunningServer,
) -> None:
    """Rp15.000 are under way while an operator decides about the rest. Then the gateway refuses the Rp15.000."""
    reviewer = await server.operator("reviewer")
    failed = await make_failed_search(server)
    await _decide(reviewer, await _case(server, reviewer, failed.payment_id), amount_rp=15_000)
    under_way_id = await server.database.fetchval("SELECT id FROM refunds")
    rest = (await _complain(reviewer, failed.payment_id)).json()
    assert rest["refundable_rp"] == 5_000
    assert (await _decide(reviewer, rest)).status_code == 200
    await charging.record_refund_answer(server.database, under_way_id, RefundAnswer("failed"))
    case = await _case(server, reviewer, failed.payment_id)
    assert (case["status"], case["reason"], case["refundable_rp"]) == ("open", "refund_failed", 15_000)
    assert (await _decide(reviewer, case)).status_code == 200
    await run_worker(server)
    assert sorted((await _given_back(server, failed.payment_id))[0]) == [5_000, 15_000]
    assert (await _case(server, reviewer, failed.payment_id))["payment"]["status"] == "refunded"
    assert await _broken(server) == []


@pytest.mark.rule("X.9")
@pytest.mark.invariant(15)
async def test_an_approval_gives_back_only_what_an_earlier_refund_left(careful: RunningServer) -> None:
    """The refused refund of the first decision is done after all, while the second decision waits for approval."""
    first, second = await careful.operator("reviewer"), await careful.operator("reviewer")
    failed = await make_failed_search(careful, price_rp=35_000)
    await _decide(first, await _case(careful, first, failed.payment_id), amount_rp=25_000)
    refused_id = await careful.database.fetchval("SELECT id FROM refunds")
    await charging.record_refund_answer(careful.database, refused_id, RefundAnswer("failed"))
    case = (await _complain(first, failed.payment_id)).json()
    assert (await _decide(first, case)).json()["refund"]["status"] == "awaiting_approval"
    await charging.record_refund_answer(careful.database, refused_id, RefundAnswer("done"))
    approved = await second.post(f"/review-cases/{case['id']}/approval")
    assert approved.status_code == 200, approved.text
    rows = await careful.database.fetch("SELECT amount_rp, status FROM refunds ORDER BY id")
    assert [tuple(row) for row in rows] == [(25_000, "done"), (10_000, "requested")]
    assert await _broken(careful) == []


@pytest.mark.rule("X.9", "X.12")
async def test_the_approval_limit_counts_on_the_sum_of_all_parts(careful: RunningServer) -> None:
    """Otherwise an operator could refund any sum alone: a part, a case by hand, and the next part."""
    reviewer = await careful.operator("reviewer")
    failed = await make_failed_search(careful, price_rp=35_000)
    case = await _case(careful, reviewer, failed.payment_id)
    assert (await _decide(reviewer, case, amount_rp=20_000)).json()["refund"]["status"] == "requested"
    await run_worker(careful)
    case = (await _complain(reviewer, failed.payment_id)).json()
    assert (case["refundable_rp"], case["needs_approval"]) == (15_000, True)
    assert (await _decide(reviewer, case)).json()["refund"]["status"] == "awaiting_approval"
    await run_worker(careful)
    assert await _given_back(careful, failed.payment_id) == [[20_000]]
    assert await _broken(careful) == []


# Bulk --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("X.12")
async def test_a_selection_counts_the_open_cases_of_a_filter_and_each_session_once(
    careful: RunningServer,
) -> None:
    reviewer = await careful.operator("reviewer")
    await make_failed_search(careful, tag="all_mitras_rejected")
    chat = await _extended(careful)
    everything = (await reviewer.get("/review-cases/selection")).json()
    assert (everything["count"], everything["refundable_rp"], everything["needs_approval"]) == (
        3,
        50_000,
        True,
    )
    assert everything["has_more"] is False
    cut = (await reviewer.get("/review-cases/selection", reason="cut_short")).json()
    assert (cut["count"], cut["refundable_rp"]) == (2, 30_000)
    versions = {item["case_id"]: item["version"] for item in cut["items"]}
    body = {
        "case_ids": list(versions),
        "decision": "no_refund",
        "note": "sudah ditelepon",
        "expected_versions": versions,
    }
    items = (await reviewer.post("/review-cases/decisions", body)).json()["items"]
    # The first decision covers the whole session, so the second case is decided already: in the same way.
    assert [item["case"]["status"] for item in items] == ["decided", "decided"]
    left = (await reviewer.get("/review-cases/selection", tag="all_mitras_rejected")).json()
    assert (left["count"], left["refundable_rp"], left["needs_approval"]) == (1, 20_000, False)
    late = (await reviewer.get("/review-cases/selection", **{"from": "2100-01-01T00:00:00Z"})).json()
    assert (late["count"], late["refundable_rp"]) == (0, 0)
    assert (await _case(careful, reviewer, chat.payment_id))["decision"] == "no_refund"


@pytest.mark.rule("X.9", "X.12")
async def test_the_approval_limit_counts_on_the_sum_of_a_bulk_decision(careful: RunningServer) -> None:
    first = await careful.operator("reviewer")
    failed = [await make_failed_search(careful) for _ in range(2)]
    chat = await _extended(careful)
    case_ids = [str(each.case_id) for each in failed]
    body = {"case_ids": case_ids, "decision": "refund", "note": "gangguan"}
    items = (await first.post("/review-cases/decisions", body)).json()["items"]
    assert [item["case"]["refund"]["status"] for item in items] == ["awaiting_approval"] * 2
    # The repetition after a crash has the same sum, although two of its cases are decided.
    alone = await make_failed_search(careful)
    body["case_ids"] = [*case_ids, str(alone.case_id)]
    items = (await first.post("/review-cases/decisions", body)).json()["items"]
    assert [item["case"]["refund"]["status"] for item in items] == ["awaiting_approval"] * 3
    assert await careful.database.fetchval("SELECT count(*) FROM refunds") == 0
    assert (await _case(careful, first, chat.payment_id))["status"] == "open"
    assert await _broken(careful) == []
