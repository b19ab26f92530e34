"""Test that the audit lists every action of an operator, can be filtered and exported, and cannot be changed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import asyncpg
import pytest

from curhat import configuration
from curhat.kit.audit import AuditAction, AuditSubject
from curhat.kit.database import Database
from tests.support.clock import VirtualClock
from tests.support.csv_files import rows_of
from tests.support.server import Person
from tests.support.signed_in import RunningServer


async def _entries(operator: Person, **query: Any) -> list[dict[str, Any]]:
    answer = await operator.get("/audit", **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _configure(operator: Person, value: int) -> None:
    rows = (await operator.get("/configuration")).json()["items"]
    body = {"value": value, "expected_updated_at": rows[0]["updated_at"]}
    assert (await operator.put("/configuration/pairing_blast_timeout_seconds", body)).status_code == 200


async def test_an_audit_entry_contains_actor_and_time_and_old_value_and_new_value(
    server: RunningServer, clock: VirtualClock
) -> None:
    admin, viewer = await server.operator("admin", "sari@example.id"), await server.operator("viewer")
    await clock.set(datetime.now(UTC) + timedelta(minutes=10))
    now = await clock.now()
    await _configure(admin, 90)
    (entry,) = await _entries(viewer)
    del entry["id"]
    assert entry == {
        "actor": str(admin.id),
        "actor_email": "sari@example.id",
        "action": "configuration_changed",
        "subject": "configuration",
        "subject_id": "pairing_blast_timeout_seconds",
        "old_value": "60",
        "new_value": "90",
        "occurred_at": now.isoformat().replace("+00:00", "Z"),
    }


async def test_the_audit_can_be_filtered_by_actor_and_action_and_subject_and_time(
    server: RunningServer, clock: VirtualClock
) -> None:
    sari, dewi = (
        await server.operator("admin", "sari@example.id"),
        await server.operator("admin", "dewi@example.id"),
    )
    # Each change of a row must have a later time than the row's previous change. The migration wrote the row. So the
    # test moves the clock past the time of the migration.
    await clock.set(datetime.now(UTC) + timedelta(minutes=10))
    await _configure(sari, 90)
    later = await clock.advance(60)
    mitra = await server.mitra()
    await dewi.patch(f"/mitras/{mitra.id}", {"suspended": True})

    async def actions(**query: Any) -> list[str]:
        return [entry["action"] for entry in await _entries(sari, **query)]

    assert await actions() == ["mitra_suspended", "configuration_changed"]
    assert await actions(actor="dewi@example.id") == ["mitra_suspended"]
    assert await actions(actor=str(sari.id)) == ["configuration_changed"]
    assert await actions(actor="system") == []
    assert await actions(action="configuration_changed") == ["configuration_changed"]
    assert await actions(subject="mitra") == ["mitra_suspended"]
    assert await actions(subject_id=str(mitra.id)) == ["mitra_suspended"]
    assert await actions(**{"from": later.isoformat()}) == ["mitra_suspended"]
    assert await actions(to=later.isoformat()) == ["configuration_changed"]


async def test_the_pages_and_the_csv_of_the_audit_contain_every_entry(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    await server.database.execute(
        "INSERT INTO audit_entries (actor, action, subject, subject_id, new_value, occurred_at) "
        "SELECT 'system', 'tested', 'thing', number::text, '=cmd|x', curhat_now() - make_interval(secs => number / 9) "
        "FROM generate_series(1, 1100) AS number"
    )
    seen: list[int] = []
    cursor = None
    while True:
        page = (await viewer.get("/audit", **({"cursor": cursor} if cursor else {}))).json()
        seen += [entry["id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    expected = await server.database.fetch("SELECT id FROM audit_entries ORDER BY occurred_at DESC, id DESC")
    assert seen == [row["id"] for row in expected]
    answer = await viewer.get("/audit", format="csv")
    rows = rows_of(answer.content)
    # The server writes the audit entry of the export before it reads the last pages. So the exported file can contain
    # the entry of the export.
    assert len(rows) in (1100, 1101)
    assert {row["new_value"] for row in rows if row["action"] == "tested"} == {"'=cmd|x"}
    assert (await _entries(viewer, action="list_exported"))[0]["subject"] == "audit"


def test_the_contract_describes_the_audit_entry_that_a_sql_statement_writes() -> None:
    """The type checker mypy already checks the entries that Python code writes."""
    written = re.findall(
        r"INSERT INTO audit_entries [^;]*?SELECT [^']*'([^']+)', '([^']+)'",
        Path(configuration.__file__).with_name("queries.sql").read_text(encoding="utf-8"),
    )
    assert written == [("configuration_changed", "configuration")]
    assert {action for action, _ in written} <= set(get_args(AuditAction))
    assert {subject for _, subject in written} <= set(get_args(AuditSubject))


@pytest.mark.parametrize("table", ["audit_entries", "configuration_changes", "status_changes"])
async def test_a_superuser_cannot_change_or_delete_or_truncate_audit_entries(
    server: RunningServer, database: Database, table: str
) -> None:
    admin = await server.operator()
    await _configure(admin, 90)
    await server.pending_payment(await server.make.customer())
    before = await database.fetchval(f"SELECT count(*) FROM {table}")
    assert before > 0
    for statement in (f"UPDATE {table} SET id = DEFAULT", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        # The tests connect as a superuser, and a superuser has every privilege. The triggers refuse the statement even
        # for a superuser.
        with pytest.raises(asyncpg.RestrictViolationError, match="append only"):
            await database.execute(statement)
    assert await database.fetchval(f"SELECT count(*) FROM {table}") == before


async def test_the_owner_of_the_append_only_tables_can_only_select_and_insert_rows(
    database: Database,
) -> None:
    for table in ("audit_entries", "configuration_changes", "status_changes"):
        privileges = await database.fetch(
            "SELECT privilege_type FROM pg_class, aclexplode(relacl) "
            "WHERE relname = $1 AND grantee IN (relowner, 0)",
            table,
        )
        assert {row["privilege_type"] for row in privileges} & {"UPDATE", "DELETE", "TRUNCATE"} == set()
        assert {row["privilege_type"] for row in privileges} >= {"SELECT", "INSERT"}


async def test_an_owner_without_superuser_rights_can_only_select_and_insert_audit_entries(
    database: Database,
) -> None:
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("CREATE ROLE the_service NOLOGIN")
        await connection.execute("ALTER TABLE audit_entries OWNER TO the_service")
        await connection.execute("GRANT USAGE ON SCHEMA public TO the_service")
        await connection.execute("GRANT SELECT ON virtual_clock TO the_service")
        await connection.execute("SET LOCAL ROLE the_service")
        await connection.execute(
            "INSERT INTO audit_entries (actor, action, subject, subject_id) VALUES ('system', 'a', 'b', 'c')"
        )
        assert await connection.fetchval("SELECT count(*) FROM audit_entries") == 1
        for statement in (
            "UPDATE audit_entries SET actor = 'x'",
            "DELETE FROM audit_entries",
            "TRUNCATE audit_entries",
        ):
            savepoint = connection.transaction()
            await savepoint.start()
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
            await savepoint.rollback()
        await transaction.rollback()
