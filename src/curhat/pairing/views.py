"""Payments and pairings as their customers see them, and the events about changes of payments and pairings."""

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.pairing import queries
from curhat.pairing.events import PAIRING_UPDATED, PAYMENT_UPDATED
from curhat.pairing.queries import PaymentViewRow
from curhat.pairing.schemas import Fallback, Pairing, Payment, PaymentOffer, TargetMitra
from curhat.realtime.event_types import StreamEvent

AnyPayment = TypeVar("AnyPayment", bound=Payment)


async def payment_view(tx: Transaction, payment_id: UUID, customer_id: UUID) -> Payment:
    """Return a customer's own payment. Raises NotFound if the payment does not exist or belongs to another customer."""
    rows = await queries.list_payment_views(tx, payment_ids=[payment_id])
    if not rows or rows[0].customer_id != customer_id:
        raise NotFound
    return payment_from(rows[0])


async def pairing_view(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> Pairing:
    """Return a customer's own pairing. Raises NotFound if the pairing does not exist or belongs to another customer."""
    row = await queries.read_pairing_view(tx, pairing_id=pairing_id)
    pairing = None if row is None or row.customer_id != customer_id else _pairing_from(row)
    if pairing is None:
        raise NotFound
    return pairing


def with_other_available(payment: AnyPayment, *, other_available: bool) -> AnyPayment:
    """Return the payment. If the payment offers a fallback, set `other_available` of the fallback."""
    pairing = payment.pairing
    if pairing is None or pairing.fallback is None or not pairing.fallback.allowed:
        return payment
    fallback = msgspec.structs.replace(pairing.fallback, other_available=other_available)
    return msgspec.structs.replace(payment, pairing=msgspec.structs.replace(pairing, fallback=fallback))


async def current_payment(tx: Transaction, customer_id: UUID) -> Payment | None:
    """Return the customer's open payment.

    If no payment is open, return the last payment, but only if it was paid and not served. Otherwise return None.
    """
    payment_id = await queries.find_current_payment(tx, customer_id=customer_id)
    return None if payment_id is None else await payment_view(tx, payment_id, customer_id)


async def payment_events(
    tx: Transaction, *payment_ids: UUID, other_available: Collection[UUID] = ()
) -> list[StreamEvent]:
    """Return `payment.updated` for each payment's customer, and `pairing.updated` if the payment has a pairing.

    `other_available` has the ids of the payments for which another mitra can be asked now (3.5).
    """
    events = []
    for row in await queries.list_payment_views(tx, payment_ids=payment_ids):
        payment = with_other_available(payment_from(row), other_available=row.id in other_available)
        events += events_of(payment, row.customer_id)
    return events


async def pairing_events(tx: Transaction, pairing_id: UUID) -> list[StreamEvent]:
    """Return `pairing.updated` for the pairing's customer."""
    row = await queries.read_pairing_view(tx, pairing_id=pairing_id)
    pairing = None if row is None else _pairing_from(row)
    return [] if row is None or pairing is None else [PAIRING_UPDATED.to_customer(row.customer_id, pairing)]


def events_of(payment: Payment, customer_id: UUID) -> list[StreamEvent]:
    """Return the events that contain this payment and its pairing."""
    events = [PAYMENT_UPDATED.to_customer(customer_id, payment)]
    if payment.pairing is not None:
        events.append(PAIRING_UPDATED.to_customer(customer_id, payment.pairing))
    return events


def target_from(mitra_id: UUID | None, display_name: str | None) -> TargetMitra | None:
    """Return the chosen mitra. Return None if the customer chose no mitra."""
    return None if mitra_id is None or display_name is None else TargetMitra(mitra_id, display_name)


def payment_from(row: PaymentViewRow) -> Payment:
    """Return the payment as its customer sees it."""
    return Payment(
        id=row.id,
        purpose=row.purpose,
        status=row.payment_status,
        offer=PaymentOffer(row.offer_id, row.duration_minutes, row.amount_rp, row.is_trial),
        amount_rp=row.amount_rp,
        target_mitra=target_from(row.target_mitra_id, row.target_display_name),
        created_at=row.created_at,
        expires_at=row.expires_at,
        pairing=_pairing_from(row),
        server_now=row.server_now,
    )


def _fallback_from(row: PaymentViewRow) -> Fallback | None:
    if row.fallback_status is None:
        return None
    assert row.fallback_answer_by is not None  # pairings_fallback_has_time
    return Fallback(
        status=row.fallback_status,
        allowed=row.fallback_status == "open",
        other_available=False,
        answer_by=row.fallback_answer_by,
    )


def _pairing_from(row: PaymentViewRow) -> Pairing | None:
    if row.pairing_id is None:
        return None
    # If the row has a pairing, none of these columns is null.
    assert row.pairing_kind is not None
    assert row.pairing_status is not None
    assert row.pairing_deadline_at is not None
    return Pairing(
        id=row.pairing_id,
        payment_id=row.id,
        kind=row.pairing_kind,
        status=row.pairing_status,
        deadline_at=row.pairing_deadline_at,
        failure_tag=row.pairing_failure_tag,
        anybody_asked=row.anybody_asked,
        fallback=_fallback_from(row),
        session_id=row.session_id,
        server_now=row.server_now,
    )
