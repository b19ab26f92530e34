"""The cards on the mitras' devices. The product's Cards send events to these devices instead of sockets."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.pairing.cards import Cards, open_requests
from curhat.realtime.event_types import UnsequencedEvent
from tests.simulation.devices import Device
from tests.simulation.fake_gateway import SimulatedPresence


class CardDevices:
    """A simulated server process that holds the sockets of all connected mitras.

    This server process is also the hub of its Cards.
    """

    def __init__(self, database: Database, presence: SimulatedPresence) -> None:
        self._database = database
        self._presence = presence
        self._cards = Cards(database, self)  # type: ignore[arg-type]
        self._signalled: set[UUID] = set()
        # The devices of the mitras.
        self.devices: Mapping[UUID, Device] = {}

    def held(self, _role: Role) -> set[UUID]:
        """See Hub."""
        return set(self._presence.connected)

    def send_unsequenced(self, event: UnsequencedEvent) -> None:
        """See Hub. A dead phone does not get the event."""
        if self._receives(event.user_id):
            data = msgspec.json.decode(msgspec.json.encode(event.data))
            self.devices[event.user_id].apply_card(event.type, data)

    def _receives(self, mitra_id: UUID) -> bool:
        return mitra_id in self._presence.connected and mitra_id not in self._presence.silent_since

    def publish(self, channel: str, payload: bytes) -> None:
        """See SignalSink. Remember the mitras of the signal `requests` until the next call of `handle_signals`."""
        if channel == "requests":
            self._signalled.update(msgspec.json.decode(payload, type=list[UUID]))

    async def handle_signals(self) -> None:
        """Send the changes of all mitras whom the signals named."""
        if self._signalled:
            mitra_ids, self._signalled = sorted(self._signalled), set()
            await self._cards.refresh(mitra_ids)

    async def look_again(self) -> None:
        """Send the changes of all mitras. A real server sends these changes every LOOK_AGAIN_SECONDS."""
        await self._cards.refresh(list(self.devices))

    async def mitra_returns(self, mitra_id: UUID) -> None:
        """Connect the mitra's device again. The device gets its cards with the welcome."""
        requests = await self._cards.welcome(mitra_id)
        self.devices[mitra_id].take_cards(msgspec.json.decode(msgspec.json.encode(requests)))

    async def check(self) -> str | None:
        """Describe how the connected devices' cards differ from the open requests.

        Returns None if the cards do not differ.
        """
        await self.handle_signals()
        connected = [mitra_id for mitra_id in self.devices if self._receives(mitra_id)]
        fresh = await open_requests(self._database, connected)
        for mitra_id in connected:
            requests = msgspec.json.decode(msgspec.json.encode(fresh.get(mitra_id, [])))
            if difference := self.devices[mitra_id].compare_cards(requests):
                return f"{mitra_id}: {difference}"
        return None
