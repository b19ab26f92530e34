"""Looks up tokens in PostgreSQL, many with one statement.

Anybody can send made-up tokens. While a statement runs, the tokens of further requests wait. The next statement then
looks up all of them. So a flood of made-up tokens costs a few statements, and delays a valid token by one statement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

Found = TypeVar("Found")

# Limits the duration of a statement.
MAX_TOKENS_PER_LOOKUP: Final = 500


class TokenLookup(Generic[Found]):
    """Finds what belongs to the digest of a token. `find` looks up many digests, and leaves out the unknown ones."""

    def __init__(self, find: Callable[[list[bytes]], Awaitable[Mapping[bytes, Found]]]) -> None:
        self._find = find
        self._waiting: dict[bytes, asyncio.Future[Found | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, digest: bytes) -> Found | None:
        """Look up one token. The statement begins after this call. Raises the errors of `find`."""
        future = self._waiting.get(digest)
        if future is None:
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # Several requests may wait for one token, so the cancellation of one must not cancel the others.
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
