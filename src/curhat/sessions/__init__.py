"""Chat sessions: messages, read marks, the end by time or by a member, extensions, history.

Guarantees:
    The server has committed each acknowledged message exactly once. A second request with the same `client_message_id`
    gets the first message. The second request gets the first message even if the two requests run at the same time, and
    even after the session has ended.
    The server accepts no message after the session has ended. Except while an extension is open, the server accepts no
    message at or after `ends_at` by the database's clock.
    A person sends at most 20 messages in 5 s and 60 in a minute. With several server processes, a person can send a few
    messages more (pace.py).
    A session ends once, for one reason. The worker never ends a session before its time is over. A member never ends
    a session after its time is over. A member who leaves then ends it by time, if no worker has done so yet (T.5).
    The text of a session is deleted once, and never while a report holds it (invariant 14). Neither member can read a
    text that the customer deleted.
Concurrency:
    A transaction that deletes text, and a transaction that reports a session, lock the session's row first.
    Messages that arrive together in one process share a transaction (writer.py). A transaction that sends a message,
    marks messages as read or ends a session first locks the session's row. The transaction then checks its conditions.
    So the steps of one session happen one after the other, and message ids increase in commit order. The lock does not
    reduce concurrency, because the locks of the members' streams would serialise the session's messages anyway. A
    transaction locks sessions in id order, then the mitra, then the streams. Before a batch locks its sessions, it
    takes the advisory locks of its fast senders in the order of roles and ids. PostgreSQL must count the messages of a
    fast sender (pace.py).
Relies on:
    The unique constraint `messages_once`, row locks, and `curhat_now()`.
    The view `held_sessions` of safety, which lists the sessions whose text is held, and the triggers that refuse to
    delete a held text.
    The function `journeys.searching.accept` arms the deadline `session_end`.
"""
