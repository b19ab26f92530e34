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
    """Lock this phone number until the transaction ends. This must be a separate statement, so that the next
    statement sees the rows that the previous lock holder committed."""
    row = await db.fetchrow(LOCK_PHONE, phone_number)
    if row is None:
        raise NoRow(LOCK_PHONE)
    value: None = row[0]
    return value


class PrepareCodeRow(msgspec.Struct, frozen=True):
    id: UUID
    wait_seconds: float | None


PREPARE_CODE: Final = """
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), recent_codes AS MATERIALIZED (
    SELECT codes.id, codes.created_at, codes.resend_after, codes.consumed_at
    FROM one_time_codes AS codes, moment
    WHERE codes.phone_number = $1 AND codes.created_at > moment.now - interval '1 hour'
), waits AS (
    (SELECT CASE WHEN consumed_at IS NULL THEN resend_after END AS until
     FROM recent_codes ORDER BY created_at DESC, id DESC LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent_codes WHERE consumed_at IS NULL
     ORDER BY created_at DESC, id DESC OFFSET $2::integer - 1 LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent_codes
     ORDER BY created_at DESC, id DESC OFFSET $3::integer - 1 LIMIT 1)
)
SELECT uuidv7() AS id,
    (SELECT extract(epoch FROM max(waits.until) - moment.now)::double precision FROM waits) AS wait_seconds
FROM moment
"""


async def prepare_code(
    db: Executor, /, *, phone_number: str, max_unused_codes_per_hour: int, max_codes_per_hour: int
) -> PrepareCodeRow:
    """Return an id for a new code, and how many seconds this phone number must wait for the code. `wait_seconds` is
    null or negative if a code may be sent now. After the wait, every limit allows another code."""
    row = await db.fetchrow(PREPARE_CODE, phone_number, max_unused_codes_per_hour, max_codes_per_hour)
    if row is None:
        raise NoRow(PREPARE_CODE)
    return PrepareCodeRow(*row)


class CodeTimes(msgspec.Struct, frozen=True):
    created_at: datetime
    resend_after: datetime
    expires_at: datetime


INSERT_CODE: Final = """
INSERT INTO one_time_codes (id, role, phone_number, code_digest, created_at, resend_after, expires_at)
SELECT $1, $2, $3, $4, now, now + make_interval(secs => $5),
    now + make_interval(secs => $6)
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
    resend_seconds: float,
    valid_seconds: float,
) -> CodeTimes:
    """nothing → live."""
    row = await db.fetchrow(INSERT_CODE, id, role, phone_number, code_digest, resend_seconds, valid_seconds)
    if row is None:
        raise NoRow(INSERT_CODE)
    return CodeTimes(*row)


LOCK_PHONE_OF_CODE: Final = """
WITH locked_phone AS MATERIALIZED (
    SELECT phone_number, pg_advisory_xact_lock(hashtextextended('one-time codes of ' || phone_number, 0))
    FROM one_time_codes WHERE id = $1 AND role = $2
)
SELECT phone_number FROM locked_phone
"""


async def lock_phone_of_code(db: Executor, /, *, id: UUID, role: Role) -> str | None:
    """Lock the phone number to which this code was sent, in the same way as lock_phone. No row: this role has no
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
    wait_seconds: float | None


LOCK_CODE: Final = """
WITH locked_code AS MATERIALIZED (
    SELECT phone_number, code_digest, wrong_tries, expires_at, consumed_at
    FROM one_time_codes WHERE id = $1 FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, interval '1 hour' + make_interval(secs => $2) AS memory, count(*) AS locks
    FROM locked_code
), tries AS (
    SELECT codes.created_at, sum(codes.wrong_tries) OVER (ORDER BY codes.created_at DESC, codes.id DESC) AS so_far
    FROM locked_code, moment, one_time_codes AS codes
    WHERE codes.phone_number = locked_code.phone_number AND codes.created_at > moment.now - moment.memory
)
SELECT locked_code.phone_number, locked_code.code_digest,
    locked_code.consumed_at IS NULL AND locked_code.wrong_tries < $3
        AND locked_code.expires_at > moment.now AS is_live,
    (SELECT extract(epoch FROM max(tries.created_at) + moment.memory - moment.now)::double precision
     FROM tries WHERE tries.so_far >= $4) AS wait_seconds
FROM locked_code, moment
"""


