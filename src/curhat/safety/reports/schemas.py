"""The structs of the API and of the event about reports, concerns and notices, as the two sides see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from curhat.safety.reports.states import (
    MAX_MARKED_MESSAGES,
    AppealDecision,
    ConcernLevel,
    NoticeKind,
    OwnReportStatus,
    ReportReason,
)
from curhat.sessions.schemas import WRITTEN

MAX_NOTE_CHARACTERS = 500
MAX_APPEAL_CHARACTERS = 2000

Note = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NOTE_CHARACTERS, pattern=WRITTEN)]
AppealText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_APPEAL_CHARACTERS, pattern=WRITTEN)]
MarkedMessages = Annotated[list[UUID], msgspec.Meta(max_length=MAX_MARKED_MESSAGES)]


class NewReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report about the other side of a chat. `message_ids`: the messages that the reporter marked."""

    reason: ReportReason
    note: Note | None = None
    message_ids: MarkedMessages = []


class Report(msgspec.Struct, frozen=True):
    """A report as its reporter sees it. `status` is `received` until an operator has decided."""

    id: UUID
    session_id: UUID
    reason: ReportReason
    status: OwnReportStatus
    created_at: datetime


class NewConcern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mitra worries about the customer of a chat."""

    level: ConcernLevel
    note: Note | None = None


class Concern(msgspec.Struct, frozen=True):
    """A concern as its mitra sees it."""

    id: UUID
    session_id: UUID
    level: ConcernLevel
    created_at: datetime


class Appeal(msgspec.Struct, frozen=True):
    """The reader's appeal against a decision. `decision` is null until another operator has decided."""

    text: str | None
    appealed_at: datetime
    decision: AppealDecision | None


class Notice(msgspec.Struct, frozen=True):
    """What one person is told about a decision. It never says who reported, or when.

    `rule`: the rule that was broken, or the reason of the reader's own report. It is null if there was no report.
    `session_id`: the chat of the reader's own report; null in every other notice. `suspended_until`: null means for
    good, in a notice of the kind `suspension`. `must_acknowledge`: the reader must acknowledge the notice before the
    next payment, or before going online. `appeal_by`: until when the reader can appeal; null if no appeal is possible.
    """

    id: UUID
    kind: NoticeKind
    rule: ReportReason | None
    session_id: UUID | None
    suspended_until: datetime | None
    created_at: datetime
    acknowledged_at: datetime | None
    must_acknowledge: bool
    appeal_by: datetime | None
    appeal: Appeal | None
    server_now: datetime


class NewAppeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the decision is wrong, in the reader's words."""

    text: AppealText
