"""`curhat operator create`, `reset` and `disable`: who may sign in to the Control Center."""

import argparse
from typing import TYPE_CHECKING

from curhat.app.cli.common import in_transaction

if TYPE_CHECKING:
    from curhat.app.cli.common import Subparsers


def add_to(subparsers: "Subparsers") -> None:
    """Make the command known."""
    parser = subparsers.add_parser(
        "operator",
        help="say who may sign in to the Control Center",
        description="Who may sign in to the Control Center.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = commands.add_parser(
        "create",
        help="let somebody sign in",
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
    create.set_defaults(run=run_create)
    reset = commands.add_parser(
        "reset",
        help="a new password and a new authenticator app, for whoever lost theirs",
        description="Let an operator begin anew: another password, shown once, no authenticator app, and every device "
        "signed out. One who was disabled may sign in again.",
    )
    reset.add_argument("email", metavar="EMAIL", help="what the operator signs in with")
    reset.set_defaults(run=run_reset)
    disable = commands.add_parser(
        "disable",
        help="shut somebody out who left",
        description="Sign an operator out everywhere and let nothing sign them in. What they did stays in the audit.",
    )
    disable.add_argument("email", metavar="EMAIL", help="what the operator signs in with")
    disable.set_defaults(run=run_disable)


def run_create(arguments: argparse.Namespace) -> int:
    """Create, and show the password."""
    from curhat.control_center.operators import passwords
    from curhat.control_center.operators.service import create_operator, normalised_email

    password = passwords.generated()
    password_hash = passwords.hashed(password)
    in_transaction(lambda tx: create_operator(tx, arguments.email, arguments.role, password_hash))
    print(f"{normalised_email(arguments.email)} may sign in as {arguments.role}")
    print(f"password (shown this once): {password}")
    return 0


def run_reset(arguments: argparse.Namespace) -> int:
    """Reset, and show the new password."""
    from curhat.control_center.operators import passwords
    from curhat.control_center.operators.service import normalised_email, reset_operator

    password = passwords.generated()
    password_hash = passwords.hashed(password)
    in_transaction(lambda tx: reset_operator(tx, arguments.email, password_hash))
    print(f"{normalised_email(arguments.email)} begins anew, without an authenticator app")
    print(f"password (shown this once): {password}")
    return 0


def run_disable(arguments: argparse.Namespace) -> int:
    """Disable, and say so."""
    from curhat.control_center.operators.service import disable_operator, normalised_email

    in_transaction(lambda tx: disable_operator(tx, arguments.email))
    print(f"{normalised_email(arguments.email)} is signed out everywhere and cannot sign in")
    return 0
