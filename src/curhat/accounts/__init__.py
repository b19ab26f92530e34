"""Customers and mitras: phone numbers, one-time codes, tokens, names, invitation and suspension.

Guarantees
    A request for a code reads only the codes that were sent to that number. So its answer and its duration are the
    same whether the number is known, unknown, invited or suspended.
    A code is six digits and is valid for one request. It is stored as an HMAC whose key the database does not have.
    It is valid for 5 minutes, 5 tries and one use.
    The limits per phone are kept in PostgreSQL and are the same in every environment. A request for another code does
    not reset any of them. The limits per network address are kept in Valkey. While Valkey is away, they refuse
    nobody.
    A token is 256 random bits. It is stored as its SHA-256, is new at each sign-in, and is valid for 30 days. A
    sign-out or a suspension takes effect in every process within 3 s, even if every signal is lost.
Concurrency
    A transaction that counts the codes or tries of a phone first takes that phone's advisory lock, in a separate
    statement. So its next statement sees everything that the previous holder of the lock has committed.
Relies on
    The code sender port (code_sender.py), which is called between transactions. The channel `sockets`, whose payload
    is `SocketsToClose`.
"""
