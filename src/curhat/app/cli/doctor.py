"""`curhat doctor`: checks everything that the service needs, and explains how to repair each problem."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Final, Literal

import asyncpg
import valkey.asyncio
from valkey.exceptions import NoPermissionError, ResponseError, ValkeyError

from curhat.app import production_checks
from curhat.app.cli.common import CommandError, Subparsers, joined_environ
from curhat.app.findings import Finding
from curhat.app.local_ports import http_status, listening_hosts, port_problem
from curhat.app.run_file import RunFile
from curhat.content.texts.kinds import KINDS
from curhat.kit import migrations
from curhat.kit.connecting import connect_to_writer
from curhat.kit.database import DATABASE_AWAY, Database, role_settings, session_settings
from curhat.kit.settings import PREFIX, Problem, Settings
from curhat.privacy.retention import service as retention

MIN_POSTGRES_VERSION: Final = 18
MIN_VALKEY_VERSION: Final = 8
MAX_CLOCK_DIFFERENCE_SECONDS: Final = 1.0
CONNECT_TIMEOUT_SECONDS: Final = 5
# Workers delete every minute what is over its time. After a long stop, they need some time for the rest.
MAX_OVERDUE_SECONDS: Final = 3600.0
PROCESSES: Final[tuple[Literal["server", "worker"], ...]] = ("server", "worker")
MAX_CONNECTIONS_TO_TRY: Final = 5

# The terminal's codes for green, yellow and bold red.
COLOURS: Final = {"ok": "\x1b[32m", "warn": "\x1b[33m", "FAIL": "\x1b[1;31m"}
RESET_COLOUR: Final = "\x1b[0m"


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check settings, servers, migrations and clock, and say what to do",
        description="Look at everything that the service needs: settings, data directory, port, both servers, "
        "migrations, clock, parked deadlines, time limits. One line each. Exit status 1 if something must be mended.",
    )
    parser.add_argument(
        "--production",
        action="store_true",
        help="check this machine as one of production: senders of codes, origins, roles, durability, backups, "
        "logs, TLS, limits, files",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings. Return 1 if a finding has the state FAIL."""
    return asyncio.run(_report(for_production=arguments.production))


async def _report(*, for_production: bool) -> int:
    status = 0
    async for finding in _findings(for_production=for_production):
        state = f"{finding.state:<4}"
        if sys.stdout.isatty():
            state = f"{COLOURS[finding.state]}{state}{RESET_COLOUR}"
        print(f"{state} {finding.subject}: {finding.sentence}")
        if finding.state == "FAIL":
            status = 1
    return status


async def _findings(*, for_production: bool) -> AsyncIterator[Finding]:
    settings, run_file, problems = _settings_to_check(for_production=for_production)
    for problem in problems:
        yield Finding("FAIL", "settings", problem.sentence)
    if not problems:
        yield Finding("ok", "settings", f"{settings.environment}, {settings.local_url}")
    if settings.is_development:
        yield _data_dir(settings)
    if for_production:
        for finding in (
            *production_checks.check_process(settings, os.environ),
            *production_checks.check_backup_ages(),
        ):
            yield finding
    yield _gateway(settings)
    yield _help_contact(settings)
    if settings.is_development:
        yield await _server(settings, run_file)
    else:
        for finding in await asyncio.to_thread(_processes, settings):
            yield finding
    async for finding in _servers(settings, for_production=for_production):
        yield finding


async def _servers(settings: Settings, *, for_production: bool) -> AsyncIterator[Finding]:
    if settings.is_development and settings.database_url is None and settings.valkey_url is None:
        yield Finding(
            "warn", "databases", f"nothing is running in {settings.data_dir}; make up starts everything"
        )
    if settings.database_url is not None:
        async for finding in _postgres(settings, settings.database_url, for_production=for_production):
            yield finding
    if settings.valkey_url is not None:
        async for finding in _valkey(settings.valkey_url, for_production=for_production):
            yield finding


