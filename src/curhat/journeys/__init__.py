"""The steps of a journey that span packages.

availability    asks presence before a step
paying          opening, confirming, leaving, expiring a payment
charging        record the attempt, call the gateway, record its answer
searching       begin the search, accept, cancel, take the fallback
mitras          the consequences of the toggle, a capacity change and a suspension
renaming        sends a new name to everybody who sees the old name
snapshot        the whole state of a customer or a mitra
transitions     the transition of each deadline kind
push            who gets a push, and when
single_flight   one accept per pairing at a time, within a process

Guarantees
    A search starts in only one way: a confirmed payment begins it in the same transaction (2c.1).
    One accept wins: one statement writes the request, the pairing, the payment, the session and its end (2b.5).
    The gateway is called between transactions. If a call is lost, a deadline finishes it.
Relies on
    The lower packages for their own rules, and on the payment row as the lock of the whole journey.
"""
