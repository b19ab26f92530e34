"""Measures how late the time limits of targeted requests and extensions take effect.

Workers fire 500 deadlines per second. The run kills one worker during the measurement. The deadlines belong to
payments, blasts, targeted requests, extensions and sessions. The workers fire 100 deadlines of each kind per second.
Half of the extensions are approved by default. Each approved extension is charged at the gateway, and its session gets
a new end. The remaining half of the extensions is rejected by default. The mitras of all extensions stay connected.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from bench.claims import Options
from bench.deadlines import KILL_AFTER_SECONDS, WORKERS, until_none_is_due
from bench.harness import people
from bench.harness.report import Figure, Target, percentile
from bench.harness.testbed import Connection, Testbed
from curhat.presence.store import PresenceStore, Report

PER_SECOND: Final = 500
SECONDS: Final = 20
LEAD_SECONDS: Final = 25
KINDS: Final = ("payment", "blast", "targeted", "extension", "session")
EACH: Final = PER_SECOND * SECONDS // len(KINDS)
MITRAS_PER_BLAST: Final = 3
_GROUPS: Final = 300
# A real connection reports often enough that Valkey sees no gap.
_HEARTBEAT_SECONDS: Final = 1
_EXTENSION_OFFER: Final = 2

# $1: the first due time. $2: the number of deadlines of each kind. The row numbers of kind i start at i times $2.
_DUE: Final = (
    f"$1::timestamptz + make_interval(secs => (number * {len(KINDS)} + {{index}}) / {PER_SECOND}::float8)"
)
_NUMBERS: Final = "generate_series(0, $2::bigint - 1) AS number"
_PAYMENTS: Final = f"""
WITH due AS (
    INSERT INTO payments (id, customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
    SELECT bench_id(3, number), bench_id(1, number), 'session', bench_id(7, 1), 60, 35000, false, {_DUE.format(index=0)}
    FROM {_NUMBERS}
    RETURNING id, expires_at
)
INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'payment_expiry', id, expires_at FROM due
"""
_BLASTS: Final = f"""
WITH due AS (
    UPDATE pairings SET deadline_at = {_DUE.format(index=1)}
    FROM {_NUMBERS} WHERE pairings.id = bench_id(4, $2 + number)
    RETURNING pairings.id, deadline_at
)
UPDATE deadlines SET due_at = due.deadline_at FROM due WHERE kind = 'pairing_window' AND entity_id = due.id
"""
# Each customer of a targeted request has chosen a different mitra.
_TARGETED: Final = f"""
WITH paid AS (
    INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial,
        target_mitra_id, expires_at, confirmed_at)
    SELECT bench_id(3, 2 * $2 + number), bench_id(1, 2 * $2 + number), 'session', 'confirmed', bench_id(7, 1), 60,
        35000, false, bench_id(2, 2 * $2 + number), curhat_now() + interval '20 minutes', curhat_now()
    FROM {_NUMBERS}
    RETURNING id
), due AS (
    INSERT INTO pairings (id, payment_id, customer_id, kind, target_mitra_id, deadline_at)
    SELECT bench_id(4, 2 * $2 + number), bench_id(3, 2 * $2 + number), bench_id(1, 2 * $2 + number), 'targeted',
        bench_id(2, 2 * $2 + number), {_DUE.format(index=2)}
    FROM {_NUMBERS}, (SELECT count(*) FROM paid) AS first
    RETURNING id, deadline_at
)
INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'targeted_window', id, deadline_at FROM due
"""
_TARGETED_REQUESTS: Final = f"""
INSERT INTO requests (id, pairing_id, mitra_id, is_returning)
SELECT bench_id(5, 2 * $1::bigint + {MITRAS_PER_BLAST} * 2 * $1 + number), bench_id(4, 2 * $1 + number),
    bench_id(2, 2 * $1 + number), true