def _settings_to_check(*, for_production: bool) -> tuple[Settings, RunFile | None, list[Problem]]:
    """Return the joined settings, the run file if a `curhat up` runs, and the problems of the settings.

    For production, read only the environment variables, and treat the settings as production settings.

    If no `curhat up` runs and no database is named, return the settings with which `curhat up` would start.
    """
    if for_production:
        settings, problems = Settings.read({**os.environ, f"{PREFIX}ENVIRONMENT": "production"})
        return settings, None, problems
    try:
        environ = joined_environ()
    except CommandError:
        environ = {f"{PREFIX}ENVIRONMENT": "development", **os.environ}
    settings, problems = Settings.read(environ)
    return settings, RunFile.read(settings.data_dir) if settings.is_development else None, problems


def _data_dir(settings: Settings) -> Finding:
    data_dir = settings.data_dir
    # If the data directory does not exist yet, check its nearest parent that exists.
    place = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            "FAIL", "data directory", f"{data_dir} cannot be written; choose another with {PREFIX}DATA_DIR"
        )
    return Finding("ok", "data directory", f"{data_dir} can be written")


def _gateway(settings: Settings) -> Finding:
    if settings.is_mocked_in_production:
        return Finding("warn", "gateway", f"{settings.gateway}: no payment moves money ({PREFIX}GATEWAY)")
    return Finding("ok", "gateway", settings.gateway)


def _help_contact(settings: Settings) -> Finding:
    if settings.help_contact is None and not settings.is_development:
        return Finding("warn", "help", f"the apps show no way to reach the team; set {PREFIX}HELP_CONTACT")
    return Finding("ok", "help", settings.help_contact or "no address, as usual in development")


async def _server(settings: Settings, run_file: RunFile | None) -> Finding:
    if run_file is None:
        return _port(settings)
    answer = await asyncio.to_thread(http_status, f"{settings.health_url}/readyz")
    if answer != "200":
        logs = settings.data_dir / "logs"
        return Finding("FAIL", "server", f"{settings.health_url}/readyz answers {answer}; look into {logs}")
    return Finding("ok", "server", f"ready, started by process {run_file.pid}")


def _port(settings: Settings) -> Finding:
    problem = port_problem(settings.host, settings.port)
    if problem is not None:
        return Finding("FAIL", "port", problem)
    return Finding("ok", "port", f"{settings.port} is free")


def _processes(settings: Settings) -> list[Finding]:
    """Find the servers and workers of this machine. If no server runs, check whether a server could open its port.

    A process can listen at an address that only the process's own settings name (deploy/systemd). So this function asks
    every address of this machine at which a process listens on an operations port.
    """
    found: list[Finding] = []
    server_port, worker_port = (settings.operations_port_of(process) for process in PROCESSES)
    for process, port in zip(PROCESSES, (server_port, worker_port), strict=True):
        if port is None or (process == "worker" and port == server_port):
            continue
        for host in listening_hosts(port):
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            status = http_status(f"{url}/readyz")
            if status == "200":
                found.append(Finding("ok", process, f"ready, at {url}"))
            elif status == "503":
                found.append(Finding("FAIL", process, f"not ready, at {url}; {url}/status says why"))
            # If the answer is neither 200 nor 503, an unrelated program listens at this address.
    if not any(finding.subject == "server" for finding in found):
        found.insert(0, _port(settings))
    elif worker_port != server_port and not any(finding.subject == "worker" for finding in found):
        found.append(
            Finding("warn", "worker", "none runs on this machine; without one, no search and no chat ends")
        )
    return found


async def _postgres(settings: Settings, url: str, *, for_production: bool) -> AsyncIterator[Finding]:
    try:
        connection = await connect_to_writer(url)
    except DATABASE_AWAY as error:
        yield _unreachable("PostgreSQL", "DATABASE_URL", error)
        return
    try:
        major = connection.get_server_version().major
        if major < MIN_POSTGRES_VERSION:
            sentence = f"version {major} is too old; install {MIN_POSTGRES_VERSION} or newer"
            yield Finding("FAIL", "PostgreSQL", sentence)
        else:
            yield Finding("ok", "PostgreSQL", f"version {await connection.fetchval('SHOW server_version')}")
        for check in (_migrations, _clock, _parked_deadlines):
            yield await check(connection)
        yield await _texts(connection, is_strict=for_production or not settings.is_development)
        async for finding in _retention(connection):
            yield finding
        if not settings.is_development:
            yield await production_checks.check_role(connection)
        if for_production:
            async for finding in production_checks.check_postgres(connection, settings):
                yield finding
            yield await production_checks.check_help_lines(connection)
    finally:
        await connection.close()
    yield await _session_settings(url)
    yield await _prepared_statements(url)


