"""The realtime events of this room. Each goes to both who are in the session, as each may see it."""

from uuid import UUID

import msgspec

from curhat.realtime.protocol import EventType
from curhat.realtime.service import StreamEvent
from curhat.sessions.schemas import Extension, Message, ReadMark, SessionViews


def session_started(views: SessionViews) -> list[StreamEvent]:
    """The chat is open."""
    return _as_each_sees_it("session.started", views)


def session_updated(views: SessionViews) -> list[StreamEvent]:
    """Something of a running chat changed: the customer's call name, or its end."""
    return _as_each_sees_it("session.updated", views)


def session_ended(views: SessionViews) -> list[StreamEvent]:
    """The chat is over, and why."""
    return _as_each_sees_it("session.ended", views)


def extension_requested(customer_id: UUID, mitra_id: UUID, extension: Extension) -> list[StreamEvent]:
    """The customer asks for more time, and the mitra may answer."""
    return _to_both("extension.requested", customer_id, mitra_id, extension)


def extension_decided(customer_id: UUID, mitra_id: UUID, extension: Extension) -> list[StreamEvent]:
    """It is rejected; or approved, and being charged; or what became of the charge."""
    return _to_both("extension.decided", customer_id, mitra_id, extension)


def message_created(customer_id: UUID, mitra_id: UUID, message: Message) -> list[StreamEvent]:
    """A message was sent. Also to its sender, who may have another device open."""
    return _to_both("message.created", customer_id, mitra_id, message)


def messages_read(customer_id: UUID, mitra_id: UUID, mark: ReadMark) -> list[StreamEvent]:
    """One side has read what the other sent."""
    return _to_both("messages.read", customer_id, mitra_id, mark)


def _to_both(
    event_type: EventType, customer_id: UUID, mitra_id: UUID, data: msgspec.Struct
) -> list[StreamEvent]:
    return [
        StreamEvent(role="customer", user_id=customer_id, type=event_type, data=data),
        StreamEvent(role="mitra", user_id=mitra_id, type=event_type, data=data),
    ]


def _as_each_sees_it(event_type: EventType, views: SessionViews) -> list[StreamEvent]:
    return [
        StreamEvent(role="customer", user_id=views.customer_id, type=event_type, data=views.for_customer),
        StreamEvent(role="mitra", user_id=views.mitra_id, type=event_type, data=views.for_mitra),
    ]
