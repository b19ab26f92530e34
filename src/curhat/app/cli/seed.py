"""`curhat seed`: writes the seed data into the database."""

import argparse

from curhat.app.cli.common import Subparsers, in_transaction, joined_settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "seed",
        help="write prices and help lines, and in development the demo accounts",
        description="Write the price tiers and the help lines of this release, and in development ten demo mitras and "
        "an admin. Repeated, it changes nothing. Help lines that operators published stay.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    from curhat.app.seed import seed

    settings = joined_settings(["DATABASE_URL"])
    if settings.is_development:
        # The password of the demo admin comes from the secret key.
        settings = joined_settings()
    accounts = in_transaction(lambda tx: seed(tx.connection, settings))
    print("the prices and the help lines are there")
    for account in accounts:
        print(f"{account.role}  {account.sign_in}  {account.name}  ({account.note})")
    return 0
