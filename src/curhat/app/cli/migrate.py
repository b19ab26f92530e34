"""`curhat migrate`: applies the migrations that the database lacks."""

import argparse
import asyncio

from curhat.app.cli.common import CommandError, Subparsers, database_url_of, joined_settings
from curhat.kit import migrations
from curhat.kit.connecting import connect_to_writer
from curhat.kit.roles import RoleError, checked_logins, grant_to_serving_role
from curhat.kit.server_urls import database_login


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "migrate",
        help="apply the migrations that the database lacks",
        description="Apply the files of migrations/ that the database lacks, in order. Each file runs in its own "
        "transaction, or builds one index concurrently. Safe to repeat, and safe to start twice at once. If "
        "CURHAT_OWNER_DATABASE_URL is set, connect with it, and let the role of CURHAT_DATABASE_URL use what is new.",
    )
    phase = parser.add_mutually_exclusive_group()
    for name, help_text in (
        ("before", "before the restart of the processes: apply what the running version can live with"),
        ("after", "when every process runs this version: apply what only older versions cannot live with"),
    ):
        phase.add_argument(
            f"--{name}", dest="phase", action="store_const", const=name, default="all", help=help_text
        )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    settings = joined_settings(["DATABASE_URL", "OWNER_DATABASE_URL"])
    serving_url = database_url_of(settings)
    try:
        applied = asyncio.run(
            _migrate(settings.owner_database_url or serving_url, serving_url, arguments.phase)
        )
    except RoleError as error:
        raise CommandError(str(error)) from error
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print(
            "nothing to apply" if arguments.phase == "after" else "nothing to apply: the database is current"
        )
    return 0


async def _migrate(url: str, serving_url: str, phase: migrations.Phase) -> list[str]:
    connection = await connect_to_writer(url)
    try:
        applied = await migrations.migrate(connection, phase=phase)
        if url != serving_url:
            _, serving = checked_logins(database_login(url), database_login(serving_url))
            await grant_to_serving_role(connection, serving.user)
        return applied
    finally:
        await connection.close()
