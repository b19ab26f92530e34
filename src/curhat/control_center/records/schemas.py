"""The API's structs of payments, sessions, customers and mitras, as operators see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.accounts.schemas import WrittenName, WrittenPhone
from curhat.control_center.schemas import CaseStatus, CustomerReference, MitraReference, OperatorReference
from curhat.pairing.states import CloseReason, FailureTag, PairingKind, RequestStatus
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Purpose
from curhat.safety.ratings.schemas import RatingCounts
from curhat.sessions.schemas import WRITTEN
from curhat.sessions.states import EndReason, ExtensionStatus, LeaveReason, SessionStatus

MAX_REASON_CHARACTERS = 500
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_CHARACTERS, pattern=WRITTEN)]
Capacity = Annotated[int, msgspec.Meta(ge=1, le=20)]

# The order of the mitras: lowest acceptance, slowest answers, most requests without an answer, or most requests first.
AnswersSort = Literal["acceptance", "answer_time", "unanswered", "asked"]

TimelineType = Literal[
    "payment_opened",
    "payment_status",
    "charge_started",
    "charge_answered",
    "pairing_opened",
    "mitra_asked",
    "mitra_answered",
    "pairing_decided",
    "failure_logged",
    "session_started",
    "session_ended",
    "extension_requested",
    "extension_decided",
    "case_opened",
    "case_decided",
    "refund_approved",
    "refund_requested",
    "refund_answered",
]

# The result: the new status of a payment, extension, charge, request, pairing or refund, or an operator's decision.
TimelineStatus = Literal[
    PaymentStatus,
    ExtensionStatus,
    "declined",
    "approved_late",
    "accepted",
    "closed",
    "matched",
    "failed",
    "recovered",
    "refund",
    "no_refund",
    "done",
]


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event in the life of a payment. The `type` determines which fields are set.

    `status`: the result. `reason`: the cause, as one of our codes or in the gateway's words. `note`: text that a person
    wrote, or the code of the reason why a member left a chat. `entity_id`: the id of the payment, attempt, pairing,
    request, session, extension, case or refund.
    """

    at: datetime
    type: TimelineType
    status: TimelineStatus | None
    kind: PairingKind | None
    tag: FailureTag | None
    reason: str | None
    note: str | None
    amount_rp: int | None
    mitra: MitraReference | None
    operator: OperatorReference | None
    entity_id: UUID


class PaymentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A payment. `tag`: the tag of the payment's last failure. `anybody_asked`: whether any mitra was asked.

    `session_id`, `case_id`: null if the payment has no session or case.
    """

    id: UUID
    purpose: Purpose
    status: PaymentStatus
    customer: CustomerReference
    amount_rp: int
    duration_minutes: int
    is_trial: bool
    target_mitra: MitraReference | None
    created_at: datetime
    expires_at: datetime
    confirmed_at: datetime | None
    closed_at: datetime | None
    tag: FailureTag | None
    anybody_asked: bool
    session_id: UUID | None
    case_id: UUID | None
    server_now: datetime


class UnitPayment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment of a session or of its extensions. `taken_rp`: the charges that the gateway approved.

    `refunded_rp`: given back. `requested_rp`: refunds that the gateway has not answered yet. `left_rp`: the rest.
    """

    id: UUID
    reference: str
    purpose: Purpose
    status: PaymentStatus
    amount_rp: int
    duration_minutes: int
    is_trial: bool
    created_at: datetime
    taken_rp: int
    refunded_rp: int
    requested_rp: int
    left_rp: int
    case_id: UUID | None
    case_status: CaseStatus | None


class SessionMoney(msgspec.Struct, frozen=True, kw_only=True):
    """All payments of a session: its own and those of its extensions, with their sums.

    A payment without a session stands alone, and `session_id` is null.
    """

    session_id: UUID | None
    payments: list[UnitPayment]
    taken_rp: int
    refunded_rp: int
    requested_rp: int
    left_rp: int


class PaymentDetail(PaymentRecord, frozen=True, kw_only=True):
    """A payment with everything that happened to the payment, oldest first.

    `money`: all payments of its session. `mitras_asked`: how many mitras were asked; the timeline has at most 100.
    """

    money: SessionMoney
    mitras_asked: int
    timeline: list[TimelineEntry]


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A chat session, without its messages.

    `leave_reason`: the code that the member gave who left the chat in one press. `end_note`: the mitra's reason in own
    words, from clients that send one.
    """

    id: UUID
    status: SessionStatus
    payment_id: UUID
    customer: CustomerReference
    mitra: MitraReference
    duration_minutes: int
    is_trial: bool
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    end_note: str | None
    leave_reason: LeaveReason | None
    case_id: UUID | None
    server_now: datetime


class SessionDetail(SessionRecord, frozen=True, kw_only=True):
    """A chat session, with the number of messages of each side, and all its payments."""

    money: SessionMoney
    messages_of_customer: int
    messages_of_mitra: int


class CustomerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A customer, with counts of the customer's payments, sessions and open cases.

    `paid_rp`: the charged amount minus the refunded amount.
    """

    id: UUID
    call_name: str
    phone_masked: str
    created_at: datetime
    payments: int
    sessions: int
    open_cases: int
    paid_rp: int
    last_payment_at: datetime | None


