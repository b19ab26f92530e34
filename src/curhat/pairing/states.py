"""A pairing's and a request's states, the steps between them, and the failure tags. Pure."""

from typing import Literal, get_args

PairingKind = Literal["blast", "targeted"]
PairingStatus = Literal["open", "matched", "failed"]

# The database's trigger holds the same table (pairings_allowed_steps); a test compares them.
PAIRING_STEPS: frozenset[tuple[PairingStatus, PairingStatus]] = frozenset(
    {("open", "matched"), ("open", "failed")}
)

# These seven; another only with a decision record.
FailureTag = Literal[
    "no_mitra_available",
    "all_mitras_rejected",
    "targeted_mitra_offline",
    "targeted_mitra_rejected",
    "targeted_mitra_timeout",
    "payment_session_expired",
    "customer_cancelled",
]
ALL_TAGS: frozenset[str] = frozenset(get_args(FailureTag))

# What became of the offer of a blast under the same payment, after a targeted pairing failed (3.5).
FallbackStatus = Literal["open", "taken", "declined", "expired"]

# The failures after which the payment carries over (3.5). The database holds the same list.
OFFERS_A_FALLBACK: frozenset[FailureTag] = frozenset(
    {"targeted_mitra_offline", "targeted_mitra_rejected", "targeted_mitra_timeout"}
)
# After these the fallback leaves the mitra out; one who was away may come back and be asked (3.9).
LEAVES_THE_MITRA_OUT: frozenset[FailureTag] = frozenset({"targeted_mitra_rejected", "targeted_mitra_timeout"})

RequestStatus = Literal["offered", "accepted", "rejected", "closed"]
# The first six are stored; the last two say to the mitra's other devices what the mitra answered.
CloseReason = Literal[
    "already_taken",
    "customer_cancelled",
    "timed_out",
    "went_offline",
    "at_capacity",
    "suspended",
    "rejected",
    "accepted",
]

# A request closed for one of these is offered again when its reason has passed and the window still runs.
OFFERED_AGAIN_AFTER: frozenset[CloseReason] = frozenset({"went_offline", "at_capacity"})


def close_reason_of(tag: FailureTag) -> CloseReason:
    """Why the cards of a failed pairing close."""
    return "customer_cancelled" if tag == "customer_cancelled" else "timed_out"


def tag_when_time_is_up(asked: int, rejected: int) -> FailureTag:
    """2b.3, 2b.4: all who were asked explicitly rejected, or nobody came forward in time."""
    return "all_mitras_rejected" if 0 < asked == rejected else "no_mitra_available"
