"""`curhat operator create`: let a person sign in to the Control Center."""

import argparse
from typing import TYPE_CHECKING

from curhat.app.cli.common import in_transaction

if TYPE_CHECKING:
    from curhat.app.cli.common import Subparsers


def add_to(subparsers: "Subparsers") -> None:
    """Make the command known."""
    parser = subparsers.add_parser(
        "operator", help="create an operator of the Control Center", description="What concerns operators."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = commands.add_parser(
        "create",
        help="let somebody sign in to the Control Center",
        description="Let somebody sign in to the Control Center. The password is made here and shown once; its owner "
        "sets up an authenticator app at the first sign-in, and may change the password then.",
    )
    create.add_argument("email", metavar="EMAIL", help="what the operator signs in with")
    create.add_argument(
        "--role",
        choices=("admin", "reviewer", "viewer"),
        default="admin",
        help="admin: everything; reviewer: looks and decides; viewer: looks (default: admin)",
    )
    create.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Create, and show the password."""
    from curhat.control_center.operators import passwords
    from curhat.control_center.operators.service import create_operator, normalised_email

    password = passwords.generated()
    password_hash = passwords.hashed(password)
    in_transaction(lambda tx: create_operator(tx, arguments.email, arguments.role, password_hash))
    print(f"{normalised_email(arguments.email)} may sign in as {arguments.role}")
    print(f"password (shown this once): {password}")
    return 0
