"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed


class BeginKeyRow(msgspec.Struct, frozen=True):
    is_free: bool
    fingerprint: bytes | None
    status: int | None
    body: str | None
    is_abandoned: bool | None


BEGIN_KEY: Final = """
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock($1) AS is_free
)
SELECT lock.is_free, stored.fingerprint, stored.status, stored.body,
    stored.created_at < curhat_now() - interval '10 seconds' AS is_abandoned
FROM lock
LEFT JOIN idempotency_keys AS stored ON stored.role = $2 AND stored.user_id = $3 AND stored.key = $4
"""


async def begin_key(db: Executor, /, *, lock: int, role: str, user_id: UUID, key: str) -> BeginKeyRow:
    """Read the key's stored answer, and take the key's advisory lock for this transaction. `is_free` is false when another
    HTTP request holds the key's advisory lock."""
    row = await db.fetchrow(BEGIN_KEY, lock, role, user_id, key)
    if row is None:
        raise NoRow(BEGIN_KEY)
    return BeginKeyRow(*row)


INSERT_ANSWER: Final = """
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def insert_answer(
    db: Executor, /, *, role: str, user_id: UUID, key: str, fingerprint: bytes, status: int, body: str
) -> None:
    """Store the first answer under an idempotency key (nothing → answered). A second answer under the same idempotency key violates the table's
    primary key."""
    await db.execute(INSERT_ANSWER, role, user_id, key, fingerprint, status, body)


STORE_ANSWER: Final = """
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (role, user_id, key) DO UPDATE SET status = excluded.status, body = excluded.body
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint
"""


async def store_answer(
    db: Executor, /, *, role: str, user_id: UUID, key: str, fingerprint: bytes, status: int, body: str
) -> int:
    """Store the answer under an idempotency key (nothing or running → answered). Changes no row if the key already has an answer."""
    return rows_changed(await db.execute(STORE_ANSWER, role, user_id, key, fingerprint, status, body))


MARK_KEY_RUNNING: Final = """
INSERT INTO idempotency_keys (role, user_id, key, fingerprint) VALUES ($1, $2, $3, $4)
ON CONFLICT (role, user_id, key) DO UPDATE SET created_at = curhat_now()
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint
"""


async def mark_key_running(db: Executor, /, *, role: str, user_id: UUID, key: str, fingerprint: bytes) -> int:
    """Mark the key as running (nothing or abandoned → running). Changes no row if the key already has an answer, or belongs
    to an HTTP request with another fingerprint."""
    return rows_changed(await db.execute(MARK_KEY_RUNNING, role, user_id, key, fingerprint))


PRUNE_KEYS: Final = """
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_keys(db: Executor, /, *, max_keys: int) -> int:
    """Delete at most @max_keys keys that are older than a day, oldest first. After a day, no client repeats an HTTP
    request."""
    return rows_changed(await db.execute(PRUNE_KEYS, max_keys))


INSERT_AUDIT_ENTRY: Final = """
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def insert_audit_entry(
    db: Executor,
    /,
    *,
    actor: str,
    action: str,
    subject: str,
    subject_id: str,
    old_value: str | None,
    new_value: str | None,
) -> None:
    """Insert an entry into the audit. A trigger refuses every later change of the entry."""
    await db.execute(INSERT_AUDIT_ENTRY, actor, action, subject, subject_id, old_value, new_value)


FORGET_NAME_IN_AUDIT: Final = """
SELECT forget_name_in_audit($1)::text AS done
"""


async def forget_name_in_audit(db: Executor, /, *, mitra_id: UUID) -> str:
    """Replace the name of a deleted mitra in the audit. The function forget_name_in_audit can change nothing else."""
    row = await db.fetchrow(FORGET_NAME_IN_AUDIT, mitra_id)
    if row is None:
        raise NoRow(FORGET_NAME_IN_AUDIT)
    value: str = row[0]
    return value


DELETE_KEYS_OF_USER: Final = """
DELETE FROM idempotency_keys WHERE role = $1 AND user_id = $2
"""


async def delete_keys_of_user(db: Executor, /, *, role: str, user_id: UUID) -> None:
    """Delete every idempotency key of this user. The stored answers hold names and texts."""
    await db.execute(DELETE_KEYS_OF_USER, role, user_id)


DELETE_KEYS_ABOUT: Final = """
DELETE FROM idempotency_keys
WHERE role = $1 AND user_id = ANY ($2::uuid[])
    AND (created_at < curhat_now() - interval '24 hours' OR position($3::text IN body) > 0
        OR EXISTS (SELECT 1 FROM unnest($4::uuid[]) AS session_id WHERE position(session_id::text IN body) > 0))
"""


async def delete_keys_about(
    db: Executor, /, *, role: str, user_ids: Sequence[UUID], about: str, session_ids: Sequence[UUID]
) -> None:
    """Delete the keys of these users whose stored answer names the person @about, or one of the sessions @session_ids. Also
    delete those that are older than 24 hours, as prune_keys does."""
    await db.execute(DELETE_KEYS_ABOUT, role, user_ids, about, session_ids)


READ_CLOCK: Final = """
SELECT curhat_now() AS now
"""


async def read_clock(db: Executor, /) -> datetime:
    """Read the database's clock. Only this clock decides whether a time has passed."""
    row = await db.fetchrow(READ_CLOCK)
    if row is None:
        raise NoRow(READ_CLOCK)
    value: datetime = row[0]
    return value


LIMIT_LOCK_WAITS: Final = """
SELECT set_config('lock_timeout', $1, true) AS lock_timeout
"""


async def limit_lock_waits(db: Executor, /, *, lock_timeout: str) -> str:
    """Limit each later lock wait of this transaction to @lock_timeout."""
    row = await db.fetchrow(LIMIT_LOCK_WAITS, lock_timeout)
    if row is None:
        raise NoRow(LIMIT_LOCK_WAITS)
    value: str = row[0]
    return value


PLAN_FOR_PARAMETERS: Final = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS plan_cache_mode
"""


async def plan_for_parameters(db: Executor, /) -> str:
    """From now on, PostgreSQL plans each statement of this transaction for the actual values of the statement's parameters."""
    row = await db.fetchrow(PLAN_FOR_PARAMETERS)
    if row is None:
        raise NoRow(PLAN_FOR_PARAMETERS)
    value: str = row[0]
    return value


HAS_AUDIT_ENTRY: Final = """
SELECT EXISTS (
    SELECT 1 FROM audit_entries WHERE subject_id = $1 AND action = $2
) AS has_audit_entry
"""


async def has_audit_entry(db: Executor, /, *, subject_id: str, action: str) -> bool:
    row = await db.fetchrow(HAS_AUDIT_ENTRY, subject_id, action)
    if row is None:
        raise NoRow(HAS_AUDIT_ENTRY)
    value: bool = row[0]
    return value
