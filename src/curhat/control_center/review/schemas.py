"""The API's structs of failed pairings and review cases."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.control_center.records.schemas import PaymentRecord, SessionMoney, TimelineEntry
from curhat.control_center.schemas import CaseStatus, CustomerReference, MitraReference, OperatorReference
from curhat.kit.openapi import Problem
from curhat.pairing.states import FailureTag, PairingKind
from curhat.payments.states import CaseReason
from curhat.sessions.schemas import WRITTEN

DecisionKind = Literal["refund", "no_refund"]
RefundStatus = Literal["awaiting_approval", "requested", "done", "failed"]

MAX_NOTE_CHARACTERS = 1000
Note = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NOTE_CHARACTERS, pattern=WRITTEN)]
MAX_BULK_CASES = 500
CaseIds = Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=MAX_BULK_CASES)]
ExpectedVersions = Annotated[dict[UUID, str], msgspec.Meta(max_length=MAX_BULK_CASES)]
# The column refund_rp is an integer of PostgreSQL.
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class FailedPairing(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt. `kind` is null when the payment expired or the customer never answered the fallback offer.

    `anybody_asked`: whether any mitra was asked. Without, the tag `no_mitra_available` means that nobody was there.
    """

    id: UUID
    tag: FailureTag
    kind: PairingKind | None
    payment_id: UUID
    customer: CustomerReference
    mitra: MitraReference | None
    amount_rp: int
    occurred_at: datetime
    recovered: bool
    case_id: UUID | None
    anybody_asked: bool


class CaseRefund(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a refund. `reason`: why the gateway refused the refund."""

    status: RefundStatus
    amount_rp: int
    reason: str | None
    approved_by: OperatorReference | None
    approved_at: datetime | None
    requested_at: datetime | None
    answered_at: datetime | None


class ReviewCase(msgspec.Struct, frozen=True, kw_only=True):
    """A payment with money that was taken and not delivered. `tag`: the tag of the payment's last failure.

    The open cases of a session and its extensions are decided together. `refundable_rp`: the amount that the customer
    gets back for all of them if the decision is a refund. `needs_approval`: whether the refund needs, or needed, a
    second operator's approval. `opened_by`, `opened_note`: who opened the case by hand, and why. A decided case opens
    again if another charge of the payment is not delivered, or if an operator opens it again. `reason`, `opened_at` and
    the decision then belong to the present round. Each step of an operator covers some charges of the case. `version`
    changes whenever the charges of the next step change.
    """

    id: UUID
    reason: CaseReason
    status: CaseStatus
    tag: FailureTag | None
    anybody_asked: bool
    payment_id: UUID
    customer: CustomerReference
    amount_rp: int
    refundable_rp: int
    version: str
    needs_approval: bool
    opened_at: datetime
    opened_by: OperatorReference | None
    opened_note: str | None
    decision: DecisionKind | None
    note: str | None
    decided_by: OperatorReference | None
    decided_at: datetime | None
    refund: CaseRefund | None


class EarlierDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The decision of an earlier round of a case.

    `withdrawn`: whether the case opened again before a second operator approved the refund. A withdrawn decision has no
    effect.
    """

    reason: CaseReason
    opened_at: datetime
    decision: DecisionKind
    note: str
    decided_by: OperatorReference
    decided_at: datetime
    withdrawn: bool
    refund: CaseRefund | None


class BookDifference(msgspec.Struct, frozen=True):
    """A charge or refund about which the gateway and our tables disagree.

    A status or amount is null if that side does not know the charge or refund.
    """

    day: date
    about: Literal["charge", "refund"]
    key: UUID
    our_status: str | None
    our_rp: int | None
    gateway_status: str | None
    gateway_rp: int | None
    found_at: datetime


class ReviewCaseDetail(ReviewCase, frozen=True, kw_only=True):
    """A case with its earlier decisions, its payment, and the timeline of the payment; all oldest first.

    `money`: all payments of the session, which are decided together. `book_differences`: what the gateway's books and
    ours said about the payment when a day was closed.
    """

    money: SessionMoney
    book_differences: list[BookDifference]
    earlier_decisions: list[EarlierDecision]
    payment: PaymentRecord
    timeline: list[TimelineEntry]
    server_now: datetime


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision and its reason. `expected_version`: the version of the case that the operator saw.

    If the case has another version by now, the decision is refused. Without `expected_version`, the decision covers
    every charge that is in question now. `amount_rp`: the part to give back; without it, all that is left.
    """

    decision: DecisionKind
    note: Note
    expected_version: str | None = None
    amount_rp: Amount | None = None


class OpenedCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an operator opens a case by hand."""

    reason: Literal["complaint"]
    note: Note


class Decisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same decision on up to 500 cases. If the sum is above the limit, each refund waits for approval.

    `expected_versions`: a map from each case's id to the version of the case that the operator saw.
    """

    case_ids: CaseIds
    decision: DecisionKind
    note: Note
    expected_versions: ExpectedVersions = {}


class SelectedCase(msgspec.Struct, frozen=True):
    """An open case of a selection, in the version that the sum counts.

    `refundable_rp`: what a refund of the case's whole session would give back.
    """

    case_id: UUID
    version: str
    refundable_rp: int


class CaseSelection(msgspec.Struct, frozen=True, kw_only=True):
    """The open cases that match a filter, oldest first, at most 500, and what it would cost to refund them all.

    A session with several cases counts once in `refundable_rp`. `needs_approval`: whether the sum is above the limit.
    `has_more`: whether more cases match than `items` has.
    """

    items: list[SelectedCase]
    count: int
    refundable_rp: int
    needs_approval: bool
    has_more: bool


class DecisionOutcome(msgspec.Struct, frozen=True):
    """The outcome for one of many cases: the decided case, or the reason why the server refused the decision."""

    case_id: UUID
    case: ReviewCase | None
    problem: Problem | None


class DecisionOutcomes(msgspec.Struct, frozen=True):
    """One outcome for each case, in the order of the request."""

    items: list[DecisionOutcome]
