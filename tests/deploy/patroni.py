"""Run three PostgreSQL under Patroni with the files of deploy/, and lose the primary: `make check-patroni`.

Needs Patroni 4 (PGDG, or `pip install patroni[etcd3] psycopg[binary]`), etcd 3.4 and HAProxy.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from curhat.kit.database import Database
from tests.deploy import last_runs
from tests.deploy.machine import DEPLOY, Machine, dotted, machine, needs, replaced, version_of
from tests.support.signed_in import free_port

VERSION = version_of("patroni", "--version")
pytestmark = [
    needs("Patroni", VERSION, (4, 0), "whose synchronous mode knows a quorum (PGDG: package patroni)"),
    needs("etcd", version_of("etcd", "--version"), (3, 4), "which Patroni keeps its state in (etcd-server)"),
    needs("HAProxy", version_of("haproxy", "-v"), (2, 6), "as deploy/haproxy says"),
    # A primary that goes dark is replaced after 20 s at the earliest.
    pytest.mark.timeout(240),
]
NAMES = ("db1", "db2", "db3")


class Member:
    """One PostgreSQL under Patroni, on a loopback address of its own."""

    def __init__(self, place: Machine, name: str) -> None:
        self.place = place
        self.name = name
        self.address = f"127.20.0.1{name[-1]}"
        self.folder = place.make_folder(name)
        self.process: asyncio.subprocess.Process | None = None

    def write_file(self, etcd: str, postgres_port: int, rest_port: int) -> None:
        text = (DEPLOY / "patroni" / "patroni.yml").read_text()
        text = replaced(
            text,
            ("name: db1\n", f"name: {self.name}\n"),
            ("[10.20.0.11:2379, 10.20.0.12:2379, 10.20.0.13:2379]", f"['{etcd}']"),
            ("/usr/lib/postgresql/18/bin", str(self.place.programs)),
            ("/var/lib/postgresql/18/main", f"{self.folder}/main"),
            ("/var/lib/postgresql/.pgpass-of-patroni", f"{self.folder}/pgpass"),
            ("/etc/patroni/postgresql.conf", f"{self.place.folder}/curhat.conf"),
            ("/run/postgresql", str(self.folder)),
            # The embedded PostgreSQL is built without TLS.
            ('ssl: "on"', 'ssl: "off"'),
            ("mode: automatic", "mode: 'off'"),
        )
        text = text.replace("10.20.0.11:5432", f"{self.address}:{postgres_port}")
        text = text.replace("10.20.0.11:8008", f"{self.address}:{rest_port}")
        text = (
            text.replace("hostssl", "host")
            .replace("10.20.0.0/16", "127.0.0.0/8")
            .replace("PASSWORD", "secret")
        )
        (self.folder / "patroni.yml").write_text(text)

    async def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = await self.place.start(
                str(shutil.which("patroni")), self.folder / "patroni.yml", output=log.fileno()
            )

    def kill(self) -> None:
        """Kill Patroni and PostgreSQL at once, as a machine that loses its power."""
        assert self.process is not None
        postmaster = int((self.folder / "main" / "postmaster.pid").read_text().split()[0])
        self.process.send_signal(signal.SIGKILL)
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                if parent == postmaster:
                    _kill(int(path.parent.name))
        _kill(postmaster)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Cluster:
    """Three members, and HAProxy before them."""

    def __init__(self, place: Machine) -> None:
        self.place = place
        self.members = {name: Member(place, name) for name in NAMES}
        self.rest_port = free_port()
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of the database, through HAProxy."""
        return f"postgresql://postgres:secret@127.0.0.1:{self.port}/postgres"

    async def roles(self) -> dict[str, str]:
        """The role of each member that runs and streams, as Patroni reports it."""
        found = {}
        async with httpx.AsyncClient() as http:
            for member in self.members.values():
                with contextlib.suppress(httpx.TransportError):
                    url = f"http://{member.address}:{self.rest_port}/cluster"
                    for each in (await http.get(url)).json()["members"]:
                        if each["state"] in ("running", "streaming"):
                            found[each["name"]] = each["role"]
                    break
        return found

    def is_over(self) -> bool:
        """Whether a member has ended that nobody has killed."""
        return any(
            member.process is not None and member.process.returncode not in (None, -signal.SIGKILL)
            for member in self.members.values()
        )

    async def until_complete(self) -> str:
        """Wait until there is a leader with two standbys that may acknowledge commits. Return the leader's name."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            roles = await self.roles()
            if sorted(roles.values()) == ["leader", "quorum_standby", "quorum_standby"]:
                return next(name for name, role in roles.items() if role == "leader")
            if self.is_over():
                break
            await asyncio.sleep(0.2)
        logs = "".join((member.folder / "log").read_text()[-3000:] for member in self.members.values())
        raise AssertionError(f"{await self.roles()}\n{logs}")

    async def until_led_by_another_than(self, name: str) -> None:
        """Wait until another member is the leader."""
        async with asyncio.timeout(60):
            while "leader" not in (roles := await self.roles()).values() or roles.get(name) == "leader":
                await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    with machine() as place:
        made = Cluster(place)
        etcd_port, postgres_port = free_port(), free_port()
        text = (DEPLOY / "postgresql" / "curhat.conf").read_text()
        text = replaced(text, ("'2GB'", "'64MB'"), ("archive_mode = on", "archive_mode = off"))
        (place.folder / "curhat.conf").write_text(text)
        for member in made.members.values():
            member.write_file(f"127.0.0.1:{etcd_port}", postgres_port, made.rest_port)
        processes = []
        with (
            (place.folder / "etcd.log").open("w") as etcd_log,
            (place.folder / "haproxy.log").open("w") as log,
        ):
            url = f"http://127.0.0.1:{etcd_port}"
            processes.append(
                await place.start(
                    *("etcd", "--data-dir", place.make_folder("etcd"), "--listen-client-urls", url),
                    *(
                        "--advertise-client-urls",
                        url,
                        "--listen-peer-urls",
                        f"http://127.0.0.1:{free_port()}",
                    ),
                    output=etcd_log.fileno(),
                )
            )
            processes.append(
                await place.start(
                    "haproxy", "-db", "-f", haproxy_file(made, postgres_port), output=log.fileno()
                )
            )
        try:
            for member in made.members.values():
                await member.start()
            await made.until_complete()
            yield made
        finally:
            for member in made.members.values():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    member.kill()
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def haproxy_file(cluster: Cluster, postgres_port: int) -> Path:
    """Write the files of deploy/haproxy as one file, with these addresses and without Valkey."""
    shared = re.sub(
        r"^    (log|user|group|maxconn) .*\n",
        "",
        (DEPLOY / "haproxy" / "haproxy.cfg").read_text(),
        flags=re.MULTILINE,
    )
    text = (DEPLOY / "haproxy" / "databases.cfg").read_text().partition("# Valkey with a replica")[0]
    text = replaced(text, ("bind 127.0.0.1:5432", f"bind 127.0.0.1:{cluster.port}"))
    for member in cluster.members.values():
        text = replaced(text, (f"10.20.0.1{member.name[-1]}:5432", f"{member.address}:{postgres_port}"))
    text = text.replace("check port 8008", f"check port {cluster.rest_port}")
    file = cluster.place.folder / "haproxy.cfg"
    file.write_text(shared.replace("    log global\n", "") + text)
    return file


class Writer:
    """Commits one number after the other through HAProxy, as a process of Curhat does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.acknowledged: list[int] = []
        self.longest_gap = 0.0
        self._stops = asyncio.Event()

    async def run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stops.is_set():
            number += 1
            try:
                async with self._database.transaction() as transaction:
                    await transaction.execute("INSERT INTO numbers VALUES ($1)", number)
            except Exception:  # noqa: BLE001  an outage may show as any error; the gap is measured
                await asyncio.sleep(0.05)
                continue
            self.acknowledged.append(number)
            self.longest_gap = max(self.longest_gap, time.monotonic() - last)
            last = time.monotonic()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            yield
            count = len(self.acknowledged)
            async with asyncio.timeout(60):
                while len(self.acknowledged) < count + 20:
                    await asyncio.sleep(0.1)
        finally:
            self._stops.set()
            await task


