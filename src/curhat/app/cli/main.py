"""The entry point of `curhat`: what a person can ask for, and how the answer is given.

Exit status: 0 done; 1 it failed; 2 it was asked for wrongly, or nothing is running to ask; 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import asyncpg

from curhat.app.child_processes import ProgramError
from curhat.app.cli import bots, config, doctor, migrate, mitra, operator, seed, serve, simulate, up, worker
from curhat.app.cli.common import CommandError
from curhat.kit.errors import BusinessError
from curhat.kit.migrations import MigrationError
from curhat.kit.settings import SettingsError

COMMANDS: Final = (up, serve, worker, migrate, seed, mitra, operator, config, simulate, bots, doctor)

DESCRIPTION: Final = """\
Curhat: a customer who needs to talk, and a real person who listens, within seconds.

The usual day: `make up` in one terminal; in another, any command below. They join the
running `make up` of the same CURHAT_DATA_DIR (default: .data in the project) by themselves.
"""

EPILOGUE: Final = """\
settings (environment variables; `curhat doctor` checks them all):
  CURHAT_ENVIRONMENT     production (default) or development (what make up sets)
  CURHAT_DATA_DIR        where development keeps its databases and logs
  CURHAT_PORT            where the server listens (default 8000)
  CURHAT_DATABASE_URL    PostgreSQL and Valkey of your own; without them,
  CURHAT_VALKEY_URL      development starts embedded ones

examples:
  curhat mitra invite 08110000099 --name "Kak Tari" --max-customers 2
  curhat operator create sari@example.id --role reviewer
  curhat config set pairing_blast_timeout_seconds 90
  curhat simulate --customers 200 --mitras 40
  curhat up --bots
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="curhat",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except CommandError as error:
        return _refuse(str(error), error.exit_status)
    except SettingsError as error:
        return _refuse(str(error), 2)
    except BusinessError as error:
        return _refuse(_told(error), 1)
    except (ProgramError, MigrationError) as error:
        return _refuse(str(error), 1)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _refuse(f"{str(error) or type(error).__name__}; `curhat doctor` says more", 1)
    except KeyboardInterrupt:
        return 130
    return status


def _refuse(sentence: str, exit_status: int) -> int:
    print(f"curhat: {sentence}", file=sys.stderr)
    return exit_status


def _told(error: BusinessError) -> str:
    """A refusal as a person reads it: which field, and what would be right."""
    fields = error.fields.get("errors")
    if not fields:
        return error.detail
    return "; ".join(f"{field['field']} {field['message']}" for field in fields)
