"""`curhat up`: starts everything in order, says what it does, keeps it running, and ends it in order.

Guarantees
    One of these runs in a data directory at a time.
    A database server, server or worker that dies is started again, at first at once, then ever more slowly.
    The first Ctrl-C (or SIGTERM, or the terminal's end) stops everything cleanly; a second one at once.
    Whatever is killed, the next start works: see `child_processes` and `embedded`.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import asyncpg
from rich.console import Console
from rich.table import Table

from curhat.app.local_ports import http_status, port_problem
from curhat.app.run_file import RunFile
from curhat.app.seed import DemoAccount, seed
from curhat.app.static_files import web_folder
from curhat.dev.child_processes import Program, ProgramError, open_log
from curhat.dev.embedded import EmbeddedServers, lock_data_dir
from curhat.kit.migrations import migrate
from curhat.kit.settings import PREFIX, Settings

READY_TIMEOUT_SECONDS: Final = 60
FIRST_RESTART_PAUSE_SECONDS: Final = 0.2
RESTART_PAUSE_LIMIT_SECONDS: Final = 5.0
# A program that ran this long had started well: the pauses before its restarts begin anew.
SETTLED_SECONDS: Final = 30

_READY_POLL_SECONDS: Final = 0.05
_OUTPUT_CHUNK_BYTES: Final = 64 * 1024
# The level of a line, in either log format.
_LEVEL: Final = re.compile(rb'(?:"level":"|^\S+ \[)(debug|info|warning|error|critical)\b')
_SHOWN_LEVELS: Final = frozenset({b"warning", b"error", b"critical"})
_SHOWN_CHARACTERS: Final = 400


class Supervisor:
    """One run of `curhat up`."""

    def __init__(self, settings: Settings, console: Console, *, bots: bool = False) -> None:
        self._settings = settings
        self._console = console
        self._bots = bots
        self._began = time.monotonic()
        self._stop_requested = asyncio.Event()
        self._stops_at_once = False
        self._servers: EmbeddedServers | None = None
        self._programs: list[Program] = []  # in the order of their start

    async def run(self) -> int:
        """Run until a signal asks for the end; returns the exit status.

        Raises ProgramError, SettingsError or MigrationError when something cannot be started; all that was
        started is stopped by then.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        with lock_data_dir(self._settings.data_dir):
            stop = asyncio.create_task(self._wait_for_stop())
            work = asyncio.create_task(self._start_and_keep_running())
            try:
                await asyncio.wait((stop, work), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
            finally:
                for task in (stop, work):
                    task.cancel()
                await asyncio.gather(stop, work, return_exceptions=True)
                await self._stop()
        return 130 if self._stops_at_once else 0

    def _on_signal(self) -> None:
        if self._stop_requested.is_set():
            self._stops_at_once = True
            for program in self._programs:
                program.kill()
        self._stop_requested.set()

    async def _wait_for_stop(self) -> None:
        await self._stop_requested.wait()

    async def _start_and_keep_running(self) -> None:
        await self._start()
        async with asyncio.TaskGroup() as tasks:
            for program in self._programs:
                tasks.create_task(self._keep_running(program))

    async def _start(self) -> None:
        settings = self._settings
        (settings.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        for kind in (Server, Worker, Bots):
            await kind(settings.data_dir, {}, self._console).end_leftovers()
        if (problem := port_problem(settings.host, settings.port)) is not None:
            raise ProgramError(problem)
        database_url, valkey_url = await self._servers_to_use()
        settings = replace(settings, database_url=database_url, valkey_url=valkey_url)
        await self._migrate(database_url)
        run_file = RunFile(
            pid=os.getpid(),
            environment=settings.environment,
            host=settings.host,
            port=settings.port,
            database_url=database_url,
            valkey_url=valkey_url,
            secret_key=settings.secret_key.decode(),
        )
        environ = {**os.environ, **run_file.environ(), f"{PREFIX}DATA_DIR": str(settings.data_dir)}
        with self._step("starting the server and the worker") as step:
            for kind in (Server, Worker):
                await self._start_program(kind(settings.data_dir, environ, self._console))
            # Meanwhile: they take a second to begin.
            accounts = await self._seed(database_url, settings)
            await self._until_ready()
            step.done = "Server and worker started"
        run_file.write(settings.data_dir)
        if self._bots:
            await self._start_program(Bots(settings.data_dir, environ, self._console))
        self._show_where(settings, accounts)

    async def _start_program(self, program: Program) -> None:
        self._programs.append(program)
        await program.start()

    async def _servers_to_use(self) -> tuple[str, str]:
        """The addresses of PostgreSQL and Valkey: of those that the settings name, or of embedded ones."""
        settings = self._settings
        if settings.database_url is not None and settings.valkey_url is not None:
            return settings.database_url, settings.valkey_url
        self._servers = servers = EmbeddedServers.prepare(settings.data_dir)
        for program in (servers.postgres, servers.valkey):
            with self._step(f"starting {program.title}") as step:
                await self._start_program(program)
                step.done = f"{program.title} {program.version} started"
        return servers.database_url, servers.valkey_url

    async def _migrate(self, database_url: str) -> None:
        with self._step("migrating") as step:
            async with _connection(database_url) as connection:
                applied = await migrate(connection)
            step.done = f"Migrated: {', '.join(applied)}" if applied else "Migrations are current"

    async def _seed(self, database_url: str, settings: Settings) -> list[DemoAccount]:
        async with _connection(database_url) as connection:
            accounts = await seed(connection, settings)
        self._console.print("Demo data is there" if accounts else "Prices are there")
        return accounts

    async def _until_ready(self) -> None:
        url = f"{self._settings.health_url}/readyz"
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while (answer := await asyncio.to_thread(http_status, url)) != "200":
            for program in self._programs:
                if not program.is_running:
                    raise program.failure(f"ended with {await program.wait()}")
            if time.monotonic() > deadline:
                raise self._programs[-1].failure(f"is not ready: {url} answers {answer}")
            await asyncio.sleep(_READY_POLL_SECONDS)

    async def _keep_running(self, program: Program) -> None:
        pause_seconds = FIRST_RESTART_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            end = await program.wait()
            if time.monotonic() - began > SETTLED_SECONDS:
                pause_seconds = FIRST_RESTART_PAUSE_SECONDS
            self._console.print(f"{program.title} ended with {end}; starting it again", style="yellow")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_PAUSE_LIMIT_SECONDS)
            try:
                await program.start()
            except (ProgramError, OSError, asyncpg.PostgresError) as error:
                self._console.print(str(error), style="red")
            else:
                self._console.print(f"{program.title} started again")

    async def _stop(self) -> None:
        for program in reversed(self._programs):
            if program.is_running:
                with self._step(f"stopping {program.title}") as step:
                    await program.stop()
                    step.done = f"{program.title} stopped"
        if self._servers is not None:
            await self._servers.stop()
        (self._settings.data_dir / "run.json").unlink(missing_ok=True)

    def _show_where(self, settings: Settings, accounts: list[DemoAccount]) -> None:
        self._console.print(
            f"\nCurhat is ready ({time.monotonic() - self._began:.1f} s).\n", style="bold green"
        )
        places = Table.grid(padding=(0, 2))
        for title, client in (("Customer", "app"), ("Mitra", "mitra"), ("Control Center", "control-center")):
            if (web_folder() / client).is_dir():
                places.add_row(title, f"{settings.local_url}/{client}/")
        places.add_row("API", settings.local_url)
        places.add_row("Health", f"{settings.health_url}/readyz")
        if settings.is_development:
            places.add_row("One-time codes", f"{settings.local_url}/api/dev/inbox?phone=%2B6281100000001")
        places.add_row("Logs", str(settings.data_dir / "logs"))
        self._console.print(places)
        if accounts:
            table = Table("role", "signs in with", "name", title="\nDemo accounts", title_justify="left")
            table.add_column("note", no_wrap=True)  # A password that is broken in two is of no use.
            for account in accounts:
                table.add_row(account.role, account.sign_in, account.name, account.note)
            self._console.print(table)
            self._console.print("Anyone may sign up as a customer.")
        if self._bots:
            self._console.print(
                "Simulated mitras accept and answer, and simulated customers ask: those named (bot)."
            )
        self._console.print("\nCtrl-C stops everything.")

    @contextmanager
    def _step(self, doing: str) -> Iterator["_Step"]:
        began = time.monotonic()
        step = _Step()
        with self._console.status(f"{doing} …"):
            yield step
        self._console.print(f"{step.done} ({time.monotonic() - began:.1f} s)")


@asynccontextmanager
async def _connection(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    try:
        connection = await asyncpg.connect(database_url)
    except (OSError, asyncpg.PostgresError) as error:
        raise ProgramError(f"the server of {PREFIX}DATABASE_URL cannot be used: {error}") from error
    try:
        yield connection
    finally:
        await connection.close()


class _Step:
    """What a step says when it is done."""

    done = ""


class _CurhatProgram(Program):
    """Another `curhat` command, by the same interpreter. Warnings and errors that it logs are shown as well."""

    command: ClassVar[str]

    def __init__(self, data_dir: Path, environ: Mapping[str, str], console: Console) -> None:
        super().__init__(data_dir, data_dir / "logs" / f"{self.title.lower()}.log")
        self._environ = environ
        self._console = console
        self._relaying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it. Whether it serves is for others to find out."""
        await self.end_leftovers()
        # -P: the folder it runs in must not be searched for modules.
        command = [sys.executable, "-P", "-m", "curhat.app.cli", self.command]
        self._process = await self._spawn(command, self._environ, output=subprocess.PIPE)
        if self._process.stdout is not None:
            self._relaying = asyncio.create_task(self._relay(self._process.stdout))

    async def wait(self) -> str:
        """Wait until it has ended and all that it printed is in the log; says how it ended."""
        end = await super().wait()
        if self._relaying is not None:
            await asyncio.shield(self._relaying)
        return end

    async def _relay(self, output: asyncio.StreamReader) -> None:
        """Write all output to the log file; show warnings, errors, and what follows them (tracebacks)."""
        rest, is_shown = b"", True
        while chunk := await output.read(_OUTPUT_CHUNK_BYTES):
            log = open_log(self.log_file)
            os.write(log, chunk)
            os.close(log)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                level = _LEVEL.search(line)
                is_shown = is_shown if level is None else level[1] in _SHOWN_LEVELS
                if is_shown:
                    text = f"{self.title.lower()}: {line.decode(errors='replace')}"
                    self._console.out(text[:_SHOWN_CHARACTERS], highlight=False)

    def _is_ours(self, entry: Path) -> bool:
        return (entry / "cmdline").read_bytes().endswith(f"\0curhat.app.cli\0{self.command}\0".encode())


class Server(_CurhatProgram):
    """`curhat serve`."""

    title = "Server"
    command = "serve"


class Worker(_CurhatProgram):
    """`curhat worker`."""

    title = "Worker"
    command = "worker"


class Bots(_CurhatProgram):
    """`curhat bots`."""

    title = "Bots"
    command = "bots"
