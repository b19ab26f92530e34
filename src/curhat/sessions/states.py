"""A session's states, the steps between them, and how it can end. Pure."""

from typing import Literal, get_args

from curhat.payments.states import CaseReason

SessionStatus = Literal["active", "ended"]

# The database's trigger holds the same table (sessions_allowed_steps); a test compares them.
STEPS: frozenset[tuple[SessionStatus, SessionStatus]] = frozenset({("active", "ended")})

EndReason = Literal["time_up", "customer_ended", "mitra_ended", "mitra_suspended"]
ALL_END_REASONS: frozenset[str] = frozenset(get_args(EndReason))

# The customer paid for time that the mitra's side did not give (X.8).
CUT_SHORT: CaseReason = "cut_short"
OPENS_A_CASE: frozenset[EndReason] = frozenset({"mitra_ended", "mitra_suspended"})
