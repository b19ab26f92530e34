"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.accounts.schemas import Transport
from curhat.control_center.operators.permissions import OperatorRole
from curhat.control_center.operators.throttle import Factor
from curhat.kit.database import Executor, NoRow, rows_changed

LOCK_SIGN_IN_TRIES: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('sign-in tries of ' || encode($1::bytea, 'hex'), 0)) AS locked
"""


async def lock_sign_in_tries(db: Executor, /, *, email_digest: bytes) -> None:
    """Take the advisory lock for the sign-in tries of one e-mail, until this transaction ends. The lock needs a separate
    statement, so that the next statement sees the tries that the previous lock holder committed."""
    row = await db.fetchrow(LOCK_SIGN_IN_TRIES, email_digest)
    if row is None:
        raise NoRow(LOCK_SIGN_IN_TRIES)
    value: None = row[0]
    return value


class CountSignInTriesRow(msgspec.Struct, frozen=True):
    own: int
    own_age_seconds: float | None
    strangers: int
    strangers_age_seconds: float | None


COUNT_SIGN_IN_TRIES: Final = """
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), tries AS (
    SELECT tried_at, coalesce(requester = $1, false) AS is_own, NOT is_known_device AS is_strangers
    FROM operator_sign_in_tries, moment
    WHERE email_digest = $2 AND factor = $3 AND tried_at > moment.now - interval '24 hours'
)
SELECT count(*) FILTER (WHERE is_own) AS own,
    extract(epoch FROM moment.now - max(tried_at) FILTER (WHERE is_own))::double precision AS own_age_seconds,
    count(*) FILTER (WHERE is_strangers) AS strangers,
    extract(epoch FROM moment.now - max(tried_at) FILTER (WHERE is_strangers))::double precision
        AS strangers_age_seconds
FROM moment LEFT JOIN tries ON true GROUP BY moment.now
"""


async def count_sign_in_tries(
    db: Executor, /, *, requester: bytes, email_digest: bytes, factor: Factor
) -> CountSignInTriesRow:
    """Count the wrong tries of one sign-in factor for this e-mail in the last 24 hours. `own` counts the tries of this
    requester. `own_age_seconds` is the age of this requester's newest try. `strangers` counts the tries of all unknown
    devices. `strangers_age_seconds` is the age of the newest try of an unknown device."""
    row = await db.fetchrow(COUNT_SIGN_IN_TRIES, requester, email_digest, factor)
    if row is None:
        raise NoRow(COUNT_SIGN_IN_TRIES)
    return CountSignInTriesRow(*row)


INSERT_SIGN_IN_TRY: Final = """
INSERT INTO operator_sign_in_tries (email_digest, factor, requester, is_known_device)
VALUES ($1, $2, $3, $4)
RETURNING id
"""


async def insert_sign_in_try(
    db: Executor, /, *, email_digest: bytes, factor: Factor, requester: bytes, is_known_device: bool
) -> int:
    """Insert one try of one sign-in factor for this e-mail. Returns the try's id."""
    row = await db.fetchrow(INSERT_SIGN_IN_TRY, email_digest, factor, requester, is_known_device)
    if row is None:
        raise NoRow(INSERT_SIGN_IN_TRY)
    value: int = row[0]
    return value


DELETE_SIGN_IN_TRY: Final = """
DELETE FROM operator_sign_in_tries WHERE id = $1
"""


async def delete_sign_in_try(db: Executor, /, *, id: int) -> None:
    """Delete the try with this id, because its password was right."""
    await db.execute(DELETE_SIGN_IN_TRY, id)


DELETE_SIGN_IN_TRIES: Final = """
DELETE FROM operator_sign_in_tries WHERE email_digest = $1 AND requester = $2
"""


async def delete_sign_in_tries(db: Executor, /, *, email_digest: bytes, requester: bytes) -> None:
    """Delete the tries of this requester for this e-mail, because the requester has proved that the e-mail belongs to the
    requester."""
    await db.execute(DELETE_SIGN_IN_TRIES, email_digest, requester)


