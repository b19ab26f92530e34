"""A new database per test, created and dropped in a few milliseconds."""

import shutil
from pathlib import Path
from typing import Final

import asyncpg

# A file system in memory, if the machine has it. The data of a test is deleted after the run.
_MEMORY: Final = Path("/dev/shm")
# The space for the databases and the largest write-ahead log, for each test process.
_MIN_FREE_BYTES: Final = 4 * 2**30


def parent_of_data_folders() -> Path | None:
    """The folder for the data of test servers: in memory if space is left. None: the default for temporary files."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MIN_FREE_BYTES:
        return _MEMORY
    return None


async def create_database(admin: asyncpg.Connection, name: str, template: str) -> None:
    """Create a database as a copy of `template`, to which no client may be connected.

    FILE_COPY is much faster for a small template than writing every page to the write-ahead log.
    """
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
