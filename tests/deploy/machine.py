"""A folder that stands for a server: PostgreSQL's programs, and the account that runs them."""

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from curhat.dev.embedded import EmbeddedServers
from tests.deploy import last_runs
from tests.support.databases import parent_of_data_folders

DEPLOY = Path(__file__).parents[2] / "deploy"


class Machine:
    """A folder, and the programs that run in it as the account of PostgreSQL. PostgreSQL refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o711)
        self.account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        (folder / "embedded").mkdir()
        # Nothing is started. It finds PostgreSQL's programs, at a place where the account can run them.
        self.programs = Path(EmbeddedServers(folder / "embedded").postgres.program("psql")).parent
        self.environ = {
            # The scripts, the programs that this run found, and those of the system.
            "PATH": f"{DEPLOY / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "POSTGRESQL_PROGRAMS": str(self.programs),
        }

    def make_folder(self, name: str) -> Path:
        """Make a folder that belongs to the account."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    async def start(self, *command: str | Path, output: int = subprocess.PIPE) -> asyncio.subprocess.Process:
        """Start a program as the account."""
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=self.environ,
            user=None if self.account is None else self.account.pw_uid,
            group=None if self.account is None else self.account.pw_gid,
            extra_groups=None if self.account is None else [],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
        )

    async def try_to_run(self, *command: str | Path) -> tuple[int, str]:
        """Run a program as the account until it ends. Return its exit status and what it printed."""
        process = await self.start(*command)
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def run(self, *command: str | Path) -> str:
        """Run a program as the account until it ends. Return what it printed. Fails if the program fails."""
        status, output = await self.try_to_run(*command)
        assert status == 0, output
        return output


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A machine in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="curhat-machine-", dir=parent_of_data_folders()) as folder:
        made = Machine(Path(folder))
        try:
            yield made
        finally:
            # The folder of the sockets is elsewhere.
            shutil.rmtree((made.folder / "embedded" / "sockets").readlink(), ignore_errors=True)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Replace texts, each of which must be there once."""
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextlib.asynccontextmanager
async def postgresql(place: Machine, port: int, *changes: tuple[str, str]) -> AsyncIterator[str]:
    """Run PostgreSQL with deploy/postgresql/curhat.conf and these changes of it, until the end of the block.

    Yields the URL of the administrator, who needs no password at the socket. Everybody else needs one.
    """
    data, sockets = place.make_folder("main"), place.make_folder("sockets")
    await place.run(
        *(place.programs / "initdb", f"--pgdata={data}", "--username=postgres", "--encoding=UTF8"),
        *("--auth-local=trust", "--auth-host=scram-sha-256"),
    )
    text = replaced(
        (DEPLOY / "postgresql" / "curhat.conf").read_text(),
        ("listen_addresses = 'localhost'", f"listen_addresses = '127.0.0.1'\nport = {port}"),
        ("shared_buffers = '2GB'", f"shared_buffers = '128MB'\nunix_socket_directories = '{sockets}'"),
        *changes,
    )
    (data / "postgresql.conf").write_text(text)
    control = (place.programs / "pg_ctl", f"--pgdata={data}", "--wait", f"--log={sockets}/log")
    await place.run(*control, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={sockets}&port={port}"
    finally:
        await place.run(*control, "--mode=immediate", "stop")


def version_of(program: str, argument: str) -> tuple[int, ...]:
    """Return the version that an installed program prints, or () if it is not installed."""
    if shutil.which(program) is None:
        return ()
    printed = subprocess.run([program, argument], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", printed.splitlines()[0]))


def needs(name: str, version: tuple[int, ...], minimum: tuple[int, ...], why: str) -> pytest.MarkDecorator:
    """Skip the tests of a file if a program is missing or too old. In a run of its make target, that is an error."""
    reason = f"needs {name} {dotted(minimum)} or newer, {why}; there is {dotted(version)}"
    if version < minimum and last_runs.is_recording():
        raise pytest.UsageError(reason)
    return pytest.mark.skipif(version < minimum, reason=reason)


def dotted(version: tuple[int, ...]) -> str:
    """Write a version for people."""
    return ".".join(map(str, version)) or "none"
