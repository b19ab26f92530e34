"""Tells whether this database was restored to an earlier time, and has not been opened again.

After a restore, devices could resume their event streams with wrong events. Revoked tokens are valid again, and the
gateway knows charges that the tables have lost. `curhat restore --finish` repairs these effects, and then opens the
database. No process serves a database that is not open.

How a restored database is recognised:
    `curhat restore --to` writes the parameter `curhat.restore` into the recovered PostgreSQL's configuration. A restore
    by hand or by pgBackRest leaves PostgreSQL's own parameters `recovery_target_…` in the configuration. The value of
    the parameter is the marker of the restore. After loading a dump, PostgreSQL's administrator sets the marker:
    `ALTER DATABASE curhat SET curhat.restore = 'dump of 2026-12-01'`.
    The parameter `curhat.restore` stays after a finished restore. A later restore by hand to a time leaves a target
    that does not fit this parameter. Then the marker names both (record 0133).
    A failover sets none of these parameters. A restore by hand to the end of the archived WAL sets none either, and
    loses no more than a failover without a synchronous standby.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from curhat.kit.database import Connection

# These statements must run on every schema, even on a schema that does not have the table `restores` yet.
_MARKER: Final = """
SELECT CASE
    WHEN named IS NULL THEN target
    -- `curhat restore --to TIME` writes the same time into both parameters.
    WHEN target IS NULL OR starts_with(named, target) THEN named
    ELSE named || ', then ' || target
END
FROM (
    SELECT nullif(current_setting('curhat.restore', true), '') AS named,
        nullif(concat_ws(' ',
            nullif(current_setting('recovery_target'), ''),
            nullif(current_setting('recovery_target_time'), ''),
            nullif(current_setting('recovery_target_lsn'), ''),
            nullif(current_setting('recovery_target_xid'), ''),
            nullif(current_setting('recovery_target_name'), '')), '') AS target
) AS settings
"""
_HAS_TABLE: Final = "SELECT to_regclass('public.restores') IS NOT NULL"
_IS_OPEN: Final = "SELECT EXISTS (SELECT FROM restores WHERE marker = $1 AND opened_at IS NOT NULL)"


class NotOpened(ConnectionError):
    """The database was restored to an earlier time and is not open.

    A process treats this error as if PostgreSQL were away.
    """

    def __init__(self, marker: str) -> None:
        super().__init__(
            f"the database was restored to an earlier time ({marker}) and is not open yet; "
            "run: curhat restore --finish"
        )


async def restore_marker(connection: "Connection") -> str | None:
    """Return the marker of the restore that made this database. None means that the database was not restored."""
    marker: str | None = await connection.fetchval(_MARKER)
    return marker


async def is_open(connection: "Connection", marker: str) -> bool:
    """Return whether `curhat restore --finish` has opened the database after this restore."""
    # The table is missing if the restored time is before the migration that creates the table.
    return bool(await connection.fetchval(_HAS_TABLE) and await connection.fetchval(_IS_OPEN, marker))


async def check_open(connection: "Connection") -> None:
    """Raise NotOpened if the database was restored and is not open yet."""
    marker = await restore_marker(connection)
    if marker is not None and not await is_open(connection, marker):
        raise NotOpened(marker)
