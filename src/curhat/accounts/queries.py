"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.accounts.schemas import Transport
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role

LOCK_PHONE: Final = """
SELECT pg_advisory_xact_lock(hashtextextended('one-time codes of ' || $1::text, 0)) AS locked
"""


async def lock_phone(db: Executor, /, *, phone_number: str) -> None:
    """Lock this phone number until the transaction ends. The lock needs a separate statement, so that the next statement
    sees the rows that the previous lock holder committed."""
    row = await db.fetchrow(LOCK_PHONE, phone_number)
    if row is None:
        raise NoRow(LOCK_PHONE)
    value: None = row[0]
    return value


class PrepareCodeRow(msgspec.Struct, frozen=True):
    id: UUID
    own_unused: int
    own_age_seconds: float | None
    strangers_unused: int
    strangers_age_seconds: float | None
    used_wait_seconds: float | None


PREPARE_CODE: Final = """
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), recent_codes AS MATERIALIZED (
    SELECT codes.created_at, codes.consumed_at, codes.is_known_device,
        coalesce(codes.requester = $1, false) AS is_own
    FROM one_time_codes AS codes, moment
    WHERE codes.phone_number = $2 AND codes.created_at > moment.now - interval '24 hours'
), last_own_use AS (
    SELECT coalesce(max(consumed_at), '-infinity') AS used_at FROM recent_codes WHERE is_own
), unused_codes AS (
    SELECT recent_codes.created_at, NOT is_known_device AS is_strangers, is_own AND created_at >= used_at AS is_own
    FROM recent_codes, last_own_use WHERE consumed_at IS NULL
), used_limit AS (
    SELECT created_at + interval '1 hour' AS until
    FROM recent_codes, moment WHERE consumed_at IS NOT NULL AND created_at > moment.now - interval '1 hour'
    ORDER BY created_at DESC OFFSET $3::integer - 1 LIMIT 1
), counts AS (
    SELECT count(*) FILTER (WHERE is_own) AS own, max(created_at) FILTER (WHERE is_own) AS own_at,
        count(*) FILTER (WHERE is_strangers) AS strangers, max(created_at) FILTER (WHERE is_strangers) AS strangers_at
    FROM unused_codes
)
SELECT uuidv7() AS id,
    counts.own AS own_unused, extract(epoch FROM moment.now - counts.own_at)::double precision AS own_age_seconds,
    counts.strangers AS strangers_unused,
    extract(epoch FROM moment.now - counts.strangers_at)::double precision AS strangers_age_seconds,
    (SELECT extract(epoch FROM until - moment.now)::double precision FROM used_limit) AS used_wait_seconds
FROM moment, counts
"""


async def prepare_code(
    db: Executor, /, *, requester: bytes, phone_number: str, max_used_codes_per_hour: int
) -> PrepareCodeRow:
    """Return an id for a new code, and the figures that decide how long the requester must wait for this code. `own_unused`
    counts the unused codes that this requester asked for in the last 24 hours. Codes from before the requester's last
    use of a code do not count. `own_age_seconds` is the age of the newest code in `own_unused`. `strangers_unused`
    counts the unused codes of the last 24 hours that unknown devices asked for. `strangers_age_seconds` is the age of
    the newest code in `strangers_unused`. After `used_wait_seconds`, fewer than @max_used_codes_per_hour used codes are
    less than an hour old."""
    row = await db.fetchrow(PREPARE_CODE, requester, phone_number, max_used_codes_per_hour)
    if row is None:
        raise NoRow(PREPARE_CODE)
    return PrepareCodeRow(*row)


class CodeTimes(msgspec.Struct, frozen=True):
    created_at: datetime
    resend_after: datetime
    expires_at: datetime


INSERT_CODE: Final = """
INSERT INTO one_time_codes
    (id, role, phone_number, code_digest, requester, is_known_device, created_at, resend_after, expires_at)
SELECT $1, $2, $3, $4, $5, $6, now,
    now + make_interval(secs => $7), now + make_interval(secs => $8)
FROM curhat_now() AS now
RETURNING created_at, resend_after, expires_at
"""


async def insert_code(
    db: Executor,
    /,
    *,
    id: UUID,
    role: Role,
    phone_number: str,
    code_digest: bytes,
    requester: bytes,
    is_known_device: bool,
    resend_seconds: float,
    valid_seconds: float,
) -> CodeTimes:
    """Insert a code (nothing → live)."""
    row = await db.fetchrow(
        INSERT_CODE,
        id,
        role,
        phone_number,
        code_digest,
        requester,
        is_known_device,
        resend_seconds,
        valid_seconds,
    )
    if row is None:
        raise NoRow(INSERT_CODE)
    return CodeTimes(*row)


COUNT_CODE_OF_DAY: Final = """
INSERT INTO code_days (day, region, codes)
SELECT (curhat_now() AT TIME ZONE 'UTC')::date, $1, 1 WHERE $2::integer > 0
ON CONFLICT (day, region) DO UPDATE SET codes = code_days.codes + 1 WHERE code_days.codes < $2
RETURNING codes
"""


async def count_code_of_day(db: Executor, /, *, region: str, max_codes: int) -> int | None:
    """Add 1 to today's count of codes for this country, if the count is below @max_codes. Returns the new count. Returns no
    row if the count has reached @max_codes. The row stays locked until the transaction ends, so run this statement last."""
    row = await db.fetchrow(COUNT_CODE_OF_DAY, region, max_codes)
    if row is None:
        return None
    value: int = row[0]
    return value


