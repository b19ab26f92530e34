"""Test `curhat up` with real processes.

`curhat up` restarts killed programs and leaves no process behind. Other commands use the servers of `curhat up`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import curhat
from curhat.app.local_ports import http_status, port_problem
from curhat.app.run_file import RunFile
from curhat.app.seed import DEMO_ADMIN
from curhat.control_center.operators.passwords import derived
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.migrations import migrations_folder
from tests.support.signed_in import free_port

# The limit is long, because other tests can run at the same time.
TIMEOUT_SECONDS = 60


@dataclass
class Up:
    """A running `curhat up`."""

    process: asyncio.subprocess.Process
    environ: dict[str, str]
    data_dir: Path
    port: int

    def children(self) -> dict[str, int]:
        """Return the process ids of the programs that `curhat up` runs.

        Each key is the name of a `curhat` command or of a program.
        """
        found = {}
        for entry in Path("/proc").iterdir():
            # A process can end while this method reads the process's entry in /proc. A zombie process has an empty
            # command line.
            with contextlib.suppress(OSError, IndexError):
                if entry.name.isdigit() and self._is_parent_of(entry):
                    words = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
                    is_ours = "curhat.app.cli" in words
                    found[words[-2] if is_ours else Path(words[0].split()[0]).name] = int(entry.name)
        return found

    def _is_parent_of(self, entry: Path) -> bool:
        return f"\nPPid:\t{self.process.pid}\n" in (entry / "status").read_text()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. Fails if `curhat up` ends before the condition holds."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await asyncio.to_thread(condition):
                assert self.process.returncode is None
                await asyncio.sleep(0.05)

    def is_ready(self) -> bool:
        """Return whether the server reports that it is ready."""
        return http_status(f"http://127.0.0.1:{self.port}/readyz") == "200"

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run another `curhat` command. Return the exit status, the output and the errors of the command."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "curhat.app.cli", *arguments),
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return process.returncode or 0, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def running(data_dir: Path, port: int, *arguments: str, **more: str) -> AsyncIterator[Up]:
    """Run `curhat up` during the block. The block begins when the server is ready."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
    environ |= {
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_DATA_DIR": str(data_dir),
        "CURHAT_PORT": str(port),
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "curhat.app.cli", "up", *arguments),
        env=environ,
        stdout=asyncio.subprocess.DEVNULL,
    )
    up = Up(process, environ, data_dir, port)
    try:
        await up.until(lambda: RunFile.read(data_dir) is not None and up.is_ready())
        yield up
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.fixture(name="free_port")
def free_port_fixture() -> int:
    return free_port()


async def test_other_commands_use_the_servers_of_a_running_curhat_up(tmp_path: Path, free_port: int) -> None:
    """A second `curhat up` is refused."""
    async with running(tmp_path, free_port) as up:
        assert await up.command("config", "get", "pairing_blast_timeout_seconds") == (0, "60\n", "")
        assert (await up.command("config", "set", "pairing_blast_timeout_seconds", "90"))[0] == 0
        assert await up.command("config", "get", "pairing_blast_timeout_seconds") == (0, "90\n", "")
        status, _, errors = await up.command("config", "set", "pairing_blast_timeout_seconds", "5")
        assert (status, errors) == (1, "curhat: value must be a whole number of seconds from 10 to 600\n")
        status, _, errors = await up.command(
            "mitra", "invite", "0811x", "--name", "Tari", "--max-customers", "1"
        )
        assert (status, errors.startswith("curhat: phone is no mobile number")) == (1, True)
        status, output, _ = await up.command("operator", "create", "Sari@example.id", "--role", "reviewer")
        assert (status, output.splitlines()[0]) == (0, "sari@example.id may sign in as reviewer")
        password = output.splitlines()[1].removeprefix("password (shown this once): ")
        run_file = RunFile.read(tmp_path)
        assert run_file is not None
        # Derive the password that `make up` prints.
        demo = derived(run_file.secret_key.encode(), DEMO_ADMIN)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{up.port}") as http:
            for email, its_password, role in (
                ("sari@example.id", password, "reviewer"),
                (DEMO_ADMIN, demo, "admin"),
            ):
                body = {"email": email, "password": its_password}
                signed_in = await http.post("/api/control-center/auth/login", json=body)
                assert (signed_in.status_code, signed_in.json()["operator"]["role"]) == (200, role)
        status, _, errors = await up.command("operator", "create", "sari@example.id")
        assert (status, errors) == (1, "curhat: There is an operator with this e-mail already.\n")
        assert (await up.command("operator", "reset", "sari@example.id"))[0] == 0
        assert (await up.command("operator", "disable", "sari@example.id"))[0] == 0
        assert (await up.command("operator", "disable", "sari@example.id"))[0] == 1
        status, _, errors = await up.command("operator", "create", "sari")
        assert (status, errors.startswith("curhat: email must be an e-mail address")) == (1, True)
        status, output, _ = await up.command("doctor")
        assert (status, {line.split()[0] for line in output.splitlines()}) == (0, {"ok"})
        status, _, errors = await up.command("up")
        assert status == 1
        assert (
            errors
            == f"curhat: {tmp_path} is in use: curhat up runs there already, as process {up.process.pid}\n"
        )
    assert up.process.returncode == 0
    status, _, errors = await up.command("config", "get", "pairing_blast_timeout_seconds")
    assert (status, errors) == (2, f"curhat: nothing is running in {tmp_path}; start it with make up\n")


