"""The realtime events about chat sessions. Each goes to both members of the session."""

from typing import Final, TypeVar
from uuid import UUID

import msgspec

from curhat.realtime.event_types import EventType, StreamEvent
from curhat.sessions.schemas import Extension, Message, MitraSession, ReadMark, Session, SessionViews

SESSION_STARTED: Final = EventType("session.started", Session, MitraSession)
SESSION_UPDATED: Final = EventType("session.updated", Session, MitraSession)
SESSION_ENDED: Final = EventType("session.ended", Session, MitraSession)
MESSAGE_CREATED: Final = EventType("message.created", Message, Message)
MESSAGES_READ: Final = EventType("messages.read", ReadMark, ReadMark)
EXTENSION_REQUESTED: Final = EventType("extension.requested", Extension, Extension)
EXTENSION_DECIDED: Final = EventType("extension.decided", Extension, Extension)

Data = TypeVar("Data", bound=msgspec.Struct)


def session_started(views: SessionViews) -> list[StreamEvent]:
    """The chat is open."""
    return _views_to_both(SESSION_STARTED, views)


def session_updated(views: SessionViews) -> list[StreamEvent]:
    """A running chat has changed: a name, or its end."""
    return _views_to_both(SESSION_UPDATED, views)


def session_ended(views: SessionViews) -> list[StreamEvent]:
    """The chat is over, and why."""
    return _views_to_both(SESSION_ENDED, views)


def extension_requested(customer_id: UUID, mitra_id: UUID, extension: Extension) -> list[StreamEvent]:
    """The customer asks for more time, and the mitra can answer."""
    return _to_both(EXTENSION_REQUESTED, customer_id, mitra_id, extension)


def extension_decided(customer_id: UUID, mitra_id: UUID, extension: Extension) -> list[StreamEvent]:
    """The extension is rejected, or approved and being charged; or its charge has succeeded or failed."""
    return _to_both(EXTENSION_DECIDED, customer_id, mitra_id, extension)


def message_created(customer_id: UUID, mitra_id: UUID, message: Message) -> list[StreamEvent]:
    """A message was sent. Its sender gets the event too, for other devices of the same user."""
    return _to_both(MESSAGE_CREATED, customer_id, mitra_id, message)


def messages_read(customer_id: UUID, mitra_id: UUID, mark: ReadMark) -> list[StreamEvent]:
    """One side has read what the other sent."""
    return _to_both(MESSAGES_READ, customer_id, mitra_id, mark)


def _to_both(
    event_type: EventType[Data, Data], customer_id: UUID, mitra_id: UUID, data: Data
) -> list[StreamEvent]:
    return [event_type.to_customer(customer_id, data), event_type.to_mitra(mitra_id, data)]


def _views_to_both(event_type: EventType[Session, MitraSession], views: SessionViews) -> list[StreamEvent]:
    return [
        event_type.to_customer(views.customer_id, views.for_customer),
        event_type.to_mitra(views.mitra_id, views.for_mitra),
    ]
