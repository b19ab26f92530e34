"""The functions of higher packages that presence calls. `app/wiring.py` provides them."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.presence.schemas import MitraPresence

# Takes the toggle's transaction, the mitra, and whether the mitra is online now. Presence calls this function while
# the mitra's row is locked, and only if the intent changed. If the function raises, the toggle does not change.
IntentChanged = Callable[[Transaction, UUID, bool], Awaitable[None]]


class PresenceHooks(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that presence calls."""

    intent_changed: IntentChanged
    # Takes the mitras who may be asked now. Presence repeats the call every few seconds while these mitras may be
    # asked.
    may_be_asked: Callable[[list[UUID]], Awaitable[object]]
    # Takes a mitra with a connection in this process, and the mitra's presence. Presence calls this when that
    # presence changed or a device connected.
    presence_changed: Callable[[UUID, MitraPresence], None]
