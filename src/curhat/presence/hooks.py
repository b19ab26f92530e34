"""The functions of higher packages that this package calls. `app/wiring.py` provides them."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.presence.schemas import MitraPresence

# Takes the toggle's transaction, the mitra, and whether the mitra is online now. If the intent changed, `set_intent`
# calls this function under the lock of the mitra's row. If the function raises, the toggle does not change.
IntentChanged = Callable[[Transaction, UUID, bool], Awaitable[None]]


class PresenceHooks(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that this package calls."""

    intent_changed: IntentChanged
    # Takes the mitras who have just become available, and offers them the open blasts. Returns False, or raises, if an
    # offer must be repeated. `Presence` then repeats the call every few seconds.
    newly_available: Callable[[list[UUID]], Awaitable[bool]]
    # Takes a mitra with a connection in this process, and the mitra's presence. `Presence` calls this function after
    # the mitra's presence changed, and after a device has connected.
    presence_changed: Callable[[UUID, MitraPresence], None]
