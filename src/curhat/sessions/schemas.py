"""The structs of the API and of the realtime events about chat sessions.

A session has two structs, because each side may see only some facts about the other (X.4). CustomerName lists all that
a mitra may see of a customer.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.configuration.definitions import DefaultAction
from curhat.kit.identity import Role
from curhat.pricing.schemas import Offer
from curhat.sessions.states import DecidedBy, EndReason, ExtensionStatus, SessionStatus

# Refuses NUL, which PostgreSQL cannot store, and texts of blanks only. The pattern never backtracks, so no text makes
# it slow. The JSON decoder already refuses lone surrogates.
WRITTEN = r"^\s*[^\x00\s][^\x00]*$"
NO_NUL = r"^[^\x00]+$"

ClientMessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=NO_NUL)]
MessageText = Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=WRITTEN)]
EndNote = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=WRITTEN)]


class MitraName(msgspec.Struct, frozen=True):
    """All that a customer sees of a mitra (X.4)."""

    id: UUID
    display_name: str


class CustomerName(msgspec.Struct, frozen=True):
    """All that a mitra sees of a customer (X.4): no id, no phone number."""

    call_name: str


class Extension(msgspec.Struct, frozen=True):
    """More time for a chat, charged when it is approved. The same for both sides.

    `decided_by` is null while it is pending. `default_action` is what silence does at `deadline_at` (5.5).
    """

    id: UUID
    session_id: UUID
    payment_id: UUID
    status: ExtensionStatus
    decided_by: DecidedBy | None
    offer: Offer
    deadline_at: datetime
    default_action: DefaultAction
    server_now: datetime


class ExtensionOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The offer by which a customer asks for more time. It also sets the price."""

    offer_id: UUID


class _SessionFields(msgspec.Struct, frozen=True):
    id: UUID
    status: SessionStatus
    mitra: MitraName
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    duration_minutes: int
    extension: Extension | None
    server_now: datetime


class Session(_SessionFields, frozen=True):
    """A chat as its customer sees it.

    `ended_at` and `end_reason` are null until it has ended. `extension` is the latest one, whatever its status.
    `duration_minutes` is what the customer first paid for.
    """


# Not a subclass of Session: mypy would accept it where a Session goes to the customer.
class MitraSession(_SessionFields, frozen=True):
    """A chat as its mitra sees it."""

    customer: CustomerName


class SessionViews(msgspec.Struct, frozen=True):
    """One session as each of its members sees it."""

    customer_id: UUID
    mitra_id: UUID
    for_customer: Session
    for_mitra: MitraSession


class Message(msgspec.Struct, frozen=True):
    """One message. `read_at` is null until the other side has read it."""

    id: UUID
    session_id: UUID
    client_message_id: str
    sender: Role
    text: str
    sent_at: datetime
    read_at: datetime | None


class ReadMark(msgspec.Struct, frozen=True):
    """`reader` has read everything the other side sent, up to this message."""

    session_id: UUID
    reader: Role
    up_to_message_id: UUID
    read_at: datetime


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to send. The client chooses `client_message_id`; a repeated one sends nothing."""

    client_message_id: ClientMessageId
    text: MessageText


class MarkRead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the other side sent up to this message has been read."""

    up_to_message_id: UUID


class EndEarly(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a mitra ends a chat early. Operators read it; the customer never does."""

    reason: EndNote
