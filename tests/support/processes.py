"""Servers and workers as real processes that can be killed with `kill -9`, from outside or at a named point.

As a command, `python -m tests.support.processes serve|worker [--kill-at POINT]` is `curhat serve|worker`, except that
it kills itself at a pause point of the product:

    accept.before_commit                        the first time it is reached
    deadline.before_commit:40                   the 40th time; the 39 before it go on
    idempotency.stored*9                        when nine have arrived there; the eight before it wait for the end
    accept.before_commit>transaction.committed  the second point, counting those only who came through the first
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar, Final, Self

import httpx

from curhat.app.child_processes import POLL_SECONDS, Program
from curhat.app.cli.main import main as curhat
from curhat.kit.pause_points import set_pause_point
from tests.support.signed_in import free_port

# Long, for a machine that does other things as well.
START_SECONDS: Final = 120

_POINT: Final = re.compile(
    r"(?:(?P<first>[\w.]+)>)?(?P<point>[\w.]+)(?:(?P<how>[:*])(?P<number>[1-9][0-9]*))?"
)
_came_through: ContextVar[bool] = ContextVar("came_through", default=False)


# Inside the process ------------------------------------------------------------------------------------------


def kill_at(text: str) -> None:
    """Have this process kill itself at the point that `text` names. Raises ValueError."""
    found = _POINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} names no point to be killed at")
    first, number, others_wait = found["first"], int(found["number"] or 1), found["how"] == "*"
    arrived = 0

    async def come_through() -> None:
        _came_through.set(True)

    async def arrive() -> None:
        nonlocal arrived
        if first is not None and not _came_through.get():
            return
        arrived += 1
        if arrived == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if others_wait or arrived == number:
            await asyncio.Event().wait()

    if first is not None:
        set_pause_point(first, come_through)
    set_pause_point(found["point"], arrive)


def main() -> int:
    """The command described above."""
    parser = argparse.ArgumentParser(prog="tests.support.processes")
    parser.add_argument("command", choices=("serve", "worker"))
    parser.add_argument("--kill-at", metavar="POINT", type=kill_at)
    return curhat([parser.parse_args().command])


# Outside -----------------------------------------------------------------------------------------------------


class Killable(Program):
    """A process of the product, with the settings of `environment`. May be started again after its end."""

    command: ClassVar[str]

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        super().__init__(folder, folder / f"{name}.log")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CURHAT_")}
        # It finds the same modules as the tests do.
        self._environ = {**inherited, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._log_begins_at = 0

    async def start(self, kill_at: str | None = None) -> Self:  # type: ignore[override]
        """Start it, to be killed at this point if one is given, and wait until it works."""
        killed = () if kill_at is None else ("--kill-at", kill_at)
        self._log_begins_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = await self._spawn(
            [sys.executable, "-m", "tests.support.processes", self.command, *killed], self._environ
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._works():
                    if not self.is_running:
                        raise self.failure(f"ended with {await self.wait()}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise self.failure("did not work in time") from None
        return self

    async def _works(self) -> bool:
        raise NotImplementedError

    def log(self) -> str:
        """What it wrote since its last start."""
        return self.log_file.read_bytes()[self._log_begins_at :].decode()

    async def killed(self) -> None:
        """Wait until the `kill -9` that was asked for has come. Fails when it ended in another way."""
        async with asyncio.timeout(60):
            end = await self.wait()
        if end != "signal SIGKILL":
            raise self.failure(f"ended with {end}, and not where it was to be killed")

    async def kill_now(self) -> None:
        """`kill -9`, from outside."""
        self.kill()
        await self.killed()

    async def close(self) -> None:
        """End it if it still runs, and what belongs to it: at once, as everything here."""
        self.kill()
        await self.wait()


class ServerProcess(Killable):
    """`curhat serve` on a port of its own, the same at every start. `http` talks to it."""

    title = "Server"
    command = "serve"

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        port = free_port()
        super().__init__(folder, name, {**environment, "CURHAT_PORT": str(port)})
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60)

    async def is_ready(self) -> bool:
        """Whether it says itself that it can work."""
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def _works(self) -> bool:
        return await self.is_ready()

    async def close(self) -> None:
        """See Killable."""
        await self.http.aclose()
        await super().close()


class WorkerProcess(Killable):
    """`curhat worker`."""

    title = "Worker"
    command = "worker"

    async def _works(self) -> bool:
        return "worker.started" in self.log()


if __name__ == "__main__":
    sys.exit(main())
