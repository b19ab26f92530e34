"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final

import msgspec

from curhat.kit.audit import AuditAction, AuditSubject
from curhat.kit.conditions import Conditions
from curhat.kit.database import Executor


class AuditRow(msgspec.Struct, frozen=True):
    id: int
    actor: str
    actor_email: str | None
    action: AuditAction
    subject: AuditSubject
    subject_id: str
    old_value: str | None
    new_value: str | None
    occurred_at: datetime


LIST_AUDIT_ENTRIES: Final = """
SELECT page.id, page.actor, operators.email AS actor_email, page.action, page.subject, page.subject_id,
    page.old_value, page.new_value, page.occurred_at
FROM (
    SELECT audit_entries.* FROM audit_entries
    WHERE true /* conditions */
    ORDER BY audit_entries.occurred_at DESC, audit_entries.id DESC
    LIMIT $1
) AS page
LEFT JOIN operators ON operators.id::text = page.actor
ORDER BY page.occurred_at DESC, page.id DESC
"""


async def list_audit_entries(db: Executor, /, conditions: Conditions, *, limit: int) -> list[AuditRow]:
    """Read the audit's entries, newest first. `actor_email` is null when the actor is not an operator."""
    statement, values = conditions.complete(LIST_AUDIT_ENTRIES, limit)
    return [AuditRow(*row) for row in await db.fetch(statement, *values)]
