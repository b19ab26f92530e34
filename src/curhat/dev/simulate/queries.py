"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow

LOCK_SIMULATION: Final = """
SELECT pg_try_advisory_lock(hashtextextended('curhat simulate', 0)) AS is_locked
"""


async def lock_simulation(db: Executor, /) -> bool:
    """Take the advisory lock that allows only one simulation per database, because two simulations would use the same
    mitras. The connection holds the lock until the connection closes. Returns false if another simulation holds the
    lock."""
    row = await db.fetchrow(LOCK_SIMULATION)
    if row is None:
        raise NoRow(LOCK_SIMULATION)
    value: bool = row[0]
    return value


FIND_FREE_MITRA_PHONES: Final = """
SELECT phone_number FROM (
    SELECT $1 || lpad(number::text, 7, '0') AS phone_number FROM generate_series(0, 99999) AS number
) AS numbers
LEFT JOIN people USING (phone_number)
LEFT JOIN mitras ON mitras.id = people.id
WHERE mitras.suspended_at IS NULL AND coalesce(mitras.active_sessions, 0) = 0 AND (
    SELECT count(*) FROM one_time_codes
    WHERE one_time_codes.phone_number = numbers.phone_number AND created_at > curhat_now() - interval '1 hour'
) < 20
ORDER BY phone_number
LIMIT $2
"""


async def find_free_mitra_phones(db: Executor, /, *, prefix: str, max_phones: int) -> list[str]:
    """Find the first phone numbers with this prefix that a simulated mitra can use. The number has no mitra, or its mitra
    is not suspended and has no active session. A killed run can leave an active session. Fewer than 20 codes were sent
    to the number in the last hour, and the limit is 30."""
    return [row[0] for row in await db.fetch(FIND_FREE_MITRA_PHONES, prefix, max_phones)]


FIND_NEXT_CUSTOMER_NUMBER: Final = """
SELECT coalesce(max(substr(phone_number, char_length($1) + 1)::integer), -1) + 1 AS number FROM people
WHERE phone_number LIKE $1 || '_______'
"""


async def find_next_customer_number(db: Executor, /, *, prefix: str) -> int:
    """Find the highest number that follows this prefix in a phone number of any person. Returns this number plus 1."""
    row = await db.fetchrow(FIND_NEXT_CUSTOMER_NUMBER, prefix)
    if row is None:
        raise NoRow(FIND_NEXT_CUSTOMER_NUMBER)
    value: int = row[0]
    return value


class SumMoneyRow(msgspec.Struct, frozen=True):
    trials: int
    taken_rp: int
    extensions_rp: int


SUM_MONEY: Final = """
SELECT
    count(*) FILTER (WHERE is_trial AND status IN ('served', 'refunded')) AS trials,
    coalesce(sum(amount_rp) FILTER (WHERE confirmed_at IS NOT NULL), 0) AS taken_rp,
    (
        SELECT coalesce(sum(price_rp), 0) FROM extensions JOIN sessions ON sessions.id = extensions.session_id
        WHERE sessions.customer_id = ANY ($1::uuid[]) AND extensions.status = 'approved'
    ) AS extensions_rp
FROM payments WHERE customer_id = ANY ($1::uuid[]) AND purpose = 'session'
"""


async def sum_money(db: Executor, /, *, customer_ids: Sequence[UUID]) -> SumMoneyRow:
    """Compute the number of trials that were served, the total of the confirmed payments for sessions, and the
    total price of the approved extensions."""
    row = await db.fetchrow(SUM_MONEY, customer_ids)
    if row is None:
        raise NoRow(SUM_MONEY)
    return SumMoneyRow(*row)


class CountOutcomesRow(msgspec.Struct, frozen=True):
    subject: str
    name: str
    count: int


COUNT_OUTCOMES: Final = """
SELECT 'payments' AS subject, status AS name, count(*) AS count
FROM payments WHERE customer_id = ANY ($1::uuid[]) AND purpose = 'session'
GROUP BY 2
UNION ALL
SELECT 'failures', tag, count(*)
FROM failed_pairing_events JOIN payments ON payments.id = failed_pairing_events.payment_id
WHERE customer_id = ANY ($1)
GROUP BY 2
UNION ALL
SELECT 'session ends', coalesce(end_reason, 'still running'), count(*)
FROM sessions WHERE customer_id = ANY ($1)
GROUP BY 2
UNION ALL
SELECT 'charges', charge_attempts.status, count(*)
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE customer_id = ANY ($1)
GROUP BY 2
UNION ALL
SELECT 'targeted pairings', coalesce(failure_tag, status), count(*)
FROM pairings WHERE customer_id = ANY ($1) AND kind = 'targeted'
GROUP BY 2
UNION ALL
SELECT 'fallbacks',
    failed.fallback_status || coalesce(': ' || coalesce(blast.failure_tag, blast.status), ''),
    count(*)
FROM pairings AS failed
LEFT JOIN pairings AS blast
    ON blast.payment_id = failed.payment_id AND blast.kind = 'blast' AND failed.fallback_status = 'taken'
WHERE failed.customer_id = ANY ($1) AND failed.fallback_status IS NOT NULL
GROUP BY 2
UNION ALL
SELECT 'extensions', extensions.status || coalesce(' by ' || extensions.decided_by, ''), count(*)
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE sessions.customer_id = ANY ($1)
GROUP BY 2
ORDER BY count DESC, name
"""


async def count_outcomes(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[CountOutcomesRow]:
    """Count the outcomes of these customers' journeys. `subject` is the kind of the counted rows, and `name` is their
    outcome."""
    return [CountOutcomesRow(*row) for row in await db.fetch(COUNT_OUTCOMES, customer_ids)]


LIST_SECONDS_TO_ACCEPT: Final = """
SELECT extract(epoch FROM sessions.started_at - payments.confirmed_at)::float8 AS seconds
FROM sessions JOIN payments ON payments.id = sessions.payment_id
WHERE sessions.customer_id = ANY ($1::uuid[])
"""


async def list_seconds_to_accept(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[float]:
    """For each session, compute the seconds from the confirmation of the payment to the accept."""
    return [row[0] for row in await db.fetch(LIST_SECONDS_TO_ACCEPT, customer_ids)]
