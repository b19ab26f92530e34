"""Chat sessions: messages, read marks, the time box, ending, history.

Guarantees
    A message that was acknowledged is committed, once: a repeated `client_message_id` gives the first message
    back, also in a race of two and also after the end. No message is sent at or after `ends_at` by the
    database's clock, nor after the end of its session. A session ends once, for one reason; time never ends
    it early, and nobody ends it by hand once its time is over.
Concurrency
    Messages that arrive together in one process share a transaction (writer.py). Sending, marking as read and
    ending each take the session's row first and then compare, so what happens in one session happens in one
    order: the ids of its messages grow in the order of their commits. The session's two streams would
    serialise its messages anyway. Locks: sessions in id order, then the mitra, then the streams.
Relies on
    `messages_once`, row locks, `curhat_now()`, and the deadline `session_end` that the accept arms.
"""