class FindOperatorByEmailRow(msgspec.Struct, frozen=True):
    id: UUID
    password_hash: str


FIND_OPERATOR_BY_EMAIL: Final = """
SELECT id, password_hash FROM operators WHERE email = $1 AND disabled_at IS NULL
"""


async def find_operator_by_email(db: Executor, /, *, email: str) -> FindOperatorByEmailRow | None:
    """Find the operator with this e-mail. Returns no row if no operator has this e-mail, or the operator is disabled."""
    row = await db.fetchrow(FIND_OPERATOR_BY_EMAIL, email)
    if row is None:
        return None
    return FindOperatorByEmailRow(*row)


LOCK_ACTIVE_ADMINS: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('active admins', 0)) AS locked
"""


async def lock_active_admins(db: Executor, /) -> None:
    """Take the lock of the active admins, until this transaction ends. The lock needs a separate statement, so that the next
    statement sees what the previous lock holder committed."""
    row = await db.fetchrow(LOCK_ACTIVE_ADMINS)
    if row is None:
        raise NoRow(LOCK_ACTIVE_ADMINS)
    value: None = row[0]
    return value


IS_LAST_ACTIVE_ADMIN: Final = """
SELECT EXISTS (
    SELECT FROM operators WHERE email = $1 AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AND NOT EXISTS (
    SELECT FROM operators WHERE email <> $1 AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AS is_last
"""


async def is_last_active_admin(db: Executor, /, *, email: str) -> bool:
    """Return whether this operator is an admin who can sign in, and no other admin can."""
    row = await db.fetchrow(IS_LAST_ACTIVE_ADMIN, email)
    if row is None:
        raise NoRow(IS_LAST_ACTIVE_ADMIN)
    value: bool = row[0]
    return value


DISABLE_OPERATOR: Final = """
WITH disable AS (
    UPDATE operators SET disabled_at = curhat_now() WHERE email = $1 AND disabled_at IS NULL RETURNING id
), revoke_tokens AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM disable
    WHERE operator_tokens.operator_id = disable.id AND operator_tokens.revoked_at IS NULL
), delete_link AS (
    DELETE FROM operator_links USING disable WHERE operator_links.operator_id = disable.id
)
SELECT id FROM disable
"""


async def disable_operator(db: Executor, /, *, email: str) -> UUID | None:
    """Disable the operator (enabled → disabled). Revokes every token of the operator, and deletes its one-time link. Returns no row if no such operator
    exists, or the operator is already disabled."""
    row = await db.fetchrow(DISABLE_OPERATOR, email)
    if row is None:
        return None
    value: UUID = row[0]
    return value


RESET_OPERATOR: Final = """
WITH reset AS (
    UPDATE operators SET password_hash = $1, must_change_password = true, totp_salt = NULL,
        totp_new_salt = NULL, disabled_at = NULL, awaits_link = false
    WHERE email = $2 RETURNING id
), revoke_tokens AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM reset
    WHERE operator_tokens.operator_id = reset.id AND operator_tokens.revoked_at IS NULL
), delete_recovery_codes AS (
    DELETE FROM operator_recovery_codes USING reset WHERE operator_recovery_codes.operator_id = reset.id
), delete_link AS (
    DELETE FROM operator_links USING reset WHERE operator_links.operator_id = reset.id
)
SELECT id FROM reset
"""


async def reset_operator(db: Executor, /, *, password_hash: str, email: str) -> UUID | None:
    """Reset the operator (enabled or disabled → enabled). Sets a new password, and removes the authenticator app and all
    recovery codes. Revokes every token of the operator. Returns no row if no such operator exists."""
    row = await db.fetchrow(RESET_OPERATOR, password_hash, email)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class LockedOperator(msgspec.Struct, frozen=True):
    id: UUID
    email: str
    role: OperatorRole
    password_hash: str
    must_change_password: bool
    totp_salt: bytes | None
    totp_new_salt: bytes | None
    totp_last_step: int
    now: datetime


LOCK_OPERATOR: Final = """
SELECT id, email, role, password_hash, must_change_password, totp_salt, totp_new_salt, totp_last_step,
    curhat_now() AS now
