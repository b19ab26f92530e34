"""Converts the query parameters of a list to filters. Each function raises ValidationFailed."""

from typing import Final
from uuid import UUID

from litestar.params import FromQuery

from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import From, Text, To
from curhat.control_center.lists.search import CUSTOMERS_NAMED, MITRAS_NAMED, add_search
from curhat.pairing.states import RequestStatus
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Purpose
from curhat.sessions.states import EndReason, SessionStatus

# A search for an id finds the rows that have this id in any of these columns. Each of these columns has an index.
_PAYMENT_IDS: Final = """payments.id = ANY (ARRAY(
    SELECT found.id FROM payments AS found WHERE found.id = {0}
    UNION SELECT found.id FROM payments AS found WHERE found.customer_id = {0}
    UNION SELECT found.payment_id FROM sessions AS found WHERE found.id = {0}
    UNION SELECT found.payment_id FROM review_cases AS found WHERE found.id = {0}
))"""
_GATEWAY_UNANSWERED: Final = "payments.id IN (SELECT payment_id FROM unanswered_calls)"
_SESSION_IDS: Final = """sessions.id = ANY (ARRAY(
    SELECT found.id FROM sessions AS found WHERE found.id = {0}
    UNION SELECT found.id FROM sessions AS found WHERE found.payment_id = {0}
    UNION SELECT found.id FROM sessions AS found WHERE found.customer_id = {0}
    UNION SELECT found.id FROM sessions AS found WHERE found.mitra_id = {0}
))"""


def filter_payments(
    q: Text = None,
    status: FromQuery[PaymentStatus | None] = None,
    purpose: FromQuery[Purpose | None] = None,
    customer_id: FromQuery[UUID | None] = None,
    gateway_unanswered: FromQuery[bool | None] = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter payments. `q`: an id of the payment, customer, session or case; the customer's phone number or name.

    `gateway_unanswered`: whether the gateway has not answered a charge or refund of the payment for 10 minutes.
    """
    filters = Filters()
    add_search(filters, q, ids=_PAYMENT_IDS, person="payments.customer_id", names=CUSTOMERS_NAMED)
    filters.equal("status", "payments.status", status)
    filters.equal("purpose", "payments.purpose", purpose)
    filters.equal("customer_id", "payments.customer_id", customer_id)
    filters.holds("gateway_unanswered", _GATEWAY_UNANSWERED, gateway_unanswered)
    filters.between("payments.created_at", since, until)
    return filters


def filter_sessions(
    q: Text = None,
    status: FromQuery[SessionStatus | None] = None,
    end_reason: FromQuery[EndReason | None] = None,
    customer_id: FromQuery[UUID | None] = None,
    mitra_id: FromQuery[UUID | None] = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter sessions. `q`: an id of the session, payment, customer or mitra; the customer's phone number or name."""
    filters = Filters()
    add_search(filters, q, ids=_SESSION_IDS, person="sessions.customer_id", names=CUSTOMERS_NAMED)
    filters.equal("status", "sessions.status", status)
    filters.equal("end_reason", "sessions.end_reason", end_reason)
    filters.equal("customer_id", "sessions.customer_id", customer_id)
    filters.equal("mitra_id", "sessions.mitra_id", mitra_id)
    filters.between("sessions.started_at", since, until)
    return filters


def filter_customers(q: Text = None, since: From = None, until: To = None) -> Filters:
    """Filter customers. `q` is the id, the phone number, or the beginning of the name."""
    filters = Filters()
    add_search(filters, q, ids="customers.id = {0}", person="customers.id", names=CUSTOMERS_NAMED)
    filters.between("customers.created_at", since, until)
    return filters


def filter_mitras(
    q: Text = None, online: FromQuery[bool | None] = None, suspended: FromQuery[bool | None] = None
) -> Filters:
    """Filter mitras. `q` is the id, the phone number, or the beginning of the name."""
    filters = Filters()
    add_search(filters, q, ids="mitras.id = {0}", person="mitras.id", names=MITRAS_NAMED)
    filters.equal("online", "mitras.online", online)
    filters.equal("suspended", "(mitras.suspended_at IS NOT NULL)", suspended)
    return filters


def filter_mitra_requests(
    outcome: FromQuery[RequestStatus | None] = None, since: From = None, until: To = None
) -> Filters:
    """Filter a mitra's requests. `from` and `to` limit the time of the offer."""
    filters = Filters()
    filters.equal("outcome", "requests.status", outcome)
    filters.between("requests.offered_at", since, until)
    return filters
