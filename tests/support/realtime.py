"""Servers that only serve sockets, with `FakeHooks` instead of the higher packages, and clients of these servers.

A `ServerProcess` has the parts of one production process (pool, signals through Valkey, hub, uvicorn) on its own
port. Several `ServerProcess`es run in the test's event loop.
"""

import asyncio
import contextlib
import hashlib
import json
import random
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self
from uuid import UUID

import msgspec
import uvicorn
import valkey.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from curhat.app.connections import ServerConfig
from curhat.kit.asgi import Scope
from curhat.kit.database import Database
from curhat.kit.identity import Identity, Role
from curhat.kit.signals import Signals
from curhat.realtime import service
from curhat.realtime.endpoint import PATHS, RealtimeEndpoint
from curhat.realtime.event_types import EventType, StreamEvent, UnsequencedEvent, UnsequencedEventType
from curhat.realtime.hooks import HubHooks, SocketIdentity
from curhat.realtime.hub import TICK_SECONDS, Hub
from curhat.realtime.protocol import Refused, SendMessage, Sent

# The maximum wait of a failing test. A passing test never waits so long.
TEST_TIMEOUT_SECONDS = 20.0


class Note(msgspec.Struct, frozen=True):
    """The data of each event in these tests."""

    text: str


NOTED: Final = EventType("message.created", Note, Note)
CARD: Final = UnsequencedEventType("request.offered", Note)


def note(role: Role, user_id: UUID, text: str) -> StreamEvent:
    """Make an event for a user's stream."""
    return (NOTED.to_customer if role == "customer" else NOTED.to_mitra)(user_id, Note(text))


def card(mitra_id: UUID, text: str) -> UnsequencedEvent:
    """Make an unsequenced event for a mitra's sockets."""
    return CARD.to_mitra(mitra_id, Note(text))


async def append(database: Database, *events: StreamEvent) -> None:
    """Append events in a separate transaction."""
    async with database.transaction() as tx:
        await service.append(tx, events)


def digest_of(token: str) -> bytes:
    """Return the digest under which a token is stored."""
    return hashlib.sha256(token.encode()).digest()


class FakeHooks:
    """Replaces the higher packages. A valid bearer token is `<user id>` or `<user id>.<something>`."""

    def __init__(self) -> None:
        self.revoked: set[bytes] = set()
        self.extras: dict[Identity, dict[str, object]] = {}
        self.counterparts: dict[tuple[Identity, UUID], Identity] = {}
        self.opened_connections: list[tuple[Identity, str]] = []
        self.closed_connections: list[tuple[Identity, str]] = []
        self.closed_for_good: list[str] = []
        self.frames: dict[str, int] = defaultdict(int)
        self.typing_questions = 0
        self.authentication_error: Exception | None = None
        self.typing_error: Exception | None = None

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Read the bearer header."""
        if self.authentication_error is not None:
            raise self.authentication_error
        token = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        try:
            user_id = UUID(token.partition(".")[0])
        except ValueError:
            return None
        return SocketIdentity(identity=Identity(role=role, user_id=user_id), token_digest=digest_of(token))

    async def signed_out(self, held: Sequence[SocketIdentity]) -> Collection[bytes]:
        """The tokens that the test revoked."""
        return self.revoked & {who.token_digest for who in held}

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """Record that a socket has opened."""
        self.opened_connections.append((identity, connection_id))

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """Count the frame."""
        assert (identity, connection_id) in self.opened_connections
        self.frames[connection_id] += 1

    def send_message(
        self, identity: Identity, frame: SendMessage, answer: Callable[[Sent | Refused], None]
    ) -> None:
        """Refuse the message: these server processes have no chats."""
        answer(Refused(frame.client_message_id, "not_found", "There is no such thing here."))

    async def closed(self, identity: Identity, connection_id: str, *, may_come_back: bool) -> None:
        """Record that a socket has closed."""
        self.closed_connections.append((identity, connection_id))
        self.closed_for_good.extend([] if may_come_back else [connection_id])

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Return the fields that the test has set."""
        return self.extras.get(identity, {})

    async def typing_recipient(self, identity: Identity, session_id: UUID) -> Identity | None:
        """Return the counterpart that the test has set."""
        self.typing_questions += 1
        if self.typing_error is not None:
            raise self.typing_error
        return self.counterparts.get((identity, session_id))


class UnreliableSignals(Signals):
    """Signals that a test can lose, double or reorder."""

    def __init__(self, client: valkey.asyncio.Valkey) -> None:
        super().__init__(client)
        self.losing = False
        self.chaos: random.Random | None = None
        self._late: list[tuple[str, bytes]] = []

    def publish(self, channel: str, payload: bytes) -> None:
        """Publish the signal. A test can replace this function in order to lose, delay or double the signal."""
        if self.losing:
            return
        if self.chaos is None:
            super().publish(channel, payload)
            return
        fate = self.chaos.random()
        if fate < 0.2:
            return
        if fate < 0.4:
            self._late.append((channel, payload))
            return
        super().publish(channel, payload)
        if fate < 0.6:
            super().publish(channel, payload)
        while self._late:
            super().publish(*self._late.pop())


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers, so that the test run keeps its own handlers."""
        yield


class ServerProcess:
    """One server process.

    The hub sends pings only when the test calls `run_ticks`. The hub compares its sockets with PostgreSQL only when the
    test calls `compare`.
    """

    def __init__(self, database: Database, signals: UnreliableSignals, hooks: FakeHooks) -> None:
        self.database = database
        self.signals = signals
        self.hooks = hooks
        hub_hooks = HubHooks(signed_out=hooks.signed_out, typing_recipient=hooks.typing_recipient)
        self.hub = Hub(database, signals, hub_hooks)
        self.port = 0
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, *, send_buffer_bytes: int | None = None) -> None:
        """Serve on a free port of this machine."""
        listener = socket.socket()
        if send_buffer_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        config = ServerConfig(
            RealtimeEndpoint(self.hub, self.hooks),
            max_connections=10_000,
            lifespan="off",
            # A client that reads nothing must not delay the end of the test.
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await until(lambda: self._server is not None and self._server.started)

    async def stop(self) -> None:
        """Stop serving, as uvicorn does after a SIGTERM."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = None

    def run_ticks(self, seconds: float) -> None:
        """Run the ticks of the next `seconds` seconds, without waiting between the ticks."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.hub.tick()

    async def compare(self) -> None:
        """Compare the stream heads and the tokens of the hub's sockets with PostgreSQL once."""
        await self.hub.compare_heads()
        await self.hub.compare_tokens()

    def open_sockets(self) -> int:
        """Return the number of sockets that the hub holds."""
        return len(list(self.hub._all()))


