"""The bodies of this package's requests, answers and signals."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from curhat.kit.identity import Role

Transport = Literal["bearer", "cookie"]

# Each limit exceeds the length of any valid value. The limits keep the later checks cheap.
WrittenPhone = Annotated[str, msgspec.Meta(max_length=60)]
WrittenName = Annotated[str, msgspec.Meta(max_length=200)]
WrittenDeviceSecret = Annotated[str, msgspec.Meta(max_length=100)]
WrittenCode = Annotated[str, msgspec.Meta(max_length=20)]


class CodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The phone number that gets the code: 08…, 8…, 62…, +62…, 0062… or tel:…, with any usual separators.

    A number of another country must begin with +, and this service must accept that country. An app sends the
    `device_secret` of its last sign-in, so that nobody else can use up the app's tries. A web client has the secret in
    a cookie.
    """

    phone: WrittenPhone
    device_secret: WrittenDeviceSecret | None = None


class CodeRequested(msgspec.Struct, frozen=True):
    """The server has sent a code, valid until `expires_at`.

    A client can request another code after `resend_after`.
    """

    request_id: UUID
    expires_at: datetime
    resend_after: datetime
    server_now: datetime


class CodeVerification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the user received. The server reads `call_name` only at a customer's first sign-in."""

    request_id: UUID
    code: WrittenCode
    call_name: WrittenName | None = None
    transport: Transport = "bearer"
    device_secret: WrittenDeviceSecret | None = None


class OwnCustomer(msgspec.Struct, frozen=True):
    """A customer's own id and name."""

    id: UUID
    call_name: str


class OwnMitra(msgspec.Struct, frozen=True):
    """A mitra's own id and name."""

    id: UUID
    display_name: str


class CustomerSignedIn(msgspec.Struct, frozen=True):
    """The customer who is signed in. `token` and `device_secret` are absent if the server sends them as cookies."""

    customer: OwnCustomer
    token: str | UnsetType = UNSET
    device_secret: str | UnsetType = UNSET


class MitraSignedIn(msgspec.Struct, frozen=True):
    """The mitra who is signed in. `token` and `device_secret` are absent if the server sends them as cookies."""

    mitra: OwnMitra
    token: str | UnsetType = UNSET
    device_secret: str | UnsetType = UNSET


class Device(msgspec.Struct, frozen=True):
    """A device on which a person is signed in. `current` is true for the device that sent this request.

    The server records `last_seen_at` at most once per hour.
    """

    id: UUID
    current: bool
    created_at: datetime
    last_seen_at: datetime
    user_agent: str


class Devices(msgspec.Struct, frozen=True):
    """The devices on which a person is signed in, the most recently seen first."""

    items: list[Device]
    next_cursor: str | None = None


class CustomerAccount(msgspec.Struct, frozen=True):
    """A customer's account, in the form that only this customer is allowed to see."""

    id: UUID
    call_name: str
    phone_masked: str


class InboxMessage(msgspec.Struct, frozen=True):
    """A text message that a real sender would have sent to a phone."""

    text: str
    code: str
    sent_at: datetime


class Inbox(msgspec.Struct, frozen=True):
    """The text messages to one phone number, newest first. Development only."""

    messages: list[InboxMessage]


class SocketsToClose(msgspec.Struct, frozen=True, omit_defaults=True):
    """The signal on the channel `sockets`, as JSON.

    Each process closes its sockets of one token, or of one person in one role.
    """

    code: int
    token_digest: str | None = None
    role: Role | None = None
    user_id: UUID | None = None
