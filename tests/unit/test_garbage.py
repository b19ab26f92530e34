"""Test that a serving process rarely stops for a full garbage collection (record 0134)."""

import subprocess
import sys

# The process keeps a million new objects. It prints how many full collections that costs, and how many of the objects
# that it had loaded before are left out of them.
KEEP_OBJECTS = """
import gc
from curhat.kit.garbage import collect_rarely
collect_rarely()
before = gc.get_stats()[2]["collections"]
kept = [[] for _ in range(1_000_000)]
print(gc.get_stats()[2]["collections"] - before, gc.get_freeze_count())
"""


def test_a_million_new_objects_cost_no_full_collection_and_loaded_objects_are_left_out() -> None:
    done = subprocess.run([sys.executable, "-c", KEEP_OBJECTS], capture_output=True, text=True, check=True)
    full_collections, left_out = map(int, done.stdout.split())
    assert full_collections == 0
    assert left_out > 5_000
