"""Generates HTTP load with wrk, which is a program in C.

If wrk is not installed, a slower program in Python generates the load. The report names the program that generated the
load.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.sockets import Address, Http

_HERE: Final = Path(__file__).parent
# The maximum duration of a run, even against a slow service.
MAX_RUN_SECONDS: Final = 10
# If the server no longer answers, wrk ends the run after this time.
_NO_ANSWER_TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    path: str
    token: str = ""
    method: str = "GET"
    key: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of a run: the number of answers per status, and the duration of the run."""

    seconds: float
    statuses: dict[int, int]

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return sum(self.statuses.values()) / self.seconds

    def only(self, *allowed: int) -> "Answered":
        """Return this run if every answer had an allowed status.

        Raise RuntimeError if any answer had another status, because a figure must not include errors.
        """
        if set(self.statuses) - set(allowed):
            raise RuntimeError(f"the answers are {self.statuses}; only {allowed} are right")
        return self


def generator() -> str:
    """Return the name of the generator."""
    return "wrk" if shutil.which("wrk") else "a generator in Python (wrk is not installed)"


async def repeat(address: Address, path: str, *, connections: int, seconds: int) -> Answered:
    """Repeat the same GET for `seconds`."""
    if shutil.which("wrk"):
        return await _wrk(address, path, connections, seconds, "repeat.lua", [])
    http = Http(address, connections)
    end = time.monotonic() + seconds
    statuses: Counter[int] = Counter()

    async def send_one_by_one() -> None:
        while time.monotonic() < end:
            statuses[(await http.request("GET", path))[0]] += 1

    begun = time.monotonic()
    await asyncio.gather(*(send_one_by_one() for _ in range(connections)))
    http.close()
    return Answered(time.monotonic() - begun, dict(statuses))


async def each_once(address: Address, requests: Sequence[Request], *, connections: int) -> Answered:
    """Send each request once in the given order over `connections` connections. The run takes at most MAX_RUN_SECONDS.

    The last `connections` requests are not counted. The uncounted requests keep all connections busy until the last
    counted answer.
    """
    if not shutil.which("wrk"):
        return await warm_up(address, requests, connections=connections)
    with tempfile.NamedTemporaryFile("w", suffix=".requests", encoding="utf-8") as file:
        for item in requests:
            file.write(f"{item.method}\t{item.path}\t{item.token}\t{item.key}\t{item.body}\n")
        file.flush()
        arguments = [file.name, str(len(requests) - connections), str(MAX_RUN_SECONDS)]
        return await _wrk(address, "/", connections, _NO_ANSWER_TIMEOUT_SECONDS, "requests.lua", arguments)


async def warm_up(address: Address, requests: Sequence[Request], *, connections: int) -> Answered:
    """Send each request once, from Python, and wait for all answers."""
    http = Http(address, connections)
    statuses: Counter[int] = Counter()
    waiting = iter(requests)

    async def send_one_by_one() -> None:
        for item in waiting:
            status, _ = await http.request(
                item.method, item.path, item.token or None, item.body.encode(), item.key or None
            )
            statuses[status] += 1

    begun = time.monotonic()
    await asyncio.gather(*(send_one_by_one() for _ in range(connections)))
    http.close()
    return Answered(time.monotonic() - begun, dict(statuses))


async def _wrk(
    address: Address, path: str, connections: int, seconds: int, script: str, arguments: Sequence[str]
) -> Answered:
    process = await asyncio.create_subprocess_exec(
        "wrk",
        *("-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s"),
        *("-s", str(_HERE / script), f"http://{address.host}:{address.port}{path}"),
        *("--", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    lines = [text for text in output.decode().splitlines() if text.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk gave no result: {output.decode()}")
    result = json.loads(lines[-1])
    statuses = {int(code): count for code, count in result["statuses"].items() if count}
    return Answered(result["seconds"], statuses)
