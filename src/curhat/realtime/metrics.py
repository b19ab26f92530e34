"""The metrics of one process's sockets."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

SOCKETS_OPEN: Final = Gauge("curhat_realtime_sockets_open", "Sockets that are open now.", ["role"])
FRAMES_SENT: Final = Counter("curhat_realtime_frames_sent_total", "Frames handed to sockets.")
FRAMES_RECEIVED: Final = Counter("curhat_realtime_frames_received_total", "Frames that clients sent.")
CLOSES: Final = Counter(
    "curhat_realtime_closes_total",
    "Closed sockets, by the server's close code, or `client` if the client closed.",
    ["code"],
)
WELCOMES: Final = Counter(
    "curhat_realtime_welcomes_total", "Answered hellos, by whether the client could resume.", ["resumed"]
)
DELIVERY_SECONDS: Final = Histogram(
    "curhat_realtime_delivery_seconds",
    "From the time of an event to its frame being handed to a socket, for one event in 16",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)
GAPS_READ: Final = Counter(
    "curhat_realtime_gaps_read_total",
    "How often a socket read missing events from PostgreSQL because a signal was lost or out of order.",
)

for _role in ("customer", "mitra"):
    SOCKETS_OPEN.labels(_role)
for _resumed in ("true", "false"):
    WELCOMES.labels(_resumed)
