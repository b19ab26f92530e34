"""Measures how much push slows pairing and chat, and how fast a blast reaches 1,000 disconnected mitras.

Triggers arm a deadline for each event that needs a push (migrations/…_push.sql). The run measures the time of the push
triggers in a blast to 1,000 mitras, an accept, and a batch of 100 messages. The run alternates between our database and
a database without the push triggers. Each step runs in a transaction that is rolled back. The run measures the most
expensive case. Every person has a subscription, and each message is the first of its chat. In a busy chat, all messages
share one deadline until the deadline is due.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID, uuid4

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.claims import Options
from bench.harness import people
from bench.harness.report import Figure, Peer, Target, median
from bench.harness.testbed import Connection, Database, Testbed
from curhat.journeys import queries as journeys
from curhat.journeys.searching import MAX_CLOSED_BY_WINNER
from curhat.pairing import queries as pairing
from curhat.sessions import queries as sessions

MITRAS: Final = 1_000
BATCH: Final = 100
ROUNDS: Final = 60
_PUSH_TIMEOUT_SECONDS: Final = 30.0

_TRIGGERS: Final = """
DROP TRIGGER requests_offered_push ON requests;
DROP TRIGGER requests_offered_again_push ON requests;
DROP TRIGGER sessions_begun_push ON sessions;
DROP TRIGGER messages_sent_push ON messages;
"""
_SUBSCRIPTIONS: Final = """
INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language)
SELECT role, user_id, digest, $1 || encode(digest, 'hex'), $2, decode('00112233445566778899aabbccddeeff', 'hex'), 'id'
FROM access_tokens
"""

Step = Callable[[Connection], Awaitable[object]]


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Measure the time of the triggers, and then the time of 1,000 pushes."""
    async with testbed.database() as with_push, testbed.database() as without_push:
        for database in (with_push, without_push):
            async with database.connect() as connection:
                await _prepare(connection, "https://push.example.com/")
                if database is without_push:
                    await connection.execute(_TRIGGERS)
            await database.settle()
        async with with_push.connect() as ours, without_push.connect() as plain:
            figures = [
                _figure(f"a blast that asks {MITRAS:,} mitras", await _compare(ours, plain, _blast), 1.1),
                _figure("an accept", await _compare(ours, plain, _accept), 1.1),
                _figure(f"a batch of {BATCH} messages", await _compare(ours, plain, _messages), 1.3),
            ]
    return [*figures, await _pushed(testbed)]


def _figure(what: str, seconds: tuple[float, float], limit: float) -> Figure:
    ours, plain = seconds
    return Figure(
        "push",
        f"{what}, with the triggers of push notifications",
        ours * 1000,
        "ms",
        Target("ratio", "at most", limit),
        Peer("the same without them", plain * 1000),
        note=f"median of {ROUNDS} rounds, with and without the triggers in turn; only the statement is timed",
    )


async def _prepare(connection: Connection, endpoint: str) -> None:
    """Insert mitras 0 … 999 and customers 0 … 101.

    Customer 0 has paid, customers 1 … 100 chat, and customer 101 searches.
    """
    await people.prepare(connection)
    await people.customers(connection, 0, BATCH + 2)
    await people.mitras(connection, 0, MITRAS)
    await people.chats(connection, 1, BATCH)
    await people.searches(connection, BATCH + 1, 1, mitras_per_pairing=50, groups=1)
    await connection.execute(
        "INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, "
        "expires_at, confirmed_at) SELECT bench_id(3, 0), bench_id(1, 0), 'session', 'confirmed', bench_id(7, 1), "
        "$1, 35000, false, curhat_now() + interval '1 hour', curhat_now()",
        people.DURATION_MINUTES,
    )
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    await connection.execute(_SUBSCRIPTIONS, endpoint, point)
    await connection.execute("DELETE FROM deadlines WHERE kind LIKE 'push%'")


