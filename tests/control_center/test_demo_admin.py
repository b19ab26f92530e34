"""Test the demo data's admin.

The demo admin exists only in development. Every start shows the original password of the demo admin.
"""

import asyncio
import dataclasses
from typing import cast

import asyncpg

from curhat.app.seed import DEMO_ADMIN, DemoAccount, seed
from curhat.control_center.operators import passwords
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from curhat.kit.settings import Settings
from tests.support.signed_in import RunningServer, development_settings, problem


async def _admins(database: Database, settings: Settings) -> list[DemoAccount]:
    async with database.pool.acquire() as connection:
        accounts = await seed(cast("asyncpg.Connection[asyncpg.Record]", connection), settings)
    return [account for account in accounts if account.role == "admin"]


async def test_the_demo_admin_signs_in_with_the_password_that_every_start_shows(
    server: RunningServer,
) -> None:
    settings = server.application.services.settings
    (admin,) = await _admins(server.database, settings)
    assert await _admins(server.database, settings) == [admin]
    password = admin.note.removeprefix("password ")
    body = {"email": DEMO_ADMIN, "password": password}
    signed_in = await server.http.post("/api/control-center/auth/login", json=body)
    assert problem(signed_in) == (200, None)
    assert await server.database.fetchval("SELECT count(*) FROM operators") == 1


async def test_a_start_does_not_show_the_password_after_the_demo_admin_changed_it(
    server: RunningServer,
) -> None:
    settings = server.application.services.settings
    await _admins(server.database, settings)
    other = await asyncio.to_thread(passwords.hashed, "another password than the demo's")
    await server.database.execute("UPDATE operators SET password_hash = $1", other)
    assert [account.note for account in await _admins(server.database, settings)] == [
        "the password was changed"
    ]


async def test_the_demo_admin_has_a_different_password_in_each_data_directory(
    servers: EmbeddedServers, database_url: str
) -> None:
    settings = development_settings(database_url, servers.valkey_url)
    other = dataclasses.replace(settings, secret_key=b"another key of this test run, long enough")
    assert passwords.derived(settings.secret_key, DEMO_ADMIN) != passwords.derived(
        other.secret_key, DEMO_ADMIN
    )


async def test_production_has_no_demo_admin(
    servers: EmbeddedServers, database_url: str, database: Database
) -> None:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
    )
    assert await _admins(database, settings) == []
    assert await database.fetchval("SELECT count(*) FROM operators") == 0
