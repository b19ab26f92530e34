"""One accept per pairing at a time, within a process.

Not for correctness: the accept's own locks decide, however many processes there are. Of fifty mitras who accept at
once, those who wait here hold no connection to PostgreSQL, and learn with one query that another mitra has won.
"""

import asyncio
from typing import Final
from uuid import UUID

from curhat.kit.errors import IdempotencyInProgress


class SingleFlight:
    """One accept.

    It enters once no other accept of this process is under way for the pairing, and leaves at its end.
    """

    # The accept that is under way, by pairing.
    _under_way: Final[dict[UUID, "SingleFlight"]] = {}

    def __init__(self, key_lock: int) -> None:
        self.key_lock = key_lock
        self.ended = asyncio.Event()
        self._pairing_id: UUID | None = None

    async def enter(self, pairing_id: UUID) -> bool:
        """Enter, and return True; or wait until the accept under way has left, and return False: look again.

        Raises IdempotencyInProgress when the accept under way is the same request, sent twice.
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
        """Let those who wait look again."""
        if self._pairing_id is not None:
            del self._under_way[self._pairing_id]
        self.ended.set()
