"""The realtime events about presence."""

from typing import Final

from curhat.presence.schemas import MitraPresence
from curhat.realtime.event_types import UnsequencedEventType

PRESENCE_CHANGED: Final = UnsequencedEventType("presence.changed", MitraPresence)
