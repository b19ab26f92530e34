"""Deadlines: steps that run at a set time, exactly once and never early, whatever process crashes.

Guarantees
    A deadline's transition runs in the transaction that deletes the deadline. Both happen, or neither.
    It never runs before `due_at` by the database's clock.
    A transition that fails is tried again, after a longer wait each time. After MAX_ATTEMPTS its deadline is parked and
    shown to operators. The other deadlines go on.
    Any number of workers may run. A killed worker loses nothing.
Concurrency
    A worker reads the due deadlines without locking them, then claims them with FOR UPDATE SKIP LOCKED. If the
    transition of their kind is a BatchTransition, it claims up to MAX_BATCH_DEADLINES in one transaction, otherwise
    one per transaction. A batch locks its journeys table by table in the global lock order and waits at most 100 ms for
    each lock; if that fails, every deadline of the batch is fired in a transaction of its own.
    A worker locks the deadline row before the rows of its entity. A user's action therefore never waits for a deadline
    row: it compares against the time in its own row, and then disarms the deadline with SKIP LOCKED, or leaves it to
    fire as a no-op.
Relies on
    PostgreSQL's row locks and `curhat_now()`.
"""