async def _compare(ours: Connection, plain: Connection, step: Step) -> tuple[float, float]:
    """Run a step alternately on both databases. Returns the median seconds per database, without the warm-up rounds."""
    taken: dict[Connection, list[float]] = {ours: [], plain: []}
    for round_number in range(ROUNDS + 5):
        for connection in (ours, plain):
            transaction = connection.transaction()
            await transaction.start()
            begun = time.perf_counter()
            await step(connection)
            if round_number >= 5:
                taken[connection].append(time.perf_counter() - begun)
            await transaction.rollback()
    return median(taken[ours]), median(taken[plain])


async def _blast(connection: Connection) -> None:
    mitras = [people.identifier(people.MITRA, number) for number in range(MITRAS)]
    opened = await pairing.open_blast(
        connection,
        payment_id=people.identifier(people.PAYMENT, 0),
        window_seconds=60.0,
        candidates=mitras,
        left_out_mitra_id=None,
        wave_size=MITRAS,
        wave_interval_seconds=3.0,
        correlation_id=None,
    )
    assert len(opened.asked) == MITRAS


async def _accept(connection: Connection) -> None:
    number = (BATCH + 1) * 50
    won = await journeys.accept_and_start(
        connection,
        request_id=people.identifier(people.REQUEST, number),
        mitra_id=people.identifier(people.MITRA, 0),
        max_closed_requests=MAX_CLOSED_BY_WINNER,
        correlation_id=None,
        key_lock=None,
    )
    assert won is not None


async def _messages(connection: Connection) -> None:
    numbers = range(1, BATCH + 1)
    rows = await sessions.send_messages(
        connection,
        session_ids=[people.identifier(people.SESSION, number) for number in numbers],
        senders=["mitra"] * BATCH,
        user_ids=[people.identifier(people.MITRA, number) for number in numbers],
        client_message_ids=[str(uuid4()) for _ in numbers],
        texts=["halo"] * BATCH,
        reply_to_message_ids=[UUID(int=0)] * BATCH,
        no_reply=UUID(int=0),
        lock_timeout="100ms",
    )
    assert sum(row.id is not None for row in rows) == BATCH


# 1,000 pushes ------------------------------------------------------------------------------------------------


class _PushService:
    """A push service that accepts every message and records the arrival time of each message."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.all = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """Accept one message."""
        await request.read()
        self.at.append(time.time())
        if len(self.at) >= MITRAS:
            self.all.set()
        return web.Response(status=201)


async def _pushed(testbed: Testbed) -> Figure:
    """Measure the time from a blast's commit until the last of 1,000 messages arrives at the push service."""
    service = _PushService()
    application = web.Application()
    application.router.add_post("/{path:.*}", service.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with testbed.database() as database, database.connect() as connection:
            await _prepare(connection, endpoint)
            await database.settle()
            async with testbed.worker(database):
                async with connection.transaction():
                    await _blast(connection)
                begun = time.time()
                async with asyncio.timeout(_PUSH_TIMEOUT_SECONDS):
                    await service.all.wait()
                noted = await _count_sent(database)
    finally:
        await runner.cleanup()
    assert noted >= MITRAS
    return Figure(
        "push",
        f"{MITRAS:,} mitras notified after one blast",
        (service.at[MITRAS - 1] - begun) * 1000,
        "ms",
        note=f"first after {(service.at[0] - begun) * 1000:.0f} ms, with the worker's start; 1 worker, which "
        "encrypts and signs; the push service in this process answers at once",
    )


async def _count_sent(database: Database) -> int:
    async with database.connect() as connection, asyncio.timeout(_PUSH_TIMEOUT_SECONDS):
        while True:
            count: int = await connection.fetchval(
                "SELECT count(*) FROM push_messages WHERE done_at IS NOT NULL AND kind = 'request_offered'"
            )
            if count >= MITRAS:
                return count
            await asyncio.sleep(0.05)
