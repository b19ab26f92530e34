"""Per-user event streams in PostgreSQL, and the sockets that send the events to clients.

Guarantees:
    A user's events are numbered 1, 2, 3, … without gaps, in the order in which their transactions committed. The
    transaction that changes a row also writes the events about the change.
    A hello names the last event that the client has applied. The server sends every event after the event in the hello,
    once and in order, until the socket closes. If the client cannot resume after the event in the hello, the server
    sends the events after the seq in the welcome.
    The server sends only committed events.
    The queue of a socket is bounded. If a slow client lets the queue fill up, the server closes the socket. The client
    resumes after the last event that it has applied, so the client loses no event.
Concurrency:
    `append` locks the row of each stream that it writes to, until the commit. Therefore the numbers have no gaps, and
    events have the order of their commits. `append` locks streams in (role, user id) order. The transaction must lock
    all its other rows before it calls `append`.
    Each process has one `Hub`, which runs on one event loop. The hub compares the seq of an event with the seq of a
    socket, sets the socket's seq, and sends the event. The hub does not await between these steps, so no other task
    changes the socket's seq between them.
Relies on:
    No signal is needed for delivery. Signals only make delivery faster. Every 3 s the hub compares the heads of its
    users' streams with PostgreSQL. If a socket has a gap, the hub reads the missing events from PostgreSQL.
"""
