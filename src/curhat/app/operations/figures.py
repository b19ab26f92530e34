"""The metrics that are read from PostgreSQL. Every process shows the same figures, so an alert uses the maximum."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Final

from prometheus_client import Gauge

from curhat.app.operations.queries import CodesOfToday, Figures
from curhat.privacy.retention.classes import TIMED_CLASSES, TimedClass

_GAUGES: Final = {
    "mitras_online": Gauge("curhat_mitras_online", "Mitras whose toggle is on"),
    "sessions_active": Gauge("curhat_sessions_active", "Chats that run"),
    "searches_open": Gauge("curhat_searches_open", "Pairings that look for a mitra"),
    "searches_overdue": Gauge(
        "curhat_searches_overdue", "Pairings that still look for a mitra 5 s after their deadline"
    ),
    "payments_in_flight": Gauge(
        "curhat_payments_in_flight", "Payments that are being charged, or whose search runs"
    ),
    "in_flight_rp": Gauge("curhat_payments_in_flight_rupiah", "The amount of the payments in flight"),
    "payments_stuck": Gauge(
        "curhat_payments_stuck", "Payments confirmed over an hour ago and still in flight"
    ),
    "cases_open": Gauge("curhat_review_cases_open", "Payments that an operator must decide about"),
    "cases_open_rp": Gauge("curhat_review_cases_open_rupiah", "The amount of the open cases"),
    "oldest_case_seconds": Gauge(
        "curhat_review_cases_oldest_seconds", "How long the oldest open case has waited"
    ),
    "refunds_awaiting_approval": Gauge(
        "curhat_refunds_awaiting_approval", "Refunds that wait for a second operator"
    ),
    "refunds_requested": Gauge(
        "curhat_refunds_requested", "Refunds that the gateway has not carried out yet"
    ),
    "gateway_unanswered": Gauge(
        "curhat_gateway_unanswered", "Payments about which the gateway has not answered for 10 minutes"
    ),
    "reports_waiting": Gauge("curhat_reports_waiting", "Reports and concerns that wait for an operator"),
    "urgent_reports_overdue": Gauge(
        "curhat_reports_urgent_overdue", "Reports and concerns due within 15 minutes whose time is over"
    ),
    "other_reports_overdue": Gauge(
        "curhat_reports_overdue", "Other reports that wait for an operator and whose time is over"
    ),
    "deadlines_parked": Gauge("curhat_deadlines_parked", "Deadlines that failed too often"),
    "help_lines_unverified": Gauge(
        "curhat_help_lines_unverified", "Help lines that nobody has verified for 30 days"
    ),
    "oldest_due_seconds": Gauge(
        "curhat_deadlines_oldest_due_seconds", "How long the oldest due deadline has waited for a worker"
    ),
    "book_differences": Gauge(
        "curhat_books_differences", "Charges and refunds that differed in the last closed day"
    ),
    "invariants_broken": Gauge(
        "curhat_broken_invariants", "Invariants that did not hold when the last day was closed"
    ),
    "books_closed_age_seconds": Gauge(
        "curhat_books_closed_age_seconds", "Time since the books of a day were closed"
    ),
}


_CODES_USED: Final = Gauge(
    "curhat_codes_ceiling_used_ratio",
    "Today's one-time codes, as a part of the day's ceiling of their country",
    ["region"],
)


def show_codes(read: Sequence[CodesOfToday] | None, ceilings: Mapping[str, int]) -> None:
    """Set the metric of the codes per day. Without figures, it becomes NaN. `ceilings` has the limit per country."""
    codes = {} if read is None else {row.region: row.codes for row in read}
    _CODES_USED.clear()
    for region, ceiling in ceilings.items():
        _CODES_USED.labels(region).set(nan if read is None else codes.get(region, 0) / ceiling)


_OVERDUE: Final = Gauge(
    "curhat_retention_overdue_seconds",
    "How long the oldest row of a class of data has been over its time (P.7)",
    ["data_class"],
)


def show_overdue(read: Mapping[TimedClass, float] | None) -> None:
    """Set the metric of the classes of data. Without figures, it becomes NaN."""
    for name in TIMED_CLASSES:
        _OVERDUE.labels(name).set(nan if read is None else read[name])


def show(read: Figures | None) -> None:
    """Set the metrics. Without figures, each metric becomes NaN, so that no alert uses an old figure."""
    for name, gauge in _GAUGES.items():
        gauge.set(nan if read is None else getattr(read, name))
