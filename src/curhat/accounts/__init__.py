"""Customers and mitras: phone numbers, one-time codes, tokens, names, invitation and suspension.

Guarantees
    Asking for a code looks at nothing but the codes sent to that number: known, unknown, invited or suspended,
    the answer and its time are the same.
    A code is six digits bound to its request, stored as an HMAC whose key the database does not have, good for
    5 minutes, 5 tries and one use. Limits per phone are kept in PostgreSQL and are the same in every environment;
    asking for another code resets none of them. Limits per network address are kept in Valkey, and let everybody
    through while Valkey is away.
    A token is 256 random bits, stored as its SHA-256, new at each sign-in, good for 30 days. What revokes it, or
    suspends its owner, shuts the owner out within 3 s everywhere, also when every signal is lost.
Concurrency
    Whatever counts codes or tries of a phone first takes that phone's advisory lock, in a statement of its own, so
    that the next statement sees what the one before it in the queue has committed.
Relies on
    the code sender port (code_sender.py), called between transactions; the channel `sockets`, whose payload is
    `SocketsToClose`.
"""
