"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow
from curhat.payments.mock.schemas import Behaviour, RecordedChargeStatus, RecordedRefundStatus

RECORD_CHARGE: Final = """
INSERT INTO mock_gateway.charges (key, payment_id, customer_id, amount_rp, status, known_at, at)
VALUES ($1, $2, $3, $4, $5,
    clock_timestamp() + make_interval(secs => $6), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key
"""


async def record_charge(
    db: Executor,
    /,
    *,
    key: UUID,
    payment_id: UUID,
    customer_id: UUID | None,
    amount_rp: int,
    charge_status: RecordedChargeStatus,
    known_after_seconds: float,
) -> UUID | None:
    """Record a charge (nothing → @charge_status). The mock gateway reports this status only after @known_after_seconds.
    Returns no row if the key already has a charge."""
    row = await db.fetchrow(
        RECORD_CHARGE, key, payment_id, customer_id, amount_rp, charge_status, known_after_seconds
    )
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_CHARGE: Final = """
SELECT CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS charge_status
FROM mock_gateway.charges WHERE key = $1
"""


async def find_charge(db: Executor, /, *, key: UUID) -> RecordedChargeStatus | None:
    """Read the status that the mock reports for a charge."""
    row = await db.fetchrow(FIND_CHARGE, key)
    if row is None:
        return None
    value: RecordedChargeStatus = row[0]
    return value


FIND_CHARGE_AMOUNT: Final = """
SELECT amount_rp FROM mock_gateway.charges WHERE key = $1
"""


async def find_charge_amount(db: Executor, /, *, key: UUID) -> int:
    row = await db.fetchrow(FIND_CHARGE_AMOUNT, key)
    if row is None:
        raise NoRow(FIND_CHARGE_AMOUNT)
    value: int = row[0]
    return value


RECORD_REFUND: Final = """
INSERT INTO mock_gateway.refunds (key, charge_key, payment_id, amount_rp, status, known_at, at)
VALUES ($1, $2, $3, $4, $5,
    clock_timestamp() + make_interval(secs => $6), clock_timestamp())
ON CONFLICT (key) DO NOTHING
RETURNING key
"""


async def record_refund(
    db: Executor,
    /,
    *,
    key: UUID,
    charge_key: UUID,
    payment_id: UUID,
    amount_rp: int,
    refund_status: RecordedRefundStatus,
    known_after_seconds: float,
) -> UUID | None:
    """Record a refund (nothing → @refund_status). The mock gateway reports this status only after @known_after_seconds.
    Returns no row if the key already has a refund."""
    row = await db.fetchrow(
        RECORD_REFUND, key, charge_key, payment_id, amount_rp, refund_status, known_after_seconds
    )
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_REFUND: Final = """
SELECT CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS refund_status
FROM mock_gateway.refunds WHERE key = $1
"""


async def find_refund(db: Executor, /, *, key: UUID) -> RecordedRefundStatus | None:
    """Read the status that the mock reports for a refund."""
    row = await db.fetchrow(FIND_REFUND, key)
    if row is None:
        return None
    value: RecordedRefundStatus = row[0]
    return value


DECIDE_CHARGES: Final = """
UPDATE mock_gateway.charges SET status = $1
WHERE status = 'processing' AND (payment_id = $2 OR $2::uuid IS NULL
    AND payment_id NOT IN (SELECT payment_id FROM mock_gateway.behaviours WHERE payment_id IS NOT NULL))
RETURNING key
"""


async def decide_charges(
    db: Executor, /, *, charge_status: RecordedChargeStatus, payment_id: UUID | None
) -> list[UUID]:
    """Decide the charges of one payment (processing → @charge_status). If @payment_id is null, the statement decides the
    charges of all payments that have no behaviour of their own."""
    return [row[0] for row in await db.fetch(DECIDE_CHARGES, charge_status, payment_id)]


DECIDE_REFUNDS: Final = """
UPDATE mock_gateway.refunds SET status = $1
WHERE status = 'processing' AND (payment_id = $2 OR $2::uuid IS NULL
    AND payment_id NOT IN (SELECT payment_id FROM mock_gateway.behaviours WHERE payment_id IS NOT NULL))
RETURNING key
"""


