"""Payment sessions, charges and refunds.

Guarantees
    A customer has at most one open payment of purpose `session`.
    A payment is charged at most once. Each attempt is a row with its own gateway key. A new attempt begins only after
    the gateway declined the last attempt. The database allows one undecided attempt and one charge per payment.
    If an approval arrives after the payment was closed, the charge is refunded once, and the audit records this.
    A payment of Rp0 never reaches the gateway.
    An extension is charged when it is approved, and only until its time for the charge is over.
Concurrency
    The payment row is the lock of the whole journey. A transaction takes this lock first if it changes the payment,
    its pairing, or their other rows. The payment of an extension is an exception. A transaction that changes it first
    locks the session.
Relies on
    The gateway's own idempotency by key, behind the port in gateway.py. If a result is unknown, we query the gateway
    by the same key. We never send the charge under a new key.
    We call the gateway between transactions. If the process crashes during a call, the deadline `charge_answer` or
    `refund_answer`, which was armed before the call, finishes the work.
"""
