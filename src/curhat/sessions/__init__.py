"""Chat sessions: messages, read marks, the end by time or by a member, extensions, history.

Guarantees
    An acknowledged message is committed, exactly once. A repeated `client_message_id` returns the first message. This
    holds even if the two requests race, and after the session ended.
    By the database's clock, no message is sent at or after `ends_at`, or after the end of its session.
    A session ends once, for one reason. It never ends early by time, and a member never ends it after its time.
Concurrency
    Messages that arrive together in one process share a transaction (writer.py).
    Sending, marking as read and ending each lock the session's row first, and then compare. So the steps of one
    session happen one after the other, and the ids of its messages grow in the order of their commits. The lock costs
    no concurrency, because the locks of the members' streams would serialise the session's messages anyway.
    Locks: sessions in id order, then the mitra, then the streams.
Relies on
    `messages_once`, row locks, `curhat_now()`, and the deadline `session_end`, which the accept arms.
"""
