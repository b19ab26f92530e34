"""The bodies of the presence endpoints, and the data of the event `presence.changed`."""

from uuid import UUID

import msgspec


class PresenceChange(msgspec.Struct, forbid_unknown_fields=True):
    """The toggle that the mitra chose."""

    online: bool


class MitraPresence(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's own presence: the toggle, whether the mitra is connected, the number of sessions, the capacity."""

    online: bool
    connected: bool
    active_sessions: int
    max_customers: int


class MitraProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's own name and presence."""

    id: UUID
    display_name: str
    online: bool
    connected: bool
    active_sessions: int
    max_customers: int


class Availability(msgspec.Struct, frozen=True):
    """Whether any mitra is available. There is no count, because a customer never learns the number (1.5)."""

    available: bool
