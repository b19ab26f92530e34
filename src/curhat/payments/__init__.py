"""Payment sessions, charges and refunds.

Guarantees
    A customer has at most one open payment of purpose `session`.
    A payment is charged at most once. Each attempt is a row with its own gateway key. A new attempt begins only after
    the last one was declined. The database allows one undecided attempt and one charge per payment.
    An approval that arrives after the payment was closed is refunded once, and audited.
    A payment of Rp0 never reaches the gateway.
    An extension is charged when it is approved, and only until its time for the charge is over.
Concurrency
    The payment row is the lock of the whole journey: every change of a payment, its pairing or what belongs to them
    takes this row first. An exception is the payment of an extension: it is changed only under the lock of its
    session, which is taken before it.
Relies on
    The gateway's own idempotency by key, behind the port in gateway.py. When a result is unknown, we ask about its
    key and never send the charge under a new one.
    Calls to the gateway happen between transactions. A crash in between is finished by the deadline `charge_answer` or
    `refund_answer`, which was armed before the call.
"""
