"""Test that the migration to rounds keeps old decisions, and opens a case for each undelivered and undecided charge."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Connection
from curhat.kit.migrations import migrate, migrations_folder

BEFORE = "2026-01-01 12:00+00"
DECIDED = "2026-01-01 13:00+00"
AFTER = "2026-01-01 14:00+00"
OPERATOR = uuid4()


@pytest.fixture
async def connection(servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Connection]:
    """Yield a connection to a database that has the schema before the migration to rounds.

    Triggers and foreign keys are off.
    """
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute("CREATE DATABASE before_rounds")
    opened = await asyncpg.connect(servers.database_url.replace("/curhat?", "/before_rounds?"))
    for file in sorted(migrations_folder().glob("*.sql")):
        if file.name.endswith("_case_rounds.sql"):
            break
        (tmp_path / file.name).write_text(file.read_text())
    await migrate(opened, tmp_path)
    await opened.execute("SET session_replication_role = replica")
    yield opened
    await opened.close()
    await admin.execute("DROP DATABASE before_rounds WITH (FORCE)")
    await admin.close()


async def _payment(connection: Connection, decision: str) -> tuple[UUID, UUID]:
    """Write an unserved payment with its charge, and a decided case.

    Returns the ids of the payment and of the charge.
    """
    payment_id, charge_id = uuid4(), uuid4()
    await connection.execute(
        f"""
        INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial,
            expires_at, confirmed_at, closed_at)
        VALUES ('{payment_id}', '{uuid4()}', 'session', 'unserved', '{uuid4()}', 30, 20000, false,
            '{BEFORE}', '{BEFORE}', '{BEFORE}');
        INSERT INTO charge_attempts (id, payment_id, amount_rp, status, answered_at)
        VALUES ('{charge_id}', '{payment_id}', 20000, 'approved', '{BEFORE}');
        INSERT INTO review_cases (payment_id, reason, amount_rp, status, decision, decision_note, decided_by,
            decided_at, refund_rp)
        VALUES ('{payment_id}', 'no_session', 20000, 'decided', '{decision}', 'maaf', '{OPERATOR}',
            '{DECIDED}', {"20000" if decision == "refund" else "null"});
        """
    )
    return payment_id, charge_id


async def _late(connection: Connection, payment_id: UUID, refused_at: str) -> UUID:
    """Write a late charge. The gateway refused the automatic refund of the charge at `refused_at`."""
    charge_id = uuid4()
    await connection.execute(
        f"""
        INSERT INTO charge_attempts (id, payment_id, amount_rp, status, answered_at)
        VALUES ('{charge_id}', '{payment_id}', 20000, 'approved_late', '{BEFORE}');
        INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, status, answered_at)
        VALUES ('{payment_id}', '{charge_id}', 20000, 'late_approval', 'failed', '{refused_at}');
        """
    )
    return charge_id


@pytest.mark.invariant(15)
async def test_the_migration_opens_a_case_for_each_undelivered_charge_without_a_decision(
    connection: Connection,
) -> None:
    await connection.execute(
        f"INSERT INTO operators (id, email, role, password_hash) VALUES ('{OPERATOR}', 'ani@example.id', 'admin', '')"
    )
    kept, kept_charge = await _payment(connection, "no_refund")
    kept_late = await _late(connection, kept, BEFORE)
    stuck, stuck_charge = await _payment(connection, "refund")
    stuck_late = await _late(connection, stuck, AFTER)

    await connection.execute("RESET session_replication_role")
    await migrate(connection)

    cases = await connection.fetch("SELECT payment_id, status, round FROM review_cases")
    assert {tuple(row) for row in cases} == {(kept, "decided", 1), (stuck, "open", 2)}
    charges = await connection.fetch("SELECT id, decided_round FROM charge_attempts")
    assert {tuple(row) for row in charges} == {
        (kept_charge, 1),
        (kept_late, 1),
        (stuck_charge, 1),
        (stuck_late, None),
    }
    earlier = await connection.fetch("SELECT decision, withdrawn FROM earlier_decisions")
    assert [tuple(row) for row in earlier] == [("refund", False)]
