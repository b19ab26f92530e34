"""Finds a mitra for a confirmed payment: the blast, the targeted pairing, their requests, and the log of failures.

Guarantees:
    A pairing has one outcome: matched with one winner, or failed with one tag. The database forbids a second winner.
    A mitra who rejected a pairing is not asked again for that pairing. If a customer is also a mitra, the service
    never sends this person a request for their own pairing.
    No accept, reject or cancel takes effect after the deadline, even if a worker fires the deadline late. The worker
    ends no time window before its deadline.
    When a pairing fails, the payment row stays. The service writes one failed-pairing event with the tag, and opens
    one review case for the payment (X.1).
    After a targeted failure, the same payment can pay for one blast, the fallback, without a second charge (3.5). After
    a targeted failure, the service opens the case only after one of three events: the customer declines the fallback,
    the customer does not answer, or the blast fails too.
Concurrency:
    A transaction that decides a pairing holds the row lock of the payment (payments.service.lock).
    A transaction that offers open blasts to newly available mitras takes only a share lock on the open pairings, and
    skips the pairings that another transaction has locked. A wave locks its pairing. A transaction that offers requests
    does not lock the mitras' rows. Therefore
    the accept locks the mitra's row, and checks the toggle and the capacity again. Requests are level-triggered. The
    events about requests have no stream and no sequence number. A signal contains the ids of the mitras whose open
    requests have perhaps changed. Each server process then reads the open requests of those mitras who have a socket in
    this process. The process also reads these requests every few seconds (cards.py).
Relies on:
    The package `presence` repeats `offer_open_blasts` until it is complete.
    The package `presence` says which mitras can be asked. The package `presence` never decides about money. PostgreSQL,
    for everything else.
"""
