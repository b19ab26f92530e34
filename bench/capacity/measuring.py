"""Measures the constants: `python -m bench capacity --measure`. It takes about three minutes.

Each kind of work runs alone, on a server, a second server that holds nobody, a worker, PostgreSQL and Valkey. The
constants are processor times from the kernel, so other programs change them less than they change the time of a wall
clock. They still share the caches: measure on a quiet machine. What the processes use without any work is subtracted.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec
import valkey.asyncio

from bench import days
from bench.capacity.constants import Constants, Cost
from bench.harness import cpu, load, people
from bench.harness.clients import Client, gather_in_batches
from bench.harness.load import Request
from bench.harness.records import year_of
from bench.harness.sockets import Http
from bench.harness.testbed import Connection, Process, Testbed, busy_share, machine

CHATS: Final = 200
MESSAGES: Final = 4_000
MESSAGES_PER_SECOND: Final = 250
READS: Final = 1_000
ACCEPTS: Final = 400
POLLS: Final = 4_000
ENDS: Final = 400
SOCKETS: Final = 800
IDLE_SECONDS: Final = 20.0
FEW_MITRAS: Final = 50
MANY_MITRAS: Final = 300
BLASTS: Final = 10
RECORDED_SESSIONS: Final = 20_000
DAY_MESSAGES: Final = 20_000
_TIMEOUT_SECONDS: Final = 60.0
# People are numbered in ranges that do not overlap.
_FIRST_ACCEPT: Final = 10_000
_FIRST_END: Final = 20_000
_FIRST_IDLE: Final = 30_000
_FIRST_BLAST: Final = 40_000

# The tables that keep rows of a session for years, except its cards and its messages.
_SESSION_TABLES: Final = (
    "payments",
    "charge_attempts",
    "pairings",
    "sessions",
    "extensions",
    "status_changes",
    "review_cases",
    "refunds",
    "failed_pairing_events",
)
_FIELDS: Final = ("server_us", "worker_us", "postgresql_us", "valkey_us", "wal_bytes", "valkey_commands")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the programs have used so far, and the second server."""

    at: float
    used: tuple[float, ...]
    bystander_us: float


class _Meters:
    """Reads what the measured programs have used."""

    def __init__(
        self,
        connection: Connection,
        client: valkey.asyncio.Valkey,
        server: Process,
        bystander: Process,
        worker: Process,
    ) -> None:
        self.connection = connection
        self._valkey = client
        self.server = server
        self._bystander = bystander
        self._worker = worker

    async def read(self) -> _Reading:
        wal = await self.connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        stats = await self._valkey.info("stats")
        return _Reading(
            time.monotonic(),
            (
                cpu.seconds_of(self.server.pid) * 1e6,
                cpu.seconds_of(self._worker.pid) * 1e6,
                await cpu.seconds_of_postgresql(self.connection) * 1e6,
                await cpu.seconds_of_valkey(self._valkey) * 1e6,
                float(wal),
                float(stats["total_commands_processed"]),
            ),
            cpu.seconds_of(self._bystander.pid) * 1e6,
        )

    async def idle(self, seconds: float = IDLE_SECONDS) -> _Reading:
        """Return what is used per second while nothing happens."""
        await self.connection.execute("CHECKPOINT")
        await asyncio.sleep(2)
        before = await self.read()
        await asyncio.sleep(seconds)
        after = await self.read()
        passed = after.at - before.at
        return _Reading(
            passed,
            tuple((b - a) / passed for a, b in zip(before.used, after.used, strict=True)),
            (after.bystander_us - before.bystander_us) / passed,
        )

    async def cost(
        self, work: Callable[[], Awaitable[object]], units: int, idle: _Reading
    ) -> tuple[Cost, float]:
        """Return what one unit of the work costs, and what it costs the second server."""
        before = await self.read()
        await work()
        # The server writes presence and push after the answer.
        await asyncio.sleep(1)
        after = await self.read()
        passed = after.at - before.at
        used = (
            max(0.0, b - a - rate * passed) / units
            for a, b, rate in zip(before.used, after.used, idle.used, strict=True)
        )
        bystander = (after.bystander_us - before.bystander_us - idle.bystander_us * passed) / units
        return Cost(**dict(zip(_FIELDS, used, strict=True))), max(0.0, bystander)