PRUNE_CODE_DAYS: Final = """
DELETE FROM code_days WHERE day < (SELECT (curhat_now() - interval '30 days')::date)
"""


async def prune_code_days(db: Executor, /) -> None:
    """Delete the counts that are more than 30 days old."""
    await db.execute(PRUNE_CODE_DAYS)


class OwnerShown(msgspec.Struct, frozen=True):
    by_token: bool
    by_device: bool


SHOWS_OWNER: Final = """
WITH device AS MATERIALIZED (
    SELECT person_id FROM known_devices
    WHERE digest = $1 AND created_at > curhat_now() - make_interval(secs => $2)
)
SELECT coalesce(bool_or(phone_number = $3 AND id = $4), false) AS by_token,
    coalesce(bool_or(phone_number = $3 AND id IN (SELECT person_id FROM device)), false) AS by_device
FROM people
WHERE id = $4 OR id IN (SELECT person_id FROM device)
"""


async def shows_owner(
    db: Executor,
    /,
    *,
    device_digest: bytes | None,
    valid_seconds: float,
    phone_number: str,
    signed_in_id: UUID | None,
) -> OwnerShown:
    """Return whether a request comes from the owner of this phone number. `by_token` is true if @signed_in_id is the owner.
    `by_device` is true if the owner has signed in on the device with this digest. The statement finds people only by
    @signed_in_id and @device_digest, so it takes the same time for every phone number."""
    row = await db.fetchrow(SHOWS_OWNER, device_digest, valid_seconds, phone_number, signed_in_id)
    if row is None:
        raise NoRow(SHOWS_OWNER)
    return OwnerShown(*row)


LOCK_PHONE_OF_CODE: Final = """
WITH locked_phone AS MATERIALIZED (
    SELECT phone_number, pg_advisory_xact_lock(hashtextextended('one-time codes of ' || phone_number, 0))
    FROM one_time_codes WHERE id = $1 AND role = $2
)
SELECT phone_number FROM locked_phone
"""


async def lock_phone_of_code(db: Executor, /, *, id: UUID, role: Role) -> str | None:
    """Lock the phone number to which this code was sent, in the same way as lock_phone. Returns no row if this role has no
    such code."""
    row = await db.fetchrow(LOCK_PHONE_OF_CODE, id, role)
    if row is None:
        return None
    value: str = row[0]
    return value


class LockedCode(msgspec.Struct, frozen=True):
    phone_number: str
    code_digest: bytes
    is_live: bool


LOCK_CODE: Final = """
WITH locked_code AS MATERIALIZED (
    SELECT phone_number, code_digest, wrong_tries, expires_at, consumed_at
    FROM one_time_codes WHERE id = $1 FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_code
)
SELECT locked_code.phone_number, locked_code.code_digest,
    locked_code.consumed_at IS NULL AND locked_code.wrong_tries < $2
        AND locked_code.expires_at > moment.now AS is_live
FROM locked_code, moment
"""


async def lock_code(db: Executor, /, *, id: UUID, max_tries_per_code: int) -> LockedCode | None:
    """Lock the code. `is_live` is true if the code can still be used."""
    row = await db.fetchrow(LOCK_CODE, id, max_tries_per_code)
    if row is None:
        return None
    return LockedCode(*row)


COUNT_WRONG_TRY: Final = """
UPDATE one_time_codes SET wrong_tries = wrong_tries + 1 WHERE id = $1
"""


async def count_wrong_try(db: Executor, /, *, id: UUID) -> None:
    await db.execute(COUNT_WRONG_TRY, id)


USE_CODE: Final = """
UPDATE one_time_codes SET consumed_at = curhat_now() WHERE id = $1
RETURNING CASE WHEN NOT is_known_device THEN requester END AS stranger
"""


async def use_code(db: Executor, /, *, id: UUID) -> bytes | None:
    """Use the code (live → used). Returns the digest of the network address that asked for the code, or null if a known
    device asked."""
    row = await db.fetchrow(USE_CODE, id)
    if row is None:
        raise NoRow(USE_CODE)
    value: bytes | None = row[0]
    return value


FIND_OWN_PHONE: Final = """
SELECT phone_number FROM people WHERE id = $1
"""


async def find_own_phone(db: Executor, /, *, id: UUID) -> str | None:
    """Read the person's phone number."""
    row = await db.fetchrow(FIND_OWN_PHONE, id)
    if row is None:
        return None
    value: str = row[0]
    return value


class FindCustomerByPhoneRow(msgspec.Struct, frozen=True):
    id: UUID
    call_name: str


FIND_CUSTOMER_BY_PHONE: Final = """
SELECT customers.id, customers.call_name
FROM people JOIN customers USING (id)
WHERE people.phone_number = $1 AND customers.deleted_at IS NULL
"""


async def find_customer_by_phone(db: Executor, /, *, phone_number: str) -> FindCustomerByPhoneRow | None:
    row = await db.fetchrow(FIND_CUSTOMER_BY_PHONE, phone_number)
    if row is None:
        return None
    return FindCustomerByPhoneRow(*row)


class FindMitraByPhoneRow(msgspec.Struct, frozen=True):
    id: UUID
    display_name: str
    is_suspended: bool


FIND_MITRA_BY_PHONE: Final = """
SELECT mitras.id, mitras.display_name, mitras.suspended_at IS NOT NULL AS is_suspended
FROM people JOIN mitras USING (id)
WHERE people.phone_number = $1 AND mitras.deleted_at IS NULL FOR SHARE OF mitras
"""


