"""Declarations of events. Each package declares in its `events.py` the events that it sends.

A declaration names an event, and the structs that hold its data. `contracts/realtime.json` is generated from the
declarations.
"""

from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from curhat.kit.identity import Role

CustomerData = TypeVar("CustomerData", bound=msgspec.Struct)
MitraData = TypeVar("MitraData", bound=msgspec.Struct)


class _UserEvent(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    user_id: UUID
    type: str
    data: msgspec.Struct


class StreamEvent(_UserEvent, frozen=True, kw_only=True):
    """An event for one user's stream: numbered, stored and replayed. The methods of EventType make StreamEvents."""


class UnsequencedEvent(_UserEvent, frozen=True, kw_only=True):
    """An event for one user's open sockets: not numbered and never stored.

    The methods of UnsequencedEventType make UnsequencedEvents.
    """


class EventType(Generic[CustomerData, MitraData]):
    """A type of stream event, with the data struct for each role. A role that never gets the event has no struct."""

    def __init__(
        self, name: str, customer: type[CustomerData] | None = None, mitra: type[MitraData] | None = None
    ) -> None:
        self.name = name
        self.data: dict[Role, type[msgspec.Struct] | None] = {"customer": customer, "mitra": mitra}

    def to_customer(self, customer_id: UUID, data: CustomerData) -> StreamEvent:
        """Return this event for a customer's stream."""
        return StreamEvent(role="customer", user_id=customer_id, type=self.name, data=data)

    def to_mitra(self, mitra_id: UUID, data: MitraData) -> StreamEvent:
        """Return this event for a mitra's stream."""
        return StreamEvent(role="mitra", user_id=mitra_id, type=self.name, data=data)


class UnsequencedEventType(Generic[MitraData]):
    """A type of event for mitras.

    An event of this type can be lost, because the welcome, `/state` and the lists show the same state.
    """

    def __init__(self, name: str, mitra: type[MitraData]) -> None:
        self.name = name
        self.data: dict[Role, type[msgspec.Struct] | None] = {"mitra": mitra}

    def to_mitra(self, mitra_id: UUID, data: MitraData) -> UnsequencedEvent:
        """Return this event for the sockets of a mitra."""
        return UnsequencedEvent(role="mitra", user_id=mitra_id, type=self.name, data=data)
