"""`curhat doctor`: checks everything that the service needs, and explains how to repair each problem."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Final, Literal, NamedTuple

import asyncpg
import valkey.asyncio
from valkey.exceptions import ValkeyError

from curhat.app.cli.common import CommandError, Subparsers, joined_settings
from curhat.app.local_ports import http_status, port_problem
from curhat.app.run_file import RunFile
from curhat.kit import migrations
from curhat.kit.connecting import connect_to_writer
from curhat.kit.database import DATABASE_AWAY, Database, role_settings, session_settings
from curhat.kit.settings import PREFIX, Settings, SettingsError

MIN_POSTGRES_VERSION: Final = 18
MIN_VALKEY_VERSION: Final = 8
MAX_CLOCK_DIFFERENCE_SECONDS: Final = 1.0
CONNECT_TIMEOUT_SECONDS: Final = 5

# The terminal's codes for green, yellow and bold red.
COLOURS: Final = {"ok": "\x1b[32m", "warn": "\x1b[33m", "FAIL": "\x1b[1;31m"}
RESET_COLOUR: Final = "\x1b[0m"


class Finding(NamedTuple):
    """One line of the output: the state and the name of a subject, and a sentence that says what to do."""

    state: Literal["ok", "warn", "FAIL"]
    subject: str
    sentence: str


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check settings, servers, migrations and clock, and say what to do",
        description="Look at everything that the service needs: settings, data directory, port, both servers, "
        "migrations, clock, parked deadlines, time limits. One line each. Exit status 1 if something must be mended.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Print the findings. Return 1 if a finding has the state FAIL."""
    return asyncio.run(_report())


async def _report() -> int:
    status = 0
    async for finding in _findings():
        state = f"{finding.state:<4}"
        if sys.stdout.isatty():
            state = f"{COLOURS[finding.state]}{state}{RESET_COLOUR}"
        print(f"{state} {finding.subject}: {finding.sentence}")
        if finding.state == "FAIL":
            status = 1
    return status


async def _findings() -> AsyncIterator[Finding]:
    try:
        settings, run_file = _settings_to_check()
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("FAIL", "settings", problem)
        return
    yield Finding("ok", "settings", f"{settings.environment}, {settings.local_url}")
    if settings.is_development:
        yield _data_dir(settings)
    yield await _server(settings, run_file)
    if settings.database_url is None or settings.valkey_url is None:
        yield Finding(
            "warn", "databases", f"nothing is running in {settings.data_dir}; make up starts everything"
        )
        return
    async for finding in _postgres(settings.database_url):
        yield finding
    yield await _valkey(settings.valkey_url)


def _settings_to_check() -> tuple[Settings, RunFile | None]:
    """Return `joined_settings`, and the run file of the running `curhat up` if there is one.

    If `joined_settings` finds no database, return the settings with which `curhat up` would start.
    """
    try:
        settings = joined_settings()
    except CommandError:
        return Settings.from_environment({f"{PREFIX}ENVIRONMENT": "development", **os.environ}), None
    return settings, RunFile.read(settings.data_dir)


def _data_dir(settings: Settings) -> Finding:
    data_dir = settings.data_dir
    # If the data directory does not exist yet, check its nearest parent that exists.
    place = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            "FAIL", "data directory", f"{data_dir} cannot be written; choose another with {PREFIX}DATA_DIR"
        )
    return Finding("ok", "data directory", f"{data_dir} can be written")


async def _server(settings: Settings, run_file: RunFile | None) -> Finding:
    if run_file is None:
        problem = port_problem(settings.host, settings.port)
        if problem is not None:
            return Finding("FAIL", "port", problem)
        return Finding("ok", "port", f"{settings.port} is free")
    answer = await asyncio.to_thread(http_status, f"{settings.health_url}/readyz")
    if answer != "200":
        logs = settings.data_dir / "logs"
        return Finding("FAIL", "server", f"{settings.health_url}/readyz answers {answer}; look into {logs}")
    return Finding("ok", "server", f"ready, started by process {run_file.pid}")


async def _postgres(url: str) -> AsyncIterator[Finding]:
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
    finally:
        await connection.close()
    yield await _session_settings(url)


async def _session_settings(url: str) -> Finding:
    """Check a connection as a server opens it. A pooler in transaction mode drops the settings that a client names."""
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
    in_force = {row["name"]: row["setting"] for row in rows}
    wrong = sorted(name for name, value in wanted.items() if in_force.get(name) != value)
    if wrong:
        return Finding(
            "FAIL",
            "session settings",
            f"a connection does not get {', '.join(wrong)}, probably because of a pooler; "
            f"set them on the role: {'; '.join(role_settings(role))}",
        )
    return Finding("ok", "session settings", "each connection gets its time limits")


async def _migrations(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    try:
        pending = await migrations.pending(connection)
    except migrations.MigrationError as error:
        return Finding("FAIL", "migrations", str(error))
    if pending:
        return Finding("FAIL", "migrations", f"{', '.join(pending)} not applied; run curhat migrate")
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


async def _valkey(url: str) -> Finding:
    client = valkey.asyncio.Valkey.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS)
    try:
        version: str = (await client.info("server"))["valkey_version"]
    except (ValkeyError, OSError) as error:
        return _unreachable("Valkey", "VALKEY_URL", error)
    finally:
        await client.aclose()
    if int(version.partition(".")[0]) < MIN_VALKEY_VERSION:
        return Finding(
            "FAIL", "Valkey", f"version {version} is too old; install {MIN_VALKEY_VERSION} or newer"
        )
    return Finding("ok", "Valkey", f"version {version}")


def _unreachable(server: str, setting: str, error: Exception) -> Finding:
    reason = str(error) or type(error).__name__
    return Finding(
        "FAIL", server, f"cannot be reached ({reason}); is it running, and is {PREFIX}{setting} right?"
    )
