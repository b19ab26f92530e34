"""The Control Center: operators review cases, look things up, change the configuration and manage mitras.

Guarantees
    Every operation under /api/control-center requires a valid token and the permission that the operation names. If
    an operation names no permission, it is refused to everybody. In production, an operator without a second factor
    may only set one up.
    The first decision on a case wins, and its refund is requested once. A refund above the limit in the settings is
    requested only after another operator has approved it. A payment becomes `refunded` only when the gateway confirms
    the refund.
    Every action of an operator is recorded in the audit, in the same transaction. Phone numbers are shown masked.
    Chat text is shown only to an operator who gives a reason.
Concurrency
    A decision locks the payment's row, then the case's row, and then compares. This is the global lock order.
Relies on
    payments for refunds, journeys for suspensions and capacity, configuration for the five rows. Every list has an
    index in its own order (migration 0005).
"""
