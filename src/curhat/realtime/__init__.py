"""Per-user event streams in PostgreSQL, and the sockets that carry them.

Guarantees
    A user's events are numbered 1, 2, 3, … without gaps, in the order in which their transactions were committed. The
    transaction that changes a row also writes the events about it.
        After a hello, a socket gets every event after the seq that the client named (or that the welcome named). It
        gets each event once and in order, for as long as it stays open. Only committed events are sent.
        A slow reader fills a bounded queue. When the queue is full, the server closes the socket. The client resumes
        from its own seq and loses no event.
    Concurrency
        `append` locks the row of each stream that it writes to. The lock is held until the commit. Therefore the
        numbers have no gaps, and events have the order of their commits. Streams are locked in (role, user id) order,
        after all other rows.
        A process's `Hub` runs on one event loop. It decides what to send to a socket without an await in between.
    Relies on
        Signals only make delivery faster. Every 3 s the hub compares the heads of its users' streams with PostgreSQL.
        A socket that finds a gap reads the missing events.
"""
