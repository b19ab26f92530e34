"""The functions of higher packages that presence calls. `app/wiring.py` provides them."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.presence.schemas import MitraPresence

# Takes the toggle's transaction, the mitra, and whether the mitra is online now. Presence awaits it while the mitra's
# row is locked, and only when the intent changed. If it raises an error, the change is refused.
IntentChanged: TypeAlias = Callable[[Transaction, UUID, bool], Awaitable[None]]


class PresenceHooks(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that presence calls."""

    intent_changed: IntentChanged
    # Awaited with the mitras that may be asked now. The call repeats every few seconds for as long as they may be
    # asked.
    may_be_asked: Callable[[list[UUID]], Awaitable[object]]
    # Called with a mitra that has a connection in this process, when its presence changed or a device connected.
    presence_changed: Callable[[UUID, MitraPresence], None]
