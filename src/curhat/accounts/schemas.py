"""What crosses the border about accounts."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from curhat.kit.identity import Role

Transport = Literal["bearer", "cookie"]

# Longer than anything right, and short enough to be looked at without a cost.
WrittenPhone = Annotated[str, msgspec.Meta(max_length=40)]
WrittenName = Annotated[str, msgspec.Meta(max_length=200)]
WrittenCode = Annotated[str, msgspec.Meta(max_length=20)]


class CodeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose phone a code is to be sent to: 08…, 62…, +62…, or another country's number with its +."""

    phone: WrittenPhone


class CodeRequested(msgspec.Struct, frozen=True):
    """A code is on its way. It is good until `expires_at`; another one may be asked for at `resend_after`."""

    request_id: UUID
    expires_at: datetime
    resend_after: datetime
    server_now: datetime


class CodeVerification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that arrived. `call_name` is for a customer's first sign-in, and not read at any other."""

    request_id: UUID
    code: WrittenCode
    call_name: WrittenName | None = None
    transport: Transport = "bearer"


class OwnCustomer(msgspec.Struct, frozen=True):
    """A customer, as they see themself."""

    id: UUID
    call_name: str


class OwnMitra(msgspec.Struct, frozen=True):
    """A mitra, as they see themself."""

    id: UUID
    display_name: str


class CustomerSignedIn(msgspec.Struct, frozen=True):
    """A customer is signed in. Without `token` when it went into a cookie."""

    customer: OwnCustomer
    token: str | UnsetType = UNSET


class MitraSignedIn(msgspec.Struct, frozen=True):
    """A mitra is signed in. Without `token` when it went into a cookie."""

    mitra: OwnMitra
    token: str | UnsetType = UNSET


class CustomerAccount(msgspec.Struct, frozen=True):
    """What accounts knows of a customer, for their own eyes."""

    id: UUID
    call_name: str
    phone_masked: str


class InboxMessage(msgspec.Struct, frozen=True):
    """A message that would have gone to a phone."""

    text: str
    code: str
    sent_at: datetime


class Inbox(msgspec.Struct, frozen=True):
    """The messages to one phone, newest first. Development only."""

    messages: list[InboxMessage]


class SocketsToClose(msgspec.Struct, frozen=True, omit_defaults=True):
    """The signal on the channel `sockets`, as JSON: the sockets of one token, or of one person in one role."""

    code: int
    token_digest: str | None = None
    role: Role | None = None
    user_id: UUID | None = None
