"""`python -m bench capacity --sessions 100000` prints the machines for so many running sessions, and the limits.

`--measure` measures the constants on this machine first. It writes them to bench/capacity/constants.json, and the
tables of docs/scaling.md.
"""

import argparse
from dataclasses import fields, replace

import uvloop

from bench.capacity.calculator import Habits, describe
from bench.capacity.constants import FILE, Constants, read_constants, write_constants
from bench.capacity.measuring import measure_constants
from bench.capacity.page import PAGE, page_with_tables
from bench.harness.testbed import testbed

# Above this share, other programs have changed the constants.
QUIET_SHARE = 0.1


def run(arguments: list[str], commit: str) -> int:
    """Measure if wanted, and print. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench capacity", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[2_000, 100_000, 1_000_000])
    parser.add_argument(
        "--measure", action="store_true", help="measure the constants first (about five minutes)"
    )
    parser.add_argument("--page", action="store_true", help="write the tables of docs/scaling.md")
    for habit in fields(Habits):
        parser.add_argument(f"--{habit.name.replace('_', '-')}", type=float, default=habit.default)
    given = parser.parse_args(arguments)
    if min(given.sessions) < 1:
        parser.error("the number of sessions must be at least 1")
    if given.measure:
        write_constants(uvloop.run(_measured(commit)))
        print(f"Written to {FILE}")
    if given.measure or given.page:
        PAGE.write_text(
            page_with_tables(PAGE.read_text(encoding="utf-8"), read_constants()), encoding="utf-8"
        )
    constants = read_constants()
    habits = replace(Habits(), **{item.name: getattr(given, item.name) for item in fields(Habits)})
    busy = (
        ""
        if constants.busy_share <= QUIET_SHARE
        else f" Other programs used {constants.busy_share:.0%} of the processors: measure again on a quiet machine."
    )
    print(
        f"Constants of {constants.measured_at[:10]}, commit {constants.commit}, {constants.machine}.{busy}\n"
        "A plan on paper: prove it by a load test before you rely on it.\n"
    )
    for sessions in given.sessions:
        print("\n".join(describe(sessions, constants, habits)), end="\n\n")
    return 0


async def _measured(commit: str) -> Constants:
    async with testbed() as built:
        return await measure_constants(built, commit)
