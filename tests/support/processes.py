"""Runs servers and workers as real processes.

A test can kill these processes with `kill -9` at any time or at a pause point.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Self

import httpx

from curhat.dev.child_processes import Program
from tests.support.cheap_starts import certificates
from tests.support.signed_in import free_port

# The timeout is long, because the machine can be busy.
START_TIMEOUT_SECONDS: Final = 120
# The pause between two checks of the process. Checks without a pause would slow the start of the process.
CHECK_INTERVAL_SECONDS: Final = 0.03


class KillableProcess(Program):
    """A process of the product, with the settings of `environment`.

    A test can start the process again after its end.
    """

    command: ClassVar[str]

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        super().__init__(folder, folder / f"{name}.log")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CURHAT_")}
        # The process imports the same modules as the tests.
        self._environ = {**inherited, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._log_begins_at = 0

    async def start(self, kill_at: str | None = None, stop_at: str | None = None) -> Self:  # type: ignore[override]
        """Start the process, and wait until it works.

        With `kill_at`, the process will kill itself at this point. With `stop_at`, the process will stop itself at this
        point.
        """
        killed = [] if kill_at is None else ["--kill-at", kill_at]
        killed += [] if stop_at is None else ["--stop-at", stop_at]
        self._log_begins_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = await self._spawn(
            [sys.executable, "-m", "tests.support.killed", self.command, *killed], self._environ
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                while not await self._works():
                    if not self.is_running:
                        raise self.failure(f"ended with {await self.wait()}")
                    await asyncio.sleep(CHECK_INTERVAL_SECONDS)
        except TimeoutError:
            raise self.failure("did not work in time") from None
        return self

    async def _works(self) -> bool:
        raise NotImplementedError

    def log(self) -> str:
        """Return the log since the last start."""
        return self.log_file.read_bytes()[self._log_begins_at :].decode()

    async def killed(self) -> None:
        """Wait until the process has killed itself. Raises an error if the process ended in another way."""
        async with asyncio.timeout(60):
            end = await self.wait()
        if end != "signal SIGKILL":
            raise self.failure(f"ended with {end}, but not at its pause point")

    async def stopped(self) -> None:
        """Wait until the process is stopped (SIGSTOP)."""
        async with asyncio.timeout(60):
            while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != "T":
                await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def stop_now(self) -> None:
        """Stop the process from outside."""
        self._send(signal.SIGSTOP)
        await self.stopped()

    def resume(self) -> None:
        """Let a stopped process continue."""
        self._send(signal.SIGCONT)

    async def kill_now(self) -> None:
        """Kill the process with `kill -9` from outside."""
        self.kill()
        await self.killed()

    async def close(self) -> None:
        """Kill a process that still runs, and release its resources."""
        self.kill()
        await self.wait()


class ServerProcess(KillableProcess):
    """Runs `curhat serve` on a free port.

    The port stays the same at every start. The attribute `http` is a client of the server.
    """

    title = "Server"
    command = "serve"

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        port = free_port()
        super().__init__(folder, name, {**environment, "CURHAT_PORT": str(port)})
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=certificates())

    async def is_ready(self) -> bool:
        """Return whether /readyz says that the server is ready."""
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def has_good_status(self) -> bool:
        """Return whether /status says that PostgreSQL and Valkey accept writes."""
        try:
            checks = (await self.http.get("/status")).json()["checks"]
        except httpx.TransportError:
            return False
        return bool(checks["postgresql"]["ok"] and checks["valkey"]["ok"])

    async def _works(self) -> bool:
        return await self.is_ready()

    async def close(self) -> None:
        """See KillableProcess."""
        await self.http.aclose()
        await super().close()


class WorkerProcess(KillableProcess):
    """`curhat worker`."""

    title = "Worker"
    command = "worker"

    async def _works(self) -> bool:
        return "worker.started" in self.log()