async def _session_settings(url: str) -> Finding:
    """Check a connection that is opened like a server's connection.

    A pooler in transaction mode drops the settings that a client sends.
    """
    wanted = session_settings()
    try:
        database = await Database.connect(url, pool_size=1, application_name="curhat doctor")
    except DATABASE_AWAY as error:
        return _unreachable("PostgreSQL", "DATABASE_URL", error)
    try:
        rows = await database.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)", list(wanted)
        )
        role: str = await database.fetchval("SELECT session_user::text")
    finally:
        await database.close()
    in_force = dict(map(tuple, rows))
    wrong = sorted(name for name, value in wanted.items() if in_force.get(name) != value)
    if wrong:
        return Finding(
            "FAIL",
            "session settings",
            f"a connection does not get {', '.join(wrong)}, probably because of a pooler; "
            f"set them on the role: {'; '.join(role_settings(role))}",
        )
    return Finding("ok", "session settings", "each connection gets its time limits")


async def _prepared_statements(url: str) -> Finding:
    """Check that a statement can run in a later transaction than the one that prepared it.

    A pooler in transaction mode can run the later transaction on a different connection to PostgreSQL. PgBouncer before
    1.21 does not prepare the statement on that connection, so the service fails, but only under load.
    """
    connections: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        first = await connect_to_writer(url)
        connections.append(first)
        async with first.transaction():
            statement = await first.prepare("SELECT pg_backend_pid()")
            pid: int = await statement.fetchval()
        # Let another transaction occupy the connection to PostgreSQL that has prepared the statement.
        for _ in range(MAX_CONNECTIONS_TO_TRY):
            other = await connect_to_writer(url)
            connections.append(other)
            await other.execute("BEGIN")
            if await other.fetchval("SELECT pg_backend_pid()") == pid:
                await statement.fetchval()
                break
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        return Finding(
            "FAIL",
            "prepared statements",
            "a pooler loses them, and requests fail under load; install PgBouncer 1.21 or newer, and set "
            "max_prepared_statements",
        )
    except DATABASE_AWAY as error:
        return _unreachable("PostgreSQL", "DATABASE_URL", error)
    finally:
        for connection in connections:
            connection.terminate()
    return Finding("ok", "prepared statements", "they work from one transaction to the next")