@asynccontextmanager
async def server_process(
    database_url: str,
    valkey_url: str,
    hooks: FakeHooks | None = None,
    *,
    runs: bool = False,
    send_buffer_bytes: int | None = None,
) -> AsyncIterator[ServerProcess]:
    """Run a server process during the block.

    With `runs`, the hub also sends pings, and compares its sockets with the heads of the streams.
    """
    client = valkey.asyncio.Valkey.from_url(valkey_url, socket_timeout=None)
    signals = UnreliableSignals(client)
    database = await Database.connect(database_url, pool_size=8, sink=signals)
    process = ServerProcess(database, signals, hooks or FakeHooks())
    process.hub.listen(signals)
    loops = [asyncio.create_task(signals.run())]
    if runs:
        loops.append(asyncio.create_task(process.hub.run()))
    try:
        await asyncio.wait_for(signals.subscribed.wait(), TEST_TIMEOUT_SECONDS)
        await process.start(send_buffer_bytes=send_buffer_bytes)
        yield process
    finally:
        await process.stop()
        await process.hub.drain()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await database.close()
        await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(TEST_TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


class Device:
    """A client that follows the protocol.

    The client remembers epoch and seq, answers pings, and checks the order of events.
    """

    def __init__(self, role: Role, user_id: UUID, token: str | None = None) -> None:
        self.role: Role = role
        self.user_id = user_id
        self.token = token or str(user_id)
        self.epoch: str | None = None
        self.seq: int | None = None
        self.applied: list[tuple[int, str]] = []
        self.answers_pings = True
        self._connection: ClientConnection | None = None

    @property
    def connection(self) -> ClientConnection:
        """The socket."""
        assert self._connection is not None
        return self._connection

    async def open(self, process: ServerProcess, **options: Any) -> Self:
        """Open the socket without a hello."""
        path = next(path for path, role in PATHS.items() if role == self.role)
        options.setdefault("compression", None)
        # Without this bound, the client would read even while the test requests no frames.
        options.setdefault("max_queue", None)
        self._connection = await connect(
            f"ws://127.0.0.1:{process.port}{path}",
            additional_headers={"Authorization": f"Bearer {self.token}"},
            proxy=None,
            ping_interval=None,
            max_size=None,
            **options,
        )
        return self

    async def send(self, frame: object) -> None:
        """Send a frame unchanged."""
        await self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        """Return the next frame of any kind."""
        async with asyncio.timeout(TEST_TIMEOUT_SECONDS):
            text = await self.connection.recv()
        assert isinstance(text, str)
        frame: dict[str, Any] = json.loads(text)
        return frame

    async def next(self, operation: str) -> dict[str, Any]:
        """Return the next frame of this kind. Answers pings and applies events until this frame arrives."""
        while True:
            frame = await self.receive()
            if frame["op"] == "ping" and self.answers_pings:
                await self.send({"op": "pong"})
            if frame["op"] == "event" and frame["seq"] is not None:
                self._apply(frame)
            if frame["op"] == operation:
                return frame

    def _apply(self, event: dict[str, Any]) -> None:
        assert self.seq is not None
        assert event["seq"] == self.seq + 1, f"after {self.seq} came {event['seq']}"
        self.seq = event["seq"]
        self.applied.append((event["seq"], event["data"]["text"]))

    async def hello(self) -> dict[str, Any]:
        """Say hello with this device's epoch and seq. Returns the welcome."""
        await self.send({"op": "hello", "epoch": self.epoch, "seq": self.seq, "device_id": "device"})
        while True:
            # Drop the frames that arrive before the welcome. After the welcome, the server sends these frames again to
            # a client that still needs them.
            frame = await self.receive()
            if frame["op"] == "welcome":
                break
        self.epoch = frame["epoch"]
        if not frame["resumed"]:
            self.seq = frame["seq"]
        return frame

    async def start(self, process: ServerProcess, **options: Any) -> Self:
        """Open the socket and say hello."""
        await self.open(process, **options)
        await self.hello()
        return self

    async def read_until(self, seq: int) -> None:
        """Apply events until the client reaches this seq."""
        while self.seq != seq:
            await self.next("event")

    async def sync(self) -> None:
        """Wait until the server has handled every sent frame.

        Send an unreadable frame, because the server answers all frames in order.
        """
        await self.send("?")
        await self.next("error")

    async def close_code(self) -> int | None:
        """Read until the socket closes. Returns the close code of the server."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.receive()
        return self.connection.close_code

    async def leave(self) -> None:
        """Close the socket."""
        await self.connection.close()

    async def cut_network(self) -> None:
        """Cut the network, without a close frame."""
        self.connection.transport.abort()
        await self.connection.wait_closed()
