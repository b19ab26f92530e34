"""The realtime events of this room. Each goes to both who are in the session, as each may see it."""

from uuid import UUID

from curhat.realtime.protocol import EventType
from curhat.realtime.service import StreamEvent
from curhat.sessions.schemas import Message, ReadMark, SessionViews


def session_started(views: SessionViews) -> list[StreamEvent]:
    """The chat is open."""
    return _as_each_sees_it("session.started", views)


def session_updated(views: SessionViews) -> list[StreamEvent]:
    """Something of a running chat changed: the customer's call name."""
    return _as_each_sees_it("session.updated", views)


def session_ended(views: SessionViews) -> list[StreamEvent]:
    """The chat is over, and why."""
    return _as_each_sees_it("session.ended", views)


def message_created(customer_id: UUID, mitra_id: UUID, message: Message) -> list[StreamEvent]:
    """A message was sent. Also to its sender, who may have another device open."""
    return [
        StreamEvent(role="customer", user_id=customer_id, type="message.created", data=message),
        StreamEvent(role="mitra", user_id=mitra_id, type="message.created", data=message),
    ]


def messages_read(customer_id: UUID, mitra_id: UUID, mark: ReadMark) -> list[StreamEvent]:
    """One side has read what the other sent."""
    return [
        StreamEvent(role="customer", user_id=customer_id, type="messages.read", data=mark),
        StreamEvent(role="mitra", user_id=mitra_id, type="messages.read", data=mark),
    ]


def _as_each_sees_it(event_type: EventType, views: SessionViews) -> list[StreamEvent]:
    return [
        StreamEvent(role="customer", user_id=views.customer_id, type=event_type, data=views.for_customer),
        StreamEvent(role="mitra", user_id=views.mitra_id, type=event_type, data=views.for_mitra),
    ]
