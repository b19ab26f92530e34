"""TLS with an own authority, passwords and two roles: a whole journey, and what such an installation refuses."""

import ssl

import aiohttp
import asyncpg
import pytest
import valkey.asyncio
from valkey.exceptions import AuthenticationError, NoPermissionError

from tests.production import journey
from tests.production.bed import HOSTS, Bed, host
from tests.production.people import Crowd
from tests.production.rows import Row


@pytest.mark.row(
    "TLS, users with passwords, two roles: a whole journey in production settings",
    "the journey ends well; refuses what it should",
)
async def test_a_whole_journey_in_production_settings_and_what_they_refuse(bed: Bed, row: Row) -> None:
    async with bed.http() as http:
        crowd = Crowd(bed, http)
        try:
            row.note(await journey.check_pages(crowd))
            steps = [step async for step in journey.whole_journey(crowd)]
            steps += [step async for step in journey.operator_signs_in(crowd, [])]
            row.note(f"{len(steps)} steps of a journey")
        finally:
            await crowd.stop()
    refused = 0
    for refusal in (
        refuses_postgresql_without_tls,
        refuses_a_wrong_password,
        refuses_to_change_the_audit,
        refuses_valkey_without_password,
        refuses_dangerous_commands_of_valkey,
        refuses_other_authorities,
        refuses_development_and_foreign_pages,
        refuses_wrong_settings,
    ):
        await refusal(bed)
        refused += 1
    row.note(f"{refused} kinds of refusals")
    row.finish()


async def refuses_postgresql_without_tls(bed: Bed) -> None:
    url = bed.serving_url.partition("?")[0]
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await asyncpg.connect(f"{url}?sslmode=disable", timeout=5)
    # The same URL works with TLS.
    connection = await asyncpg.connect(bed.serving_url, timeout=5)
    await connection.close()


async def refuses_a_wrong_password(bed: Bed) -> None:
    url = bed.serving_url
    password = url.split(":")[2].partition("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "wrong"), timeout=5)


async def refuses_to_change_the_audit(bed: Bed) -> None:
    connection = await asyncpg.connect(bed.serving_url, timeout=5)
    for statement in ("DELETE FROM audit_entries", "TRUNCATE payments", "CREATE TABLE mine ()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def refuses_valkey_without_password(bed: Bed) -> None:
    client = valkey.asyncio.Valkey(host="127.0.0.1", port=bed.valkey.port)
    with pytest.raises(AuthenticationError):
        await client.ping()
    await client.aclose()


async def refuses_dangerous_commands_of_valkey(bed: Bed) -> None:
    client = valkey.asyncio.Valkey.from_url(bed.valkey_url)
    for command in ("FLUSHALL", "CONFIG GET maxmemory", "KEYS *"):
        with pytest.raises(NoPermissionError):
            await client.execute_command(*command.split())
    await client.aclose()


async def refuses_other_authorities(bed: Bed) -> None:
    """A client that does not trust the local authority does not connect."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=ssl.create_default_context())
    ) as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"https://127.0.0.1:{bed.port}/app/", headers=host(HOSTS[0]))


async def refuses_development_and_foreign_pages(bed: Bed) -> None:
    async with bed.http() as http:
        for name, path, origin, status in (
            (HOSTS[0], "/api/dev/inbox?phone=08123456789", None, 404),
            (HOSTS[0], "/metrics", None, 404),
            (HOSTS[0], "/api/mitra/state", None, 404),
            (HOSTS[0], "/app/", f"https://{HOSTS[1]}", 403),
            (HOSTS[0], "/api/client/state", None, 401),
        ):
            headers = host(name) | ({"Origin": origin} if origin else {})
            async with http.get(bed.url(name, path), headers=headers) as answer:
                assert answer.status == status, (path, answer.status)
        async with http.get(
            f"http://{HOSTS[0]}:{bed.plain_port}/api/client/state", headers=host(HOSTS[0])
        ) as answer:
            assert answer.status == 403


async def refuses_wrong_settings(bed: Bed) -> None:
    """A server that knows the owner's URL, or shows codes to everybody, does not start."""
    for wrong in (
        {"CURHAT_OWNER_DATABASE_URL": bed.owner_url},
        {"CURHAT_CODE_SENDERS": "inbox"},
        {"CURHAT_ALLOW_FILE_CODES": ""},
        {"CURHAT_GATEWAY": ""},
        {"CURHAT_VALKEY_URL_FILE": "", "CURHAT_VALKEY_URL": "valkey://10.0.0.1:6379/0"},
    ):
        said = bed.curhat_fails("serve", **wrong)
        assert "CURHAT_" in said or "must not know" in said, said
