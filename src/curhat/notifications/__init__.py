"""Push: people's subscriptions, the outbox of push messages, and the workers that send these to push services.

In this package, a "message" without "chat" is a push message.

Guarantees
    A subscription belongs to one sign-in and ends with that sign-in. If the token of a subscription is not valid, the
    worker sends nothing to the subscription.
    This server connects only to public addresses, and only with https. Neither the content of a subscription nor the
    resolution of a host name can change this. In development, the server may also connect to its own machine.
    A push service of a browser learns that a message exists, but cannot read the message (RFC 8291). The same is true
    for everyone between the push service and the browser. FCM, which serves the native apps, can read a message. The
    message contains no chat text, no reason, no name and no phone
    number.
    The transaction that causes a push also records the reason for the push (migrations/0006_push.sql,
    0023_push_to_apps.sql, 0024_push_outcomes.sql). The worker tries to send a message until the message expires. It
    never sends an expired message. If a worker crashes after it sent a message and before it recorded the outcome,
    another worker sends the message again. Both copies have the same topic, so the second replaces the first.
    If a push service reports that a subscription is gone, the worker deletes the subscription. After MAX_FAILURES
    failed messages in a row, a subscription has failed. Push does not reach a mitra through a failed
    subscription (1.1). The subscription becomes good again when a message arrives or when the app subscribes again.
How it works
    service.py         subscriptions and the outbox's rows, in the caller's transaction
    outbox.py          claims rows, sends between transactions, records the outcomes; runs in the workers
    port.py            the interface of every push channel: Web Push (web_push.py) and FCM (fcm.py)
    addresses.py       which endpoints this server may connect to
    ../journeys/push.py  finds the people who are not connected, and fills the outbox
Concurrency
    Any number of workers may run. A worker locks due rows with SKIP LOCKED, and claims them by moving their due time
    into the future. Transactions lock rows in the order person, subscription, mitra.
"""
