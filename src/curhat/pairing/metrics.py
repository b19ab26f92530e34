"""The metrics of pairing."""

from prometheus_client import Counter, Histogram

OUTCOMES = Counter(
    "curhat_pairing_outcomes_total", "Pairings by how they ended: matched, or the failure's tag", ["outcome"]
)
MATCH_SECONDS = Histogram(
    "curhat_pairing_match_seconds",
    "From the beginning of the pairing to the accept",
    buckets=(0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600),
)
