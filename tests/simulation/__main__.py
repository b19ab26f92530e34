"""`python -m tests.simulation --schedules 10000` runs seeded schedules. The option `--seed 42` repeats one schedule."""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import asyncpg

from curhat.dev.embedded import embedded_servers
from curhat.kit.database import Database
from curhat.kit.logging import configure_logging
from curhat.kit.migrations import migrate
from tests.simulation.checker import checker_of
from tests.simulation.simulation_state import BrokenInvariant, SimulationState
from tests.support.clock import install_virtual_clock
from tests.support.databases import parent_of_data_folders


async def run(seeds: list[int]) -> int:
    """Run these schedules on a new database.

    Stops at the first schedule that breaks an invariant, and returns 1. Otherwise returns 0.
    """
    with tempfile.TemporaryDirectory(prefix="curhat-simulation-", dir=parent_of_data_folders()) as folder:
        async with embedded_servers(Path(folder)) as servers:
            connection = await asyncpg.connect(servers.database_url)
            await migrate(connection)
            await install_virtual_clock(connection)
            # The run deletes the data at its end, so the data need not reach the disk.
            await connection.execute("ALTER SYSTEM SET fsync = off")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.close()
            database = await Database.connect(servers.database_url, pool_size=4, statement_timeout_ms=60_000)
            begun = time.monotonic()
            reached: Counter[str] = Counter()
            try:
                async with checker_of(database) as checker:
                    for number, seed in enumerate(seeds, start=1):
                        reached.update(await SimulationState(database, checker, seed).run())
                        if number % 50 == 0 or number == len(seeds):
                            seconds = time.monotonic() - begun
                            print(f"{number} of {len(seeds)} schedules, {seconds:.0f} s", flush=True)
            except BrokenInvariant as broken:
                print(broken, file=sys.stderr)
                return 1
            finally:
                await database.close()
    for outcome, schedules in sorted(reached.items()):
        print(f"{schedules:6} reached: {outcome}")
    return 0


def main() -> int:
    """Parse the arguments and run the schedules."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--first-seed", type=int, help="the seed of the first (default: random)")
    parser.add_argument("--seed", type=int, help="run only this schedule")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        seeds = [arguments.seed]
    else:
        first = arguments.first_seed if arguments.first_seed is not None else secrets.randbelow(10**9)
        seeds = list(range(first, first + arguments.schedules))
    configure_logging("error", "console")
    print(f"seeds {seeds[0]} to {seeds[-1]}")
    return asyncio.run(run(seeds))


if __name__ == "__main__":
    sys.exit(main())
