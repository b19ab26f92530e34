"""A session's states, the steps between them, and how it can end. Pure."""

from typing import Literal, get_args

from curhat.payments.states import CaseReason

SessionStatus = Literal["active", "ended"]

# The database's trigger holds the same table (sessions_allowed_steps); a test compares them.
STEPS: frozenset[tuple[SessionStatus, SessionStatus]] = frozenset({("active", "ended")})

EndReason = Literal["time_up", "customer_ended", "mitra_ended", "mitra_suspended"]
ALL_END_REASONS: frozenset[str] = frozenset(get_args(EndReason))

ExtensionStatus = Literal["pending", "charging", "approved", "rejected", "charge_failed"]
OPEN_EXTENSION_STATUSES: frozenset[ExtensionStatus] = frozenset({"pending", "charging"})

# The database's trigger holds the same table (extensions_allowed_steps); a test compares them.
EXTENSION_STEPS: frozenset[tuple[ExtensionStatus, ExtensionStatus]] = frozenset(
    {
        ("pending", "charging"),
        ("pending", "rejected"),
        ("charging", "approved"),
        # Declined, not answered in time, or the session ended meanwhile: nothing was taken, or it is given back.
        ("charging", "charge_failed"),
    }
)

DecidedBy = Literal["mitra", "timeout", "mitra_unreachable", "session_ended"]

# How long an approved extension waits for the gateway (5.7). Longer than a call and two questions about it.
CHARGE_SECONDS = 30

# The customer paid for time that the mitra's side did not give (X.8).
CUT_SHORT: CaseReason = "cut_short"
OPENS_A_CASE: frozenset[EndReason] = frozenset({"mitra_ended", "mitra_suspended"})