async def find_mitra_by_phone(db: Executor, /, *, phone_number: str) -> FindMitraByPhoneRow | None:
    """Find the mitra, and lock the row until the transaction ends. The lock ensures that no token is made while a
    suspension begins or ends."""
    row = await db.fetchrow(FIND_MITRA_BY_PHONE, phone_number)
    if row is None:
        return None
    return FindMitraByPhoneRow(*row)


ENSURE_PERSON: Final = """
WITH found AS MATERIALIZED (
    SELECT id FROM people WHERE phone_number = $1 AND coalesce(only_role, $2::text) = $2
), inserted AS (
    INSERT INTO people (phone_number, only_role)
    SELECT $1,
        CASE WHEN EXISTS (SELECT 1 FROM people WHERE phone_number = $1) THEN $2::text END
    WHERE NOT EXISTS (SELECT 1 FROM found)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id FROM found UNION ALL SELECT id FROM inserted
"""


async def ensure_person(db: Executor, /, *, phone_number: str, role: Role) -> UUID | None:
    """Find the person with this phone number who can have the role @role, or insert one. If the number belongs to a person
    who deleted this role, the new person has only this role. The caller holds the number's lock. Returns the person's id.
    Returns no row if the constraint people_phone_number_key still exists and the number belongs to such a person."""
    row = await db.fetchrow(ENSURE_PERSON, phone_number, role)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_SAME_PHONE: Final = """
SELECT others.id
FROM people
JOIN people AS others ON others.phone_number = people.phone_number AND others.id <> people.id
WHERE people.id = $1
"""


