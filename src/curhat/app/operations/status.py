"""The checks of `/status`: this process checks PostgreSQL, Valkey, the schema, the workers and the gateway.

A check never changes anything that the product reads. The results of all checks are reused for `MAX_AGE_SECONDS`, so
that frequent requests cost nothing.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import asyncpg
import msgspec
from prometheus_client import Gauge
from valkey.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ValkeyError

from curhat.app.operations import figures, queries
from curhat.app.operations.queries import CodesOfToday, Figures
from curhat.app.wiring import Services
from curhat.kit import migrations
from curhat.kit.database import DATABASE_AWAY, Transaction
from curhat.kit.signals import NoSignals
from curhat.privacy.retention import service as retention
from curhat.privacy.retention.classes import TimedClass

# The timeout of one check. A check that takes longer than CHECK_TIMEOUT_SECONDS fails.
CHECK_TIMEOUT_SECONDS: Final = 2.0
MAX_AGE_SECONDS: Final = 1.0
# If a deadline is overdue for longer than MAX_LATE_SECONDS, no worker fires deadlines.
MAX_LATE_SECONDS: Final = 5.0
# Valkey refuses writes when its memory is full. The check fails at MAX_MEMORY_SHARE, so that operators can act before
# the memory is full.
MAX_MEMORY_SHARE: Final = 0.9
# The check writes VALKEY_KEY, and Valkey deletes the key after a minute.
VALKEY_KEY: Final = "curhat:status"
VALKEY_KEY_SECONDS: Final = 60

CheckName = Literal["postgresql", "valkey", "signals", "migrations", "deadlines", "gateway"]

OK: Final = Gauge("curhat_status_ok", "Whether a check of /status succeeds: 1 or 0", ["check"])


class Check(msgspec.Struct, frozen=True):
    """The result of one check. `detail` is a sentence for a person."""

    ok: bool
    detail: str


class Report(msgspec.Struct, frozen=True):
    """The answer of `/status`. `status` is `ok` if every check succeeds."""

    status: Literal["ok", "failing"]
    process: str
    version: str
    pid: int
    uptime_seconds: int
    checks: dict[CheckName, Check]


class Status:
    """Carries out the checks of one process."""

    def __init__(self, services: Services, process: Literal["server", "worker"], version: str) -> None:
        self._services = services
        self._process = process
        self._version = version
        self._began_at = time.monotonic()
        self._running: asyncio.Task[dict[CheckName, Check]] | None = None
        self._checked_at = -MAX_AGE_SECONDS
        self._has_schema = False

    async def is_ready(self) -> bool:
        """Return whether the schema has everything that this code needs.

        After the first True, this method sends no query.

        A schema never returns to an older version while a process runs. So a ready process stays ready, even while
        PostgreSQL is away.
        """
        if not self._has_schema:
            try:
                async with (
                    asyncio.timeout(CHECK_TIMEOUT_SECONDS),
                    self._services.database.pool.acquire() as connection,
                ):
                    self._has_schema = not await migrations.missing(connection)
            except DATABASE_AWAY:
                return False
        return self._has_schema

    async def report(self) -> Report:
        """Carry out every check, or return recent results. Set the metrics from the results, too."""
        if self._running is None or (
            self._running.done() and time.monotonic() - self._checked_at >= MAX_AGE_SECONDS
        ):
            self._running = asyncio.create_task(self._check_all())
        # Several requests share one task, so the cancellation of one request must not cancel the task.
        checks = await asyncio.shield(self._running)
        return Report(
            status="ok" if all(check.ok for check in checks.values()) else "failing",
            process=self._process,
            version=self._version,
            pid=os.getpid(),
            uptime_seconds=int(time.monotonic() - self._began_at),
            checks=checks,
        )

    async def _check_all(self) -> dict[CheckName, Check]:
        postgresql, schema, read, codes, overdue, in_valkey = await asyncio.gather(
            _carried_out(self._check_writing),
            self._check_schema(),
            self._read_figures(),
            self._read_codes(),
            self._read_overdue(),
            self._check_valkey(),
        )
        figures.show(read)
        figures.show_codes(codes, self._services.settings.codes_per_day)
        figures.show_overdue(overdue)
        checks: dict[CheckName, Check] = {
            "postgresql": postgresql,
            "valkey": in_valkey,
            "signals": self._check_signals(),
            "migrations": schema,
            "deadlines": _check_deadlines(read),
            "gateway": _check_gateway(read),
        }
        for name, check in checks.items():
            OK.labels(name).set(check.ok)
        self._checked_at = time.monotonic()
        return checks

    async def _check_writing(self) -> Check:
        began = time.monotonic()
        database = self._services.database
        if await database.is_read_only():
            return Check(ok=False, detail="is read-only")
        async with database.pool.acquire() as connection, connection.transaction():
            tx = Transaction(connection, NoSignals())
            await queries.limit_sort_memory(tx)
            await queries.probe_writing(tx)
        pool = database.pool
        return Check(
            ok=True,
            detail=f"committed a write in {(time.monotonic() - began) * 1000:.0f} ms; "
            f"{pool.get_size() - pool.get_idle_size()} of {pool.get_max_size()} connections are in use",
        )

    async def _check_schema(self) -> Check:
        async def check() -> Check:
            async with self._services.database.pool.acquire() as connection:
                behind = await migrations.missing(connection)
                try:
                    await migrations.pending(connection)
                except migrations.MigrationError as error:
                    # The database is newer than this code, or a migration file was changed. The process can serve with
                    # a newer database, and with a changed file.
                    return Check(ok=not behind, detail=str(error))
            if behind:
                return Check(ok=False, detail=f"not applied: {', '.join(behind)}; run curhat migrate")
            return Check(ok=True, detail="current")

        return await _carried_out(check)

    async def _read_figures(self) -> Figures | None:
        """Return the figures, or None if PostgreSQL does not answer."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await queries.read_figures(self._services.database)
        except DATABASE_AWAY:
            return None

    async def _read_codes(self) -> list[CodesOfToday] | None:
        """Return today's codes, or None if PostgreSQL does not answer."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await queries.list_codes_of_today(self._services.database)
        except DATABASE_AWAY:
            return None

    async def _read_overdue(self) -> dict[TimedClass, float] | None:
        """Return what is over its time, or None if PostgreSQL does not answer."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await retention.read_overdue(self._services.database)
        except DATABASE_AWAY:
            return None

    async def _check_valkey(self) -> Check:
        client = self._services.valkey
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await client.set(VALKEY_KEY, os.getpid(), ex=VALKEY_KEY_SECONDS)
                try:
                    memory = await client.info("memory")
                except NoPermissionError:
                    return Check(ok=True, detail="accepts writes; its user may not ask for the memory")
        except OutOfMemoryError:
            return Check(ok=False, detail="has reached maxmemory and refuses writes")
        except ReadOnlyError:
            return Check(ok=False, detail="is a read-only replica")
        except (OSError, ValkeyError) as error:
            return Check(ok=False, detail=f"does not accept writes ({type(error).__name__})")
        used, limit = int(memory["used_memory"]), int(memory["maxmemory"])
        if limit and used > limit * MAX_MEMORY_SHARE:
            return Check(
                ok=False, detail=f"uses {used / limit:.0%} of its maxmemory, and soon refuses writes"
            )
        return Check(
            ok=True, detail=f"accepts writes; {used / limit:.0%} of maxmemory" if limit else "accepts writes"
        )

    def _check_signals(self) -> Check:
        if self._services.signals.subscribed.is_set():
            return Check(ok=True, detail="subscribed")
        return Check(ok=False, detail="not subscribed: events arrive up to 3 s late")


