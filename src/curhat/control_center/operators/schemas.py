"""What crosses the border about operators."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from curhat.control_center.operators.passwords import LONGEST, SHORTEST
from curhat.control_center.operators.permissions import OperatorRole, Permission

Transport = Literal["bearer", "cookie"]

WrittenEmail = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
WrittenPassword = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]
NewPassword = Annotated[str, msgspec.Meta(min_length=SHORTEST, max_length=LONGEST)]
WrittenTotp = Annotated[str, msgspec.Meta(max_length=20)]
WrittenRecoveryCode = Annotated[str, msgspec.Meta(max_length=40)]


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in. `totp` (six digits), or one of the recovery codes, once an authenticator app is set up."""

    email: WrittenEmail
    password: WrittenPassword
    totp: WrittenTotp | None = None
    recovery_code: WrittenRecoveryCode | None = None
    transport: Transport = "bearer"


class OwnOperator(msgspec.Struct, frozen=True):
    """An operator, as they see themself."""

    id: UUID
    email: str
    role: OperatorRole


class OperatorSignedIn(msgspec.Struct, frozen=True):
    """An operator is signed in. Without `token` when it went into a cookie.

    `totp_enrolled` false: the authenticator app is to be set up first; production opens nothing else before.
    """

    operator: OwnOperator
    totp_enrolled: bool
    token: str | UnsetType = UNSET


class OperatorAccount(msgspec.Struct, frozen=True):
    """One's own account: who, what one may do, and how the second factor stands."""

    id: UUID
    email: str
    role: OperatorRole
    permissions: list[Permission]
    totp_enrolled: bool
    recovery_codes_left: int


class TotpBeginning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password once more; and the code of the app that is to be replaced, when there is one."""

    password: WrittenPassword
    totp: WrittenTotp | None = None
    recovery_code: WrittenRecoveryCode | None = None


class TotpSecret(msgspec.Struct, frozen=True):
    """What the authenticator app is given: the secret, the same as an address, and that as a QR code in SVG."""

    secret: str
    otpauth_uri: str
    qr_svg: str


class TotpProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the app shows now."""

    totp: WrittenTotp


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Ten codes, each good once in the place of the app's. Shown this once; they replace those of before."""

    recovery_codes: list[str]


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password of until now, and the new one, of 12 to 128 characters."""

    password: WrittenPassword
    new_password: NewPassword


class Device(msgspec.Struct, frozen=True):
    """One place where the operator is signed in. `is_current`: the one that asks."""

    id: UUID
    user_agent: str
    address: str
    transport: Transport
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    is_current: bool


class DeviceList(msgspec.Struct, frozen=True):
    """Where the operator is signed in, the last seen first."""

    items: list[Device]
    server_now: datetime
    next_cursor: str | None = None
