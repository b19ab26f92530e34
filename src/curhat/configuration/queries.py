"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final

import msgspec

from curhat.configuration.definitions import ConfigurationKey, DefaultAction
from curhat.kit.database import Executor, NoRow


class StoredRow(msgspec.Struct, frozen=True):
    key: ConfigurationKey
    value: str
    updated_at: datetime
    updated_by: str


LIST_ROWS: Final = """
SELECT key, value, updated_at, updated_by FROM configuration
"""


async def list_rows(db: Executor, /) -> list[StoredRow]:
    return [StoredRow(*row) for row in await db.fetch(LIST_ROWS)]


READ_ROW: Final = """
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = $1
"""


async def read_row(db: Executor, /, *, key: ConfigurationKey) -> StoredRow:
    row = await db.fetchrow(READ_ROW, key)
    if row is None:
        raise NoRow(READ_ROW)
    return StoredRow(*row)


READ_NUMBER: Final = """
SELECT value::integer AS number FROM configuration WHERE key = $1
"""


async def read_number(db: Executor, /, *, key: ConfigurationKey) -> int:
    row = await db.fetchrow(READ_NUMBER, key)
    if row is None:
        raise NoRow(READ_NUMBER)
    value: int = row[0]
    return value


READ_DEFAULT_ACTION: Final = """
SELECT value AS default_action FROM configuration WHERE key = 'extension_default_action_on_timeout'
"""


async def read_default_action(db: Executor, /) -> DefaultAction:
    row = await db.fetchrow(READ_DEFAULT_ACTION)
    if row is None:
        raise NoRow(READ_DEFAULT_ACTION)
    value: DefaultAction = row[0]
    return value


LOCK_ROW: Final = """
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = $1 FOR NO KEY UPDATE
"""


async def lock_row(db: Executor, /, *, key: ConfigurationKey) -> StoredRow:
    """Lock this configuration row. The lock stops other transactions from changing the value until this transaction ends."""
    row = await db.fetchrow(LOCK_ROW, key)
    if row is None:
        raise NoRow(LOCK_ROW)
    return StoredRow(*row)


CHANGE_VALUE: Final = """
WITH old_row AS (
    SELECT key, value FROM configuration WHERE key = $1
), changed_row AS (
    UPDATE configuration SET value = $2, updated_by = $3,
        updated_at = greatest(curhat_now(), updated_at + interval '1 microsecond')
    WHERE key = $1
    RETURNING key, value, updated_at, updated_by
), insert_change AS (
    INSERT INTO configuration_changes (key, old_value, new_value, changed_by, changed_at)
    SELECT changed_row.key, old_row.value, changed_row.value, changed_row.updated_by, changed_row.updated_at
    FROM changed_row, old_row
), insert_audit_entry AS (
    INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value, occurred_at)
    SELECT changed_row.updated_by, 'configuration_changed', 'configuration', changed_row.key, old_row.value,
        changed_row.value, changed_row.updated_at
    FROM changed_row, old_row
)
SELECT key, value, updated_at, updated_by FROM changed_row
"""


async def change_value(db: Executor, /, *, key: ConfigurationKey, value: str, changed_by: str) -> StoredRow:
    """Replace the value, and insert one entry into the history and one entry into the audit. Two changes of a row never
    have the same `updated_at`, so a client that compares `updated_at` cannot miss a change."""
    row = await db.fetchrow(CHANGE_VALUE, key, value, changed_by)
    if row is None:
        raise NoRow(CHANGE_VALUE)
    return StoredRow(*row)


class ListChangesRow(msgspec.Struct, frozen=True):
    id: int
    old_value: str
    new_value: str
    changed_by: str
    changed_at: datetime


LIST_CHANGES: Final = """
SELECT id, old_value, new_value, changed_by, changed_at FROM configuration_changes
WHERE key = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""


async def list_changes(
    db: Executor, /, *, key: ConfigurationKey, before_id: int | None, max_changes: int
) -> list[ListChangesRow]:
    """Read the changes of one configuration row, newest first. If @before_id is not null, read only the changes
    that are older than the change with this id."""
    return [ListChangesRow(*row) for row in await db.fetch(LIST_CHANGES, key, before_id, max_changes)]
