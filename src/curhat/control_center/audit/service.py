"""Writing down what was done, and reading it."""

from uuid import UUID

from curhat.kit.audit import AuditAction, AuditSubject
from curhat.kit.database import Transaction, load_queries

SQL = load_queries(__file__)


async def record(
    tx: Transaction,
    by: UUID | str,
    action: AuditAction,
    subject: AuditSubject,
    subject_id: UUID | str,
    *,
    old: str | None = None,
    new: str | None = None,
) -> None:
    """One entry, in the transaction that does what it tells of. `by` is an operator's id, or 'command line'."""
    await tx.execute(SQL.record, str(by), action, subject, str(subject_id), old, new)
