"""Measures how late chat messages arrive over two server processes, and the highest rate without late messages.

The load consists of 500 busy chats. The customers' sockets are at one process, the mitras' sockets are at another
process, and both sides write. The generator sends messages at fixed times, even if earlier messages have not arrived.
The delay counts from the planned send time. So the figures include the time for which a server stalls, because the
generator does not wait for the server.

The peer is Socket.IO with its Redis adapter. Two Node processes of the peer use our PostgreSQL and our Valkey. The Node
processes store each message and deliver the message to both sides. Our server also numbers each message in the streams
of both sides, so that a client can resume.
"""

import asyncio
import gc
import math
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from bench.claims import Options
from bench.harness import people
from bench.harness.clients import Client, gather_in_batches
from bench.harness.report import Figure, Peer, Target, percentile
from bench.harness.sockets import Address, Closed, WebSocket
from bench.harness.testbed import Database, Process, Testbed

CHATS: Final = 500
# Each run uses the next group of CHATS chats. If two runs used the same chats, a person would exceed the limit of 60
# messages per minute.
GROUPS: Final = 3
RATE: Final = 500
RATE_SECONDS: Final = 8
STEP_SECONDS: Final = 4
# The rate grows by STEP_FACTOR until a run fails. After the first failed run, a bisection of BISECTIONS steps finds the
# highest rate.
STEP_FACTOR: Final = 1.4
BISECTIONS: Final = 2
MAX_P99_SECONDS: Final = 0.1
MIN_RATE: Final = 50
MAX_RATE: Final = 20_000
# The time to wait for messages after the generator has sent the last message. A message that arrives after this time
# counts as lost.
ARRIVAL_TIMEOUT_SECONDS: Final = 5.0
_TEXT: Final = "Terima kasih sudah mau mendengarkan, hari ini berat sekali rasanya."
_PEER_FOLDER: Final = Path(__file__).parent / "peers" / "socketio"
_CACHE: Final = Path(".cache/bench/socketio")
_ROLES: Final = ("customer", "mitra")
_PEER_TABLE: Final = """
CREATE TABLE IF NOT EXISTS peer_messages (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    session_id uuid NOT NULL REFERENCES sessions (id),
    sender text NOT NULL,
    client_message_id text NOT NULL,
    text text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    read_at timestamptz,
    UNIQUE (session_id, sender, client_message_id)
);
CREATE INDEX IF NOT EXISTS peer_messages_by_session ON peer_messages (session_id, id);
"""


class Sides(Protocol):
    """The connected clients of the customers and mitras of all chats.

    `on_shown` is called with the number of each message that a reader gets.
    """

    on_shown: Callable[[int], None]
    run: int  # The number of the current run.

    def send(self, number: int, chat: int, role: str) -> None:
        """Send message `number` in `chat` as `role`. `error_summary` reports errors later."""

    def error_summary(self) -> str | None:
        """Describe the messages that were refused, and the sockets that were closed, since `on_shown` was set.

        Returns None if no error occurred.
        """


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run at one rate."""

    rate: float
    late: list[float]
    lost: int
    error_summary: str | None
    generator_share: float

    @property
    def holds(self) -> bool:
        """Return whether every message arrived in time."""
        return (
            self.lost == 0 and self.error_summary is None and percentile(self.late, 0.99) <= MAX_P99_SECONDS
        )


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Measure our server, and then the peer.

    Send to each server first at the promised rate and then at rising rates.
    """
    async with testbed.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, CHATS * GROUPS)
            await people.mitras(connection, 0, CHATS * GROUPS)
            await people.chats(connection, 0, CHATS * GROUPS)
            await connection.execute(_PEER_TABLE)
        async with _our_sides(testbed, database) as sides:
            ours, our_highest = await _runs(database, sides)
        reason = await _install_peer()
        theirs, their_highest = None, None
        if reason is None:
            async with _peer_sides(testbed, database) as sides:
                theirs, their_highest = await _runs(database, sides)
    name = reason or "Socket.IO 4, Redis adapter"
    their_p99 = percentile(theirs.late, 0.99) * 1000 if theirs else None
    at_highest = f"p99 {percentile(our_highest.late, 0.99) * 1000:.0f} ms at that rate"
    return [
        Figure(
            "messages",
            f"sent to shown at the other side, p99 at {RATE} per second",
            percentile(ours.late, 0.99) * 1000,
            "ms",
            Target("figure", "at most", 20),
            Peer(name, their_p99),
            f"p50 {percentile(ours.late, 0.5) * 1000:.1f} ms, lost {ours.lost}; {CHATS} chats over 2 server "
            f"processes; the generator, 1 Python process, took {ours.generator_share:.0%} of a processor",
        ),
        Figure(
            "messages",
            f"messages per second with p99 ≤ {MAX_P99_SECONDS * 1000:.0f} ms",
            our_highest.rate if our_highest.holds else 0,
            "/s",
            Target("ratio", "at least", 1),
            Peer(name, their_highest.rate if their_highest and their_highest.holds else None),
            f"{at_highest}; the generator took {our_highest.generator_share:.0%} of a processor"
            + (f", {their_highest.generator_share:.0%} for the peer" if their_highest else ""),
        ),
    ]


