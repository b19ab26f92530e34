"""Payments and pairings as their customer sees them, and the events that say they changed."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.pairing.events import PAIRING_UPDATED, PAYMENT_UPDATED
from curhat.pairing.schemas import Fallback, Pairing, Payment, PaymentOffer, TargetMitra
from curhat.realtime.event_types import StreamEvent

SQL = load_queries(__file__)


async def payment_view(tx: Transaction, payment_id: UUID, customer_id: UUID) -> Payment:
    """A customer's own payment. Raises NotFound for another's, too."""
    row = await tx.fetchrow(SQL.payment_view, [payment_id])
    if row is None or row["customer_id"] != customer_id:
        raise NotFound
    return payment_from(row)


async def pairing_view(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> Pairing:
    """A customer's own pairing. Raises NotFound for another's, too."""
    row = await tx.fetchrow(SQL.pairing_view, pairing_id)
    if row is None or row["customer_id"] != customer_id:
        raise NotFound
    return Pairing(
        id=row["id"],
        payment_id=row["payment_id"],
        kind=row["kind"],
        status=row["status"],
        deadline_at=row["deadline_at"],
        failure_tag=row["failure_tag"],
        fallback=_fallback(row, other_available=False),
        session_id=row["session_id"],
        server_now=row["server_now"],
    )


def with_other_available(pairing: Pairing, *, other_available: bool) -> Pairing:
    """The same with what presence says now about a fallback that may be taken."""
    if pairing.fallback is None or not pairing.fallback.allowed:
        return pairing
    fallback = msgspec.structs.replace(pairing.fallback, other_available=other_available)
    return msgspec.structs.replace(pairing, fallback=fallback)


async def current_payment(tx: Transaction, customer_id: UUID) -> Payment | None:
    """The payment a customer comes back to: open, or taken without a session (so that the failure is seen)."""
    payment_id = await tx.fetchval(SQL.current_payment, customer_id)
    return None if payment_id is None else await payment_view(tx, payment_id, customer_id)


async def payment_events(
    tx: Transaction, *payment_ids: UUID, other_available: Collection[UUID] = ()
) -> list[StreamEvent]:
    """`payment.updated`, and `pairing.updated` when there is one, for each payment's customer.

    `other_available`: those of them for which a fallback that is offered could be taken now (3.5).
    """
    rows = await tx.fetch(SQL.payment_view, payment_ids)
    return [
        event
        for row in rows
        for event in events_of(
            payment_from(row, other_available=row["id"] in other_available), row["customer_id"]
        )
    ]


def events_of(payment: Payment, customer_id: UUID) -> list[StreamEvent]:
    """The events that carry this payment and its pairing."""
    events = [PAYMENT_UPDATED.to_customer(customer_id, payment)]
    if payment.pairing is not None:
        events.append(PAIRING_UPDATED.to_customer(customer_id, payment.pairing))
    return events


def payment_from(row: Any, *, other_available: bool = False) -> Payment:
    """A Payment from a row with the columns of the statement payment_view."""
    return Payment(
        id=row["id"],
        purpose=row["purpose"],
        status=row["status"],
        offer=PaymentOffer(
            id=row["offer_id"],
            duration_minutes=row["duration_minutes"],
            price_rp=row["amount_rp"],
            is_trial=row["is_trial"],
        ),
        amount_rp=row["amount_rp"],
        target_mitra=_target(row),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        pairing=_pairing(row, other_available=other_available),
        server_now=row["server_now"],
    )


def _target(row: Any) -> TargetMitra | None:
    if row["target_mitra_id"] is None:
        return None
    return TargetMitra(id=row["target_mitra_id"], display_name=row["target_display_name"])


def _fallback(row: Any, *, other_available: bool) -> Fallback | None:
    if row["fallback_status"] is None:
        return None
    allowed = row["fallback_status"] == "open"
    return Fallback(
        status=row["fallback_status"],
        allowed=allowed,
        other_available=allowed and other_available,
        answer_by=row["fallback_answer_by"],
    )


def _pairing(row: Any, *, other_available: bool) -> Pairing | None:
    if row["pairing_id"] is None:
        return None
    return Pairing(
        id=row["pairing_id"],
        payment_id=row["id"],
        kind=row["pairing_kind"],
        status=row["pairing_status"],
        deadline_at=row["pairing_deadline_at"],
        failure_tag=row["pairing_failure_tag"],
        fallback=_fallback(row, other_available=other_available),
        session_id=row["session_id"],
        server_now=row["server_now"],
    )
