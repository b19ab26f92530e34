"""The states of sessions and extensions, their allowed steps, and the end reasons. This module does no I/O."""

from typing import Literal, get_args

from curhat.payments.states import CaseReason

SessionStatus = Literal["active", "ended"]

# The trigger sessions_allowed_steps contains the same steps as this set. A test compares both.
STEPS: frozenset[tuple[SessionStatus, SessionStatus]] = frozenset({("active", "ended")})

EndReason = Literal["time_up", "customer_ended", "mitra_ended", "mitra_suspended"]
ALL_END_REASONS: frozenset[str] = frozenset(get_args(EndReason))

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

# The review case has this reason if the mitra, or the mitra's suspension, ended a session before the paid time was over
# (X.8).
CUT_SHORT: CaseReason = "cut_short"
OPENS_A_CASE: frozenset[EndReason] = frozenset({"mitra_ended", "mitra_suspended"})
