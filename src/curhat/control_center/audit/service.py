"""Reads pages of the audit."""

from functools import partial
from typing import Final
from uuid import UUID

from curhat.control_center.audit import queries
from curhat.control_center.audit.schemas import AuditEntry
from curhat.control_center.lists.cursors import after, cursor_of, key_of, page_of
from curhat.control_center.lists.filters import Filters
from curhat.control_center.schemas import from_row
from curhat.kit.database import Transaction
from curhat.kit.page import Page

# The largest number of an audit entry: PostgreSQL stores the number as a bigint.
MAX_ENTRY_ID: Final = 2**63 - 1


async def read_audit_entries(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """Read a page of entries, newest first. Raises ValidationFailed for a bad cursor."""
    key = key_of(cursor)
    # A cursor contains the entry's number as a UUID. Only a forged cursor contains a number above MAX_ENTRY_ID.
    position = None if key is None else (key[0], min(key[1].int, MAX_ENTRY_ID))
    conditions = after(filters, "(audit_entries.occurred_at, audit_entries.id) < ({0}, {1})", position)
    rows = await queries.list_audit_entries(tx, conditions, limit=limit + 1)
    return page_of(
        rows, limit, partial(from_row, AuditEntry), lambda row: cursor_of(row.occurred_at, UUID(int=row.id))
    )
