"""Push: people's subscriptions, the outbox of push messages, and the workers that send the messages to push services.

In this package, a "message" without "chat" is a push message.

Guarantees:
    A subscription belongs to one sign-in and ends with that sign-in. If the token of a subscription is not valid, the
    worker sends nothing to the subscription.
    This server connects only to public addresses, and only with https. No content of a subscription and no resolution
    of a host name can make this server connect elsewhere. In development, the server can connect to its own machine,
    too.
    A push service of a browser learns that a message exists, but cannot read the message (RFC 8291). Nobody between the
    push service and the browser can read the message either. FCM, which serves the native apps, can read a message. A
    message contains no chat text, no reason, no name and no phone number.
    The transaction that causes a push also records the reason for the push (migrations/0006_push.sql,
    0023_push_to_apps.sql, 0028_push_outcomes.sql, 0030 to 0032). The worker tries to send a message until the message
    expires. The worker never sends an expired message. If a worker crashes after it sent a message and before it
    recorded the outcome, another worker sends the message again. The two copies have the same topic, so the second copy
    replaces the first copy.
    If a push service reports that a subscription is gone, the worker deletes the subscription. After MAX_FAILURES
    failed messages in a row, a subscription has failed. Push does not reach a mitra through a failed subscription
    (1.1). A failed subscription becomes good again when a message arrives or when the app subscribes again.
How it works:
    `service.py` writes subscriptions and the outbox's rows in the caller's transaction.
    `outbox.py` claims rows, sends messages between transactions, and records the outcomes in the workers.
    `port.py` has the interface of the two push channels, Web Push (web_push.py) and FCM (fcm.py).
    `addresses.py` decides to which endpoints this server is allowed to connect.
    `../journeys/push.py` finds the people who are not connected, and fills the outbox.
Concurrency:
    Any number of workers can run. A worker locks due rows with SKIP LOCKED, and claims the rows by moving their due
    time into the future. Transactions lock rows in the order person, subscription, mitra.
"""
