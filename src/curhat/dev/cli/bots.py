"""`curhat bots`: runs simulated mitras and customers, so that one person can try both sides of the product."""

import argparse
import asyncio

from curhat.app.cli.common import CommandError, Subparsers, database_url_of, joined_settings
from curhat.kit.database import Database


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "bots",
        help="run a few simulated mitras and customers (curhat up --bots)",
        description="Run simulated mitras, who accept and answer, and simulated customers, who ask, until Ctrl-C. "
        "One person can then try either side of the running make up. Their names end with (bot). Not for production.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Run the bots until Ctrl-C. Raises CommandError in production."""
    settings = joined_settings()
    if not settings.is_development:
        raise CommandError(
            "simulated people are for development: their codes come from the development inbox"
        )
    asyncio.run(_live(database_url_of(settings), settings.local_url))
    return 0


async def _live(database_url: str, url: str) -> None:
    from curhat.dev.simulate import bots
    from curhat.dev.simulate.main import http_client

    database = await Database.connect(database_url, pool_size=2, application_name="curhat bots")
    try:
        async with http_client() as http:
            await bots.live(database, http, url)
    finally:
        await database.close()
