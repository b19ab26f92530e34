"""The structs of the API for payments, pairings and requests.

A Payment contains its pairing. So both structs are here, in the lowest package that knows both.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from curhat.pairing.states import CloseReason, FailureTag, FallbackStatus, PairingKind, PairingStatus
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Offer, Purpose
from curhat.sessions.schemas import MitraName


class PaymentOffer(Offer, frozen=True):
    """The offer's terms as they were when the payment was opened."""


class TargetMitra(MitraName, frozen=True):
    """The mitra whom a customer chose from the history. Shows the display name and nothing else (X.4)."""


class Fallback(msgspec.Struct, frozen=True):
    """The choice of another bestie under the same payment, after a targeted pairing failed (3.5).

    `status` says what became of it. `allowed`: the customer may still take or decline it. `other_available`: another
    bestie could be asked when this was read or, in an event, when the pairing failed. Taking it checks again.
    """

    status: FallbackStatus
    allowed: bool
    other_available: bool
    answer_by: datetime


class Pairing(msgspec.Struct, frozen=True):
    """One attempt to find a mitra. It has a `session_id` once matched, and a `failure_tag` once failed."""

    id: UUID
    payment_id: UUID
    kind: PairingKind
    status: PairingStatus
    deadline_at: datetime
    failure_tag: FailureTag | None
    fallback: Fallback | None
    session_id: UUID | None
    server_now: datetime


class Payment(msgspec.Struct, frozen=True):
    """A payment session as its customer sees it, with the latest pairing under it."""

    id: UUID
    purpose: Purpose
    status: PaymentStatus
    offer: PaymentOffer
    amount_rp: int
    target_mitra: TargetMitra | None
    created_at: datetime
    expires_at: datetime
    pairing: Pairing | None
    server_now: datetime


class Request(msgspec.Struct, frozen=True):
    """A mitra's card. Only the call name identifies the customer (X.4). It has a `close_reason` once closed."""

    id: UUID
    kind: PairingKind
    call_name: str
    is_returning: bool
    duration_minutes: int
    deadline_at: datetime
    close_reason: CloseReason | None
    server_now: datetime


class RequestList(msgspec.Struct, frozen=True):
    """The requests open for a mitra now, oldest first."""

    items: list[Request]
    server_now: datetime
