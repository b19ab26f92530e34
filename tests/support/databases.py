"""A database for each test, made and dropped in a few milliseconds."""

import shutil
from pathlib import Path
from typing import Final

import asyncpg

# A file system in memory, where there is one. Nothing of a test outlives its run.
_MEMORY: Final = Path("/dev/shm")
# The databases at any time, and the write-ahead log at its largest, for each half of the tests.
_ROOM_BYTES: Final = 4 * 2**30


def parent_of_data_folders() -> Path | None:
    """Where the servers of tests keep their files: in memory when it has room; None: where temporary files go."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
        return _MEMORY
    return None


async def create_database(admin: asyncpg.Connection, name: str, template: str) -> None:
    """A database like `template`, to which nobody may be connected. Copied file by file: the template is small, and
    writing every page to the log takes many times as long."""
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
