"""uvicorn's WebSocket protocol, with bounds on the frames that a client sends.

The application sees only complete messages. A client could send pings, pongs and pieces of a message without end. So
this class counts every frame before it handles the frame.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response

from curhat.kit.asgi import SECURITY_HEADERS
from curhat.realtime.protocol import FRAME_TOO_LARGE, NOT_TEXT, TOO_FAST

# A client can send 100 frames in one burst, and 50 per second over a longer period.
MAX_BURST_FRAMES: Final = 100.0
MAX_FRAMES_PER_SECOND: Final = 50.0
# Before each count, parse at most MAX_PIECE_BYTES: at most 682 frames, which take a few milliseconds.
MAX_PIECE_BYTES: Final = 4096
# A refused client can take LINGER_SECONDS to read the close code. Meanwhile, the server drops everything that the
# client sends.
LINGER_SECONDS: Final = 1.0


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Closes a socket if the client sends too fast (4429), sends too large a frame (4413), or sends no UTF-8 (1007).

    The application then gets a `websocket.disconnect` with this code.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn.reject = functools.partial(_reject, self.conn.reject)  # type: ignore[method-assign]
        self._refused = False
        # The latest pong that waits until the client reads again.
        self._pong = b""
        self._allowance = MAX_BURST_FRAMES
        self._counted_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            # A client must not send a frame before the handshake is answered. On some frames before the handshake,
            # uvicorn would fail.
            self._refused = True
            self.transport.abort()
            return
        for start in range(0, len(data), MAX_PIECE_BYTES):
            if self._refused:
                return
            self.conn.receive_data(data[start : start + MAX_PIECE_BYTES])
            if self.conn.events and not self._allows(len(self.conn.events)):
                self._refuse(TOO_FAST)
            elif isinstance(self.conn.parser_exc, PayloadTooBig):
                self._refuse(FRAME_TOO_LARGE)
            elif self.conn.parser_exc is not None:
                self._refused = True
                self.handle_parser_exception()
            else:
                self.handle_events()
        if not self.handshake_initiated and not self._refused:
            # The library has refused the handshake, for example because a header is longer than 8 KiB. uvicorn would
            # send nothing and keep the connection for ever.
            self._refused = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_ping(self) -> None:
        # The frames of one piece of data are handled together, even after one of the frames was refused.
        if self._refused:
            return
        if self.writable.is_set():
            super().handle_ping()
        elif pongs := self.conn.data_to_send():
            # Pongs to a client that reads nothing would fill the memory. One pong is allowed to answer all earlier
            # pings.
            self._pong = pongs[-1]

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._pong and not self._refused and not self.close_sent:
            self.transport.write(self._pong)
        self._pong = b""

    def send_receive_event_to_app(self) -> None:
        if self._refused:
            return
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._refuse(NOT_TEXT)  # uvicorn would write a traceback into the log.
                return
        super().send_receive_event_to_app()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            # The connection closes when the client has read everything. Without this timer, a client that has stopped
            # reading would hold the connection for ever.
            self.loop.call_later(self.close_timeout, self.transport.abort)

    def _allows(self, frames: int) -> bool:
        now = self.loop.time()
        earned = (now - self._counted_at) * MAX_FRAMES_PER_SECOND
        self._counted_at = now
        self._allowance = min(MAX_BURST_FRAMES, self._allowance + earned) - frames
        return self._allowance >= 0

    def _refuse(self, code: int) -> None:
        """Close with `code`.

        Drop everything that the client sends from now on, and everything that waits to be sent to the client.
        """
        self._refused = True
        self.frames = []
        if self.close_sent:
            self.transport.abort()
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})
        self.transport.write(Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=False))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.transport.write_eof()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _reject(reject: Callable[[Any, str], Response], status: Any, text: str) -> Response:
    """Add the security headers to an answer with which uvicorn or the library refuses a handshake."""
    response = reject(status, text)
    for name, value in SECURITY_HEADERS:
        response.headers[name.decode()] = value.decode()
    return response
