"""`python -m tests.simulation.planted_bugs` plants one deliberate fault after another, and checks that a test fails.

With arguments, the command plants only the faults whose name contains one of the arguments. An example is `…
planted_bugs fallback "missing answer"`. If no test fails for a fault, the exit status is 1.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.simulation.bugs import BUGS, Bug

TIMEOUT_SECONDS = 600
# The tests run in two processes, like the whole suite.
CONCURRENT_BUGS = 2


def is_caught(bug: Bug) -> tuple[bool, str, float]:
    """Run the tests of the bug while the bug is planted.

    Returns whether a test failed, the test's name or the end of the output, and the duration in seconds.
    """
    begun = time.monotonic()
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *bug.tests],
            env={**os.environ, "PLANTED_BUG": bug.name},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no test failed within {TIMEOUT_SECONDS} s", time.monotonic() - begun
    failed = [line for line in finished.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # pytest exits with 1 when a test failed. Other statuses prove nothing, for example the status of an internal error.
    caught = finished.returncode == 1 and bool(failed) and "LookupError" not in finished.stdout
    said = failed[0] if failed else (finished.stdout + finished.stderr).strip()[-300:]
    return caught, said.split(" - ")[0], time.monotonic() - begun


def main() -> int:
    """Plant the bugs, and print two lines per bug."""
    words = sys.argv[1:]
    bugs = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    if not bugs:
        print("no planted bug has one of these words in its name", file=sys.stderr)
        return 2
    missed = 0
    with ThreadPoolExecutor(CONCURRENT_BUGS) as threads:
        results = zip(bugs, threads.map(is_caught, bugs), strict=True)
        for number, (bug, (caught, said, seconds)) in enumerate(results, start=1):
            missed += not caught
            word = "caught" if caught else "MISSED"
            print(f"{number:2} {word}  {bug.name}  ({seconds:.0f} s)\n     {said}", flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
