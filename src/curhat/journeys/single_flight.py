"""One accept per pairing at a time, within a process.

Correctness does not depend on this: the accept's own locks decide, also between processes. If fifty mitras accept at
once, the waiting accepts hold no connection to PostgreSQL. Each then learns with one query that another mitra has won.
"""

import asyncio
from typing import Final
from uuid import UUID

from curhat.kit.errors import IdempotencyInProgress


class SingleFlight:
    """One accept. It enters when no other accept is running for its pairing, and leaves when it ends."""

    # The running accept of each pairing.
    _under_way: Final[dict[UUID, "SingleFlight"]] = {}

    def __init__(self, key_lock: int) -> None:
        self.key_lock = key_lock
        self.ended = asyncio.Event()
        self._pairing_id: UUID | None = None

    async def enter(self, pairing_id: UUID) -> bool:
        """Enter and return True. If another accept is running, wait until it leaves and return False.

        After False, the caller looks at the pairing again. Raises IdempotencyInProgress if the running accept is the
        same request, sent twice.
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
        """Let the waiting accepts go on. Does nothing else if this accept never entered."""
        if self._pairing_id is not None:
            del self._under_way[self._pairing_id]
        self.ended.set()
