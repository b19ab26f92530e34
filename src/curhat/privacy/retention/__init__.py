"""Retention: how long each class of data is kept, and the deletion of what is older (P.7).

Guarantees:
    `classes.CLASSES` names every table. Each class says what it holds, for how long and why, who can see it, and which
    function deletes it. `docs/privacy.md` shows the same list.
    The worker deletes in bounded batches, and any number of workers can do so at the same time. A statement skips the
    rows that another transaction has locked.
    Text that a report holds is never deleted (invariant 14). A trigger on `messages` and a trigger on `sessions` refuse
    it.
Relies on:
    `curhat_now()`, the indexes that give each class's oldest rows, and the view `held_sessions` of safety.
"""
