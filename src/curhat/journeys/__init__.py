"""The steps of a journey that span packages.

availability    what presence says before a step
paying          opening, confirming, leaving, expiring a payment
charging        record the attempt, call the gateway, record its answer
searching       begin the search, accept, reject, cancel, fall back
mitras          what the toggle, a capacity, a suspension set off
renaming        a new name reaches everybody who sees the old one
snapshot        the whole state of a customer or a mitra
transitions     what happens when a deadline comes due
push            who is pushed to, and when
single_flight   one accept per pairing at a time, within a process

Guarantees
    There is one way to start: a confirmed payment begins its search in the same transaction (2c.1).
    One accept wins: one statement writes the request, the pairing, the payment, the session and its end (2b.5).
    The gateway is called between transactions, and a deadline finishes a call that was lost.
Relies on
    The packages below for their own rules, and on the payment row as the lock of the whole journey.
"""
