"""Measures whether pruning keeps up, and whether a table grows that should not, over several simulated days.

Each simulated day has the same sessions: their events, keys, codes, deadlines, cards, messages and pushes are written
with the statements of the product, or with the same inserts, updates and deletes. The clock of the database moves ten
minutes at a time. After each step the worker's pruning runs, and VACUUM runs for each table for which autovacuum would
run, because a simulated day is shorter than the pause of autovacuum.
"""

import time
from dataclasses import dataclass, field
from typing import Final

from bench.claims import Options
from bench.harness import cpu, people
from bench.harness.report import Figure, Peer, Target
from bench.harness.testbed import Connection, Testbed
from curhat.app import worker
from curhat.kit.database import Database as Pool

DAYS: Final = 4
STEP_MINUTES: Final = 10
STEPS_PER_DAY: Final = 24 * 60 // STEP_MINUTES
MESSAGES_PER_SESSION: Final = 20
CARDS_PER_SESSION: Final = 20
KEYS_PER_SESSION: Final = 6
DEADLINES_PER_SESSION: Final = 6
PUSHES_PER_SESSION: Final = 3
OTHER_EVENTS_PER_SESSION: Final = 10
MITRAS: Final = 500
# The events of so many messages share a transaction, as in the server on a busy evening.
MESSAGES_PER_BATCH: Final = 50
MAX_TRANSACTION_MILLISECONDS: Final = 1_000
# The tables whose rows the service deletes. They reach their size on the first day and must keep it.
EMPTIED: Final = (
    "stream_events",
    "idempotency_keys",
    "one_time_codes",
    "deadlines",
    "push_messages",
)
# These tables have one row per person. Their rows change all the time.
CHANGED: Final = ("streams", "mitras")
# These tables keep every row.
KEPT: Final = ("requests", "messages", "sessions")

