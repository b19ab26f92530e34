"""The server's side of one socket: sends frames in order and within limits, and closes the socket.

Most sockets of a chat service are idle. An idle socket costs little memory, because it has no timer, no queue, and no
task except its receive loop. A socket writes each frame directly to the transport. A socket has a queue only while the
transport is full.
"""

import asyncio
import dataclasses
import secrets
import types
from collections import deque
from collections.abc import Awaitable, Generator
from typing import Any, Final, Literal
from uuid import UUID

from curhat.kit.asgi import Send
from curhat.kit.identity import Identity
from curhat.realtime import protocol
from curhat.realtime.hooks import SocketHooks, SocketIdentity
from curhat.realtime.metrics import CLOSES, FRAMES_SENT

# The maximum length of a socket's queue. If a slow client lets the queue exceed the maximum, the server closes the
# socket.
# The client can then resume.
MAX_QUEUE_FRAMES: Final = 256
MAX_QUEUE_BYTES: Final = 1024 * 1024
# If a client reads nothing for STALL_TIMEOUT_SECONDS while the hub sends missed events, the client counts as stalled.
STALL_TIMEOUT_SECONDS: Final = 20.0
# A client can take CLOSE_TIMEOUT_SECONDS to read the frames that precede the close frame. After CLOSE_TIMEOUT_SECONDS,
# the server drops the connection without a close frame.
CLOSE_TIMEOUT_SECONDS: Final = 10.0
# A client can say hello MAX_HELLOS times in HELLO_PERIOD_SECONDS. A client that says hello more often than MAX_HELLOS
# never catches up.
MAX_HELLOS: Final = 5
HELLO_PERIOD_SECONDS: Final = 10.0
# The server forwards at most one typing signal per session in TYPING_PERIOD_SECONDS.
TYPING_PERIOD_SECONDS: Final = 2.0

# `opened`: The client has not said hello yet.
# `welcoming`: The hub is answering a hello. Events wait until the hub has sent the welcome.
# `live`: The hub has sent all events up to `seq`. The hub sends the next event as soon as it is committed.
# `behind`: The hub is reading missing events from PostgreSQL.
Phase = Literal["opened", "welcoming", "live", "behind"]


