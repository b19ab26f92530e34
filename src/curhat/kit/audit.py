"""Every action and subject that any package writes to the audit. The client has a text for each of them."""

from typing import Literal

AuditAction = Literal[
    "operator_signed_in",
    "operator_created",
    "operator_disabled",
    "operator_reset",
    "password_changed",
    "totp_enrolled",
    "recovery_code_used",
    "recovery_codes_renewed",
    "device_revoked",
    "case_decided",
    "refund_approved",
    "refund_retried",
    "refund_requested:operator_decision",
    "refund_requested:late_approval",
    "refund_done",
    "refund_failed",
    "configuration_changed",
    "mitra_invited",
    "mitra_renamed",
    "mitra_capacity_changed",
    "mitra_suspended",
    "mitra_suspension_lifted",
    "transcript_revealed",
    "list_exported",
]

ListName = Literal["failed-pairings", "review-cases", "payments", "sessions", "customers", "mitras", "audit"]

# The subject of an action. The subject of an export is the exported list.
AuditSubject = Literal["operator", "review_case", "payment", "configuration", "mitra", "session", ListName]
