"""The metrics of one process's sockets."""

from typing import Final

from prometheus_client import Counter, Gauge

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
GAPS_READ: Final = Counter(
    "curhat_realtime_gaps_read_total",
    "How often a socket read missing events from PostgreSQL because a signal was lost or out of order.",
)
