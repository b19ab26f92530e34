"""Deadlines: steps that run at a set time, exactly once and never early, even if a process crashes.

Guarantees
    A deadline's transition runs in the transaction that deletes the deadline. Both happen, or neither.
    The transition never runs before `due_at` by the database's clock.
    A transition that fails is tried again, after a longer wait each time. After MAX_ATTEMPTS its deadline is parked
    and shown to operators. Other deadlines are not affected.
    Any number of workers may run. If a worker is killed, no deadline is lost.
Concurrency
    A worker reads the due deadlines without locking them. It then claims them with FOR UPDATE SKIP LOCKED.
    If the transition is a BatchTransition, the worker claims up to MAX_BATCH_DEADLINES of its kind in one
    transaction. Otherwise it claims one deadline per transaction.
    A batch locks the rows of its journeys table by table in the global lock order. It waits at most 100 ms for each
    lock. If a lock takes longer, the worker fires each deadline of the batch in its own transaction.
    A worker locks the deadline row before the rows of its entity. Therefore a user's action never waits for a
    deadline row. The action checks the time in its own row. It then disarms the deadline with SKIP LOCKED. If a
    worker has locked the deadline, the deadline fires as a no-op.
Relies on
    PostgreSQL's row locks and `curhat_now()`.
"""
