"""The bodies of the presence endpoints, and the data of the event `presence.changed`."""

from uuid import UUID

import msgspec


class PresenceChange(msgspec.Struct, forbid_unknown_fields=True):
    """The toggle, as the mitra sets it."""

    online: bool


class MitraPresence(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's own presence: the toggle, whether it is connected, and how many of its places are taken."""

    online: bool
    connected: bool
    active_sessions: int
    max_customers: int


class MitraProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a mitra sees of itself."""

    id: UUID
    display_name: str
    online: bool
    connected: bool
    active_sessions: int
    max_customers: int


class Availability(msgspec.Struct, frozen=True):
    """Whether any mitra is available. Without a number: the customer never sees one (1.5)."""

    available: bool
