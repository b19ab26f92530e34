"""A customer's payments, each with everything that became of it. Functions that take a transaction never commit it.

Nobody loses sight of money (X.12). A payment stays in this list for ever, also if it was never paid.
"""

import base64
from typing import Final
from uuid import UUID

import msgspec

from curhat.journeys import queries
from curhat.journeys.outcome import PaymentFacts, what_happened
from curhat.journeys.queries import CustomerPaymentRow
from curhat.journeys.schemas import CustomerPayment, PaymentRefund, Review
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.page import PAGE_SIZE, Page
from curhat.pairing import views
from curhat.pairing.queries import PaymentViewRow
from curhat.payments.reference import payment_reference
from curhat.realtime import service as realtime

_OLDEST: Final = UUID(int=0)
_NEWEST: Final = UUID(int=2**128 - 1)
# News is looked for among this many of the customer's newest payments. A person cannot open more in a day (X.13 allows
# 10 in 10 minutes), and older news is in the list.
MAX_PAYMENTS_WITH_NEWS: Final = 100


async def read_payments(
    tx: Transaction, customer_id: UUID, cursor: str | None, *, session_id: UUID | None = None
) -> Page[CustomerPayment]:
    """Return a page of this customer's payments, newest first.

    With `session_id`, return only the payments of this session and of its extensions. The page is empty if the session
    belongs to another customer. Raises ValidationFailed for a malformed cursor.
    """
    rows = await queries.list_customer_payments(
        tx,
        customer_id=customer_id,
        oldest_id=_OLDEST,
        newest_id=_id_before(cursor),
        session_id=session_id,
        max_payments=PAGE_SIZE + 1,
    )
    shown = rows[:PAGE_SIZE]
    next_cursor = None
    if len(rows) > PAGE_SIZE:
        next_cursor = base64.urlsafe_b64encode(shown[-1].id.bytes).decode().rstrip("=")
    return Page(items=[_payment_from(row) for row in shown], next_cursor=next_cursor)


async def read_news(tx: Transaction, customer_id: UUID) -> Page[CustomerPayment]:
    """Return the payments that the home screen notes, newest first, on one page."""
    rows = await queries.list_customer_payments(
        tx,
        customer_id=customer_id,
        oldest_id=_OLDEST,
        newest_id=_NEWEST,
        session_id=None,
        max_payments=MAX_PAYMENTS_WITH_NEWS,
    )
    return Page(items=[_payment_from(row) for row in rows if row.is_news], next_cursor=None)


async def read_payment(tx: Transaction, payment_id: UUID, customer_id: UUID) -> CustomerPayment:
    """Return one payment of this customer. Raises NotFound."""
    rows = await queries.list_customer_payments(
        tx,
        customer_id=customer_id,
        oldest_id=payment_id,
        newest_id=payment_id,
        session_id=None,
        max_payments=1,
    )
    if not rows:
        raise NotFound
    return _payment_from(rows[0])


async def mark_seen(tx: Transaction, payment_id: UUID, customer_id: UUID) -> None:
    """Note that the customer has seen what became of this payment. Raises NotFound."""
    if not await queries.mark_payment_seen(tx, payment_id=payment_id, customer_id=customer_id):
        raise NotFound


async def tell_customer(tx: Transaction, payment_id: UUID) -> None:
    """Send `payment.updated`: a decision or a refund changed the payment. Clients then read the payment again."""
    await realtime.append(tx, await views.payment_events(tx, payment_id))


def _id_before(cursor: str | None) -> UUID:
    """Return the largest id of the page that begins after this cursor. Raises ValidationFailed."""
    if cursor is None:
        return _NEWEST
    try:
        last = UUID(bytes=base64.b64decode(cursor + "==", altchars="-_", validate=True))
    except ValueError:  # Not base64url, or not the 16 bytes of an id.
        raise invalid_field("cursor", "is none of ours") from None
    return UUID(int=max(last.int - 1, 0))


def _payment_from(row: CustomerPaymentRow) -> CustomerPayment:
    payment = views.payment_from(msgspec.convert(row, PaymentViewRow, from_attributes=True))
    return CustomerPayment(
        **{name: getattr(payment, name) for name in payment.__struct_fields__},
        reference=payment_reference(row.id),
        what_happened=what_happened(
            PaymentFacts(
                status=row.payment_status,
                last_charge=row.last_charge,
                has_session=row.session_id is not None,
                end_reason=row.end_reason,
                case_reasons=row.case_reasons,
            )
        ),
        charged_rp=row.charged_rp,
        review=_review_from(row),
        refunds=[
            PaymentRefund(amount_rp, status, at)
            for amount_rp, status, at in zip(
                row.refund_amounts_rp, row.refund_statuses, row.refund_times, strict=True
            )
        ],
        session_id=row.session_id,
        is_news=row.is_news,
    )


def _review_from(row: CustomerPaymentRow) -> Review | None:
    if row.case_opened_at is None:
        return None
    return Review(
        status="open" if row.case_decided_at is None else "decided",
        decision=row.case_decision,
        opened_at=row.case_opened_at,
        decided_at=row.case_decided_at,
    )
