"""Finding a mitra under a confirmed payment: the blast, its requests, and what is logged when it fails.

Guarantees
    A pairing has one outcome: matched with one winner, or failed with one tag. The database forbids a second
    winner. A mitra who rejected is not asked again for that pairing; nobody is asked to listen to themself.
    No accept, reject or cancel takes effect after the deadline, however late a worker is; no time-out before it.
    A failure leaves the payment row, one event with its tag, and one review case (X.1). After a targeted failure the
    same payment may be used for one blast, never charged again (3.5); the case waits for the customer's answer.
Concurrency
    Whoever decides holds the payment's row lock (payments.service.lock). Offering takes a share lock on the open
    pairing only, so that offers to a thousand mitras run beside each other and wait only for a decision. A mitra
    row is not locked to offer: accepting checks intent and capacity again, under the lock.
    Requests are level-triggered: no stream, no sequence. A signal names the mitras whose open set may have
    changed; each server process looks the set up for those it holds, and looks again every few seconds (cards.py).
Relies on
    Presence for who may be asked (never for a decision about money), and on PostgreSQL for everything else.
"""
