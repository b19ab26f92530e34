"""The structs of an export. A JSON export is one `Export`, written piece by piece."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from curhat.journeys.outcome import WhatHappened
from curhat.journeys.schemas import PaymentRefund, Review
from curhat.kit.identity import Role
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Purpose
from curhat.safety.ratings.states import RatingAnswer, RatingTag
from curhat.safety.reports.states import OwnReportStatus, ReportReason
from curhat.sessions.states import EndReason

ExportFormat = Literal["json", "html"]
Language = Literal["id", "en"]
# Why an operator opened a chat: for the safety of people, to review what it cost, or for another reason.
OpeningReason = Literal["safety", "payment", "other"]


class ExportedProfile(msgspec.Struct, frozen=True):
    """The account. `name` is the call name of a customer, or the display name of a mitra."""

    id: UUID
    role: Role
    name: str
    phone_number: str
    member_since: datetime


class ExportedPayment(msgspec.Struct, frozen=True):
    """One payment of a customer, with everything that became of it."""

    id: UUID
    reference: str
    purpose: Purpose
    status: PaymentStatus
    what_happened: WhatHappened
    duration_minutes: int
    amount_rp: int
    charged_rp: int
    created_at: datetime
    session_id: UUID | None
    review: Review | None
    refunds: list[PaymentRefund]


class ExportedMessage(msgspec.Struct, frozen=True):
    """One message. `is_own` says whether the person of the export wrote it."""

    id: UUID
    sent_at: datetime
    is_own: bool
    text: str
    read_at: datetime | None
    reply_to_message_id: UUID | None


class ExportedOpening(msgspec.Struct, frozen=True):
    """An operator read the chat. `why` never says whether a person reported something, or who did (T.4)."""

    at: datetime
    why: OpeningReason


class ExportedRating(msgspec.Struct, frozen=True):
    """What the customer answered after the chat."""

    answer: RatingAnswer
    tags: list[RatingTag]
    rated_at: datetime


class ExportedChat(msgspec.Struct, frozen=True):
    """One chat. `with_name` is the name of the other side. Only a customer's chat has a `rating`.

    `openings` says when and why an operator read the chat, once no report and no case about it waits for a decision.
    If `text_gone` is true, the person can no longer read the text, and there are no messages.
    """

    id: UUID
    with_name: str
    started_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    duration_minutes: int
    extended_minutes: int
    text_until: datetime | None
    text_gone: bool
    openings: list[ExportedOpening]
    rating: ExportedRating | None


class ExportedChatWithText(ExportedChat, frozen=True):
    """A chat with its messages, oldest first."""

    messages: list[ExportedMessage]


class ExportedReport(msgspec.Struct, frozen=True):
    """A report that the person has made."""

    id: UUID
    session_id: UUID
    reason: ReportReason
    note: str | None
    status: OwnReportStatus
    created_at: datetime


class ExportedBlock(msgspec.Struct, frozen=True):
    """Somebody whom the person has blocked after this session."""

    session_id: UUID
    name: str
    created_at: datetime


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A person's own data (P.6). `complete` is the last field: without it, the file is not complete."""

    version: Literal[1]
    exported_at: datetime
    profile: ExportedProfile
    payments: list[ExportedPayment]
    chats: list[ExportedChatWithText]
    reports: list[ExportedReport]
    blocks: list[ExportedBlock]
    complete: Literal[True]
