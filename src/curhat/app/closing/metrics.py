"""The metrics of the nightly closing of the books."""

from typing import Final

from prometheus_client import Counter, Gauge

CLOSED: Final = Counter(
    "curhat_days_closed_total",
    "Days whose books this process closed, by the result",
    ["result"],
)
DIFFERENCES: Final = Gauge(
    "curhat_books_differences", "Charges and refunds that differed in the last day that this process closed"
)
BROKEN_INVARIANTS: Final = Gauge(
    "curhat_broken_invariants", "Invariants that did not hold in the last day that this process closed"
)

for _result in ("agrees", "differs", "broken", "not_checked"):
    CLOSED.labels(_result)
