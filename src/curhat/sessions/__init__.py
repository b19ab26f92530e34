"""Chat sessions: messages, read marks, the end by time or by a member, extensions, history.

Guarantees
    An acknowledged message is committed, once. A repeated `client_message_id` returns the first message, also when the
    two race, and also after the end. By the database's clock, no message is sent at or after `ends_at`, nor after the
    end of its session. A session ends once, for one reason: by time never early, and by a member never after its time.
Concurrency
    Messages that arrive together in one process share a transaction (writer.py). Sending, marking as read and ending
    each lock the session's row first and then compare. So the steps of one session have one order, and the ids of its
    messages grow in the order of their commits. The lock costs no concurrency, since the session's two streams would
    serialise its messages anyway. Locks: sessions in id order, then the mitra, then the streams.
Relies on
    `messages_once`, row locks, `curhat_now()`, and the deadline `session_end`, which the accept arms.
"""
