"""Customers and mitras: phone numbers, one-time codes, tokens, names, invitation and suspension.

Guarantees
    A request for a code reads only the codes sent to that number. The answer and its time are therefore the same
    whether the number is known, unknown, invited or suspended.
    A code is six digits bound to its request. It is stored as an HMAC whose key the database does not have. It is
    valid for 5 minutes, 5 tries and one use.
    The limits per phone are kept in PostgreSQL and are the same in every environment. A request for another code resets
    none of them. The limits per network address are kept in Valkey; while Valkey is away they refuse nobody.
    A token is 256 random bits, stored as its SHA-256, new at each sign-in, valid for 30 days. A sign-out or a
    suspension takes effect in every process within 3 s, even when every signal is lost.
Concurrency
    A transaction that counts the codes or tries of a phone first takes that phone's advisory lock, in a statement of
    its own. Its next statement therefore sees what the last holder of the lock has committed.
Relies on
    The code sender port (code_sender.py), which is called between transactions. The channel `sockets`, whose payload is
    `SocketsToClose`.
"""
