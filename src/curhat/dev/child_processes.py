"""Child processes: starts a program, stops it, and ends the processes that an earlier parent left running.

When the parent ends in any way, the kernel sends the stop signal to the child. If the child is still stopping when the
next parent starts, the new parent finds the child by its working folder. The new parent then ends this child before it
starts another child.
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
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

STOP_TIMEOUT_SECONDS: Final = 20
POLL_SECONDS: Final = 0.005
_MAX_LOG_BYTES: Final = 10 * 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


class ProgramError(Exception):
    """A program cannot run here. The message gives the reason, and says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and the group that a program runs as."""

    uid: int
    gid: int


class Program:
    """One program that runs in `folder`. After the program has ended, it can be started again.

    Use a Program only from one asyncio loop in the main thread. The kernel sends the stop signal when the thread that
    started the child ends.
    """

    title: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM  # asks for a clean stop
    kill_signal: ClassVar[signal.Signals] = signal.SIGKILL  # ends the program immediately

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
        """The id of the process that the last call of `start` created."""
        return self._process.pid if self._process is not None else None

    async def wait(self) -> str:
        """Wait for the end of the program. Returns a text such as "signal SIGKILL" or "exit status 1"."""
        if self._process is None:
            return "never started"
        status = await self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    async def stop(self) -> None:
        """Ask the program to stop cleanly, and wait until it has ended.

        Kill the program after STOP_TIMEOUT_SECONDS.
        """
        self._send(self.stop_signal)
        try:
            await asyncio.wait_for(self.wait(), STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """End the program immediately. The next start of the program recovers its data."""
        self._send(self.kill_signal)

    async def end_leftovers(self) -> None:
        """End the processes that an earlier parent left running. Raises ProgramError if a process does not end."""
        for number in (self.stop_signal, self.kill_signal, signal.SIGKILL):
            self._signal_leftovers(number)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while self._leftovers() and time.monotonic() < deadline:
                await asyncio.sleep(POLL_SECONDS)
        if leftovers := self._leftovers():
            raise ProgramError(f"{self.title} still runs as process {leftovers[0]}, and cannot be ended")

    def _signal_leftovers(self, number: signal.Signals) -> None:
        for pid in self._leftovers():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _is_ours(self, entry: Path) -> bool:
        """Return whether this entry of /proc belongs to this program.

        The caller has checked that the process runs in the folder of this program.
        """
        raise NotImplementedError

    def _leftovers(self) -> list[int]:
        folder = self.folder.resolve()
        found = []
        for entry in Path("/proc").iterdir():
            # A process can end while we read its entry. The entries of other users' processes cannot be read.
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == folder and self._is_ours(entry):
                    found.append(int(entry.name))
        return found

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _spawn(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        folder: Path | None = None,
        output: int | None = None,
        death_signal: signal.Signals | None = None,
    ) -> asyncio.subprocess.Process:
        """Start `command`. When this process ends, the kernel sends `death_signal` to the new process.

        Defaults: `folder` is the program's folder, `output` is the log file, and `death_signal` is the stop signal.
        """
        log = open_log(self.log_file)
        account = self._account
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=folder or self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log if output is None else subprocess.STDOUT,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                # Ctrl-C in a terminal reaches the whole process group, but we stop the programs in order. So give each
                # child a separate process session.
                start_new_session=True,
                preexec_fn=partial(_end_child_with, os.getpid(), death_signal or self.stop_signal),
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
        """Return the error that says `what` happened, with the last lines of the program's log."""
        lines = self.log_file.read_text(errors="replace").splitlines()[-15:]
        return ProgramError("\n  ".join((f"{self.title} {what}. The end of {self.log_file}:", *lines)))


def open_log(path: Path) -> int:
    """Open a log for appending (mode 0600). If the log has more than _MAX_LOG_BYTES, rename the log first."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _MAX_LOG_BYTES:
            path.rename(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def end_with_parent(number: signal.Signals) -> None:
    """Make the kernel send the signal `number` to this process when the thread that started this process ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def _end_child_with(parent: int, number: signal.Signals) -> None:
    """Make the kernel send the signal `number` to this child when the child's parent ends.

    The module subprocess calls this function after it has changed the account, because the change clears the setting.
    """
    end_with_parent(number)
    # If the parent has already ended, the kernel sends no signal. So end here.
    if os.getppid() != parent:
        os._exit(1)
