"""`curhat reset`: removes the development data, so that the next `curhat up` starts with empty databases."""

import argparse
import asyncio
import shutil
from pathlib import Path
from typing import Final

from curhat.app.cli.common import CommandError, Subparsers, named_data_dir
from curhat.dev.child_processes import ProgramError

# Everything that `curhat up` and the settings write into a data directory. A reset removes only the names in WRITTEN,
# so every other file stays, even if CURHAT_DATA_DIR is wrong.
WRITTEN: Final = (
    *("postgres", "postgres.unfinished", "valkey", "logs"),
    *("run.json", "run.json.new", "secret_key", "vapid_private_key"),
)


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "reset",
        help="remove the development data (make reset)",
        description="Remove the databases, logs and keys in CURHAT_DATA_DIR. The next curhat up starts with empty "
        "databases. Refused while curhat up runs there.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Remove the data. Raises CommandError if `curhat up` runs in this data directory."""
    data_dir = named_data_dir()
    if not data_dir.exists():
        print(f"{data_dir} does not exist; there is nothing to remove")
        return 0
    try:
        asyncio.run(_remove(data_dir))
    except ProgramError as error:
        raise CommandError(str(error), exit_status=1) from error
    print(f"the development data in {data_dir} is removed")
    return 0


async def _remove(data_dir: Path) -> None:
    from curhat.dev.embedded import EmbeddedServers, lock_data_dir

    with lock_data_dir(data_dir):
        # End servers that are still running after their `curhat up` was killed. Otherwise, the servers would write
        # into the removed folders.
        servers = EmbeddedServers(data_dir)
        await servers.postgres.end_leftovers()
        await servers.valkey.end_leftovers()
        await servers.stop()
        for name in WRITTEN:
            path = data_dir / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
