"""Test the client address that `curhat serve` uses for a request through a proxy."""

from pathlib import Path

import httpx
import pytest
import valkey.asyncio

from curhat.dev.embedded import EmbeddedServers
from tests.support.signed_in import environment_of, server_process


@pytest.mark.parametrize(("trusted", "answered"), [("127.0.0.1", [True, True]), ("10.9.9.9", [True, False])])
async def test_each_client_behind_a_trusted_proxy_has_its_own_address_limit(
    servers: EmbeddedServers,
    database_url: str,
    valkey_client: "valkey.asyncio.Valkey",
    tmp_path: Path,
    trusted: str,
    answered: list[bool],
) -> None:
    environment = environment_of(
        database_url,
        servers.valkey_url,
        CURHAT_ADDRESS_CODES_PER_HOUR="1",
        CURHAT_TRUSTED_PROXIES=trusted,
    )
    with server_process(environment, tmp_path / "server.log") as url:
        async with httpx.AsyncClient(base_url=url) as proxy:
            answers = [
                await proxy.post(
                    "/api/client/auth/otp/request",
                    json={"phone": f"+62811000099{number}"},
                    headers={"X-Forwarded-For": f"203.0.113.{number}"},
                )
                for number in (1, 2)
            ]

    assert [answer.is_success for answer in answers] == answered
    assert all(answer.is_success or answer.status_code == 429 for answer in answers)
