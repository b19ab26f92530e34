"""Test the five configuration rows on a real PostgreSQL: reads, changes, history and audit."""

import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from curhat.configuration import service
from curhat.configuration.definitions import DEFINITIONS, ConfigurationKey, Value
from curhat.configuration.errors import ChangedMeanwhile
from curhat.configuration.schemas import ConfigurationRow
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from tests.support.clock import VirtualClock

# The column `updated_at` never moves back, so each change needs a later time. The time LATER is after the migration
# that wrote the rows.
LATER = datetime(2100, 1, 1, tzinfo=UTC)

BLAST = "pairing_blast_timeout_seconds"
ACTION = "extension_default_action_on_timeout"


async def change(
    database: Database, key: str, value: Value, by: str = "command line", **further: object
) -> ConfigurationRow:
    async with database.transaction() as tx:
        return await service.change(tx, key=key, value=value, changed_by=by, **further)  # type: ignore[arg-type]


async def get(database: Database, key: str) -> ConfigurationRow:
    async with database.transaction() as tx:
        return await service.get_row(tx, key)


@pytest.mark.rule("X.5")
async def test_the_code_and_the_database_have_the_same_five_configuration_keys(database: Database) -> None:
    constraint = await database.fetchval(
        """
        SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = 'configuration'::regclass AND contype = 'c' AND conname = 'configuration_key_check'
        """
    )
    allowed = set(re.findall(r"'(\w+)'", constraint))
    stored = {row["key"] for row in await database.fetch("SELECT key FROM configuration")}
    assert allowed == stored == set(DEFINITIONS) == set(get_args(ConfigurationKey))


@pytest.mark.rule("X.5")
async def test_every_configuration_row_has_its_default_value_at_first(database: Database) -> None:
    async with database.transaction() as tx:
        rows = await service.list_rows(tx)
    assert [row.key for row in rows] == list(DEFINITIONS)
    for row in rows:
        assert row.value == row.default
        assert row.updated_by == "default"
        assert row.label
        assert row.explanation
    assert {row.key: row.value for row in rows} == {
        "pairing_blast_timeout_seconds": 60,
        "payment_session_timeout_minutes": 20,
        "returning_chat_confirmation_timeout_seconds": 20,
        "extension_timeout_seconds": 10,
        "extension_default_action_on_timeout": "auto_approve",
    }


@pytest.mark.rule("X.5")
async def test_the_service_returns_the_current_values_of_all_rows(database: Database) -> None:
    await change(database, BLAST, 90)
    await change(database, ACTION, "auto_reject")
    async with database.transaction() as tx:
        assert await service.pairing_blast_timeout_seconds(tx) == 90
        assert await service.payment_session_timeout_minutes(tx) == 20
        assert await service.returning_chat_confirmation_timeout_seconds(tx) == 20
        assert await service.extension_timeout_seconds(tx) == 10
        assert await service.extension_default_action_on_timeout(tx) == "auto_reject"


@pytest.mark.rule("X.5")
async def test_a_change_records_the_actor_and_the_old_value_and_the_new_value(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set(LATER)
    row = await change(database, BLAST, 90, "operator-1")
    assert (row.value, row.updated_by, row.updated_at) == (90, "operator-1", LATER)
    assert row == await get(database, BLAST)
    await clock.set(LATER + timedelta(seconds=1))
    await change(database, BLAST, 30, "operator-2")
    async with database.transaction() as tx:
        page = await service.history(tx, BLAST)
        other = await service.history(tx, ACTION)
    assert [(item.old_value, item.new_value, item.changed_by, item.changed_at) for item in page.items] == [
        (90, 30, "operator-2", LATER + timedelta(seconds=1)),
        (60, 90, "operator-1", LATER),
    ]
    assert page.next_cursor is None
    assert other.items == []
    audited = await database.fetch("SELECT * FROM audit_entries ORDER BY id")
    assert [
        (entry["actor"], entry["action"], entry["subject_id"], entry["old_value"], entry["new_value"])
        for entry in audited
    ] == [
        ("operator-1", "configuration_changed", BLAST, "60", "90"),
        ("operator-2", "configuration_changed", BLAST, "90", "30"),
    ]


@pytest.mark.rule("X.5")
async def test_changing_a_row_to_its_current_value_changes_nothing(database: Database) -> None:
    before = await get(database, BLAST)
    assert await change(database, BLAST, 60, "operator-1") == before
    assert await database.fetchval("SELECT count(*) FROM configuration_changes") == 0
    assert await database.fetchval("SELECT count(*) FROM audit_entries") == 0


@pytest.mark.rule("X.5")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (BLAST, 9),
        (BLAST, 601),
        (BLAST, "60"),
        (BLAST, True),
        ("payment_session_timeout_minutes", 0),
        ("payment_session_timeout_minutes", 121),
        ("returning_chat_confirmation_timeout_seconds", 4),
        ("returning_chat_confirmation_timeout_seconds", 121),
        ("extension_timeout_seconds", 4),
        ("extension_timeout_seconds", 61),
        (ACTION, "approve"),
        (ACTION, 1),
    ],
)
async def test_a_value_out_of_bounds_changes_nothing(database: Database, key: str, value: Value) -> None:
    before = await get(database, key)
    with pytest.raises(ValidationFailed):
        await change(database, key, value)
    assert await get(database, key) == before
    assert await database.fetchval("SELECT count(*) FROM configuration_changes") == 0


