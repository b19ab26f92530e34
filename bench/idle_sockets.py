"""Memory of an idle socket: how much a server process grows by with 2,000 signed-in people at their sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from bench.claims import Options
from bench.harness import people
from bench.harness.clients import Client, some_at_a_time
from bench.harness.report import Figure, Peer, Target
from bench.harness.sockets import WebSocket
from bench.harness.stand import Process, Stand

SOCKETS: Final = 2_000
# Opened and left again first: what a process allocates once is not what a socket costs.
WARM_UP: Final = 300
# Every customer has been pinged once, every mitra several times.
SETTLE_SECONDS: Final = 17.0


class _Held(Protocol):
    def abort(self) -> None:
        """Leave."""


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Customers, then mitras as well, then the bare peer."""
    async with stand.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, SOCKETS + WARM_UP)
            await people.mitras(connection, 0, SOCKETS + WARM_UP)
        await database.settle()
        async with stand.server(database) as server:

            def person(role: str, number: int) -> Awaitable[Client]:
                return Client.connect(server.address, role, number, lambda _event: None)

            await _warm_up(lambda number: person("customer", number))
            await _warm_up(lambda number: person("mitra", number))
            customers, held = await _kib_a_socket(server, lambda number: person("customer", number))
            mitras, more = await _kib_a_socket(server, lambda number: person("mitra", number))
            _leave([*held, *more])
    async with stand.uvicorn("bench.peers.bare_sockets:app") as peer:

        def bare(number: int) -> Awaitable[WebSocket]:
            token = people.token("customer", number)
            return WebSocket.connect(peer.address, "/api/client/realtime", lambda _text: None, token)

        await _warm_up(bare)
        alone, rest = await _kib_a_socket(peer, bare)
        _leave(rest)
    name = "bare ASGI on the same uvicorn"
    return [
        Figure(
            "idle-sockets",
            f"KiB a customer's socket ({SOCKETS:,} of them)",
            customers,
            "KiB",
            Target("figure", "at most", 25),
            Peer(name, alone),
            "growth of the resident memory of 1 server process, after everyone was pinged",
        ),
        Figure(
            "idle-sockets",
            f"KiB a mitra's socket ({SOCKETS:,} more)",
            mitras,
            "KiB",
            Target("figure", "at most", 25),
            Peer(name, alone),
            "with its lease and its pings every 3 s",
        ),
    ]


async def _warm_up(connect: Callable[[int], Awaitable[_Held]]) -> None:
    opened = await some_at_a_time(_await(connect(number)) for number in range(SOCKETS, SOCKETS + WARM_UP))
    await asyncio.sleep(1)
    _leave(opened)
    await asyncio.sleep(4)


async def _kib_a_socket(
    process: Process, connect: Callable[[int], Awaitable[_Held]]
) -> tuple[float, Sequence[_Held]]:
    before = process.resident_bytes()
    opened = await some_at_a_time(_await(connect(number)) for number in range(SOCKETS))
    await asyncio.sleep(SETTLE_SECONDS)
    return (process.resident_bytes() - before) / SOCKETS / 1024, opened


async def _await(step: Awaitable[_Held]) -> _Held:
    return await step


def _leave(held: Sequence[_Held]) -> None:
    for socket in held:
        socket.abort()
