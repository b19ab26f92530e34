"""Payments and pairings as their customers see them, and the events that report their changes."""

from collections.abc import Collection
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.pairing import queries
from curhat.pairing.events import PAIRING_UPDATED, PAYMENT_UPDATED
from curhat.pairing.queries import PaymentViewRow
from curhat.pairing.schemas import Fallback, Pairing, Payment, PaymentOffer, TargetMitra
from curhat.realtime.event_types import StreamEvent


async def payment_view(tx: Transaction, payment_id: UUID, customer_id: UUID) -> Payment:
    """Return a customer's own payment. Raises NotFound, also for another customer's payment."""
    rows = await queries.list_payment_views(tx, payment_ids=[payment_id])
    if not rows or rows[0].customer_id != customer_id:
        raise NotFound
    return payment_from(rows[0])


async def pairing_view(tx: Transaction, pairing_id: UUID, customer_id: UUID) -> Pairing:
    """Return a customer's own pairing. Raises NotFound, also for another customer's pairing."""
    row = await queries.read_pairing_view(tx, pairing_id=pairing_id)
    pairing = None if row is None or row.customer_id != customer_id else _pairing_from(row)
    if pairing is None:
        raise NotFound
    return pairing


def with_other_available(pairing: Pairing, *, other_available: bool) -> Pairing:
    """Return the same pairing, updated with whether a fallback can be taken now according to presence."""
    if pairing.fallback is None or not pairing.fallback.allowed:
        return pairing
    fallback = msgspec.structs.replace(pairing.fallback, other_available=other_available)
    return msgspec.structs.replace(pairing, fallback=fallback)


async def current_payment(tx: Transaction, customer_id: UUID) -> Payment | None:
    """Return the customer's open payment.

    Without one, return a paid payment without a session, to show its failure.
    """
    payment_id = await queries.find_current_payment(tx, customer_id=customer_id)
    return None if payment_id is None else await payment_view(tx, payment_id, customer_id)


async def payment_events(
    tx: Transaction, *payment_ids: UUID, other_available: Collection[UUID] = ()
) -> list[StreamEvent]:
    """Return `payment.updated` for each payment's customer, and `pairing.updated` if the payment has a pairing.

    `other_available` holds the payments whose offered fallback could be taken now (3.5).
    """
    rows = await queries.list_payment_views(tx, payment_ids=payment_ids)
    return [
        event
        for row in rows
        for event in events_of(payment_from(row, other_available=row.id in other_available), row.customer_id)
    ]


def events_of(payment: Payment, customer_id: UUID) -> list[StreamEvent]:
    """Return the events that contain this payment and its pairing."""
    events = [PAYMENT_UPDATED.to_customer(customer_id, payment)]
    if payment.pairing is not None:
        events.append(PAIRING_UPDATED.to_customer(customer_id, payment.pairing))
    return events


def payment_from(row: PaymentViewRow, *, other_available: bool = False) -> Payment:
    """Return the payment of a row. `other_available` says whether an offered fallback could be taken now."""
    return Payment(
        id=row.id,
        purpose=row.purpose,
        status=row.payment_status,
        offer=PaymentOffer(
            id=row.offer_id,
            duration_minutes=row.duration_minutes,
            price_rp=row.amount_rp,
            is_trial=row.is_trial,
        ),
        amount_rp=row.amount_rp,
        target_mitra=_target_from(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        pairing=_pairing_from(row, other_available=other_available),
        server_now=row.server_now,
    )


def _target_from(row: PaymentViewRow) -> TargetMitra | None:
    if row.target_mitra_id is None:
        return None
    assert row.target_display_name is not None  # Every mitra has one.
    return TargetMitra(id=row.target_mitra_id, display_name=row.target_display_name)


def _fallback_from(row: PaymentViewRow, *, other_available: bool) -> Fallback | None:
    if row.fallback_status is None:
        return None
    assert row.fallback_answer_by is not None  # pairings_fallback_has_time
    allowed = row.fallback_status == "open"
    return Fallback(
        status=row.fallback_status,
        allowed=allowed,
        other_available=allowed and other_available,
        answer_by=row.fallback_answer_by,
    )


def _pairing_from(row: PaymentViewRow, *, other_available: bool = False) -> Pairing | None:
    if row.pairing_id is None:
        return None
    # These columns are never null for a pairing.
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
        fallback=_fallback_from(row, other_available=other_available),
        session_id=row.session_id,
        server_now=row.server_now,
    )
