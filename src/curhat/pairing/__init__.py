"""Finding a mitra for a confirmed payment: the blast, the targeted pairing, their requests, and the log of failures.

Guarantees
    A pairing has one outcome: matched with one winner, or failed with one tag. The database forbids a second winner.
    A mitra who rejected a pairing is not asked again for that pairing. Nobody is asked to listen to themselves.
    No accept, reject or cancel takes effect after the deadline, however late a worker is. No window ends before its
    deadline.
    A failure keeps the payment row, and writes one event with its tag and one review case (X.1).
    After a targeted failure, the same payment may be used for one blast, and is never charged again (3.5). The case
    opens only if the customer declines this fallback or does not answer.
Concurrency
    A decision is made under the payment's row lock (payments.service.lock).
    An offer only takes a share lock on the open pairing. So offers to a thousand mitras run at the same time, and
    wait only for a decision. Offers do not lock the mitras' rows. Therefore the accept checks the toggle and the
    capacity again, under the lock.
    Requests are level-triggered: they have no stream and no sequence. A signal names the mitras whose open requests
    may have changed. Each server process then reads the open requests of those mitras whose sockets it has. It also
    reads them every few seconds (cards.py).
Relies on
    Presence for who may be asked, but never for a decision about money. PostgreSQL for everything else.
"""
