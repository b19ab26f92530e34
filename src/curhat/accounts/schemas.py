"""The bodies of requests, answers and signals of accounts."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from curhat.kit.identity import Role

Transport = Literal["bearer", "cookie"]

# These limits are above the length of any valid value, and keep the checks cheap.
WrittenPhone = Annotated[str, msgspec.Meta(max_length=40)]
WrittenName = Annotated[str, msgspec.Meta(max_length=200)]
WrittenCode = Annotated[str, msgspec.Meta(max_length=20)]


class CodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The phone to send a code to: 08…, 62…, +62…, or another country's number with its +."""

    phone: WrittenPhone


class CodeRequested(msgspec.Struct, frozen=True):
    """A code was sent. It is valid until `expires_at`. Another code may be requested after `resend_after`."""

    request_id: UUID
    expires_at: datetime
    resend_after: datetime
    server_now: datetime


class CodeVerification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that arrived. `call_name` is read only at a customer's first sign-in."""

    request_id: UUID
    code: WrittenCode
    call_name: WrittenName | None = None
    transport: Transport = "bearer"


class OwnCustomer(msgspec.Struct, frozen=True):
    """A customer's own id and name."""

    id: UUID
    call_name: str


class OwnMitra(msgspec.Struct, frozen=True):
    """A mitra's own id and name."""

    id: UUID
    display_name: str


class CustomerSignedIn(msgspec.Struct, frozen=True):
    """The customer who is signed in. `token` is absent if a cookie contains it."""

    customer: OwnCustomer
    token: str | UnsetType = UNSET


class MitraSignedIn(msgspec.Struct, frozen=True):
    """The mitra who is signed in. `token` is absent if a cookie contains it."""

    mitra: OwnMitra
    token: str | UnsetType = UNSET


class CustomerAccount(msgspec.Struct, frozen=True):
    """A customer's account, as only this customer may see it."""

    id: UUID
    call_name: str
    phone_masked: str


class InboxMessage(msgspec.Struct, frozen=True):
    """A message that a real sender would have sent to a phone."""

    text: str
    code: str
    sent_at: datetime


class Inbox(msgspec.Struct, frozen=True):
    """The messages to one phone, newest first. Development only."""

    messages: list[InboxMessage]


class SocketsToClose(msgspec.Struct, frozen=True, omit_defaults=True):
    """The signal on the channel `sockets`, as JSON: close the sockets of one token, or of one person in one role."""

    code: int
    token_digest: str | None = None
    role: Role | None = None
    user_id: UUID | None = None
