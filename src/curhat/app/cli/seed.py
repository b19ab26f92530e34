"""`curhat seed`: writes the seed data into the database."""

import argparse
import asyncio
from typing import TYPE_CHECKING

import asyncpg

from curhat.app.cli.common import database_url_of, joined_settings
from curhat.kit.settings import Settings

if TYPE_CHECKING:
    from curhat.app.cli.common import Subparsers


def add_to(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "seed",
        help="write prices, and in development the demo accounts",
        description="Write the price tiers, and in development ten demo mitras and an admin. Repeated, it changes "
        "nothing.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Write the seed data and print the demo accounts."""
    settings = joined_settings()
    asyncio.run(_seed(database_url_of(settings), settings))
    return 0


async def _seed(url: str, settings: Settings) -> None:
    from curhat.app.seed import seed

    connection = await asyncpg.connect(url)
    try:
        for account in await seed(connection, settings):
            print(f"{account.role}  {account.sign_in}  {account.name}  ({account.note})")
    finally:
        await connection.close()
