"""A TCP proxy for the embedded PostgreSQL that can simulate failures of a network or a server."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

# A Linux socket option that attaches a packet filter to a socket. The filter "return 0" drops every packet that
# arrives.
SO_ATTACH_FILTER = 26
DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)

# The names in a StartupMessage that a pooler in transaction mode forwards.
PASSED_ON = (b"user", b"database", b"application_name", b"client_encoding")

# The first bytes of a client that requests TLS.
SSL_REQUEST = struct.pack("!I", 80_877_103)


class PostgresProxy:
    """Forwards the bytes of each connection to PostgreSQL, until a test makes the proxy fail."""

    def __init__(self, socket_path: str, name: str) -> None:
        self._socket_path = socket_path
        self._name = name
        self._listener: socket.socket
        self._is_last_answer = False
        self._open: set[asyncio.StreamWriter] = set()
        # If this field is true, the proxy accepts connections and reads from them, but never answers.
        self.is_silent = False
        # If this field is true, the proxy accepts connections and ends them immediately, like a proxy with an absent
        # server.
        self.refuses = False
        # The proxy ends the connection after the client has sent these bytes and PostgreSQL has answered.
        self.cut_after: bytes | None = None
        # The proxy ends the connection instead of forwarding these bytes.
        self.cut_before: bytes | None = None
        # If this field is true, the proxy drops the settings that the client names in its StartupMessage.
        self.drops_startup_settings = False
        self.accepted = 0

    @property
    def port(self) -> int:
        """The local port at which clients reach PostgreSQL."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Return the URL of the database through this proxy."""
        return f"postgresql://curhat@127.0.0.1:{self.port}/{self._name}"

    def go_dark(self) -> None:
        """Lose all later packets, like a machine without a network.

        The other side therefore gets no acknowledgement.
        """
        drop_packets(self._listener)
        for writer in self._open:
            drop_packets(writer.get_extra_info("socket"))

    def cut(self) -> None:
        """End all connections now."""
        for writer in tuple(self._open):
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["PostgresProxy"]:
        """Serve until the block ends."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        server = await asyncio.start_server(self._serve, sock=self._listener)
        try:
            yield self
        finally:
            server.close()
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._open.add(writer)
        ours: asyncio.StreamWriter | None = None
        try:
            if self.refuses:
                raise ConnectionAbortedError
            from_postgres, ours = await asyncio.open_unix_connection(self._socket_path)
            if self.drops_startup_settings:
                message = await _startup_message(reader)
                if message[4:] == SSL_REQUEST:
                    writer.write(b"N")
                    message = await _startup_message(reader)
                ours.write(without_settings(message))
            await asyncio.gather(self._upward(reader, ours), self._downward(from_postgres, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            for each in (writer, ours):
                if each is not None:
                    each.transport.abort()

    async def _upward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.cut_before is not None and self.cut_before in data:
                raise ConnectionAbortedError
            if self.cut_after is not None and self.cut_after in data:
                self._is_last_answer = True
            if not self.is_silent:
                writer.write(data)
        raise ConnectionAbortedError

    async def _downward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._is_last_answer:
                self._is_last_answer = False
                raise ConnectionAbortedError
            if not self.is_silent:
                writer.write(data)
        raise ConnectionAbortedError


def proxy_of(database_url: str) -> PostgresProxy:
    """Run a proxy for this database of the embedded PostgreSQL."""
    parts = urlsplit(database_url)
    query = parse_qs(parts.query)
    return PostgresProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}", parts.path.lstrip("/"))


def drop_packets(opened: "socket.socket | TransportSocket") -> None:
    """Make the kernel drop every packet that arrives at this socket.

    The other side therefore gets no acknowledgement.
    """
    program = ctypes.create_string_buffer(DROP_EVERYTHING)
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


async def _startup_message(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack("!I", length)[0] - 4)


def without_settings(message: bytes) -> bytes:
    """Return this StartupMessage without the settings that PgBouncer ignores."""
    words = message[8:].split(b"\0")
    kept = b"".join(
        name + b"\0" + value + b"\0"
        for name, value in zip(words[::2], words[1::2], strict=False)
        if name in PASSED_ON
    )
    body = message[4:8] + kept + b"\0"
    return struct.pack("!I", len(body) + 4) + body
