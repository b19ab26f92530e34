"""Finding a mitra for a confirmed payment: the blast, the targeted pairing, their requests, and what is logged when
they fail.

Guarantees
    A pairing has one outcome: matched with one winner, or failed with one tag. The database forbids a second winner.
    A mitra who rejected is not asked again for that pairing. Nobody is asked to listen to themself.
    No accept, reject or cancel takes effect after the deadline, however late a worker is. No window ends before it.
    A failure leaves the payment row, one event with its tag, and one review case (X.1). After a targeted failure the
    same payment may be used for one blast, and is never charged again (3.5). The case then waits for the customer's
    answer.
Concurrency
    A decision is made under the payment's row lock (payments.service.lock).
    Offering takes a share lock on the open pairing only. Offers to a thousand mitras therefore run side by side, and
    wait only for a decision. Offering does not lock the mitras' rows: accepting checks the toggle and the capacity
    again, under the lock.
    Requests are level-triggered: they have no stream and no sequence. A signal names the mitras whose open requests
    may have changed. Each server process then reads the open requests of those it holds, and reads them again every
    few seconds (cards.py).
Relies on
    Presence for who may be asked, but never for a decision about money. PostgreSQL for everything else.
"""
