"""The steps that cross rooms: pay and pair, accept and start, go offline and withdraw, suspend and end, the snapshot.

Guarantees
    There is one way to start: a confirmed payment opens a blast in the same transaction (2c.1). One accept wins:
    the request, the pairing, the payment, the mitra's place, the session and its end are written by one statement
    (2b.5). Calls to the gateway happen between transactions, each insured by a deadline.
Relies on
    The rooms below for their own rules, and on the payment row as the lock of the whole journey.
"""
