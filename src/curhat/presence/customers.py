"""Tracks which customers hold a live connection.

The server uses this information only to decide whether to send a push.
Every few seconds each process reports to Valkey which customers have sent a frame. If Valkey was wiped or away, its
data is correct again after each customer's next frame, within 15 s. During these 15 s, a connected customer can get a
needless push.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import valkey.asyncio

from curhat.kit.errors import PresenceUnknown
from curhat.presence.service import repeat
from curhat.presence.states import COME_BACK_SECONDS, CUSTOMER_CONNECTED_SECONDS
from curhat.presence.store import PresenceStore

REPORT_INTERVAL_SECONDS: Final = 3.0


class CustomerConnections:
    """The customers with sockets in this process. Valkey has the customers of all processes."""

    def __init__(self, client: "valkey.asyncio.Valkey") -> None:
        self._store = PresenceStore(client)
        self._heard_from: set[UUID] = set()
        self._gone: set[UUID] = set()

    def heard(self, customer_id: UUID) -> None:
        """Note a frame from a customer. Writes only to memory, because it runs for every frame."""
        self._heard_from.add(customer_id)

    async def opened(self, customer_id: UUID) -> None:
        """Note that a customer connected.

        Unless Valkey is away, Valkey shows the customer as connected when `opened` returns.
        """
        self._gone.discard(customer_id)
        try:
            await self._store.customers_seen([customer_id], CUSTOMER_CONNECTED_SECONDS)
        except PresenceUnknown:
            self._heard_from.add(customer_id)

    def closed(self, customer_id: UUID) -> None:
        """Note that this process no longer holds a socket of this customer."""
        self._heard_from.discard(customer_id)
        self._gone.add(customer_id)

    async def connected_among(self, customer_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these customers hold a live connection, according to Valkey. Raises PresenceUnknown."""
        return await self._store.customers_connected(customer_ids)

    async def run(self) -> None:
        """Call `report` every few seconds, until cancelled."""
        await repeat(self.report, REPORT_INTERVAL_SECONDS)

    async def report(self) -> None:
        """Report to Valkey which customers have sent a frame and which are gone. Raises PresenceUnknown.

        Nothing repeats a failed report, because the next frames cause a new report.
        """
        gone, self._gone = self._gone, set()
        heard_from, self._heard_from = self._heard_from - gone, set()
        # A customer without a socket here is perhaps connected to another process. The other process then reports the
        # customer.
        await self._store.customers_seen(list(gone), COME_BACK_SECONDS)
        await self._store.customers_seen(list(heard_from), CUSTOMER_CONNECTED_SECONDS)
