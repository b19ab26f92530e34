"""Blocks: two people who are never paired again (T.1).

Guarantees: a block exists only between two who had a session together. A person has at most MAX_BLOCKS_PER_PERSON own
blocks. Only the side that blocked undoes its block, and the other side learns nothing.

Whoever opens a payment calls `lock_blocks_of` first. Whoever opens a pairing reads `blocks` in a statement that begins
after the lock of the payment. Record 0140 has the reasons.
"""
