"""Test races between an accept and every other step on real connections, with pause points and held locks."""

import asyncio
import random
from uuid import UUID

import pytest

from curhat.deadlines.queries import due_deadlines
from curhat.journeys import mitras, searching
from curhat.journeys import queries as journey_queries
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import set_pause_point
from curhat.pairing import queries as pairing_queries
from curhat.pairing import service as pairing
from curhat.sessions import service as sessions
from tests.support.clock import VirtualClock
from tests.support.journey import (
    WINDOW_SECONDS,
    Latch,
    accept,
    in_own_transaction,
    open_blast,
    outcome,
    reject,
    request_of,
    wait_for_lock,
)
from tests.support.people import Make
from tests.support.race import command, race
from tests.support.toggle import set_toggle


async def _status(database: Database, pairing_id: UUID) -> str:
    status: str = await database.fetchval("SELECT status FROM pairings WHERE id = $1", pairing_id)
    return status


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1, 6)
async def test_only_one_of_fifty_concurrent_accepts_wins_and_the_others_are_refused_as_taken(
    database: Database, make: Make
) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitras = await make.mitras(50)
    pairing_id = await open_blast(database, payment_id, mitras)
    requests = [await request_of(database, pairing_id, mitra) for mitra in mitras]

    outcomes = await asyncio.gather(
        *(outcome(accept(database, mitra, request)) for mitra, request in zip(mitras, requests, strict=True))
    )

    assert sorted(outcomes) == ["already_taken"] * 49 + ["done"]
    winner = mitras[outcomes.index("done")]
    assert await database.fetchval("SELECT mitra_id FROM sessions") == winner
    assert await database.fetchval("SELECT status FROM payments") == "served"
    statuses = await database.fetch(
        "SELECT status, close_reason, count(*) FROM requests GROUP BY 1, 2 ORDER BY 1"
    )
    assert [tuple(row) for row in statuses] == [("accepted", None, 1), ("closed", "already_taken", 49)]


@pytest.mark.rule("2b.5")
async def test_an_accept_must_be_repeated_if_the_transaction_that_held_its_key_was_rolled_back(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra()
    payment_id = await make.confirmed_payment(await make.customer())
    request_id = await request_of(database, await open_blast(database, payment_id, [mitra]), mitra)
    ids = {"request_id": request_id, "mitra_id": mitra}
    async with database.pool.acquire() as holder:
        await holder.execute("SELECT pg_advisory_lock(7)")
        async with database.transaction() as tx:
            won = await journey_queries.accept_and_start(
                tx, **ids, max_closed_requests=50, correlation_id=None, key_lock=7
            )
            assert won is None
            await holder.execute("SELECT pg_advisory_unlock(7)")
            refused = await journey_queries.explain_refusal(tx, **ids, key_lock=7)
    assert refused is not None
    # The server would store a final refusal under the key, and would refuse the repeated accept too. So the refusal
    # must not be final.
    assert refused.outcome == "in_progress"
    assert await outcome(accept(database, mitra, request_id)) == "done"


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1)
async def test_ten_concurrent_accepts_of_the_winner_return_the_same_session(
    database: Database, make: Make
) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)

    found = await asyncio.gather(*(accept(database, mitra, request_id) for _ in range(10)))

    assert len({session.id for session in found}) == 1
    assert await database.fetchval("SELECT active_sessions FROM mitras WHERE id = $1", mitra) == 1


