"""Deletes an account, and erases what the tables hold of its owner (P.3, P.4, P.5).

Guarantees:
    A person deletes the account with a fresh code. The deletion is one transaction: the name and the phone number are
    gone, every token is revoked, the text of each chat is hidden from both sides, and the row in `erasures` exists. A
    deletion and a new payment, or an accept, never both succeed: each waits for the lock of the account, and then
    compares. A worker then erases the rest, room by room. Each room has a transaction of its own, and a repeated call
    of a room changes nothing. So the erasure goes on after a crash between any two rooms.
    The text of a chat is deleted 72 hours after the last session, at the latest 72 hours after the deletion. A text
    that a report holds stays until the hold ends, and is deleted then.
    Each erasure is written to a list outside the database. An erasure is finished only when the list has it. A restored
    database gets the erasures of the list again before a process serves it.
    Payments, charges, refunds, pairings, sessions without their text, extensions, cases and the audit stay, for
    accounting. They refer to a person without a name and a number.
Concurrency:
    The deletion locks the phone number (an advisory lock), then the sessions, the person, the account, and then what
    the other packages lock. A sign-in with the same number waits for the first lock.
Relies on:
    Each package below has a function `erase(tx, role, user_id)`. It returns True if the worker must call it again.
    docs/decisions/0150-what-an-erasure-destroys-and-what-stays.md lists every column that can hold a person's text.
"""
