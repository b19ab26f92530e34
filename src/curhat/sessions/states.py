"""The states of sessions and extensions, their allowed steps, and the end reasons. This module does no I/O."""

from collections.abc import Mapping
from typing import Literal, get_args

SessionStatus = Literal["active", "ended"]

# The trigger sessions_allowed_steps contains the same steps as this set. A test compares both.
STEPS: frozenset[tuple[SessionStatus, SessionStatus]] = frozenset({("active", "ended")})

EndReason = Literal["time_up", "customer_ended", "mitra_ended", "mitra_suspended"]
ALL_END_REASONS: frozenset[str] = frozenset(get_args(EndReason))

# Why a member left a chat in one press (T.5). `not_given` stands for a mitra who gave no reason.
CustomerLeaveReason = Literal["felt_unsafe", "emergency", "technical", "other"]
MitraLeaveReason = Literal[CustomerLeaveReason, "customer_inappropriate"]
LeaveReason = Literal[MitraLeaveReason, "not_given"]

ExtensionStatus = Literal["pending", "charging", "approved", "rejected", "charge_failed"]
OPEN_EXTENSION_STATUSES: frozenset[ExtensionStatus] = frozenset({"pending", "charging"})

# The trigger extensions_allowed_steps contains the same steps as this set. A test compares both.
EXTENSION_STEPS: frozenset[tuple[ExtensionStatus, ExtensionStatus]] = frozenset(
    {
        ("pending", "charging"),
        ("pending", "rejected"),
        ("charging", "approved"),
        # The gateway declined the charge or did not answer in time, or the session ended before the answer. If the
        # gateway took the money, the service refunds the charge.
        ("charging", "charge_failed"),
    }
)

DecidedBy = Literal["mitra", "timeout", "mitra_unreachable", "session_ended"]

# An approved extension waits for the gateway for CHARGE_TIMEOUT_SECONDS (5.7). In CHARGE_TIMEOUT_SECONDS, the server
# can make one charge call and two queries about the charge.
CHARGE_TIMEOUT_SECONDS = 30

# What the customer got, once the session has ended (X.8, X.11). `cut_short`: the mitra or the mitra's suspension ended
# the session before the paid time was over. `mitra_away`: the customer ended the session with a review, because the
# mitra was disconnected. `unanswered`: the customer wrote, and the mitra sent no message. Each of these three opens a
# review case for the session's payment and for the payments of its approved extensions.
Delivery = Literal["delivered", "cut_short", "mitra_away", "unanswered"]
ReviewReason = Literal["cut_short", "mitra_away", "unanswered"]
# These words are also reasons of review cases.
CASE_OF_DELIVERY: Mapping[Delivery, ReviewReason] = {
    "cut_short": "cut_short",
    "mitra_away": "mitra_away",
    "unanswered": "unanswered",
}
OPENS_A_CASE: frozenset[EndReason] = frozenset({"mitra_ended", "mitra_suspended"})

# The app tells the customer after this time that the mitra is disconnected (X.11).
MITRA_AWAY_SECONDS = 6
# After this time, the customer can end the session with a review (X.11). The CHECK sessions_left_by_their_mitra has the
# same number.
MITRA_AWAY_REVIEW_SECONDS = 60

# How long the text of a chat is kept after the chat's end, and how long its mitra can read it (P.7).
TEXT_KEPT_MONTHS = 12
TEXT_READABLE_BY_MITRA_DAYS = 30
# A chat that its customer deleted keeps its text until this time after its end, so that the mitra can report it. The
# customer and the mitra cannot read the text any more (record 0153).
TEXT_REPORTABLE_HOURS = 72
