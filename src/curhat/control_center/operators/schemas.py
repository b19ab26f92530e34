"""The API's structs of operators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from curhat.accounts.schemas import Transport, WrittenDeviceSecret
from curhat.control_center.operators.passwords import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS
from curhat.control_center.operators.permissions import OperatorRole, Permission

WrittenEmail = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
WrittenPassword = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PASSWORD_CHARACTERS)]
NewPassword = Annotated[
    str, msgspec.Meta(min_length=MIN_PASSWORD_CHARACTERS, max_length=MAX_PASSWORD_CHARACTERS)
]
WrittenTotp = Annotated[str, msgspec.Meta(max_length=20)]
WrittenRecoveryCode = Annotated[str, msgspec.Meta(max_length=40)]


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-in. An operator with an authenticator app must also send `totp` (six digits) or `recovery_code`.

    An app sends the `device_secret` of its last sign-in, so that nobody else's wrong passwords delay the app. A web
    client has the secret in a cookie.
    """

    email: WrittenEmail
    password: WrittenPassword
    totp: WrittenTotp | None = None
    recovery_code: WrittenRecoveryCode | None = None
    transport: Transport = "bearer"
    device_secret: WrittenDeviceSecret | None = None


class OwnOperator(msgspec.Struct, frozen=True):
    """The operator who is signed in."""

    id: UUID
    email: str
    role: OperatorRole


class OperatorSignedIn(msgspec.Struct, frozen=True):
    """A successful sign-in. `token` and `device_secret` are absent if the server sends them as cookies.

    If `must_change_password` is true, the server refuses every operation except a change of the password and a
    sign-out. If `totp_enrolled` is false, the operator must set up an authenticator app. Before the setup of the app, a
    production server refuses every other operation.
    """

    operator: OwnOperator
    totp_enrolled: bool
    must_change_password: bool
    token: str | UnsetType = UNSET
    device_secret: str | UnsetType = UNSET


class OperatorAccount(msgspec.Struct, frozen=True):
    """The operator's own account: identity, permissions and second factor."""

    id: UUID
    email: str
    role: OperatorRole
    permissions: list[Permission]
    totp_enrolled: bool
    recovery_codes_left: int


class TotpBeginning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's password.

    An operator who has an authenticator app must also send the app's code or a recovery code.
    """

    password: WrittenPassword
    totp: WrittenTotp | None = None
    recovery_code: WrittenRecoveryCode | None = None


class TotpSecret(msgspec.Struct, frozen=True):
    """The secret for the authenticator app: as text, as an otpauth URI, and as that URI's QR code in SVG."""

    secret: str
    otpauth_uri: str
    qr_svg: str


class TotpProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the authenticator app shows now."""

    totp: WrittenTotp


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Ten recovery codes.

    An operator can use each recovery code once, in place of the app's code. The server shows the ten codes only in this
    answer. The new codes replace all earlier recovery codes.
    """

    recovery_codes: list[str]


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The current password, and a new password of 12 to 128 characters that nobody guesses easily."""

    password: WrittenPassword
    new_password: NewPassword


class Device(msgspec.Struct, frozen=True):
    """A device on which the operator is signed in. `is_current` is true for the device that sent this request."""

    id: UUID
    user_agent: str
    address: str
    transport: Transport
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    is_current: bool


class DeviceList(msgspec.Struct, frozen=True):
    """The devices on which the operator is signed in, the most recently seen first."""

    items: list[Device]
    server_now: datetime
    next_cursor: str | None = None
