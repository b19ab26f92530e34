"""Measures the memory and the processor time per idle socket.

The measurement is the growth of a server process when 2,000 people connect.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from bench.claims import Options
from bench.harness import people
from bench.harness.clients import Client, gather_in_batches
from bench.harness.cpu import seconds_of
from bench.harness.report import Figure, Peer, Target
from bench.harness.sockets import WebSocket
from bench.harness.testbed import Process, Testbed

SOCKETS: Final = 2_000
# Open and close these sockets first, so that the process has already allocated its one-time memory.
WARM_UP_SOCKETS: Final = 300
# In these times, the server sends one ping to each customer and several pings to each mitra.
SETTLE_SECONDS: Final = 2.0
MEASURED_SECONDS: Final = 15.0


class _Held(Protocol):
    def abort(self) -> None:
        """Close the connection."""


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Measure the sockets of customers, then the sockets of additional mitras, then the sockets of the bare peer."""
    async with testbed.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, SOCKETS + WARM_UP_SOCKETS)
            await people.mitras(connection, 0, SOCKETS + WARM_UP_SOCKETS)
        await database.settle()
        async with testbed.server(database) as server:

            def person(role: str, number: int) -> Awaitable[Client]:
                return Client.connect(server.address, role, number, lambda _event: None)

            await _warm_up(lambda number: person("customer", number))
            await _warm_up(lambda number: person("mitra", number))
            customers, busy_with_customers, held = await _kib_per_socket(
                server, lambda number: person("customer", number)
            )
            mitras, busy_with_both, more = await _kib_per_socket(
                server, lambda number: person("mitra", number)
            )
            _close([*held, *more])
    async with testbed.uvicorn("bench.peers.bare_sockets:app") as peer:

        def bare(number: int) -> Awaitable[WebSocket]:
            token = people.token("customer", number)
            return WebSocket.connect(peer.address, "/api/client/realtime", lambda _text: None, token)

        await _warm_up(bare)
        bare_kib, _, rest = await _kib_per_socket(peer, bare)
        _close(rest)
    name = "bare ASGI on the same uvicorn"
    return [
        Figure(
            "idle-sockets",
            f"KiB per customer's socket ({SOCKETS:,} of them)",
            customers,
            "KiB",
            Target("figure", "at most", 25),
            Peer(name, bare_kib),
            "growth of the resident memory of 1 server process, after a ping to each socket",
        ),
        Figure(
            "idle-sockets",
            f"KiB per mitra's socket ({SOCKETS:,} more)",
            mitras,
            "KiB",
            Target("figure", "at most", 25),
            Peer(name, bare_kib),
            "with its lease and its pings every 3 s",
        ),
        Figure(
            "idle-sockets",
            "processor time per 1,000 idle customers",
            busy_with_customers,
            "ms/s",
            Target("figure", "at most", 20),
            note=f"of 1 server process, over {MEASURED_SECONDS:.0f} s",
        ),
        Figure(
            "idle-sockets",
            "processor time per 1,000 idle mitras",
            busy_with_both - busy_with_customers,
            "ms/s",
            Target("figure", "at most", 60),
            note="with the presence of the mitras",
        ),
    ]


async def _warm_up(connect: Callable[[int], Awaitable[_Held]]) -> None:
    opened = await gather_in_batches(
        _await(connect(number)) for number in range(SOCKETS, SOCKETS + WARM_UP_SOCKETS)
    )
    await asyncio.sleep(1)
    _close(opened)
    await asyncio.sleep(4)


async def _kib_per_socket(
    process: Process, connect: Callable[[int], Awaitable[_Held]]
) -> tuple[float, float, Sequence[_Held]]:
    """Open the sockets, and return them after KiB per socket and busy milliseconds per second and 1,000 sockets."""
    before = process.resident_bytes()
    opened = await gather_in_batches(_await(connect(number)) for number in range(SOCKETS))
    await asyncio.sleep(SETTLE_SECONDS)
    begun, used = time.monotonic(), seconds_of(process.pid)
    await asyncio.sleep(MEASURED_SECONDS)
    used, passed = seconds_of(process.pid) - used, time.monotonic() - begun
    kib = (process.resident_bytes() - before) / SOCKETS / 1024
    return kib, used / passed * 1000 / (SOCKETS / 1000), opened


async def _await(step: Awaitable[_Held]) -> _Held:
    return await step


def _close(held: Sequence[_Held]) -> None:
    for socket in held:
        socket.abort()