async def measure_constants(testbed: Testbed, commit: str) -> Constants:
    """Measure everything."""
    about = machine()
    busy = await busy_share(3.0)
    kept = await _kept_bytes(testbed)
    async with testbed.database() as database, database.connect() as connection:
        await _people(connection)
        await database.settle()
        async with (
            testbed.server(database) as server,
            testbed.server(database) as bystander,
            testbed.worker(database) as worker,
            testbed.valkey() as client,
        ):
            meters = _Meters(connection, client, server, bystander, worker)
            await asyncio.sleep(3)
            process_mib = server.resident_bytes() / 2**20
            nothing = await meters.idle()
            # The sockets come first: other work leaves free memory, which they would use.
            (customers, customer_kib), (mitras, mitra_kib) = await _idle(meters, nothing)
            poll = await _polls(meters, nothing)
            accept = await _accepts(meters, nothing)
            session_end = await _ends(meters, connection, nothing)
            message, bystander_us, read = await _chat(meters)
            search, card = await _blasts(meters, client)
    return Constants(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        machine=f"{about['processors']} processors ({about['processor']}), {about['memory_gib']} GiB, "
        f"Python {about['python']}",
        busy_share=busy,
        process_minute=_scaled(Cost(**dict(zip(_FIELDS, nothing.used, strict=True))), 60),
        idle_customer_minute=customers,
        waiting_mitra_minute=mitras,
        poll=poll,
        search=search,
        card=card,
        accept=accept,
        message=message,
        read=read,
        session_end=session_end,
        bystander_us=bystander_us,
        customer_socket_kib=customer_kib,
        mitra_socket_kib=mitra_kib,
        process_mib=process_mib,
        **kept,
    )


async def _people(connection: Connection) -> None:
    await people.prepare(connection)
    await people.customers(connection, 0, CHATS)
    await people.mitras(connection, 0, CHATS)
    await people.chats(connection, 0, CHATS)
    await people.customers(connection, _FIRST_ACCEPT, 2 * ACCEPTS)
    await people.mitras(connection, _FIRST_ACCEPT, 2 * ACCEPTS)
    await people.customers(connection, _FIRST_END, ENDS)
    await people.mitras(connection, _FIRST_END, ENDS)
    await people.chats(connection, _FIRST_END, ENDS)
    await people.customers(connection, _FIRST_IDLE, SOCKETS)
    await people.mitras(connection, _FIRST_IDLE, SOCKETS)
    await people.customers(connection, _FIRST_BLAST, 4 * BLASTS)
    await people.mitras(connection, _FIRST_BLAST, MANY_MITRAS)
    # Nobody is available until the mitras of the blasts are.
    await connection.execute("UPDATE mitras SET online = false")


async def _kept_bytes(testbed: Testbed) -> dict[str, float]:
    """Return the bytes of tables and indexes per session, per card and per message."""
    async with testbed.database() as database, database.connect() as connection:
        records = await year_of(connection, RECORDED_SESSIONS)
        size = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest($1::text[]) AS name",
            list(_SESSION_TABLES),
        )
        sessions = records.payments * 2 / 3
    day = await days.simulate(testbed, DAY_MESSAGES, days=1)
    tables = day.tables[-1]
    messages = tables["messages"].inserts
    return {
        "kept_bytes_per_session": float(size) / sessions,
        "kept_bytes_per_card": tables["requests"].total / tables["requests"].inserts,
        "kept_bytes_per_message": tables["messages"].total / messages,
        "day_bytes_per_message": sum(tables[name].total for name in days.EMPTIED) / messages,
    }


async def _polls(meters: _Meters, idle: _Reading) -> Cost:
    polls = [Request(path="/api/client/mitra-availability")] * POLLS
    address = meters.server.address
    await load.warm_up(address, polls[:200], connections=8)
    cost, _ = await meters.cost(partial(load.warm_up, address, polls, connections=8), POLLS, idle)
    return cost


async def _accepts(meters: _Meters, idle: _Reading) -> Cost:
    accepts = [
        Request(
            path=f"/api/mitra/requests/{people.identifier(people.REQUEST, number)}/accept",
            method="POST",
            token=people.token("mitra", number),
            key=f"accept-{number}",
        )
        for number in range(_FIRST_ACCEPT, _FIRST_ACCEPT + 2 * ACCEPTS)
    ]
    # Earlier, these searches would also ask the connected mitras of other steps.
    await people.searches(meters.connection, _FIRST_ACCEPT, 2 * ACCEPTS, mitras_per_pairing=1, groups=10**6)
    async with _online(meters, _FIRST_ACCEPT, 2 * ACCEPTS):
        address = meters.server.address
        (await load.warm_up(address, accepts[:ACCEPTS], connections=8)).only(200, 201)

        async def work() -> None:
            (await load.warm_up(address, accepts[ACCEPTS:], connections=8)).only(200, 201)

        cost, _ = await meters.cost(work, ACCEPTS, idle)
    return cost


