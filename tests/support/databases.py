"""Creates and drops a new database for each test in a few milliseconds."""

import shutil
from pathlib import Path
from typing import Final

import asyncpg

# A file system in memory. Some machines have no such file system. The run deletes the data of all tests at its end.
_MEMORY: Final = Path("/dev/shm")
# The space in bytes that each test process needs for the databases and the largest write-ahead log.
_MIN_FREE_BYTES: Final = 4 * 2**30


def parent_of_data_folders() -> Path | None:
    """Return a folder in memory for the data of test servers, or None if too little memory is free."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MIN_FREE_BYTES:
        return _MEMORY
    return None


async def create_database(admin: asyncpg.Connection, name: str, template: str) -> None:
    """Create a database as a copy of `template`. Requires that no client is connected to `template`.

    For a small template, FILE_COPY is much faster than a copy through the write-ahead log.
    """
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
