"""Reading and changing the rows. Every function takes an open transaction and never commits it."""

from datetime import datetime

import asyncpg

from curhat.configuration.definitions import (
    DEFINITIONS,
    ConfigurationKey,
    DefaultAction,
    Value,
    definition_of,
)
from curhat.configuration.errors import ChangedMeanwhile
from curhat.configuration.schemas import ConfigurationChange, ConfigurationRow
from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.page import PAGE_SIZE, Page

SQL = load_queries(__file__)


async def list_rows(tx: Transaction) -> list[ConfigurationRow]:
    """All five, in the order in which the definitions are written."""
    found = {row["key"]: row for row in await tx.fetch(SQL.rows)}
    return [_row(found[key]) for key in DEFINITIONS]


async def get_row(tx: Transaction, key: str) -> ConfigurationRow:
    """One row. Raises NotFound."""
    row = await tx.fetchrow(SQL.row, definition_of(key).key)
    if row is None:
        raise NotFound
    return _row(row)


async def change(
    tx: Transaction,
    *,
    key: str,
    value: Value,
    changed_by: str,
    expected_updated_at: datetime | None = None,
) -> ConfigurationRow:
    """One value → another, with its line in the history and in the audit; the same value again changes nothing.

    `changed_by` is an operator's id or 'command line'; `expected_updated_at` is what they saw when they decided.
    Raises NotFound, ValidationFailed, ChangedMeanwhile.
    """
    definition = definition_of(key)
    wanted = definition.checked(value)
    row = await tx.fetchrow(SQL.lock, key)
    if row is None:
        raise NotFound
    now = _row(row)
    if expected_updated_at is not None and expected_updated_at != now.updated_at:
        raise ChangedMeanwhile(value=now.value, updated_at=now.updated_at, updated_by=now.updated_by)
    if now.value == wanted:
        return now
    changed = await tx.fetchrow(SQL.change, key, str(wanted), changed_by)
    assert changed is not None  # The row is locked and is never deleted.
    return _row(changed)


async def history(tx: Transaction, key: str, cursor: str | None = None) -> Page[ConfigurationChange]:
    """Who changed this row from what to what, newest first. Raises NotFound, ValidationFailed for a bad cursor."""
    definition = definition_of(key)
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise ValidationFailed(errors=[{"field": "cursor", "message": "is not one that this list gave"}])
    before = None if cursor is None else int(cursor)
    rows = await tx.fetch(SQL.history, key, before, PAGE_SIZE + 1)
    items = [
        ConfigurationChange(
            key=definition.key,
            old_value=definition.read(row["old_value"]),
            new_value=definition.read(row["new_value"]),
            changed_by=row["changed_by"],
            changed_at=row["changed_at"],
        )
        for row in rows[:PAGE_SIZE]
    ]
    return Page(items=items, next_cursor=str(rows[PAGE_SIZE - 1]["id"]) if len(rows) > PAGE_SIZE else None)


# The values, for those who open a window -------------------------------------------------------------------


async def pairing_blast_timeout_seconds(tx: Transaction) -> int:
    """How long a blast that is opened now lasts (2b.2)."""
    return await _whole_number(tx, "pairing_blast_timeout_seconds")


async def payment_session_timeout_minutes(tx: Transaction) -> int:
    """How long a payment that is opened now may be confirmed (2a.5)."""
    return await _whole_number(tx, "payment_session_timeout_minutes")


async def returning_chat_confirmation_timeout_seconds(tx: Transaction) -> int:
    """How long the mitra that is asked now by name has to answer (4.5)."""
    return await _whole_number(tx, "returning_chat_confirmation_timeout_seconds")


async def extension_timeout_seconds(tx: Transaction) -> int:
    """How long the mitra has to answer an extension that is asked for now (5.2)."""
    return await _whole_number(tx, "extension_timeout_seconds")


async def extension_default_action_on_timeout(tx: Transaction) -> DefaultAction:
    """What silence will mean for an extension that is asked for now (5.2)."""
    action: DefaultAction = await tx.fetchval(SQL.value, "extension_default_action_on_timeout")
    return action


async def _whole_number(tx: Transaction, key: ConfigurationKey) -> int:
    return int(await tx.fetchval(SQL.value, key))


def _row(row: asyncpg.Record) -> ConfigurationRow:
    definition = definition_of(row["key"])
    return ConfigurationRow(
        key=definition.key,
        label=definition.label,
        explanation=definition.explanation,
        unit=definition.unit,
        type=definition.type,
        default=definition.default,
        minimum=definition.minimum,
        maximum=definition.maximum,
        choices=definition.choices,
        value=definition.read(row["value"]),
        updated_at=row["updated_at"],
        updated_by=row["updated_by"],
    )
