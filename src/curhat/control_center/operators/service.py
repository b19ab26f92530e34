"""Sign-in, sign-out, the second factor, passwords and devices. Functions that take a transaction never commit it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from curhat.accounts import cookies, requesters
from curhat.accounts import service as accounts
from curhat.accounts.schemas import Transport
from curhat.accounts.service import digest_of_token
from curhat.control_center.operators import queries, second_factor, throttle
from curhat.control_center.operators.errors import (
    CredentialsInvalid,
    EmailTaken,
    LastAdmin,
    NoEnrolmentBegun,
    TotpRequired,
)
from curhat.control_center.operators.permissions import PERMISSIONS, OperatorRole
from curhat.control_center.operators.queries import LockedOperator
from curhat.control_center.operators.schemas import (
    Device,
    DeviceList,
    Login,
    OperatorAccount,
    OperatorSignedIn,
    OwnOperator,
    RecoveryCodes,
    TotpBeginning,
    TotpSecret,
)
from curhat.control_center.operators.throttle import Attempt
from curhat.control_center.schemas import from_row
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import (
    BusinessError,
    Forbidden,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    invalid_field,
)
from curhat.kit.identity import OperatorIdentity
from curhat.kit.queries import read_clock
from curhat.kit.settings import Settings

TOKEN_BYTES: Final = 32
# How long a token is valid: one working day. After one working day, the operator must sign in again.
TOKEN_LIFETIME_SECONDS: Final = 12 * 3600
# Limits how long one call of `prune` holds its locks.
MAX_ROWS_PER_PRUNE: Final = 10_000


class SignedInOperator(msgspec.Struct, frozen=True):
    """The operator who sends a request, and the token in the request."""

    id: UUID
    email: str
    role: OperatorRole
    token_id: UUID
    transport: Transport
    totp_enrolled: bool
    must_change_password: bool
    known_device_digest: bytes | None

    @property
    def identity(self) -> OperatorIdentity:
        """The identity to which this operator's Idempotency-Keys belong."""
        return OperatorIdentity(user_id=self.id)

    def may(self, permission: str) -> bool:
        """Return whether this operator's role has the permission. No role has an unknown permission."""
        return permission in PERMISSIONS[self.role]


@dataclass(frozen=True, slots=True)
class SignInTry:
    """A password try. The try counts as wrong until the check shows that the password is right.

    `operator_id` is None if no operator has the e-mail.
    """

    id: int
    attempt: Attempt
    operator_id: UUID | None
    password_hash: str | None = field(repr=False)


# Sign-in and sign-out ----------------------------------------------------------------------------------------


async def find_requester(
    tx: Transaction, secret_key: bytes, email: str, *, address: str, device_secret: str | None
) -> Attempt:
    """Find out whether a sign-in with this e-mail comes from a known device of the e-mail's operator."""
    requester = requesters.stranger(secret_key, address)
    if device_secret is not None:
        owner_id = await accounts.find_operator_of_device(tx, device_secret)
        found = await queries.find_operator_by_email(tx, email=normalised_email(email))
        if found is not None and found.id == owner_id:
            requester = requesters.known_device(device_secret)
    return Attempt(throttle.digest_of_email(secret_key, normalised_email(email)), requester)


def attempt_of(secret_key: bytes, operator: SignedInOperator) -> Attempt:
    """Return the attempt of a signed-in operator who must prove the password or the second factor again."""
    return Attempt(
        throttle.digest_of_email(secret_key, operator.email), throttle.signed_in_device(operator.token_id)
    )


async def begin_password_check(tx: Transaction, attempt: Attempt, email: str) -> SignInTry:
    """Count a password try as wrong before the check, so that concurrent tries cannot avoid the delay.

    The same statements run for a known and an unknown e-mail. Raises TooManyRequests with the seconds to wait.
    """
    await queries.lock_sign_in_tries(tx, email_digest=attempt.email_digest)
    await throttle.refuse_while_delayed(tx, attempt, "password")
    try_id = await throttle.count_try(tx, attempt, "password")
    found = await queries.find_operator_by_email(tx, email=normalised_email(email))
    if found is None:
        return SignInTry(try_id, attempt, None, None)
    return SignInTry(try_id, attempt, found.id, found.password_hash)


async def accept_password(tx: Transaction, tried: SignInTry) -> None:
    """Remove the count of a try whose password was right."""
    await queries.delete_sign_in_try(tx, id=tried.id)