@pytest.mark.invariant(12)
async def test_each_killed_program_is_restarted(tmp_path: Path, free_port: int) -> None:
    async with running(tmp_path, free_port) as up:
        before = up.children()
        assert set(before) == {"postgres", "valkey-server", "serve", "worker"}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await up.until(lambda: set(up.children()) == set(before))
        await up.until(up.is_ready)
        assert not set(up.children().values()) & set(before.values())


@pytest.mark.invariant(12)
async def test_the_next_start_works_after_any_process_was_killed(tmp_path: Path, free_port: int) -> None:
    async with running(tmp_path, free_port) as up:
        assert (await up.command("config", "set", "pairing_blast_timeout_seconds", "90"))[0] == 0
        left = up.children()
        up.process.kill()
    async with running(tmp_path, free_port) as up:
        assert not [name for name, pid in left.items() if Path(f"/proc/{pid}/cwd").exists()]
        for pid in (up.process.pid, *up.children().values()):
            os.kill(pid, signal.SIGKILL)
    async with running(tmp_path, free_port) as up:
        assert await up.command("config", "get", "pairing_blast_timeout_seconds") == (0, "90\n", "")


async def test_servers_whose_addresses_are_in_the_settings_replace_the_embedded_servers(
    tmp_path: Path, free_port: int, servers: EmbeddedServers, database_url: str
) -> None:
    (tmp_path / "url").write_text(database_url)
    named = {"CURHAT_DATABASE_URL_FILE": str(tmp_path / "url"), "CURHAT_VALKEY_URL": servers.valkey_url}
    async with running(tmp_path, free_port, **named) as up:
        assert set(up.children()) == {"serve", "worker"}
        assert not (tmp_path / "postgres").exists()


async def test_a_changed_source_file_restarts_the_server_and_the_worker(
    tmp_path: Path, free_port: int
) -> None:
    package = tmp_path / "src" / "curhat"
    shutil.copytree(Path(curhat.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(migrations_folder(), tmp_path / "migrations")
    code = str(package.parent)
    async with running(tmp_path / "data", free_port, "--reload", PYTHONPATH=code) as up:
        before = up.children()
        page = package / "kit" / "page.py"
        page.write_text(f"{page.read_text()}# a change\n")
        await up.until(lambda: restarted(before, up.children()) == {"serve", "worker"})
        await up.until(up.is_ready)
        before = up.children()
        # The changed file makes the server end with a SyntaxError. After the next change of a file, `curhat up` starts
        # the server again.
        asgi = package / "app" / "asgi.py"
        asgi.write_text(f"{asgi.read_text()}(")
        await up.until(
            lambda: "serve" not in up.children() and restarted(before, up.children()) == {"worker"}
        )
        asgi.write_text(asgi.read_text().removesuffix("("))
        await up.until(up.is_ready)


async def test_a_second_server_on_another_port_uses_the_servers_of_the_running_curhat_up(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, free_port()) as up:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "curhat.app.cli", "serve"), env={**up.environ, "CURHAT_PORT": str(port)}
        )
        await up.until(lambda: http_status(f"http://127.0.0.1:{port}/readyz") == "200")
        process.terminate()
        await process.wait()
        assert up.is_ready()


async def test_a_reset_removes_only_the_files_that_curhat_up_has_written(
    tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "notes.txt").write_text("of somebody else")
    async with running(tmp_path, free_port) as up:
        status, _, errors = await up.command("reset")
        assert (status, errors) == (
            1,
            f"curhat: {tmp_path} is in use: curhat up runs there already, as process {up.process.pid}\n",
        )
        assert (await up.command("config", "set", "pairing_blast_timeout_seconds", "90"))[0] == 0
    assert await up.command("reset") == (0, f"the development data in {tmp_path} is removed\n", "")
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "notes.txt"}
    async with running(tmp_path, free_port) as up:
        assert await up.command("config", "get", "pairing_blast_timeout_seconds") == (0, "60\n", "")


def restarted(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Return the names of the programs that have a new process id."""
    return {name for name, pid in after.items() if before.get(name) != pid}


def test_the_error_for_a_port_in_use_names_the_process_that_uses_the_port() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        problem = port_problem("127.0.0.1", port)
    assert problem is not None
    assert problem.startswith(f"port {port} is in use by process {os.getpid()} (")
    assert problem.endswith("choose another port with CURHAT_PORT")