# Every statement gets: $1 the first session, $2 the number of sessions, and further numbers. Session n has customer n
# mod the number of customers, and mitra n mod MITRAS.
_CLOCK: Final = """
CREATE OR REPLACE FUNCTION curhat_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN clock_timestamp() + interval '{minutes} minutes'
"""
_MESSAGES: Final = """
INSERT INTO messages (session_id, sender, client_message_id, text)
SELECT bench_id(6, n), CASE place % 2 WHEN 0 THEN 'customer' ELSE 'mitra' END, place::text,
    'Terima kasih sudah mau mendengarkan, hari ini berat sekali rasanya.'
FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series($3::int, $3 + $4 - 1) AS place
"""
_READS: Final = """
UPDATE messages SET read_at = curhat_now()
WHERE read_at IS NULL AND session_id IN (SELECT bench_id(6, n) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
# $3: events of each side. $4: customers. $5: mitras. Both sides get each event.
_EVENTS: Final = """
SELECT count(*)
FROM (
    SELECT array_agg(role) AS roles, array_agg(user_id) AS people, array_agg('message.created'::text) AS types,
        array_agg(data) AS data
    FROM (
        SELECT role, bench_id(kind, n % CASE kind WHEN 1 THEN $4::bigint ELSE $5::bigint END) AS user_id,
            '{"message":{"id":"' || uuidv7() || '","session_id":"' || bench_id(6, n) || '","sender":"customer","text":"'
            || repeat('Terima kasih ', 12) || '"}}' AS data
        FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series(1, $3::int),
            (VALUES ('customer', 1), ('mitra', 2)) AS side (role, kind)
    ) AS event
) AS given, append_events(given.roles, given.people, given.types, given.data)
"""
_KEYS: Final = """
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
SELECT 'customer', bench_id(1, n % $3::bigint), gen_random_uuid()::text, sha256('x'), 200, repeat('{"id":"answer"}', 50)
FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series(1, $4::int)
"""
_CODES: Final = """
INSERT INTO one_time_codes (role, phone_number, code_digest, resend_after, expires_at)
SELECT 'customer', '+62812' || n, sha256('x'), curhat_now() + interval '1 minute', curhat_now() + interval '5 minutes'
FROM generate_series($1::bigint, $1 + $2 - 1) AS n
"""
_CODES_USED: Final = """
UPDATE one_time_codes SET consumed_at = curhat_now() WHERE phone_number IN (
    SELECT '+62812' || n FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_ARMED: Final = """
INSERT INTO deadlines (kind, entity_id, due_at)
SELECT 'kind_' || kind, bench_id(6, n), curhat_now() + interval '20 minutes'
FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series(1, $3::int) AS kind
"""
_GONE: Final = """
DELETE FROM deadlines WHERE entity_id IN (SELECT bench_id(6, n) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_CARDS: Final = """
INSERT INTO requests (pairing_id, mitra_id, is_returning)
SELECT bench_id(4, n), bench_id(2, (n * 7 + place) % $3::bigint), false
FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series(1, $4::int) AS place
"""
_CARDS_CLOSED: Final = """
UPDATE requests SET status = 'closed', close_reason = 'already_taken', answered_at = curhat_now()
WHERE status = 'offered'
    AND pairing_id IN (SELECT bench_id(4, n) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_SESSIONS: Final = """
INSERT INTO sessions (id, payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, ends_at)
SELECT bench_id(6, n), bench_id(3, n), bench_id(4, n), bench_id(1, n), bench_id(2, n % $3::bigint), 30, false,
    curhat_now() + interval '30 minutes'
FROM generate_series($1::bigint, $1 + $2 - 1) AS n
"""
_SEATED: Final = """
UPDATE mitras SET active_sessions = active_sessions + 1, availability_version = availability_version + 1
WHERE id IN (SELECT bench_id(2, n % $3::bigint) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_ENDED: Final = """
UPDATE sessions SET status = 'ended', ended_at = curhat_now(), end_reason = 'time_up'
WHERE id IN (SELECT bench_id(6, n) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_FREED: Final = """
UPDATE mitras SET active_sessions = active_sessions - 1, availability_version = availability_version + 1
WHERE id IN (SELECT bench_id(2, n % $3::bigint) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
_PUSHES: Final = """
INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
SELECT gen_random_uuid(), 'message', bench_id(6, n), 't', repeat('x', 300), curhat_now(),
    curhat_now() + interval '4 hours'
FROM generate_series($1::bigint, $1 + $2 - 1) AS n, generate_series(1, $3::int)
"""
_PUSHED: Final = """
UPDATE push_messages SET done_at = curhat_now() WHERE done_at IS NULL
    AND subject_id IN (SELECT bench_id(6, n) FROM generate_series($1::bigint, $1 + $2 - 1) AS n)
"""
# Autovacuum vacuums a table when it has more dead or more new rows than these thresholds.
_TO_VACUUM: Final = """
WITH option AS (
    SELECT pg_class.oid, pg_class.reltuples, given.name, given.value
    FROM pg_class LEFT JOIN LATERAL (
        SELECT option_name AS name, option_value::float8 AS value FROM pg_options_to_table(reloptions)
        WHERE option_name LIKE 'autovacuum%'
    ) AS given ON true
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
), threshold AS (
    SELECT oid, greatest(reltuples, 0) AS rows,
        coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_threshold'), 50) AS base,
        coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_scale_factor'), 0.2) AS scale,
        coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_insert_threshold'), 1000) AS insert_base,
        coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_insert_scale_factor'), 0.2) AS insert_scale
    FROM option GROUP BY oid, reltuples
)
SELECT relname FROM threshold JOIN pg_stat_user_tables ON relid = oid
WHERE n_dead_tup > base + scale * rows OR n_ins_since_vacuum > insert_base + insert_scale * rows
"""
_TABLES: Final = """
SELECT relname AS name, pg_relation_size(relid) AS heap, pg_indexes_size(relid) AS indexes,
    pg_total_relation_size(relid) AS total, n_live_tup AS live, n_dead_tup AS dead, n_tup_upd AS updates,
    n_tup_hot_upd AS hot, n_tup_ins AS inserts
FROM pg_stat_user_tables
"""


# $1: events. Each person has 200 of them, spread over a day that ended a day ago, so that one pruning deletes them all.
_BACKLOG: Final = """
INSERT INTO stream_events (role, user_id, seq, type, data, at)
SELECT 'customer', bench_id(1, n % ($1::bigint / 200)), n, 'message.created', repeat('{"message":"data"}', 18),
    curhat_now() - interval '48 hours' + n * interval '24 hours' / $1
FROM generate_series(0, $1 - 1) AS n
"""


@dataclass(frozen=True, slots=True)
class Table:
    """The size of one table at the end of a simulated day, and what has happened to it so far."""

    heap: int
    indexes: int
    total: int
    live: int
    dead: int
    updates: int
    hot: int
    inserts: int

    @property
    def hot_share(self) -> float:
        """The share of the updates that changed no index (heap-only tuples)."""
        return self.hot / self.updates if self.updates else 1.0


@dataclass(slots=True)
class Days:
    """What the simulated days took."""

    sessions: int = 0
    tables: list[dict[str, Table]] = field(default_factory=list)
    slowest_transaction: float = 0.0
    pruned: int = 0
    pruning_seconds: float = 0.0
    vacuums: dict[str, int] = field(default_factory=dict)
    vacuum_seconds: float = 0.0
    all_seconds: float = 0.0


async def measure(testbed: Testbed, options: Options) -> list[Figure]:
    """Simulate the days, and compare the last day with the second day. Then prune a whole day at once."""
    days = await simulate(testbed, options.day_messages)
    backlog = await _prune_backlog(testbed, options.rows)
    second, last = days.tables[1], days.tables[-1]

    def megabytes(tables: dict[str, Table]) -> float:
        return sum(tables[name].total for name in (*EMPTIED, *CHANGED)) / 1e6

    sizes = "; ".join(
        f"{name} {' → '.join(f'{day[name].total / 1e6:.1f}' for day in days.tables)} MB" for name in EMPTIED
    )
    return [
        Figure(
            "days",
            f"slowest transaction of the pruning, {options.day_messages:,} messages per day",
            days.slowest_transaction * 1000,
            "ms",
            Target("figure", "at most", MAX_TRANSACTION_MILLISECONDS),
            note=f"{days.pruned:,} rows deleted in {DAYS} days; of PostgreSQL's processor time, pruning took "
            f"{days.pruning_seconds / days.all_seconds:.1%} and VACUUM {days.vacuum_seconds / days.all_seconds:.1%}",
        ),
        Figure(
            "days",
            "tables whose rows are deleted or replaced, after the last day",
            megabytes(last),
            "MB",
            Target("ratio", "at most", 1.1),
            Peer("after the second day", megabytes(second)),
            sizes,
        ),
        Figure(
            "days",
            "updates of streams that touch no index",
            last["streams"].hot_share * 100,
            "%",
            Target("figure", "at least", 90),
            note=f"of mitras {last['mitras'].hot_share:.0%}; streams "
            + " → ".join(f"{day['streams'].total / 1e6:.1f}" for day in days.tables)
            + " MB",
        ),
        Figure(
            "days",
            f"slowest transaction while {options.rows:,} old events are deleted at once",
            backlog.slowest_transaction * 1000,
            "ms",
            Target("figure", "at most", MAX_TRANSACTION_MILLISECONDS),
            note=f"{backlog.pruned:,} deleted; PostgreSQL used {backlog.pruning_seconds / backlog.pruned * 1e6:.1f} µs "
            "of a processor per row",
        ),
    ]


async def simulate(testbed: Testbed, day_messages: int, *settings: str, days: int = DAYS) -> Days:
    """Simulate the days. `settings` are statements that change the storage of tables first."""
    taken = Days()
    per_step = max(1, day_messages // MESSAGES_PER_SESSION // STEPS_PER_DAY)
    customers = per_step * STEPS_PER_DAY * 2
    async with testbed.database() as database, database.connect() as connection:
        await people.prepare(connection)
        await people.customers(connection, 0, customers)
        await people.mitras(connection, 0, MITRAS)
        for setting in settings:
            await connection.execute(setting)
        await database.settle()
        # The rows of payments and pairings are not needed here, so no foreign key and no trigger is checked.
        await connection.execute("SET session_replication_role = replica")
        pool = await Pool.connect(database.url, pool_size=1)
        try:
            began = await cpu.seconds_of_postgresql(connection)
            for day in range(days):
                for step in range(STEPS_PER_DAY):
                    minutes = (day * STEPS_PER_DAY + step + 1) * STEP_MINUTES
                    await _step(connection, taken.sessions, per_step, customers)
                    taken.sessions += per_step
                    await connection.execute(_CLOCK.format(minutes=minutes))
                    await _prune(connection, pool, taken)
                    await _vacuum(connection, taken)
                rows = await connection.fetch(_TABLES)
                taken.tables.append({row["name"]: Table(*list(row)[1:]) for row in rows})
            taken.all_seconds = await cpu.seconds_of_postgresql(connection) - began
        finally:
            await pool.pool.close()
    return taken


async def _prune_backlog(testbed: Testbed, events: int) -> Days:
    """Prune after an outage of all workers: a day of events is old at once."""
    taken = Days()
    async with testbed.database() as database, database.connect() as connection:
        await people.prepare(connection)
        await connection.execute(_BACKLOG, events)
        await database.settle()
        pool = await Pool.connect(database.url, pool_size=1)
        try:
            while await connection.fetchval("SELECT EXISTS (SELECT FROM stream_events)"):
                await _prune(connection, pool, taken)
        finally:
            await pool.pool.close()
    return taken


async def _step(connection: Connection, first: int, sessions: int, customers: int) -> None:
    """Run these sessions from their payment to their end, and end the sessions of the step before."""
    given = (first, sessions)
    await connection.execute(_CODES, first, max(1, sessions // 3))
    await connection.execute(_CODES_USED, first, max(1, sessions // 3))
    await connection.execute(_KEYS, *given, customers, KEYS_PER_SESSION)
    await connection.execute(_ARMED, *given, DEADLINES_PER_SESSION)
    await connection.execute(_CARDS, *given, MITRAS, CARDS_PER_SESSION)
    await connection.execute(_CARDS_CLOSED, *given)
    await connection.execute(_SESSIONS, *given, MITRAS)
    await connection.execute(_SEATED, *given, MITRAS)
    for place in range(MESSAGES_PER_SESSION):
        for at in range(first, first + sessions, MESSAGES_PER_BATCH):
            batch = min(MESSAGES_PER_BATCH, first + sessions - at)
            await connection.execute(_MESSAGES, at, batch, place, 1)
            await connection.execute(_EVENTS, at, batch, 1, customers, MITRAS)
        if place % 5 == 4:
            await connection.execute(_READS, *given)
    for at in range(first, first + sessions, MESSAGES_PER_BATCH):
        batch = min(MESSAGES_PER_BATCH, first + sessions - at)
        await connection.execute(_EVENTS, at, batch, OTHER_EVENTS_PER_SESSION, customers, MITRAS)
    await connection.execute(_PUSHES, *given, PUSHES_PER_SESSION)
    await connection.execute(_PUSHED, *given)
    await connection.execute(_GONE, *given)
    await connection.execute(_ENDED, *given)
    await connection.execute(_FREED, *given, MITRAS)


async def _prune(connection: Connection, pool: Pool, taken: Days) -> None:
    """Run the worker's pruning. Note the slowest transaction."""
    before = await cpu.seconds_of_postgresql(connection)
    for prune_some in worker.PRUNINGS:
        for _ in range(worker.MAX_PRUNE_ROUNDS):
            began = time.perf_counter()
            async with pool.transaction() as tx:
                removed = await prune_some(tx, worker.MAX_ROWS_PER_PRUNE)
                await tx.execute("SELECT pg_stat_force_next_flush()")
            taken.slowest_transaction = max(taken.slowest_transaction, time.perf_counter() - began)
            taken.pruned += removed
            if removed < worker.MAX_ROWS_PER_PRUNE:
                break
    taken.pruning_seconds += await cpu.seconds_of_postgresql(connection) - before


async def _vacuum(connection: Connection, taken: Days) -> None:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    tables = [row["relname"] for row in await connection.fetch(_TO_VACUUM)]
    before = await cpu.seconds_of_postgresql(connection)
    for table in tables:
        await connection.execute(f"VACUUM ANALYZE {table}")
        taken.vacuums[table] = taken.vacuums.get(table, 0) + 1
    taken.vacuum_seconds += await cpu.seconds_of_postgresql(connection) - before
