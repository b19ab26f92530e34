"""`curhat operator create`, `reset` and `disable` manage the operators of the Control Center."""

import argparse

from curhat.app.cli.common import Subparsers, in_transaction


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "operator",
        help="manage who may sign in to the Control Center",
        description="Manage who may sign in to the Control Center.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    create = commands.add_parser(
        "create",
        help="let a person sign in",
        description="Let a person sign in to the Control Center. The command makes the password and prints it once. "
        "At the first sign-in, the operator must change the password, and sets up an authenticator app.",
    )
    create.add_argument(
        "--role",
        choices=("admin", "reviewer", "viewer"),
        default="admin",
        help="admin: everything; reviewer: reads and decides; viewer: reads (default: admin)",
    )
    create.set_defaults(run=run_create)
    reset = commands.add_parser(
        "reset",
        help="give an operator who lost the password or the authenticator app a new start",
        description="Give an operator a new password, which is printed once, remove the authenticator app, and sign "
        "out every device. An operator who was disabled may sign in again.",
    )
    reset.set_defaults(run=run_reset)
    disable = commands.add_parser(
        "disable",
        help="shut out an operator who left",
        description="Sign an operator out everywhere and refuse every later sign-in. The audit keeps what they did.",
    )
    disable.set_defaults(run=run_disable)
    for command in (create, reset, disable):
        command.add_argument("email", metavar="EMAIL", help="what the operator signs in with")


def run_create(arguments: argparse.Namespace) -> int:
    from curhat.control_center.operators import passwords
    from curhat.control_center.operators.service import create_operator, normalised_email

    password = passwords.generated()
    password_hash = passwords.hashed(password, arguments.email)
    in_transaction(
        lambda tx: create_operator(
            tx, arguments.email, arguments.role, password_hash, must_change_password=True
        )
    )
    print(f"{normalised_email(arguments.email)} may sign in as {arguments.role}")
    print(f"password (shown this once): {password}")
    print("the password must be changed at the first sign-in")
    return 0


def run_reset(arguments: argparse.Namespace) -> int:
    from curhat.control_center.operators import passwords
    from curhat.control_center.operators.service import normalised_email, reset_operator

    password = passwords.generated()
    password_hash = passwords.hashed(password, arguments.email)
    in_transaction(lambda tx: reset_operator(tx, arguments.email, password_hash))
    print(f"{normalised_email(arguments.email)} has a new password and no authenticator app")
    print(f"password (shown this once): {password}")
    print("the password must be changed at the first sign-in")
    return 0


def run_disable(arguments: argparse.Namespace) -> int:
    from curhat.control_center.operators.service import disable_operator, normalised_email

    in_transaction(lambda tx: disable_operator(tx, arguments.email))
    print(f"{normalised_email(arguments.email)} is signed out everywhere and cannot sign in")
    return 0
