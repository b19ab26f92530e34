"""The API's structs of looks at chats."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.control_center.schemas import OperatorReference
from curhat.sessions.schemas import WRITTEN

MAX_REASON_CHARACTERS = 500
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARACTERS, pattern=WRITTEN)]

# What the tables know about a session. A legal order is only in the reason, and an approval in its request.
FoundGround = Literal["report", "concern", "case"]
GroundKind = Literal["report", "case", "concern", "legal_order"]


class NamedGround(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ground that the operator names. `id`: of the report, concern or case; a legal order has none."""

    kind: GroundKind
    id: UUID | None = None


class TranscriptOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the operator reads the chat. The audit keeps the reason and the ground.

    Without `ground`, a report, concern or case of the session is taken as the ground.
    """

    reason: Reason
    ground: NamedGround | None = None


class TranscriptGround(msgspec.Struct, frozen=True):
    """The ground of a look at a chat. `approval`: another operator approved it; `id` is the request's id."""

    kind: Literal[GroundKind, "approval"]
    id: UUID | None


class TranscriptMessage(msgspec.Struct, frozen=True):
    """One message, as it was sent."""

    id: UUID
    sender: Literal["customer", "mitra"]
    text: str
    sent_at: datetime
    read_at: datetime | None


class Transcript(msgspec.Struct, frozen=True):
    """The messages of a session, oldest first, and the ground of the look."""

    session_id: UUID
    messages: list[TranscriptMessage]
    ground: TranscriptGround


class TranscriptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's request to read a chat without a report, concern, case or legal order.

    From the approval on, `requested_by` can read the chat for 24 hours.
    """

    id: UUID
    session_id: UUID
    reason: str
    requested_by: OperatorReference
    requested_at: datetime
    approved_by: OperatorReference | None
    approved_at: datetime | None


class TranscriptRequests(msgspec.Struct, frozen=True):
    """The requests that wait, and those approved within 24 hours; newest first, at most 100."""

    items: list[TranscriptRequest]
    next_cursor: str | None = None
