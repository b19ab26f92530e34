"""The bodies of the presence endpoints, and the data of the event `presence.changed`."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

# The lengths of a break that a mitra can choose.
BreakMinutes = Literal[15, 30, 60]


class PresenceChange(msgspec.Struct, forbid_unknown_fields=True):
    """The toggle that the mitra chose."""

    online: bool


class BreakOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The length of the break that the mitra takes."""

    minutes: BreakMinutes


class MitraPresence(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's own presence: the toggle, whether the mitra is connected, the number of sessions, the capacity.

    `break_until` is the time at which the service reminds a mitra who takes a break. The break itself lasts until the
    mitra sets the toggle, so the time can be over. Without a break, `break_until` is null.
    """

    online: bool
    connected: bool
    active_sessions: int
    max_customers: int
    break_until: datetime | None = None


class MitraProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's own name and presence."""

    id: UUID
    display_name: str
    online: bool
    connected: bool
    active_sessions: int
    max_customers: int
    break_until: datetime | None = None


class Availability(msgspec.Struct, frozen=True):
    """Whether any mitra is available. There is no count, because a customer never learns the number (1.5)."""

    available: bool
