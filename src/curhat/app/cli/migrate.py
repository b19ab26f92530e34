"""`curhat migrate`: applies the migrations that the database lacks."""

import argparse
import asyncio

from curhat.app.cli.common import Subparsers, database_url_of, joined_settings
from curhat.kit import migrations
from curhat.kit.connecting import connect_to_writer


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "migrate",
        help="apply the migrations that the database lacks",
        description="Apply the files of migrations/ that the database lacks, in order. Each file runs in its own "
        "transaction, or builds one index concurrently. Safe to repeat, and safe to start twice at once.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    applied = asyncio.run(_migrate(database_url_of(joined_settings())))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to apply: the database is current")
    return 0


async def _migrate(url: str) -> list[str]:
    connection = await connect_to_writer(url)
    try:
        return await migrations.migrate(connection)
    finally:
        await connection.close()
