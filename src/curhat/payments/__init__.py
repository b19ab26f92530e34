"""Payment sessions, charges and refunds.

Guarantees
    A customer has one open payment of purpose `session` at most. A payment is charged once at most: each attempt
    is its own row with its own gateway key, a new attempt begins only after the last is known to be declined, and
    the database holds one undecided attempt and one charge a payment. An approval that turns up after the payment
    was closed is refunded, once, and audited. Rp0 never reaches the gateway. An extension is charged when it is
    approved, and only until its time for that is over.
Concurrency
    The payment row is the lock of the whole journey: whoever changes a payment, its pairing or what hangs on it
    takes this row first. The payment of an extension is only touched under the lock of its session, and after it.
Relies on
    The gateway's own idempotency by key, behind the port in gateway.py: an unknown result is asked about by key and
    never sent again under a new one. Calls to it happen between transactions, insured by the deadline
    `charge_answer` (or `refund_answer`), which finishes what a crash interrupted.
"""
