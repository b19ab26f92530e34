"""Runs PostgreSQL, Valkey and the measured processes in a temporary folder.

PostgreSQL and Valkey are the embedded servers of development, with the same settings. The commands `curhat serve` and
`curhat worker` start our own processes. Each claim gets an empty, migrated database and an empty Valkey.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import valkey.asyncio

from bench.harness.sockets import Address, Closed, Http
from curhat.kit.migrations import migrate

# This class has a type parameter only in the type stubs.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CURHAT: Final = str(Path(sys.executable).parent / "curhat")
_READY_TIMEOUT_SECONDS: Final = 30
# PostgreSQL keeps its default max_wal_size of 1 GiB, so it has no use for more segments.
WAL_SEGMENTS: Final = 48
_STOP_TIMEOUT_SECONDS: Final = 15
_TEMPLATE: Final = "bench_template"
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Process:
    """A measured process. The kernel kills the measured process when the benchmark's own process ends."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path, address: Address | None) -> None:
        self._process = process
        self._log_file = log_file
        self._address = address

    @property
    def address(self) -> Address:
        """The address at which the process listens."""
        assert self._address is not None
        return self._address

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def resident_bytes(self) -> int:
        """Return the resident memory of this process in bytes. The memory of child processes does not count."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        (line,) = (text for text in status.splitlines() if text.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def ready(self, path: str) -> None:
        """Wait until the process answers this path with 200."""
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while not await self._answers_200(path):
            if self._process.returncode is not None or time.monotonic() > deadline:
                log = self._log_file.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{self._log_file.name}: the process is not ready:\n{log[-4000:]}")
            await asyncio.sleep(0.005)

    async def _answers_200(self, path: str) -> bool:
        http = Http(self.address, 1)
        try:
            return (await http.request("GET", path))[0] == 200
        except (Closed, OSError):
            return False
        finally:
            http.close()

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Send SIGINT and wait for the end. If the process still runs after _STOP_TIMEOUT_SECONDS, kill the process."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            await self.kill()


class Database:
    """One database of the testbed."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def name(self) -> str:
        """The database's name in PostgreSQL."""
        return urlsplit(self.url).path.removeprefix("/")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Open a connection with which a claim writes and counts rows."""
        connection = await asyncpg.connect(self.url, command_timeout=1800)
        try:
            yield connection
        finally:
            await connection.close()

    async def settle(self) -> None:
        """Update the statistics and write all dirty pages now, so that this work does not slow the measured run."""
        async with self.connect() as connection:
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")


class Testbed:
    """Provides the databases, servers, workers and peers of a claim."""

    def __init__(self, folder: Path, database_url: str, valkey_url: str) -> None:
        self.folder = folder
        self._database_url = database_url
        self.valkey_url = valkey_url
        self._count = 0

    @property
    def sockets_folder(self) -> Path:
        """The folder with the sockets of PostgreSQL (`.s.PGSQL.5432`) and Valkey (`valkey.sock`)."""
        return Path(self.valkey_url.removeprefix("unix://")).parent

    @asynccontextmanager
    async def valkey(self) -> AsyncIterator[valkey.asyncio.Valkey]:
        """Open a client of Valkey."""
        client = valkey.asyncio.Valkey.from_url(self.valkey_url)
        try:
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Create a migrated database without rows, and empty Valkey.

        Drop the database at the end of the `with` block.
        """
        self._count += 1
        name = f"bench_{self._count}"
        async with Database(self._url("postgres")).connect() as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        async with self.valkey() as client:
            await client.flushall()
        try:
            yield Database(self._url(name))
        finally:
            async with Database(self._url("postgres")).connect() as connection:
                await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def server(self, database: Database) -> AsyncIterator[Process]:
        """Run one `curhat serve`. The `with` block begins when the server is ready."""
        async with self.run([CURHAT, "serve"], self.environment(database), listens=True) as process:
            await process.ready("/readyz")
            yield process

    @asynccontextmanager
    async def worker(self, database: Database) -> AsyncIterator[Process]:
        """Run one `curhat worker` until the end of the block."""
        process = await self.start_worker(database)
        try:
            yield process
        finally:
            await process.stop()

    async def start_worker(self, database: Database) -> Process:
        """Start one `curhat worker`. The caller ends it."""
        return await self.start([CURHAT, "worker"], self.environment(database))

    @asynccontextmanager
    async def uvicorn(
        self, application: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """Run a peer on our version of uvicorn, with the settings of `curhat serve`."""
        command = self.uvicorn_command(application)
        async with self.run(command, environment or {}, listens=True) as process:
            await process.ready("/")
            yield process

    @staticmethod
    def uvicorn_command(application: str) -> list[str]:
        """Return the command that starts a peer."""
        return [sys.executable, "-m", "bench.peers.uvicorn", application]

    @asynccontextmanager
    async def run(
        self, command: Sequence[str], environment: Mapping[str, str], *, listens: bool = False
    ) -> AsyncIterator[Process]:
        """Run a process until the end of the block.

        The variable CURHAT_PORT gives a process the port at which it must listen.
        """
        process = await self.start(command, environment, listens=listens)
        try:
            yield process
        finally:
            await process.stop()

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], *, listens: bool = False
    ) -> Process:
        """Start a process. The caller stops it."""
        self._count += 1
        log_file = self.folder / f"{self._count}-{Path(command[0]).name}-{command[1].replace('/', '_')}.log"
        address = Address("127.0.0.1", _free_port()) if listens else None
        port = {"CURHAT_PORT": str(address.port)} if address else {}
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**_environment_without_settings(), **environment, **port},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return Process(process, log_file, address)

    def environment(self, database: Database) -> dict[str, str]:
        """Return the settings of our processes.

        The processes run in development, because production requires a sender of sign-in codes. The processes write the
        same logs as in production.
        """
        data_dir = self.folder / "data"
        data_dir.mkdir(exist_ok=True)
        return {
            "CURHAT_ENVIRONMENT": "development",
            "CURHAT_DATA_DIR": str(data_dir),
            "CURHAT_DATABASE_URL": database.url,
            "CURHAT_VALKEY_URL": self.valkey_url,
            "CURHAT_LOG_FORMAT": "json",
        }

    async def make_template(self) -> None:
        """Create the migrated template from which every database is copied."""
        async with Database(self._url("postgres")).connect() as connection:
            await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
            await _prepare_wal_segments(connection)
        async with Database(self._url(_TEMPLATE)).connect() as connection:
            await migrate(connection)

    def _url(self, database: str) -> str:
        return self._database_url.replace("/curhat?", f"/{database}?")