async def lock_code(
    db: Executor, /, *, id: UUID, valid_seconds: float, max_tries_per_code: int, max_wrong_tries_per_hour: int
) -> LockedCode | None:
    """Lock the code. `is_live` is true if the code can still be used. `wait_seconds` says how long the code's phone
    number must wait before the next try of any code. Null or negative: no wait. Each code's row counts the wrong
    tries of this code. A code is valid for @valid_seconds. So all tries of the last hour are in rows that are at
    most one hour plus @valid_seconds old."""
    row = await db.fetchrow(LOCK_CODE, id, valid_seconds, max_tries_per_code, max_wrong_tries_per_hour)
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
"""


async def use_code(db: Executor, /, *, id: UUID) -> None:
    """live → used."""
    await db.execute(USE_CODE, id)


class FindCustomerByPhoneRow(msgspec.Struct, frozen=True):
    id: UUID
    call_name: str


FIND_CUSTOMER_BY_PHONE: Final = """
SELECT customers.id, customers.call_name
FROM people JOIN customers USING (id) WHERE people.phone_number = $1
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
FROM people JOIN mitras USING (id) WHERE people.phone_number = $1
"""


async def find_mitra_by_phone(db: Executor, /, *, phone_number: str) -> FindMitraByPhoneRow | None:
    row = await db.fetchrow(FIND_MITRA_BY_PHONE, phone_number)
    if row is None:
        return None
    return FindMitraByPhoneRow(*row)


ENSURE_PERSON: Final = """
INSERT INTO people (phone_number) VALUES ($1)
ON CONFLICT (phone_number) DO UPDATE SET phone_number = excluded.phone_number
RETURNING id
"""


async def ensure_person(db: Executor, /, *, phone_number: str) -> UUID:
    """Insert a person with this phone number, or find the existing person with this number. Returns the person's
    id."""
    row = await db.fetchrow(ENSURE_PERSON, phone_number)
    if row is None:
        raise NoRow(ENSURE_PERSON)
    value: UUID = row[0]
    return value


INSERT_CUSTOMER: Final = """
INSERT INTO customers (id, call_name) VALUES ($1, $2)
"""


async def insert_customer(db: Executor, /, *, id: UUID, call_name: str) -> None:
    """Make the person a customer too."""
    await db.execute(INSERT_CUSTOMER, id, call_name)


INSERT_MITRA: Final = """
INSERT INTO mitras (id, display_name, max_customers) VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING
"""


async def insert_mitra(db: Executor, /, *, id: UUID, display_name: str, max_customers: int) -> int:
    """Make the person a mitra too. Changes no row if the person is already a mitra."""
    return rows_changed(await db.execute(INSERT_MITRA, id, display_name, max_customers))


INSERT_TOKEN: Final = """
INSERT INTO access_tokens (digest, role, user_id, transport, created_at, expires_at)
SELECT $1, $2, $3, $4, now, now + make_interval(secs => $5) FROM curhat_now() AS now
"""


async def insert_token(
    db: Executor, /, *, digest: bytes, role: Role, user_id: UUID, transport: Transport, valid_seconds: float
) -> None:
    """nothing → valid for @valid_seconds."""
    await db.execute(INSERT_TOKEN, digest, role, user_id, transport, valid_seconds)


class ValidToken(msgspec.Struct, frozen=True):
    digest: bytes
    role: Role
    user_id: UUID
    transport: Transport
    is_suspended: bool


FIND_VALID_TOKENS: Final = """
SELECT tokens.digest, tokens.role, tokens.user_id, tokens.transport, mitras.suspended_at IS NOT NULL AS is_suspended
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($1::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
"""


async def find_valid_tokens(db: Executor, /, *, digests: Sequence[bytes]) -> list[ValidToken]:
    """Find the tokens among @digests that are neither revoked nor expired, each with its owner."""
    return [ValidToken(*row) for row in await db.fetch(FIND_VALID_TOKENS, digests)]


FIND_ADMITTING_TOKENS: Final = """
SELECT tokens.digest
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($1::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
    AND mitras.suspended_at IS NULL
"""


async def find_admitting_tokens(db: Executor, /, *, digests: Sequence[bytes]) -> list[bytes]:
    """Find the tokens among @digests that are neither revoked nor expired, and whose owner is not suspended."""
    return [row[0] for row in await db.fetch(FIND_ADMITTING_TOKENS, digests)]


REVOKE_TOKEN: Final = """
UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = $1 AND revoked_at IS NULL
"""


async def revoke_token(db: Executor, /, *, digest: bytes) -> int:
    """not revoked → revoked. Changes no row if the token was already revoked."""
    return rows_changed(await db.execute(REVOKE_TOKEN, digest))


class FindCustomerRow(msgspec.Struct, frozen=True):
    id: UUID
    call_name: str
    phone_number: str


FIND_CUSTOMER: Final = """
SELECT customers.id, customers.call_name, people.phone_number
FROM customers JOIN people USING (id) WHERE customers.id = $1
"""


async def find_customer(db: Executor, /, *, id: UUID) -> FindCustomerRow | None:
    row = await db.fetchrow(FIND_CUSTOMER, id)
    if row is None:
        return None
    return FindCustomerRow(*row)


RENAME_CUSTOMER: Final = """
UPDATE customers SET call_name = $1 WHERE id = $2
"""


async def rename_customer(db: Executor, /, *, call_name: str, id: UUID) -> int:
    """Change the customer's call name. Changes no row if no such customer exists."""
    return rows_changed(await db.execute(RENAME_CUSTOMER, call_name, id))


class LockedMitra(msgspec.Struct, frozen=True):
    display_name: str
    max_customers: int
    active_sessions: int
    is_suspended: bool


LOCK_MITRA: Final = """
SELECT display_name, max_customers, active_sessions, suspended_at IS NOT NULL AS is_suspended
FROM mitras WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_mitra(db: Executor, /, *, id: UUID) -> LockedMitra | None:
    """Lock the mitra before an operator's change. No row: no such mitra exists."""
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
UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1
"""


async def suspend_mitra(db: Executor, /, *, id: UUID) -> None:
    """admitted → suspended."""
    await db.execute(SUSPEND_MITRA, id)


LIFT_SUSPENSION: Final = """
UPDATE mitras SET suspended_at = NULL WHERE id = $1
"""


async def lift_suspension(db: Executor, /, *, id: UUID) -> None:
    """suspended → admitted."""
    await db.execute(LIFT_SUSPENSION, id)


PRUNE_CODES: Final = """
DELETE FROM one_time_codes WHERE id IN (
    SELECT id FROM one_time_codes WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""


async def prune_codes(db: Executor, /, *, max_codes: int) -> None:
    """Delete at most @max_codes codes that are older than a day. The limits count only newer codes. After the
    deletion, no row shows any more that somebody asked to sign in with this phone number."""
    await db.execute(PRUNE_CODES, max_codes)


PRUNE_TOKENS: Final = """
DELETE FROM access_tokens WHERE digest IN (
    SELECT digest FROM access_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""


async def prune_tokens(db: Executor, /, *, max_tokens: int) -> None:
    """Delete at most @max_tokens tokens that expired or were revoked more than a week ago."""
    await db.execute(PRUNE_TOKENS, max_tokens)


INSERT_INBOX_MESSAGE: Final = """
INSERT INTO development_inbox (phone_number, text, code) VALUES ($1, $2, $3)
"""


async def insert_inbox_message(db: Executor, /, *, phone_number: str, text: str, code: str) -> None:
    """nothing → in the inbox."""
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
