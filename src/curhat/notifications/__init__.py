"""Push: who may be pushed to, the outbox of messages, and how a message reaches a push service.

Guarantees
    A subscription belongs to one sign-in and ends with it. Nothing is sent under a token that admits nobody.
    This server connects to public addresses only, whatever a subscription says or a name resolves to, and over https
    only (in development, also to this machine).
    A push service, and everyone between it and the browser, learns that a message exists, never its text (RFC 8291).
    The text holds no chat text, no reason, no name and no phone number.
    The transaction that gives the reason for a push also records that reason (migrations/0006_push.sql). The push is
    tried until it expires, and never sent after that. After a crash between sending and recording, a message may be
    sent twice. Both have one topic, so the second replaces the first.
    When a push service says that a subscription is gone, it is deleted. After MAX_FAILURES failed messages in a row a
    subscription has failed. It then makes no mitra push-reachable (1.1), until a message arrives or the app subscribes
    again.
How it works
    service.py      subscriptions and the outbox's rows, in the caller's transaction
    outbox.py       claims rows, sends between transactions, records the outcomes; runs in the workers
    port.py         the port that every way of pushing fits: Web Push (web_push.py), later FCM
    addresses.py    whether an endpoint may be called
    ../journeys/push.py finds out who is not connected, and fills the outbox
Concurrency
    Any number of workers may run. A worker claims a row by moving its due time, with SKIP LOCKED. Rows are locked in
    the order person, subscription, mitra.
"""
