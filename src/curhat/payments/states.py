"""A payment's states and the steps between them. Pure."""

from typing import Literal, get_args

Purpose = Literal["session", "extension"]

PaymentStatus = Literal[
    "pending", "confirming", "confirmed", "served", "unserved", "abandoned", "expired", "refunded"
]

# A journey is under way in these; a customer has one such payment at most.
OPEN_STATUSES: frozenset[PaymentStatus] = frozenset({"pending", "confirming", "confirmed"})

# The database's trigger holds the same table (payments_allowed_steps); a test compares them.
STEPS: frozenset[tuple[PaymentStatus, PaymentStatus]] = frozenset(
    {
        ("pending", "confirming"),
        # A trial, or an approval of an attempt that was first said to be declined.
        ("pending", "confirmed"),
        ("pending", "abandoned"),
        ("pending", "expired"),
        ("confirming", "pending"),
        ("confirming", "confirmed"),
        # Declined after the payment's own time had passed.
        ("confirming", "expired"),
        # An extension that is never charged.
        ("confirming", "abandoned"),
        ("confirmed", "served"),
        ("confirmed", "unserved"),
        ("served", "refunded"),
        ("unserved", "refunded"),
    }
)

# Why an operator looks at a payment.
CaseReason = Literal["no_session", "cut_short", "refund_failed"]

RefundReason = Literal["late_approval", "operator_decision"]

ALL_STATUSES: frozenset[str] = frozenset(get_args(PaymentStatus))
