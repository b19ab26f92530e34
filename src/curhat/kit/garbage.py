"""Keeps the garbage collector of Python from stopping a process that serves people.

CPython frees almost every object at once, by its reference count. The collector finds the rest: objects that refer to
each other. A full collection looks at every object of the process and stops the process meanwhile: about 200 ms with
1,500 open sockets. With the defaults of CPython, a busy server made a full collection every few seconds (record 0134).
"""

import gc
from typing import Final

# The collector looks at the youngest objects after this many more allocations than deallocations.
YOUNG_ALLOCATIONS: Final = 1_000
# It looks at the middle generation after this many collections of the youngest, and at all objects after this many of
# the middle generation: after 50,000,000 more allocations than deallocations.
YOUNG_COLLECTIONS: Final = 10
MIDDLE_COLLECTIONS: Final = 5_000


def collect_rarely() -> None:
    """Let full collections be rare, and leave out what the process has loaded so far. Call this before serving."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_ALLOCATIONS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
