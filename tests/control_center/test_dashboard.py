"""Test that the dashboard's figures equal counts made with plain SQL. A day starts and ends at midnight in Jakarta."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curhat.control_center.dashboard.service import MAX_HOURS_PER_KEEP, keep_hourly_counts
from curhat.journeys import paying
from tests.support.cases import make_chat_cut_short, make_failed_search
from tests.support.clock import VirtualClock
from tests.support.journey import WINDOW_SECONDS
from tests.support.signed_in import RunningServer

# At this time it is 00:30 in Jakarta, and the date in UTC is still the previous day.
SOON_AFTER_MIDNIGHT = datetime(2026, 3, 9, 17, 30, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 9, 17, 0, tzinfo=UTC)

SEED = """
WITH people_made AS (
    INSERT INTO people (phone_number)
    SELECT '+62899' || lpad(number::text, 8, '0') FROM generate_series(1, 300) AS number
    RETURNING id
), customers_made AS (
    INSERT INTO customers (id, call_name) SELECT id, 'Bunga' FROM people_made RETURNING id
), times AS (
    SELECT id, $1::timestamptz - make_interval(secs => 4000000 * (row_number() OVER ())::float / 300) AS at,
        row_number() OVER () AS number
    FROM customers_made
), paid AS (
    INSERT INTO payments (customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, created_at,
        expires_at, confirmed_at)
    SELECT id, 'session', CASE number % 3 WHEN 0 THEN 'expired' WHEN 1 THEN 'unserved' ELSE 'served' END, $2, 30, 20000,
        false, at, at, CASE WHEN number % 3 > 0 THEN at + interval '3 minutes' END
    FROM times
    RETURNING id, customer_id, status, created_at
)
INSERT INTO failed_pairing_events (payment_id, tag, kind, occurred_at)
SELECT id, CASE status WHEN 'expired' THEN 'payment_session_expired' ELSE 'no_mitra_available' END,
    CASE status WHEN 'unserved' THEN 'blast' END, created_at + interval '10 minutes'
