"""Writing entries of the audit, and reading pages of them."""

from typing import Final
from uuid import UUID

from curhat.control_center.audit import queries
from curhat.control_center.audit.queries import AuditRow
from curhat.control_center.audit.schemas import AuditEntry
from curhat.control_center.lists.cursors import after, cursor_of, key_of, page_of
from curhat.control_center.lists.filters import Filters
from curhat.kit.audit import AuditAction, AuditSubject
from curhat.kit.database import Transaction
from curhat.kit.page import Page

# Entries are numbered with a bigint.
MAX_ENTRY_ID: Final = 2**63 - 1


async def write_audit_entry(
    tx: Transaction,
    by: UUID | str,
    action: AuditAction,
    subject: AuditSubject,
    subject_id: UUID | str,
    *,
    old: str | None = None,
    new: str | None = None,
) -> None:
    """Record an action in the transaction that does it. `by` is an operator's id, 'command line' or 'demo data'."""
    await queries.insert_audit_entry(
        tx,
        actor=str(by),
        action=action,
        subject=subject,
        subject_id=str(subject_id),
        old_value=old,
        new_value=new,
    )


async def read_audit_entries(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """Read a page of entries, newest first. Raises ValidationFailed for a bad cursor."""
    key = key_of(cursor)
    # A cursor contains the entry's number as a UUID. Only a forged cursor contains a larger number.
    position = None if key is None else (key[0], min(key[1].int, MAX_ENTRY_ID))
    conditions = after(filters, "(audit_entries.occurred_at, audit_entries.id) < ({0}, {1})", position)
    rows = await queries.list_audit_entries(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _audit_entry, lambda row: cursor_of(row.occurred_at, UUID(int=row.id)))


def _audit_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        actor=row.actor,
        actor_email=row.actor_email,
        action=row.action,
        subject=row.subject,
        subject_id=row.subject_id,
        old_value=row.old_value,
        new_value=row.new_value,
        occurred_at=row.occurred_at,
    )
