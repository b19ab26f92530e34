"""`curhat deadlines list` shows the parked deadlines, and `curhat deadlines retry` makes them due now."""

import argparse
from typing import Final

from curhat.app.cli.common import Subparsers, in_transaction

MAX_LISTED: Final = 1_000


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "deadlines",
        help="show the steps that keep failing, and try them again now",
        description="A deadline whose step failed ten times by a fault of its own is parked: a worker tries it again "
        "every hour. The fault is probably in the code or in the data.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listed = commands.add_parser("list", help="show the parked deadlines, the longest parked first")
    listed.set_defaults(run=run_list)
    retry = commands.add_parser(
        "retry",
        help="make parked deadlines due now, with ten new tries",
        description="Make parked deadlines due now, with ten new tries. A running worker fires them within a second.",
    )
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every parked deadline")
    which.add_argument(
        "ids", nargs="*", type=int, metavar="ID", default=[], help="the number that list shows"
    )
    retry.set_defaults(run=run_retry)


def run_list(_arguments: argparse.Namespace) -> int:
    from curhat.deadlines import queries

    found = in_transaction(lambda tx: queries.list_parked_deadlines(tx, max_deadlines=MAX_LISTED))
    for one in found:
        print(f"{one.id}  {one.kind}  {one.entity_id}  {one.attempts} tries")
        print(f"    parked {one.parked_at:%Y-%m-%d %H:%M:%S} UTC, next try {one.next_try_at:%H:%M:%S} UTC")
        print(f"    {one.last_error or 'no error is known'}")
    if not found:
        print("no deadline is parked")
    return 0


def run_retry(arguments: argparse.Namespace) -> int:
    from curhat.deadlines import service

    ids: list[int] | None = None if arguments.all else arguments.ids
    retried = in_transaction(lambda tx: service.retry_parked(tx, ids))
    for one in retried:
        print(f"{one.id}  {one.kind}  {one.entity_id} is due now")
    missing = sorted(set(arguments.ids) - {one.id for one in retried})
    for number in missing:
        print(f"{number} is not parked")
    if not retried and not missing:
        print("no deadline is parked")
    return 1 if missing else 0
