"""Signing in and out, the second factor, passwords and devices. Functions that take a transaction never commit it."""

import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from curhat.accounts import cookies
from curhat.accounts.service import digest_of_token
from curhat.control_center.audit.service import record
from curhat.control_center.operators import second_factor
from curhat.control_center.operators.errors import (
    CredentialsInvalid,
    EmailTaken,
    NoEnrolmentBegun,
    TotpRequired,
)
from curhat.control_center.operators.permissions import PERMISSIONS, OperatorRole
from curhat.control_center.operators.schemas import (
    Device,
    DeviceList,
    Login,
    OperatorAccount,
    OwnOperator,
    RecoveryCodes,
    TotpSecret,
    Transport,
)
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from curhat.kit.identity import OperatorIdentity
from curhat.kit.settings import Settings

SQL = load_queries(__file__)

TOKEN_BYTES: Final = 32
# A working day: whoever is signed in for longer signs in again.
TOKEN_SECONDS: Final = 12 * 3600
# Per e-mail, whether an operator has it or not; a right one forgets those before it.
TRIES: Final = 10
TRIES_SECONDS: Final = 15 * 60
USER_AGENT_CHARACTERS: Final = 200
# Bounds how long one pruning holds its locks.
PRUNE_LIMIT: Final = 10_000

_EMAIL_PURPOSE: Final = b"curhat operators e-mails 1"


class SignedInOperator(msgspec.Struct, frozen=True):
    """Whose token it is."""

    id: UUID
    email: str
    role: OperatorRole
    token_id: UUID
    transport: Transport
    totp_enrolled: bool

    @property
    def identity(self) -> OperatorIdentity:
        """Whose Idempotency-Keys these are."""
        return OperatorIdentity(user_id=self.id)

    def may(self, permission: str) -> bool:
        """Whether this operator's role has the permission; nobody has one that is not known."""
        return permission in PERMISSIONS[self.role]


@dataclass(frozen=True, slots=True)
class Try:
    """A try to sign in that is counted, and not yet judged. `operator_id` None: nobody has this e-mail."""

    email_digest: bytes
    operator_id: UUID | None
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignIn:
    """An operator who has shown who they are, and their new token."""

    operator: OwnOperator
    totp_enrolled: bool
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Client:
    """Where a sign-in comes from, as the list of devices shows it."""

    user_agent: str
    address: str


# Signing in and out ------------------------------------------------------------------------------------------


async def begin_sign_in(tx: Transaction, secret_key: bytes, email: str) -> Try:
    """Count a try before anything is compared, so that many at once are not more than one after the other.

    The same statements whether the e-mail is known or not. Raises TooManyRequests with the time to wait.
    """
    written = normalised_email(email)
    digest = hmac.digest(hmac.digest(secret_key, _EMAIL_PURPOSE, "sha256"), written.encode(), hashlib.sha256)
    await tx.execute(SQL.lock_email, digest)
    wait_seconds = await tx.fetchval(SQL.wait_seconds, digest, TRIES, TRIES_SECONDS)
    if wait_seconds is not None and wait_seconds > 0:
        raise TooManyRequests(retry_after_seconds=math.ceil(wait_seconds))
    await tx.execute(SQL.note_try, digest)
    row = await tx.fetchrow(SQL.operator_of_email, written)
    if row is None:
        return Try(digest, None, None)
    return Try(digest, row["id"], row["password_hash"])


async def finish_sign_in(
    tx: Transaction, secret_key: bytes, tried: Try, login: Login, client: Client, *, password_is_right: bool
) -> SignIn | BusinessError:
    """nobody → signed in, or the refusal, to be raised after the commit: the try stays counted."""
    if tried.operator_id is None or not password_is_right:
        return CredentialsInvalid()
    row = await tx.fetchrow(SQL.lock_operator, tried.operator_id)
    if row is None or row["password_hash"] != tried.password_hash:
        return CredentialsInvalid()
    refusal = await _refuse_second_factor(tx, secret_key, row, login.totp, login.recovery_code)
    if refusal is not None:
        return refusal
    await tx.execute(SQL.forget_tries, tried.email_digest)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await tx.execute(
        SQL.insert_token,
        digest_of_token(token),
        row["id"],
        login.transport,
        client.user_agent[:USER_AGENT_CHARACTERS],
        client.address,
        TOKEN_SECONDS,
    )
    await record(tx, row["id"], "operator_signed_in", "operator", row["id"])
    return SignIn(
        OwnOperator(id=row["id"], email=row["email"], role=row["role"]),
        totp_enrolled=row["totp_salt"] is not None,
        token=token,
    )


