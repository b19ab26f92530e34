"""Finds the settings of a command, and runs a transaction on the database. All commands share this code."""

import argparse
import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeAlias, TypeVar

from curhat.app.run_file import RunFile
from curhat.kit.database import Database, Transaction
from curhat.kit.settings import FILE_SUFFIX, PREFIX, Settings, data_dir_of, default_data_dir

# The alias is a string, because argparse's class takes a type argument in the type stubs, but not at run time.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  argparse has no public name
Answer = TypeVar("Answer")


class CommandError(Exception):
    """A command cannot be carried out. The message gives the reason, and says what to do."""

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def joined_settings(needs: Collection[str] | None = None) -> Settings:
    """Return the settings in `joined_environ`. Only the settings in `needs` must be valid (default: all)."""
    return Settings.from_environment(joined_environ(), needs)


def joined_environ() -> dict[str, str]:
    """Return this process's environment variables, from which a command reads the settings.

    If CURHAT_DATABASE_URL is not set, add the settings of the `curhat up` that runs in the data directory. An
    environment variable of this process takes precedence, so that a second server can have its own port. Raises
    CommandError if CURHAT_DATABASE_URL is not set and no `curhat up` runs in the data directory.
    """
    own = {name: value for name, value in os.environ.items() if value}
    if own.keys() & {f"{PREFIX}DATABASE_URL", f"{PREFIX}DATABASE_URL{FILE_SUFFIX}"}:
        return own
    data_dir = named_data_dir()
    run_file = RunFile.read(data_dir)
    if run_file is None:
        raise CommandError(f"nothing is running in {data_dir}; start it with make up")
    joined = {name: value for name, value in run_file.environ().items() if name + FILE_SUFFIX not in own}
    return {**joined, **own, f"{PREFIX}DATA_DIR": str(data_dir)}


def named_data_dir() -> Path:
    """Return the directory in CURHAT_DATA_DIR. If this variable is not set, return the default data directory."""
    named = os.environ.get(f"{PREFIX}DATA_DIR")
    return data_dir_of(named) if named else default_data_dir()


def in_transaction(step: Callable[[Transaction], Awaitable[Answer]]) -> Answer:
    """Run `step` in a transaction on the database of `joined_settings`. Commit, and return the result of `step`.

    The only setting that this function needs is CURHAT_DATABASE_URL.
    """

    async def carry_out(url: str) -> Answer:
        database = await Database.connect(url, pool_size=1, application_name="curhat command")
        try:
            async with database.transaction() as tx:
                return await step(tx)
        finally:
            await database.close()

    return asyncio.run(carry_out(database_url_of(joined_settings(["DATABASE_URL"]))))


def database_url_of(settings: Settings) -> str:
    """Return the URL of the database. Raises CommandError if the settings contain no such URL."""
    if settings.database_url is None:
        raise CommandError(f"{PREFIX}DATABASE_URL is not set; make up starts everything, databases included")
    return settings.database_url


def allow_many_sockets() -> None:
    """Raise this process's soft limit of open files to the hard limit. Each connection counts as one open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