FROM operators WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE
"""


async def lock_operator(db: Executor, /, *, operator_id: UUID) -> LockedOperator | None:
    """Lock an operator's row. Returns no row if no such operator exists, or the operator is disabled."""
    row = await db.fetchrow(LOCK_OPERATOR, operator_id)
    if row is None:
        return None
    return LockedOperator(*row)


INSERT_OPERATOR: Final = """
INSERT INTO operators (email, role, password_hash, must_change_password)
VALUES ($1, $2, $3, $4)
ON CONFLICT (email) DO NOTHING
RETURNING id
"""


async def insert_operator(
    db: Executor, /, *, email: str, role: OperatorRole, password_hash: str, must_change_password: bool
) -> UUID | None:
    """Insert an operator. Returns no row if another operator has this e-mail."""
    row = await db.fetchrow(INSERT_OPERATOR, email, role, password_hash, must_change_password)
    if row is None:
        return None
    value: UUID = row[0]
    return value


SET_PASSWORD: Final = """
UPDATE operators SET password_hash = $1, must_change_password = false WHERE id = $2
"""


async def set_password(db: Executor, /, *, password_hash: str, operator_id: UUID) -> None:
    """Replace the operator's password."""
    await db.execute(SET_PASSWORD, password_hash, operator_id)


SET_NEW_TOTP_SALT: Final = """
UPDATE operators SET totp_new_salt = $1 WHERE id = $2
"""


async def set_new_totp_salt(db: Executor, /, *, totp_new_salt: bytes, operator_id: UUID) -> None:
    """Store a proposed authenticator secret. The current secret stays valid until enrol_totp replaces it."""
    await db.execute(SET_NEW_TOTP_SALT, totp_new_salt, operator_id)


ENROL_TOTP: Final = """
UPDATE operators SET totp_salt = totp_new_salt, totp_new_salt = NULL, totp_last_step = $1
WHERE id = $2
"""


async def enrol_totp(db: Executor, /, *, totp_last_step: int, operator_id: UUID) -> None:
    """Make the proposed secret the current secret. The statement also marks the code of time step @totp_last_step as used."""
    await db.execute(ENROL_TOTP, totp_last_step, operator_id)


USE_TOTP: Final = """
UPDATE operators SET totp_last_step = $1 WHERE id = $2
"""


async def use_totp(db: Executor, /, *, totp_last_step: int, operator_id: UUID) -> None:
    """Mark the code of time step @totp_last_step, and all earlier codes, as used."""
    await db.execute(USE_TOTP, totp_last_step, operator_id)


DELETE_RECOVERY_CODES: Final = """
DELETE FROM operator_recovery_codes WHERE operator_id = $1
"""


async def delete_recovery_codes(db: Executor, /, *, operator_id: UUID) -> None:
    await db.execute(DELETE_RECOVERY_CODES, operator_id)


INSERT_RECOVERY_CODES: Final = """
INSERT INTO operator_recovery_codes (operator_id, digest) SELECT $1, unnest($2::bytea[])
"""


async def insert_recovery_codes(db: Executor, /, *, operator_id: UUID, digests: Sequence[bytes]) -> None:
    """Insert each recovery code (nothing → unused)."""
    await db.execute(INSERT_RECOVERY_CODES, operator_id, digests)


USE_RECOVERY_CODE: Final = """
UPDATE operator_recovery_codes SET used_at = curhat_now()
WHERE operator_id = $1 AND digest = $2 AND used_at IS NULL
"""


async def use_recovery_code(db: Executor, /, *, operator_id: UUID, digest: bytes) -> int:
    """Use the recovery code (unused → used). Changes no row if the code does not exist or was already used."""
    return rows_changed(await db.execute(USE_RECOVERY_CODE, operator_id, digest))


