"""Measures how late deadlines take effect. Real workers fire 500 deadlines per second. One worker is killed.

One third of the deadlines expire payments, one third end blasts, and one third end sessions. The lateness is the time
of the status change minus the due time. The database's clock gives both times.
"""

import asyncio
import time
from typing import Final

from bench.claims import Options
from bench.harness import people
from bench.harness.report import Figure, Target, percentile
from bench.harness.testbed import Connection, Database, Testbed

PER_SECOND: Final = 500
SECONDS: Final = 20
WORKERS: Final = 2
# The number of mitras that each blast has asked. None of the asked mitras has answered.
MITRAS_PER_BLAST: Final = 3
KILL_AFTER_SECONDS: Final = 8.0
# The time between the start of the run and the first due time. Until then, the run writes the rows and starts the
# workers.
LEAD_SECONDS: Final = 20
_LAST_TIMEOUT_SECONDS: Final = 30
_THIRD: Final = PER_SECOND * SECONDS // 3
_GROUPS: Final = 300

# $1: the first due time. $2: the number of deadlines of each kind. The kinds alternate.
_DUE: Final = f"$1::timestamptz + make_interval(secs => (number * 3 + {{index}}) / {PER_SECOND}::float8)"
_EXPIRE_PAYMENTS: Final = f"""
WITH due AS (
    INSERT INTO payments (id, customer_id, purpose, offer_id, duration_minutes, amount_rp, is_trial, expires_at)
    SELECT bench_id(3, number), bench_id(1, number), 'session', bench_id(7, 1), 60, 35000, false, {_DUE.format(index=0)}
    FROM generate_series(0, $2::bigint - 1) AS number
    RETURNING id, expires_at
)
INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'payment_expiry', id, expires_at FROM due
"""
_END_WINDOWS: Final = f"""
WITH due AS (
    UPDATE pairings SET deadline_at = {_DUE.format(index=1)}
    FROM generate_series(0, $2::bigint - 1) AS number WHERE pairings.id = bench_id(4, $2 + number)
    RETURNING pairings.id, deadline_at
)
UPDATE deadlines SET due_at = due.deadline_at FROM due
WHERE kind = 'pairing_window' AND entity_id = due.id
"""
_END_SESSIONS: Final = f"""
WITH due AS (
    UPDATE sessions SET ends_at = {_DUE.format(index=2)}
    FROM generate_series(0, $2::bigint - 1) AS number WHERE sessions.id = bench_id(6, 2 * $2 + number)
    RETURNING sessions.id, ends_at
)
UPDATE deadlines SET due_at = due.ends_at FROM due
WHERE kind = 'session_end' AND entity_id = due.id
"""
_LATE: Final = """
SELECT entity, extract(epoch FROM changed_at - coalesce(expires_at, deadline_at, ends_at))::float8 AS late
FROM status_changes
LEFT JOIN payments ON payments.id = entity_id AND entity = 'payment'
LEFT JOIN pairings ON pairings.id = entity_id AND entity = 'pairing'
LEFT JOIN sessions ON sessions.id = entity_id AND entity = 'session'
WHERE new_status = 'expired' OR (entity = 'pairing' AND new_status = 'failed') OR new_status = 'ended'
"""
# An approved extension arms a later deadline for the new end of its session. The figures leave out the deadline for the
# new end.
_SOME_ARE_DUE: Final = (
    "SELECT EXISTS (SELECT 1 FROM deadlines WHERE parked_at IS NULL AND due_at <= curhat_now())"
)


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Run the deadlines once. Kill one worker and start another worker in its place."""
    async with testbed.database() as database, database.connect() as connection:
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
    late = [row["late"] * 1000 for row in rows]
    total = 3 * _THIRD
    about = ", ".join(
        f"{entity} p99 {percentile([row['late'] * 1000 for row in rows if row['entity'] == entity], 0.99):.0f} ms"
        for entity in ("payment", "pairing", "session")
    )
    return [
        Figure(
            "deadlines",
            f"lateness, p99 of {len(late):,} at {PER_SECOND} per second",
            percentile(late, 0.99),
            "ms",
            Target("figure", "at most", 50),
            note=f"p50 {percentile(late, 0.5):.1f} ms; {about}; {WORKERS} worker processes, one killed after "
            f"{KILL_AFTER_SECONDS:.0f} s and replaced",
        ),
        Figure("deadlines", "lateness, maximum", max(late), "ms", Target("figure", "at most", 250)),
        Figure(
            "deadlines", "fired early", sum(value < 0 for value in late), "", Target("figure", "at most", 0)
        ),
        Figure(
            "deadlines",
            f"not fired {_LAST_TIMEOUT_SECONDS} s after the last due time",
            total - len(late),
            "",
            Target("figure", "at most", 0),
        ),
    ]


async def _prepare(connection: Connection) -> None:
    """Insert the rows of customers and mitras. No deadline is due yet.

    The customers form three equal groups. The customers of the second group are searching, and the customers of the
    third group are chatting.
    """
    await people.prepare(connection)
    await people.customers(connection, 0, 3 * _THIRD)
    await people.mitras(connection, 0, MITRAS_PER_BLAST * _GROUPS)
    await people.mitras(connection, 2 * _THIRD, _THIRD)
    await people.searches(connection, _THIRD, _THIRD, mitras_per_pairing=MITRAS_PER_BLAST, groups=_GROUPS)
    await people.chats(connection, 2 * _THIRD, _THIRD)


async def _arm(connection: Connection) -> float:
    """Set the due times. Returns the first due time. The first due time is LEAD_SECONDS from now."""
    first_due = await connection.fetchval(
        "SELECT curhat_now() + make_interval(secs => $1)", float(LEAD_SECONDS)
    )
    for statement in (_EXPIRE_PAYMENTS, _END_WINDOWS, _END_SESSIONS):
        await connection.execute(statement, first_due, _THIRD)
    await connection.execute("ANALYZE")
    if time.time() > first_due.timestamp() - 2:
        raise RuntimeError(f"arming took longer than {LEAD_SECONDS} s")
    return float(first_due.timestamp())


async def until_none_is_due(database: Database, last_due: float) -> None:
    """Wait until every due deadline has fired. Stop waiting _LAST_TIMEOUT_SECONDS after the last due time."""
    await asyncio.sleep(max(0.0, last_due - time.time()))
    async with database.connect() as connection:
        while time.time() < last_due + _LAST_TIMEOUT_SECONDS and await connection.fetchval(_SOME_ARE_DUE):
            await asyncio.sleep(0.1)
