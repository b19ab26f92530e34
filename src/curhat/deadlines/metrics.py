"""The metrics of deadlines."""

from typing import Final

from prometheus_client import Counter

FAILED: Final = Counter(
    "curhat_deadlines_failed_total", "Tries that failed by a fault of their own", ["kind"]
)
INTERRUPTED: Final = Counter(
    "curhat_deadlines_interrupted_total",
    "Tries that failed because PostgreSQL or Valkey was away, or a lock was held. They are repeated, and not counted",
    ["kind"],
)
