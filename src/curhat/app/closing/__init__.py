"""Closes each day: compares the gateway's books with ours, and checks the invariants on the real data (X.12).

Guarantees:
    Every day that ended (in Jakarta) is closed once, by one row of `closed_days`. If no worker ran for some nights, the
    next worker closes the missed days, at most MAX_DAYS_BACK of them.
    A difference opens a case with its evidence, and raises an alert, once.
Relies on:
    The deadline `books_close` fires every night. Its transition arms the next try before the gateway is asked. So a
    worker that dies while it closes a day delays the day by RETRY_SECONDS. A worker of the previous version does not
    know this kind, and leaves the deadline to a worker of this version.
    The gateway lists its charges and refunds (payments/gateway.py).
"""