async def finish_sign_in(
    tx: Transaction,
    secret_key: bytes,
    tried: SignInTry,
    login: Login,
    *,
    user_agent: str,
    address: str,
    replaced_device_secret: str | None,
) -> tuple[OperatorSignedIn, str, str] | BusinessError:
    """Sign an operator in after a right password. Returns the operator, a new token and a new device secret.

    The list of devices shows `user_agent` and `address`. Returns CredentialsInvalid if the password has changed, or the
    error of `_use_second_factor`. The caller must commit the transaction and then raise the returned error.
    """
    assert tried.operator_id is not None
    locked = await queries.lock_operator(tx, operator_id=tried.operator_id)
    if locked is None or locked.password_hash != tried.password_hash:
        return CredentialsInvalid()
    await accept_password(tx, tried)
    refused = await _use_second_factor(tx, secret_key, locked, tried.attempt, login.totp, login.recovery_code)
    if refused is not None:
        return refused
    await _forgive(tx, tried.attempt)
    token, device_secret = secrets.token_urlsafe(TOKEN_BYTES), requesters.new_device_secret()
    await accounts.remember_device(
        tx, device_secret, replaced_secret=replaced_device_secret, operator_id=locked.id
    )
    await queries.insert_token(
        tx,
        digest=digest_of_token(token),
        operator_id=locked.id,
        transport=login.transport,
        user_agent=accounts.shown_user_agent(user_agent),
        address=address,
        known_device_digest=requesters.digest_of_secret(device_secret),
        lifetime_seconds=TOKEN_LIFETIME_SECONDS,
    )
    await write_audit_entry(tx, locked.id, "operator_signed_in", "operator", locked.id)
    signed_in = OperatorSignedIn(
        from_row(OwnOperator, locked), locked.totp_salt is not None, locked.must_change_password
    )
    return signed_in, token, device_secret


async def _use_second_factor(
    tx: Transaction,
    secret_key: bytes,
    locked: LockedOperator,
    attempt: Attempt,
    totp: str | None,
    recovery_code: str | None,
) -> BusinessError | None:
    """Check the given code, and mark the code as used. An operator without an enrolled second factor needs no code.

    Returns TotpRequired if no code was given. Returns TooManyRequests if earlier wrong codes still delay this attempt.
    Counts a wrong or used code as a try, and returns CredentialsInvalid.
    """
    if locked.totp_salt is None:
        return None
    if totp is None and recovery_code is None:
        return TotpRequired()
    try:
        await throttle.refuse_while_delayed(tx, attempt, "code")
    except TooManyRequests as refusal:
        return refusal
    if totp is not None:
        secret = second_factor.secret_of(secret_key, locked.id, locked.totp_salt)
        step = second_factor.step_of(secret, totp.strip(), locked.now, locked.totp_last_step)
        if step is None:
            return await _wrong_code(tx, attempt)
        await queries.use_totp(tx, operator_id=locked.id, totp_last_step=step)
        return None
    assert recovery_code is not None
    digest = second_factor.recovery_digest(secret_key, locked.id, recovery_code)
    if not await queries.use_recovery_code(tx, operator_id=locked.id, digest=digest):
        return await _wrong_code(tx, attempt)
    await write_audit_entry(tx, locked.id, "recovery_code_used", "operator", locked.id)
    return None


async def _wrong_code(tx: Transaction, attempt: Attempt) -> CredentialsInvalid:
    await throttle.count_try(tx, attempt, "code")
    return CredentialsInvalid()


async def _forgive(tx: Transaction, attempt: Attempt) -> None:
    """Delete the requester's own wrong tries. The wrong tries of other requesters still count."""
    await queries.delete_sign_in_tries(
        tx, email_digest=attempt.email_digest, requester=attempt.requester.digest
    )


async def sign_out(tx: Transaction, operator: SignedInOperator) -> None:
    """Revoke the token in the operator's request. A repeated call changes nothing."""
    await queries.revoke_token(tx, operator_id=operator.id, token_id=operator.token_id)


def normalised_email(written: str) -> str:
    """Convert an e-mail to the form in which e-mails are stored and compared."""
    return written.strip().lower()


def checked_email(written: str) -> str:
    """Return the normalised e-mail. Raises ValidationFailed if the text is not an e-mail address."""
    email = normalised_email(written)
    name, _, domain = email.rpartition("@")
    if not name or not domain or any(character.isspace() for character in email) or len(email) > 254:
        raise invalid_field("email", "must be an e-mail address, such as sari@example.id")
    return email


# Own account -------------------------------------------------------------------------------------------------


async def read_account(tx: Transaction, operator: SignedInOperator) -> OperatorAccount:
    """Read the operator's own account: identity, permissions and second factor."""
    return from_row(
        OperatorAccount,
        operator,
        permissions=sorted(PERMISSIONS[operator.role]),
        recovery_codes_left=await queries.count_unused_recovery_codes(tx, operator_id=operator.id),
    )


