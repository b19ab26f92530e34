"""Test that `curhat roles` makes the two PostgreSQL roles of production, and that the serving role can serve."""

import asyncio
import base64
import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
import valkey.asyncio

from curhat.app.cli.main import main
from curhat.app.wiring import open_services
from curhat.app.worker import prune_once
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database, session_settings
from curhat.kit.roles import scram_verifier, serving_role_faults
from tests.conftest import database_url_of
from tests.journeys import test_journeys_over_http as journeys
from tests.security.operations import ENTRIES, OPERATIONS, send
from tests.support.signed_in import development_settings, start_server

# The append-only tables, each with the name of a column.
APPEND_ONLY = {"audit_entries": "action", "configuration_changes": "key", "status_changes": "new_status"}


class Urls(NamedTuple):
    """The URLs of one database for three roles."""

    admin: str
    owner: str
    serving: str


Run = Callable[..., Awaitable[tuple[int, str, str]]]


def urls_of(database_url: str) -> Urls:
    name = database_url.partition("?")[0].rpartition("/")[2]
    return Urls(
        database_url.replace(f"/{name}?", "/postgres?"),
        *(
            database_url.replace("://curhat@", f"://{role}_of_{name}:secret@")
            for role in ("owner", "serving")
        ),
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a production command with the URLs of the two roles.

    The command `roles` also gets the administrator's URL.
    """
    for name in [name for name in os.environ if name.startswith("CURHAT_")]:
        monkeypatch.delenv(name)

    async def run(command: str, urls: Urls, *arguments: str, **variables: str) -> tuple[int, str, str]:
        monkeypatch.setenv("CURHAT_DATABASE_URL", urls.serving)
        monkeypatch.setenv("CURHAT_OWNER_DATABASE_URL", urls.owner)
        monkeypatch.setenv("CURHAT_ADMIN_DATABASE_URL", urls.admin)
        for name, value in variables.items():
            monkeypatch.setenv(f"CURHAT_{name}", value)
        status = await asyncio.to_thread(main, [command, *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
async def urls(database_url: str, run: Run) -> Urls:
    """Let `curhat roles` split the test's database between two roles.

    Before the split, one role owned everything in the database.
    """
    made = urls_of(database_url)
    status, output, errors = await run("roles", made)
    name = database_url.partition("?")[0].rpartition("/")[2]
    assert (status, errors) == (0, "")
    assert (
        output.splitlines()[-1] == f"owner_of_{name} owns everything in {name}; serving_of_{name} may use it"
    )
    return made


async def test_the_commands_roles_and_migrate_make_a_new_installation_and_can_be_repeated(
    servers: EmbeddedServers, run: Run
) -> None:
    new = urls_of(database_url_of(servers, "made_by_roles"))
    for _ in range(2):
        assert (await run("roles", new))[0] == 0
        assert (await run("migrate", new))[0] == 0
    serving = await asyncpg.connect(new.serving)
    assert await serving_role_faults(serving) == []
    await serving.close()


async def test_the_serving_role_cannot_change_the_audit_or_the_schema(urls: Urls) -> None:
    serving = await asyncpg.connect(urls.serving)
    owner_name = urls.owner.split("/")[2].split(":")[0]
    for refused in (
        *(f"UPDATE {table} SET {column} = {column}" for table, column in APPEND_ONLY.items()),
        *(f"DELETE FROM {table}" for table in APPEND_ONLY),
        *(f"TRUNCATE {table}" for table in APPEND_ONLY),
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_entries_append_only ON audit_entries",
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'x', 'x')",
        "CREATE TABLE mine ()",
        "CREATE SCHEMA mine",
        "TRUNCATE payments",
        "CREATE ROLE another",
        "SET session_replication_role = replica",
        f'SET ROLE "{owner_name}"',
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await serving.execute(refused)
    assert await serving_role_faults(serving) == []
    owned = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'mock_gateway')"
    assert [row[0] for row in await serving.fetch(owned)] == [owner_name]
    for name, value in session_settings().items():
        assert await serving.fetchval("SELECT setting FROM pg_settings WHERE name = $1", name) == value
    await serving.close()


async def test_the_serving_role_is_enough_for_every_operation_and_for_the_worker(
    servers: EmbeddedServers, urls: Urls, database: Database, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    """The pool of the tests acts as the owner. The server and the worker have only the serving role."""
    del valkey_client  # The fixture empties Valkey.
    settings = development_settings(urls.serving, servers.valkey_url)
    async with start_server(settings, database) as server:
        await journeys.test_a_journey_runs_from_the_call_to_action_to_the_end_of_the_chat(server)
        # A changed behaviour of the gateway would change the results of the other operations.
        for name, entry in sorted(ENTRIES.items(), key=lambda item: item[0] == "set_gateway_behaviour"):
            async with asyncio.timeout(20):
                call = await entry.prepare(server)
                answer = await send(server, OPERATIONS[name], call)
            # A missing privilege would cause an error of the server.
            assert answer.status_code < 500, (name, answer.text)
    async with open_services(settings, serves_sockets=False, application_name="test") as services:
        await prune_once(services)


async def test_the_serving_role_is_enough_to_finish_a_restore(
    urls: Urls, run: Run, servers: EmbeddedServers
) -> None:
    name = urls.serving.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(urls.admin)
    await admin.execute(f"ALTER DATABASE {name} SET curhat.restore = 'a test'")
    await admin.close()
    status, output, errors = await run(
        "restore", urls, "--finish", GATEWAY="mock", VALKEY_URL=servers.valkey_url
    )
    assert (status, errors) == (0, ""), output
    assert "the database is open" in output


async def test_the_serving_role_can_use_a_new_table_after_the_next_migration(urls: Urls, run: Run) -> None:
    owner = await asyncpg.connect(urls.owner)
    serving = await asyncpg.connect(urls.serving)
    await owner.execute("CREATE TABLE new_things (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    await owner.execute("CREATE TABLE new_history (id bigint)")
    await owner.execute(
        "CREATE TRIGGER new_history_append_only BEFORE UPDATE OR DELETE ON new_history "
        "FOR EACH ROW EXECUTE FUNCTION forbid_change()"
    )
    # Before `migrate` runs again, the serving role can already write the new table, for example through a trigger.
    await serving.execute("INSERT INTO new_things (name) VALUES ('x')")
    assert await serving_role_faults(serving) == ["it may change the append-only tables public.new_history"]
    assert (await run("migrate", urls))[0] == 0
    assert await serving_role_faults(serving) == []
    await serving.execute("INSERT INTO new_history (id) VALUES (1)")
    await owner.close()
    await serving.close()


async def test_the_check_of_the_serving_role_names_the_excess_rights_of_a_table_owner(
    database_url: str,
) -> None:
    connection = await asyncpg.connect(database_url)
    faults = await serving_role_faults(connection)
    assert faults[:3] == [
        "it may administer the server",
        "it can act as curhat, who owns the tables",
        "it may create objects in the database",
    ]
    await connection.close()


async def test_a_serving_process_does_not_start_if_its_settings_name_the_owner_role_or_the_administrator(
    servers: EmbeddedServers, urls: Urls
) -> None:
    settings = dataclasses.replace(
        development_settings(urls.serving, servers.valkey_url), environment="production"
    )
    for knowing in (
        dataclasses.replace(settings, owner_database_url=urls.owner),
        dataclasses.replace(settings, admin_database_url=urls.admin),
    ):
        with pytest.raises(RuntimeError, match="a process that serves must not know"):
            async with open_services(knowing, serves_sockets=False, application_name="test"):
                pass


async def test_the_stored_password_of_a_role_has_the_form_that_postgresql_uses(urls: Urls) -> None:
    admin = await asyncpg.connect(urls.admin)
    serving = urls.serving.split("/")[2].split(":")[0]
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"
    ours = await admin.fetchval(stored, serving)
    await admin.execute(f"ALTER ROLE {serving} PASSWORD 'secret'")
    for verifier in (ours, await admin.fetchval(stored, serving)):
        salt = base64.b64decode(verifier.split(":")[1].split("$")[0])
        assert scram_verifier("secret", salt) == verifier
    await admin.close()


@pytest.mark.parametrize(
    ("owner", "serving", "sentence"),
    [
        ("postgresql://same@/d?host=/x", "postgresql://same@/d?host=/x", "both URLs name the same user"),
        (
            "postgresql://one@/d?host=/x",
            "postgresql://two@/e?host=/x",
            "the two URLs name different databases",
        ),
        (
            "postgresql://one@/d?host=/x",
            "postgresql:///d?host=/x",
            "both URLs must name a user and a database",
        ),
    ],
)
async def test_the_urls_of_the_roles_must_name_two_roles_of_one_database(
    run: Run, owner: str, serving: str, sentence: str
) -> None:
    status, _, errors = await run("roles", Urls("postgresql:///?host=/x", owner, serving))
    assert status == 2
    assert errors.startswith(f"curhat: {sentence}")


async def test_doctor_says_whether_the_role_is_a_serving_role(
    run: Run, urls: Urls, database_url: str
) -> None:
    _, output, _ = await run("doctor", urls)
    assert "ok   PostgreSQL role: it owns nothing, and can only add to the audit" in output
    status, output, _ = await run("doctor", urls._replace(serving=database_url))
    assert status == 1
    assert "FAIL PostgreSQL role: it may administer the server; " in output


async def test_doctor_for_production_names_the_hidden_faults_of_an_installation(
    run: Run, urls: Urls, servers: EmbeddedServers, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 40)
    key.chmod(0o644)
    _, output, _ = await run(
        "doctor",
        urls,
        "--production",
        ENVIRONMENT="development",
        VALKEY_URL=servers.valkey_url,
        SECRET_KEY_FILE=str(key),
        PUBLIC_ORIGINS="https://curhat.example",
        OPERATIONS_HOST="0.0.0.0",
    )
    lines = output.splitlines()
    # The tests' PostgreSQL does not write commits to the disk in time (tests/conftest.py), and archives nothing.
    for begun in (
        f"FAIL secrets: others can use the file of CURHAT_SECRET_KEY_FILE; run chmod 0400 {key}",
        "FAIL durability: a crash loses payments",
        "warn backups: no WAL is archived",
        "warn public origins: one host for three clients",
        "warn operations port: it listens at 0.0.0.0",
        "warn gateway: mock: no payment moves money",
        "ok   PostgreSQL role: ",
        "ok   PostgreSQL TLS: the connection stays on this machine",
    ):
        assert [line for line in lines if line.startswith(begun)], (begun, output)
    assert not [line for line in lines if "FAIL Valkey" in line]


async def test_doctor_for_production_refuses_a_log_with_chats_and_a_valkey_that_evicts_keys(
    run: Run, urls: Urls, servers: EmbeddedServers, valkey_client: "valkey.asyncio.Valkey"
) -> None:
    admin = await asyncpg.connect(urls.admin)
    serving = urls.serving.split("/")[2].split(":")[0]
    await admin.execute(f"ALTER ROLE {serving} SET log_statement = 'all'")
    await valkey_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        _, output, _ = await run("doctor", urls, "--production", VALKEY_URL=servers.valkey_url)
    finally:
        await valkey_client.config_set("maxmemory-policy", "noeviction")
        await admin.close()
    assert "FAIL PostgreSQL's log: it would contain chats and phone numbers" in output
    assert "FAIL Valkey memory: a full Valkey forgets who is online (allkeys-lru)" in output
