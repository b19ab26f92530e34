"""`curhat up`: starts everything that development needs, and keeps it running."""

import argparse
import asyncio
import os
import signal

from curhat.app.cli.common import CommandError, Subparsers
from curhat.dev.child_processes import ProgramError, end_with_parent
from curhat.kit.settings import Settings


def add_to(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "up",
        help="start everything and keep it running (make up)",
        description="Start PostgreSQL and Valkey (unless CURHAT_DATABASE_URL and CURHAT_VALKEY_URL are set), migrate, "
        "seed, and run a server and a worker until Ctrl-C. A program that ends is restarted.",
    )
    parser.add_argument(
        "--bots",
        action="store_true",
        help="with simulated mitras who accept and answer, and simulated customers who ask",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="restart the server and the worker when their code changes, and serve the web clients by Vite (make dev)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C or a signal. Raises CommandError when a program cannot be started."""
    from rich.console import Console

    from curhat.dev.supervisor import Supervisor

    settings = Settings.from_environment(os.environ)
    if arguments.bots and not settings.is_development:
        raise CommandError("simulated people are for development: set CURHAT_ENVIRONMENT=development")
    if "MAKELEVEL" in os.environ:
        # When `make up` is killed, end this process too, because this process holds the lock of the data directory.
        end_with_parent(signal.SIGTERM)
    supervisor = Supervisor(settings, Console(highlight=False), bots=arguments.bots, reload=arguments.reload)
    try:
        return asyncio.run(supervisor.run())
    except ProgramError as error:
        raise CommandError(str(error), exit_status=1) from error
