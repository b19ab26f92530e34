"""A blast (2b.2) to 1,000 connected mitras: from the confirmation's commit to the last card at its mitra's socket."""

import asyncio
import json
import time
from datetime import datetime
from typing import Final

from bench.claims import Options
from bench.harness import people
from bench.harness.clients import Client, some_at_a_time
from bench.harness.report import Figure, Target, median
from bench.harness.sockets import Http
from bench.harness.stand import Connection, Stand

MITRAS: Final = 1_000
BLASTS: Final = 7
_CARDS_SECONDS: Final = 20.0


class Cards:
    """Counts the cards that arrive."""

    def __init__(self) -> None:
        self.offered: list[float] = []
        self.closed = 0
        self.changed = asyncio.Event()

    def begin(self) -> None:
        """Forget what has arrived."""
        self.offered, self.closed = [], 0

    def arrived(self, event: bytes) -> None:
        """An event at one mitra's socket."""
        if b'"request.offered"' in event:
            self.offered.append(time.time())
        elif b'"request.closed"' in event:
            self.closed += 1
        self.changed.set()

    async def until_all(self, what: str) -> None:
        """Wait until every mitra has its card (`offered`), or has seen it close (`closed`)."""
        async with asyncio.timeout(_CARDS_SECONDS):
            while (len(self.offered) if what == "offered" else self.closed) < MITRAS:
                self.changed.clear()
                await self.changed.wait()


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Some blasts, one after the other; the first of them is the warm-up."""
    async with stand.database() as database, database.connect() as connection:
        await people.prepare(connection)
        await people.customers(connection, 0, BLASTS)
        await people.mitras(connection, 0, MITRAS)
        await database.settle()
        async with stand.server(database) as server:
            cards = Cards()
            mitras = await some_at_a_time(
                Client.connect(server.address, "mitra", number, cards.arrived) for number in range(MITRAS)
            )
            await _until_all_may_be_asked(stand)
            http = Http(server.address, 4)
            lasts = [await _blast(http, connection, cards, number) for number in range(BLASTS)]
            if not all(mitra.is_open() for mitra in mitras):
                raise RuntimeError("a mitra's socket was closed in between")
            for mitra in mitras:
                mitra.abort()
            http.close()
    counted = lasts[1:]
    return [
        Figure(
            "blast",
            f"all {MITRAS:,} cards delivered, slowest of {len(counted)} blasts",
            max(counted) * 1000,
            "ms",
            Target("figure", "at most", 500),
            note=f"median {median(counted) * 1000:.0f} ms, first {lasts[0] * 1000:.0f} ms; from `confirmed_at`, which "
            "is shortly before the commit; 1 server process, all sockets in 1 Python process",
        )
    ]


async def _blast(http: Http, connection: Connection, cards: Cards, customer: int) -> float:
    """Seconds from the confirmation to the last card."""
    cards.begin()
    token = people.token("customer", customer)
    order = json.dumps({"offer_id": str(people.identifier(people.OFFER, 1))}).encode()
    payment = await _post(http, token, "/api/client/payments", order)
    confirmation = await _post(http, token, f"/api/client/payments/{payment['id']}/confirm")
    await cards.until_all("offered")
    confirmed_at: datetime = await connection.fetchval(
        "SELECT confirmed_at FROM payments WHERE id = $1::text::uuid", payment["id"]
    )
    last = max(cards.offered) - confirmed_at.timestamp()
    await _post(http, token, f"/api/client/pairings/{confirmation['pairing']['id']}/cancel")
    await cards.until_all("closed")
    return last


async def _post(http: Http, token: str, path: str, body: bytes = b"") -> dict[str, dict[str, str]]:
    status, answer = await http.request("POST", path, token, body, key=path)
    if status not in (200, 201):
        raise RuntimeError(f"POST {path}: {status} {answer.decode()}")
    decoded: dict[str, dict[str, str]] = json.loads(answer)
    return decoded


async def _until_all_may_be_asked(stand: Stand) -> None:
    async with stand.valkey() as client, asyncio.timeout(_CARDS_SECONDS):
        while await client.zcard("curhat:available") < MITRAS:
            await asyncio.sleep(0.05)
