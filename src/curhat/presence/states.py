"""Pure: the windows of presence, and when a mitra may take another customer."""

from uuid import UUID

import msgspec

# 1.1: a mitra may be asked while its last frame is at most this old. Four heartbeats of 3 s.
MAY_BE_ASKED_SECONDS = 12
# 1.1: a mitra whom push reaches may be asked for as long as this after the app was last seen.
PUSH_REACHABLE_SECONDS = 15 * 60
# 5.6: a mitra is connected while its last frame is at most this old. Two heartbeats of 3 s.
MITRA_CONNECTED_SECONDS = 6
# 5.6: how long a socket that closed has to come back before anybody is told.
COME_BACK_SECONDS = 3


class MitraState(msgspec.Struct, frozen=True, kw_only=True):
    """What PostgreSQL knows of a mitra that availability depends on."""

    id: UUID
    display_name: str
    online: bool
    suspended: bool
    active_sessions: int
    max_customers: int
    # For how long push reaches the mitra from now on: the rest of the 15 minutes since the app was last seen, while
    # a subscription has not failed; else 0.
    push_reachable_seconds: float
    # Grows with every change of what availability depends on, but for the time that goes by and frames that come.
    availability_version: int

    @property
    def askable(self) -> bool:
        """Wants to work, may work, and has a free place: whoever is reachable as well may be asked."""
        return self.online and not self.suspended and self.active_sessions < self.max_customers
