"""Tells whether this database was restored to an earlier time, and has not been opened again.

After a restore, devices could resume their event streams onto other events, tokens that were revoked come back, and the
gateway knows charges that the tables have lost. `curhat restore --finish` puts this right, and then opens the database.
Until then, no process serves.

How a restored database is recognised
    `curhat restore --to` writes the parameter `curhat.restore` into the recovered PostgreSQL's configuration. A
    restore by hand leaves PostgreSQL's own parameters `recovery_target_…` there, as pgBackRest does. Either text is the
    marker of the restore. After a dump was loaded, PostgreSQL's administrator sets it:
    ALTER DATABASE curhat SET curhat.restore = 'dump of 2026-12-01'
    A failover sets none of them.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from curhat.kit.database import Connection

# These statements must run on every schema, also on one from before the table `restores`.
_MARKER: Final = """
SELECT coalesce(
    nullif(current_setting('curhat.restore', true), ''),
    nullif(concat_ws(' ',
        nullif(current_setting('recovery_target'), ''),
        nullif(current_setting('recovery_target_time'), ''),
        nullif(current_setting('recovery_target_lsn'), ''),
        nullif(current_setting('recovery_target_xid'), ''),
        nullif(current_setting('recovery_target_name'), '')), '')
)
"""
_HAS_TABLE: Final = "SELECT to_regclass('public.restores') IS NOT NULL"
_IS_OPEN: Final = "SELECT EXISTS (SELECT FROM restores WHERE marker = $1 AND opened_at IS NOT NULL)"


class NotOpened(ConnectionError):
    """The database was restored to an earlier time and is not open. For a process, it is as if PostgreSQL were away."""

    def __init__(self, marker: str) -> None:
        super().__init__(
            f"the database was restored to an earlier time ({marker}) and is not open yet; "
            "run: curhat restore --finish"
        )


async def restore_marker(connection: "Connection") -> str | None:
    """Return the marker of the restore that made this database. None: it was not restored."""
    marker: str | None = await connection.fetchval(_MARKER)
    return marker


async def is_open(connection: "Connection", marker: str) -> bool:
    """Return whether `curhat restore --finish` has opened the database after this restore."""
    # The table is missing if the restored time is before its migration.
    return bool(await connection.fetchval(_HAS_TABLE) and await connection.fetchval(_IS_OPEN, marker))


async def check_open(connection: "Connection") -> None:
    """Raise NotOpened if the database was restored and is not open yet."""
    marker = await restore_marker(connection)
    if marker is not None and not await is_open(connection, marker):
        raise NotOpened(marker)
