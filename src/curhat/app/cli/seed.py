"""`curhat seed`: writes the seed data into the database."""

import argparse

from curhat.app.cli.common import Subparsers, in_transaction, joined_settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "seed",
        help="write prices, help lines and drafts of the texts, and in development the demo accounts",
        description="Write the price tiers, the help lines of this release, and the drafts of the texts that people "
        "accept (terms, privacy notice, use of health data, code of conduct). In development, also write ten demo "
        "mitras and an admin. Repeated, it changes nothing. What operators published stays.",
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
    print("the texts that people accept are there; curhat doctor says which are drafts")
    for account in accounts:
        print(f"{account.role}  {account.sign_in}  {account.name}  ({account.note})")
    return 0
