"""The structs of the HTTP API about a whole journey."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from curhat.accounts.schemas import CustomerAccount
from curhat.pairing.schemas import Pairing, Payment, Request
from curhat.presence.schemas import MitraPresence
from curhat.sessions.schemas import Extension, MitraSession, Session


class PaymentOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer asks to pay for. The server takes the price from the offer."""

    offer_id: UUID
    target_mitra_id: UUID | None = None


class Confirmation(msgspec.Struct, frozen=True):
    """The payment after a confirmation. It has no pairing while the gateway's answer is not known."""

    payment: Payment
    pairing: Pairing | None = None


class AcceptedRequest(msgspec.Struct, frozen=True):
    """The session that the winner of a request gets, also when the accept is repeated."""

    session: MitraSession


MitraStatus = Literal["available", "offline", "full"]


class MitraStatusAnswer(msgspec.Struct, frozen=True):
    """The status of the mitra of a past chat, and whether another mitra could be asked (3.3, 3.4)."""

    status: MitraStatus
    other_available: bool


class StreamPosition(msgspec.Struct, frozen=True):
    """The last event of the user's stream that a snapshot contains."""

    epoch: UUID
    seq: int


class CustomerState(msgspec.Struct, frozen=True):
    """The customer's whole snapshot.

    `payment` is the open one, or the last one if it was taken and got no session. `extension` is the one that waits for
    the mitra or for the gateway.
    """

    payment: Payment | None
    pairing: Pairing | None
    session: Session | None
    extension: Extension | None
    stream: StreamPosition
    server_now: datetime


class MitraState(msgspec.Struct, frozen=True):
    """The mitra's whole snapshot. `extensions` are those that wait for the mitra or for the gateway."""

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
    """The fields of the profile that a customer may change."""

    call_name: str
