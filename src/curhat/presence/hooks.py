"""What presence sets off in the packages above it. `app/wiring.py` gives the functions."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.presence.schemas import MitraPresence

# Takes the toggle's transaction, the mitra, and whether it is online now. Awaited while the mitra's row is locked, and
# only when the intent changed. Raising refuses the change.
IntentChanged: TypeAlias = Callable[[Transaction, UUID, bool], Awaitable[None]]


class PresenceHooks(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that presence calls."""

    intent_changed: IntentChanged
    # Awaited with mitras that may be asked now, again every few seconds for as long as they may.
    may_be_asked: Callable[[list[UUID]], Awaitable[object]]
    # Called with a mitra of whom this process holds a connection, when its presence changed or a device connected.
    presence_changed: Callable[[UUID, MitraPresence], None]
