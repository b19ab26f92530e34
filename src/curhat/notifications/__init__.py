"""Push: the subscriptions of people, the outbox of messages, and the worker's calls to push services.

Guarantees
    A subscription belongs to one sign-in and ends with it. The worker sends nothing for a token that is not valid.
    This server connects only to public addresses, whatever a subscription contains or a name resolves to. It uses
    only https. In development it may also connect to this machine.
    A push service, and everyone between it and the browser, learns that a message exists, but cannot read it (RFC
    8291). The message contains no chat text, no reason, no name and no phone number.
    The transaction that causes a push also records its reason (migrations/0006_push.sql). The worker tries to send the
    message until the message expires, and never after that. If a worker crashes between sending and recording, another
    worker sends the message again. Both copies have the same topic, so the second replaces the first.
    If a push service reports that a subscription is gone, the worker deletes the subscription. After MAX_FAILURES
    failed messages in a row, a subscription counts as failed. A failed subscription makes no mitra push-reachable (1.1)
    until a message arrives or the app subscribes again.
How it works
    service.py         subscriptions and the outbox's rows, in the caller's transaction
    outbox.py          claims rows, sends between transactions, records the outcomes; runs in the workers
    port.py            the interface of every push channel: Web Push (web_push.py), later FCM
    addresses.py       which endpoints this server may call
    ../journeys/push.py  finds the people who are not connected, and fills the outbox
Concurrency
    Any number of workers may run. A worker claims a row by moving its due time, with SKIP LOCKED. Transactions lock
    rows in the order person, subscription, mitra.
"""
