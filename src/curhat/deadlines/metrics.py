"""The metrics of deadlines."""

from typing import Final

from prometheus_client import Counter, Gauge

PARKED: Final = Gauge(
    "curhat_deadlines_parked", "Deadlines that failed too often, and that are tried again every hour"
)
OLDEST_OVERDUE: Final = Gauge(
    "curhat_deadlines_oldest_overdue_seconds", "For how long the oldest armed deadline is overdue"
)
FAILED: Final = Counter(
    "curhat_deadlines_failed_total", "Tries that failed by a fault of their own", ["kind"]
)
INTERRUPTED: Final = Counter(
    "curhat_deadlines_interrupted_total",
    "Tries that failed because PostgreSQL or Valkey was away, or a lock was held. They are repeated, and not counted",
    ["kind"],
)