async def _runs(database: Database, sides: Sides) -> tuple[Run, Run]:
    """Return the run at the promised rate, and the run at the highest rate without a late message."""
    await _run(sides, RATE / 2, 3)
    await database.settle()
    promised = await _run(sides, RATE, RATE_SECONDS)
    if promised.error_summary:
        raise RuntimeError(f"at {RATE} per second: {promised.error_summary}")
    best, rate, failed = promised, float(RATE), math.inf
    while not best.holds and rate > MIN_RATE:
        failed, rate = rate, rate / STEP_FACTOR
        best = await _run(sides, rate, STEP_SECONDS)
    while failed == math.inf and rate * STEP_FACTOR < MAX_RATE:
        rate *= STEP_FACTOR
        run = await _run(sides, rate, STEP_SECONDS)
        if run.holds:
            best = run
        else:
            failed = rate
    for _ in range(BISECTIONS if best.holds and failed < math.inf else 0):
        run = await _run(sides, math.sqrt(best.rate * failed), STEP_SECONDS)
        if run.holds:
            best = run
        else:
            failed = run.rate
    return promised, best


async def _run(sides: Sides, rate: float, seconds: float) -> Run:
    count = round(rate * seconds)
    shown = [math.nan] * count

    def note(number: int) -> None:
        if number < count:
            shown[number] = time.perf_counter()

    sides.on_shown = note
    first = sides.run % GROUPS * CHATS
    order = [(chat, role) for chat in range(first, first + CHATS) for role in _ROLES]
    random.Random(1).shuffle(order)
    gc.collect()
    gc.freeze()
    processor = time.process_time()
    begun = time.perf_counter() + 0.05
    for number in range(count):
        wait = begun + number / rate - time.perf_counter()
        if wait > 0 or number % 20 == 0:
            await asyncio.sleep(max(wait, 0))
        sides.send(number, *order[number % len(order)])
    last = time.perf_counter()
    processor = time.process_time() - processor
    while any(map(math.isnan, shown)) and time.perf_counter() < last + ARRIVAL_TIMEOUT_SECONDS:
        await asyncio.sleep(0.05)
    late = [at - begun - number / rate for number, at in enumerate(shown) if not math.isnan(at)]
    return Run(rate, late or [math.inf], count - len(late), sides.error_summary(), processor / (last - begun))


def _number_in(frame: bytes) -> int:
    """Return the message number in the client_message_id. Decoding the whole frame would take much longer."""
    begin = frame.index(b'"client_message_id":"') + 21
    return int(frame[frame.index(b"-", begin) + 1 : frame.index(b'"', begin)])


class _Open(Protocol):
    def is_open(self) -> bool:
        """Return whether the connection is open."""


