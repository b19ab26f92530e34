"""The Control Center: operators review cases, look things up, change the configuration and manage mitras.

Guarantees
    Every operation under /api/control-center requires a valid token and the permission that the operation names. If
    an operation names no permission, the guard refuses every caller. In production, an operator without a second
    factor can do nothing except set one up.
    The first decision on a case wins. If the decision is a refund, the server requests it once. If the refund
    exceeds the limit in the settings, another operator must approve the refund first. A payment becomes `refunded`
    when the gateway confirms the refund, not earlier.
    Each transaction that carries out an operator's action also writes the action to the audit. In answers, every
    phone number is masked. An answer contains chat text only if the operator gives a reason.
Concurrency
    To decide a case, a transaction locks the payment's row and then the case's row, in the global lock order. After
    that, the transaction checks whether the case is already decided.
Relies on
    The package payments for refunds, journeys for suspensions and capacity, and configuration for its five rows.
    For each list, an index that has the order of the list (migration 0005).
"""
