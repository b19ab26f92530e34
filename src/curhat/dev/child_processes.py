"""Child processes: starts a program, stops it, and ends its leftover processes.

When the parent ends in any way, the kernel sends the stop signal to the child. If the child is still stopping when
the next parent starts, that parent finds the child by its working folder, and ends it first.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

STOP_TIMEOUT_SECONDS: Final = 20
POLL_SECONDS: Final = 0.005
_MAX_LOG_BYTES: Final = 10 * 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


class ProgramError(Exception):
    """A program cannot run here. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a program runs as."""

    uid: int
    gid: int


class Program:
    """One program that runs in `folder`. After its end it can be started again.

    Use it from one asyncio loop in the main thread. The kernel sends the stop signal when the thread that started the
    child ends.
    """

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM  # asks for a clean stop
    kill_signal: ClassVar[signal.Signals] = signal.SIGKILL  # ends the program at once

    def __init__(self, folder: Path, log_file: Path, account: Account | None = None) -> None:
        self.folder = folder
        self.log_file = log_file
        self._account = account
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """End the processes that an earlier start left running, then start the program. Raises ProgramError."""
        raise NotImplementedError

    @property
    def is_running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id of the last start."""
        return self._process.pid if self._process is not None else None

    async def wait(self) -> str:
        """Wait for the end of the program; returns how it ended, such as "signal SIGKILL" or "exit status 1"."""
        if self._process is None:
            return "never started"
        status = await self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    async def stop(self) -> None:
        """Ask for a clean stop and wait for it. Kill the program after STOP_TIMEOUT_SECONDS."""
        self._send(self.stop_signal)
        try:
            await asyncio.wait_for(self.wait(), STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """End the program at once. Its next start recovers."""
        self._send(self.kill_signal)

    async def end_leftovers(self) -> None:
        """End the processes that an earlier parent left running. Raises ProgramError when one cannot be ended."""
        for end in (
            self._ask_to_end,
            lambda processes: signal_all(processes, self.kill_signal),
            lambda processes: signal_all(processes, signal.SIGKILL),
        ):
            end(self._leftovers())
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while self._leftovers() and time.monotonic() < deadline:
                await asyncio.sleep(POLL_SECONDS)
        if leftovers := self._leftovers():
            raise ProgramError(f"{self.title} still runs as process {leftovers[0]}, and cannot be ended")

    def _ask_to_end(self, processes: list[int]) -> None:
        signal_all(processes, self.stop_signal)

    def _is_ours(self, entry: Path) -> bool:
        """Whether this entry of /proc, a process that runs in our folder, is this program."""
        raise NotImplementedError

    def _leftovers(self) -> list[int]:
        folder = self.folder.resolve()
        found = []
        for entry in Path("/proc").iterdir():
            # A process may end while we read its entry, and those of other users cannot be read.
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == folder and self._is_ours(entry):
                    found.append(int(entry.name))
        return found

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _spawn(
        self, command: Sequence[str], environ: Mapping[str, str], *, output: int | None = None
    ) -> asyncio.subprocess.Process:
        """Start `command` in the folder. Its output goes to the log file, or to `output`."""
        log = open_log(self.log_file)
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log if output is None else subprocess.STDOUT,
                # Ctrl-C in a terminal reaches the whole process group. A separate session keeps it from the child,
                # because we stop the programs in order.
                start_new_session=True,
                preexec_fn=_before_exec(self.stop_signal, self._account),
            )
        finally:
            os.close(log)

    async def _until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running:
                raise self.failure(f"ended with {await self.wait()}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    def failure(self, what: str) -> ProgramError:
        """Return the error to raise when the program failed: `what` happened, and the last lines of its log."""
        try:
            end = self.log_file.read_text(errors="replace").splitlines()[-15:]
        except OSError as error:
            end = [f"the log cannot be read: {error.strerror}"]
        return ProgramError(
            f"{self.title} {what}. The end of {self.log_file}:\n" + "\n".join(f"  {line}" for line in end)
        )


def signal_all(processes: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def open_log(path: Path) -> int:
    """Open a log for appending (mode 0600). A log of more than _MAX_LOG_BYTES is renamed first."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _MAX_LOG_BYTES:
            path.rename(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send the signal `number` to this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def _before_exec(at_parents_death: signal.Signals, account: Account | None) -> Callable[[], None]:
    """Return the function that the child runs between fork and exec."""
    parent = os.getpid()

    def before_exec() -> None:
        if account is not None:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        # Request this after setuid, because setuid clears the request.
        end_with_parent(at_parents_death)
        # The parent may have ended before the request.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
