"""The availability poll (1.2): as cheap as a server's "hello", however many mitras, and no work for PostgreSQL."""

import asyncio
import time

from bench.claims import Options
from bench.harness import load, people
from bench.harness.report import Figure, Peer, Target, median, ratios
from bench.harness.sockets import Address, Http
from bench.harness.stand import Database, Stand

PATH = "/api/client/mitra-availability"
CONNECTIONS = 64
# Many short rounds: what else the machine does for some seconds spoils a few of them, and not their median.
ROUNDS = 15
ROUND_SECONDS = 1
FEW, MANY = 10, 100_000
COUNTED_POLLS = 1_000
# A connection that is idle reports its counters to PostgreSQL's statistics within 10 s.
WINDOW_SECONDS = 12.0


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Rounds of each variant in turn, so that whatever else the machine does falls on all of them alike."""
    few: list[float] = []
    many: list[float] = []
    hello: list[float] = []
    async with stand.database() as database, stand.server(database) as server:
        async with stand.uvicorn("bench.peers.hello:app") as peer:
            for measured in range(-1, ROUNDS):
                await _have_mitras(stand, FEW)
                few.append(await _polls_per_second(server.address, PATH))
                await _have_mitras(stand, MANY)
                many.append(await _polls_per_second(server.address, PATH))
                hello.append(await _polls_per_second(peer.address, "/"))
                if measured < 0:  # the first of each is the warm-up
                    for rounds in (few, many, hello):
                        rounds.clear()
        idle, polled = await _transactions(database, server.address)
    of_hello, of_many = ratios(few, hello), ratios(few, many)
    shared = (
        f"median of {ROUNDS} rounds in turn (of their ratios: {of_hello[0]:.2f} to {of_hello[-1]:.2f}); 1 server "
        f"process and {load.generator()} with 1 thread, {CONNECTIONS} connections"
    )
    return [
        Figure(
            "availability",
            f"polls a second, {FEW} mitras",
            median(few),
            "/s",
            Target("ratio", "at least", 0.9),
            Peer("bare hello on the same uvicorn", median(hello)),
            shared,
            median(of_hello),
        ),
        Figure(
            "availability",
            f"polls a second, {FEW} mitras as against {MANY:,}",
            median(few),
            "/s",
            Target("ratio", "at most", 1.1),
            Peer(f"the same with {MANY:,} mitras", median(many)),
            ratio_of_rounds=median(of_many),
        ),
        Figure(
            "availability",
            f"transactions of PostgreSQL during {COUNTED_POLLS:,} polls, above idle",
            max(0.0, polled - idle),
            "",
            # The server's own loops may fall once more into one window than into the other.
            Target("figure", "at most", 5),
            note=f"{polled} in {WINDOW_SECONDS:.0f} s with the polls, {idle} in as long without",
        ),
    ]


async def _polls_per_second(address: Address, path: str) -> float:
    answered = await load.repeat(address, path, connections=CONNECTIONS, seconds=ROUND_SECONDS)
    return answered.only(200).per_second


async def _have_mitras(stand: Stand, count: int) -> None:
    """Exactly so many mitras are reachable for the next hour. Valkey is what the poll asks; nobody else knows them."""
    until = (time.time() + 3600) * 1000
    async with stand.valkey() as client:
        await client.delete("curhat:available")
        for start in range(0, count, 10_000):
            members = range(start, min(count, start + 10_000))
            await client.zadd(
                "curhat:available",
                {str(people.identifier(people.MITRA, number)): until for number in members},
            )


async def _transactions(database: Database, address: Address) -> tuple[int, int]:
    """Transactions while nothing is asked, and in as long a time with the polls at its beginning."""
    http = Http(address, 8)
    async with database.connect() as connection:

        async def count(polls: int) -> int:
            before = await connection.fetchval(_COUNT)
            end = time.monotonic() + WINDOW_SECONDS
            for _ in range(polls):
                status, body = await http.request("GET", PATH)
                if status != 200 or b'"available":true' not in body:
                    raise RuntimeError(f"a poll was answered {status} {body.decode()}")
            await asyncio.sleep(end - time.monotonic())
            after = await connection.fetchval(_COUNT)
            return int(after - before)

        idle = await count(0)
        polled = await count(COUNTED_POLLS)
    http.close()
    return idle, polled


_COUNT = """
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""
