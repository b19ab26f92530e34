"""Reads and changes the five rows. Every function takes an open transaction and never commits it."""

from datetime import datetime
from functools import partial

from msgspec.structs import asdict

from curhat.configuration import queries
from curhat.configuration.definitions import DEFINITIONS, Value, definition_of
from curhat.configuration.errors import ChangedMeanwhile
from curhat.configuration.queries import StoredRow
from curhat.configuration.schemas import ConfigurationChange, ConfigurationRow
from curhat.kit.database import Transaction
from curhat.kit.errors import invalid_field
from curhat.kit.page import PAGE_SIZE, Page


async def list_rows(tx: Transaction) -> list[ConfigurationRow]:
    """Return all five rows, in the order of DEFINITIONS."""
    stored: dict[str, StoredRow] = {row.key: row for row in await queries.list_rows(tx)}
    return [_row(stored[key]) for key in DEFINITIONS]


async def get_row(tx: Transaction, key: str) -> ConfigurationRow:
    """Return one row. Raises NotFound."""
    return _row(await queries.read_row(tx, key=definition_of(key).key))


async def change(
    tx: Transaction, *, key: str, value: Value, changed_by: str, expected_updated_at: datetime | None = None
) -> ConfigurationRow:
    """Change a row's value, and insert an entry into the history and the audit. An equal value changes nothing.

    `changed_by` is an operator's id or 'command line'. `expected_updated_at` is the `updated_at` that the operator saw.
    Raises NotFound, ValidationFailed. Raises ChangedMeanwhile if the row's `updated_at` is now a different time.
    """
    definition = definition_of(key)
    wanted = definition.checked(value)
    now = _row(await queries.lock_row(tx, key=definition.key))
    if expected_updated_at is not None and expected_updated_at != now.updated_at:
        raise ChangedMeanwhile(value=now.value, updated_at=now.updated_at, updated_by=now.updated_by)
    if now.value == wanted:
        return now
    return _row(await queries.change_value(tx, key=definition.key, value=str(wanted), changed_by=changed_by))


async def history(tx: Transaction, key: str, cursor: str | None = None) -> Page[ConfigurationChange]:
    """Return a page of a row's changes, newest first. Raises NotFound. Raises ValidationFailed for a bad cursor."""
    definition = definition_of(key)
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise invalid_field("cursor", "is not one that this list gave")
    before_id = None if cursor is None else int(cursor)
    found = await queries.list_changes(tx, key=definition.key, before_id=before_id, max_changes=PAGE_SIZE + 1)
    items = [
        ConfigurationChange(
            key=definition.key,
            old_value=definition.read(change.old_value),
            new_value=definition.read(change.new_value),
            changed_by=change.changed_by,
            changed_at=change.changed_at,
        )
        for change in found[:PAGE_SIZE]
    ]
    return Page(items=items, next_cursor=str(found[PAGE_SIZE - 1].id) if len(found) > PAGE_SIZE else None)


# The step that opens a time window calls one of these functions to read the current value.
pairing_blast_timeout_seconds = partial(queries.read_number, key="pairing_blast_timeout_seconds")  # 2b.2
payment_session_timeout_minutes = partial(queries.read_number, key="payment_session_timeout_minutes")  # 2a.5
returning_chat_confirmation_timeout_seconds = partial(  # 4.5
    queries.read_number, key="returning_chat_confirmation_timeout_seconds"
)
extension_timeout_seconds = partial(queries.read_number, key="extension_timeout_seconds")  # 5.2
extension_default_action_on_timeout = queries.read_default_action  # 5.2


def _row(stored: StoredRow) -> ConfigurationRow:
    definition = DEFINITIONS[stored.key]
    return ConfigurationRow(
        **asdict(definition),
        value=definition.read(stored.value),
        updated_at=stored.updated_at,
        updated_by=stored.updated_by,
    )