async def begin_totp(
    tx: Transaction, secret_key: bytes, operator: SignedInOperator, tried: SignInTry, proof: TotpBeginning
) -> TotpSecret | BusinessError:
    """Propose a new authenticator secret. The current secret stays valid until `confirm_totp` replaces it.

    The caller must have checked the password. If the operator already uses a secret, `proof` must contain a right
    code. Returns the errors of `_use_second_factor`. The caller must commit the transaction and then raise the
    returned error. Raises NotFound.
    """
    locked = await _lock(tx, operator)
    refused = await _use_second_factor(tx, secret_key, locked, tried.attempt, proof.totp, proof.recovery_code)
    if refused is not None:
        return refused
    salt = second_factor.new_salt()
    await queries.set_new_totp_salt(tx, operator_id=operator.id, totp_new_salt=salt)
    secret = second_factor.secret_of(secret_key, operator.id, salt)
    uri = second_factor.otpauth_uri(secret, operator.email)
    return TotpSecret(secret=secret, otpauth_uri=uri, qr_svg=second_factor.qr_svg(uri))


async def confirm_totp(
    tx: Transaction, secret_key: bytes, operator: SignedInOperator, totp: str
) -> RecoveryCodes | BusinessError:
    """Make the proposed secret the current secret, and sign out every other device.

    Counts a wrong code as a try, and returns CredentialsInvalid. The caller must commit the transaction and then raise
    the returned error. Raises NotFound, NoEnrolmentBegun, TooManyRequests.
    """
    locked = await _lock(tx, operator)
    if locked.totp_new_salt is None:
        raise NoEnrolmentBegun
    attempt = attempt_of(secret_key, operator)
    await throttle.refuse_while_delayed(tx, attempt, "code")
    secret = second_factor.secret_of(secret_key, operator.id, locked.totp_new_salt)
    step = second_factor.step_of(secret, totp.strip(), locked.now, 0)
    if step is None:
        return await _wrong_code(tx, attempt)
    await _forgive(tx, attempt)
    await queries.enrol_totp(tx, operator_id=operator.id, totp_last_step=step)
    await _sign_out_elsewhere(tx, operator)
    await write_audit_entry(tx, operator.id, "totp_enrolled", "operator", operator.id)
    return await _replace_recovery_codes(tx, secret_key, operator.id)


async def renew_recovery_codes(
    tx: Transaction, secret_key: bytes, operator: SignedInOperator, totp: str
) -> RecoveryCodes | BusinessError:
    """Replace the recovery codes with ten new codes. `totp` is the code that the authenticator app shows.

    Returns the errors of `_use_second_factor`. The caller must commit the transaction and then raise the returned
    error. Raises NotFound, NoEnrolmentBegun.
    """
    locked = await _lock(tx, operator)
    if locked.totp_salt is None:
        raise NoEnrolmentBegun
    attempt = attempt_of(secret_key, operator)
    refused = await _use_second_factor(tx, secret_key, locked, attempt, totp, None)
    if refused is not None:
        return refused
    await _forgive(tx, attempt)
    await write_audit_entry(tx, operator.id, "recovery_codes_renewed", "operator", operator.id)
    return await _replace_recovery_codes(tx, secret_key, operator.id)


async def _sign_out_elsewhere(tx: Transaction, operator: SignedInOperator) -> None:
    """Sign out every other device of the operator, and make these devices strangers."""
    await queries.revoke_other_tokens(tx, operator_id=operator.id, kept_token_id=operator.token_id)
    await accounts.forget_devices_of_operator(tx, operator.id, operator.known_device_digest)


async def _lock(tx: Transaction, operator: SignedInOperator) -> LockedOperator:
    locked = await queries.lock_operator(tx, operator_id=operator.id)
    if locked is None:
        raise NotFound
    return locked


async def _replace_recovery_codes(tx: Transaction, secret_key: bytes, operator_id: UUID) -> RecoveryCodes:
    codes = second_factor.new_recovery_codes()
    digests = [second_factor.recovery_digest(secret_key, operator_id, code) for code in codes]
    await queries.delete_recovery_codes(tx, operator_id=operator_id)
    await queries.insert_recovery_codes(tx, operator_id=operator_id, digests=digests)
    return RecoveryCodes(recovery_codes=codes)


async def change_password(
    tx: Transaction, operator: SignedInOperator, tried: SignInTry, new_hash: str
) -> None:
    """Change the password, and sign out every other device.

    Raises CredentialsInvalid if the password changed after `tried` was checked.
    """
    locked = await queries.lock_operator(tx, operator_id=operator.id)
    if locked is None or locked.password_hash != tried.password_hash:
        raise CredentialsInvalid
    await queries.set_password(tx, operator_id=operator.id, password_hash=new_hash)
    await _sign_out_elsewhere(tx, operator)
    await write_audit_entry(tx, operator.id, "password_changed", "operator", operator.id)


