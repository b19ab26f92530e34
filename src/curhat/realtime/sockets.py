"""One socket, from the server's side: what it is sent, in order and within bounds, and how it is closed.

An idle socket holds no timer, no queue and no task but its receive loop: idle sockets are most of what a chat
service holds. A frame goes straight to the server's transport; only while that is full is there a queue.
"""

import asyncio
import secrets
import types
from collections import deque
from collections.abc import Awaitable, Generator
from typing import Any, Final, Literal
from uuid import UUID

from curhat.kit.asgi import Send
from curhat.kit.identity import Identity
from curhat.realtime import protocol
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.metrics import CLOSES, FRAMES_SENT

# What may wait for a reader that is slower than its events. More: it is closed, and resumes where it stopped.
QUEUE_FRAMES: Final = 256
QUEUE_BYTES: Final = 1024 * 1024
# How long a reader of missed events may take nothing at all before it counts as too slow.
STALL_SECONDS: Final = 20.0
# How long a closing socket may take to read what is before its close frame; then it is dropped without one.
CLOSE_SECONDS: Final = 10.0
# A client may send this many frames at once, and this many a second for as long as it likes.
BURST_FRAMES: Final = 100.0
FRAMES_PER_SECOND: Final = 50.0
# Typing in one session gets through once in this time.
TYPING_SECONDS: Final = 2.0

# opened    no hello yet
# greeting  a hello is being answered: events wait for the welcome
# live      in step: `seq` is the last event sent, and the next one is sent as it comes
# behind    a gap was found, and is being read
Phase = Literal["opened", "greeting", "live", "behind"]


class Stalled(Exception):
    """The reader takes nothing, or hardly anything, for a long time."""


class Feed:
    """One user's stream in this process: the highest seq known to be committed, and where it goes to."""

    __slots__ = ("head", "identity", "sockets")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.head = 0
        self.sockets: list[Socket] = []


class Socket:
    """An accepted WebSocket. Made by the task that is its receive loop."""

    __slots__ = (
        "_allowance",
        "_dropped",
        "_held_back",
        "_queue",
        "_queued_bytes",
        "_receive_loop",
        "_send",
        "_typed_at",
        "_writer",
        "close_code",
        "connection_id",
        "feed",
        "generation",
        "heard_at",
        "phase",
        "seq",
        "slot",
        "welcomed",
        "who",
    )

    def __init__(self, who: SocketIdentity, send: Send) -> None:
        self.who = who
        self.connection_id = secrets.token_hex(8)
        self.phase: Phase = "opened"
        self.seq = 0
        # Whether the rooms above were told that this connection is opened.
        self.welcomed = False
        # Counts hellos: whatever was begun for an earlier one stops when it sees a later one.
        self.generation = 0
        # None before the first hello.
        self.feed: Feed | None = None
        # Where the hub keeps it among the sockets that are pinged in turn.
        self.slot = 0
        self.heard_at = asyncio.get_running_loop().time()
        self.close_code: int | None = None
        self._allowance = BURST_FRAMES
        self._send = send
        self._receive_loop = asyncio.current_task()
        self._dropped = False
        # Events without a seq that came while a hello is being answered.
        self._held_back: list[str] | None = None
        self._queue: deque[str] | None = None
        self._queued_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._typed_at: dict[UUID, float] | None = None

    # What the client sends ----------------------------------------------------------------------------------

    def hear(self) -> bool:
        """Note a frame from the client. False: it sends faster than anyone may."""
        now = asyncio.get_running_loop().time()
        allowance = min(BURST_FRAMES, self._allowance + (now - self.heard_at) * FRAMES_PER_SECOND) - 1
        self.heard_at = now
        self._allowance = allowance
        return allowance >= 0

    def may_type(self, session_id: UUID) -> bool:
        """Whether a typing signal for this session gets through now; the answer yes is noted."""
        now = asyncio.get_running_loop().time()
        recent = {session: at for session, at in (self._typed_at or {}).items() if now - at < TYPING_SECONDS}
        self._typed_at = recent
        if session_id in recent:
            return False
        recent[session_id] = now
        return True

    # What the client is sent --------------------------------------------------------------------------------

    def send(self, frame: str) -> None:
        """Send a frame after all earlier ones. Never waits: a reader too slow for its queue is closed."""
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
            # The other side has gone, and the receive loop is about to hear so.
            return
        self._queue = deque()
        self._writer = asyncio.create_task(self._write(_rest_of(steps, waits_for)))

    @property
    def busy(self) -> bool:
        """Whether frames wait for the reader."""
        return self._writer is not None

    def hold_back(self, frame: str) -> None:
        """Keep a frame for `send_held_back`."""
        if self._held_back is None:
            self._held_back = []
        if len(self._held_back) < QUEUE_FRAMES:
            self._held_back.append(frame)
        else:
            self.close(protocol.TOO_SLOW, "say hello again")

    def send_held_back(self) -> None:
        """Send what was held back."""
        frames, self._held_back = self._held_back, None
        for frame in frames or ():
            self.send(frame)

    async def flushed(self) -> None:
        """Wait until everything sent is with the transport. Raises Stalled when nothing moves for long."""
        writer = self._writer
        while writer is not None and self.close_code is None:
            waiting = self._queued_bytes
            done, _ = await asyncio.wait({writer}, timeout=STALL_SECONDS)
            if not done and self._queued_bytes >= waiting:
                raise Stalled
            writer = self._writer

    def _enqueue(self, frame: str) -> None:
        queue = self._queue
        assert queue is not None  # It exists as long as its writer does.
        size = _size(frame)
        if len(queue) >= QUEUE_FRAMES or self._queued_bytes + size > QUEUE_BYTES:
            self.close(protocol.TOO_SLOW, "say hello again")
            return
        queue.append(frame)
        self._queued_bytes += size

    async def _write(self, begun: Awaitable[None]) -> None:
        try:
            await begun
            while self._queue:
                frame = self._queue.popleft()
                self._queued_bytes -= _size(frame)
                await self._send({"type": "websocket.send", "text": frame})
        except (OSError, RuntimeError):
            pass  # As in send.
        finally:
            if self.close_code is None:
                self._writer = None
                self._queue = None
                self._queued_bytes = 0

    # The end ------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Close with `code`; what was not with the transport yet is not sent any more. Safe to repeat."""
        if self.close_code is not None:
            return
        self.close_code = code
        CLOSES.labels(code=str(code)).inc()
        writer = self._writer
        self._queue = None
        self._writer = asyncio.create_task(self._close(code, reason, writer))

    async def _close(self, code: int, reason: str, writer: "asyncio.Task[None] | None") -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if writer is not None:
                    writer.cancel()
                    await asyncio.wait({writer})
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            # It reads nothing, so it will never read the close frame either, and nothing would end its loop.
            self._dropped = True
            if self._receive_loop is not None:
                self._receive_loop.cancel()
        except (OSError, RuntimeError):
            pass  # As in send.

    def was_dropped(self) -> bool:
        """Whether the receive loop's cancellation came from here; if so, it is taken back."""
        if self._dropped and self._receive_loop is not None:
            self._receive_loop.uncancel()
        return self._dropped


@types.coroutine
def _rest_of(steps: Generator[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    """What is left of an awaitable that was begun outside a task and stopped to wait for `waits_for`.

    Nearly every send ends without waiting: a task for each would cost more than the sending.
    """
    try:
        yield waits_for
    except BaseException:
        steps.close()
        raise
    yield from steps


def _size(frame: str) -> int:
    return len(frame) if frame.isascii() else len(frame.encode())
