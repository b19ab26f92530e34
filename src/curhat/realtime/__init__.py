"""Per-user event streams in PostgreSQL, and the sockets that carry them.

Guarantees
    A user's events are numbered 1, 2, 3, … without gaps, in the order in which their transactions were committed. The
    transaction that changes a row also writes the events about it.
    A socket that said hello gets every event after the seq that it named (or that its welcome named), once and in
    order, for as long as it stays open. Only committed events are sent.
    A slow reader fills a bounded queue; then its socket is closed. The client resumes from its own seq and loses
    nothing.
Concurrency
    `append` locks the row of each stream it touches, from its statement to the commit. That makes the numbers gapless
    and the order that of the commits. Streams are locked in (role, user id) order, after all other rows.
    A process's `Hub` runs on one event loop. It decides what to send a socket with no await in between.
Relies on
    Signals only for speed. Every 3 s the hub compares the heads of its users' streams with PostgreSQL, and a socket
    that finds a gap reads the missing events.
"""