COUNT_UNUSED_RECOVERY_CODES: Final = """
SELECT count(*) AS unused FROM operator_recovery_codes WHERE operator_id = $1 AND used_at IS NULL
"""


async def count_unused_recovery_codes(db: Executor, /, *, operator_id: UUID) -> int:
    row = await db.fetchrow(COUNT_UNUSED_RECOVERY_CODES, operator_id)
    if row is None:
        raise NoRow(COUNT_UNUSED_RECOVERY_CODES)
    value: int = row[0]
    return value


INSERT_TOKEN: Final = """
INSERT INTO operator_tokens
    (digest, operator_id, transport, user_agent, address, known_device_digest, created_at, last_seen_at, expires_at)
SELECT $1, $2, $3, $4, $5, $6, now, now,
    now + make_interval(secs => $7)
FROM curhat_now() AS now
"""


async def insert_token(
    db: Executor,
    /,
    *,
    digest: bytes,
    operator_id: UUID,
    transport: Transport,
    user_agent: str,
    address: str,
    known_device_digest: bytes,
    lifetime_seconds: float,
) -> None:
    """Insert a token (nothing → valid for @lifetime_seconds)."""
    await db.execute(
        INSERT_TOKEN,
        digest,
        operator_id,
        transport,
        user_agent,
        address,
        known_device_digest,
        lifetime_seconds,
    )


class TokenOwner(msgspec.Struct, frozen=True):
    token_id: UUID
    transport: Transport
    known_device_digest: bytes | None
    id: UUID
    email: str
    role: OperatorRole
    totp_enrolled: bool
    must_change_password: bool


FIND_OPERATOR_OF_TOKEN: Final = """
WITH valid_token AS MATERIALIZED (
    SELECT id, operator_id, transport, known_device_digest, last_seen_at < curhat_now() - interval '1 minute' AS is_seen_stale
    FROM operator_tokens
    WHERE digest = $1 AND revoked_at IS NULL AND expires_at > curhat_now()
), note_seen AS (
    UPDATE operator_tokens SET last_seen_at = curhat_now() FROM valid_token
    WHERE operator_tokens.id = valid_token.id AND valid_token.is_seen_stale
)
SELECT valid_token.id AS token_id, valid_token.transport, valid_token.known_device_digest, operators.id, operators.email,
    operators.role, operators.totp_salt IS NOT NULL AS totp_enrolled, operators.must_change_password
FROM valid_token JOIN operators ON operators.id = valid_token.operator_id AND operators.disabled_at IS NULL
"""


async def find_operator_of_token(db: Executor, /, *, digest: bytes) -> TokenOwner | None:
    """Find the operator who owns this token. The statement also records this use of the token, at most once per minute.
    Returns no row if the token is unknown, expired or revoked, or its operator is disabled."""
    row = await db.fetchrow(FIND_OPERATOR_OF_TOKEN, digest)
    if row is None:
        return None
    return TokenOwner(*row)


class OwnedToken(msgspec.Struct, frozen=True):
    digest: bytes
    operator_id: UUID


LIST_OWNERS_OF_TOKENS: Final = """
SELECT tokens.digest, tokens.operator_id
FROM operator_tokens AS tokens JOIN operators ON operators.id = tokens.operator_id AND operators.disabled_at IS NULL
WHERE tokens.digest = ANY ($1::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
"""


async def list_owners_of_tokens(db: Executor, /, *, digests: Sequence[bytes]) -> list[OwnedToken]:
    """Find the operators who own the valid tokens among @digests."""
    return [OwnedToken(*row) for row in await db.fetch(LIST_OWNERS_OF_TOKENS, digests)]


IS_TOKEN_OF_CUSTOMER_OR_MITRA: Final = """
SELECT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE digest = $1 AND transport = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
) AS is_valid
"""


