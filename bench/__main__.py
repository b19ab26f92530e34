"""`python -m bench [NAMES…]`: measures all claims, or those named, and ends with one table."""

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from bench import accept, availability, blast, deadlines, growth, idle_sockets, messages, push, start, windows
from bench.claims import Measure, Options
from bench.harness import load
from bench.harness.report import Figure, line, print_table, write_json
from bench.harness.stand import busy_share, machine, stand

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
}
# Nothing of ours is at work before a claim begins, PostgreSQL's own housekeeping apart.
QUIET_SHARE: Final = 0.1
RESULTS: Final = Path(".cache/bench/latest.json")


def main() -> int:
    """0 when everything was measured, whatever the figures say; 1 when a measurement itself failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(CLAIMS)}; none: all of them"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=1_000_000,
        help="old messages in the large database of the claim growth (default 1,000,000; the full claim: 10000000)",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CLAIMS)
    if unknown:
        parser.error(f"no such claim: {', '.join(sorted(unknown))}; there are {', '.join(CLAIMS)}")
    names = [name for name in CLAIMS if name in arguments.names or not arguments.names]
    return uvloop.run(_run(names, Options(rows=arguments.rows)))


async def _run(names: list[str], options: Options) -> int:
    # Wide enough for the table where there is no terminal to say how wide it is.
    console = Console(width=None if sys.stdout.isatty() else 180)
    about = machine()
    console.print(
        f"{about['processors']} processors ({about['processor']}), {about['memory_gib']} GiB; server, PostgreSQL, "
        f"Valkey and the load generator share them. HTTP load: {load.generator()}.",
        highlight=False,
    )
    figures: list[Figure] = []
    failed: list[str] = []
    async with stand() as built:
        for name in names:
            console.print(f"\n{name} …", style="bold")
            busy = await busy_share(1.0)
            if busy > QUIET_SHARE:
                console.print(
                    f"  the machine is {busy:.0%} busy with something else: these figures will be too low",
                    style="yellow",
                )
            begun = time.monotonic()
            try:
                measured = await CLAIMS[name](built, options)
            except Exception:  # noqa: BLE001  the other claims are still worth measuring
                traceback.print_exc()
                failed.append(name)
                continue
            for figure in measured:
                console.print(f"  {line(figure)}", highlight=False, markup=False)
            console.print(f"  ({time.monotonic() - begun:.0f} s)", style="dim", highlight=False)
            figures += measured
    console.print()
    print_table(console, figures)
    if RESULTS.parent.parent.parent.is_dir():
        write_json(RESULTS, figures, about)
        console.print(f"\nAlso in {RESULTS}", highlight=False)
    if failed:
        console.print(f"Not measured, because the measurement failed: {', '.join(failed)}", style="red")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