FROM generate_series(0, $1 - 1) AS number
"""
_EXTENSIONS: Final = f"""
WITH asked AS (
    INSERT INTO payments (id, customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
    SELECT bench_id(3, 5 * $2 + number), bench_id(1, 3 * $2 + number), 'extension', bench_id(7, {_EXTENSION_OFFER}), 15,
        10000, false, {_DUE.format(index=3)}
    FROM {_NUMBERS}
    RETURNING id
), opened AS (
    INSERT INTO extensions (id, session_id, payment_id, offer_id, duration_minutes, price_rp, default_action,
        deadline_at)
    SELECT bench_id(8, number), bench_id(6, 3 * $2 + number), bench_id(3, 5 * $2 + number),
        bench_id(7, {_EXTENSION_OFFER}), 15, 10000,
        CASE WHEN number % 2 = 0 THEN 'auto_approve' ELSE 'auto_reject' END, {_DUE.format(index=3)}
    FROM {_NUMBERS}, (SELECT count(*) FROM asked) AS first
    RETURNING id, deadline_at
)
INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'extension_window', id, deadline_at FROM opened
"""
_HELD_BACK: Final = """
UPDATE sessions SET open_extension_id = extensions.id FROM extensions WHERE extensions.session_id = sessions.id
"""
_SESSIONS: Final = f"""
WITH due AS (
    UPDATE sessions SET ends_at = {_DUE.format(index=4)}
    FROM {_NUMBERS} WHERE sessions.id = bench_id(6, 4 * $2 + number)
    RETURNING sessions.id, ends_at
)
UPDATE deadlines SET due_at = due.ends_at FROM due WHERE kind = 'session_end' AND entity_id = due.id
"""
_OFFER: Final = f"""
INSERT INTO offers (id, purpose, duration_minutes, price_rp, is_trial)
VALUES (bench_id(7, {_EXTENSION_OFFER}), 'extension', 15, 10000, false)
"""
# The lateness is the time of the status change minus the due time. The database's clock gives both times.
_LATE: Final = """
SELECT 'payment' AS kind, changed_at - expires_at AS late
FROM status_changes JOIN payments ON payments.id = entity_id WHERE entity = 'payment' AND new_status = 'expired'
UNION ALL
SELECT CASE kind WHEN 'blast' THEN 'blast' ELSE 'targeted' END, changed_at - deadline_at
FROM status_changes JOIN pairings ON pairings.id = entity_id WHERE entity = 'pairing' AND new_status = 'failed'
UNION ALL
SELECT 'extension', decided_at - deadline_at FROM extensions WHERE decided_by = 'timeout'
UNION ALL
SELECT 'session', changed_at - ends_at
FROM status_changes JOIN sessions ON sessions.id = entity_id WHERE entity = 'session' AND new_status = 'ended'
"""
_APPROVED: Final = "SELECT count(*) FROM extensions WHERE status = 'approved'"


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Run the deadlines once. Kill one worker and start another worker in its place."""
    async with testbed.database() as database, database.connect() as connection, _connected(testbed):
        await _prepare(connection)
        await database.settle()
        async with testbed.worker(database):
            doomed = await testbed.start_worker(database)
            first_due = await _arm(connection)
            await asyncio.sleep(first_due + KILL_AFTER_SECONDS - time.time())
            await doomed.kill()
            async with testbed.worker(database):
                await until_none_is_due(database, first_due + SECONDS)
        rows = await connection.fetch(_LATE)
        approved = await connection.fetchval(_APPROVED)
    late = {
        kind: [1000 * row["late"].total_seconds() for row in rows if row["kind"] == kind] for kind in KINDS
    }
    windows = [*late["targeted"], *late["extension"]]
    everything = [value for values in late.values() for value in values]
    about = ", ".join(f"{kind} p99 {percentile(values, 0.99):.0f} ms" for kind, values in late.items())
    return [
        Figure(
            "windows",
            f"lateness, p99 of {len(windows):,} answer windows; {PER_SECOND} deadlines per second fire in all",
            percentile(windows, 0.99),
            "ms",
            Target("figure", "at most", 50),
            note=f"p50 {percentile(windows, 0.5):.1f} ms; {about}; {approved:,} extensions approved and charged; "
            f"{WORKERS} worker processes, one killed after {KILL_AFTER_SECONDS:.0f} s and replaced",
        ),
        Figure("windows", "lateness, maximum", max(windows), "ms", Target("figure", "at most", 250)),
        Figure(
            "windows",
            "fired early",
            sum(value < 0 for value in everything),
            "",
            Target("figure", "at most", 0),
        ),
        Figure(
            "windows", "not fired", len(KINDS) * EACH - len(everything), "", Target("figure", "at most", 0)
        ),
    ]


@contextlib.asynccontextmanager
async def _connected(testbed: Testbed) -> AsyncIterator[None]:
    """Until the end of the block, keep the mitras of the extensions connected in Presence."""
    mitras = [people.identifier(people.MITRA, number) for number in range(3 * EACH, 4 * EACH)]
    async with testbed.valkey() as client:
        store = PresenceStore(client)
        opened_at = time.monotonic()

        async def send_heartbeats() -> None:
            while True:
                await store.report(
                    [Report(mitra_id, "bench", opened_at, time.monotonic(), None) for mitra_id in mitras]
                )
                await asyncio.sleep(_HEARTBEAT_SECONDS)

        heartbeats = asyncio.create_task(send_heartbeats())
        try:
            yield
        finally:
            heartbeats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeats


async def _prepare(connection: Connection) -> None:
    """Insert the rows of customers and mitras.

    One fifth of the customers belongs to each kind of deadline, in the order of KINDS. No deadline is due yet.
    """
    await people.prepare(connection)
    await connection.execute(_OFFER)
    await people.customers(connection, 0, len(KINDS) * EACH)
    await people.mitras(connection, 0, MITRAS_PER_BLAST * _GROUPS)
    await people.mitras(connection, 2 * EACH, 3 * EACH)
    await people.searches(connection, EACH, EACH, mitras_per_pairing=MITRAS_PER_BLAST, groups=_GROUPS)
    await people.chats(connection, 3 * EACH, 2 * EACH)


async def _arm(connection: Connection) -> float:
    """Set the due times. Returns the first due time. The first due time is LEAD_SECONDS from now."""
    first_due = await connection.fetchval(
        "SELECT curhat_now() + make_interval(secs => $1)", float(LEAD_SECONDS)
    )
    for statement in (_PAYMENTS, _BLASTS, _TARGETED):
        await connection.execute(statement, first_due, EACH)
    await connection.execute(_TARGETED_REQUESTS, EACH)
    await connection.execute(_EXTENSIONS, first_due, EACH)
    await connection.execute(_HELD_BACK)
    await connection.execute(_SESSIONS, first_due, EACH)
    await connection.execute("ANALYZE")
    if time.time() > first_due.timestamp() - 2:
        raise RuntimeError(f"arming took longer than {LEAD_SECONDS} s")
    return float(first_due.timestamp())
