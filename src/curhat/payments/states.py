"""The states of a payment and the steps between them. Pure."""

from typing import Literal

PaymentStatus = Literal[
    "pending", "confirming", "confirmed", "served", "unserved", "abandoned", "expired", "refunded"
]

# The allowed steps. The database's trigger payments_allowed_steps has the same table, and a test compares the two.
STEPS: frozenset[tuple[PaymentStatus, PaymentStatus]] = frozenset(
    {
        ("pending", "confirming"),
        # Either a trial, which is not charged, or the gateway first declined an attempt and then approved it.
        ("pending", "confirmed"),
        ("pending", "abandoned"),
        ("pending", "expired"),
        ("confirming", "pending"),
        ("confirming", "confirmed"),
        # The gateway declined the charge after the time to pay had passed.
        ("confirming", "expired"),
        # The charge of an extension was declined, or its time was over.
        ("confirming", "abandoned"),
        ("confirmed", "served"),
        ("confirmed", "unserved"),
        ("served", "refunded"),
        ("unserved", "refunded"),
    }
)

# `approved_late`: the money was taken too late to pay for anything. Such a charge is refunded.
AttemptStatus = Literal["started", "approved", "declined", "approved_late"]

# The reasons for which an operator must review a payment.
CaseReason = Literal["no_session", "cut_short", "refund_failed"]

RefundReason = Literal["late_approval", "operator_decision"]