async def _refuse_second_factor(
    tx: Transaction, secret_key: bytes, row: asyncpg.Record, totp: str | None, recovery_code: str | None
) -> BusinessError | None:
    """None: none is enrolled, or the code is right, and used up. The caller holds the operator's row."""
    if row["totp_salt"] is None:
        return None
    if totp is None and recovery_code is None:
        return TotpRequired()
    if totp is not None:
        secret = second_factor.secret_of(secret_key, row["id"], row["totp_salt"])
        step = second_factor.step_of(secret, totp.strip(), row["now"], row["totp_last_step"])
        if step is None:
            return CredentialsInvalid()
        await tx.execute(SQL.use_totp, row["id"], step)
        return None
    assert recovery_code is not None
    digest = second_factor.recovery_digest(secret_key, row["id"], recovery_code)
    if await tx.fetchval(SQL.use_recovery_code, row["id"], digest) is None:
        return CredentialsInvalid()
    await record(tx, row["id"], "recovery_code_used", "operator", row["id"])
    return None


async def sign_out(tx: Transaction, operator: SignedInOperator) -> None:
    """good → revoked: the token that asks. Repeated, nothing happens."""
    await tx.fetchval(SQL.revoke_token, operator.id, operator.token_id)


def normalised_email(written: str) -> str:
    """An e-mail as it is stored and compared."""
    return written.strip().lower()


# One's own account -------------------------------------------------------------------------------------------


async def account(tx: Transaction, operator: SignedInOperator) -> OperatorAccount:
    """Who I am, what I may do, and how my second factor stands."""
    return OperatorAccount(
        id=operator.id,
        email=operator.email,
        role=operator.role,
        permissions=sorted(PERMISSIONS[operator.role]),
        totp_enrolled=operator.totp_enrolled,
        recovery_codes_left=await tx.fetchval(SQL.count_recovery_codes, operator.id),
    )


async def begin_totp(
    tx: Transaction,
    secret_key: bytes,
    operator: SignedInOperator,
    totp: str | None,
    recovery_code: str | None,
) -> TotpSecret | BusinessError:
    """A new secret is shown, to be proved by `confirm_totp`; one in use stays until then, and has to be shown.

    The caller has checked the password. A refusal is returned, since a code that was right is used up.
    """
    row = await tx.fetchrow(SQL.lock_operator, operator.id)
    if row is None:
        raise NotFound
    refusal = await _refuse_second_factor(tx, secret_key, row, totp, recovery_code)
    if refusal is not None:
        return refusal
    salt = second_factor.new_salt()
    await tx.execute(SQL.begin_totp, operator.id, salt)
    secret = second_factor.secret_of(secret_key, operator.id, salt)
    uri = second_factor.otpauth_uri(secret, operator.email)
    return TotpSecret(secret=secret, otpauth_uri=uri, qr_svg=second_factor.qr_svg(uri))


async def confirm_totp(
    tx: Transaction, secret_key: bytes, operator: SignedInOperator, totp: str
) -> RecoveryCodes:
    """The new secret → the one in use; other devices are signed out. Raises NoEnrolmentBegun, CredentialsInvalid."""
    row = await tx.fetchrow(SQL.lock_operator, operator.id)
    if row is None:
        raise NotFound
    if row["totp_new_salt"] is None:
        raise NoEnrolmentBegun
    secret = second_factor.secret_of(secret_key, operator.id, row["totp_new_salt"])
    step = second_factor.step_of(secret, totp.strip(), row["now"], 0)
    if step is None:
        raise CredentialsInvalid
    await tx.execute(SQL.enrol_totp, operator.id, step)
    await tx.execute(SQL.revoke_other_tokens, operator.id, operator.token_id)
    await record(tx, operator.id, "totp_enrolled", "operator", operator.id)
    return await _new_recovery_codes(tx, secret_key, operator.id)


async def renew_recovery_codes(
    tx: Transaction, secret_key: bytes, operator: SignedInOperator, totp: str
) -> RecoveryCodes | BusinessError:
    """Ten new codes in the place of those of before, for who shows the app's code."""
    row = await tx.fetchrow(SQL.lock_operator, operator.id)
    if row is None:
        raise NotFound
    if row["totp_salt"] is None:
        raise NoEnrolmentBegun
    refusal = await _refuse_second_factor(tx, secret_key, row, totp, None)
    if refusal is not None:
        return refusal
    await record(tx, operator.id, "recovery_codes_renewed", "operator", operator.id)
    return await _new_recovery_codes(tx, secret_key, operator.id)


async def _new_recovery_codes(tx: Transaction, secret_key: bytes, operator_id: UUID) -> RecoveryCodes:
    codes = second_factor.new_recovery_codes()
    await tx.execute(SQL.forget_recovery_codes, operator_id)
    await tx.executemany(
        SQL.insert_recovery_code,
        [(operator_id, second_factor.recovery_digest(secret_key, operator_id, code)) for code in codes],
    )
    return RecoveryCodes(recovery_codes=codes)


async def forget_tries(tx: Transaction, tried: Try) -> None:
    """What was tried was right."""
    await tx.execute(SQL.forget_tries, tried.email_digest)