@pytest.mark.rule("X.5")
async def test_an_unknown_key_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await get(database, "max_customers")
    with pytest.raises(NotFound):
        await change(database, "max_customers", 5)
    async with database.transaction() as tx:
        with pytest.raises(NotFound):
            await service.history(tx, "max_customers")


@pytest.mark.rule("X.5")
async def test_a_change_based_on_an_outdated_value_is_refused_with_the_current_value(
    database: Database, clock: VirtualClock
) -> None:
    await clock.set(LATER)
    seen = await get(database, BLAST)
    first = await change(database, BLAST, 90, "operator-1", expected_updated_at=seen.updated_at)
    with pytest.raises(ChangedMeanwhile) as refused:
        await change(database, BLAST, 30, "operator-2", expected_updated_at=seen.updated_at)
    assert refused.value.fields == {
        "value": 90,
        "updated_at": first.updated_at,
        "updated_by": "operator-1",
    }
    # The database's clock stands still, but the second change still gets a later `updated_at`.
    second = await change(database, BLAST, 30, "operator-2", expected_updated_at=first.updated_at)
    assert second.updated_at > first.updated_at
    with pytest.raises(ChangedMeanwhile):
        await change(database, BLAST, 30, "operator-3", expected_updated_at=first.updated_at)


@pytest.mark.rule("X.5")
async def test_only_one_of_ten_concurrent_changes_based_on_the_same_value_is_made(database: Database) -> None:
    seen = await get(database, BLAST)
    found = await asyncio.gather(
        *(
            change(database, BLAST, 100 + number, f"operator-{number}", expected_updated_at=seen.updated_at)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, ConfigurationRow) for outcome in found) == 1
    assert sum(isinstance(outcome, ChangedMeanwhile) for outcome in found) == 9
    assert await database.fetchval("SELECT count(*) FROM configuration_changes") == 1


@pytest.mark.rule("X.5")
async def test_each_old_value_in_the_history_equals_the_new_value_of_the_previous_change(
    database: Database,
) -> None:
    await asyncio.gather(*(change(database, BLAST, 100 + number) for number in range(20)))
    async with database.transaction() as tx:
        items = (await service.history(tx, BLAST)).items[::-1]
    assert len(items) == 20
    assert items[0].old_value == 60
    for earlier, later in itertools.pairwise(items):
        assert earlier.new_value == later.old_value
        assert earlier.changed_at < later.changed_at
    assert items[-1].new_value == (await get(database, BLAST)).value


@pytest.mark.rule("X.5")
async def test_a_long_history_is_listed_in_pages(database: Database) -> None:
    for number in range(60):
        await change(database, BLAST, 100 + number)
    found: list[Value] = []
    cursor: str | None = None
    while True:
        async with database.transaction() as tx:
            page = await service.history(tx, BLAST, cursor)
        found += [item.new_value for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [100 + number for number in reversed(range(60))]
    async with database.transaction() as tx:
        for wrong in ("", "x", "-1", "1" * 19, "٢"):
            with pytest.raises(ValidationFailed):
                await service.history(tx, BLAST, wrong)


@pytest.mark.rule("X.5")
async def test_a_rolled_back_change_leaves_no_history(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            await service.change(tx, key=BLAST, value=90, changed_by="operator-1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert (await get(database, BLAST)).value == 60
    assert await database.fetchval("SELECT count(*) FROM configuration_changes") == 0
    assert await database.fetchval("SELECT count(*) FROM audit_entries") == 0
