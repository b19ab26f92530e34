"""The realtime events about chat sessions. Both members of a session get each event."""

from typing import Final, TypeVar
from uuid import UUID

import msgspec

from curhat.realtime.event_types import EventType, StreamEvent
from curhat.sessions.schemas import Extension, Message, MitraSession, ReadMark, Session, SessionViews

SESSION_STARTED: Final = EventType("session.started", Session, MitraSession)
# A member's name or the session's end has changed.
SESSION_UPDATED: Final = EventType("session.updated", Session, MitraSession)
SESSION_ENDED: Final = EventType("session.ended", Session, MitraSession)
# The sender gets this event too, for the sender's other devices.
MESSAGE_CREATED: Final = EventType("message.created", Message, Message)
MESSAGES_READ: Final = EventType("messages.read", ReadMark, ReadMark)
EXTENSION_REQUESTED: Final = EventType("extension.requested", Extension, Extension)
# The extension was approved or rejected, or its charge succeeded or failed.
EXTENSION_DECIDED: Final = EventType("extension.decided", Extension, Extension)

Data = TypeVar("Data", bound=msgspec.Struct)


def to_both(
    event_type: EventType[Data, Data], customer_id: UUID, mitra_id: UUID, data: Data
) -> list[StreamEvent]:
    """Return the events that give both members the same data."""
    return [event_type.to_customer(customer_id, data), event_type.to_mitra(mitra_id, data)]


def views_to_both(event_type: EventType[Session, MitraSession], views: SessionViews) -> list[StreamEvent]:
    """Return the events that give each member its own view of the session."""
    return [
        event_type.to_customer(views.customer_id, views.for_customer),
        event_type.to_mitra(views.mitra_id, views.for_mitra),
    ]
