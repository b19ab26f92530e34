"""Measures whether the availability poll is as fast as a bare "hello" answer, with few and with many mitras (1.2).

No poll queries PostgreSQL.
"""

import asyncio
import time

from bench.claims import Options
from bench.harness import load, people
from bench.harness.report import Figure, Peer, Target, median, ratios
from bench.harness.sockets import Address, Http
from bench.harness.testbed import Database, Testbed

PATH = "/api/client/mitra-availability"
CONNECTIONS = 64
# There are many short rounds, so another program that runs for some seconds does not change the median of the rounds.
ROUNDS = 15
ROUND_SECONDS = 1
FEW_MITRAS, MANY_MITRAS = 10, 100_000
COUNTED_POLLS = 1_000
# An idle connection adds its counters to PostgreSQL's statistics within 10 s.
WINDOW_SECONDS = 12.0


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Alternate the variants round by round, so that other programs disturb all variants equally."""
    few: list[float] = []
    many: list[float] = []
    hello: list[float] = []
    async with testbed.database() as database, testbed.server(database) as server:
        async with testbed.uvicorn("bench.peers.hello:app") as peer:
            for measured in range(-1, ROUNDS):
                await _set_mitras(testbed, FEW_MITRAS)
                few.append(await _polls_per_second(server.address, PATH))
                await _set_mitras(testbed, MANY_MITRAS)
                many.append(await _polls_per_second(server.address, PATH))
                hello.append(await _polls_per_second(peer.address, "/"))
                if measured < 0:  # the first round is the warm-up
                    for rounds in (few, many, hello):
                        rounds.clear()
        idle, polled = await _transactions(database, server.address)
    of_hello, of_many = ratios(few, hello), ratios(few, many)
    shared = (
        f"median of {ROUNDS} rounds in turn (their ratios: {of_hello[0]:.2f} to {of_hello[-1]:.2f}); 1 server "
        f"process and {load.generator()} with 1 thread, {CONNECTIONS} connections"
    )
    return [
        Figure(
            "availability",
            f"polls per second, {FEW_MITRAS} mitras",
            median(few),
            "/s",
            Target("ratio", "at least", 0.9),
            Peer("bare hello on the same uvicorn", median(hello)),
            shared,
            median(of_hello),
        ),
        Figure(
            "availability",
            f"polls per second, {FEW_MITRAS} mitras compared with {MANY_MITRAS:,}",
            median(few),
            "/s",
            Target("ratio", "at most", 1.1),
            Peer(f"the same with {MANY_MITRAS:,} mitras", median(many)),
            ratio_of_rounds=median(of_many),
        ),
        Figure(
            "availability",
            f"PostgreSQL transactions during {COUNTED_POLLS:,} polls, minus those of an idle server",
            max(0.0, polled - idle),
            "",
            # In one of the two periods, each loop of the server can run once more than in the other period.
            Target("figure", "at most", 5),
            note=f"{polled} in {WINDOW_SECONDS:.0f} s with polls, {idle} in {WINDOW_SECONDS:.0f} s without polls",
        ),
    ]


async def _polls_per_second(address: Address, path: str) -> float:
    answered = await load.repeat(address, path, connections=CONNECTIONS, seconds=ROUND_SECONDS)
    return answered.only(200).per_second


async def _set_mitras(testbed: Testbed, count: int) -> None:
    """Make `count` mitras reachable for the next hour.

    Write these mitras only to Valkey, because the poll reads only Valkey.
    """
    until = (time.time() + 3600) * 1000
    async with testbed.valkey() as client:
        await client.delete("curhat:available")
        for start in range(0, count, 10_000):
            members = range(start, min(count, start + 10_000))
            await client.zadd(
                "curhat:available",
                {str(people.identifier(people.MITRA, number)): until for number in members},
            )


async def _transactions(database: Database, address: Address) -> tuple[int, int]:
    """Count the transactions in two periods: one without polls, and one that begins with COUNTED_POLLS polls."""
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
