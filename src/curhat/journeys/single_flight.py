"""Attempts to accept the same customer take turns within a process.

Not for correctness, which the accept's own locks give between any number of processes: of fifty who accept at once,
those who wait here do not each hold a connection to PostgreSQL, and learn by one look that another has won.
"""

import asyncio
from typing import Final
from uuid import UUID

from curhat.kit.errors import IdempotencyInProgress


class SingleFlight:
    """One request's place: taken once nobody else of this process is at the pairing, given up by `end`."""

    # Who is at each pairing now.
    _under_way: Final[dict[UUID, "SingleFlight"]] = {}

    def __init__(self, key_lock: int) -> None:
        self.key_lock = key_lock
        self.ended = asyncio.Event()
        self._pairing_id: UUID | None = None

    async def enter(self, pairing_id: UUID) -> bool:
        """Go on; or wait until whoever is at this pairing is done, and look again (False).

        Raises IdempotencyInProgress when that is the same request, sent twice.
        """
        other = self._under_way.get(pairing_id)
        if other is None:
            self._under_way[pairing_id] = self
            self._pairing_id = pairing_id
            return True
        if other.key_lock == self.key_lock:
            raise IdempotencyInProgress
        await other.ended.wait()
        return False

    def leave(self) -> None:
        """Let the others look."""
        if self._pairing_id is not None:
            del self._under_way[self._pairing_id]
        self.ended.set()
