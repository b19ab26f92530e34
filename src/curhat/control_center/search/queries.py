"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.search.schemas import FoundKind
from curhat.kit.database import Executor


class FoundId(msgspec.Struct, frozen=True):
    kind: FoundKind
    id: UUID
    payment_id: UUID | None


FIND_BY_ID: Final = """
SELECT 'customer' AS kind, id, NULL::uuid AS payment_id FROM customers WHERE id = $1
UNION ALL
SELECT 'mitra', id, NULL FROM mitras WHERE id = $1
UNION ALL
SELECT 'payment', id, id FROM payments WHERE id = $1
UNION ALL
SELECT 'session', id, payment_id FROM sessions WHERE id = $1
UNION ALL
SELECT 'case', id, payment_id FROM review_cases WHERE id = $1
UNION ALL
SELECT 'pairing', id, payment_id FROM pairings WHERE id = $1
UNION ALL
SELECT 'request', requests.id, pairings.payment_id
FROM requests JOIN pairings ON pairings.id = requests.pairing_id WHERE requests.id = $1
UNION ALL
SELECT 'extension', id, payment_id FROM extensions WHERE id = $1
UNION ALL
SELECT 'charge', id, payment_id FROM charge_attempts WHERE id = $1
UNION ALL
SELECT 'refund', id, payment_id FROM refunds WHERE id = $1
UNION ALL
SELECT 'failed_pairing', id, payment_id FROM failed_pairing_events WHERE id = $1
"""


async def find_by_id(db: Executor, /, *, id: UUID) -> list[FoundId]:
    """Find whatever has this id. The id of a person can belong to a customer and to a mitra."""
    return [FoundId(*row) for row in await db.fetch(FIND_BY_ID, id)]


FIND_BY_SHORT_ID: Final = """
(SELECT 'payment' AS kind, id, id AS payment_id FROM payments WHERE right(id::text, 8) = $1
    ORDER BY id DESC LIMIT $2)
UNION ALL
(SELECT 'session', id, payment_id FROM sessions WHERE right(id::text, 8) = $1 LIMIT $2)
UNION ALL
(SELECT 'customer', id, NULL FROM customers WHERE right(id::text, 8) = $1 LIMIT $2)
UNION ALL
(SELECT 'mitra', id, NULL FROM mitras WHERE right(id::text, 8) = $1 LIMIT $2)
UNION ALL
(SELECT 'case', id, payment_id FROM review_cases WHERE right(id::text, 8) = $1 LIMIT $2)
"""


async def find_by_short_id(db: Executor, /, *, short_id: str, max_results: int) -> list[FoundId]:
    """Find what has an id that ends with these eight characters. The result has at most @max_results of each kind."""
    return [FoundId(*row) for row in await db.fetch(FIND_BY_SHORT_ID, short_id, max_results)]


FIND_BY_PHONE: Final = """
SELECT 'customer' AS kind, customers.id, NULL::uuid AS payment_id
FROM people JOIN customers ON customers.id = people.id WHERE people.phone_number = $1
UNION ALL
SELECT 'mitra', mitras.id, NULL
FROM people JOIN mitras ON mitras.id = people.id WHERE people.phone_number = $1
"""


async def find_by_phone(db: Executor, /, *, phone_number: str) -> list[FoundId]:
    """Find the customer and the mitra with this phone number."""
    return [FoundId(*row) for row in await db.fetch(FIND_BY_PHONE, phone_number)]


FIND_BY_NAME: Final = """
(SELECT 'customer' AS kind, id, NULL::uuid AS payment_id FROM customers WHERE lower(call_name) LIKE $1
    ORDER BY created_at DESC, id DESC LIMIT $2)
UNION ALL
(SELECT 'mitra', id, NULL FROM mitras WHERE lower(display_name) LIKE $1
    ORDER BY created_at DESC, id DESC LIMIT $2)
"""


async def find_by_name(db: Executor, /, *, pattern: str, max_results: int) -> list[FoundId]:
    """Find customers and mitras whose name begins with this text, newest first, at most @max_results of each. @pattern is in
    small letters and ends with %."""
    return [FoundId(*row) for row in await db.fetch(FIND_BY_NAME, pattern, max_results)]


LIST_NEWEST_PAYMENTS: Final = """
SELECT id FROM payments WHERE customer_id = $1 ORDER BY id DESC LIMIT $2
"""


async def list_newest_payments(db: Executor, /, *, customer_id: UUID, max_results: int) -> list[UUID]:
    """Find the newest payments of a customer."""
    return [row[0] for row in await db.fetch(LIST_NEWEST_PAYMENTS, customer_id, max_results)]


class FoundPerson(msgspec.Struct, frozen=True):
    id: UUID
    phone_number: str
    call_name: str | None
    display_name: str | None


DESCRIBE_PEOPLE: Final = """
SELECT people.id, people.phone_number, customers.call_name, mitras.display_name
FROM people
LEFT JOIN customers ON customers.id = people.id
LEFT JOIN mitras ON mitras.id = people.id
WHERE people.id = ANY ($1::uuid[])
"""


async def describe_people(db: Executor, /, *, ids: Sequence[UUID]) -> list[FoundPerson]:
    """Read the names and phone numbers of these people."""
    return [FoundPerson(*row) for row in await db.fetch(DESCRIBE_PEOPLE, ids)]


class FoundPayment(msgspec.Struct, frozen=True):
    id: UUID
    purpose: str
    status: str
    amount_rp: int
    created_at: datetime
    call_name: str
    phone_number: str


DESCRIBE_PAYMENTS: Final = """
SELECT payments.id, payments.purpose, payments.status, payments.amount_rp, payments.created_at, customers.call_name,
    people.phone_number
FROM payments
JOIN customers ON customers.id = payments.customer_id
JOIN people ON people.id = payments.customer_id
WHERE payments.id = ANY ($1::uuid[])
"""


async def describe_payments(db: Executor, /, *, ids: Sequence[UUID]) -> list[FoundPayment]:
    """Read these payments with their customers."""
    return [FoundPayment(*row) for row in await db.fetch(DESCRIBE_PAYMENTS, ids)]
