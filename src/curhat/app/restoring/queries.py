"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from curhat.kit.database import Executor, NoRow

ALLOW_LONG_STATEMENTS: Final = """
SELECT set_config('statement_timeout', '15min', true) AS statement_timeout
"""


async def allow_long_statements(db: Executor, /) -> str:
    """Let each later statement of this transaction run for up to 15 minutes. The role's own limit is a few seconds."""
    row = await db.fetchrow(ALLOW_LONG_STATEMENTS)
    if row is None:
        raise NoRow(ALLOW_LONG_STATEMENTS)
    value: str = row[0]
    return value


LIST_SERVING: Final = """
SELECT application_name || ' (PostgreSQL process ' || pid || ', from '
    || coalesce(host(client_addr), 'this machine') || ')' AS process
FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('curhat server', 'curhat worker')
    AND backend_start < clock_timestamp() - interval '1 second'
ORDER BY pid
"""


async def list_serving(db: Executor, /) -> list[str]:
    """List the servers and workers that are connected to this database for longer than a second. A process that waits for the
    database to be opened connects for milliseconds."""
    return [row[0] for row in await db.fetch(LIST_SERVING)]


FIND_RECOVERY_END: Final = """
SELECT least(
    nullif(current_setting('recovery_target_time'), '')::timestamptz, pg_last_xact_replay_timestamp()
) AS recovered_to
"""


async def find_recovery_end(db: Executor, /) -> datetime | None:
    """Return the time to which PostgreSQL recovered this database: the target of the recovery, or the last commit that the
    recovery replayed. Null: PostgreSQL does not know it any more. Later changes of this database are not recovered ones."""
    row = await db.fetchrow(FIND_RECOVERY_END)
    if row is None:
        raise NoRow(FIND_RECOVERY_END)
    value: datetime | None = row[0]
    return value


BEGIN_RESTORE: Final = """
INSERT INTO restores (marker, restored_to) VALUES ($1, coalesce($2::timestamptz, 'epoch'))
ON CONFLICT (marker) DO NOTHING
"""


async def begin_restore(db: Executor, /, *, marker: str, newest_change_at: datetime | None) -> None:
    """nothing → begun. Changes nothing if the restore has begun already. Without any change in the database, the gateway
    lists everything that it has."""
    await db.execute(BEGIN_RESTORE, marker, newest_change_at)


class LockRestoreRow(msgspec.Struct, frozen=True):
    restored_to: datetime
    opened_at: datetime | None


LOCK_RESTORE: Final = """
SELECT restored_to, opened_at FROM restores WHERE marker = $1 FOR UPDATE
"""


async def lock_restore(db: Executor, /, *, marker: str) -> LockRestoreRow:
    """Lock the row of a restore that has begun, so that two commands take turns."""
    row = await db.fetchrow(LOCK_RESTORE, marker)
    if row is None:
        raise NoRow(LOCK_RESTORE)
    return LockRestoreRow(*row)


OPEN_DATABASE: Final = """
UPDATE restores SET opened_at = curhat_now(), broken_invariants = $1
WHERE marker = $2 AND opened_at IS NULL
"""


async def open_database(db: Executor, /, *, broken_invariants: Sequence[str], marker: str) -> None:
    """begun → opened."""
    await db.execute(OPEN_DATABASE, broken_invariants, marker)
