"""The states of sessions and extensions, the allowed steps between them, and the reasons for an end. Pure."""

from typing import Literal, get_args

from curhat.payments.states import CaseReason

SessionStatus = Literal["active", "ended"]

# The trigger sessions_allowed_steps has the same table. A test compares the two.
STEPS: frozenset[tuple[SessionStatus, SessionStatus]] = frozenset({("active", "ended")})

EndReason = Literal["time_up", "customer_ended", "mitra_ended", "mitra_suspended"]
ALL_END_REASONS: frozenset[str] = frozenset(get_args(EndReason))

ExtensionStatus = Literal["pending", "charging", "approved", "rejected", "charge_failed"]
OPEN_EXTENSION_STATUSES: frozenset[ExtensionStatus] = frozenset({"pending", "charging"})

# The trigger extensions_allowed_steps has the same table. A test compares the two.
EXTENSION_STEPS: frozenset[tuple[ExtensionStatus, ExtensionStatus]] = frozenset(
    {
        ("pending", "charging"),
        ("pending", "rejected"),
        ("charging", "approved"),
        # The charge was declined or not answered in time, or the session ended meanwhile. No money was taken, or it
        # is refunded.
        ("charging", "charge_failed"),
    }
)

DecidedBy = Literal["mitra", "timeout", "mitra_unreachable", "session_ended"]

# How long an approved extension waits for the gateway (5.7). This is longer than a charge and two queries about it.
CHARGE_TIMEOUT_SECONDS = 30

# The mitra's side ended the session before the time that the customer had paid for was over (X.8).
CUT_SHORT: CaseReason = "cut_short"
OPENS_A_CASE: frozenset[EndReason] = frozenset({"mitra_ended", "mitra_suspended"})