async def list_devices(tx: Transaction, operator: SignedInOperator) -> DeviceList:
    """Read the devices on which this operator is signed in, the most recently seen first."""
    items = [
        from_row(Device, row, is_current=row.id == operator.token_id)
        for row in await queries.list_devices(tx, operator_id=operator.id)
    ]
    return DeviceList(items=items, server_now=await read_clock(tx))


async def revoke_device(tx: Transaction, operator: SignedInOperator, device_id: UUID) -> None:
    """Sign out a device, immediately in every process.

    Raises NotFound if the device does not exist or belongs to another operator.
    """
    revoked = await queries.revoke_device(tx, operator_id=operator.id, token_id=device_id)
    if revoked is None:
        raise NotFound
    if revoked.known_device_digest is not None:
        await accounts.forget_device(tx, revoked.known_device_digest)
    await write_audit_entry(tx, operator.id, "device_revoked", "operator", operator.id, old=str(device_id))


# Command line ------------------------------------------------------------------------------------------------


async def create_operator(
    tx: Transaction,
    email: str,
    role: OperatorRole,
    password_hash: str,
    *,
    by: str = "command line",
    must_change_password: bool = False,
) -> UUID:
    """Create an operator. Raises ValidationFailed, EmailTaken.

    `must_change_password`: somebody else has seen the password, so the operator must first change the password.
    """
    written = checked_email(email)
    operator_id = await queries.insert_operator(
        tx,
        email=written,
        role=role,
        password_hash=password_hash,
        must_change_password=must_change_password,
    )
    if operator_id is None:
        raise EmailTaken
    await write_audit_entry(tx, by, "operator_created", "operator", operator_id, new=role)
    return operator_id


async def disable_operator(tx: Transaction, email: str) -> None:
    """Disable an operator, and sign the operator out everywhere. The operator cannot sign in again.

    Raises NotFound, LastAdmin.
    """
    await queries.lock_active_admins(tx)
    if await queries.is_last_active_admin(tx, email=normalised_email(email)):
        raise LastAdmin
    operator_id = await queries.disable_operator(tx, email=normalised_email(email))
    if operator_id is None:
        raise NotFound
    await write_audit_entry(tx, "command line", "operator_disabled", "operator", operator_id)


async def reset_operator(tx: Transaction, email: str, password_hash: str) -> None:
    """Enable an operator with a password that must be changed, and without an authenticator app. Raises NotFound.

    Call this function for an operator who has lost the phone and the recovery codes.
    """
    operator_id = await queries.reset_operator(tx, email=normalised_email(email), password_hash=password_hash)
    if operator_id is None:
        raise NotFound
    await accounts.forget_devices_of_operator(tx, operator_id)
    await write_audit_entry(tx, "command line", "operator_reset", "operator", operator_id)


async def password_hash_of(tx: Transaction, email: str) -> str | None:
    """Return the stored hash of an operator's password. Return None for an unknown e-mail or a disabled operator."""
    found = await queries.find_operator_by_email(tx, email=normalised_email(email))
    return None if found is None else found.password_hash


async def prune(tx: Transaction, max_rows: int = MAX_ROWS_PER_PRUNE) -> int:
    """Delete tries older than a day, and tokens that expired or were revoked more than a week ago.

    Each kind is limited to `max_rows`. Returns the highest number of rows of one kind.
    """
    return max(
        await queries.prune_sign_in_tries(tx, max_rows=max_rows),
        await queries.prune_tokens(tx, max_rows=max_rows),
    )


# Identifying the caller --------------------------------------------------------------------------------------


async def owners_of_tokens(database: Database, digests: list[bytes]) -> dict[bytes, UUID]:
    """Return a map from the digest of each valid token to the token's operator."""
    tokens = await queries.list_owners_of_tokens(database, digests=digests)
    return {token.digest: token.operator_id for token in tokens}


async def identify(database: Database, settings: Settings, scope: Mapping[str, Any]) -> SignedInOperator:
    """Find the operator whose token is in the bearer header or the cookie of this request.

    There are few operators, so each request queries PostgreSQL. A revoked token is therefore refused immediately.
    Raises Unauthenticated if there is no valid token. Raises Forbidden if the token belongs to a customer or mitra, or
    if another site possibly caused the request.
    """
    presented = cookies.presented_token(scope, "operator", settings)
    if presented is None:
        raise Unauthenticated
    digest = digest_of_token(presented.token)
    owner = await queries.find_operator_of_token(database, digest=digest)
    if owner is None:
        if await queries.is_token_of_customer_or_mitra(
            database, digest=digest, transport=presented.transport
        ):
            raise Forbidden
        raise Unauthenticated
    if owner.transport != presented.transport:
        raise Unauthenticated
    return from_row(SignedInOperator, owner)


async def sign_out_everybody(tx: Transaction) -> int:
    """Revoke the tokens of all operators, after a restore to an earlier time. Returns the number of tokens."""
    return await queries.revoke_every_operator_token(tx)
