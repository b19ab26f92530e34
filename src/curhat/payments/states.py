"""The states of a payment, and the allowed steps between these states. This module does no I/O."""

from typing import Literal

PaymentStatus = Literal[
    "pending", "confirming", "confirmed", "served", "unserved", "abandoned", "expired", "refunded"
]

# The allowed steps. The trigger payments_allowed_steps contains the same steps as this set. A test compares
# both.
STEPS: frozenset[tuple[PaymentStatus, PaymentStatus]] = frozenset(
    {
        ("pending", "confirming"),
        # A trial goes directly from pending to confirmed, because a trial is not charged. A payment does so too if the
        # gateway first declines an attempt and then approves the same attempt.
        ("pending", "confirmed"),
        ("pending", "abandoned"),
        ("pending", "expired"),
        ("confirming", "pending"),
        ("confirming", "confirmed"),
        # The gateway declined the charge after the payment's `expires_at`.
        ("confirming", "expired"),
        # The gateway declined an extension's charge, or did not approve it in time.
        ("confirming", "abandoned"),
        ("confirmed", "served"),
        ("confirmed", "unserved"),
        ("served", "refunded"),
        ("unserved", "refunded"),
    }
)

# `approved_late` means that the gateway took the money too late to pay for anything. The service refunds a charge with
# the status `approved_late`. If a restore lost our record of the charge, an operator decides instead
# (payments/reconciliation.py).
AttemptStatus = Literal["started", "approved", "declined", "approved_late"]

# The reasons for which an operator must review a payment.
# `restored` means that a restore to an earlier time lost our record of a charge or refund, and that only the gateway
# knows it.
# `mitra_away` means that the customer ended the session because its mitra was disconnected.
# `unanswered` means that the customer wrote in the session and the mitra sent no message.
# `complaint` means that an operator opened the case by hand.
# `books_differ` means that the gateway's records differ from ours.
# `reported` means that the customer reported the mitra.
CaseReason = Literal[
    "no_session",
    "cut_short",
    "refund_failed",
    "restored",
    "mitra_away",
    "unanswered",
    "complaint",
    "books_differ",
    "reported",
]

CaseDecision = Literal["refund", "no_refund"]

RefundReason = Literal["late_approval", "operator_decision"]
# `failed` means that the gateway refused the refund. An operator can request it again, as a new refund.
RefundStatus = Literal["requested", "done", "failed"]
