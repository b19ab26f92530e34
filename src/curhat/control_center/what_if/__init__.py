"""What if: past demand is replayed with other settings or with more mitras (record 0126).

Guarantees:
    A replay reads the service's tables in one read-only transaction, with bounded statements, and writes none of them.
    A replay runs in a process of its own, so it delays no deadline. One replay runs at a time, in all workers together:
    the index `what_ifs_one_running` forbids a second one.
    A replay that is cancelled, takes longer than MAX_REPLAY_SECONDS, or whose worker died, ends.
Files:
    `behaviour.py` estimates how fast each mitra answers. `replay.py` replays the searches. Both are pure.
    `process.py` is the process of one replay. `runner.py` is the worker's task that starts it.
"""
