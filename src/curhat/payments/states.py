"""A payment's states and the steps between them. Pure."""

from typing import Literal

Purpose = Literal["session", "extension"]

PaymentStatus = Literal[
    "pending", "confirming", "confirmed", "served", "unserved", "abandoned", "expired", "refunded"
]

# The steps that are allowed. The database's trigger payments_allowed_steps holds the same table; a test compares them.
STEPS: frozenset[tuple[PaymentStatus, PaymentStatus]] = frozenset(
    {
        ("pending", "confirming"),
        # A trial, which is not charged; or the gateway first declined an attempt and then approved it.
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

# `approved_late`: the money was taken when it could not pay for anything any more. Such a charge is refunded.
AttemptStatus = Literal["started", "approved", "declined", "approved_late"]

# Why an operator has to review a payment.
CaseReason = Literal["no_session", "cut_short", "refund_failed"]

RefundReason = Literal["late_approval", "operator_decision"]
