"""Deadlines. A worker runs a deadline's step exactly once, and never before the due time, even after a crash.

Guarantees:
    A deadline's transition runs in the transaction that deletes the deadline. The transition and the deletion both take
    effect, or neither takes effect.
    The transition never runs before `due_at` by the database's clock.
    If a transition fails by a fault of its own, the worker tries the transition again, with a longer wait after each
    failure. After MAX_ATTEMPTS failures, the worker parks the deadline. Operators see the parked deadline, and the
    worker tries the parked deadline again every hour. A failing deadline does not delay other deadlines.
    A fault of the surroundings never uses up a try. A fault of the surroundings means that PostgreSQL or Valkey is away
    or cannot write, or that a lock is held.
    Any number of workers can run. If a worker is killed, no deadline is lost.
Concurrency:
    A worker reads the due deadlines of the kinds that it knows, without a lock. The worker reads a limited number of
    each kind, so a backlog of one kind hides no other kind. A deadline of an unknown kind waits for a worker of a newer
    release. After reading, the worker claims deadlines with FOR UPDATE SKIP LOCKED.
    If the transition is a BatchTransition, the worker claims up to MAX_BATCH_DEADLINES deadlines of one kind in one
    transaction. If the transition is not a BatchTransition, the worker claims one deadline per transaction.
    For a batch, the worker locks the rows of the journeys in the global lock order, one table after another. The worker
    waits at most 100 ms for each lock. If a lock takes longer than 100 ms, the worker fires each deadline of the batch
    in its own transaction.
    A worker locks the deadline row before the rows of the deadline's entity. A user's action locks the entity's rows
    first. The action never waits for a deadline row, because the wait could deadlock, or could last as long as a
    stopped worker's transaction. An action takes four steps.
    Step 1: The action locks the entity's row, and checks whether the due time in that row has passed.
    Step 2: The action deletes the deadline with SKIP LOCKED. If a worker has locked the deadline, the deadline stays.
    Step 3: The worker then finds that the entity has changed, and the deadline fires as a no-op.
    Step 4: The action arms a deadline only in a generation that no worker can have locked. No worker can have locked a
    generation that belongs to a new entity, has the next number, or belongs only to the action's transaction.
    `arm_another`, and arm_push in the triggers of push, use a generation that belongs only to their transaction. An
    INSERT of a generation that a worker has locked would wait for the worker, even with ON CONFLICT DO NOTHING.
Relies on:
    PostgreSQL's row locks and `curhat_now()`.
"""
