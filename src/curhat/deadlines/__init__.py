"""Deadlines: things that happen at a time, exactly once, never early, whatever crashes.

Guarantees
    An armed deadline's transition runs in the transaction that removes the deadline: both or neither, once.
    It never runs before `due_at` by the database's clock. A transition that fails is tried again, later each
    time, and parked and shown after PARK_AFTER_ATTEMPTS; the others go on.
    Any number of workers may run; a killed worker loses nothing.
Concurrency
    A worker looks up what is due without locks, then claims with FOR UPDATE SKIP LOCKED: several of a kind whose
    transition is Together, otherwise one a transaction. Several lock their journeys level by level in the one order
    of all locks, and wait 100 ms at most; then each goes on alone. The deadline row is locked before the rows of its
    entity; a user's action therefore never waits for a deadline row: it compares against the time kept in its own
    row, and disarms with SKIP LOCKED or leaves the deadline to fire as a no-op.
Relies on
    PostgreSQL's row locks and `curhat_now()`.
"""
