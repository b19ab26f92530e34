"""Test the worker of `curhat worker` in the test's event loop."""

import asyncio
import signal

import pytest
import valkey.asyncio

from curhat.accounts import queries as accounts_queries
from curhat.app import worker
from curhat.control_center.operators import queries as operators_queries
from curhat.dev.embedded import EmbeddedServers
from curhat.kit import queries as idempotency_queries
from curhat.kit.database import Database
from curhat.notifications import queries as notifications_queries
from curhat.realtime import queries as realtime_queries
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.signed_in import development_settings

# Inserts one row into each table from which the worker deletes old rows. $1 is a person.
OLD_ROWS = {
    "stream_events": "INSERT INTO stream_events (role, user_id, seq, type, data) VALUES ('mitra', $1, 1, 'x', '{}')",
    "idempotency_keys": "INSERT INTO idempotency_keys (role, user_id, key, fingerprint) VALUES ('mitra', $1, 'k', '')",
    "one_time_codes": "INSERT INTO one_time_codes (role, phone_number, code_digest, resend_after, expires_at) "
    "VALUES ('mitra', $1::uuid::text, '', curhat_now(), curhat_now())",
    "access_tokens": "INSERT INTO access_tokens (digest, role, user_id, transport, expires_at) "
    "VALUES ('\\x01', 'mitra', $1, 'bearer', curhat_now())",
    "operator_sign_in_tries": "INSERT INTO operator_sign_in_tries (email_digest) VALUES ($1::uuid::text::bytea)",
    "push_messages": "WITH token AS (INSERT INTO access_tokens (digest, role, user_id, transport, expires_at) "
    "VALUES ('\\x02', 'mitra', $1, 'bearer', curhat_now() + interval '1 year') RETURNING digest), "
    "subscription AS (INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language) "
    "SELECT 'mitra', $1, digest, 'https://push.example/1', decode(repeat('04', 65), 'hex'), "
    "decode(repeat('00', 16), 'hex'), 'id' FROM token RETURNING id) "
    "INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at) "
    "SELECT id, 'test', $1, 't', '', curhat_now(), curhat_now() FROM subscription",
}


@pytest.mark.rule("X.8")
async def test_a_running_worker_deletes_old_rows(
    servers: EmbeddedServers,
    database_url: str,
    database: Database,
    clock: VirtualClock,
    make: Make,
    valkey_client: "valkey.asyncio.Valkey",
) -> None:
    await clock.set()
    person = await make.mitra(online=False)
    for insert in OLD_ROWS.values():
        await database.execute(insert, person)
    await clock.advance(30 * 24 * 3600)
    running = asyncio.create_task(worker.run(development_settings(database_url, servers.valkey_url)))
    left = set(OLD_ROWS)
    try:
        async with asyncio.timeout(10):
            while left:
                await asyncio.sleep(0.01)
                assert not running.done(), running
                counts = {
                    table: await database.fetchval(f"SELECT count(*) FROM {table}") for table in OLD_ROWS
                }
                # The token of the push subscription has not expired.
                counts["access_tokens"] -= 1
                left = {table for table, count in counts.items() if count}
    finally:
        signal.raise_signal(signal.SIGTERM)
        await running
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_pruning_goes_on_until_fewer_rows_are_left_than_one_transaction_deletes(
    database: Database, clock: VirtualClock, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clock.set()
    person = await make.mitra(online=False)
    for key in "abcde":
        await database.execute(
            "INSERT INTO idempotency_keys (role, user_id, key, fingerprint) VALUES ('mitra', $1, $2, '')",
            person,
            key,
        )
        await database.execute(OLD_ROWS["one_time_codes"], person)
    await clock.advance(25 * 3600)
    monkeypatch.setattr(worker, "MAX_ROWS_PER_PRUNE", 2)
    await worker.prune(database)
    for table in ("idempotency_keys", "one_time_codes"):
        assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0


PRUNE_STATEMENTS = {
    "stream_events": realtime_queries.PRUNE_EVENTS,
    "idempotency_keys": idempotency_queries.PRUNE_KEYS,
    "one_time_codes": accounts_queries.PRUNE_CODES,
    "known_devices": accounts_queries.PRUNE_KNOWN_DEVICES,
    "access_tokens": accounts_queries.PRUNE_TOKENS,
    "operator_sign_in_tries": operators_queries.PRUNE_SIGN_IN_TRIES,
    "operator_tokens": operators_queries.PRUNE_TOKENS,
    "push_messages": notifications_queries.PRUNE_MESSAGES,
    "push_subscriptions": notifications_queries.PRUNE_SUBSCRIPTIONS,
}


@pytest.mark.parametrize("table", PRUNE_STATEMENTS)
async def test_a_pruning_reads_the_oldest_rows_from_an_index_and_never_the_whole_table(
    database: Database, table: str
) -> None:
    """The worker prunes every minute, also when nothing is old."""
    async with database.transaction() as tx:
        # The tables are empty. PostgreSQL would read an empty table without an index.
        await tx.execute("SET LOCAL enable_seqscan = off")
        statement = PRUNE_STATEMENTS[table]
        types = ", ".join(["float8", "bigint"] if "$2" in statement else ["bigint"])
        await tx.execute(f"PREPARE pruning_plan ({types}) AS {statement}")
        values = "86400, 10000" if "$2" in statement else "10000"
        plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN EXECUTE pruning_plan ({values})"))
        await tx.execute("DEALLOCATE pruning_plan")
    assert f"Tid Scan on {table}" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert "->  Sort" not in plan, plan
