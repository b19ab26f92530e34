"""Push: who may be pushed to, the outbox of messages, and how a message reaches a push service.

Guarantees
    A subscription belongs to one sign-in and ends with it. Nothing is sent for a token that is no longer valid.
    This server connects only to public addresses, whatever a subscription contains or a name resolves to. It uses
    only https. In development it may also connect to this machine.
    A push service, and everyone between it and the browser, learns that a message exists, but never its text (RFC
    8291). The text contains no chat text, no reason, no name and no phone number.
    The transaction that causes a push also records its reason (migrations/0006_push.sql). The worker tries the push
    until it expires, and never sends it later. After a crash between sending and recording, a message may be sent
    twice. Both copies have one topic, so the second replaces the first.
    If a push service reports that a subscription is gone, the subscription is deleted. After MAX_FAILURES failed
    messages in a row, a subscription has failed. Then it makes no mitra push-reachable (1.1) until a message arrives
    or the app subscribes again.
How it works
    service.py         subscriptions and the outbox's rows, in the caller's transaction
    outbox.py          claims rows, sends between transactions, records the outcomes; runs in the workers
    port.py            the interface of every push channel: Web Push (web_push.py), later FCM
    addresses.py       whether an endpoint may be called
    ../journeys/push.py  finds the people who are not connected, and fills the outbox
Concurrency
    Any number of workers may run. A worker claims a row by moving its due time, with SKIP LOCKED. Rows are locked in
    the order person, subscription, mitra.
"""
