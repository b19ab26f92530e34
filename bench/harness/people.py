"""Writes the rows of thousands of people directly into PostgreSQL.

All of these people have signed in. Some of the people search, and some chat.

Each id consists of a kind and a number. The load generator can therefore compute an id without a query.
"""

from typing import Final
from uuid import UUID

from bench.harness.testbed import Connection

CUSTOMER: Final = 1
MITRA: Final = 2
PAYMENT: Final = 3
PAIRING: Final = 4
REQUEST: Final = 5
SESSION: Final = 6
OFFER: Final = 7

DURATION_MINUTES: Final = 60
_PRICE_RP: Final = 35_000

# Customer n and mitra n are two different people. The phone numbers of customer n and mitra n differ in one digit.
_PEOPLE: Final = """
WITH given AS (
    SELECT number, bench_id($1, number) AS id FROM generate_series($2::bigint, $2 + $3 - 1) AS number
), person AS (
    INSERT INTO people (id, phone_number) SELECT id, format('+628%s%s', $1::int, lpad(number::text, 9, '0')) FROM given
)
INSERT INTO access_tokens (digest, role, user_id, transport, expires_at)
SELECT sha256(convert_to(bench_token($4::text, number), 'UTF8')), $4, id, 'bearer', curhat_now() + interval '1 year'
FROM given
"""
_CUSTOMERS: Final = """
INSERT INTO customers (id, call_name)
SELECT bench_id(1, number), format('Customer %s', number) FROM generate_series($1::bigint, $1 + $2 - 1) AS number
"""
_MITRAS: Final = """
INSERT INTO mitras (id, display_name, max_customers, online)
SELECT bench_id(2, number), format('Mitra %s', number), 20, true FROM generate_series($1::bigint, $1 + $2 - 1) AS number
"""
_PAYMENTS: Final = """
INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial, expires_at,
    confirmed_at)
SELECT bench_id(3, number), bench_id(1, number), 'session', 'confirmed', bench_id(7, 1), $3, $4, false,
    curhat_now() + interval '20 minutes', curhat_now()
FROM generate_series($1::bigint, $1 + $2 - 1) AS number
"""
_PAIRINGS: Final = """
INSERT INTO pairings (id, payment_id, customer_id, kind, deadline_at)
SELECT bench_id(4, number), bench_id(3, number), bench_id(1, number), 'blast', curhat_now() + interval '1 day'
FROM generate_series($1::bigint, $1 + $2 - 1) AS number
"""
_WINDOWS: Final = """
INSERT INTO deadlines (kind, entity_id, due_at)
SELECT 'pairing_window', bench_id(4, number), curhat_now() + interval '1 day'
FROM generate_series($1::bigint, $1 + $2 - 1) AS number
"""
# $3: mitras per pairing. $4: groups of mitras. Request number n * $3 + p asks the mitra at place p of pairing n. The
# asked mitra has the number (n mod $4) * $3 + p.
_REQUESTS: Final = """
INSERT INTO requests (id, pairing_id, mitra_id, is_returning)
SELECT bench_id(5, number * $3 + place), bench_id(4, number), bench_id(2, (number % $4) * $3 + place), false
FROM generate_series($1::bigint, $1 + $2 - 1) AS number, generate_series(0, $3::bigint - 1) AS place
"""
_MATCHED: Final = """
WITH matched AS (
    UPDATE pairings SET status = 'matched', decided_at = curhat_now()
    WHERE id BETWEEN bench_id(4, $1::bigint) AND bench_id(4, $1 + $2 - 1)
), served AS (
    UPDATE payments SET status = 'served', closed_at = curhat_now()
    WHERE id BETWEEN bench_id(3, $1) AND bench_id(3, $1 + $2 - 1)
), seated AS (
    UPDATE mitras SET active_sessions = active_sessions + 1
    WHERE id BETWEEN bench_id(2, $1) AND bench_id(2, $1 + $2 - 1)
), started AS (
    INSERT INTO sessions (id, payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, ends_at)
    SELECT bench_id(6, number), bench_id(3, number), bench_id(4, number), bench_id(1, number), bench_id(2, number),
        $3, false, curhat_now() + make_interval(mins => $3)
    FROM generate_series($1, $1 + $2 - 1) AS number
    RETURNING id, ends_at
)
INSERT INTO deadlines (kind, entity_id, due_at) SELECT 'session_end', id, ends_at FROM started
"""


def identifier(kind: int, number: int) -> UUID:
    """Return the id of row `number` of this kind. The database function bench_id returns the same id."""
    return UUID(int=kind << 96 | 0x7000 << 64 | 0x8000 << 48 | number)


def token(role: str, number: int) -> str:
    """Return the access token of a person. The database function bench_token returns the same token."""
    return f"bench-{role}-{number:012}-" + "0123456789abcdef" * 2


async def prepare(connection: Connection) -> None:
    """Create one offer, and the functions that the other statements use."""
    await connection.execute(
        """
        CREATE FUNCTION bench_id(kind integer, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
            (lpad(to_hex(kind), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid;
        CREATE FUNCTION bench_token(role text, number bigint) RETURNS text LANGUAGE sql IMMUTABLE RETURN
            'bench-' || role || '-' || lpad(number::text, 12, '0') || '-' || repeat('0123456789abcdef', 2);
        """
    )
    await connection.execute(
        """
        INSERT INTO offers (id, purpose, duration_minutes, price_rp, is_trial)
        VALUES (bench_id(7, 1), 'session', $1, $2, false)
        ON CONFLICT DO NOTHING
        """,
        DURATION_MINUTES,
        _PRICE_RP,
    )


async def customers(connection: Connection, first: int, count: int) -> None:
    """Insert the rows of customers who have signed in."""
    await connection.execute(_PEOPLE, CUSTOMER, first, count, "customer")
    await connection.execute(_CUSTOMERS, first, count)


async def mitras(connection: Connection, first: int, count: int) -> None:
    """Insert the rows of mitras who have signed in and are online, each with a capacity of 20 customers."""
    await connection.execute(_PEOPLE, MITRA, first, count, "mitra")
    await connection.execute(_MITRAS, first, count)


async def payments(connection: Connection, first: int, count: int) -> None:
    """Insert the confirmed payments of customers `first` to `first + count - 1`. They search for nobody yet."""
    await connection.execute(_PAYMENTS, first, count, DURATION_MINUTES, _PRICE_RP)


async def searches(
    connection: Connection, first: int, count: int, *, mitras_per_pairing: int, groups: int
) -> None:
    """Insert the payments and open blasts of customers `first` to `first + count - 1`.

    Each blast asks `mitras_per_pairing` mitras. The customers and the `groups` * `mitras_per_pairing` mitras must
    exist.
    """
    await connection.execute(_PAYMENTS, first, count, DURATION_MINUTES, _PRICE_RP)
    await connection.execute(_PAIRINGS, first, count)
    await connection.execute(_WINDOWS, first, count)
    await connection.execute(_REQUESTS, first, count, mitras_per_pairing, groups)


async def chats(connection: Connection, first: int, count: int) -> None:
    """For each number n of the range, insert a running session of customer n with mitra n.

    The customers and the mitras must exist.
    """
    await connection.execute(_PAYMENTS, first, count, DURATION_MINUTES, _PRICE_RP)
    await connection.execute(_PAIRINGS, first, count)
    await connection.execute(_MATCHED, first, count, DURATION_MINUTES)