async def _prepare_wal_segments(connection: Connection) -> None:
    """Let PostgreSQL have WAL segments to write into, as a server that has run for some hours.

    A new server makes each segment of 16 MiB when it needs the segment, and every commit waits for about 0.15 s. A
    server that has run for some hours renames segments that it no longer needs.
    """
    await connection.execute(f"ALTER SYSTEM SET min_wal_size = '{WAL_SEGMENTS * 16}MB'")
    await connection.execute("SELECT pg_reload_conf()")
    for _ in range(WAL_SEGMENTS):
        await connection.execute(
            "SELECT pg_logical_emit_message(false, 'bench', 'a record'), pg_switch_wal()"
        )
    await connection.execute("CHECKPOINT")


@asynccontextmanager
async def testbed() -> AsyncIterator[Testbed]:
    """Run PostgreSQL and Valkey in a temporary folder, until the end of the block."""
    # With ignore_cleanup_errors, the folder is removed even if PostgreSQL is still deleting files.
    with tempfile.TemporaryDirectory(prefix="curhat-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.harness.servers", str(folder / "servers")),
            env=_environment_without_settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert servers.stdin is not None
        assert servers.stdout is not None
        try:
            addresses = await servers.stdout.readline()
            if not addresses:
                raise RuntimeError("PostgreSQL and Valkey did not start")
            built = Testbed(folder, *json.loads(addresses))
            await built.make_template()
            yield built
        finally:
            servers.stdin.close()
            await servers.wait()


def machine() -> dict[str, Any]:
    """Describe this machine."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory_kib = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1])
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": names[0] if names else "unknown",
        "memory_gib": round(memory_kib / 1024 / 1024),
        "python": sys.version.split()[0],
    }


async def busy_share(seconds: float) -> float:
    """Return the used share of all processors, from 0 to 1."""
    before = _processor_ticks()
    await asyncio.sleep(seconds)
    after = _processor_ticks()
    used, passed = after[0] - before[0], after[1] - before[1]
    return used / passed if passed else 0.0


def _processor_ticks() -> tuple[int, int]:
    """Return the busy ticks and all ticks since the machine started."""
    ticks = [
        int(text) for text in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    ]
    idle, waiting_for_disk = ticks[3], ticks[4]
    return sum(ticks) - idle - waiting_for_disk, sum(ticks)


def _environment_without_settings() -> dict[str, str]:
    """Return this process's environment without any settings of Curhat."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}


def _end_with_parent() -> None:
    """This function runs in the child process.

    The kernel will kill this process when the parent process ends for any reason.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
