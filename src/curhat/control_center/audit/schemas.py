"""The API's struct of the audit."""

from datetime import datetime

import msgspec

from curhat.kit.audit import AuditAction, AuditSubject


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An action, with the old and the new value.

    `actor`: an operator's id, `system`, `command line` or `demo data`.
    """

    id: int
    actor: str
    actor_email: str | None
    action: AuditAction
    subject: AuditSubject
    subject_id: str
    old_value: str | None
    new_value: str | None
    occurred_at: datetime
