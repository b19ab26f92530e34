"""What the commands share: whose settings they use, and a database to ask."""

import argparse
import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from curhat.app.run_file import RunFile
from curhat.kit.database import Database, Transaction
from curhat.kit.settings import PREFIX, Settings, data_dir_of, default_data_dir

if TYPE_CHECKING:
    # Generic only to a type checker.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  argparse names it nowhere else

Answer = TypeVar("Answer")


class CommandError(Exception):
    """A command cannot be carried out; says why, and what to do."""

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def joined_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the running `curhat up` of this data directory, or of the servers that `environ` names.

    Raises CommandError when nothing is running and `environ` names no database.
    """
    if environ.get(f"{PREFIX}DATABASE_URL"):
        return Settings.from_environment(environ)
    named = environ.get(f"{PREFIX}DATA_DIR")
    data_dir = data_dir_of(named) if named else default_data_dir()
    run_file = RunFile.read(data_dir)
    if run_file is None:
        raise CommandError(f"nothing is running in {data_dir}; start it with make up")
    return Settings.from_environment({**environ, **run_file.environ(), f"{PREFIX}DATA_DIR": str(data_dir)})


def in_transaction(step: Callable[[Transaction], Awaitable[Answer]]) -> Answer:
    """Carry out `step` in one transaction of its own, committed at its end."""

    async def carry_out(url: str) -> Answer:
        database = await Database.connect(url, pool_size=1, application_name="curhat command")
        try:
            async with database.transaction() as tx:
                return await step(tx)
        finally:
            await database.close()

    return asyncio.run(carry_out(database_url_of(joined_settings())))


def database_url_of(settings: Settings) -> str:
    """The database that a command works on. Raises CommandError when the settings name none."""
    if settings.database_url is None:
        raise CommandError(f"{PREFIX}DATABASE_URL is not set; make up starts everything, databases included")
    return settings.database_url


def allow_many_sockets() -> None:
    """Lift this process's limit of open files as far as it may: every connected person is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
