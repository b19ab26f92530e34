"""`python -m bench [NAME…]` measures the named claims and prints one table.

Without a name, the command measures all claims.

`python -m bench capacity` computes machines (bench/capacity/).

A run of all claims also writes the table to bench/RESULTS.md, with the date, the commit and the machine.
"""

import argparse
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from bench import (
    accept,
    availability,
    blast,
    days,
    deadlines,
    growth,
    idle_sockets,
    lists,
    messages,
    push,
    start,
    windows,
)
from bench.capacity import command as capacity
from bench.claims import Measure, Options
from bench.harness import load
from bench.harness.report import Figure, line, print_table, write_json, write_markdown
from bench.harness.testbed import busy_share, machine, testbed

CLAIMS: Final[dict[str, Measure]] = {
    "availability": availability.measure,
    "accept": accept.measure,
    "deadlines": deadlines.measure,
    "windows": windows.measure,
    "blast": blast.measure,
    "messages": messages.measure,
    "push": push.measure,
    "idle-sockets": idle_sockets.measure,
    "start": start.measure,
    "growth": growth.measure,
    "lists": lists.measure,
    "days": days.measure,
}
# If other programs use more than this share of the processors, the benchmark prints a warning before it measures a
# claim. The background processes of PostgreSQL stay below this share.
MAX_BUSY_SHARE: Final = 0.1
JSON_FILE: Final = Path(".cache/bench/latest.json")
RESULTS_FILE: Final = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Measure the claims. The exit status is 1 if a measurement failed. A missed target does not change the exit
    status.
    """
    if sys.argv[1:2] == ["capacity"]:
        return capacity.run(sys.argv[2:], _commit())
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(CLAIMS)}; default: all of them"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        help="old messages in the large database of the claim growth (default: 1000000; the full claim: 10000000)",
    )
    parser.add_argument(
        "--day-messages",
        type=int,
        default=50_000,
        help="messages per simulated day of the claim days (default: 50000)",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CLAIMS)
    if unknown:
        parser.error(f"no such claim: {', '.join(sorted(unknown))}; there are {', '.join(CLAIMS)}")
    names = [name for name in CLAIMS if name in arguments.names or not arguments.names]
    return uvloop.run(_run(names, Options(rows=arguments.rows, day_messages=arguments.day_messages)))


async def _run(names: list[str], options: Options) -> int:
    # An output that is not a terminal has no known width. For such an output, use a width that fits the table.
    console = Console(width=None if sys.stdout.isatty() else 180)
    about, commit = machine(), _commit()
    console.print(
        f"{about['processors']} processors ({about['processor']}), {about['memory_gib']} GiB; server, PostgreSQL, "
        f"Valkey and the load generator share them. HTTP load: {load.generator()}.",
        highlight=False,
    )
    figures: list[Figure] = []
    failed: list[str] = []
    async with testbed() as built:
        for name in names:
            console.print(f"\n{name} …", style="bold")
            busy = await busy_share(1.0)
            if busy > MAX_BUSY_SHARE:
                console.print(
                    f"  other programs use {busy:.0%} of the processors: these figures will be too low",
                    style="yellow",
                )
            begun = time.monotonic()
            try:
                measured = await CLAIMS[name](built, options)
            except Exception:  # noqa: BLE001  still measure the other claims
                traceback.print_exc()
                failed.append(name)
                continue
            for figure in measured:
                console.print(f"  {line(figure)}", highlight=False, markup=False)
            console.print(f"  ({time.monotonic() - begun:.0f} s)", style="dim", highlight=False)
            figures += measured
    console.print()
    print_table(console, figures)
    write_json(JSON_FILE, figures, about)
    console.print(f"\nWritten to {JSON_FILE}", highlight=False)
    if failed:
        console.print(f"Not measured, because the measurement failed: {', '.join(failed)}", style="red")
        return 1
    if names == list(CLAIMS):
        write_markdown(RESULTS_FILE, figures, about, commit)
        console.print(f"Written to {RESULTS_FILE}", highlight=False)
    return 0


def _commit() -> str:
    """Return the short name of the checked-out commit. The text also says whether any file differs from the commit."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(RESULTS_FILE.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        name = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":!{RESULTS_FILE}")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} with changes that are not committed" if changed else name


if __name__ == "__main__":
    sys.exit(main())
