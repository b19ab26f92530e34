"""Measures how fast the cards of a blast reach 1,000 mitras (2b.2, 2b.10).

A blast asks 500 mitras at the confirmation, and the next 500 three seconds later. The time of a card counts from the
confirmation's commit or from the moment at which the second wave is due.

Also measures how long PostgreSQL takes to ask a wave of 500 among 5,000 available mitras (2b.10).
"""

import asyncio
import json
import time
from datetime import datetime
from typing import Final

from bench.claims import Options
from bench.harness import people
from bench.harness.clients import Client, gather_in_batches
from bench.harness.report import Figure, Target, median
from bench.harness.sockets import Http
from bench.harness.testbed import Connection, Testbed
from curhat.kit.database import Database
from curhat.pairing import queries
from curhat.pairing.service import MAX_WAVE_MITRAS, WAVE_INTERVAL_SECONDS

MITRAS: Final = 1_000
BLASTS: Final = 7
MANY_MITRAS: Final = 5_000
WAVES: Final = 40
WARM_UP_WAVES: Final = 5
_CARDS_TIMEOUT_SECONDS: Final = 20.0


class Cards:
    """Counts the cards that arrive at the sockets."""

    def __init__(self) -> None:
        self.offered: list[float] = []
        self.closed = 0
        self.changed = asyncio.Event()

    def reset(self) -> None:
        """Set both counts to zero."""
        self.offered, self.closed = [], 0

    def arrived(self, event: bytes) -> None:
        """Count an event at one mitra's socket."""
        if b'"request.offered"' in event:
            self.offered.append(time.time())
        elif b'"request.closed"' in event:
            self.closed += 1
        self.changed.set()

    async def until_all(self, what: str) -> None:
        """Wait until every mitra has received the card (`offered`) or the event that closes the card (`closed`)."""
        async with asyncio.timeout(_CARDS_TIMEOUT_SECONDS):
            while (len(self.offered) if what == "offered" else self.closed) < MITRAS:
                self.changed.clear()
                await self.changed.wait()


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Run BLASTS blasts, one after the other. The first blast is the warm-up."""
    async with testbed.database() as database, database.connect() as connection:
        await people.prepare(connection)
        await people.customers(connection, 0, BLASTS)
        await people.mitras(connection, 0, MITRAS)
        await database.settle()
        async with testbed.server(database) as server, testbed.worker(database):
            cards = Cards()
            mitras = await gather_in_batches(
                Client.connect(server.address, "mitra", number, cards.arrived) for number in range(MITRAS)
            )
            await _until_all_are_available(testbed)
            http = Http(server.address, 4)
            durations = [await _blast(http, connection, cards, number) for number in range(BLASTS)]
            if not all(mitra.is_open() for mitra in mitras):
                raise RuntimeError("the server closed a mitra's socket")
            for mitra in mitras:
                mitra.abort()
            http.close()
    first_seconds = [first for first, _ in durations[1:]]
    second_seconds = [second for _, second in durations[1:]]
    first_waves, later_waves = await _measure_waves(testbed)
    return [
        Figure(
            "blast",
            f"a wave of {MAX_WAVE_MITRAS} cards delivered to {MITRAS:,} mitras, slowest of {2 * len(first_seconds)}",
            max(*first_seconds, *second_seconds) * 1000,
            "ms",
            Target("figure", "at most", 500),
            note=f"first wave: median {median(first_seconds) * 1000:.0f} ms from `confirmed_at`, shortly before the "
            f"commit; second wave: median {median(second_seconds) * 1000:.0f} ms after it is due; 1 server process and "
            "1 worker, all sockets in 1 Python process",
        ),
        Figure(
            "blast",
            f"PostgreSQL asks the first 500 of {MANY_MITRAS:,} available mitras, median of {len(first_waves)} blasts",
            median(first_waves) * 1000,
            "ms",
            Target("figure", "at most", 20),
            note=f"the statement as its client sees it; slowest {max(first_waves) * 1000:.0f} ms; the next 500: median "
            f"{median(later_waves) * 1000:.0f} ms",
        ),
    ]


async def _measure_waves(testbed: Testbed) -> tuple[list[float], list[float]]:
    """Return the seconds of the statements that ask the first wave, and of those that ask the second wave."""
    first, later = [], []
    async with testbed.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, WAVES)
            await people.mitras(connection, 0, MANY_MITRAS)
            await people.payments(connection, 0, WAVES)
        await database.settle()
        candidates = [people.identifier(people.MITRA, number) for number in range(MANY_MITRAS)]
        opened = await Database.connect(database.url, pool_size=1)
        for number in range(WAVES):
            async with opened.transaction() as tx:
                begun = time.perf_counter()
                pairing = await queries.open_blast(
                    tx,
                    payment_id=people.identifier(people.PAYMENT, number),
                    window_seconds=60,
                    candidates=candidates,
                    left_out_mitra_id=None,
                    wave_size=MAX_WAVE_MITRAS,
                    wave_interval_seconds=WAVE_INTERVAL_SECONDS,
                    correlation_id=None,
                )
                first.append(time.perf_counter() - begun)
            async with opened.transaction() as tx:
                begun = time.perf_counter()
                await queries.ask_wave(
                    tx, pairing_id=pairing.id, candidates=candidates, wave_size=MAX_WAVE_MITRAS
                )
                later.append(time.perf_counter() - begun)
        await opened.close()
    return first[WARM_UP_WAVES:], later[WARM_UP_WAVES:]


async def _blast(http: Http, connection: Connection, cards: Cards, customer: int) -> tuple[float, float]:
    """Return the seconds from the confirmation to the last card of the first wave, and the same of the second wave.

    The second wave counts from the moment at which it is due.
    """
    cards.reset()
    token = people.token("customer", customer)
    order = json.dumps({"offer_id": str(people.identifier(people.OFFER, 1))}).encode()
    payment = await _post(http, token, "/api/client/payments", order)
    confirmation = await _post(http, token, f"/api/client/payments/{payment['id']}/confirm")
    await cards.until_all("offered")
    confirmed_at: datetime = await connection.fetchval(
        "SELECT confirmed_at FROM payments WHERE id = $1::text::uuid", payment["id"]
    )
    arrived = sorted(cards.offered)
    first = arrived[MAX_WAVE_MITRAS - 1] - confirmed_at.timestamp()
    second = arrived[-1] - confirmed_at.timestamp() - WAVE_INTERVAL_SECONDS
    await _post(http, token, f"/api/client/pairings/{confirmation['pairing']['id']}/cancel")
    await cards.until_all("closed")
    return first, second


async def _post(http: Http, token: str, path: str, body: bytes = b"") -> dict[str, dict[str, str]]:
    status, answer = await http.request("POST", path, token, body, key=path)
    if status not in (200, 201):
        raise RuntimeError(f"POST {path}: {status} {answer.decode()}")
    decoded: dict[str, dict[str, str]] = json.loads(answer)
    return decoded


async def _until_all_are_available(testbed: Testbed) -> None:
    async with testbed.valkey() as client, asyncio.timeout(_CARDS_TIMEOUT_SECONDS):
        while await client.zcard("curhat:available") < MITRAS:
            await asyncio.sleep(0.05)
