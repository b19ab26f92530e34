"""Reasons, urgency, states and kinds of reports and notices. This module does no I/O."""

from datetime import timedelta
from typing import Final, Literal

ReportReason = Literal[
    "sexual", "threat", "insult", "contact", "money", "minor", "danger", "not_listening", "other"
]
ConcernLevel = Literal["worried", "danger_now"]
ReportKind = Literal["report", "concern"]
# `awaiting_approval`: a suspension for good that a second operator has not approved yet.
ReportStatus = Literal["open", "awaiting_approval", "decided", "appealed"]
ReportDecision = Literal["no_action", "warn", "suspend"]
AppealDecision = Literal["upheld", "overturned"]
NoticeKind = Literal[
    "report_acted",
    "report_no_violation",
    "warning",
    "suspension",
    "suspension_lifted",
    "appeal_upheld",
    "appeal_overturned",
]
# What the reporter sees of the own report.
OwnReportStatus = Literal["received", "acted", "no_violation"]

# 0: within 15 minutes. 1: within 24 hours. 2: within 72 hours.
Urgency = Literal[0, 1, 2]
URGENCY: Final[dict[ReportReason, Urgency]] = {
    "danger": 0,
    "minor": 0,
    "threat": 0,
    "sexual": 1,
    "insult": 1,
    "contact": 1,
    "money": 1,
    "not_listening": 2,
    "other": 2,
}
CONCERN_URGENCY: Final[Urgency] = 0
DUE_WITHIN: Final[dict[Urgency, timedelta]] = {
    0: timedelta(minutes=15),
    1: timedelta(hours=24),
    2: timedelta(hours=72),
}
# An operator decides an appeal within the longest time of the queue.
APPEAL_DUE_WITHIN: Final = DUE_WITHIN[2]
APPEAL_DAYS: Final = 14

# A person makes at most MAX_REPORTS_PER_DAY reports in 24 hours. Reports for these reasons have no limit (T.2).
MAX_REPORTS_PER_DAY: Final = 5
UNLIMITED_REASONS: Final[tuple[ReportReason, ...]] = ("danger", "minor")
MAX_CONCERNS_PER_SESSION: Final = 10
MAX_MARKED_MESSAGES: Final = 20

# For these reasons, and for concerns, an operator can reveal the customer's phone number (H.3).
VITAL_REASONS: Final[frozenset[ReportReason]] = frozenset({"danger", "minor"})

# The appealable notices.
SANCTIONS: Final[frozenset[NoticeKind]] = frozenset({"warning", "suspension"})
