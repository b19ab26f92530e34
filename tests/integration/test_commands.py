"""Test the commands of the command line in the test's own process, on a production database."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
import valkey.asyncio

from curhat.app.cli.main import main
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with only these environment variables.

    Returns the exit status, the output and the errors of the command.
    """
    for name in [name for name in os.environ if name.startswith("CURHAT_")]:
        monkeypatch.delenv(name)

    async def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(f"CURHAT_{name}", value)
        status = await asyncio.to_thread(main, arguments)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("migrate", "--before"),
        ("migrate", "--after"),
        ("seed",),
        ("operator", "create", "sari@example.id"),
        ("config", "get", "pairing_blast_timeout_seconds"),
        ("mitra", "invite", "08110000099", "--name", "Kak Tari", "--max-customers", "2"),
    ],
    ids=" ".join,
)
async def test_a_command_of_production_needs_only_the_database(
    run: Run, database_url: str, arguments: tuple[str, ...]
) -> None:
    status, _, errors = await run(*arguments, DATABASE_URL=database_url)
    assert (status, errors) == (0, "")


async def test_doctor_checks_postgresql_although_other_settings_are_missing(
    run: Run, database: Database, database_url: str
) -> None:
    del database
    status, output, _ = await run("doctor", DATABASE_URL=database_url)
    assert status == 1
    assert "FAIL settings: CURHAT_SECRET_KEY is not set" in output
    assert "ok   migrations: current" in output


async def test_doctor_works_with_a_valkey_user_who_cannot_run_the_info_command(
    run: Run, servers: EmbeddedServers, database_url: str, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    await valkey_client.acl_setuser(
        "app",
        enabled=True,
        passwords=["+secret"],
        commands=["+@all", "-info"],
        keys=["*"],
        channels=["*"],
    )
    url = servers.valkey_url.replace("unix://", "unix://app:secret@")
    _, output, _ = await run("doctor", DATABASE_URL=database_url, VALKEY_URL=url)
    assert "ok   Valkey: answers; its version is not known, because INFO is refused" in output
    _, output, _ = await run("doctor", DATABASE_URL=database_url, VALKEY_URL=servers.valkey_url)
    assert "ok   Valkey: version 9" in output
    _, output, _ = await run(
        "doctor", DATABASE_URL=database_url, VALKEY_URL=url.replace("app:secret", "app:wrong")
    )
    assert "FAIL Valkey: cannot be reached" in output
