"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow
from curhat.kit.identity import Role

HAS_JOURNEY: Final = """
SELECT EXISTS (SELECT 1 FROM sessions WHERE customer_id = $1 AND $2::text = 'customer' AND status = 'active')
    OR EXISTS (SELECT 1 FROM sessions WHERE mitra_id = $1 AND $2 = 'mitra' AND status = 'active')
    OR EXISTS (
        SELECT 1 FROM payments
        WHERE customer_id = $1 AND $2 = 'customer' AND purpose = 'session'
            AND status IN ('pending', 'confirming', 'confirmed')
    ) AS has_journey
"""


async def has_journey(db: Executor, /, *, user_id: UUID, role: Role) -> bool:
    """Return whether the person has a running session, an open payment or, as a mitra, a session that counts. The caller has
    locked the account, so none can begin before the caller's commit. One statement sees one snapshot: an accept that
    commits meanwhile shows either its open payment or its session."""
    row = await db.fetchrow(HAS_JOURNEY, user_id, role)
    if row is None:
        raise NoRow(HAS_JOURNEY)
    value: bool = row[0]
    return value


class Journey(msgspec.Struct, frozen=True):
    payment_id: UUID | None
    session_id: UUID | None


FIND_JOURNEY: Final = """
SELECT (
        SELECT id FROM payments
        WHERE customer_id = $1 AND $2::text = 'customer' AND purpose = 'session'
            AND status IN ('pending', 'confirming', 'confirmed')
        ORDER BY id LIMIT 1
    ) AS payment_id,
    (
        SELECT id FROM sessions
        WHERE $1 = CASE $2 WHEN 'customer' THEN customer_id ELSE mitra_id END
            AND (customer_id = $1 OR mitra_id = $1) AND status = 'active'
        ORDER BY id LIMIT 1
    ) AS session_id
"""


async def find_journey(db: Executor, /, *, user_id: UUID, role: Role) -> Journey:
    """Find the customer's open payment and the person's running session, for the refusal."""
    row = await db.fetchrow(FIND_JOURNEY, user_id, role)
    if row is None:
        raise NoRow(FIND_JOURNEY)
    return Journey(*row)


IS_TRIAL_USED: Final = """
SELECT trial_is_used($1) AS is_used
"""


async def is_trial_used(db: Executor, /, *, customer_id: UUID) -> bool:
    """Return whether the customer has used up the trial."""
    row = await db.fetchrow(IS_TRIAL_USED, customer_id)
    if row is None:
        raise NoRow(IS_TRIAL_USED)
    value: bool = row[0]
    return value


LIST_OPEN_PAYMENTS_FOR_MITRA: Final = """
SELECT id FROM payments
WHERE target_mitra_id = $1 AND status IN ('pending', 'confirming', 'confirmed') ORDER BY id
"""


async def list_open_payments_for_mitra(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    """Find the open payments whose customers chose this mitra."""
    return [row[0] for row in await db.fetch(LIST_OPEN_PAYMENTS_FOR_MITRA, mitra_id)]


INSERT_ERASURE: Final = """
INSERT INTO erasures (role, user_id) VALUES ($1, $2) RETURNING id
"""


async def insert_erasure(db: Executor, /, *, role: Role, user_id: UUID) -> UUID:
    """Insert the erasure (nothing → under way)."""
    row = await db.fetchrow(INSERT_ERASURE, role, user_id)
    if row is None:
        raise NoRow(INSERT_ERASURE)
    value: UUID = row[0]
    return value


class Erasure(msgspec.Struct, frozen=True):
    id: UUID
    role: Role
    user_id: UUID
    deleted_at: datetime
    listed_at: datetime | None
    erased_at: datetime | None
    now: datetime


LOCK_ERASURE: Final = """
SELECT id, role, user_id, deleted_at, listed_at, erased_at, curhat_now() AS now FROM erasures WHERE id = $1
FOR NO KEY UPDATE
"""


async def lock_erasure(db: Executor, /, *, id: UUID) -> Erasure | None:
    """Lock the erasure."""
    row = await db.fetchrow(LOCK_ERASURE, id)
    if row is None:
        return None
    return Erasure(*row)


FIND_ERASURE: Final = """
SELECT id FROM erasures WHERE role = $1 AND user_id = $2
"""


async def find_erasure(db: Executor, /, *, role: Role, user_id: UUID) -> UUID | None:
    """Find the erasure of this account."""
    row = await db.fetchrow(FIND_ERASURE, role, user_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


MARK_LISTED: Final = """
UPDATE erasures SET listed_at = coalesce(listed_at, curhat_now()) WHERE id = $1
"""


async def mark_listed(db: Executor, /, *, id: UUID) -> None:
    """Record that the list outside the database has the erasure."""
    await db.execute(MARK_LISTED, id)


MARK_ERASED: Final = """
UPDATE erasures SET erased_at = coalesce(erased_at, curhat_now()) WHERE id = $1
"""


async def mark_erased(db: Executor, /, *, id: UUID) -> None:
    """Finish the erasure (under way → erased). A CHECK refuses an erasure that is not listed."""
    await db.execute(MARK_ERASED, id)


LIST_COUNTERPARTS: Final = """
SELECT user_id FROM (
    SELECT CASE $1::text WHEN 'customer' THEN mitra_id ELSE customer_id END AS user_id FROM sessions
    WHERE $2 = CASE $1 WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND (customer_id = $2 OR mitra_id = $2)
    UNION
    SELECT customer_id FROM payments WHERE target_mitra_id = $2 AND $1 = 'mitra'
) AS counterparts
ORDER BY user_id
"""


async def list_counterparts(db: Executor, /, *, role: Role, user_id: UUID) -> list[UUID]:
    """Find the people of the other role whose streams and stored answers can name this account: those of its sessions, and
    those of the payments that chose this mitra or that this customer made with a chosen mitra."""
    return [row[0] for row in await db.fetch(LIST_COUNTERPARTS, role, user_id)]


LIST_SESSIONS_OF: Final = """
SELECT id FROM sessions
WHERE $1 = CASE $2::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = $1 OR mitra_id = $1)
    AND coalesce(ended_at, started_at) > curhat_now() - make_interval(days => $3)
ORDER BY id
"""


async def list_sessions_of(db: Executor, /, *, user_id: UUID, role: Role, days: int) -> list[UUID]:
    """Find the sessions of this account that ended or began within the last @days days. Streams and stored answers are
    deleted after one day, so they can name no other session."""
    return [row[0] for row in await db.fetch(LIST_SESSIONS_OF, user_id, role, days)]


HAS_ACCOUNT: Final = """
SELECT CASE $1::text WHEN 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = $2)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = $2) END AS has_account
"""


async def has_account(db: Executor, /, *, role: Role, user_id: UUID) -> bool:
    """Return whether the person has this role."""
    row = await db.fetchrow(HAS_ACCOUNT, role, user_id)
    if row is None:
        raise NoRow(HAS_ACCOUNT)
    value: bool = row[0]
    return value
