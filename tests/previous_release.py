"""Runs the code of the previous release on the schema of this code: `make check-previous-release`.

During a deploy, the processes of the previous release go on with the new schema. This check is such a deploy:

1. The previous release migrates and seeds a new database, and starts a server and a worker.
2. This code applies its migrations that come before the restart (`curhat migrate --before`).
3. The simulated people of the previous release make their journeys, over HTTP and WebSocket. Its invariants and ours
   hold afterwards.

The previous release is the newest tag `v…` that HEAD contains, except a tag of HEAD itself. As long as there is no
release, it is the commit in tests/previous_release.txt. PREVIOUS_RELEASE=v0.1.0 names another release. If the clone is
shallow, the check fetches that commit. If the code of the release cannot be had, the check says that it did not run.
Its exit status is then 2, or 0 with --if-available.
The code runs with the packages of this environment, not with those of its own lock file.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from curhat.app.invariants import check
from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.migrations import migrate, missing
from tests.support.databases import parent_of_data_folders
from tests.support.signed_in import environment_of, free_port

ROOT: Final = Path(__file__).resolve().parents[1]
RECORDED: Final = ROOT / "tests" / "previous_release.txt"
START_TIMEOUT_SECONDS: Final = 60
# A clone without a network must not wait for its origin.
GIT_TIMEOUT_SECONDS: Final = 60
CUSTOMERS: Final = 10
MITRAS: Final = 6
DURATION_SECONDS: Final = 15
# One seed, so that a failure can be repeated. The race between the people remains.
SEED: Final = 7


class NoPreviousRelease(Exception):
    """The code of the previous release is not here. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the check found."""

    release: str
    new_migrations: Sequence[str]
    problems: Sequence[str]
    seconds: float
    report: str


def previous_release() -> str:
    """Return the tag or commit of the previous release, whose code is in this clone. Raises NoPreviousRelease."""
    release = (
        os.environ.get("PREVIOUS_RELEASE") or _newest_tag() or RECORDED.read_text(encoding="utf-8").strip()
    )
    if not _has(release):
        # A shallow clone, such as that of a continuous integration, lacks old commits.
        _git("fetch", "--quiet", "--depth=1", "origin", release, check=False)
    if not _has(release):
        raise NoPreviousRelease(
            f"this clone does not contain {release}; clone the whole history (git fetch --unshallow), "
            "or name another release: PREVIOUS_RELEASE=v0.1.0"
        )
    return release


def _newest_tag() -> str:
    own = _git("tag", "--points-at", "HEAD").split()
    tags = _git("tag", "--merged", "HEAD", "--list", "v*", "--sort=-version:refname").split()
    return next((tag for tag in tags if tag not in own), "")


def _has(release: str) -> bool:
    return bool(_git("rev-parse", "--verify", "--quiet", f"{release}^{{commit}}", check=False))


def _git(*arguments: str, check: bool = True) -> str:
    """Run git, and return what it printed. Raises NoPreviousRelease without git, or outside of a repository."""
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        ended = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            check=check,
            env=environ,
            timeout=GIT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPreviousRelease(f"git does not work here: {error}") from error
    return ended.stdout.strip()


def unpack(release: str, folder: Path) -> None:
    """Write the code and the migrations of this release into `folder`."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", release, "src", "migrations", "pyproject.toml"],
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


class Release:
    """The commands of an unpacked release."""

    def __init__(self, code: Path, environ: Mapping[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURHAT_")}
        self._environ = {**inherited, **environ, "PYTHONPATH": str(code / "src")}
        self._code = code

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end. Returns its exit status and its output."""
        process = await self._spawn("-m", "curhat.app.cli", *arguments)
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def prove_whose_code_runs(self) -> None:
        """Check that these commands run the code of the release, and not the code of this checkout."""
        process = await self._spawn("-c", "import curhat; print(curhat.__file__)")
        output, _ = await process.communicate()
        if not output.decode().startswith(str(self._code)):
            raise RuntimeError(f"the commands run another code: {output.decode()}")

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[None]:
        """Run a command during the block. It must still run at the end of the block."""
        process = await self._spawn("-m", "curhat.app.cli", *arguments)
        reading = asyncio.create_task(process.communicate())
        try:
            yield
            if process.returncode is not None:
                raise RuntimeError(f"{arguments[0]} ended: {(await reading)[0].decode()[-2000:]}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await reading

    async def _spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self._code,
            env=self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


async def check_previous_release(release: str) -> Outcome:
    """Run the journeys of `release` on the schema of this code. Raises RuntimeError if a process does not start."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="curhat-previous-", dir=parent_of_data_folders()) as name:
        folder = Path(name)
        code = folder / "code"
        code.mkdir()
        unpack(release, code)
        async with embedded_servers(folder / "data") as servers:
            return await _deploy(release, code, servers, began)


async def _deploy(release: str, code: Path, servers: EmbeddedServers, began: float) -> Outcome:
    port = free_port()
    environ = environment_of(servers.database_url, servers.valkey_url, CURHAT_PORT=str(port))
    previous = Release(code, environ)
    await previous.prove_whose_code_runs()
    for command in ("migrate", "seed"):
        status, output = await previous.run(command)
        if status != 0:
            raise RuntimeError(f"curhat {command} of {release}: {output}")
    problems = []
    async with previous.running("serve"), previous.running("worker"):
        await _until_ready(port)
        connection = await asyncpg.connect(servers.database_url)
        try:
            new_migrations = await missing(connection)
            await migrate(connection, phase="before")
            status, report = await previous.run(
                "simulate",
                f"--customers={CUSTOMERS}",
                f"--mitras={MITRAS}",
                f"--duration-seconds={DURATION_SECONDS}",
                f"--seed={SEED}",
                f"--url=http://127.0.0.1:{port}",
            )
            if status != 0:
                problems.append(f"its journeys ended with exit status {status}")
            elif not await connection.fetchval("SELECT EXISTS (SELECT FROM sessions WHERE NOT is_trial)"):
                problems.append("nobody paid for a chat and got it")
            else:
                problems += map(str, await check(connection))
        finally:
            await connection.close()
    return Outcome(release, new_migrations, problems, time.monotonic() - began, report)


async def _until_ready(port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                answer = await reader.readline()
                writer.close()
                if b" 200 " in answer:
                    return
            await asyncio.sleep(0.1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check and print what it found. With --if-available, a missing release is only a warning."""
    parser = argparse.ArgumentParser(prog="python -m tests.previous_release")
    parser.add_argument("--if-available", action="store_true", help="only warn if the release cannot be had")
    arguments = parser.parse_args(argv)
    try:
        release = previous_release()
    except NoPreviousRelease as error:
        level = "warning" if arguments.if_available else "error"
        print(f"{level}: the check did not run: {error}", file=sys.stderr)
        return 0 if arguments.if_available else 2
    outcome = asyncio.run(check_previous_release(release))
    print(outcome.report)
    print(f"release {outcome.release} on {len(outcome.new_migrations)} newer migrations: ", end="")
    print(", ".join(outcome.new_migrations) or "none")
    for problem in outcome.problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(outcome.problems)} problems, {outcome.seconds:.0f} s")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
