"""`curhat erasures replay` deletes the accounts of the list of erasures again, in a restored database."""

import argparse
import asyncio
from pathlib import Path
from typing import Final

from curhat.app.cli.common import CommandError, Subparsers, database_url_of, joined_settings
from curhat.kit.database import Database
from curhat.kit.settings import PREFIX, Settings

STATEMENT_TIMEOUT_MS: Final = 900_000
NEEDED: Final = ("DATABASE_URL", "SECRET_KEY", "ERASURE_LIST", "DATA_DIR")


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "erasures",
        help="delete accounts again that a restore has brought back",
        description="A worker writes each deletion of an account to the list of erasures, outside the database. "
        "A restored database can hold accounts that were deleted later.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    replay = commands.add_parser(
        "replay",
        help="delete the accounts of the list again",
        description="Delete the accounts of the list again. A repeated call changes nothing. "
        "`curhat restore --finish` does this by itself, before it opens the database.",
    )
    replay.add_argument(
        "lists",
        nargs="*",
        type=Path,
        metavar="FILE",
        help=f"the lists of all workers (default: the file in {PREFIX}ERASURE_LIST)",
    )
    replay.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    settings = joined_settings(NEEDED)
    lists = arguments.lists or ([] if settings.erasure_list is None else [settings.erasure_list])
    if not lists:
        raise CommandError(f"{PREFIX}ERASURE_LIST is not set; name the file of the list")
    asyncio.run(_replay(settings, lists))
    return 0


async def _replay(settings: Settings, lists: list[Path]) -> None:
    from curhat.privacy.erasure import service
    from curhat.privacy.erasure.erasure_list import ListError

    database = await Database.connect(
        database_url_of(settings),
        pool_size=2,
        application_name="curhat erasures",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
        may_be_restored=True,
    )
    try:
        for path in lists:
            deleted, listed = await service.replay(database, settings.secret_key, path)
            print(f"{path}: {listed} erasures, {deleted} accounts were deleted again")
    except ListError as error:
        raise CommandError(str(error), 1) from error
    finally:
        await database.close()
