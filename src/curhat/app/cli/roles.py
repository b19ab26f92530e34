"""`curhat roles`: makes the two PostgreSQL roles of production, and the database."""

import argparse
import asyncio

import asyncpg

from curhat.app.cli.common import CommandError, Subparsers, joined_settings
from curhat.kit.server_urls import database_login
from curhat.kit.settings import PREFIX

DESCRIPTION = """\
Make the two PostgreSQL roles of production and the database, or correct them. The owner migrates; the serving role
reads and writes rows, and can only add to the audit. An installation with one role becomes one with two.

The command reads three settings, of which only the first needs a role that exists:
CURHAT_ADMIN_DATABASE_URL, a role that may create roles and databases, such as postgres;
CURHAT_OWNER_DATABASE_URL, the role that will own everything, for curhat migrate;
CURHAT_DATABASE_URL, the role of curhat serve and curhat worker.
Safe to repeat: run it again after a password in one of the URLs has changed."""


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "roles",
        help="make the two PostgreSQL roles of production, and the database",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    from curhat.kit.roles import RoleError

    needs = ("ADMIN_DATABASE_URL", "OWNER_DATABASE_URL", "DATABASE_URL")
    settings = joined_settings(needs)
    urls = (settings.admin_database_url, settings.owner_database_url, settings.database_url)
    for name, url in zip(needs, urls, strict=True):
        if url is None:
            raise CommandError(f"{PREFIX}{name} is not set; see curhat roles --help")
    try:
        asyncio.run(_make(*(url or "" for url in urls)))
    except RoleError as error:
        raise CommandError(str(error)) from error
    return 0


async def _make(admin_url: str, owner_url: str, serving_url: str) -> None:
    from curhat.kit import roles

    owner, serving = roles.checked_logins(database_login(owner_url), database_login(serving_url))
    admin = await asyncpg.connect(admin_url)
    try:
        for sentence in await roles.make_roles(admin, owner, serving):
            print(sentence)
    finally:
        await admin.close()
    admin = await asyncpg.connect(admin_url, database=owner.database)
    try:
        await roles.prepare_database(admin, owner.user, serving.user)
    finally:
        await admin.close()
    print(f"{owner.user} owns everything in {owner.database}; {serving.user} may use it")