FROM paid WHERE status <> 'served'
"""


async def _seed(server: RunningServer, now: datetime) -> None:
    """Write 300 payments without sessions over the last 46 days, about one payment every four hours."""
    await server.database.execute(SEED, now, await server.make.offer())


async def test_the_figures_equal_the_counts_of_plain_sql(server: RunningServer, clock: VirtualClock) -> None:
    viewer = await server.operator("viewer")
    await clock.set(SOON_AFTER_MIDNIGHT)
    await _seed(server, SOON_AFTER_MIDNIGHT)
    await clock.advance(60)
    await make_chat_cut_short(server)
    await server.chat(await server.make.customer(), await server.make.mitra(online=False, max_customers=3))
    await make_failed_search(server, tag="all_mitras_rejected")
    await make_failed_search(server, tag="all_mitras_rejected")
    asked = [await server.make.mitra(f"Kak {number}", online=True) for number in range(2)]
    pairing_id = await server.search(await server.make.customer("Melati"), asked)
    now = await clock.advance(7)

    found = (await viewer.get("/dashboard")).json()

    async def count(query: str, *values: Any) -> int:
        counted: int = await server.database.fetchval(query, *values)
        return counted

    assert datetime.fromisoformat(found["today_began_at"]) == MIDNIGHT
    assert datetime.fromisoformat(found["server_now"]) == now
    assert found["online"] == await count("SELECT count(*) FROM mitras WHERE online") == 3
    assert (
        found["active_sessions"] == await count("SELECT count(*) FROM sessions WHERE status = 'active'") == 1
    )
    assert found["searching_now"] == 1
    search = found["searches"][0]
    assert (search["pairing_id"], search["call_name"], search["age_seconds"], search["asked"]) == (
        str(pairing_id),
        "Melati",
        7.0,
        2,
    )
    assert datetime.fromisoformat(search["deadline_at"]) == now + timedelta(seconds=WINDOW_SECONDS - 7)
    today = "purpose = 'session' AND {} >= $1"
    assert found["funnel"] == {
        "opened": await count(f"SELECT count(*) FROM payments WHERE {today.format('created_at')}", MIDNIGHT),
        "confirmed": await count(
            f"SELECT count(*) FROM payments WHERE {today.format('confirmed_at')}", MIDNIGHT
        ),
        "matched": await count("SELECT count(*) FROM sessions WHERE started_at >= $1", MIDNIGHT),
        "finished": await count("SELECT count(*) FROM sessions WHERE ended_at >= $1", MIDNIGHT),
    }
    assert found["funnel"]["matched"] == 2
    assert found["funnel"]["finished"] == 1
    rows = await server.database.fetch(
        "SELECT tag, count(*) FROM failed_pairing_events WHERE occurred_at >= $1 GROUP BY tag", MIDNIGHT
    )
    assert found["failures_by_tag"] == {row["tag"]: row["count"] for row in rows}
    assert found["failures_by_tag"]["all_mitras_rejected"] == 2
    assert found["open_cases"] == await count("SELECT count(*) FROM review_cases WHERE status = 'open'") == 3


async def test_the_acceptance_times_include_only_the_accepts_of_today(
    server: RunningServer, clock: VirtualClock
) -> None:
    viewer = await server.operator("viewer")
    await clock.set(MIDNIGHT - timedelta(hours=1))
    empty = (await viewer.get("/dashboard")).json()
    assert empty["acceptance_seconds"] == {"p50": None, "p95": None}
    dice = random.Random(1)
    seconds = [dice.randint(1, 59) for _ in range(20)]

    async def accepted_after(waited: int) -> None:
        mitra = await server.mitra()
        request_id = await server.request(await server.make.customer(), mitra.id)
        await clock.advance(waited)
        assert (await mitra.post(f"/requests/{request_id}/accept")).status_code == 200

    await accepted_after(59)  # This request was accepted yesterday.
    await clock.set(SOON_AFTER_MIDNIGHT)
    for waited in seconds:
        await accepted_after(waited)
    found = (await viewer.get("/dashboard")).json()["acceptance_seconds"]
    ordered = sorted(seconds)
    assert found["p50"] == pytest.approx((ordered[9] + ordered[10]) / 2)
    assert found["p95"] == pytest.approx(ordered[18] + 0.05 * (ordered[19] - ordered[18]))


async def test_the_charts_equal_the_counts_of_plain_sql_per_hour_and_per_day(
    server: RunningServer, clock: VirtualClock
) -> None:
    viewer = await server.operator("viewer")
    await clock.set(SOON_AFTER_MIDNIGHT)
    await _seed(server, SOON_AFTER_MIDNIGHT)
    await make_chat_cut_short(server)
    charts = (await viewer.get("/dashboard/charts")).json()
    assert (len(charts["hours"]), len(charts["days"])) == (24, 30)
    assert datetime.fromisoformat(charts["hours"][-1]["began_at"]) == MIDNIGHT
    assert datetime.fromisoformat(charts["days"][-1]["began_at"]) == MIDNIGHT
    for buckets, length in ((charts["hours"], timedelta(hours=1)), (charts["days"], timedelta(days=1))):
        begins = [datetime.fromisoformat(bucket["began_at"]) for bucket in buckets]
        assert begins == [MIDNIGHT - length * back for back in reversed(range(len(buckets)))]
        for bucket, begin in zip(buckets, begins, strict=True):
            counted = await server.database.fetchrow(
                """
                SELECT (SELECT count(*) FROM payments WHERE created_at >= $1 AND created_at < $2) AS opened,
                    (SELECT count(*) FROM payments WHERE confirmed_at >= $1 AND confirmed_at < $2) AS confirmed,
                    (SELECT count(*) FROM sessions WHERE started_at >= $1 AND started_at < $2) AS matched,
                    (SELECT count(*) FROM sessions WHERE ended_at >= $1 AND ended_at < $2) AS finished,
                    (SELECT count(*) FROM failed_pairing_events
                     WHERE occurred_at >= $1 AND occurred_at < $2) AS failed
                """,
                begin,
                begin + length,
            )
            assert counted is not None
            assert {name: value for name, value in bucket.items() if name != "began_at"} == dict(counted)
    assert sum(bucket["opened"] for bucket in charts["days"]) > 150
    # The charts stay the same when the worker has stored the counts of the past hours.
    stored = 0
    while True:
        async with server.database.transaction() as tx:
            more = await keep_hourly_counts(tx)
        stored += more
        if more < MAX_HOURS_PER_KEEP:
            break
    assert stored == 30 * 24 + 1
    unequal = {"server_now": None, "week": None}
    assert (await viewer.get("/dashboard/charts")).json() | unequal == charts | unequal


async def test_a_change_of_presence_changes_the_figures_of_mitras_and_free_capacity(
    server: RunningServer,
) -> None:
    viewer = await server.operator("viewer")
    before = (await viewer.get("/dashboard")).json()
    assert (before["online"], before["connected"], before["available"], before["free_capacity"]) == (
        0,
        0,
        0,
        0,
    )
    async with server.available_mitra() as mitra:  # This mitra's capacity is 20 customers.
        await server.chat(await server.make.customer(), mitra.id)
        found = (await viewer.get("/dashboard")).json()
        assert (found["online"], found["connected"], found["available"], found["free_capacity"]) == (
            1,
            1,
            1,
            19,
        )
        async with (away := await server.mitra("Kak Pergi", online=False)).socket():
            found = (await viewer.get("/dashboard")).json()
            # A server writes last-seen times to PostgreSQL periodically. In this test, the next line writes the
            # last-seen times.
            await server.application.services.presence.write_last_seen()
            found = (await viewer.get("/dashboard")).json()
            assert (found["online"], found["connected"], found["available"]) == (1, 2, 1), away.id


@pytest.mark.rule("2a.10")
async def test_operators_see_the_payments_for_which_the_gateway_has_given_no_answer_for_ten_minutes(
    server: RunningServer,
) -> None:
    viewer, customer_id = await server.operator("viewer"), await server.make.customer()
    mitra_id, payment_id = await server.make.mitra(), await server.pending_payment(customer_id)
    async with server.database.transaction() as tx:
        assert await paying.begin_confirmation(tx, customer_id, payment_id, [mitra_id]) is not None

    async def unanswered() -> tuple[int, list[str]]:
        listed = (await viewer.get("/payments", gateway_unanswered="true")).json()["items"]
        count = (await viewer.get("/dashboard")).json()["gateway_unanswered"]
        return count, [payment["id"] for payment in listed]

    assert await unanswered() == (0, [])
    await server.database.execute(
        "UPDATE charge_attempts SET started_at = started_at - interval '10 minutes'"
    )
    assert await unanswered() == (1, [str(payment_id)])
    await server.database.execute(
        "UPDATE charge_attempts SET status = 'declined', answered_at = curhat_now()"
    )
    assert await unanswered() == (0, [])


@pytest.mark.rule("X.1")
async def test_operators_see_the_number_of_failing_deadlines(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    assert (await viewer.get("/dashboard")).json()["deadlines_parked"] == 0
    await server.database.execute(
        "INSERT INTO deadlines (kind, entity_id, due_at, parked_at) "
        "VALUES ('session_end', gen_random_uuid(), curhat_now() + interval '1 hour', curhat_now())"
    )
    assert (await viewer.get("/dashboard")).json()["deadlines_parked"] == 1
