"""`curhat mitra invite`: invites a mitra."""

import argparse

from curhat.app.cli.common import Subparsers, in_transaction, joined_settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("mitra", help="invite a mitra", description="Manage mitras.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    invite = commands.add_parser(
        "invite",
        help="let the owner of a phone number sign in as a mitra",
        description="Let the owner of a phone number sign in as a mitra. A second invitation changes nothing.",
    )
    invite.add_argument("phone", metavar="PHONE", help="08…, 8…, 62… or +62…")
    invite.add_argument("--name", required=True, help="what customers see")
    invite.add_argument(
        "--max-customers", required=True, type=int, metavar="N", help="how many customers at once, 1 to 20"
    )
    invite.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from curhat.accounts.service import invite_mitra

    regions = joined_settings(["DATABASE_URL", "PHONE_REGIONS"]).phone_regions
    invited = in_transaction(
        lambda tx: invite_mitra(
            tx, arguments.phone, arguments.name, arguments.max_customers, phone_regions=regions
        )
    )
    if invited.is_new:
        print(f"{arguments.name} may sign in as a mitra with {arguments.phone}")
    else:
        print(f"{arguments.phone} is a mitra already; nothing was changed")
    return 0