async def test_a_lost_primary_is_replaced_and_no_acknowledged_write_is_lost(cluster: Cluster) -> None:
    database = await Database.connect(cluster.url, pool_size=3)
    await database.execute("CREATE TABLE numbers (number integer PRIMARY KEY)")
    wanted = await database.fetchval("SHOW synchronous_standby_names")
    assert re.fullmatch(r"ANY 1 \(db\d,db\d\)", wanted), wanted
    gaps, leader = [], ""
    for how in ("switchover", "kill"):
        writer = Writer(database)
        leader = await cluster.until_complete()
        async with writer.running():
            if how == "kill":
                cluster.members[leader].kill()
            else:
                config = cluster.members[leader].folder / "patroni.yml"
                await cluster.place.run("patronictl", "-c", config, "switchover", "curhat", "--force")
            await cluster.until_led_by_another_than(leader)
        kept = {row[0] for row in await database.fetch("SELECT number FROM numbers")}
        assert [number for number in writer.acknowledged if number not in kept] == []
        assert len(writer.acknowledged) > 20
        gaps.append(writer.longest_gap)
        await database.execute("TRUNCATE numbers")
    # The lost machine comes back as a standby by itself.
    await cluster.members[leader].start()
    assert await cluster.until_complete() != leader
    version = await database.fetchval("SHOW server_version")
    await database.close()
    last_runs.record(
        "check-patroni",
        f"Patroni {dotted(VERSION)}, etcd {dotted(version_of('etcd', '--version'))}, PostgreSQL {version}, "
        f"HAProxy {dotted(version_of('haproxy', '-v')[:3])}",
        f"without a commit: {gaps[0]:.1f} s at a switchover, {gaps[1]:.1f} s when the primary's machine is lost; "
        "0 acknowledged writes lost",
    )


async def test_patroni_accepts_the_file(cluster: Cluster) -> None:
    # The members run, so their addresses are in use.
    output = await cluster.place.run(
        "patroni", "--validate-config", "--ignore-listen-port", cluster.members["db1"].folder / "patroni.yml"
    )
    assert output == ""
