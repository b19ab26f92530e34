"""Ends TLS in front of a PostgreSQL or Valkey that was built without TLS, as the embedded servers are.

`python -m tests.support.tls_front --certificate FILE --listen HOST:PORT --to HOST:PORT [--postgres]` runs until it gets
a signal. With `--postgres`, a client first asks for TLS as PostgreSQL's protocol says, and a client that does not ask
is refused. The front listens as soon as it has printed "ready".
"""

import argparse
import asyncio
import contextlib
import ssl
import struct
import sys
from pathlib import Path
from typing import Final

import uvloop

# What a client of PostgreSQL sends first, to ask for TLS.
SSL_REQUEST: Final = struct.pack("!II", 8, 80_877_103)
MAX_CHUNK_BYTES: Final = 65_536


class Front:
    """Passes each client's bytes on to the server, and back."""

    def __init__(self, context: ssl.SSLContext, to: tuple[str, int], *, is_postgres: bool) -> None:
        self._context = context
        self._to = to
        self._is_postgres = is_postgres

    async def serve(self, host: str, port: int) -> None:
        """Serve until the task is cancelled."""
        context = None if self._is_postgres else self._context
        server = await asyncio.start_server(self._pass_on, host, port, ssl=context, backlog=1_000)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await server.serve_forever()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                if self._is_postgres:
                    if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                        return
                    writer.write(b"S")
                    await writer.start_tls(self._context)
                from_server, to_server = await asyncio.open_connection(*self._to)
                await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer))
            finally:
                for each in (writer, to_server):
                    if each is not None:
                        each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(MAX_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    # The other direction ends too.
    raise ConnectionAbortedError


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> int:
    """Run the front that the arguments describe."""
    parser = argparse.ArgumentParser(prog="tests.support.tls_front")
    parser.add_argument("--certificate", required=True, type=Path)
    parser.add_argument("--listen", required=True, type=_address)
    parser.add_argument("--to", required=True, type=_address)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    uvloop.run(Front(context, arguments.to, is_postgres=arguments.postgres).serve(*arguments.listen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
