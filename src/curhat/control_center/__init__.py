"""The operators' room: review, configuration, mitras, what happened to whose money, and the audit of it all.

Guarantees
    Whoever calls an operation under /api/control-center is asked for a good token and the permission that the operation
    names; an operation that names none is refused to everybody. A second factor comes before everything else.
    A case is decided once, by whoever came first, and its refund asked for once; a refund above the limit of the
    process's settings is asked for only when another operator has approved it. `refunded` is the gateway's word.
    What an operator did is in the audit, written by the transaction that did it. Phone numbers are shown masked, and
    chat text only to who gave a reason.
Concurrency
    A decision takes the payment's row, then the case's, then compares: the one lock order.
Relies on
    payments for refunds, journeys for suspensions and capacity, configuration for the five rows. Lists are read by
    key, each along an index of its own order (migration 0005).
"""
