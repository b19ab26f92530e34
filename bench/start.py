"""Measures the time from the start command of a server to the first answer with status 200."""

import time
from typing import Final

from bench.claims import Options
from bench.harness.report import Figure, Peer, Target, median
from bench.harness.testbed import CURHAT, Testbed

ROUNDS: Final = 5
UP_ROUNDS: Final = 3


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Measure `curhat serve` with running databases, `curhat up` with existing data, and a bare server."""
    async with testbed.database() as database:
        serve = [
            await _seconds(testbed, [CURHAT, "serve"], testbed.environment(database), "/healthz")
            for _ in range(ROUNDS)
        ]
    bare = [
        await _seconds(testbed, testbed.uvicorn_command("bench.peers.hello:app"), {}, "/")
        for _ in range(ROUNDS)
    ]
    data_dir = testbed.folder / "up"
    environment = {
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_DATA_DIR": str(data_dir),
        "CURHAT_LOG_FORMAT": "json",
    }
    up = [await _seconds(testbed, [CURHAT, "up"], environment, "/readyz") for _ in range(1 + UP_ROUNDS)]
    return [
        Figure(
            "start",
            "curhat serve, to the first 200 of /healthz",
            median(serve),
            "s",
            Target("figure", "at most", 3),
            Peer("bare hello on the same uvicorn", median(bare)),
            f"median of {ROUNDS}; PostgreSQL and Valkey already run",
        ),
        Figure(
            "start",
            "curhat up with existing data, to the first 200 of /readyz",
            median(up[1:]),
            "s",
            Target("figure", "at most", 3),
            note=f"median of {UP_ROUNDS}; PostgreSQL, Valkey, server and worker; {up[0]:.2f} s the first time, "
            "without data",
        ),
    ]


async def _seconds(testbed: Testbed, command: list[str], environment: dict[str, str], path: str) -> float:
    begun = time.monotonic()
    async with testbed.run(command, environment, listens=True) as process:
        await process.ready(path)
        return time.monotonic() - begun
