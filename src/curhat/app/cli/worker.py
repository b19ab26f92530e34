"""`curhat worker`: runs one worker process."""

import argparse

from curhat.app.cli.common import Subparsers, joined_settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "worker",
        help="run one worker process: it fires deadlines",
        description="Run one worker process until SIGTERM. Any number may run, beside any number of servers: each "
        "deadline is fired by one of them.",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    import uvloop

    from curhat.app import worker
    from curhat.kit.garbage import collect_rarely
    from curhat.kit.logging import configure_logging

    settings = joined_settings()
    configure_logging(settings.log_level, settings.log_format)
    collect_rarely()
    uvloop.run(worker.run(settings))
    return 0
