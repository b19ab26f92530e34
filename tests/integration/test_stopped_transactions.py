"""Test that a process that stops in the middle of a transaction delays other processes only briefly."""

import asyncio

import pytest

from curhat.kit import database as kit_database
from curhat.kit.database import DATABASE_AWAY, IDLE_IN_TRANSACTION_TIMEOUT_MS, Database
from tests.support.people import Make

MAX_DELAY_SECONDS = 5


@pytest.mark.invariant(12)
async def test_postgresql_ends_the_transaction_of_a_process_that_has_stopped(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert IDLE_IN_TRANSACTION_TIMEOUT_MS <= MAX_DELAY_SECONDS * 1000
    monkeypatch.setattr(kit_database, "IDLE_IN_TRANSACTION_TIMEOUT_MS", 100)
    mitra = await make.mitra()
    rename = "UPDATE mitras SET display_name = $2 WHERE id = $1"
    process = await Database.connect(database_url, pool_size=2)

    async def stop_in_a_transaction() -> None:
        async with process.transaction() as tx:
            await tx.execute(rename, mitra, "of the stopped process")
            async with asyncio.timeout(MAX_DELAY_SECONDS):
                await database.execute(rename, mitra, "of another process")
            await tx.execute(rename, mitra, "of the stopped process")

    try:
        with pytest.raises(DATABASE_AWAY):
            await stop_in_a_transaction()
        # The process continues with a new connection.
        assert await process.fetchval("SELECT display_name FROM mitras") == "of another process"
    finally:
        await process.close()
