"""Which customers hold a live connection: what decides whether push is needed, and nothing else.

Each process tells Valkey every few seconds of the customers it heard from. Wiped or away, it is right again with the
next frames, 15 s later at most; a customer is then pushed to beside being connected, which does no harm.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
import valkey.asyncio

from curhat.kit.errors import PresenceUnknown
from curhat.presence.store import PresenceStore

log = structlog.get_logger(__name__)

# A customer is pinged every 15 s: two pings, and room for a slow network.
CUSTOMER_CONNECTED_SECONDS: Final = 35.0
# How long after its last socket here closed a customer still counts as connected: the time to come back.
COME_BACK_SECONDS: Final = 3.0
REPORT_SECONDS: Final = 3.0


class CustomerConnections:
    """What one process knows of its customers' connections, and of everybody's through Valkey."""

    def __init__(self, client: "valkey.asyncio.Valkey") -> None:
        self._store = PresenceStore(client)
        self._heard_from: set[UUID] = set()
        self._gone: set[UUID] = set()

    def heard(self, customer_id: UUID) -> None:
        """A frame came from a customer. In memory: called for every frame."""
        self._heard_from.add(customer_id)

    async def opened(self, customer_id: UUID) -> None:
        """A customer connected; Valkey shows it when this returns, unless it is away."""
        self._gone.discard(customer_id)
        try:
            await self._store.customers_seen([customer_id], CUSTOMER_CONNECTED_SECONDS)
        except PresenceUnknown:
            self._heard_from.add(customer_id)

    def closed(self, customer_id: UUID) -> None:
        """The last socket that this process holds of a customer is gone."""
        self._heard_from.discard(customer_id)
        self._gone.add(customer_id)

    async def connected_among(self, customer_ids: Sequence[UUID]) -> set[UUID]:
        """Who of these holds a live connection, as far as is known. Raises PresenceUnknown."""
        return await self._store.customers_connected(customer_ids)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                await self.report()
            except PresenceUnknown:
                pass  # The store has logged it, once for the outage.
            except Exception:
                log.exception("presence.customers_not_reported")
            await asyncio.sleep(REPORT_SECONDS)

    async def report(self) -> None:
        """Tell Valkey who was heard from, and who is gone. What it does not take is not told again: the next frame
        says more. Raises PresenceUnknown."""
        gone, self._gone = self._gone, set()
        heard_from, self._heard_from = self._heard_from - gone, set()
        # A customer who is gone here and connected elsewhere is heard from there.
        await self._store.customers_seen(list(gone), COME_BACK_SECONDS)
        await self._store.customers_seen(list(heard_from), CUSTOMER_CONNECTED_SECONDS)
