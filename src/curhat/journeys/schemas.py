"""What crosses the border about a whole journey."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from curhat.pairing.schemas import Pairing, Payment, Request
from curhat.presence.schemas import MitraPresence
from curhat.sessions.schemas import Extension, MitraSession, Session


class PaymentOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer asks to pay for. The price comes from the offer, never from here."""

    offer_id: UUID
    target_mitra_id: UUID | None = None


class Confirmation(msgspec.Struct, frozen=True):
    """The payment after a confirmation; without a pairing while the gateway's answer is not known."""

    payment: Payment
    pairing: Pairing | None = None


class AcceptedRequest(msgspec.Struct, frozen=True):
    """What the winner of a request gets: the session, the same again when the accept is repeated."""

    session: MitraSession


MitraStatus = Literal["available", "offline", "full"]


class MitraStatusAnswer(msgspec.Struct, frozen=True):
    """How the mitra of a past chat stands, and whether anybody else could be asked instead (3.3, 3.4)."""

    status: MitraStatus
    other_available: bool


class StreamPosition(msgspec.Struct, frozen=True):
    """Up to where the user's stream is contained in a snapshot."""

    epoch: UUID
    seq: int


class CustomerState(msgspec.Struct, frozen=True):
    """The customer's whole snapshot. `payment`: the open one, or the last if it was taken without a session.
    `extension`: the one that waits for its answer or for the gateway."""

    payment: Payment | None
    pairing: Pairing | None
    session: Session | None
    extension: Extension | None
    stream: StreamPosition
    server_now: datetime


class MitraState(msgspec.Struct, frozen=True):
    """The mitra's whole snapshot. `extensions`: those that wait for its answer or for the gateway."""

    requests: list[Request]
    sessions: list[MitraSession]
    extensions: list[Extension]
    presence: MitraPresence
    stream: StreamPosition
    server_now: datetime


class CustomerProfile(msgspec.Struct, frozen=True):
    """A customer's own profile; the phone number only masked."""

    id: UUID
    call_name: str
    phone_masked: str
    trial_available: bool


class ProfileChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer may change of the profile."""

    call_name: str
