"""Test the bounds on connections with raw bytes on a real port: heads, bodies, slow readers, and the maximum number."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
import valkey.asyncio
from prometheus_client import REGISTRY

from curhat.app import connections
from curhat.app.connections import MAX_HEADERS, ServerConfig
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.asgi import SECURITY_HEADERS, Receive, Scope, Send
from curhat.realtime.websocket import BoundedWebSocket
from tests.support.realtime import TEST_TIMEOUT_SECONDS, until
from tests.support.signed_in import environment_of, server_process

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# The answer has more data than the kernel and uvicorn buffer for a client that reads nothing.
LONG_ANSWER = b"x" * 16 * 1024 * 1024
MEDIUM_ANSWER = b"x" * 60_000 + b"hello"
HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def answer_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a socket. If the path is /refused, /failed or /undecided, refuse the socket, raise an error, or wait."""
    await receive()
    if scope["path"] not in ("/undecided", "/refused", "/failed"):
        await send({"type": "websocket.accept"})
    if scope["path"] == "/failed":
        msg = "the application fails"
        raise RuntimeError(msg)
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/long":
        await send({"type": "websocket.send", "bytes": LONG_ANSWER})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request after its body has arrived. Answer the handshake of a socket."""
    if scope["type"] == "websocket":
        await answer_socket(scope, receive, send)
        return
    if scope["path"] == "/unauthenticated":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
        return
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    body = {"/long": LONG_ANSWER, "/medium": MEDIUM_ANSWER}.get(scope["path"], b"hello")
    if scope["path"] == "/who":
        body = msgspec.json.encode(
            [scope["client"][0], sorted(name.decode() for name, _ in scope["headers"])]
        )
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Port:
    """A server that runs `application`, and the test's connections to this server."""

    def __init__(self, server: uvicorn.Server, bounds: connections.Connections) -> None:
        self.server = server
        self.bounds = bounds
        self.number = server.servers[0].sockets[0].getsockname()[1]
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> Opened:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        self._writers.append(writer)
        return reader, writer

    def little_buffer(self) -> socket.socket:
        """Return a socket with a small receive buffer, so that the kernel stores little data from the server."""
        # An accepted connection inherits this option.
        self.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.setblocking(False)
        return client

    def close(self) -> None:
        """Close the clients' ends."""
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def serving(max_connections: int = 100, **options: Any) -> AsyncIterator[Port]:
    """Run a server of `application` during the block."""
    config = ServerConfig(
        application,
        max_connections=max_connections,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = Port(server, config.connections)
    try:
        yield port
    finally:
        port.close()
        server.should_exit = True
        await task


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with serving() as started:
        yield started


def limit_waits(monkeypatch: pytest.MonkeyPatch, wait: connections.Wait) -> None:
    """Let the wait named `wait` time out after 0.1 s, and let all other waits never time out."""
    never = dict.fromkeys(connections.TIMEOUTS_SECONDS, 3600.0)
    monkeypatch.setattr(connections, "TIMEOUTS_SECONDS", {**never, wait: 0.1})
    monkeypatch.setattr(connections, "SWEEP_INTERVAL_SECONDS", 0.02)


async def everything(reader: asyncio.StreamReader) -> bytes:
    """Return all bytes that the server sends before it closes the connection."""
    async with asyncio.timeout(TEST_TIMEOUT_SECONDS):
        return await reader.read()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read the answer `hello` of the application."""
    async with asyncio.timeout(TEST_TIMEOUT_SECONDS):
        return await reader.readuntil(b"hello")


def closed(reason: str) -> float:
    """Return the number of connections that the server has closed for this reason."""
    return REGISTRY.get_sample_value("curhat_connections_closed_total", {"reason": reason}) or 0


def status_of(answered: bytes) -> int:
    """Check that the answer is a problem document and has the security headers. Returns its status."""
    head, _, body = answered.partition(b"\r\n\r\n")
    for name, value in SECURITY_HEADERS:
        assert name + b": " + value in head
    status: int = msgspec.json.decode(body)["status"]
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    return status


# Heads -----------------------------------------------------------------------------------------------------


def _headers(count: int) -> bytes:
    return b"".join(b"a%d: b\r\n" % number for number in range(count))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX-A: " + b"a" * 40_000, "head_too_large", id="an endless header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a" * 40_000, "head_too_large", id="an endless name"),
        pytest.param(b"GET /" + b"a" * 40_000, "head_too_large", id="an endless path"),
        pytest.param(b"\r\n" * 20_000, "head_too_large", id="endless empty lines"),
        pytest.param(
            b"GET / HTTP/1.1\r\nX-A: " + b"a" * 33_000 + b"\r\n\r\n", "head_too_large", id="a complete head"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + _headers(MAX_HEADERS + 2), "too_many_headers", id="too many headers"
        ),
        pytest.param(HANDSHAKE + b"X-A: " + b"a" * 40_000, "head_too_large", id="the handshake of a socket"),
        pytest.param(
            HANDSHAKE + _headers(MAX_HEADERS), "too_many_headers", id="a handshake with many headers"
        ),
    ],
)
async def test_a_request_head_that_is_too_large_is_refused_before_it_is_complete(
    port: Port, head: bytes, reason: str
) -> None:
    before = closed(reason)
    reader, writer = await port.open()
    writer.write(head)
    assert status_of(await everything(reader)) == 431
    assert closed(reason) == before + 1


async def test_two_request_heads_of_the_maximum_size_are_answered_on_one_connection(port: Port) -> None:
    start, end = b"GET / HTTP/1.1\r\n" + _headers(MAX_HEADERS - 1), b"\r\n\r\n"
    head = start + b"x: " + b"a" * (connections.MAX_HEAD_BYTES - len(start) - len(end) - 3) + end
    assert len(head) == connections.MAX_HEAD_BYTES
    reader, writer = await port.open()
    for _ in range(3):
        writer.write(head)
        assert b" 200 " in await answer(reader)
    # Two requests arrive in one piece of data.
    writer.write(head + head)
    for _ in range(2):
        assert b" 200 " in await answer(reader)


async def test_a_client_can_ask_to_close_the_connection_after_the_answer(port: Port) -> None:
    reader, writer = await port.open()
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (await everything(reader)).endswith(b"hello")
    await until(lambda: not port.server.server_state.connections)


async def test_a_client_that_sends_nothing_is_disconnected(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "head")
    before = closed("head_timeout")
    reader, _ = await port.open()
    with contextlib.suppress(ConnectionResetError):
        assert await everything(reader) == b""
    assert closed("head_timeout") == before + 1


@pytest.mark.parametrize("earlier_requests", [0, 1])
async def test_a_request_head_that_takes_too_long_is_refused_even_if_bytes_keep_arriving(
    port: Port, monkeypatch: pytest.MonkeyPatch, earlier_requests: int
) -> None:
    limit_waits(monkeypatch, "head")
    reader, writer = await port.open()
    for _ in range(earlier_requests):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await answer(reader)
    writer.write(b"GET / HTTP/1.1\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"a: b\r\n")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert status_of(await everything(reader)) == 408
    dripping.cancel()


async def test_an_idle_connection_is_not_closed_by_the_time_limit_for_a_request_head(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "head")
    reader, writer = await port.open()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await answer(reader)
    other, _ = await port.open()
    with contextlib.suppress(ConnectionResetError):
        await everything(other)  # By now, the first connection has been idle for as long as a head may take.
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b" 200 " in await answer(reader)


async def test_a_malformed_request_is_refused_and_logs_nothing(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    for bad in (b"hello\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\na\x00: b\r\n\r\n"):
        reader, writer = await port.open()
        writer.write(bad)
        assert status_of(await everything(reader)) == 400
    assert not caplog.records


async def test_a_client_with_too_many_unanswered_requests_is_disconnected(port: Port) -> None:
    before = closed("pipelined")
    reader, writer = await port.open()
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 1_000)
    with contextlib.suppress(ConnectionResetError):
        await everything(reader)
    assert closed("pipelined") == before + 1


# Bodies ----------------------------------------------------------------------------------------------------


async def test_a_body_that_takes_too_long_is_refused(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_waits(monkeypatch, "body")
    reader, writer = await port.open()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    assert status_of(await everything(reader)) == 408


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"1\r\na\r\n" * 30_000, id="many small chunks"),
        pytest.param(b"0\r\nX-A: " + b"a" * 200_000, id="an endless trailer"),
        pytest.param(b"1;" + b"a" * 200_000, id="an endless chunk extension"),
    ],
)
async def test_a_body_without_end_is_refused_while_it_streams(
    port: Port, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await port.open()
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head + body)
    answered = (await everything(reader)).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert status_of(answered) in (400, 413)
    assert not caplog.records


async def test_the_trailers_of_a_body_never_become_headers_of_the_request() -> None:
    async with serving(proxy_headers=True, forwarded_allow_ips="127.0.0.1") as port:
        reader, writer = await port.open()
        # The whole request arrives in one piece of data, before the application has read the headers.
        writer.write(
            b"POST /who HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"1\r\na\r\n0\r\n"
            b"X-Forwarded-For: 9.9.9.9\r\nAuthorization: Bearer a\r\nCookie: a=b\r\n\r\n"
        )
        _, _, body = (await everything(reader)).partition(b"\r\n\r\n")
        assert msgspec.json.decode(body) == ["127.0.0.1", ["connection", "transfer-encoding"]]


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param(b"Content-Length: 1\r\nTransfer-Encoding: chunked", id="a length and chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 1", id="chunks and a length"),
        pytest.param(b"Content-Length: 1\r\nContent-Length: 2", id="two lengths"),
        pytest.param(b"Transfer-Encoding: chunked, identity", id="an encoding after the chunks"),
        pytest.param(b"Content-Length: +1", id="a length with a sign"),
    ],
)
async def test_a_body_whose_length_is_ambiguous_is_refused(port: Port, lengths: bytes) -> None:
    reader, writer = await port.open()
    writer.write(b"POST / HTTP/1.1\r\n" + lengths + b"\r\n\r\n1\r\na\r\n0\r\n\r\n")
    assert status_of(await everything(reader)) == 400


async def test_a_connection_is_closed_if_the_rest_of_a_request_body_does_not_arrive_after_the_answer(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "rest")
    before = closed("rest_timeout")
    reader, writer = await port.open()
    writer.write(b"POST /unauthenticated HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    assert (await everything(reader)).endswith(b"hello")
    assert closed("rest_timeout") == before + 1


async def test_a_connection_stays_open_if_the_request_body_arrives_after_the_answer(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "rest")
    reader, writer = await port.open()
    silent, nobody = await port.open()
    for request in (writer, nobody):
        request.write(b"POST /unauthenticated HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    await answer(reader)
    writer.write(b"0123456789")
    await everything(silent)  # By now, the body would be late.
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b" 200 " in await answer(reader)


# Readers ---------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_its_answer_is_disconnected(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "reader")
    before = closed("reader_timeout")
    _, writer = await port.open()
    writer.write(b"GET /long HTTP/1.1\r\n\r\n")
    await until(lambda: closed("reader_timeout") == before + 1)
    assert not port.server.server_state.connections


async def test_a_client_that_reads_slowly_but_steadily_gets_the_whole_answer(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "reader")
    monkeypatch.setattr(connections, "TIMEOUTS_SECONDS", dict.fromkeys(connections.TIMEOUTS_SECONDS, 0.4))
    loop = asyncio.get_running_loop()
    with port.little_buffer() as slow:
        await loop.sock_connect(slow, ("127.0.0.1", port.number))
        await loop.sock_sendall(slow, b"GET /medium HTTP/1.1\r\n\r\n")
        begun, received = loop.time(), b""
        while not received.endswith(b"hello"):
            piece = await loop.sock_recv(slow, 4096)
            assert piece, f"the server closed the connection after {len(received)} bytes"
            received += piece
            await asyncio.sleep(0.05)
        assert loop.time() - begun > 0.6


async def test_a_client_that_has_read_everything_keeps_its_connection(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_waits(monkeypatch, "reader")
    loop = asyncio.get_running_loop()
    with port.little_buffer() as client:
        await loop.sock_connect(client, ("127.0.0.1", port.number))
        await loop.sock_sendall(client, b"GET /medium HTTP/1.1\r\n\r\n")
        # The rest of the answer is in the server's own buffer. The rest of the answer is too small to pause the
        # server's writing.
        await until(lambda: len(port.bounds._waiting["reader"]) == 1)
        received = b""
        while not received.endswith(b"hello"):
            received += await loop.sock_recv(client, 65536)
        before = closed("reader_timeout")
        _, silent = await port.open()
        silent.write(b"GET /long HTTP/1.1\r\n\r\n")
        # The second client reads nothing, so the end of its connection shows that the time is over.
        await until(lambda: closed("reader_timeout") > before)
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n")
        assert (await loop.sock_recv(client, 65536)).endswith(b"hello")
    assert closed("reader_timeout") == before + 1


# Too many connections --------------------------------------------------------------------------------------


async def test_a_full_server_closes_the_connection_that_has_waited_longest_for_a_request_head() -> None:
    async with serving(max_connections=4) as port:
        socket, handshake = await port.open()
        handshake.write(HANDSHAKE + b"\r\n")
        await socket.readuntil(b"\r\n\r\n")
        idle, request = await port.open()
        request.write(b"GET / HTTP/1.1\r\n\r\n")
        await answer(idle)
        silent = [await port.open() for _ in range(4)]
        await until(lambda: closed("gave_way") >= 2)
        for reader, _ in silent[:2]:
            with contextlib.suppress(ConnectionResetError):
                assert await everything(reader) == b""
        for reader, writer in (*silent[2:], (idle, request)):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b" 200 " in await answer(reader)
        assert not socket.at_eof()


async def test_a_thousand_silent_connections_do_not_stop_a_request() -> None:
    async with serving(max_connections=50) as port:
        silent = [await port.open() for _ in range(1_000)]
        for _ in range(5):
            reader, writer = await port.open()
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b" 200 " in await answer(reader)
        assert len(port.server.server_state.connections) <= 50
        assert len(silent) == 1_000


@pytest.mark.parametrize(
    ("request_head", "wait"),
    [
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n", "body", id="no body"),
        pytest.param(
            b"POST /unauthenticated HTTP/1.1\r\nContent-Length: 10\r\n\r\n", "rest", id="no body, answered"
        ),
        pytest.param(b"GET /long HTTP/1.1\r\n\r\n", "reader", id="an answer that nobody reads"),
        pytest.param(b"hello\r\n\r\n", "refused", id="refused"),
    ],
)
async def test_a_client_that_keeps_the_server_waiting_does_not_block_other_clients(
    monkeypatch: pytest.MonkeyPatch, request_head: bytes, wait: connections.Wait
) -> None:
    never = dict.fromkeys(connections.TIMEOUTS_SECONDS, 3600.0)
    monkeypatch.setattr(connections, "TIMEOUTS_SECONDS", never)
    async with serving(max_connections=3) as port:
        for number in range(3):
            _, writer = await port.open()
            writer.write(request_head)
            await until(lambda count=number + 1: len(port.bounds._waiting[wait]) == count)  # type: ignore[misc]
        for _ in range(2):
            reader, writer = await port.open()
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert b" 200 " in await answer(reader)


async def test_an_established_socket_is_never_closed_for_a_new_connection() -> None:
    async with serving(max_connections=3) as port:
        sockets = [await port.open() for _ in range(3)]
        for reader, writer in sockets:
            writer.write(HANDSHAKE + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
        before = closed("full")
        reader, _ = await port.open()
        with contextlib.suppress(ConnectionResetError):
            assert await everything(reader) == b""
        assert closed("full") == before + 1
        assert not any(reader.at_eof() for reader, _ in sockets)


async def test_half_open_connections_do_not_use_up_the_descriptors_of_a_process(
    servers: EmbeddedServers, database_url: str, valkey_client: valkey.asyncio.Valkey, tmp_path: Path
) -> None:
    del valkey_client  # The fixture empties Valkey.
    environment = environment_of(database_url, servers.valkey_url)
    with server_process(environment, tmp_path / "server.log", max_files=600) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        async with contextlib.AsyncExitStack() as stack, httpx.AsyncClient(base_url=url) as client:
            for _ in range(1_500):
                _, writer = await asyncio.open_connection(*address)
                stack.callback(writer.close)
                writer.write(b"GET / HTTP/1.1\r\n")
            for path in ("/healthz", "/readyz", "/api/client/mitra-availability"):
                assert (await client.get(path)).status_code == 200
            code = await client.post("/api/client/auth/otp/request", json={"phone": "+6281234567890"})
            assert code.status_code == 202


# Handshakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handshake", "status"),
    [
        pytest.param(HANDSHAKE + b"X-A: " + b"a" * 9_000 + b"\r\n", b" 431 ", id="a long header"),
        pytest.param(HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key"), b" 400 ", id="no key"),
        pytest.param(HANDSHAKE.replace(b"Version: 13", b"Version: 12"), b" 400 ", id="another version"),
        pytest.param(HANDSHAKE.replace(b"/socket", b"/refused"), b" 403 ", id="refused by the application"),
        pytest.param(HANDSHAKE.replace(b"/socket", b"/failed"), b" 500 ", id="failed in the application"),
    ],
)
async def test_a_refused_handshake_gets_an_answer_with_the_protective_headers_and_does_not_stay_open(
    port: Port, handshake: bytes, status: bytes
) -> None:
    reader, writer = await port.open()
    writer.write(handshake + b"\r\n")
    head, _, _ = (await everything(reader)).partition(b"\r\n\r\n")
    assert status in head.partition(b"\r\n")[0]
    for name, value in SECURITY_HEADERS:
        assert head.lower().count(b"\r\n" + name + b": " + value) == 1


@pytest.mark.parametrize("frame", [b"\xff\xff\xff\xff", b"\x88\x80\0\0\0\0", b"\x89\x80\0\0\0\0"])
async def test_a_frame_that_arrives_before_the_answer_to_the_handshake_ends_the_connection_and_logs_nothing(
    port: Port, caplog: pytest.LogCaptureFixture, frame: bytes
) -> None:
    reader, writer = await port.open()
    writer.write(HANDSHAKE.replace(b"/socket", b"/undecided") + b"\r\n")
    await until(lambda: len(port.server.server_state.tasks) == 1)
    writer.write(frame)
    with contextlib.suppress(ConnectionResetError):
        assert await everything(reader) == b""
    await until(lambda: not port.server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_pongs_to_a_client_that_reads_nothing_do_not_fill_the_memory(port: Port) -> None:
    loop = asyncio.get_running_loop()
    with port.little_buffer() as client:
        await loop.sock_connect(client, ("127.0.0.1", port.number))
        await loop.sock_sendall(client, HANDSHAKE.replace(b"/socket", b"/long") + b"\r\n")
        await until(
            lambda: any(
                isinstance(connection, BoundedWebSocket) and not connection.writable.is_set()
                for connection in port.server.server_state.connections
            )
        )
        (connection,) = port.server.server_state.connections
        assert isinstance(connection, BoundedWebSocket)
        unread = connection.transport.get_write_buffer_size()
        for number in range(50):
            await loop.sock_sendall(client, b"\x89\x84\0\0\0\0" + b"%04d" % number)
        await until(lambda: connection._pong == b"\x8a\x040049")
        assert connection.transport.get_write_buffer_size() <= unread
        # When the client reads again, it gets the answer to its last ping.
        received = b""
        while not received.endswith(b"0049"):
            received = received[-8:] + await loop.sock_recv(client, 1024 * 1024)
        assert received.endswith(b"\x8a\x040049")


def test_the_bound_of_connections_leaves_file_descriptors_for_the_databases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def limit(descriptors: int) -> Callable[[Any], tuple[int, int]]:
        return lambda _which: (descriptors, descriptors)

    for descriptors, expected in ((1024, (516, 256)), (20_000, (15_652, 4096)), (1_048_576, (50_000, 4096))):
        monkeypatch.setattr(resource, "getrlimit", limit(descriptors))
        assert connections.connections_within_limit(10, 64) == expected