@pytest.mark.rule("2b.7")
@pytest.mark.invariant(5, 6)
async def test_an_accept_that_waits_for_a_lock_until_after_the_deadline_does_not_win(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    await clock.advance(WINDOW_SECONDS - 0.01)

    for table, row_id in (("payments", payment_id), ("pairings", pairing_id), ("mitras", mitra)):
        async with database.transaction() as holder:
            await holder.execute(f"SELECT 1 FROM {table} WHERE id = $1 FOR NO KEY UPDATE", row_id)
            waiting = asyncio.create_task(outcome(accept(database, mitra, request_id)))
            await wait_for_lock(database)
            await clock.advance(1)
        assert await waiting == "request_closed", table
        await clock.advance(-1)

    assert await _status(database, pairing_id) == "open"
    assert await outcome(accept(database, mitra, request_id)) == "done"


@pytest.mark.rule("2b.3", "2b.7")
@pytest.mark.invariant(5, 6)
async def test_an_accept_after_the_deadline_never_wins_even_before_a_worker_closes_the_window(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)

    await clock.advance(WINDOW_SECONDS)

    assert await outcome(accept(database, mitra, request_id)) == "request_closed"
    async with database.transaction() as tx:
        assert await pairing.window_over(tx, pairing_id)
    assert await outcome(accept(database, mitra, request_id)) == "request_closed"


@pytest.mark.rule("2b.3")
@pytest.mark.invariant(5)
async def test_no_window_is_closed_before_its_deadline(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    await clock.set()
    payment_id = await make.confirmed_payment(await make.customer())
    pairing_id = await open_blast(database, payment_id, [])
    await clock.advance(WINDOW_SECONDS - 0.001)

    assert await due_deadlines(database, kinds=[pairing.PAIRING_WINDOW], max_per_kind=1) == []
    async with database.transaction() as tx:
        assert not await pairing.window_over(tx, pairing_id)

    await clock.advance(0.001)
    async with database.transaction() as tx:
        assert await pairing.window_over(tx, pairing_id)


@pytest.mark.rule("2b.5", "2b.9")
@pytest.mark.invariant(6)
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_race_between_accept_and_cancellation_has_one_outcome(
    database: Database, make: Make, accept_first: bool
) -> None:
    customer = await make.customer()
    payment_id = await make.confirmed_payment(customer)
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    latch = Latch()

    if accept_first:
        set_pause_point("accept.before_commit", latch)
        first = asyncio.create_task(outcome(accept(database, mitra, request_id)))
        await latch.reached.wait()
        second = asyncio.create_task(
            in_own_transaction(database, lambda tx: searching.cancel_search(tx, customer, pairing_id))
        )
        await wait_for_lock(database)
        latch.open()
        assert (await first, await second) == ("done", "pairing_decided")
        assert await _status(database, pairing_id) == "matched"
    else:
        async with database.transaction() as tx:
            await searching.cancel_search(tx, customer, pairing_id)
            second = asyncio.create_task(outcome(accept(database, mitra, request_id)))
            await wait_for_lock(database)
        assert await second == "request_closed"
        assert await _status(database, pairing_id) == "failed"
        assert await database.fetchval("SELECT count(*) FROM sessions") == 0


@pytest.mark.rule("2b.7", "2b.8")
@pytest.mark.invariant(6)
async def test_an_accept_that_waits_for_the_switch_to_offline_is_refused(
    database: Database, make: Make
) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)

    async with database.transaction() as tx:
        await set_toggle(tx, mitra, online=False)
        accepting = asyncio.create_task(outcome(accept(database, mitra, request_id)))
        await wait_for_lock(database)
    refused = await accepting

    # Usually the toggle's transaction has closed the mitra's request before the accept continues. If the request is
    # still open, the accept sees that the mitra is offline.
    assert refused in ("request_closed", "mitra_offline")
    assert await database.fetchval("SELECT count(*) FROM sessions") == 0


@pytest.mark.rule("2b.7", "X.8")
@pytest.mark.invariant(6)
async def test_a_suspension_that_waits_for_an_accept_ends_the_new_session(
    database: Database, make: Make
) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)

    latch = Latch()
    set_pause_point("accept.before_commit", latch)
    accepting = asyncio.create_task(outcome(accept(database, mitra, request_id)))
    await latch.reached.wait()
    suspending = asyncio.create_task(in_own_transaction(database, lambda tx: mitras.suspend_mitra(tx, mitra)))
    await wait_for_lock(database)
    latch.open()
    assert await accepting == "done"
    assert await suspending == "done"

    session_id = await database.fetchval("SELECT id FROM sessions")
    armed = await database.fetchval("SELECT entity_id FROM deadlines WHERE kind = $1", mitras.SUSPENSION_END)
    assert armed == session_id
    async with database.transaction() as tx:
        await sessions.end_for_suspension(tx, session_id)
    assert await database.fetchval("SELECT end_reason FROM sessions") == "mitra_suspended"
    assert await database.fetchval("SELECT reason FROM review_cases") == "cut_short"


@pytest.mark.rule("2b.7")
@pytest.mark.invariant(8)
async def test_five_concurrent_accepts_of_a_mitra_do_not_exceed_its_capacity(
    database: Database, make: Make
) -> None:
    mitra = await make.mitra(max_customers=2)
    requests = []
    for _ in range(5):
        payment_id = await make.confirmed_payment(await make.customer())
        pairing_id = await open_blast(database, payment_id, [mitra])
        requests.append(await request_of(database, pairing_id, mitra))

    outcomes = await asyncio.gather(*(outcome(accept(database, mitra, request)) for request in requests))

    assert outcomes.count("done") == 2
    assert set(outcomes) <= {"done", "at_capacity", "request_closed"}
    assert await database.fetchval("SELECT count(*) FROM sessions WHERE status = 'active'") == 2
    reasons = await database.fetch("SELECT close_reason FROM requests WHERE status = 'closed'")
    assert [row["close_reason"] for row in reasons] == ["at_capacity"] * 3


