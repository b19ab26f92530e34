"""Which customers hold a live connection. Only the decision whether to push depends on it.

Each process reports the customers that it heard from to Valkey every few seconds. After Valkey was wiped or away, it is
correct again with the next frames, 15 s later at most. Until then a connected customer may get a push as well, which
does no harm.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
import valkey.asyncio

from curhat.kit.errors import PresenceUnknown
from curhat.presence.states import COME_BACK_SECONDS
from curhat.presence.store import PresenceStore

log = structlog.get_logger(__name__)

# A customer is pinged every 15 s. This is two pings, and 5 s for a slow network.
CUSTOMER_CONNECTED_SECONDS: Final = 35.0
REPORT_INTERVAL_SECONDS: Final = 3.0


class CustomerConnections:
    """The customers that this process holds, and through Valkey those of every process."""

    def __init__(self, client: "valkey.asyncio.Valkey") -> None:
        self._store = PresenceStore(client)
        self._heard_from: set[UUID] = set()
        self._gone: set[UUID] = set()

    def heard(self, customer_id: UUID) -> None:
        """Note a frame from a customer. In memory only, because it is called for every frame."""
        self._heard_from.add(customer_id)

    async def opened(self, customer_id: UUID) -> None:
        """Note that a customer connected. When this returns, Valkey shows it, unless Valkey is away."""
        self._gone.discard(customer_id)
        try:
            await self._store.customers_seen([customer_id], CUSTOMER_CONNECTED_SECONDS)
        except PresenceUnknown:
            self._heard_from.add(customer_id)

    def closed(self, customer_id: UUID) -> None:
        """Note that this process holds no socket of a customer any more."""
        self._heard_from.discard(customer_id)
        self._gone.add(customer_id)

    async def connected_among(self, customer_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these customers hold a live connection, as far as known. Raises PresenceUnknown."""
        return await self._store.customers_connected(customer_ids)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                await self.report()
            except PresenceUnknown:
                pass  # The store has logged the outage, once.
            except Exception:
                log.exception("presence.customers_not_reported")
            await asyncio.sleep(REPORT_INTERVAL_SECONDS)

    async def report(self) -> None:
        """Report to Valkey who was heard from and who is gone. Raises PresenceUnknown.

        A failed report is not repeated: the next frames bring a new one.
        """
        gone, self._gone = self._gone, set()
        heard_from, self._heard_from = self._heard_from - gone, set()
        # A customer who is gone here but connected to another process is reported by that process.
        await self._store.customers_seen(list(gone), COME_BACK_SECONDS)
        await self._store.customers_seen(list(heard_from), CUSTOMER_CONNECTED_SECONDS)