async def find_same_phone(db: Executor, /, *, id: UUID) -> UUID | None:
    """Find the person of the other role who has the phone number of this person. Returns no row if this person has both
    roles, or if nobody of the other role has the number."""
    row = await db.fetchrow(FIND_SAME_PHONE, id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


INSERT_CUSTOMER: Final = """
INSERT INTO customers (id, call_name) VALUES ($1, $2)
"""


async def insert_customer(db: Executor, /, *, id: UUID, call_name: str) -> None:
    """Give this person the role of customer."""
    await db.execute(INSERT_CUSTOMER, id, call_name)


INSERT_MITRA: Final = """
INSERT INTO mitras (id, display_name, max_customers) VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING
"""


async def insert_mitra(db: Executor, /, *, id: UUID, display_name: str, max_customers: int) -> int:
    """Give this person the role of mitra. Changes no row if the person is already a mitra."""
    return rows_changed(await db.execute(INSERT_MITRA, id, display_name, max_customers))


INSERT_TOKEN: Final = """
INSERT INTO access_tokens
    (digest, role, user_id, transport, user_agent, known_device_digest, created_at, last_seen_at, expires_at)
SELECT $1, $2, $3, $4, $5, $6, now, now,
    now + make_interval(secs => $7)
FROM curhat_now() AS now
"""


async def insert_token(
    db: Executor,
    /,
    *,
    digest: bytes,
    role: Role,
    user_id: UUID,
    transport: Transport,
    user_agent: str,
    known_device_digest: bytes,
    idle_seconds: float,
) -> None:
    """Insert a token (nothing → valid for @idle_seconds). The statement touch_tokens makes the token valid for longer."""
    await db.execute(
        INSERT_TOKEN, digest, role, user_id, transport, user_agent, known_device_digest, idle_seconds
    )


TOUCH_TOKENS: Final = """
WITH stale_tokens AS MATERIALIZED (
    SELECT digest FROM access_tokens
    WHERE digest = ANY ($1::bytea[]) AND revoked_at IS NULL AND expires_at > curhat_now()
        AND last_seen_at < curhat_now() - make_interval(secs => $2)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE access_tokens
SET last_seen_at = now,
    expires_at = least(created_at + make_interval(secs => $3), now + make_interval(secs => $4))
FROM stale_tokens, curhat_now() AS now
WHERE access_tokens.digest = stale_tokens.digest
"""


async def touch_tokens(
    db: Executor,
    /,
    *,
    digests: Sequence[bytes],
    fresh_seconds: float,
    valid_seconds: float,
    idle_seconds: float,
) -> None:
    """Record a use of those tokens whose last recorded use is at least @fresh_seconds ago. Each of these tokens is then
    valid until @idle_seconds from now, but no longer than @valid_seconds after the sign-in."""
    await db.execute(TOUCH_TOKENS, digests, fresh_seconds, valid_seconds, idle_seconds)


class ValidToken(msgspec.Struct, frozen=True):
    digest: bytes
    role: Role
    user_id: UUID
    transport: Transport
    is_suspended: bool
    is_seen_stale: bool


FIND_VALID_TOKENS: Final = """
SELECT tokens.digest, tokens.role, tokens.user_id, tokens.transport, mitras.suspended_at IS NOT NULL AS is_suspended,
    tokens.last_seen_at < curhat_now() - make_interval(secs => $1) AS is_seen_stale
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($2::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
"""


async def find_valid_tokens(
    db: Executor, /, *, fresh_seconds: float, digests: Sequence[bytes]
) -> list[ValidToken]:
    """Find the tokens among @digests that are neither revoked nor expired, each with its owner. `is_seen_stale` is true if
    the token's use was last recorded more than @fresh_seconds ago."""
    return [ValidToken(*row) for row in await db.fetch(FIND_VALID_TOKENS, fresh_seconds, digests)]


class FindAdmittingTokensRow(msgspec.Struct, frozen=True):
    digest: bytes
    is_seen_stale: bool


FIND_ADMITTING_TOKENS: Final = """
SELECT tokens.digest, tokens.last_seen_at < curhat_now() - make_interval(secs => $1) AS is_seen_stale
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($2::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
    AND mitras.suspended_at IS NULL
"""


async def find_admitting_tokens(
    db: Executor, /, *, fresh_seconds: float, digests: Sequence[bytes]
) -> list[FindAdmittingTokensRow]:
    """Find the tokens among @digests that are neither revoked nor expired and do not belong to a suspended mitra."""
    return [
        FindAdmittingTokensRow(*row) for row in await db.fetch(FIND_ADMITTING_TOKENS, fresh_seconds, digests)
    ]


REVOKE_TOKEN: Final = """
UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = $1 AND revoked_at IS NULL
"""


async def revoke_token(db: Executor, /, *, digest: bytes) -> int:
    """Revoke the token (not revoked → revoked). Changes no row if the token was already revoked."""
    return rows_changed(await db.execute(REVOKE_TOKEN, digest))


HAS_ROLE: Final = """
SELECT CASE WHEN $1::text = 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = $2)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = $2) END AS has_role
"""


async def has_role(db: Executor, /, *, role: Role, id: UUID) -> bool:
    """Return whether this person has the role @role."""
    row = await db.fetchrow(HAS_ROLE, role, id)
    if row is None:
        raise NoRow(HAS_ROLE)
    value: bool = row[0]
    return value


class DeviceRow(msgspec.Struct, frozen=True):
    id: UUID
    digest: bytes
    created_at: datetime
    last_seen_at: datetime
    user_agent: str


LIST_DEVICES: Final = """
SELECT id, digest, created_at, last_seen_at, user_agent
FROM access_tokens
WHERE user_id = $1 AND role = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
ORDER BY last_seen_at DESC, id DESC
LIMIT 100
"""


async def list_devices(db: Executor, /, *, user_id: UUID, role: Role) -> list[DeviceRow]:
    """Read at most 100 valid tokens of a person in one role, the most recently seen first."""
    return [DeviceRow(*row) for row in await db.fetch(LIST_DEVICES, user_id, role)]


REVOKE_DEVICE: Final = """
WITH revoked AS (
    UPDATE access_tokens SET revoked_at = curhat_now()
    WHERE id = $1 AND user_id = $2 AND role = $3 AND revoked_at IS NULL AND expires_at > curhat_now()
    RETURNING digest, known_device_digest
), forgotten AS (
    DELETE FROM known_devices USING revoked WHERE known_devices.digest = revoked.known_device_digest
)
SELECT digest FROM revoked
"""


async def revoke_device(db: Executor, /, *, id: UUID, user_id: UUID, role: Role) -> bytes | None:
    """Revoke this person's token with this id (valid → revoked). The statement also removes the device from the known
    devices. Returns the token's digest. Returns no row if this person has no such valid token."""
    row = await db.fetchrow(REVOKE_DEVICE, id, user_id, role)
    if row is None:
        return None
    value: bytes = row[0]
    return value


REVOKE_OTHER_DEVICES: Final = """
WITH kept AS MATERIALIZED (
    SELECT known_device_digest FROM access_tokens WHERE digest = $1
), locked_tokens AS MATERIALIZED (
    SELECT digest FROM access_tokens
    WHERE user_id = $2 AND role = $3 AND revoked_at IS NULL AND digest IS DISTINCT FROM $1
    ORDER BY digest FOR NO KEY UPDATE
), forgotten AS (
    DELETE FROM known_devices
    WHERE person_id = $2 AND digest IS DISTINCT FROM (SELECT known_device_digest FROM kept) AND NOT EXISTS (
        SELECT 1 FROM access_tokens AS others
        WHERE others.user_id = $2 AND others.role <> $3 AND others.known_device_digest = known_devices.digest
            AND others.revoked_at IS NULL AND others.expires_at > curhat_now()
    )
)
UPDATE access_tokens SET revoked_at = curhat_now() FROM locked_tokens
WHERE access_tokens.digest = locked_tokens.digest
RETURNING access_tokens.digest
"""


async def revoke_other_devices(
    db: Executor, /, *, kept_digest: bytes | None, user_id: UUID, role: Role
) -> list[bytes]:
    """Revoke every token of this person in this role except @kept_digest (valid → revoked). A known device of the person
    stays only if it has the kept token or a valid token of another role. The statement locks the tokens in a fixed
    order, so that two runs of the statement cannot deadlock. Returns the digests of the revoked tokens."""
    return [row[0] for row in await db.fetch(REVOKE_OTHER_DEVICES, kept_digest, user_id, role)]


INSERT_KNOWN_DEVICE: Final = """
WITH surplus AS (
    DELETE FROM known_devices WHERE digest = $1 OR digest IN (
        SELECT digest FROM known_devices WHERE person_id = $2 OR operator_id = $3
        ORDER BY created_at DESC OFFSET $4::integer - 1
    )
)
INSERT INTO known_devices (digest, person_id, operator_id) VALUES ($5, $2, $3)
"""


async def insert_known_device(
    db: Executor,
    /,
    *,
    replaced_digest: bytes | None,
    person_id: UUID | None,
    operator_id: UUID | None,
    max_devices: int,
    digest: bytes,
) -> None:
    """Make this device a known device of a person or of an operator, in place of the device with @replaced_digest. If the
    owner then has more than @max_devices known devices, the statement deletes the oldest devices."""
    await db.execute(INSERT_KNOWN_DEVICE, replaced_digest, person_id, operator_id, max_devices, digest)


FIND_KNOWN_DEVICES: Final = """
SELECT digest FROM known_devices
WHERE digest = ANY ($1::bytea[]) AND created_at > curhat_now() - make_interval(secs => $2)
"""


async def find_known_devices(
    db: Executor, /, *, digests: Sequence[bytes], valid_seconds: float
) -> list[bytes]:
    """Find the digests among @digests that belong to a known device of any person or operator."""
    return [row[0] for row in await db.fetch(FIND_KNOWN_DEVICES, digests, valid_seconds)]


FIND_OPERATOR_OF_DEVICE: Final = """
SELECT operator_id FROM known_devices
WHERE digest = $1 AND created_at > curhat_now() - make_interval(secs => $2)
"""


async def find_operator_of_device(db: Executor, /, *, digest: bytes, valid_seconds: float) -> UUID | None:
    """Find the operator who has signed in on the device with this digest."""
    row = await db.fetchrow(FIND_OPERATOR_OF_DEVICE, digest, valid_seconds)
    if row is None:
        return None
    value: UUID | None = row[0]
    return value


FORGET_DEVICES_OF_OPERATOR: Final = """
DELETE FROM known_devices WHERE operator_id = $1 AND digest IS DISTINCT FROM $2
"""


async def forget_devices_of_operator(
    db: Executor, /, *, operator_id: UUID, kept_digest: bytes | None
) -> None:
    """Delete the known devices of an operator, except the device with @kept_digest."""
    await db.execute(FORGET_DEVICES_OF_OPERATOR, operator_id, kept_digest)


FORGET_DEVICE: Final = """
DELETE FROM known_devices WHERE digest = $1
"""


async def forget_device(db: Executor, /, *, digest: bytes) -> None:
    await db.execute(FORGET_DEVICE, digest)


PRUNE_KNOWN_DEVICES: Final = """
DELETE FROM known_devices WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM known_devices
    WHERE created_at < (SELECT curhat_now() - make_interval(secs => $1))
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
))
"""


async def prune_known_devices(db: Executor, /, *, valid_seconds: float, max_devices: int) -> int:
    """Delete at most @max_devices known devices whose secret is older than @valid_seconds, oldest first."""
    return rows_changed(await db.execute(PRUNE_KNOWN_DEVICES, valid_seconds, max_devices))


class FindCustomerRow(msgspec.Struct, frozen=True):
    id: UUID
    call_name: str
    phone_number: str


FIND_CUSTOMER: Final = """
SELECT customers.id, customers.call_name, people.phone_number
FROM customers JOIN people USING (id) WHERE customers.id = $1 AND customers.deleted_at IS NULL
"""


async def find_customer(db: Executor, /, *, id: UUID) -> FindCustomerRow | None:
    row = await db.fetchrow(FIND_CUSTOMER, id)
    if row is None:
        return None
    return FindCustomerRow(*row)


RENAME_CUSTOMER: Final = """
UPDATE customers SET call_name = $1 WHERE id = $2 AND deleted_at IS NULL
"""


async def rename_customer(db: Executor, /, *, call_name: str, id: UUID) -> int:
    """Change the customer's call name. Changes no row if no such customer exists, or the account is deleted."""
    return rows_changed(await db.execute(RENAME_CUSTOMER, call_name, id))


NOTE_ADULT_CUSTOMER: Final = """
UPDATE customers SET adult_at = curhat_now() WHERE id = $1 AND adult_at IS NULL
"""


async def note_adult_customer(db: Executor, /, *, id: UUID) -> None:
    """Note that the customer said to be an adult. A later note changes nothing."""
    await db.execute(NOTE_ADULT_CUSTOMER, id)


NOTE_ADULT_MITRA: Final = """
UPDATE mitras SET adult_at = curhat_now() WHERE id = $1 AND adult_at IS NULL
"""


async def note_adult_mitra(db: Executor, /, *, id: UUID) -> None:
    """Note that the mitra said to be an adult. A later note changes nothing."""
    await db.execute(NOTE_ADULT_MITRA, id)


IS_ADULT: Final = """
SELECT CASE WHEN $1::text = 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = $2 AND adult_at IS NOT NULL)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = $2 AND adult_at IS NOT NULL) END AS is_adult
"""


async def is_adult(db: Executor, /, *, role: Role, id: UUID) -> bool:
    """Return whether this person has said in this role to be an adult."""
    row = await db.fetchrow(IS_ADULT, role, id)
    if row is None:
        raise NoRow(IS_ADULT)
    value: bool = row[0]
    return value


IS_CUSTOMER_SUSPENDED: Final = """
SELECT deleted_at IS NOT NULL
    OR suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended
FROM customers WHERE id = $1
"""


async def is_customer_suspended(db: Executor, /, *, id: UUID) -> bool | None:
    """Read whether the customer is suspended now (T.3). A deleted account counts as suspended."""
    row = await db.fetchrow(IS_CUSTOMER_SUSPENDED, id)
    if row is None:
        return None
    value: bool = row[0]
    return value


SHARE_LOCK_CUSTOMER: Final = """
SELECT deleted_at IS NOT NULL
    OR suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended
FROM customers WHERE id = $1 FOR SHARE
"""


async def share_lock_customer(db: Executor, /, *, id: UUID) -> bool | None:
    """Read whether the customer is suspended now, and hold back every suspension until this transaction ends. If a
    suspension is being written, the statement waits, and then reads the new row."""
    row = await db.fetchrow(SHARE_LOCK_CUSTOMER, id)
    if row is None:
        return None
    value: bool = row[0]
    return value


class LockedCustomer(msgspec.Struct, frozen=True):
    is_suspended: bool
    suspended_until: datetime | None


LOCK_CUSTOMER: Final = """
SELECT suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended,
    suspended_until
FROM customers WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE
"""


async def lock_customer(db: Executor, /, *, id: UUID) -> LockedCustomer | None:
    """Lock the customer before an operator's change. Returns no row if no such customer exists, or the
    account is deleted."""
    row = await db.fetchrow(LOCK_CUSTOMER, id)
    if row is None:
        return None
    return LockedCustomer(*row)


SUSPEND_CUSTOMER: Final = """
UPDATE customers SET suspended_until = $1, suspended_at = CASE
    WHEN suspended_until IS NULL OR suspended_until > curhat_now() THEN coalesce(suspended_at, curhat_now())
    ELSE curhat_now()
END
WHERE id = $2
"""


async def suspend_customer(db: Executor, /, *, until: datetime | None, id: UUID) -> None:
    """Suspend the customer until @until, or for good. A suspension that is in force begins no later than before."""
    await db.execute(SUSPEND_CUSTOMER, until, id)


LIFT_CUSTOMER_SUSPENSION: Final = """
UPDATE customers SET suspended_at = NULL, suspended_until = NULL WHERE id = $1
"""


async def lift_customer_suspension(db: Executor, /, *, id: UUID) -> None:
    """Lift the suspension of the customer (suspended → admitted)."""
    await db.execute(LIFT_CUSTOMER_SUSPENSION, id)


class LockedMitra(msgspec.Struct, frozen=True):
    display_name: str
    max_customers: int
    active_sessions: int
    is_suspended: bool
    suspended_until: datetime | None
    is_over: bool


LOCK_MITRA: Final = """
SELECT display_name, max_customers, active_sessions, suspended_at IS NOT NULL AS is_suspended,
    CASE WHEN suspended_at IS NOT NULL THEN suspended_until END AS suspended_until,
    coalesce(suspended_at IS NOT NULL AND suspended_until <= curhat_now(), false) AS is_over
FROM mitras WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE
"""


async def lock_mitra(db: Executor, /, *, id: UUID) -> LockedMitra | None:
    """Lock the mitra before an operator's change. Returns no row if no such mitra exists, or the account is
    deleted."""
    row = await db.fetchrow(LOCK_MITRA, id)
    if row is None:
        return None
    return LockedMitra(*row)


RENAME_MITRA: Final = """
UPDATE mitras SET display_name = $1 WHERE id = $2
"""


async def rename_mitra(db: Executor, /, *, display_name: str, id: UUID) -> None:
    """Change the mitra's display name."""
    await db.execute(RENAME_MITRA, display_name, id)


CHANGE_CAPACITY: Final = """
UPDATE mitras SET max_customers = $1 WHERE id = $2
"""


async def change_capacity(db: Executor, /, *, max_customers: int, id: UUID) -> None:
    """Change the mitra's capacity."""
    await db.execute(CHANGE_CAPACITY, max_customers, id)


SUSPEND_MITRA: Final = """
UPDATE mitras SET suspended_at = curhat_now(), suspended_until = $1, online = false WHERE id = $2
"""


async def suspend_mitra(db: Executor, /, *, until: datetime | None, id: UUID) -> None:
    """Suspend the mitra (admitted → suspended), until @until or until an operator lifts the suspension. The statement also
    sets the toggle to offline. After the suspension, the mitra must switch to online again."""
    await db.execute(SUSPEND_MITRA, until, id)


CHANGE_SUSPENSION_END: Final = """
UPDATE mitras SET suspended_until = $1 WHERE id = $2 AND suspended_at IS NOT NULL
"""


async def change_suspension_end(db: Executor, /, *, until: datetime | None, id: UUID) -> None:
    """Change until when the suspended mitra is suspended."""
    await db.execute(CHANGE_SUSPENSION_END, until, id)


LIFT_SUSPENSION: Final = """
WITH revoked AS (
    UPDATE access_tokens SET revoked_at = curhat_now() WHERE user_id = $1 AND role = 'mitra' AND revoked_at IS NULL
)
UPDATE mitras SET suspended_at = NULL, suspended_until = NULL WHERE id = $1
"""


async def lift_suspension(db: Executor, /, *, id: UUID) -> None:
    """Lift the suspension of the mitra (suspended → admitted). Revokes every token of the mitra, so that a token from
    before the suspension does not become valid again."""
    await db.execute(LIFT_SUSPENSION, id)


PRUNE_CODES: Final = """
DELETE FROM one_time_codes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM one_time_codes WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_codes(db: Executor, /, *, max_codes: int) -> int:
    """Delete at most @max_codes codes that are older than a day, oldest first. The limits on codes count only the codes of
    the last day. After the deletion of a code, no row shows that somebody asked to sign in with the code's phone number."""
    return rows_changed(await db.execute(PRUNE_CODES, max_codes))


PRUNE_TOKENS: Final = """
DELETE FROM access_tokens WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM access_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    ORDER BY least(expires_at, revoked_at) LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_tokens(db: Executor, /, *, max_tokens: int) -> int:
    """Delete at most @max_tokens tokens that expired or were revoked more than a week ago, oldest first."""
    return rows_changed(await db.execute(PRUNE_TOKENS, max_tokens))


INSERT_INBOX_MESSAGE: Final = """
INSERT INTO development_inbox (phone_number, text, code) VALUES ($1, $2, $3)
"""


async def insert_inbox_message(db: Executor, /, *, phone_number: str, text: str, code: str) -> None:
    """Insert a text message into the inbox."""
    await db.execute(INSERT_INBOX_MESSAGE, phone_number, text, code)


PRUNE_INBOX: Final = """
DELETE FROM development_inbox WHERE phone_number = $1 AND id <= (
    SELECT id FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC OFFSET 20 LIMIT 1
)
"""


async def prune_inbox(db: Executor, /, *, phone_number: str) -> None:
    """Delete all text messages to this phone number except the newest 20."""
    await db.execute(PRUNE_INBOX, phone_number)


class ListInboxRow(msgspec.Struct, frozen=True):
    text: str
    code: str
    sent_at: datetime


LIST_INBOX: Final = """
SELECT text, code, sent_at FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC
"""


async def list_inbox(db: Executor, /, *, phone_number: str) -> list[ListInboxRow]:
    """Read the text messages to this phone number, newest first."""
    return [ListInboxRow(*row) for row in await db.fetch(LIST_INBOX, phone_number)]


LOCK_PERSON: Final = """
SELECT phone_number FROM people WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_person(db: Executor, /, *, id: UUID) -> str | None:
    """Lock the person before the deletion of an account. A subscription to push takes the same lock before the lock of the
    mitra. Returns the phone number."""
    row = await db.fetchrow(LOCK_PERSON, id)
    if row is None:
        return None
    value: str = row[0]
    return value


class LockedAccount(msgspec.Struct, frozen=True):
    is_deleted: bool
    suspended_at: datetime | None
    suspended_until: datetime | None


LOCK_ACCOUNT: Final = """
WITH locked_customer AS MATERIALIZED (
    SELECT deleted_at, suspended_at, suspended_until FROM customers WHERE id = $1 AND $2::text = 'customer' FOR UPDATE
), locked_mitra AS MATERIALIZED (
    SELECT deleted_at, suspended_at, suspended_until FROM mitras WHERE id = $1 AND $2 = 'mitra' FOR UPDATE
)
SELECT deleted_at IS NOT NULL AS is_deleted, suspended_at, suspended_until
FROM (SELECT * FROM locked_customer UNION ALL SELECT * FROM locked_mitra) AS locked_account
"""


async def lock_account(db: Executor, /, *, id: UUID, role: Role) -> LockedAccount | None:
    """Lock the account FOR UPDATE. A new payment of this customer, and a new token, wait for this lock. Returns whether the
    account is deleted. Returns no row if the person does not have this role."""
    row = await db.fetchrow(LOCK_ACCOUNT, id, role)
    if row is None:
        return None
    return LockedAccount(*row)


MARK_CUSTOMER_DELETED: Final = """
UPDATE customers SET deleted_at = curhat_now(), call_name = $1 WHERE id = $2
"""


async def mark_customer_deleted(db: Executor, /, *, name: str, id: UUID) -> None:
    """Delete the account (active → deleted), and replace the name."""
    await db.execute(MARK_CUSTOMER_DELETED, name, id)


MARK_MITRA_DELETED: Final = """
UPDATE mitras
SET deleted_at = curhat_now(), display_name = $1, online = false, break_until = NULL,
    suspended_at = coalesce(suspended_at, curhat_now()), suspended_until = NULL
WHERE id = $2
"""


async def mark_mitra_deleted(db: Executor, /, *, name: str, id: UUID) -> None:
    """Delete the account (active → deleted), and replace the name. The mitra is offline and suspended from now on."""
    await db.execute(MARK_MITRA_DELETED, name, id)


TAKE_PHONE_NUMBER: Final = """
WITH other_role AS (
    SELECT 'mitra' AS role FROM mitras WHERE id = $1 AND $2::text = 'customer' AND deleted_at IS NULL
    UNION ALL
    SELECT 'customer' FROM customers WHERE id = $1 AND $2 = 'mitra' AND deleted_at IS NULL
)
UPDATE people
SET only_role = coalesce((SELECT role FROM other_role), only_role),
    phone_number = CASE
        WHEN EXISTS (SELECT 1 FROM other_role) THEN phone_number
        ELSE '+999' || lpad(nextval('deleted_phone_numbers')::text, 12, '0')
    END
WHERE id = $1
"""


async def take_phone_number(db: Executor, /, *, id: UUID, role: Role) -> None:
    """Take the role @role from the person. If the person has the other role too, the person keeps the number for that role.
    Otherwise the person loses the number."""
    await db.execute(TAKE_PHONE_NUMBER, id, role)


END_CODES_OF_PHONE: Final = """
DELETE FROM one_time_codes WHERE phone_number = $1 AND role = $2
"""


async def end_codes_of_phone(db: Executor, /, *, phone_number: str, role: Role) -> None:
    """Delete the one-time codes of this number for this role."""
    await db.execute(END_CODES_OF_PHONE, phone_number, role)


EMPTY_INBOX: Final = """
DELETE FROM development_inbox WHERE phone_number = $1
"""


async def empty_inbox(db: Executor, /, *, phone_number: str) -> None:
    """Delete the text messages to this number."""
    await db.execute(EMPTY_INBOX, phone_number)


DELETE_TOKENS: Final = """
DELETE FROM access_tokens WHERE user_id = $1 AND role = $2
"""


async def delete_tokens(db: Executor, /, *, user_id: UUID, role: Role) -> int:
    """Delete the tokens of a deleted account. The push subscriptions of the tokens end with them."""
    return rows_changed(await db.execute(DELETE_TOKENS, user_id, role))


FORGET_DEVICES_OF_PERSON: Final = """
DELETE FROM known_devices WHERE person_id = $1 AND NOT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE user_id = $1 AND known_device_digest = known_devices.digest AND revoked_at IS NULL
        AND expires_at > curhat_now()
)
"""


async def forget_devices_of_person(db: Executor, /, *, person_id: UUID) -> None:
    """Delete the known devices of a person without a valid token."""
    await db.execute(FORGET_DEVICES_OF_PERSON, person_id)


KEEP_ERASED_PHONE: Final = """
INSERT INTO erased_phones (digest, role, trial_used, suspended_at, suspended_until, blocked_by, expires_at)
SELECT $1, $2, $3, $4, $5, $6::uuid[],
    curhat_now() + make_interval(months => $7)
ON CONFLICT (digest, role) DO UPDATE
SET trial_used = erased_phones.trial_used OR excluded.trial_used, suspended_at = excluded.suspended_at,
    suspended_until = excluded.suspended_until, expires_at = excluded.expires_at,
    blocked_by = ARRAY(SELECT DISTINCT unnest(erased_phones.blocked_by || excluded.blocked_by))
"""


async def keep_erased_phone(
    db: Executor,
    /,
    *,
    digest: bytes,
    role: Role,
    trial_used: bool,
    suspended_at: datetime | None,
    suspended_until: datetime | None,
    blocked_by: Sequence[UUID],
    kept_months: int,
) -> None:
    """Keep what the same phone number inherits (P.4), for @kept_months. A second deletion adds to the first."""
    await db.execute(
        KEEP_ERASED_PHONE, digest, role, trial_used, suspended_at, suspended_until, blocked_by, kept_months
    )


class ErasedPhone(msgspec.Struct, frozen=True):
    trial_used: bool
    suspended_at: datetime | None
    suspended_until: datetime | None
    blocked_by: list[UUID]


INHERIT_ERASED_PHONE: Final = """
DELETE FROM erased_phones WHERE digest = $1 AND role = $2 AND expires_at > (SELECT curhat_now())
RETURNING trial_used, suspended_at, suspended_until, blocked_by
"""


async def inherit_erased_phone(db: Executor, /, *, digest: bytes, role: Role) -> ErasedPhone | None:
    """Take what this phone number inherits. The new account holds it from now on."""
    row = await db.fetchrow(INHERIT_ERASED_PHONE, digest, role)
    if row is None:
        return None
    return ErasedPhone(*row)


GIVE_CUSTOMER_INHERITANCE: Final = """
UPDATE customers
SET trial_used_before = $1, suspended_at = $2, suspended_until = $3 WHERE id = $4
"""


async def give_customer_inheritance(
    db: Executor,
    /,
    *,
    trial_used: bool,
    suspended_at: datetime | None,
    suspended_until: datetime | None,
    id: UUID,
) -> None:
    """Give a new customer the used trial and the suspension of an earlier account."""
    await db.execute(GIVE_CUSTOMER_INHERITANCE, trial_used, suspended_at, suspended_until, id)


GIVE_MITRA_INHERITANCE: Final = """
UPDATE mitras SET suspended_at = $1, suspended_until = $2 WHERE id = $3
"""


async def give_mitra_inheritance(
    db: Executor, /, *, suspended_at: datetime | None, suspended_until: datetime | None, id: UUID
) -> None:
    """Give a new mitra the suspension of an earlier account."""
    await db.execute(GIVE_MITRA_INHERITANCE, suspended_at, suspended_until, id)


PRUNE_ERASED_PHONES: Final = """
DELETE FROM erased_phones WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM erased_phones WHERE expires_at <= (SELECT curhat_now())
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_erased_phones(db: Executor, /, *, max_phones: int) -> int:
    """Delete at most @max_phones rows whose time is over (P.4)."""
    return rows_changed(await db.execute(PRUNE_ERASED_PHONES, max_phones))


REVOKE_EVERY_TOKEN: Final = """
UPDATE access_tokens SET revoked_at = curhat_now() WHERE revoked_at IS NULL AND expires_at > curhat_now()
"""


async def revoke_every_token(db: Executor, /) -> int:
    """valid → revoked, for the tokens of all people."""
    return rows_changed(await db.execute(REVOKE_EVERY_TOKEN))


FORGET_EVERY_DEVICE: Final = """
DELETE FROM known_devices
"""


async def forget_every_device(db: Executor, /) -> None:
    await db.execute(FORGET_EVERY_DEVICE)


END_EVERY_CODE: Final = """
UPDATE one_time_codes SET expires_at = curhat_now() WHERE consumed_at IS NULL AND expires_at > curhat_now()
"""


async def end_every_code(db: Executor, /) -> None:
    """live → expired, for all one-time codes."""
    await db.execute(END_EVERY_CODE)


ENSURE_LOST_PERSON: Final = """
INSERT INTO people (id, phone_number) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


async def ensure_lost_person(db: Executor, /, *, id: UUID, phone_number: str) -> None:
    """Insert a person with this id, unless the person exists."""
    await db.execute(ENSURE_LOST_PERSON, id, phone_number)


ENSURE_LOST_CUSTOMER: Final = """
INSERT INTO customers (id, call_name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING
"""


async def ensure_lost_customer(db: Executor, /, *, id: UUID, call_name: str) -> None:
    """Make the person a customer, unless the person is one."""
    await db.execute(ENSURE_LOST_CUSTOMER, id, call_name)
