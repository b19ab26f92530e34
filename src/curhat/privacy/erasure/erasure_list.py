"""The list of erasures outside the database: a file with one JSON object per line (P.5).

A restored database does not know the erasures that came after the restored time. The list does. It has only ids.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from curhat.kit.identity import Role


class ListError(Exception):
    """The list cannot be read or written. The message names the file and the reason."""


class ListedErasure(msgspec.Struct, frozen=True):
    """One line of the list. A crash can repeat a line, so a reader expects repeated lines."""

    role: Role
    user_id: str
    deleted_at: datetime


def append(path: Path, erasure: ListedErasure) -> None:
    """Append a line, and return when the disk has it. Only the file's owner can read a new file. Raises ListError.

    O_APPEND makes each line one write at the end of the file, so several workers can share the file. If a crash cut the
    last line, the new line still begins on a line of its own.
    """
    line = msgspec.json.encode(erasure) + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > 0 and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise ListError(f"{path}: the line was cut")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size == 0:
            _sync_folder(path.parent)
    except OSError as error:
        raise ListError(f"{path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Make sure that the disk has the name of a new file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[ListedErasure]:
    """Yield each erasure of the list. Raises ListError for a missing file, and for a line that cannot be read.

    A crash can cut a line. The worker then wrote the line again. So a cut line is skipped if it cannot be JSON.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ListError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"}"):
            continue
        try:
            yield msgspec.json.decode(line, type=ListedErasure)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ListError(f"{path}, line {number}: {error}") from error
