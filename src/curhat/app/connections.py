"""uvicorn with limits on the cost of each connection. The limits apply before a request reaches the application.

Guarantees:
    A request's head has at most 32 KiB and 100 headers, and arrives within 10 s. A body arrives within 30 s. A client
    with an unread answer reads some of the answer at least every 30 s. The server closes a connection that breaks one
    of these limits, and counts the closed connection in a metric. The rules for a request also hold for a socket
    handshake.
    The application sees only the headers of a request's head. The server drops the trailers of a chunked body, because
    a trailer could replace a header of the head.
    A process has at most `max_connections` connections, so the process keeps file descriptors for its databases. If a
    new connection exceeds `max_connections`, the server closes a connection whose client keeps the server waiting
    (GIVE_WAY). To make room, the server never closes an established socket, or a connection whose complete request the
    server is answering.
How it works:
    Connections in the same wait have the same time limit. Each wait has a dictionary of its connections, in the order
    in which the connections began to wait. So the overdue connections are at the front of each dictionary. One timer
    checks the dictionaries once per second. The event loop does not report when a client has read everything. So the
    timer also checks which clients have read since the previous check.
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Any, Final, Literal

import httptools
import uvicorn
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from curhat.kit.asgi import problem_of
from curhat.kit.errors import BodyTooLarge, BusinessError
from curhat.realtime.protocol import MAX_FRAME_BYTES
from curhat.realtime.websocket import BoundedWebSocket

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
# The API itself refuses a body of more than 64 KiB (413). MAX_BODY_BYTES also limits the framing and the trailers of a
# chunked body, and the rest of a body that nobody reads.
MAX_BODY_BYTES: Final = 128 * 1024
# At most MAX_PIPELINED_REQUESTS requests wait in a connection while the server answers an earlier request of this
# connection.
MAX_PIPELINED_REQUESTS: Final = 8
SWEEP_INTERVAL_SECONDS: Final = 1.0
# Limits the memory of a process. 50,000 sockets take about 1.3 GB.
MAX_CONNECTIONS: Final = 50_000
# The kernel keeps at most MAX_WAITING_CONNECTIONS connections that the server has not accepted. The server accepts all
# waiting connections at once, before it can close any connection. So the waiting connections need their own file
# descriptors.
MAX_WAITING_CONNECTIONS: Final = 4096
MAX_OPERATIONS_CONNECTIONS: Final = 50
# File descriptors for the listeners, the log, the event loop, and the calls to push services and the gateway.
OTHER_DESCRIPTORS: Final = 128

CLOSED: Final = Counter(
    "curhat_connections_closed_total",
    "Connections that the server closed, by the bound they broke.",
    ["reason"],
)

# `head`: the head of a request has not arrived completely. A new connection waits for its first head.
# `body`: the head has arrived, but the body has not arrived completely.
# `rest`: the server has answered, and the rest of the body has not arrived.
# `reader`: the client has not read a whole answer, and has read nothing since this wait began.
# `idle`: the client has read the last answer, and has begun no new request. The timer of uvicorn usually ends the wait
# `idle` before its timeout in TIMEOUTS_SECONDS.
# `refused`: the server has refused the client, and the client can still read the reason.
Wait = Literal["head", "body", "rest", "reader", "idle", "refused"]
TIMEOUTS_SECONDS: Final[dict[Wait, float]] = {
    "head": 10.0,
    "body": 30.0,
    "rest": 10.0,
    "reader": 30.0,
    "idle": 10.0,
    # During the wait `refused`, the server drops everything that the client sends.
    "refused": 1.0,
}
# If there are too many connections, the server finds the first wait in GIVE_WAY that has connections. The server then
# closes the connection that has been in this wait longest.
GIVE_WAY: Final[tuple[Wait, ...]] = ("refused", "head", "idle", "rest", "body", "reader")


class RequestMalformed(BusinessError):
    code = "request_malformed"
    status = 400
    detail = "This is not a request of HTTP/1.1."


class RequestTimeout(BusinessError):
    code = "request_timeout"
    status = 408
    detail = "The request did not arrive in time. Send it again."


class HeadTooLarge(BusinessError):
    code = "head_too_large"
    status = 431
    detail = "The head of the request has more than 32 KiB or more than 100 headers."


class _Refused(Exception):
    """Stops the parser. `reason` is the label of the metric."""

    def __init__(self, error: BusinessError, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class Connections:
    """The connections of one listening port, and the wait of each connection."""

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self._waiting: dict[Wait, dict[BoundedHttp, float]] = {wait: {} for wait in TIMEOUTS_SECONDS}
        self._sweep: asyncio.TimerHandle | None = None

    def begin(self, wait: Wait, connection: "BoundedHttp") -> None:
        """Record that a connection begins a wait. A wait that has already begun keeps its start time."""
        self._waiting[wait].setdefault(connection, connection.loop.time())
        if self._sweep is None:
            self._sweep = connection.loop.call_later(SWEEP_INTERVAL_SECONDS, self.sweep, connection.loop)

    def end(self, wait: Wait, connection: "BoundedHttp") -> None:
        """Record that the connection's wait is over."""
        self._waiting[wait].pop(connection, None)

    def forget(self, connection: "BoundedHttp") -> None:
        """Record that the connection waits for nothing, because it is closed or has become a socket."""
        for waiting in self._waiting.values():
            waiting.pop(connection, None)

    def make_room(self) -> bool:
        """Close the first connection in the order of GIVE_WAY. Returns False if the server waits for no client."""
        for wait in GIVE_WAY:
            for connection in self._waiting[wait]:
                connection.drop("gave_way")
                return True
        return False

    def sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End each wait that has taken too long."""
        now = loop.time()
        for connection in list(self._waiting["reader"]):
            connection.look_at_reader()
        for wait, seconds in TIMEOUTS_SECONDS.items():
            waiting = self._waiting[wait]
            for connection, since in list(waiting.items()):
                if since > now - seconds:
                    break
                connection.time_out(wait)
        anybody = any(self._waiting.values())
        self._sweep = loop.call_later(SWEEP_INTERVAL_SECONDS, self.sweep, loop) if anybody else None


class ServerConfig(uvicorn.Config):
    """The configuration of a uvicorn whose connections are bounded."""

    def __init__(
        self, application: Callable[..., Any], *, max_connections: int, sockets: bool = True, **options: Any
    ) -> None:
        super().__init__(
            application,
            # uvicorn cannot detect the interface if the application is a method.
            interface="asgi3",
            http=BoundedHttp,
            ws=BoundedWebSocket if sockets else "none",
            ws_max_size=MAX_FRAME_BYTES,
            # Compression would take 34 KiB of memory per idle socket, and the frames are small.
            ws_per_message_deflate=False,
            # The realtime protocol has its own ping. The client's answer to the protocol's ping also renews the
            # presence lease.
            ws_ping_interval=None,
            access_log=False,
            log_config=None,
            server_header=False,
            **options,
        )
        self.connections = Connections(max_connections)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the bounds of this module."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, ServerConfig)
        self._bounds = config.connections
        self.headers = []
        self._wait: Wait | None = None
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        # The bytes of answers that the client had not read at the previous check.
        self._unread_bytes = 0
        # Whether a request ended in the piece of data that the parser is reading.
        self._ended = False
        # Whether further data is ignored, because the server has refused the client or the connection is now a socket.
        self._refused = False

    # Event loop callbacks -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        is_full = len(self.connections) >= self._bounds.max_open and not self._bounds.make_room()
        super().connection_made(transport)
        if is_full:
            self.drop("full")
        else:
            self._wait_for("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused = True
        self._bounds.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._unread_bytes:
            self.look_at_reader()
        while data and not self._refused:
            # Give the parser only as many bytes as MAX_HEAD_BYTES still allows for this head.
            room = MAX_HEAD_BYTES - (self._head_bytes if self._in_head else 0)
            if room == 0:
                self._refuse(HeadTooLarge(), "head_too_large")
            else:
                piece, data = data[:room], data[room:]
                self._parse(piece)
        self._update_wait()

    @property
    def _is_between_requests(self) -> bool:
        return self._in_head and not self._head_bytes

    def _update_wait(self) -> None:
        """Decide what the connection waits for.

        `_wait_for_reader` decides whether the connection is in the wait `reader`.
        """
        if self._refused:
            return
        cycle = self._latest_request()
        is_answered = cycle is not None and cycle.response_complete
        if not self._in_head:
            self._wait_for("rest" if is_answered else "body")
        elif self._head_bytes or cycle is None:
            self._wait_for("head")
        else:
            self._wait_for("idle" if is_answered and not self._unread_bytes else None)

    def _wait_for(self, wait: Wait | None) -> None:
        """Change what the connection waits for. An unchanged wait keeps its start time."""
        if wait != self._wait:
            if self._wait is not None:
                self._bounds.end(self._wait, self)
            self._wait = wait
            if wait is not None:
                self._bounds.begin(wait, self)

    def _parse(self, piece: bytes) -> None:
        self._ended = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._bounds.forget(self)
                self._refused = True
                self.handle_websocket_upgrade()
                return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self._refuse(cause.error, cause.reason)
            else:
                self._refuse(RequestMalformed(), "malformed")
            return
        if self._in_head:
            self._head_bytes = 0 if self._ended else self._head_bytes + len(piece)
        else:
            self._body_bytes += len(piece)
            if self._body_bytes > MAX_BODY_BYTES:
                self._refuse(BodyTooLarge(), "body_too_large")
                return
        if len(self.headers) > MAX_HEADERS:
            self._refuse(HeadTooLarge(), "too_many_headers")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.look_at_reader()

    def _wait_for_reader(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        if self._unread_bytes and not self._refused:
            self._bounds.begin("reader", self)
        else:
            self._bounds.end("reader", self)

    def look_at_reader(self) -> None:
        """If the client has read some bytes since the previous check, restart or end its wait `reader`."""
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._bounds.end("reader", self)
            self._wait_for_reader()
            self._update_wait()

    # Parser callbacks ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser calls this method for trailers, too. `self.headers` is the list that the application reads.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise _Refused(HeadTooLarge(), "too_many_headers")
        if len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            raise _Refused(RequestMalformed(), "pipelined")
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = self._body_bytes = 0

    def on_message_complete(self) -> None:
        self._in_head = self._ended = True
        if self._wait is not None:
            self._wait_for(None)
        super().on_message_complete()

    # Complete answers ---------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_reader()
        self._update_wait()

    # Closing ------------------------------------------------------------------------------------------------

    def time_out(self, wait: Wait) -> None:
        """Close the connection, because the client has taken too long."""
        if wait == "refused":
            self._bounds.forget(self)
            self.transport.abort()
        elif wait == "reader" or self._is_between_requests:
            # A client that has sent nothing needs no answer.
            self.drop(f"{wait}_timeout")
        else:
            self._refuse(RequestTimeout(), f"{wait}_timeout")

    def drop(self, reason: str) -> None:
        """Close the connection without an answer."""
        CLOSED.labels(reason=reason).inc()
        self._refused = True
        self._bounds.forget(self)
        # The transport reports the closing later, so stop counting the connection now.
        self.connections.discard(self)
        self.transport.abort()

    def _latest_request(self) -> RequestResponseCycle | None:
        return self.cycle

    def _refuse(self, error: BusinessError, reason: str) -> None:
        """Answer with `error` and close. While the server answers an earlier request, close without an answer."""
        cycle = self._latest_request()
        is_answered = cycle is None or cycle.response_complete
        if self.pipeline or (
            cycle is not None and not is_answered and (cycle.response_started or self._in_head)
        ):
            self.drop(reason)
            return
        CLOSED.labels(reason=reason).inc()
        self._refused = True
        self._bounds.forget(self)
        self.flow.resume_reading()
        # If the server has already answered before the body arrived, do not answer again.
        if self._in_head or not is_answered:
            self.transport.write(_answer(error))
        if cycle is not None:
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
        # Close only the sending side of the connection for now. After a full close, a client that is still sending
        # could not read the error.
        self.transport.write_eof()
        self._bounds.begin("refused", self)


def connections_within_limit(database_pool_size: int, valkey_connections: int) -> tuple[int, int]:
    """Return how many connections the main port accepts, and how many can wait in the kernel's queue.

    The process keeps its other file descriptors for its databases and the operations port.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = min(MAX_WAITING_CONNECTIONS, limit // 4)
    reserved = database_pool_size + valkey_connections + MAX_OPERATIONS_CONNECTIONS + OTHER_DESCRIPTORS
    return min(MAX_CONNECTIONS, limit - waiting - reserved), waiting


def _answer(error: BusinessError) -> bytes:
    headers, body = problem_of(error)
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in (*headers, (b"connection", b"close")))
    return STATUS_LINE[error.status] + lines + b"\r\n" + body
