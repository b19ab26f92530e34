"""Push: who may be pushed to, what waits in the outbox, and how it gets to a push service.

Guarantees
    A subscription belongs to one sign-in and goes with it. Nothing is sent under a token that admits nobody.
    No connection is made to an address that is not public, whatever a subscription says or a name resolves to;
    none to anything but https (in development, also to this very machine).
    A push service, and whoever stands between, learns that a message exists, never what it says (RFC 8291). What it
    says holds no chat text, no reason, no name and no phone number.
    What is worth a push is noted in the transaction that gives the reason for it (migrations/…_push.sql), tried again
    while its time lasts, and never sent after it. A message may come twice, after a crash between the sending and the
    note of it: both have one topic, and the second replaces the first.
    A subscription whose push service says that it is gone is removed. One that fails several times in a row has
    failed: it is not push-reachability (1.1) until it works again or the app subscribes anew.
How it works
    service.py      subscriptions and the outbox's rows, in the caller's transaction
    outbox.py       claims rows, sends between transactions, notes what came of it; in the workers
    port.py         what a way of pushing is: Web Push now (web_push.py), FCM as a second one later
    addresses.py    whether an endpoint may be called
    ../journeys/push.py looks who is not connected, and fills the outbox
Concurrency
    A row is claimed by moving its time on, with SKIP LOCKED: any number of workers. Rows are locked in the order
    person, subscription, mitra.
"""
