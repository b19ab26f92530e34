"""Reading a chat (P.8): each look has a reason and a ground, and leaves an audit entry.

A ground is a report, a concern or a case of the session, or a legal order. Without one, the look waits until another
operator approves it.
"""