async def decide_refunds(
    db: Executor, /, *, refund_status: RecordedRefundStatus, payment_id: UUID | None
) -> list[UUID]:
    """Decide the refunds of the payments that decide_charges selects (processing → @refund_status)."""
    return [row[0] for row in await db.fetch(DECIDE_REFUNDS, refund_status, payment_id)]


SET_BEHAVIOUR: Final = """
INSERT INTO mock_gateway.behaviours (payment_id, behaviour) VALUES ($1, $2)
ON CONFLICT (payment_id) DO UPDATE SET behaviour = excluded.behaviour
"""


async def set_behaviour(db: Executor, /, *, payment_id: UUID | None, behaviour: Behaviour) -> None:
    """Set the mock's behaviour for one payment. If @payment_id is null, set the default behaviour."""
    await db.execute(SET_BEHAVIOUR, payment_id, behaviour)


FIND_BEHAVIOUR: Final = """
SELECT behaviour FROM mock_gateway.behaviours WHERE payment_id = $1 OR payment_id IS NULL
ORDER BY payment_id NULLS LAST LIMIT 1
"""


async def find_behaviour(db: Executor, /, *, payment_id: UUID) -> Behaviour | None:
    """Read the mock's behaviour for this payment. If the payment has no behaviour, read the default behaviour. Returns no
    row if there is no default behaviour either."""
    row = await db.fetchrow(FIND_BEHAVIOUR, payment_id)
    if row is None:
        return None
    value: Behaviour = row[0]
    return value


class ListChargesRow(msgspec.Struct, frozen=True):
    key: UUID
    payment_id: UUID
    amount_rp: int
    status: str
    at: datetime


LIST_CHARGES: Final = """
SELECT key, payment_id, amount_rp, status, at FROM mock_gateway.charges
WHERE payment_id = $1 ORDER BY at, key
"""


async def list_charges(db: Executor, /, *, payment_id: UUID) -> list[ListChargesRow]:
    """Read the payment's charges, oldest first."""
    return [ListChargesRow(*row) for row in await db.fetch(LIST_CHARGES, payment_id)]


class ListRefundsRow(msgspec.Struct, frozen=True):
    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    status: str
    at: datetime


LIST_REFUNDS: Final = """
SELECT key, charge_key, payment_id, amount_rp, status, at FROM mock_gateway.refunds
WHERE payment_id = $1 ORDER BY at, key
"""


async def list_refunds(db: Executor, /, *, payment_id: UUID) -> list[ListRefundsRow]:
    """Read the payment's refunds, oldest first."""
    return [ListRefundsRow(*row) for row in await db.fetch(LIST_REFUNDS, payment_id)]


class ListChargesSinceRow(msgspec.Struct, frozen=True):
    key: UUID
    payment_id: UUID
    customer_id: UUID | None
    amount_rp: int
    status: str
    at: datetime


LIST_CHARGES_SINCE: Final = """
SELECT key, payment_id, customer_id, amount_rp,
    CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS status, at
FROM mock_gateway.charges WHERE at >= $1 AND is_listed
"""


async def list_charges_since(db: Executor, /, *, since: datetime) -> list[ListChargesSinceRow]:
    """Read all charges since @since."""
    return [ListChargesSinceRow(*row) for row in await db.fetch(LIST_CHARGES_SINCE, since)]


FORGET_CHARGES: Final = """
UPDATE mock_gateway.charges SET is_listed = false WHERE payment_id = $1
"""


async def forget_charges(db: Executor, /, *, payment_id: UUID) -> None:
    """Leave the charges of a payment out of the list. A question about the charge still finds it."""
    await db.execute(FORGET_CHARGES, payment_id)


class ListRefundsSinceRow(msgspec.Struct, frozen=True):
    key: UUID
    charge_key: UUID
    payment_id: UUID
    amount_rp: int
    status: str
    at: datetime


LIST_REFUNDS_SINCE: Final = """
SELECT key, charge_key, payment_id, amount_rp,
    CASE WHEN known_at > clock_timestamp() THEN 'processing' ELSE status END AS status, at
FROM mock_gateway.refunds WHERE at >= $1
"""


async def list_refunds_since(db: Executor, /, *, since: datetime) -> list[ListRefundsSinceRow]:
    """Read all refunds since @since."""
    return [ListRefundsSinceRow(*row) for row in await db.fetch(LIST_REFUNDS_SINCE, since)]
