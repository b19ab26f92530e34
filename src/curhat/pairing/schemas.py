"""The structs of the API for payments, pairings and requests.

A Payment contains its pairing. So both structs are in the lowest package that knows payments and pairings.
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
    """The mitra whom a customer chose from the history. The customer sees only the display name (X.4)."""


class Fallback(msgspec.Struct, frozen=True):
    """The offer to search for another bestie under the same payment, after a targeted pairing failed (3.5).

    `status` is the state of this offer. `allowed` says whether the customer can still take or decline the fallback.
    `other_available` says whether another bestie could be asked when the server built this struct. The server checks
    the availability again when the customer takes the fallback.
    """

    status: FallbackStatus
    allowed: bool
    other_available: bool
    answer_by: datetime


class Pairing(msgspec.Struct, frozen=True):
    """One attempt to find a mitra. A matched pairing has a `session_id`. A failed pairing has a `failure_tag`.

    `anybody_asked` says whether the pairing has asked at least one mitra. The customer never sees how many (1.5).
    """

    id: UUID
    payment_id: UUID
    kind: PairingKind
    status: PairingStatus
    deadline_at: datetime
    failure_tag: FailureTag | None
    anybody_asked: bool
    fallback: Fallback | None
    session_id: UUID | None
    server_now: datetime


class Payment(msgspec.Struct, frozen=True):
    """A payment session as its customer sees it, with its latest pairing."""

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
    """A mitra's card. Only the call name identifies the customer (X.4). A closed request has a `close_reason`.

    `is_trial` says that the customer asks for the free trial. The card never has an amount.
    """

    id: UUID
    kind: PairingKind
    call_name: str
    is_returning: bool
    duration_minutes: int
    is_trial: bool
    deadline_at: datetime
    close_reason: CloseReason | None
    server_now: datetime


class RequestList(msgspec.Struct, frozen=True):
    """The requests that a mitra can accept now, oldest first."""

    items: list[Request]
    server_now: datetime
