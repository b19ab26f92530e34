"""What an operator of the service watches about pairing."""

from prometheus_client import Counter, Histogram

BLASTS = Counter("curhat_pairing_blasts_total", "Blasts that began")
ASKED = Histogram(
    "curhat_pairing_asked_mitras",
    "Mitras asked at once when a blast began",
    buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
OUTCOMES = Counter(
    "curhat_pairing_outcomes_total", "Pairings by how they ended: matched, or the failure's tag", ["outcome"]
)
MATCH_SECONDS = Histogram(
    "curhat_pairing_match_seconds",
    "From the blast's beginning to the accept",
    buckets=(0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600),
)
