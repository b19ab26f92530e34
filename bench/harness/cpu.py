"""Reads the processor time that the measured programs have used. The time comes from the kernel, in nanoseconds.

Processor time does not grow while other programs use the processors. So it is a better measure than the time of a wall
clock on a machine that is not idle. It is not free of their influence, because they also share the caches.
"""

import os
from pathlib import Path
from typing import Final

import valkey.asyncio

from bench.harness.testbed import Connection

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def seconds_of(pid: int) -> float:
    """Return the processor seconds of the threads of one process."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return nanoseconds / 1e9


async def seconds_of_postgresql(connection: Connection) -> float:
    """Return the processor seconds of PostgreSQL: of all its processes, and of those that have ended."""
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    postmaster = int(_stat(backend)[1])
    ended = sum(map(int, _stat(postmaster)[13:15])) / _TICKS_PER_SECOND
    return ended + sum(_seconds_or_none(pid) for pid in (postmaster, *_children(postmaster)))


async def seconds_of_valkey(client: valkey.asyncio.Valkey) -> float:
    """Return the processor seconds of Valkey."""
    information = await client.info("cpu")
    return float(information["used_cpu_sys"]) + float(information["used_cpu_user"])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the program's name, which can contain spaces."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()


def _children(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(pid) for pid in children.split()]


def _seconds_or_none(pid: int) -> float:
    """Return the processor seconds of a process, or 0 if the process has just ended."""
    try:
        return seconds_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
