"""Payment sessions, charges and refunds.

Guarantees:
    A customer has at most one open payment of purpose `session`.
    A payment is charged at most once. Each charge attempt is a row with its own gateway key. A new attempt begins only
    after the gateway has declined the last attempt. The database allows at most one undecided attempt and at most one
    approved attempt per payment.
    If an approval arrives after the payment was closed, the charge is refunded once, and the audit records the refund.
    A payment of Rp0 never reaches the gateway.
    A customer opens at most 10 payments for sessions in 10 minutes, and at most 30 payments for extensions in an hour.
    A customer confirms at most 20 times in an hour. These limits hold exactly, over all processes.
    If the gateway does not answer about a charge, the server gives the charge up 10 minutes after the payment's
    `expires_at`. Operators see a payment whose charge was given up. If the gateway approves a charge that was given up,
    the server refunds the charge.
    A charge that was taken, not delivered and not given back has an open case or an operator's decision. Each charge is
    decided at most once. A decided case opens again if another charge of the payment is not delivered.
    The server charges for an extension after the extension is approved. The gateway must approve the charge within a
    time limit.
Concurrency:
    The lock of the payment row protects the whole journey. A transaction that changes the payment, one of its pairings,
    or a row that belongs to them, takes the lock of the payment row first. There is one exception. A transaction that
    changes the payment of an extension first locks the session.
Relies on:
    The gateway charges at most once per key (gateway.py). If the result of a charge is unknown, we query the gateway by
    the charge's key. We never send the charge under a new key.
    No transaction is open while a process calls the gateway. Before the call, the process arms the deadline
    `charge_answer` or `refund_answer`. If the process crashes during the call, a worker finishes the charge or the
    refund at this deadline.
"""
