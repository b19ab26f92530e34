"""The Control Center: operators review cases, look things up, change the configuration and manage mitras.

Guarantees:
    Every operation under /api/control-center requires a valid token and the permission that the operation names. If an
    operation names no permission, the guard refuses every caller. In production, an operator without a second factor
    can only set up a second factor.
    The first decision on a case wins. If the decision is a refund, the server requests the refund once. If the refund
    exceeds the limit in the settings, another operator must approve the refund first. A payment becomes `refunded` only
    when the gateway confirms the refund.
    Each transaction that carries out an operator's action also writes the action to the audit. Every phone number in an
    answer is masked. An answer contains chat text only if the operator gives a reason.
Concurrency:
    To decide a case, a transaction locks the payment's row and then the case's row, in the global lock order. Under
    these locks, the transaction checks whether the case is already decided.
Relies on:
    The package `payments` requests refunds. The package `journeys` suspends mitras and changes their capacity. The
    package `configuration` changes the five rows that operators edit.
    PostgreSQL has an index for each list, in the order of the list (migration 0005).
"""
