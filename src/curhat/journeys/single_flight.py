"""Within a process, runs at most one accept of each pairing at a time.

Correctness does not depend on this module, because row locks decide which accept wins, even between processes. The
module reduces the number of connections to PostgreSQL. If fifty mitras accept together, the waiting accepts hold no
connection. Each waiting accept later needs only one query to learn that another mitra has won.
"""

import asyncio
from typing import Final
from uuid import UUID

from curhat.kit.errors import IdempotencyInProgress


class SingleFlight:
    """One accept.

    An accept enters the single flight if no other accept of its pairing is running, and leaves when it ends.
    """

    # The running accept of each pairing.
    _under_way: Final[dict[UUID, "SingleFlight"]] = {}

    def __init__(self, key_lock: int) -> None:
        self.key_lock = key_lock
        self.ended = asyncio.Event()
        self._pairing_id: UUID | None = None

    async def enter(self, pairing_id: UUID) -> bool:
        """Enter and return True. If another accept is running, wait until that accept leaves, and return False.

        If this method returns False, the caller reads the pairing again. Raises IdempotencyInProgress if the running
        accept has the same idempotency key.
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
        """Let the waiting accepts go on. Callers call this method even if `enter` did not return True."""
        if self._pairing_id is not None:
            del self._under_way[self._pairing_id]
        self.ended.set()
