"""Test `curhat doctor` on a PostgreSQL behind a pooler, and what it says about texts."""

from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from curhat.app.cli import doctor
from curhat.kit.database import Database, role_settings
from tests.support.postgres_proxy import PostgresProxy, proxy_of
from tests.support.signed_in import development_settings
from tests.support.texts import publish_drafts, publish_next


@pytest.fixture
async def pooler(database_url: str) -> AsyncIterator[PostgresProxy]:
    """A pooler that drops the settings of a client's StartupMessage, like PgBouncer in transaction mode."""
    pooler = proxy_of(database_url)
    pooler.drops_startup_settings = True
    async with pooler.running():
        yield pooler


async def findings(url: str) -> dict[str, tuple[str, str]]:
    """Return the state and the sentence that doctor prints for each subject."""
    settings = development_settings(url, "valkey://127.0.0.1")
    found = doctor._postgres(settings, url, for_production=False)
    return {finding.subject: (finding.state, finding.sentence) async for finding in found}


async def test_doctor_names_the_statements_that_set_up_the_role_for_a_pooler(
    database: Database, database_url: str, pooler: PostgresProxy
) -> None:
    assert (await findings(database_url))["session settings"][0] == "ok"
    state, sentence = (await findings(pooler.url))["session settings"]
    assert state == "FAIL"
    statements = role_settings("curhat")
    assert "; ".join(statements) in sentence
    name = await database.fetchval("SELECT current_database()")
    for statement in statements:
        # Change the role only in this database, because all tests share the role.
        await database.execute(statement.replace(" SET ", f" IN DATABASE {name} SET ", 1))
    assert (await findings(pooler.url))["session settings"][0] == "ok"


async def test_doctor_says_which_server_does_not_answer(pooler: PostgresProxy) -> None:
    pooler.refuses = True
    found = await findings(pooler.url)
    assert list(found) == ["PostgreSQL"]
    assert found["PostgreSQL"][0] == "FAIL"


@pytest.mark.rule("P.1")
async def test_doctor_names_the_texts_that_are_drafts_or_missing(database: Database) -> None:
    async def finding() -> tuple[str, str]:
        async with database.pool.acquire() as connection:
            strict = await doctor._texts(
                cast("asyncpg.Connection[asyncpg.Record]", connection), is_strict=True
            )
        assert strict.subject == "texts"
        return strict.state, strict.sentence

    state, sentence = await finding()
    assert state == "warn"
    assert "terms, privacy, health_data, code_of_conduct" in sentence
    await publish_drafts(database)
    for kind in ("terms", "health_data", "code_of_conduct"):
        await publish_next(database, kind)
    state, sentence = await finding()
    assert (state, sentence.split(";")[0]) == ("warn", "drafts that no lawyer has checked: privacy 1")
    await publish_next(database, "privacy")
    assert (await finding())[0] == "ok"