@asynccontextmanager
async def _online(meters: _Meters, first: int, count: int) -> AsyncIterator[None]:
    """Switch a range of mitras on until the end of the block, in PostgreSQL only."""
    statement = "UPDATE mitras SET online = $3 WHERE id BETWEEN bench_id(2, $1) AND bench_id(2, $1 + $2 - 1)"
    await meters.connection.execute(statement, first, count, True)
    try:
        yield
    finally:
        await meters.connection.execute(statement, first, count, False)


async def _ends(meters: _Meters, connection: Connection, idle: _Reading) -> Cost:
    """Let the time of the running sessions end. The worker ends them."""

    async def work() -> None:
        await connection.execute(
            """
            WITH due AS (
                UPDATE sessions SET ends_at = curhat_now()
                WHERE id BETWEEN bench_id(6, $1) AND bench_id(6, $1 + $2 - 1) RETURNING id, ends_at
            )
            UPDATE deadlines SET due_at = due.ends_at FROM due WHERE kind = 'session_end' AND entity_id = due.id
            """,
            _FIRST_END,
            ENDS,
        )
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while await connection.fetchval(
                "SELECT EXISTS (SELECT FROM sessions WHERE status = 'active' AND ends_at <= curhat_now())"
            ):
                await asyncio.sleep(0.2)

    cost, _ = await meters.cost(work, ENDS, idle)
    return cost