class ReportsOfPerson(msgspec.Struct, frozen=True):
    """The numbers of reports: `made` by the person, and `about` the person.

    `sanctions`: reports about the person with a warning or suspension that stands. `concerns`: of mitras about the
    customer, or raised by the mitra.
    """

    made: int
    about: int
    sanctions: int
    concerns: int


class BlocksOfPerson(msgspec.Struct, frozen=True):
    """The numbers of blocks that hold: `made` by the person, and `about` the person."""

    made: int
    about: int


class CustomerDetail(CustomerRecord, frozen=True, kw_only=True):
    """A customer, with the suspension in force, the numbers of reports and blocks, and the given ratings.

    `suspended_until`: null in a suspension means for good.
    """

    suspended: bool
    suspended_at: datetime | None
    suspended_until: datetime | None
    suspension_reason: str | None
    reports: ReportsOfPerson
    blocks: BlocksOfPerson
    ratings: RatingCounts


class Acceptance(msgspec.Struct, frozen=True):
    """How a mitra answered its last requests. `asked`: the number of the mitra's last requests, at most 200.

    `seconds_p50`: the median time to accept.
    """

    asked: int
    accepted: int
    rejected: int
    unanswered: int
    seconds_p50: float | None


class MitraRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra: toggle, connection and load. `connected` is null while Valkey does not answer."""

    id: UUID
    display_name: str
    phone_masked: str
    online: bool
    connected: bool | None
    active_sessions: int
    max_customers: int
    suspended: bool
    suspended_at: datetime | None
    last_seen_at: datetime | None
    created_at: datetime
    acceptance: Acceptance


class MitraDetail(MitraRecord, frozen=True, kw_only=True):
    """A mitra, with its current suspension, the numbers of reports and blocks, and the ratings of its chats.

    `suspension_reason`: null if nobody gave one. `suspended_until`: null in a suspension means until it is lifted.
    """

    suspension_reason: str | None
    suspended_until: datetime | None
    reports: ReportsOfPerson
    blocks: BlocksOfPerson
    ratings: RatingCounts


class InvitedMitra(MitraRecord, frozen=True, kw_only=True):
    """A mitra after an invitation. If `is_new` is false, the person was a mitra before, and nothing changed."""

    is_new: bool


class PaymentTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How many payments the filters find, and their rupiah.

    `taken_rp`: of the payments that were confirmed. `is_at_least`: true if there are more payments than were counted.
    """

    payments: int
    amount_rp: int
    taken_rp: int
    is_at_least: bool


class SessionTotals(msgspec.Struct, frozen=True, kw_only=True):
    """How many chat sessions the filters find, with their first minutes and the rupiah of their first payments.

    `is_at_least`: true if there are more sessions than were counted.
    """

    sessions: int
    minutes: int
    amount_rp: int
    is_at_least: bool


class MitraRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that the mitra got, with its outcome. `answer_seconds`: from the offer to the answer or the closing."""

    id: UUID
    payment_id: UUID
    kind: PairingKind
    customer: CustomerReference
    is_returning: bool
    outcome: RequestStatus
    close_reason: CloseReason | None
    offered_at: datetime
    answered_at: datetime | None
    answer_seconds: float | None


class MitraAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """How a mitra answered in a period.

    `taken`: requests that another mitra accepted first. `unanswered`: requests that ran out of time. `acceptance`: the
    accepted part of the asked requests, from 0 to 1. `seconds_average`: the mean time to accept.
    """

    id: UUID
    display_name: str
    online: bool
    suspended: bool
    asked: int
    accepted: int
    rejected: int
    taken: int
    unanswered: int
    acceptance: float
    seconds_average: float | None


class MitraAnswersList(msgspec.Struct, frozen=True, kw_only=True):
    """How the mitras answered from `since` to `until`, both rounded to hours. At most 500 mitras."""

    items: list[MitraAnswers]
    since: datetime
    until: datetime
    next_cursor: str | None = None


class MitraInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The phone number, the name that customers see, and how many customers the mitra can have at the same time."""

    phone: WrittenPhone
    display_name: WrittenName
    max_customers: Capacity


class MitraChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change. A field that is left out stays unchanged. `reason`: why the mitra is suspended."""

    display_name: WrittenName | msgspec.UnsetType = msgspec.UNSET
    max_customers: Capacity | msgspec.UnsetType = msgspec.UNSET
    suspended: bool | msgspec.UnsetType = msgspec.UNSET
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