async def _migrations(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    try:
        pending = await migrations.pending(connection)
    except migrations.MigrationError as error:
        return Finding("FAIL", "migrations", str(error))
    missing = await migrations.missing(connection)
    if missing:
        return Finding("FAIL", "migrations", f"{', '.join(missing)} not applied; run curhat migrate")
    if pending:
        sentence = (
            f"{', '.join(pending)} not applied; when every process runs this version: curhat migrate --after"
        )
        return Finding("warn", "migrations", sentence)
    return Finding("ok", "migrations", "current")


async def _clock(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    before = time.time()
    database_time: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    # This machine reads its clock before and after the query. The database reads its clock during the query, at about
    # the middle of these two times.
    apart = abs(database_time - (before + time.time()) / 2)
    if apart > MAX_CLOCK_DIFFERENCE_SECONDS:
        return Finding(
            "warn",
            "clock",
            f"the database's clock and this machine's are {apart:.1f} s apart; deadlines follow the database's, "
            "but set both by NTP",
        )
    return Finding("ok", "clock", f"the database's and this machine's are {apart * 1000:.0f} ms apart")


async def _parked_deadlines(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    if await connection.fetchval("SELECT to_regclass('deadlines')") is None:
        return Finding("warn", "deadlines", "there is no table yet; run curhat migrate")
    parked: int = await connection.fetchval("SELECT count(*) FROM deadlines WHERE parked_at IS NOT NULL")
    if parked:
        return Finding(
            "warn",
            "deadlines",
            f"{parked} keep failing and are tried every hour; curhat deadlines list says why",
        )
    return Finding("ok", "deadlines", "none is parked")


async def _texts(connection: "asyncpg.Connection[asyncpg.Record]", *, is_strict: bool) -> Finding:
    """Name the texts that people accept and no lawyer has checked, and the texts that nobody has to accept (P.1)."""
    if not await connection.fetchval("SELECT to_regclass('public.current_texts') IS NOT NULL"):
        return Finding("warn", "texts", "the database does not have them yet; run curhat migrate")
    drafts = await connection.fetch(
        "SELECT kind, version FROM texts JOIN current_texts USING (kind, version) WHERE is_draft"
    )
    published = {row["kind"] for row in await connection.fetch("SELECT kind FROM current_texts")}
    missing = [kind for kind in KINDS if kind not in published]
    if missing:
        sentence = f"nobody is asked to accept {', '.join(missing)}; curhat seed publishes the drafts"
        return Finding("warn" if is_strict else "ok", "texts", sentence)
    if drafts:
        versions = {row["kind"]: row["version"] for row in drafts}
        named = ", ".join(f"{kind} {versions[kind]}" for kind in KINDS if kind in versions)
        sentence = f"drafts that no lawyer has checked: {named}"
        if is_strict:
            return Finding("warn", "texts", f"{sentence}; publish checked versions in the Control Center")
        return Finding("ok", "texts", sentence)
    return Finding("ok", "texts", "none of the texts that people accept is a draft")


async def _retention(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[Finding]:
    """Show the oldest row of each class of data that is over its time (P.7)."""
    if await migrations.missing(connection):
        return
    overdue = await retention.read_overdue(connection)
    late = {name: seconds for name, seconds in overdue.items() if seconds > MAX_OVERDUE_SECONDS}
    if not late:
        yield Finding(
            "ok", "retention", f"none of {len(overdue)} classes of data is over its time (docs/privacy.md)"
        )
    for name, seconds in late.items():
        yield Finding(
            "warn",
            "retention",
            f"{name}: the oldest row is {seconds / 3600:.0f} h over its time; does a worker run?",
        )


async def _valkey(url: str, *, for_production: bool) -> AsyncIterator[Finding]:
    client = valkey.asyncio.Valkey.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS)
    try:
        await client.ping()
        yield await _valkey_version(client)
        if for_production:
            async for finding in production_checks.check_valkey(client):
                yield finding
    except (ValkeyError, OSError) as error:
        yield _unreachable("Valkey", "VALKEY_URL", error)
    finally:
        await client.aclose()


async def _valkey_version(client: valkey.asyncio.Valkey) -> Finding:
    try:
        version: str | None = (await client.info("server")).get("valkey_version")
    except ResponseError as error:
        # INFO is a command for administrators. The service does not need INFO, so the service's user perhaps lacks the
        # permission.
        if not _is_refusal(error):
            raise
        return Finding("ok", "Valkey", "answers; its version is not known, because INFO is refused")
    if version is None:
        return Finding(
            "FAIL", "Valkey", f"another program answers; install Valkey {MIN_VALKEY_VERSION} or newer"
        )
    if int(version.partition(".")[0]) < MIN_VALKEY_VERSION:
        return Finding(
            "FAIL", "Valkey", f"version {version} is too old; install {MIN_VALKEY_VERSION} or newer"
        )
    return Finding("ok", "Valkey", f"version {version}")


def _is_refusal(error: ResponseError) -> bool:
    """Return whether Valkey refused INFO, because the user lacks the permission or the command was renamed."""
    text = str(error).lower()
    return isinstance(error, NoPermissionError) or ("unknown command" in text and "info" in text)


def _unreachable(server: str, setting: str, error: Exception) -> Finding:
    reason = str(error) or type(error).__name__
    return Finding(
        "FAIL", server, f"cannot be reached ({reason}); is it running, and is {PREFIX}{setting} right?"
    )
