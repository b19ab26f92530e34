"""Erases what the packages of safety hold of a deleted account, and gives a new account its inherited blocks.

Guarantees:
    `erase` deletes the blocks, the ratings and the notices of a deleted account, and the texts of its reports. A text
    of a report stays while the report holds the chat (T.2). The report itself stays without its text.
    A new account inherits the blocks of those who blocked an earlier account of the same phone number. An inherited
    block has no session. It is in no list, because its list would show that two accounts have one owner.
Relies on:
    The view `held_sessions` says for how long a report holds a chat.
"""
