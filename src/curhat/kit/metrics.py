"""The metrics of one process's connections to PostgreSQL."""

from typing import Final

from prometheus_client import Counter, Gauge

WAITING: Final = Gauge("curhat_database_waiting", "Callers that wait for a connection of the pool")
WAITS_GIVEN_UP: Final = Counter(
    "curhat_database_waits_given_up_total", "Waits for a connection of the pool that took too long"
)
SILENT_CONNECTIONS: Final = Counter(
    "curhat_database_silent_connections_total", "Connections ended because PostgreSQL did not answer"
)
COMMITS_UNKNOWN: Final = Counter(
    "curhat_database_commits_unknown_total", "Commits of which it is not known whether they took effect"
)