class Stalled(Exception):
    """The client has read nothing, or almost nothing, for STALL_TIMEOUT_SECONDS."""


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Feed:
    """One user's stream and sockets in this process. `head` is the highest committed seq that the process knows."""

    identity: Identity
    head: int = 0
    sockets: "list[Socket]" = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Socket:
    """An accepted WebSocket. The task that creates the socket is its receive loop."""

    owner: SocketIdentity
    _send: Send
    hooks: SocketHooks
    connection_id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    phase: Phase = "opened"
    seq: int = 0
    # Whether SocketHooks.opened was called for this connection.
    welcomed: bool = False
    # Counts the hellos of this socket. A task of the hub stops if `generation` has changed since the task began.
    generation: int = 0
    # None before the first hello.
    feed: Feed | None = None
    # The hub's ping slot that contains this socket.
    slot: int = 0
    last_frame_at: float = dataclasses.field(default_factory=lambda: asyncio.get_running_loop().time())
    close_code: int | None = None
    # The times of the client's recent hellos.
    _hellos: tuple[float, ...] = ()
    _receive_loop: "asyncio.Task[Any] | None" = dataclasses.field(default_factory=asyncio.current_task)
    _dropped: bool = False
    # Unsequenced events that arrived while the hub was answering a hello.
    _held_back: list[str] | None = None
    _queue: deque[str] | None = None
    _queued_bytes: int = 0
    _writer: "asyncio.Task[None] | None" = None
    _typing_forwarded_at: dict[UUID, float] | None = None
    # The call of SocketHooks.closed.
    _end: "asyncio.Task[None] | None" = None

    # Frames from the client ---------------------------------------------------------------------------------

    def allows_hello(self) -> bool:
        """Count a hello. Returns False if the client has said hello too often."""
        now = asyncio.get_running_loop().time()
        self._hellos = (*(at for at in self._hellos if now - at < HELLO_PERIOD_SECONDS), now)
        return len(self._hellos) <= MAX_HELLOS

    def allows_typing(self, session_id: UUID) -> bool:
        """Return whether the server is allowed to forward a typing signal for this session now.

        If the result is True, the signal counts as forwarded.
        """
        now = asyncio.get_running_loop().time()
        known = self._typing_forwarded_at or {}
        recent = {session: at for session, at in known.items() if now - at < TYPING_PERIOD_SECONDS}
        self._typing_forwarded_at = recent
        if session_id in recent:
            return False
        recent[session_id] = now
        return True

    # Frames to the client -----------------------------------------------------------------------------------

    def send(self, frame: str) -> None:
        """Send a frame after all earlier frames. Never waits. If the queue is full, closes the socket."""
        if self.close_code is not None:
            return
        FRAMES_SENT.inc()
        if self._writer is not None:
            self._enqueue(frame)
            return
        steps = self._send({"type": "websocket.send", "text": frame}).__await__()
        try:
            waits_for = next(steps)
        except StopIteration:
            return
        except (OSError, RuntimeError):
            return  # The client has disconnected. The receive loop will get the disconnect message next.
        self._queue = deque()
        self._writer = asyncio.create_task(self._write(_rest_of(steps, waits_for)))

    def send_frame(self, frame: protocol.ServerFrame) -> None:
        """Write a frame as text, and send it."""
        self.send(protocol.write(frame))

    @property
    def has_backlog(self) -> bool:
        """Return whether frames wait for a slow client."""
        return self._writer is not None

    def hold_back(self, frame: str) -> None:
        """Keep a frame for `send_held_back`. If too many frames are kept, close the socket."""
        if self._held_back is None:
            self._held_back = []
        if len(self._held_back) < MAX_QUEUE_FRAMES:
            self._held_back.append(frame)
        else:
            self.close(protocol.TOO_SLOW, "say hello again")

    def send_held_back(self) -> None:
        """Send the frames that were held back."""
        frames, self._held_back = self._held_back, None
        for frame in frames or ():
            self.send(frame)

    async def flush(self) -> None:
        """Wait until the transport takes every frame. Raises Stalled if no frame leaves for STALL_TIMEOUT_SECONDS."""
        writer = self._writer
        while writer is not None and self.close_code is None:
            waiting = self._queued_bytes
            done, _ = await asyncio.wait({writer}, timeout=STALL_TIMEOUT_SECONDS)
            if not done and self._queued_bytes >= waiting:
                raise Stalled
            writer = self._writer

    def _enqueue(self, frame: str) -> None:
        assert self._queue is not None  # The queue exists while the writer task runs.
        size = protocol.size_bytes(frame)
        if len(self._queue) >= MAX_QUEUE_FRAMES or self._queued_bytes + size > MAX_QUEUE_BYTES:
            self.close(protocol.TOO_SLOW, "say hello again")
        else:
            self._queue.append(frame)
            self._queued_bytes += size

    async def _write(self, begun: Awaitable[None]) -> None:
        try:
            await begun
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= protocol.size_bytes(frame)
                await self._send({"type": "websocket.send", "text": frame})
        except (OSError, RuntimeError):
            pass  # The client has disconnected.
        finally:
            if self.close_code is None:
                self._writer = None
                self._queue = None
                self._queued_bytes = 0

    # Closing ------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Close with `code`. Drop the frames that the transport has not taken. A second call does nothing."""
        if self.close_code is not None:
            return
        self.close_code = code
        CLOSES.labels(code=str(code)).inc()
        # Some clients never answer the close frame. The user of this socket is no longer connected, even without the
        # client's answer.
        self._begin_end(may_come_back=code != protocol.SIGNED_OUT)
        writer = self._writer
        self._queue = None
        self._writer = asyncio.create_task(self._close(code, reason, writer))

    async def _close(self, code: int, reason: str, writer: "asyncio.Task[None] | None") -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                if writer is not None:
                    writer.cancel()
                    await asyncio.wait({writer})
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            # The client reads nothing, so it would never answer a close frame. Cancel the receive loop, which would
            # otherwise wait forever.
            self._dropped = True
            if self._receive_loop is not None:
                self._receive_loop.cancel()
        except (OSError, RuntimeError):
            pass  # The client has disconnected.

    async def ended(self) -> None:
        """If SocketHooks.opened was called, wait until SocketHooks.closed was called."""
        self._begin_end(may_come_back=True)
        if self._end is not None:
            await self._end

    def _begin_end(self, *, may_come_back: bool) -> None:
        if self.welcomed and self._end is None:
            closed = self.hooks.closed(self.owner.identity, self.connection_id, may_come_back=may_come_back)
            self._end = asyncio.ensure_future(closed)

    def was_dropped(self) -> bool:
        """Return whether this socket cancelled its receive loop. Undoes a cancellation by this socket."""
        if self._dropped and self._receive_loop is not None:
            self._receive_loop.uncancel()
        return self._dropped


@types.coroutine
def _rest_of(steps: Generator[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    """Run the rest of an awaitable that `send` started. The awaitable now waits for `waits_for`.

    Nearly every awaitable ends without waiting. `send` starts the awaitable without a task, because a task would take
    more time than the awaitable itself.
    """
    try:
        yield waits_for
    except BaseException:
        steps.close()
        raise
    yield from steps
