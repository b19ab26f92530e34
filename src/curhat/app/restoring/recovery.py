"""Fills a new directory with PostgreSQL's data, and tells PostgreSQL to which time it must recover.

PostgreSQL recovers when it starts with the directory. After the recovery, an operator runs `curhat restore --finish`.
"""

import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

# PostgreSQL reads this file last, and pgBackRest writes its settings there too.
SETTINGS_FILE: Final = "postgresql.auto.conf"
OTHER_TARGETS: Final = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_xid",
)
LATEST: Final = "latest"
PGBACKREST: Final = "pgbackrest"

Say = Callable[[str], None]


class RecoveryError(Exception):
    """The directory cannot be filled. The message gives the reason, and says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The time to which PostgreSQL recovers. None means the end of the archived WAL."""

    time: datetime | None

    @property
    def marker(self) -> str:
        """A new name for this restore. Two restores to the same time have different names."""
        shown = LATEST if self.time is None else _shown(self.time)
        return f"{shown} {secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class PgBackRest:
    """Backups by pgBackRest. The configuration of pgBackRest names the place of the backups."""

    stanza: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A base backup by pg_basebackup (a directory), and the directory to which PostgreSQL archives its WAL."""

    backup: Path
    wal: Path


Source = PgBackRest | Archive


def target_of(text: str) -> Target:
    """Read `latest`, or a time with a time zone, such as `2026-12-01 03:30:00+07:00`. Raises RecoveryError."""
    if text == LATEST:
        return Target(None)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise RecoveryError(
            f"{text!r} is no time; right is a time with its time zone, such as '2026-12-01 03:30:00+07:00', or latest"
        )
    if time > datetime.now(UTC):
        raise RecoveryError(f"{text} is in the future")
    return Target(time)


def recover(target: Target, directory: Path, source: Source, say: Say) -> None:
    """Fill `directory`, which must be new or empty, or left over from an interrupted call of this function.

    Raises RecoveryError.
    """
    # This file exists as long as the directory is incomplete. The file is beside the directory, because pgBackRest
    # needs an empty directory.
    unfinished = directory.with_name(directory.name + ".unfinished")
    if unfinished.exists():
        say(f"removing what an interrupted restore left in {directory}")
        shutil.rmtree(directory, ignore_errors=True)
    elif directory.exists() and any(directory.iterdir()):
        raise RecoveryError(
            f"{directory} is not empty; name a new directory: the old one stays as it is, and shows what was lost"
        )
    try:
        unfinished.touch()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        match source:
            case PgBackRest():
                _run(_pgbackrest_command(target, directory, source), say)
            case Archive():
                _copy_backup(target, directory, source, say)
        with (directory / SETTINGS_FILE).open("a") as settings:
            settings.write(f"curhat.restore = '{target.marker}'\n")
        directory.chmod(0o700)  # PostgreSQL refuses a directory that others can read.
    except OSError as error:
        raise RecoveryError(f"{directory} cannot be filled: {error}") from error
    unfinished.unlink()


def _pgbackrest_command(target: Target, directory: Path, source: PgBackRest) -> list[str]:
    command = [PGBACKREST, f"--stanza={source.stanza}", f"--pg1-path={directory}"]
    if target.time is not None:
        command += ["--type=time", f"--target={_shown(target.time)}", "--target-action=promote"]
    return [*command, "restore"]


def _copy_backup(target: Target, directory: Path, source: Archive, say: Say) -> None:
    backup, wal = source.backup.absolute(), source.wal.absolute()
    if not (backup / "backup_label").is_file():
        raise RecoveryError(
            f"{backup} is no base backup: it has no backup_label; make one with pg_basebackup"
        )
    if not wal.is_dir() or "'" in str(wal):
        raise RecoveryError(f"{wal} is no directory of archived WAL")
    _run(["cp", "-a", f"{backup}/.", str(directory)], say)
    settings = {
        "restore_command": f'cp "{wal}/%f" "%p"',
        "recovery_target_action": "promote",
        # The backup perhaps contains the settings of an earlier restore. PostgreSQL accepts only one target.
        **dict.fromkeys(OTHER_TARGETS, ""),
        "recovery_target_time": "" if target.time is None else _shown(target.time),
    }
    with (directory / SETTINGS_FILE).open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (directory / "recovery.signal").touch()


def _run(command: Sequence[str], say: Say) -> None:
    say(f"$ {' '.join(command)}")
    try:
        ended = subprocess.run(command, check=False)
    except FileNotFoundError as error:
        raise RecoveryError(f"{command[0]} is not installed") from error
    if ended.returncode != 0:
        raise RecoveryError(f"{command[0]} ended with exit status {ended.returncode}; see its messages above")


def _shown(time: datetime) -> str:
    """Return the time in UTC, to the microsecond, as PostgreSQL and pgBackRest read it."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"
