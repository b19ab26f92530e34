"""Looks up tokens in PostgreSQL, many with one statement.

Anybody can send made-up tokens. While a statement runs, the tokens of further requests wait. The next statement looks
up all waiting tokens. So a flood of made-up tokens costs a few statements, and delays a valid token by one statement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

Found = TypeVar("Found")

# Limits the duration of a statement.
MAX_TOKENS_PER_LOOKUP: Final = 500


class TokenLookup(Generic[Found]):
    """Finds the value that belongs to a token's digest. `find` looks up many digests, and omits unknown digests."""

    def __init__(self, find: Callable[[list[bytes]], Awaitable[Mapping[bytes, Found]]]) -> None:
        self._find = find
        self._waiting: dict[bytes, asyncio.Future[Found | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, digest: bytes) -> Found | None:
        """Look up one token, with a statement that begins after this call. Raises the errors of `find`."""
        future = self._waiting.get(digest)
        if future is None:
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # Several requests can wait for one token, so the cancellation of one request must not cancel the lookup for the
        # other requests.
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = dict(islice(self._waiting.items(), MAX_TOKENS_PER_LOOKUP))
                for digest in batch:
                    del self._waiting[digest]
                try:
                    found = await self._find(list(batch))
                except Exception as error:  # noqa: BLE001  the requests get the error
                    for future in batch.values():
                        future.set_exception(error)
                else:
                    for digest, future in batch.items():
                        future.set_result(found.get(digest))
        finally:
            self._running = None
