"""`curhat config get` prints one of the five rows that operators edit, and `curhat config set` changes a row."""

import argparse
from typing import Final

from curhat.app.cli.common import Subparsers, in_transaction
from curhat.configuration.definitions import DEFINITIONS

KEY_HELP: Final = f"one of {', '.join(DEFINITIONS)}"


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "config",
        help="read or change one of the five rows that operators edit",
        description="Read or change one of the five rows that operators edit, with the same bounds and the same "
        "history as on their screen. A change applies to what starts after it.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    get = commands.add_parser("get", help="print the value alone")
    get.add_argument("key", metavar="KEY", choices=tuple(DEFINITIONS), help=KEY_HELP)
    get.set_defaults(run=run_get)
    change = commands.add_parser("set", help="change the value")
    change.add_argument("key", metavar="KEY", choices=tuple(DEFINITIONS), help=KEY_HELP)
    change.add_argument("value", metavar="VALUE", help="within the row's bounds; an error names them")
    change.set_defaults(run=run_set)


def run_get(arguments: argparse.Namespace) -> int:
    from curhat.configuration import service

    print(in_transaction(lambda tx: service.get_row(tx, arguments.key)).value)
    return 0


def run_set(arguments: argparse.Namespace) -> int:
    from curhat.configuration import service

    value = DEFINITIONS[arguments.key].read(arguments.value)
    row = in_transaction(
        lambda tx: service.change(tx, key=arguments.key, value=value, changed_by="command line")
    )
    print(f"{row.key} is {row.value}; this applies to everything that starts from now on")
    return 0
