"""A WebSocket client and an HTTP client that use as little processor time as possible in Python.

The load generator shares the machine with the measured server, so the generator's processor time changes the figures.
These clients support only text frames without extensions, and one request at a time per kept-alive connection. Our
server and the peers need no other feature of WebSocket and HTTP.
"""

import asyncio
import base64
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

_TEXT: Final = 0x1
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a measured server."""

    host: str
    port: int


class Closed(Exception):
    """The server ended the connection."""


def read_frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Remove all complete server frames from `buffer`. Returns the opcode and the payload of each frame."""
    frames = []
    at, end = 0, len(buffer)
    while end - at >= 2:
        length, begin = buffer[at + 1], at + 2
        if length == 126:
            begin += 2
            length = int.from_bytes(buffer[at + 2 : begin]) if end >= begin else end
        elif length == 127:
            begin += 8
            length = int.from_bytes(buffer[at + 2 : begin]) if end >= begin else end
        if end - begin < length:
            break
        if not buffer[at] & 0x80:
            raise Closed("a fragmented frame; this client does not support it")
        frames.append((buffer[at] & 0x0F, bytes(buffer[begin : begin + length])))
        at = begin + length
    del buffer[:at]
    return frames


def write_frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame. The mask of the frame is zero. A zero mask is valid and makes masking unnecessary."""
    length = len(payload)
    if length < 126:
        header = bytes((0x80 | opcode, 0x80 | length))
    else:
        header = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2)
    return header + b"\0\0\0\0" + payload


class WebSocket(asyncio.Protocol):
    """One WebSocket connection. `on_text` is called with each text frame."""

    def __init__(self, on_text: Callable[[bytes], None]) -> None:
        self.on_text = on_text
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.close_code: int | None = None
        self.lost = False
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(
        cls, address: Address, path: str, on_text: Callable[[bytes], None], token: str | None = None
    ) -> "WebSocket":
        """Open a connection. Raises Closed when the server refuses."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(on_text), address.host, address.port)
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        socket.write(
            (
                f"GET {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n{authorization}\r\n"
            ).encode()
        )
        await socket.opened
        return socket

    def send_text(self, payload: bytes) -> None:
        """Send one text frame."""
        self.write(write_frame(_TEXT, payload))

    def write(self, data: bytes) -> None:
        """Send raw bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def is_open(self) -> bool:
        """Return whether the connection is open."""
        return not self.lost

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports do not inherit from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        if not self.opened.done():
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head[:16]:
                self.opened.set_exception(Closed(bytes(head).decode(errors="replace")))
                return
            self._buffer = rest
            self.opened.set_result(None)
        for opcode, payload in read_frames(self._buffer):
            if opcode == _TEXT:
                self.on_text(payload)
            elif opcode == _PING:
                self.write(write_frame(_PONG, payload))
            elif opcode == _CLOSE:
                self.close_code = int.from_bytes(payload[:2]) if payload else 1005

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(Closed(f"before the end of the handshake: {exc}"))


class Http:
    """Kept-alive connections to one server.

    Each connection carries one request at a time. Further requests wait in a queue.
    """

    def __init__(self, address: Address, connections: int) -> None:
        self.address = address
        self._limit = connections
        self._open = 0
        self._idle: list[_HttpConnection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def request(
        self, method: str, path: str, token: str | None = None, body: bytes = b"", key: str | None = None
    ) -> tuple[int, bytes]:
        """Send a request. Returns the status and the body of the answer."""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.address.host}:{self.address.port}"]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if key:
            head.append(f"Idempotency-Key: {key}")
        if body:
            head.append("Content-Type: application/json")
        if method != "GET":
            head.append(f"Content-Length: {len(body)}")
        return await self.send("\r\n".join([*head, "", ""]).encode() + body)

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        """Send the raw bytes of a request. Returns the status and the body of the answer."""
        while not self._idle and self._open >= self._limit:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        connection = None
        while self._idle and connection is None:
            # Perhaps the server has closed the connection while it was idle.
            idle = self._idle.pop()
            if idle.lost:
                self._open -= 1
            else:
                connection = idle
        if connection is None:
            self._open += 1
            _, connection = await asyncio.get_running_loop().create_connection(
                _HttpConnection, self.address.host, self.address.port
            )
        try:
            answer = await connection.send(raw)
        except Closed:
            self._open -= 1
            raise
        else:
            self._idle.append(connection)
        finally:
            while self._waiting:
                waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    break
        return answer

    def close(self) -> None:
        """Close all idle connections."""
        for connection in self._idle:
            connection.abort()
        self._open -= len(self._idle)
        self._idle.clear()


class _HttpConnection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.lost = False

    def send(self, raw: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self._answer = asyncio.get_running_loop().create_future()
        if self.lost or self._transport is None:
            self._answer.set_exception(Closed("the server ended an idle connection"))
        else:
            self._transport.write(raw)
        return self._answer

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        body, self._buffer = self._buffer[head_end + 4 :], b""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Closed(f"the server ended the connection: {exc}"))
