"""Realtime clients. Each client opens a socket, says hello, answers pings, and forwards events."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

from bench.harness import people
from bench.harness.sockets import Address, WebSocket

_PATHS: Final = {"customer": "/api/client/realtime", "mitra": "/api/mitra/realtime"}
_HELLO: Final = b'{"op":"hello","epoch":null,"seq":null,"device_id":"bench"}'
_PONG: Final = b'{"op":"pong"}'
_MAX_CONCURRENCY: Final = 50

Opened = TypeVar("Opened")


class Client:
    """One person's socket. `on_event` is called with the raw bytes of each event."""

    def __init__(self, on_event: Callable[[bytes], None]) -> None:
        self._on_event = on_event
        # Called with the raw bytes of each refusal of a message.
        self.on_refusal: Callable[[bytes], None] = lambda _frame: None
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._socket: WebSocket | None = None

    @classmethod
    async def connect(
        cls, address: Address, role: str, number: int, on_event: Callable[[bytes], None]
    ) -> "Client":
        """Open the socket of person `number` of this role, and wait for the welcome."""
        client = cls(on_event)
        client._socket = await WebSocket.connect(
            address, _PATHS[role], client._frame, people.token(role, number)
        )
        client._socket.send_text(_HELLO)
        async with asyncio.timeout(30):
            await client._welcomed
        return client

    def send(self, frame: bytes) -> None:
        """Send one text frame."""
        if self._socket is not None:
            self._socket.send_text(frame)

    def is_open(self) -> bool:
        """Return whether the connection is open."""
        return self._socket is not None and self._socket.is_open()

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        if self._socket is not None:
            self._socket.abort()

    def _frame(self, frame: bytes) -> None:
        # The server writes `op` first, so this code finds the kind of a frame without decoding the frame.
        if frame.startswith(b'{"op":"event"'):
            self._on_event(frame)
        elif frame.startswith(b'{"op":"ping"'):
            if self._socket is not None:
                self._socket.send_text(_PONG)
        elif frame.startswith((b'{"op":"refused"', b'{"op":"error"')):
            self.on_refusal(frame)
        elif frame.startswith(b'{"op":"welcome"') and not self._welcomed.done():
            self._welcomed.set_result(None)


async def gather_in_batches(opening: Iterable[Coroutine[Any, Any, Opened]]) -> list[Opened]:
    """Await all coroutines, at most _MAX_CONCURRENCY at a time, because real people do not all connect at once."""
    limit = asyncio.Semaphore(_MAX_CONCURRENCY)

    async def one(step: Coroutine[Any, Any, Opened]) -> Opened:
        async with limit:
            return await step

    return list(await asyncio.gather(*(one(step) for step in opening)))
