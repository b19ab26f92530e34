"""Measures the time of a blast (2b.2), from the confirmation's commit until the last of 1,000 sockets gets a card."""

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

MITRAS: Final = 1_000
BLASTS: Final = 7
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
        async with testbed.server(database) as server:
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
    counted = durations[1:]
    return [
        Figure(
            "blast",
            f"all {MITRAS:,} cards delivered, slowest of {len(counted)} blasts",
            max(counted) * 1000,
            "ms",
            Target("figure", "at most", 500),
            note=f"median {median(counted) * 1000:.0f} ms, first {durations[0] * 1000:.0f} ms; from `confirmed_at`, "
            "shortly before the commit; 1 server process, all sockets in 1 Python process",
        )
    ]


async def _blast(http: Http, connection: Connection, cards: Cards, customer: int) -> float:
    """Return the seconds from the confirmation to the last card."""
    cards.reset()
    token = people.token("customer", customer)
    order = json.dumps({"offer_id": str(people.identifier(people.OFFER, 1))}).encode()
    payment = await _post(http, token, "/api/client/payments", order)
    confirmation = await _post(http, token, f"/api/client/payments/{payment['id']}/confirm")
    await cards.until_all("offered")
    confirmed_at: datetime = await connection.fetchval(
        "SELECT confirmed_at FROM payments WHERE id = $1::text::uuid", payment["id"]
    )
    duration = max(cards.offered) - confirmed_at.timestamp()
    await _post(http, token, f"/api/client/pairings/{confirmation['pairing']['id']}/cancel")
    await cards.until_all("closed")
    return duration


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
