"""The structs of the HTTP API about a whole journey."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from curhat.accounts.schemas import CustomerAccount
from curhat.journeys.outcome import WhatHappened
from curhat.pairing.schemas import Pairing, Payment, Request
from curhat.pairing.states import CloseReason, PairingKind
from curhat.payments.states import CaseDecision, RefundStatus
from curhat.presence.schemas import MitraPresence
from curhat.safety.reports.schemas import NewReport
from curhat.sessions.schemas import Extension, MitraSession, Session
from curhat.sessions.states import CustomerLeaveReason, MitraLeaveReason


class PaymentOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The offer that a customer wants to pay for, and the chosen mitra if there is one.

    The server takes the price from the offer.
    """

    offer_id: UUID
    target_mitra_id: UUID | None = None


class LeaveByCustomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a customer leaves a chat (T.5). Everything is optional. With `block`, the two are never paired again."""

    reason_code: CustomerLeaveReason | None = None
    report: NewReport | None = None
    block: bool = False


class LeaveByMitra(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a mitra leaves a chat (T.5). Everything is optional. With `block`, the two are never paired again.

    Operators see `reason_code`. The customer never sees it.
    """

    reason_code: MitraLeaveReason | None = None
    report: NewReport | None = None
    block: bool = False


class NotStored(msgspec.Struct, frozen=True):
    """A part of a leave that was refused. `code` is a code of the operation that stores this part alone."""

    part: Literal["report", "block"]
    code: str


class LeftSession(Session, frozen=True, kw_only=True):
    """The ended chat, as its customer sees it. `not_stored` has the refused parts. The chat ends all the same."""

    not_stored: list[NotStored]


class LeftMitraSession(MitraSession, frozen=True, kw_only=True):
    """The ended chat, as its mitra sees it. `not_stored` has the refused parts. The chat ends all the same."""

    not_stored: list[NotStored]


class Review(msgspec.Struct, frozen=True):
    """The review of a payment by the team, as its customer sees it.

    `decision` and `decided_at` are null while `status` is `open`. A decision that waits for a second operator has not
    been made yet.
    """

    status: Literal["open", "decided"]
    decision: CaseDecision | None
    opened_at: datetime
    decided_at: datetime | None


class PaymentRefund(msgspec.Struct, frozen=True):
    """One refund of a payment. `at` is when the gateway answered, or when the refund was requested."""

    amount_rp: int
    status: RefundStatus
    at: datetime


class CustomerPayment(Payment, frozen=True):
    """A payment with everything that became of it.

    `reference` is what the customer tells an operator. `charged_rp` is what the gateway took, over all charges.
    `refunds` are oldest first. `session_id` is the session that the payment paid for. `is_news` says whether the home
    screen notes this payment: paid money is under review, or the customer has not seen what became of the payment.
    """

    reference: str
    what_happened: WhatHappened
    charged_rp: int
    review: Review | None
    refunds: list[PaymentRefund]
    session_id: UUID | None
    is_news: bool


class Confirmation(msgspec.Struct, frozen=True):
    """The payment after a confirmation. `pairing` is null while the gateway's answer is not known."""

    payment: Payment
    pairing: Pairing | None = None


class AcceptedRequest(msgspec.Struct, frozen=True):
    """The session that the winner of a request gets. If the winner repeats the accept, the session is the same."""

    session: MitraSession


MitraStatus = Literal["available", "offline", "full"]


class MitraStatusAnswer(msgspec.Struct, frozen=True):
    """The status of the mitra of a past chat, and whether another mitra can be asked now (3.3, 3.4).

    `blocked_by_you` says that the customer has blocked the mitra. The status is then `offline` (T.1).
    """

    status: MitraStatus
    other_available: bool
    blocked_by_you: bool = False


class StreamPosition(msgspec.Struct, frozen=True):
    """A position in the user's stream. The snapshot contains the effects of all events up to this position."""

    epoch: UUID
    seq: int


class CustomerState(msgspec.Struct, frozen=True):
    """The customer's whole snapshot.

    `payment` is the open payment. If no payment is open, `payment` is the last payment, provided that the last payment
    was confirmed and got no session. `extension` is the extension that waits for the mitra or for the gateway.
    """

    payment: Payment | None
    pairing: Pairing | None
    session: Session | None
    extension: Extension | None
    stream: StreamPosition
    server_now: datetime


class MitraState(msgspec.Struct, frozen=True):
    """The mitra's whole snapshot. Each of the `extensions` waits for the mitra or for the gateway."""

    requests: list[Request]
    sessions: list[MitraSession]
    extensions: list[Extension]
    presence: MitraPresence
    stream: StreamPosition
    server_now: datetime


class CustomerProfile(CustomerAccount, frozen=True):
    """A customer's own profile. The phone number is masked."""

    trial_available: bool


class ProfileChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of the profile that a customer can change."""

    call_name: str


class RequestsOfPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a mitra got in a period, and how they ended.

    `taken_by_another`: another mitra was faster. `not_answered`: the time was over. `withdrawn`: the customer
    cancelled, or the mitra went offline, was full or was suspended. A request that still waits counts only as `asked`.
    """

    asked: int
    accepted: int
    taken_by_another: int
    not_answered: int
    rejected: int
    withdrawn: int


class WorkOfPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's work since `since`: the sessions that began since then, and the minutes that they have lasted."""

    since: datetime
    sessions: int
    minutes: int
    paid_sessions: int
    trial_sessions: int
    requests: RequestsOfPeriod


class WorkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A mitra's work today, this week (from Monday) and this month, in the time zone `zone`. It has no amounts."""

    zone: str
    today: WorkOfPeriod
    week: WorkOfPeriod
    month: WorkOfPeriod
    server_now: datetime


class PastRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that a mitra can no longer answer, and how it ended. It has no amount.

    `answered_at` is the time at which it ended. Only an accepted request has a `session_id`.
    """

    id: UUID
    kind: PairingKind
    call_name: str
    is_returning: bool
    duration_minutes: int
    is_trial: bool
    offered_at: datetime
    answered_at: datetime | None
    outcome: CloseReason
    session_id: UUID | None