async def change_password(tx: Transaction, operator: SignedInOperator, tried: Try, new_hash: str) -> None:
    """One password → another; every other device is signed out. Raises CredentialsInvalid: changed meanwhile."""
    row = await tx.fetchrow(SQL.lock_operator, operator.id)
    if row is None or row["password_hash"] != tried.password_hash:
        raise CredentialsInvalid
    await forget_tries(tx, tried)
    await tx.execute(SQL.set_password, operator.id, new_hash)
    await tx.execute(SQL.revoke_other_tokens, operator.id, operator.token_id)
    await record(tx, operator.id, "password_changed", "operator", operator.id)


async def devices(tx: Transaction, operator: SignedInOperator) -> DeviceList:
    """Where this operator is signed in, the last seen first."""
    rows = await tx.fetch(SQL.devices, operator.id)
    return DeviceList(
        items=[
            Device(
                id=row["id"],
                user_agent=row["user_agent"],
                address=row["address"],
                transport=row["transport"],
                created_at=row["created_at"],
                last_seen_at=row["last_seen_at"],
                expires_at=row["expires_at"],
                is_current=row["id"] == operator.token_id,
            )
            for row in rows
        ],
        server_now=await tx.fetchval(SQL.server_now),
    )


async def revoke_device(tx: Transaction, operator: SignedInOperator, device_id: UUID) -> None:
    """good → revoked, at once and everywhere. Raises NotFound for another operator's, too."""
    if await tx.fetchval(SQL.revoke_token, operator.id, device_id) is None:
        raise NotFound
    await record(tx, operator.id, "device_revoked", "operator", operator.id, old=str(device_id))


# From the command line ---------------------------------------------------------------------------------------


async def create_operator(
    tx: Transaction, email: str, role: OperatorRole, password_hash: str, *, by: str = "command line"
) -> UUID:
    """nobody → operator. Raises ValidationFailed, EmailTaken."""
    written = normalised_email(email)
    name, _, domain = written.rpartition("@")
    if not name or not domain or any(character.isspace() for character in written) or len(written) > 254:
        raise ValidationFailed(
            errors=[{"field": "email", "message": "must be an e-mail address, such as sari@example.id"}]
        )
    operator_id: UUID | None = await tx.fetchval(SQL.insert_operator, written, role, password_hash)
    if operator_id is None:
        raise EmailTaken
    await record(tx, by, "operator_created", "operator", operator_id, new=role)
    return operator_id


async def disable_operator(tx: Transaction, email: str, *, by: str = "command line") -> None:
    """admitted → disabled: signed out everywhere, and nothing signs them in. Raises NotFound."""
    operator_id = await tx.fetchval(SQL.disable, normalised_email(email))
    if operator_id is None:
        raise NotFound
    await record(tx, by, "operator_disabled", "operator", operator_id)


async def reset_operator(
    tx: Transaction, email: str, password_hash: str, *, by: str = "command line"
) -> None:
    """An operator begins anew, with another password and no authenticator app; also one who was disabled.

    For whoever lost the phone and the recovery codes. Raises NotFound.
    """
    operator_id = await tx.fetchval(SQL.reset, normalised_email(email), password_hash)
    if operator_id is None:
        raise NotFound
    await record(tx, by, "operator_reset", "operator", operator_id)


async def password_hash_of(tx: Transaction, email: str) -> str | None:
    """What is stored of an operator's password; None: there is no such operator."""
    row = await tx.fetchrow(SQL.operator_of_email, normalised_email(email))
    return None if row is None else str(row["password_hash"])


async def prune(tx: Transaction, limit: int = PRUNE_LIMIT) -> None:
    """Forget tries of more than a day, and tokens that have been good for nobody for a week."""
    await tx.execute(SQL.prune_tries, limit)
    await tx.execute(SQL.prune_tokens, limit)


# Whose token is this -----------------------------------------------------------------------------------------


async def identify(database: Database, settings: Settings, scope: Mapping[str, Any]) -> SignedInOperator:
    """The operator who sends this request, by bearer header or by cookie.

    Operators are few: each request asks PostgreSQL, so that what is revoked is shut out at once.
    Raises Unauthenticated; Forbidden for the cookie of a request that a page of somebody else may have caused, and for
    the token of a customer or mitra.
    """
    presented = cookies.presented_token(scope, "operator", settings)
    if presented is None:
        raise Unauthenticated
    row = await database.fetchrow(SQL.token, digest_of_token(presented.token))
    if row is None:
        digest = digest_of_token(presented.token)
        if await database.fetchval(SQL.is_of_the_apps, digest, presented.transport):
            raise Forbidden
        raise Unauthenticated
    if row["transport"] != presented.transport:
        raise Unauthenticated
    return SignedInOperator(
        id=row["id"],
        email=row["email"],
        role=row["role"],
        token_id=row["token_id"],
        transport=row["transport"],
        totp_enrolled=row["totp_enrolled"],
    )
