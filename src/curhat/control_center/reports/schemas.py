"""The API's structs of reports and concerns, as operators see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.control_center.schemas import CustomerReference, MitraReference, OperatorReference
from curhat.kit.identity import Role
from curhat.safety.reports.states import (
    AppealDecision,
    ConcernLevel,
    ReportDecision,
    ReportKind,
    ReportReason,
    ReportStatus,
)
from curhat.sessions.schemas import WRITTEN

MAX_DECISION_NOTE_CHARACTERS = 1000
MAX_PHONE_REASON_CHARACTERS = 500
DecisionNote = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_DECISION_NOTE_CHARACTERS, pattern=WRITTEN)
]
PhoneReason = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_PHONE_REASON_CHARACTERS, pattern=WRITTEN)
]

ReportUrgency = Literal["within_15_minutes", "within_24_hours", "within_72_hours"]


class QueuedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report or a concern in the queue. `reason`: of a report. `level`: of a concern.

    `due_at`: until when an operator must take the next step: decide, approve, or decide the appeal. `overdue`: whether
    this time is over. `reported`: the side whom the report is about; of a concern, the customer whom it is about.
    `suspend_until`: null with the decision `suspend` means for good.
    """

    id: UUID
    kind: ReportKind
    reason: ReportReason | None
    level: ConcernLevel | None
    status: ReportStatus
    urgency: ReportUrgency
    due_at: datetime
    overdue: bool
    reporter: Role
    reported: Role
    customer: CustomerReference
    mitra: MitraReference
    session_id: UUID
    marked_messages: int
    created_at: datetime
    decision: ReportDecision | None
    suspend_until: datetime | None
    decided_by: OperatorReference | None
    decided_at: datetime | None
    approved_by: OperatorReference | None
    approved_at: datetime | None
    appealed_at: datetime | None
    appeal_decision: AppealDecision | None
    appeal_decided_by: OperatorReference | None
    appeal_decided_at: datetime | None
    server_now: datetime


class ReportedMessage(msgspec.Struct, frozen=True):
    """A message that the reporter marked (`is_marked`), or one of the five messages on either side of it."""

    id: UUID
    sender: Role
    text: str
    sent_at: datetime
    is_marked: bool


class ReportDetail(QueuedReport, frozen=True, kw_only=True):
    """A report or a concern with its note, its marked messages, and what the operators and the reported person wrote.

    `case_id`: the review case of the session's payment, where refunds are decided. `sanctions_before`: how many other
    reports about the same person ended with a warning or a suspension.
    """

    note: str | None
    messages: list[ReportedMessage]
    payment_id: UUID
    case_id: UUID | None
    sanctions_before: int
    decision_note: str | None
    appeal_text: str | None
    appeal_note: str | None


class ReportVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision about a report, and the reason. `until`: the end of a suspension; without it, for good.

    A report about a minor ends with `no_action` or with `suspend` for good, which closes the account. A concern accuses
    nobody, and ends with `no_action`.
    """

    decision: ReportDecision
    note: DecisionNote
    until: datetime | None = None


class SuspensionApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the second operator agrees. If not, the report is open again, and anybody can decide it."""

    approved: bool = True


class AppealVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decision about an appeal, and the reason. `upheld`: the first decision stays. `overturned`: it ends."""

    decision: AppealDecision
    note: DecisionNote


class PhoneOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the operator needs the phone number: whose life or safety is at stake, and what the operator will do."""

    reason: PhoneReason


class RevealedPhone(msgspec.Struct, frozen=True):
    """The customer's phone number, revealed for a vital interest."""

    customer_id: UUID
    phone_number: str
    ground: Literal["vital_interest"] = "vital_interest"


class SuspensionChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Suspend the customer, or lift the suspension (`suspended` is false).

    `until`: the end. Without `until`, the suspension lasts until an operator lifts it, and only an admin can do this.
    `reason`: why; the audit keeps it.
    """

    reason: PhoneReason
    suspended: bool = True
    until: datetime | None = None
