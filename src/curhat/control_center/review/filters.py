"""Converts the query parameters of a list to filters. Each function raises ValidationFailed."""

from typing import Final

from litestar.params import FromQuery

from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import From, To, checked_amount
from curhat.control_center.schemas import CaseStatus
from curhat.pairing.states import FailureTag, PairingKind
from curhat.payments.states import CaseReason

_AWAITS_APPROVAL: Final = "review_cases.needs_approval AND review_cases.approved_by IS NULL"
# Selects decided cases with a refund that the gateway refused and that nobody has requested again.
_REFUND_REFUSED: Final = (
    "review_cases.status = 'decided' AND review_cases.payment_id IN (SELECT payment_id FROM refused_refunds)"
)


def filter_failed_pairings(
    tag: FromQuery[FailureTag | None] = None,
    kind: FromQuery[PairingKind | None] = None,
    recovered: FromQuery[bool | None] = None,
    minimum_amount_rp: FromQuery[int | None] = None,
    maximum_amount_rp: FromQuery[int | None] = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter failed pairings.

    Amounts are in rupiah. Both limits of the amount are inclusive. `from` and `to` limit the time of the failure.
    """
    filters = Filters()
    filters.equal("tag", "events.tag", tag)
    filters.equal("kind", "events.kind", kind)
    filters.equal("recovered", "events.recovered", recovered)
    for name, operator, amount_rp in (
        ("minimum_amount_rp", ">=", minimum_amount_rp),
        ("maximum_amount_rp", "<=", maximum_amount_rp),
    ):
        filters.compare(name, "events.amount_rp", operator, checked_amount(name, amount_rp))
    filters.between("events.occurred_at", since, until)
    return filters


def filter_cases(
    status: FromQuery[CaseStatus | None] = None,
    tag: FromQuery[FailureTag | None] = None,
    reason: FromQuery[CaseReason | None] = None,
    awaiting_approval: FromQuery[bool | None] = None,
    refund_refused: FromQuery[bool | None] = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter cases. `from` and `to` limit the time at which a case opened."""
    filters = Filters()
    if status is not None:
        # Write this condition exactly as the index review_cases_by_age does, so that PostgreSQL can use the index.
        filters.add("(review_cases.status = 'decided') = {0}", status == "decided")
        filters.given.append(f"status={status}")
    filters.equal("tag", "review_cases.tag", tag)
    filters.equal("reason", "review_cases.reason", reason)
    filters.holds("awaiting_approval", _AWAITS_APPROVAL, awaiting_approval)
    filters.holds("refund_refused", _REFUND_REFUSED, refund_refused)
    filters.between("review_cases.opened_at", since, until)
    return filters
