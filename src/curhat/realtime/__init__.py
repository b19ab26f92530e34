"""Per-user event streams in PostgreSQL, and the sockets that carry them.

Guarantees
    A user's events are numbered 1, 2, 3, … without gaps, in the order in which their transactions committed. The
    transaction that changes a row also writes the events about the change.
    A hello names the last event that the client has applied. The socket then gets every later event, each once and in
    order, until it closes. If the client cannot resume there, the events begin after the seq in the welcome.
    The server sends only committed events.
    A slow reader fills a bounded queue. When the queue is full, the server closes the socket. The client resumes after
    the last event that it has applied, so it loses no event.
Concurrency
    `append` locks the row of each stream that it writes to, until the commit. Therefore the numbers have no gaps, and
    events have the order of their commits. `append` locks streams in (role, user id) order, after all other rows.
    A process's `Hub` runs on one event loop. It decides what to send to a socket without an await in between.
Relies on
    No signal has to arrive: signals only make delivery faster. Every 3 s the hub compares the heads of its users'
    streams with PostgreSQL. A socket that finds a gap reads the missing events.
"""
