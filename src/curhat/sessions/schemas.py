"""The structs of the API and of the realtime events about chat sessions.

A session has one struct for its customer and one struct for its mitra, because each side is allowed to see only some
facts about the other side (X.4). CustomerName has everything that a mitra is allowed to see of a customer.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.configuration.definitions import DefaultAction
from curhat.kit.identity import Role
from curhat.pricing.schemas import Offer
from curhat.sessions.states import DecidedBy, EndReason, ExtensionStatus, ReviewReason, SessionStatus

# This pattern refuses NUL, which PostgreSQL cannot store. This pattern also refuses a text that contains only white
# space. The pattern never backtracks, so no text makes it slow. The JSON decoder already refuses lone surrogates. The
# operation must also pass the text through `kit.visible_text.checked_text`, which knows every invisible character.
WRITTEN = r"^\s*[^\x00\s][^\x00]*$"
NO_NUL = r"^[^\x00]+$"

MAX_MESSAGE_CHARACTERS = 4000
MAX_END_NOTE_CHARACTERS = 500

ClientMessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=NO_NUL)]
MessageText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MESSAGE_CHARACTERS, pattern=WRITTEN)]
EndNote = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_END_NOTE_CHARACTERS, pattern=WRITTEN)]


class MitraName(msgspec.Struct, frozen=True):
    """Everything that a customer sees of a mitra (X.4)."""

    id: UUID
    display_name: str


class CustomerName(msgspec.Struct, frozen=True):
    """Everything that a mitra sees of a customer (X.4). This struct has no id and no phone number."""

    call_name: str


class Extension(msgspec.Struct, frozen=True):
    """A paid request to lengthen a chat. Both sides see the same struct.

    The server charges the customer when the extension is approved. `decided_by` is null while the extension is
    pending. If the mitra has not answered by `deadline_at`, the server carries out `default_action` (5.5).
    `mitra_went_offline`: the mitra's toggle was off when the customer asked, or was switched off while the extension
    was pending. This flag distinguishes the two reasons of `mitra_unreachable`. It is false until the extension is
    decided, because the event of the decision tells it.
    """

    id: UUID
    session_id: UUID
    payment_id: UUID
    status: ExtensionStatus
    decided_by: DecidedBy | None
    offer: Offer
    deadline_at: datetime
    default_action: DefaultAction
    mitra_went_offline: bool
    server_now: datetime


class ExtensionOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A customer's order of an extension. The offer sets the duration and the price.

    `default_action` is what the customer was told about silence (see OfferList). If it is no longer the terms of an
    extension, nothing is asked for (`terms_changed`).
    """

    offer_id: UUID
    default_action: DefaultAction | None = None


class _SessionFields(msgspec.Struct, frozen=True):
    id: UUID
    status: SessionStatus
    mitra: MitraName
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    duration_minutes: int
    extended_minutes: int
    extension: Extension | None
    server_now: datetime
    text_until: datetime | None
    text_gone: bool


class Session(_SessionFields, frozen=True):
    """A chat as its customer sees it.

    `ended_at` and `end_reason` are null until the chat has ended. `extension` is the latest extension, in any status.
    `duration_minutes` is the duration that the customer first paid for, without extensions. `extended_minutes` is the
    sum of the approved extensions.
    `mitra_connected` is false while the mitra of a running chat has been disconnected for more than 6 s. From
    `review_possible_at` on, the customer can end the chat with a review. It is null while the mitra is connected.
    `review_reason` says why operators review what the chat cost. It is null if nothing is reviewed because of its end.
    The reader can read the text of an ended chat until `text_until` (P.7). If `text_gone` is true, the text is gone.
    """

    payment_id: UUID
    mitra_connected: bool
    review_possible_at: datetime | None
    review_reason: ReviewReason | None


# MitraSession is not a subclass of Session. Otherwise mypy would accept a MitraSession in an answer to a customer.
class MitraSession(_SessionFields, frozen=True):
    """A chat as its mitra sees it. The mitra can read the text for a shorter time than the customer (P.7)."""

    customer: CustomerName


class SessionViews(msgspec.Struct, frozen=True):
    """One session in two forms: the form for its customer and the form for its mitra."""

    customer_id: UUID
    mitra_id: UUID
    for_customer: Session
    for_mitra: MitraSession


class Message(msgspec.Struct, frozen=True):
    """One message. `read_at` is null until the other side has read the message.

    `reply_to_message_id` is the earlier message of the same chat that the message answers.
    """

    id: UUID
    session_id: UUID
    client_message_id: str
    sender: Role
    text: str
    sent_at: datetime
    read_at: datetime | None
    reply_to_message_id: UUID | None


class MessagePage(msgspec.Struct, frozen=True):
    """A page of a chat's messages.

    The reader can read the text until `text_until`, which is null while the chat runs. If `text_gone` is true, the
    reader can no longer read the text, and the page is empty (P.7).
    """

    items: list[Message]
    next_cursor: str | None
    text_until: datetime | None
    text_gone: bool


class ReadMark(msgspec.Struct, frozen=True):
    """`reader` has read the messages of the other side, up to the message `up_to_message_id`."""

    session_id: UUID
    reader: Role
    up_to_message_id: UUID
    read_at: datetime


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to send.

    The client chooses `client_message_id`. If `client_message_id` was used before, the server sends nothing.
    `reply_to_message_id` names an earlier message of the same chat.
    """

    client_message_id: ClientMessageId
    text: MessageText
    reply_to_message_id: UUID | None = None


class MarkRead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user has read the messages of the other side, up to the message `up_to_message_id`."""

    up_to_message_id: UUID


class EndByCustomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a customer ends a chat. With `review`, an operator reviews what the chat cost (X.11).

    The customer can end a chat with a review only when its mitra has been disconnected for 60 s.
    """

    review: bool = False


class EndEarly(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason why a mitra ends a chat early. Operators see the reason. The customer never sees the reason."""

    reason: EndNote