class _Counted:
    """The base class for the clients of our server and of the peer.

    Each run has its own message ids. So the run ignores a late message of an earlier run.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._on_shown: Callable[[int], None] = lambda _number: None
        self.run = 0

    @property
    def on_shown(self) -> Callable[[int], None]:
        return self._on_shown

    @on_shown.setter
    def on_shown(self, note: Callable[[int], None]) -> None:
        self._on_shown = note
        self.run += 1
        self.errors.clear()

    def event(self, to_role: str, frame: bytes) -> None:
        """Handle a message.created at a socket.

        Count the message at the reader's socket. Ignore the message at the sender's socket.
        """
        written_by_other = b'"sender":"customer"' if to_role == "mitra" else b'"sender":"mitra"'
        if written_by_other in frame and b'"client_message_id":"%d-' % self.run in frame:
            self._on_shown(_number_in(frame))

    def error_summary(self) -> str | None:
        if not all(socket.is_open() for socket in self.open_sockets()):
            return "the server closed a socket"
        return f"{len(self.errors)} messages failed; the first: {self.errors[0]}" if self.errors else None

    def open_sockets(self) -> Iterable["_Open"]:
        raise NotImplementedError


class _OurSides(_Counted):
    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[tuple[int, str], Client] = {}

    def send(self, number: int, chat: int, role: str) -> None:
        session_id = people.identifier(people.SESSION, chat)
        self.clients[chat, role].send(
            f'{{"op":"send","session_id":"{session_id}",'
            f'"client_message_id":"{self.run}-{number}","text":"{_TEXT}"}}'.encode()
        )

    def open_sockets(self) -> Iterable["_Open"]:
        return self.clients.values()

    async def connect(self, address: Address, chat: int, role: str) -> None:
        client = await Client.connect(address, role, chat, partial(self.event, role))
        client.on_refusal = lambda frame: self.errors.append(frame.decode())
        self.clients[chat, role] = client

    def close(self) -> None:
        for client in self.clients.values():
            client.abort()


@asynccontextmanager
async def _our_sides(testbed: Testbed, database: Database) -> AsyncIterator[_OurSides]:
    async with testbed.server(database) as first, testbed.server(database) as second:
        servers = {"customer": first.address, "mitra": second.address}
        sides = _OurSides()
        await gather_in_batches(
            sides.connect(servers[role], chat, role) for chat in range(CHATS * GROUPS) for role in _ROLES
        )
        yield sides
        sides.close()


class _PeerSides(_Counted):
    """Clients of Socket.IO. The clients of Socket.IO speak Engine.IO 4 over a WebSocket.

    A packet begins with its type, which is a number of one or two digits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sockets: dict[tuple[int, str], WebSocket] = {}

    def send(self, number: int, chat: int, role: str) -> None:
        session_id = people.identifier(people.SESSION, chat)
        self.sockets[chat, role].send_text(
            f'42{number}["message",{{"session_id":"{session_id}",'
            f'"client_message_id":"{self.run}-{number}","text":"{_TEXT}"}}]'.encode()
        )

    def open_sockets(self) -> Iterable["_Open"]:
        return self.sockets.values()

    async def connect(self, address: Address, chat: int, role: str) -> None:
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        socket: WebSocket | None = None

        def packet(frame: bytes) -> None:
            if frame.startswith(b'42["message"'):
                self.event(role, frame)
            elif frame.startswith(b"43"):
                if b'"code"' in frame:
                    self.errors.append(frame.decode())
            elif frame == b"2" and socket is not None:
                socket.send_text(b"3")
            elif frame.startswith(b"40"):
                connected.set_result(None)
            elif frame.startswith(b"44"):
                connected.set_exception(Closed(frame.decode()))

        socket = await WebSocket.connect(address, "/socket.io/?EIO=4&transport=websocket", packet)
        socket.send_text(f'40{{"token":"{people.token(role, chat)}"}}'.encode())
        await connected
        self.sockets[chat, role] = socket

    def close(self) -> None:
        for socket in self.sockets.values():
            socket.abort()


@asynccontextmanager
async def _peer_sides(testbed: Testbed, database: Database) -> AsyncIterator[_PeerSides]:
    async with _peer_server(testbed, database) as first, _peer_server(testbed, database) as second:
        servers = {"customer": first.address, "mitra": second.address}
        sides = _PeerSides()
        await gather_in_batches(
            sides.connect(servers[role], chat, role) for chat in range(CHATS * GROUPS) for role in _ROLES
        )
        yield sides
        sides.close()


@asynccontextmanager
async def _peer_server(testbed: Testbed, database: Database) -> AsyncIterator[Process]:
    environment = {
        "PEER_SOCKETS_FOLDER": str(testbed.sockets_folder),
        "PEER_DATABASE": database.name,
        "NODE_ENV": "production",
    }
    command = [shutil.which("node") or "node", str(_CACHE.absolute() / "server.js")]
    async with testbed.run(command, environment, listens=True) as process:
        await process.ready("/")
        yield process


async def _install_peer() -> str | None:
    """Install the peer's packages into a folder outside the repository.

    Returns the reason if the installation failed, and otherwise None.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        return "Socket.IO was not run: node and npm are not installed"
    _CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "server.js"):
        shutil.copy(_PEER_FOLDER / name, _CACHE / name)
    process = await asyncio.create_subprocess_exec(
        *("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"),
        cwd=_CACHE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    if process.returncode != 0:
        return f"Socket.IO was not run: npm ci failed ({output.strip().splitlines()[-1]})"
    return None
