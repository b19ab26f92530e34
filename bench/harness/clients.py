"""People at their sockets: sign in, say hello, answer pings, hand everything else on."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

from bench.harness import people
from bench.harness.sockets import Address, WebSocket

_PATHS: Final = {"customer": "/api/client/realtime", "mitra": "/api/mitra/realtime"}
_HELLO: Final = b'{"op":"hello","epoch":null,"seq":null,"device_id":"bench"}'
_PONG: Final = b'{"op":"pong"}'
_AT_ONCE: Final = 50

Opened = TypeVar("Opened")


class Client:
    """One person's socket. `on_event` gets each event as it came, undecoded."""

    def __init__(self, on_event: Callable[[bytes], None]) -> None:
        self._on_event = on_event
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._socket: WebSocket | None = None

    @classmethod
    async def connect(
        cls, address: Address, role: str, number: int, on_event: Callable[[bytes], None]
    ) -> "Client":
        """Person `number` of this role, welcomed."""
        client = cls(on_event)
        client._socket = await WebSocket.connect(
            address, _PATHS[role], client._frame, people.token(role, number)
        )
        client._socket.send_text(_HELLO)
        async with asyncio.timeout(30):
            await client._welcomed
        return client

    def is_open(self) -> bool:
        """Whether the connection still stands."""
        return self._socket is not None and self._socket.is_open()

    def abort(self) -> None:
        """Leave without a word."""
        if self._socket is not None:
            self._socket.abort()

    def _frame(self, frame: bytes) -> None:
        # The server writes `op` first, so nothing needs to be decoded to tell frames apart.
        if frame.startswith(b'{"op":"event"'):
            self._on_event(frame)
        elif frame.startswith(b'{"op":"ping"'):
            if self._socket is not None:
                self._socket.send_text(_PONG)
        elif frame.startswith(b'{"op":"welcome"') and not self._welcomed.done():
            self._welcomed.set_result(None)


async def some_at_a_time(opening: Iterable[Coroutine[Any, Any, Opened]]) -> list[Opened]:
    """Await all of these, a few dozen at a time, as people come who do not all come in the same millisecond."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(step: Coroutine[Any, Any, Opened]) -> Opened:
        async with turns:
            return await step

    return list(await asyncio.gather(*(one(step) for step in opening)))
