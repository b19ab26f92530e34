"""Per-user event streams in PostgreSQL, and the sockets that carry them.

Guarantees
    A user's events are numbered 1, 2, 3, … without gaps, in the order in which their transactions were
    committed, and are written by the same transactions as the rows they tell of.
    A socket that said hello gets every event after the seq it named (or that its welcome named), once, in
    order, for as long as it stays open. Only what was committed is ever sent.
    A slow reader costs a bounded queue and is then closed; it resumes from its own seq and has lost nothing.
Concurrency
    `append` holds the row lock of each stream it touches from its statement to the commit: that is what makes
    the numbers gapless and the order true. Streams are locked in (role, user id) order, after all other rows.
    All of a process's `Hub` runs on one event loop: what a socket is sent is decided between two awaits.
Relies on
    Signals for speed, never for truth: the hub compares the heads of the users it holds with PostgreSQL every
    3 s, and a socket that finds a gap reads the missing events.
"""
