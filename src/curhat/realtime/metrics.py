"""What an operator sees of the sockets of one process."""

from typing import Final

from prometheus_client import Counter, Gauge

SOCKETS_OPEN: Final = Gauge("curhat_realtime_sockets_open", "Sockets that are open now.", ["role"])
FRAMES_SENT: Final = Counter("curhat_realtime_frames_sent_total", "Frames handed to sockets.")
FRAMES_RECEIVED: Final = Counter("curhat_realtime_frames_received_total", "Frames that clients sent.")
CLOSES: Final = Counter(
    "curhat_realtime_closes_total",
    "Sockets closed, by the code the server closed with; `client` where the other side went.",
    ["code"],
)
WELCOMES: Final = Counter(
    "curhat_realtime_welcomes_total", "Answers to hello, by whether the client could resume.", ["resumed"]
)
GAPS_READ: Final = Counter(
    "curhat_realtime_gaps_read_total",
    "Sockets that read missing events from PostgreSQL: a signal was lost or came out of order.",
)