@pytest.mark.rule("2b.4")
@pytest.mark.invariant(4, 6)
async def test_two_concurrent_last_rejections_fail_the_pairing_once(database: Database, make: Make) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitras = await make.mitras(2)
    pairing_id = await open_blast(database, payment_id, mitras)
    requests = [await request_of(database, pairing_id, mitra) for mitra in mitras]

    latch = Latch()
    set_pause_point("reject.before_tally", latch)
    first = asyncio.create_task(outcome(reject(database, mitras[0], requests[0])))
    await latch.reached.wait()
    second = asyncio.create_task(outcome(reject(database, mitras[1], requests[1])))
    await wait_for_lock(database)
    latch.open()

    assert [await first, await second] == ["done", "done"]
    assert await _status(database, pairing_id) == "failed"
    tags = await database.fetch("SELECT tag FROM failed_pairing_events")
    assert [row["tag"] for row in tags] == ["all_mitras_rejected"]
    assert await database.fetchval("SELECT count(*) FROM review_cases") == 1


@pytest.mark.rule("2b.6")
@pytest.mark.invariant(6)
async def test_a_new_offer_during_an_accept_does_not_wait_and_leaves_no_open_card(
    database: Database, make: Make
) -> None:
    customer = await make.customer()
    payment_id = await make.confirmed_payment(customer)
    winner, latecomer = await make.mitras(2)
    pairing_id = await open_blast(database, payment_id, [winner])
    request_id = await request_of(database, pairing_id, winner)

    latch = Latch()
    set_pause_point("accept.before_commit", latch)
    accepting = asyncio.create_task(outcome(accept(database, winner, request_id)))
    await latch.reached.wait()
    # The accept has locked the pairing. The server skips a locked pairing, and does not wait for the lock.
    # The accept can fail, so the mitra's offers are not complete.
    assert await pairing.offer_open_blasts(database, [latecomer]) == pairing.Offers(0, is_complete=False)
    latch.open()

    assert await accepting == "done"
    assert await pairing.offer_open_blasts(database, [latecomer]) == pairing.Offers(0, is_complete=True)
    assert await database.fetchval("SELECT count(*) FROM requests WHERE mitra_id = $1", latecomer) == 0


@pytest.mark.rule("2b.8", "2b.5")
@pytest.mark.invariant(6)
async def test_an_accept_wins_while_its_request_is_being_offered_again(
    database: Database, make: Make
) -> None:
    payment_id = await make.confirmed_payment(await make.customer())
    mitra = await make.mitra()
    pairing_id = await open_blast(database, payment_id, [mitra])
    request_id = await request_of(database, pairing_id, mitra)
    for online in (False, True):
        await in_own_transaction(database, lambda tx, to=online: set_toggle(tx, mitra, online=to))  # type: ignore[misc]

    async def is_offered_again(tx: Transaction) -> None:
        offered = await pairing_queries.offer_blasts(tx, pairing_ids=[pairing_id], mitra_ids=[mitra])
        assert offered.asked == [mitra]

    accepts = command(database, lambda tx: searching.accept(tx, mitra, request_id))
    # When the accept begins, the request is still closed. The accept waits for the offer's commit.
    assert await race(database, command(database, is_offered_again), accepts) == ("done", "done")


@pytest.mark.invariant(6, 8)
async def test_many_concurrent_actions_give_each_pairing_one_outcome_and_no_deadlock(
    database: Database, make: Make
) -> None:
    mitras = await make.mitras(8, max_customers=2)
    customers = [await make.customer() for _ in range(10)]
    pairings = [
        await open_blast(database, await make.confirmed_payment(customer), mitras) for customer in customers
    ]
    rows = await database.fetch("SELECT id, mitra_id FROM requests")
    source = random.Random(7)

    async def act(row: object) -> str:
        mitra_id, request_id = row["mitra_id"], row["id"]  # type: ignore[index]
        roll = source.random()
        if roll < 0.4:
            return await outcome(accept(database, mitra_id, request_id))
        if roll < 0.7:
            return await outcome(reject(database, mitra_id, request_id, mitras))
        if roll < 0.85:
            online = source.random() < 0.5
            return await in_own_transaction(database, lambda tx: set_toggle(tx, mitra_id, online=online))
        return await outcome(pairing.offer_open_blasts(database, mitras))

    steps = [act(row) for row in rows]
    steps += [
        in_own_transaction(database, lambda tx, c=customer, p=one: searching.cancel_search(tx, c, p))  # type: ignore[misc]
        for customer, one in zip(customers[::3], pairings[::3], strict=True)
    ]
    source.shuffle(steps)
    await asyncio.gather(*steps)

    over = await database.fetchval(
        "SELECT count(*) FROM mitras m WHERE active_sessions <> (SELECT count(*) FROM sessions WHERE mitra_id = m.id)"
    )
    assert over == 0
    doubled = await database.fetchval("SELECT count(*) - count(DISTINCT payment_id) FROM sessions")
    assert doubled == 0