async def _chat(meters: _Meters) -> tuple[Cost, float, Cost]:
    """Send messages over open sockets, and mark some as read."""
    shown = 0
    refused: list[bytes] = []
    changed = asyncio.Event()

    def on_event(to_role: str, frame: bytes) -> None:
        nonlocal shown
        other = b'"sender":"customer"' if to_role == "mitra" else b'"sender":"mitra"'
        if b'"client_message_id":"' in frame and other in frame:
            shown += 1
            changed.set()

    sockets: dict[tuple[int, str], Client] = {}

    async def connect(chat: int, role: str) -> None:
        client = await Client.connect(meters.server.address, role, chat, partial(on_event, role))
        client.on_refusal = refused.append
        sockets[chat, role] = client

    await gather_in_batches(connect(chat, role) for chat in range(CHATS) for role in ("customer", "mitra"))
    await asyncio.sleep(3)
    idle = await meters.idle(10)

    async def send(first: int, count: int) -> None:
        nonlocal shown
        shown = 0
        began = time.monotonic()
        for number in range(first, first + count):
            role = ("customer", "mitra")[number // CHATS % 2]
            session = people.identifier(people.SESSION, number % CHATS)
            sockets[number % CHATS, role].send(
                f'{{"op":"send","session_id":"{session}","client_message_id":"{number}",'
                '"text":"Terima kasih sudah mau mendengarkan, hari ini berat sekali rasanya."}'.encode()
            )
            await asyncio.sleep(max(0.0, began + (number - first) / MESSAGES_PER_SECOND - time.monotonic()))
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while shown < count:
                if refused:
                    raise RuntimeError(f"a message was refused: {refused[0].decode()}")
                changed.clear()
                await changed.wait()

    await send(0, 500)
    message, bystander_us = await meters.cost(lambda: send(500, MESSAGES), MESSAGES, idle)
    last = await meters.connection.fetch(
        "SELECT session_id, (array_agg(id ORDER BY id))[1 : $1] AS ids FROM messages WHERE sender = 'mitra' "
        "AND session_id BETWEEN bench_id(6, 0) AND bench_id(6, $2) GROUP BY session_id",
        READS // CHATS,
        CHATS - 1,
    )
    reads = [
        Request(
            path=f"/api/client/sessions/{row['session_id']}/read",
            method="POST",
            token=people.token("customer", row["session_id"].int & 0xFFFFFFFF),
            body=json.dumps({"up_to_message_id": str(row["ids"][place])}),
        )
        for place in range(READS // CHATS)
        for row in last
    ]

    async def read_all() -> None:
        (await load.warm_up(meters.server.address, reads, connections=8)).only(200, 204)

    read, _ = await meters.cost(read_all, len(reads), idle)
    for socket in sockets.values():
        socket.abort()
    await asyncio.sleep(4)
    return message, bystander_us, read


async def _idle(meters: _Meters, nothing: _Reading) -> tuple[tuple[Cost, float], tuple[Cost, float]]:
    """Return what a connected customer costs per minute, and the KiB of the socket. Then the same for a mitra.

    The sockets of the customers stay open, so that the mitras' sockets do not use their memory again.
    """
    opened: list[Client] = []
    found = []
    before = nothing
    async with _online(meters, _FIRST_IDLE, SOCKETS):
        for role in ("customer", "mitra"):
            bytes_before = meters.server.resident_bytes()
            opened += await gather_in_batches(
                Client.connect(meters.server.address, role, number, lambda _event: None)
                for number in range(_FIRST_IDLE, _FIRST_IDLE + SOCKETS)
            )
            await asyncio.sleep(17)
            kib = (meters.server.resident_bytes() - bytes_before) / SOCKETS / 1024
            reading = await meters.idle()
            more = (max(0.0, b - a) for a, b in zip(before.used, reading.used, strict=True))
            found.append((_scaled(Cost(**dict(zip(_FIELDS, more, strict=True))), 60 / SOCKETS), kib))
            before = reading
    for socket in opened:
        socket.abort()
    await asyncio.sleep(5)
    return found[0], found[1]


async def _blasts(meters: _Meters, client: valkey.asyncio.Valkey) -> tuple[Cost, Cost]:
    """Return what a search costs without cards, and what each card costs: offered, shown, and closed."""
    costs = []
    offered = closed = 0
    changed = asyncio.Event()

    def on_event(frame: bytes) -> None:
        nonlocal offered, closed
        offered += b'"request.offered"' in frame
        closed += b'"request.closed"' in frame
        changed.set()

    sockets: list[Client] = []
    http = Http(meters.server.address, 2)
    async with _online(meters, _FIRST_BLAST, MANY_MITRAS):
        for round_number, mitras in enumerate((FEW_MITRAS, MANY_MITRAS)):
            sockets += await gather_in_batches(
                Client.connect(meters.server.address, "mitra", number, on_event)
                for number in range(_FIRST_BLAST + len(sockets), _FIRST_BLAST + mitras)
            )
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while await client.zcard("curhat:available") < mitras:
                    await asyncio.sleep(0.1)
            idle = await meters.idle(10)

            async def search(first: int, mitras: int = mitras) -> None:
                nonlocal offered, closed
                for number in range(first, first + BLASTS):
                    offered = closed = 0
                    token = people.token("customer", number)
                    order = json.dumps({"offer_id": str(people.identifier(people.OFFER, 1))}).encode()
                    payment = await _post(http, token, "/api/client/payments", order)
                    found = await _post(http, token, f"/api/client/payments/{payment['id']}/confirm")
                    async with asyncio.timeout(_TIMEOUT_SECONDS):
                        while offered < mitras:
                            changed.clear()
                            await changed.wait()
                        await _post(http, token, f"/api/client/pairings/{found['pairing']['id']}/cancel")
                        while closed < mitras:
                            changed.clear()
                            await changed.wait()

            first = _FIRST_BLAST + 2 * BLASTS * round_number
            await search(first)
            cost, _ = await meters.cost(partial(search, first + BLASTS), BLASTS, idle)
            costs.append(cost)
    for socket in sockets:
        socket.abort()
    http.close()
    few, many = (msgspec.structs.astuple(cost) for cost in costs)
    per_card = [max(0.0, m - f) / (MANY_MITRAS - FEW_MITRAS) for f, m in zip(few, many, strict=True)]
    fixed = [max(0.0, f - card * FEW_MITRAS) for f, card in zip(few, per_card, strict=True)]
    return Cost(*fixed), Cost(*per_card)


async def _post(http: Http, token: str, path: str, body: bytes = b"") -> dict[str, dict[str, str]]:
    status, answer = await http.request("POST", path, token, body, key=path)
    if status not in (200, 201):
        raise RuntimeError(f"POST {path}: {status} {answer.decode()}")
    decoded: dict[str, dict[str, str]] = json.loads(answer)
    return decoded


def _scaled(cost: Cost, factor: float) -> Cost:
    return Cost(*(value * factor for value in msgspec.structs.astuple(cost)))