async def _carried_out(check: Callable[[], Awaitable[Check]]) -> Check:
    """Carry out a check of PostgreSQL within the time limit."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check()
    except TimeoutError:
        return Check(ok=False, detail=f"did not answer within {CHECK_TIMEOUT_SECONDS:g} s")
    except asyncpg.exceptions.TargetServerAttributeNotMatched:
        return Check(ok=False, detail="is read-only")
    except DATABASE_AWAY as error:
        state = getattr(error, "sqlstate", None)
        return Check(ok=False, detail=f"{type(error).__name__}{f' ({state})' if state else ''}")


def _check_deadlines(read: Figures | None) -> Check:
    if read is None:
        return Check(ok=False, detail="unknown, because PostgreSQL does not answer")
    problems = []
    if read.oldest_due_seconds > MAX_LATE_SECONDS:
        problems.append(
            f"the oldest due deadline is {read.oldest_due_seconds:.0f} s late; does a worker run?"
        )
    if read.deadlines_parked:
        problems.append(f"{read.deadlines_parked} are parked after repeated errors")
    if problems:
        return Check(ok=False, detail="; ".join(problems))
    return Check(ok=True, detail=f"the oldest due deadline is {read.oldest_due_seconds:.1f} s late")


def _check_gateway(read: Figures | None) -> Check:
    if read is None:
        return Check(ok=False, detail="unknown, because PostgreSQL does not answer")
    if read.gateway_unanswered:
        return Check(
            ok=False, detail=f"owes an answer about {read.gateway_unanswered} payments for 10 minutes or more"
        )
    return Check(ok=True, detail="owes no answer")