async def is_token_of_customer_or_mitra(db: Executor, /, *, digest: bytes, transport: Transport) -> bool:
    """Return whether this token is valid, belongs to a customer or a mitra, and was issued for this transport (cookie or
    header)."""
    row = await db.fetchrow(IS_TOKEN_OF_CUSTOMER_OR_MITRA, digest, transport)
    if row is None:
        raise NoRow(IS_TOKEN_OF_CUSTOMER_OR_MITRA)
    value: bool = row[0]
    return value


class ListDevicesRow(msgspec.Struct, frozen=True):
    id: UUID
    user_agent: str
    address: str
    transport: Transport
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


LIST_DEVICES: Final = """
SELECT id, user_agent, address, transport, created_at, last_seen_at, expires_at
FROM operator_tokens
WHERE operator_id = $1 AND revoked_at IS NULL AND expires_at > curhat_now()
ORDER BY last_seen_at DESC, id DESC
LIMIT 100
"""


async def list_devices(db: Executor, /, *, operator_id: UUID) -> list[ListDevicesRow]:
    """Read at most 100 valid tokens of an operator. The most recently seen token comes first."""
    return [ListDevicesRow(*row) for row in await db.fetch(LIST_DEVICES, operator_id)]


REVOKE_TOKEN: Final = """
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
"""


async def revoke_token(db: Executor, /, *, operator_id: UUID, token_id: UUID) -> int:
    """Revoke the token (valid → revoked). Changes no row if this operator has no such valid token."""
    return rows_changed(await db.execute(REVOKE_TOKEN, operator_id, token_id))


class RevokedDevice(msgspec.Struct, frozen=True):
    id: UUID
    known_device_digest: bytes | None


REVOKE_DEVICE: Final = """
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
RETURNING id, known_device_digest
"""


async def revoke_device(db: Executor, /, *, operator_id: UUID, token_id: UUID) -> RevokedDevice | None:
    """Revoke the token (valid → revoked). Returns the token's known device. Returns no row if this operator has no such
    valid token."""
    row = await db.fetchrow(REVOKE_DEVICE, operator_id, token_id)
    if row is None:
        return None
    return RevokedDevice(*row)


REVOKE_OTHER_TOKENS: Final = """
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = $1 AND id <> $2 AND revoked_at IS NULL
"""


async def revoke_other_tokens(db: Executor, /, *, operator_id: UUID, kept_token_id: UUID) -> None:
    """Revoke every token of this operator except @kept_token_id (valid → revoked)."""
    await db.execute(REVOKE_OTHER_TOKENS, operator_id, kept_token_id)


PRUNE_SIGN_IN_TRIES: Final = """
DELETE FROM operator_sign_in_tries WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operator_sign_in_tries WHERE tried_at < (SELECT curhat_now() - interval '1 day')
    ORDER BY tried_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_sign_in_tries(db: Executor, /, *, max_rows: int) -> int:
    """Delete at most @max_rows tries that are older than a day, oldest first. The limits on sign-in count only the tries of
    the last day."""
    return rows_changed(await db.execute(PRUNE_SIGN_IN_TRIES, max_rows))


PRUNE_TOKENS: Final = """
DELETE FROM operator_tokens WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operator_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    ORDER BY least(expires_at, revoked_at) LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_tokens(db: Executor, /, *, max_rows: int) -> int:
    """Delete at most @max_rows tokens that expired or were revoked more than a week ago, oldest first."""
    return rows_changed(await db.execute(PRUNE_TOKENS, max_rows))


REVOKE_EVERY_OPERATOR_TOKEN: Final = """
UPDATE operator_tokens SET revoked_at = curhat_now() WHERE revoked_at IS NULL AND expires_at > curhat_now()
"""


async def revoke_every_operator_token(db: Executor, /) -> int:
    """valid → revoked, for the tokens of all operators."""
    return rows_changed(await db.execute(REVOKE_EVERY_OPERATOR_TOKEN))
