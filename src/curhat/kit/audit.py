"""Writes audit entries, and lists all audit actions and all audit subjects.

The Control Center has a text for each action and for each subject.
"""

from typing import Literal
from uuid import UUID

from curhat.kit import queries
from curhat.kit.database import Transaction

AuditAction = Literal[
    "operator_signed_in",
    "operator_created",
    "operator_disabled",
    "operator_reset",
    "operator_invited",
    "operator_link_used",
    "operator_role_changed",
    "operator_enabled",
    "operator_signed_out",
    "password_changed",
    "totp_enrolled",
    "recovery_code_used",
    "recovery_codes_renewed",
    "device_revoked",
    "case_opened",
    "case_decided",
    "refund_approved",
    "refund_retried",
    "refund_requested:operator_decision",
    "refund_requested:late_approval",
    "refund_done",
    "refund_failed",
    "gateway_alert:unknown_charge",
    "gateway_alert:unknown_refund",
    "gateway_alert:refunded_twice",
    "gateway_alert:refund_failed_after_done",
    "gateway_alert:books_differ",
    "configuration_changed",
    "mitra_invited",
    "mitra_renamed",
    "mitra_capacity_changed",
    "mitra_suspended",
    "mitra_suspension_lifted",
    "account_deleted",
    "customer_suspended",
    "customer_suspension_lifted",
    "report_opened",
    "report_decided",
    "suspension_approved",
    "suspension_refused",
    "appeal_decided",
    "phone_revealed",
    "person_device_signed_out",
    "person_devices_signed_out",
    "transcript_revealed",
    "transcript_requested",
    "transcript_approved",
    "list_exported",
    "what_if_asked",
    "text_published",
    "help_lines_proposed",
    "help_lines_published",
    "what_if_cancelled",
    "database_restored",
]

ListName = Literal[
    "failed-pairings",
    "review-cases",
    "payments",
    "sessions",
    "customers",
    "mitras",
    "mitra-requests",
    "reports",
    "audit",
]

# The kinds of things that an action can concern. The subject of the action `list_exported` is the exported list. The
# subject `gateway` is a charge or a refund at the gateway. The id of this subject is the key of the charge or refund.
AuditSubject = Literal[
    "operator",
    "review_case",
    "report",
    "payment",
    "configuration",
    "customer",
    "mitra",
    "session",
    "gateway",
    "database",
    "what_if",
    "text",
    "help_lines",
    ListName,
]


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
    """Insert the audit entry of an action, in the transaction that carries out the action.

    `by` says who acted: an operator's id, 'system', 'command line' or 'demo data'.
    """
    await queries.insert_audit_entry(
        tx,
        actor=str(by),
        action=action,
        subject=subject,
        subject_id=str(subject_id),
        old_value=old,
        new_value=new,
    )


async def has_audit_entry(tx: Transaction, action: AuditAction, subject_id: UUID) -> bool:
    """Return whether this action on this subject has an entry already."""
    return await queries.has_audit_entry(tx, action=action, subject_id=str(subject_id))


async def forget_name_in_audit(tx: Transaction, mitra_id: UUID) -> None:
    """Replace the name of a deleted mitra in the entries of the invitation and of each new name (P.3)."""
    await queries.forget_name_in_audit(tx, mitra_id=mitra_id)
