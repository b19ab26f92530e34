"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow
from curhat.kit.identity import Role
from curhat.safety.reports.states import (
    AppealDecision,
    ConcernLevel,
    NoticeKind,
    ReportDecision,
    ReportReason,
    ReportStatus,
)

LOCK_REPORTS_OF: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('reports of ' || $1 || ' ' || $2::uuid, 0))
"""


async def lock_reports_of(db: Executor, /, *, reporter: Role, user_id: UUID) -> None:
    """Take the advisory lock of this person's reports for this transaction, so that the count of the day is exact."""
    await db.execute(LOCK_REPORTS_OF, reporter, user_id)


FIND_PAYMENT_OF_SESSION: Final = """
SELECT payment_id FROM sessions
WHERE id = $1 AND $2 = CASE $3::text WHEN 'customer' THEN customer_id ELSE mitra_id END
"""


async def find_payment_of_session(
    db: Executor, /, *, session_id: UUID, user_id: UUID, role: Role
) -> UUID | None:
    """Find the payment of this member's session. Returns no row if the session does not exist or belongs to others."""
    row = await db.fetchrow(FIND_PAYMENT_OF_SESSION, session_id, user_id, role)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class ReportedSession(msgspec.Struct, frozen=True):
    customer_id: UUID
    mitra_id: UUID
    has_text: bool


LOCK_SESSION: Final = """
SELECT customer_id, mitra_id, text_deleted_at IS NULL AS has_text FROM sessions WHERE id = $1
FOR NO KEY UPDATE
"""


async def lock_session(db: Executor, /, *, session_id: UUID) -> ReportedSession:
    """Lock the session, as a step that deletes the text does. `has_text`: the text is not deleted. A chat in which nobody
    wrote can be reported too."""
    row = await db.fetchrow(LOCK_SESSION, session_id)
    if row is None:
        raise NoRow(LOCK_SESSION)
    return ReportedSession(*row)


FIND_REPORT: Final = """
SELECT id FROM reports WHERE session_id = $1 AND reporter = $2 AND kind = 'report'
"""


async def find_report(db: Executor, /, *, session_id: UUID, reporter: Role) -> UUID | None:
    """Find the report that this side has made about the session."""
    row = await db.fetchrow(FIND_REPORT, session_id, reporter)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_REPORT_WAIT: Final = """
SELECT extract(epoch FROM newest.created_at + interval '24 hours' - curhat_now())::float8 AS wait_seconds
FROM (
    SELECT created_at FROM reports
    WHERE CASE $1::text WHEN 'customer' THEN customer_id ELSE mitra_id END = $2
        AND reporter = $1 AND kind = 'report' AND reason <> ALL ($3::text[])
        AND created_at > curhat_now() - interval '24 hours'
    ORDER BY created_at DESC OFFSET $4 - 1 LIMIT 1
) AS newest
"""


async def find_report_wait(
    db: Executor, /, *, reporter: Role, user_id: UUID, unlimited_reasons: Sequence[str], max_reports: int
) -> float | None:
    """Read the seconds until this person can make another limited report. Returns no row if the person can report now. Only
    the newest reports of the last 24 hours count, and none with a reason of @unlimited_reasons."""
    row = await db.fetchrow(FIND_REPORT_WAIT, reporter, user_id, unlimited_reasons, max_reports)
    if row is None:
        return None
    value: float = row[0]
    return value


COUNT_MESSAGES_OF_SESSION: Final = """
SELECT count(*)::integer AS found FROM messages WHERE session_id = $1 AND id = ANY ($2::uuid[])
"""


async def count_messages_of_session(db: Executor, /, *, session_id: UUID, message_ids: Sequence[UUID]) -> int:
    """Count how many of these messages belong to the session."""
    row = await db.fetchrow(COUNT_MESSAGES_OF_SESSION, session_id, message_ids)
    if row is None:
        raise NoRow(COUNT_MESSAGES_OF_SESSION)
    value: int = row[0]
    return value


class InsertedReport(msgspec.Struct, frozen=True):
    id: UUID
    created_at: datetime


INSERT_REPORT: Final = """
INSERT INTO reports (session_id, customer_id, mitra_id, reporter, reason, note, message_ids, urgency, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
    curhat_now() + make_interval(secs => $9))
RETURNING id, created_at
"""


async def insert_report(
    db: Executor,
    /,
    *,
    session_id: UUID,
    customer_id: UUID,
    mitra_id: UUID,
    reporter: Role,
    reason: ReportReason,
    note: str | None,
    message_ids: Sequence[UUID],
    urgency: int,
    due_within_seconds: float,
) -> InsertedReport:
    """Insert a report (nothing → open). The caller holds the session's lock, and this side has no report about the session."""
    row = await db.fetchrow(
        INSERT_REPORT,
        session_id,
        customer_id,
        mitra_id,
        reporter,
        reason,
        note,
        message_ids,
        urgency,
        due_within_seconds,
    )
    if row is None:
        raise NoRow(INSERT_REPORT)
    return InsertedReport(*row)


COUNT_CONCERNS: Final = """
SELECT count(*)::integer AS concerns FROM reports WHERE session_id = $1 AND kind = 'concern'
"""


async def count_concerns(db: Executor, /, *, session_id: UUID) -> int:
    """Count the concerns about the customer of this session."""
    row = await db.fetchrow(COUNT_CONCERNS, session_id)
    if row is None:
        raise NoRow(COUNT_CONCERNS)
    value: int = row[0]
    return value


INSERT_CONCERN: Final = """
INSERT INTO reports (kind, session_id, customer_id, mitra_id, reporter, level, note, urgency, due_at)
VALUES ('concern', $1, $2, $3, 'mitra', $4, $5, $6,
    curhat_now() + make_interval(secs => $7))
RETURNING id, created_at
"""


async def insert_concern(
    db: Executor,
    /,
    *,
    session_id: UUID,
    customer_id: UUID,
    mitra_id: UUID,
    level: ConcernLevel,
    note: str | None,
    urgency: int,
    due_within_seconds: float,
) -> InsertedReport:
    """Insert a concern (nothing → open). The caller holds the session's lock."""
    row = await db.fetchrow(
        INSERT_CONCERN, session_id, customer_id, mitra_id, level, note, urgency, due_within_seconds
    )
    if row is None:
        raise NoRow(INSERT_CONCERN)
    return InsertedReport(*row)


class OwnReport(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID
    reason: ReportReason
    report_status: ReportStatus
    decision: ReportDecision | None
    appeal_decision: AppealDecision | None
    created_at: datetime


LIST_REPORTS_OF_CUSTOMER: Final = """
SELECT id, session_id, reason, status AS report_status, decision, appeal_decision, created_at FROM reports
WHERE customer_id = $1 AND reporter = 'customer' AND kind = 'report' AND id < $2
ORDER BY id DESC LIMIT $3
"""


async def list_reports_of_customer(
    db: Executor, /, *, user_id: UUID, before_id: UUID, max_reports: int
) -> list[OwnReport]:
    """Read the newest reports that this customer has made, before the report @before_id."""
    return [
        OwnReport(*row) for row in await db.fetch(LIST_REPORTS_OF_CUSTOMER, user_id, before_id, max_reports)
    ]


LIST_REPORTS_OF_MITRA: Final = """
SELECT id, session_id, reason, status AS report_status, decision, appeal_decision, created_at FROM reports
WHERE mitra_id = $1 AND reporter = 'mitra' AND kind = 'report' AND id < $2
ORDER BY id DESC LIMIT $3
"""


async def list_reports_of_mitra(
    db: Executor, /, *, user_id: UUID, before_id: UUID, max_reports: int
) -> list[OwnReport]:
    """Read the newest reports that this mitra has made, before the report @before_id."""
    return [OwnReport(*row) for row in await db.fetch(LIST_REPORTS_OF_MITRA, user_id, before_id, max_reports)]


INSERT_NOTICES: Final = """
INSERT INTO notices (role, user_id, kind, report_id, suspended_until)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING id
"""


async def insert_notices(
    db: Executor,
    /,
    *,
    role: Role,
    user_id: UUID,
    notice_kind: NoticeKind,
    report_id: UUID | None,
    suspended_until: datetime | None,
) -> list[UUID]:
    """Insert the notices. Each array has one element per notice; a null stands for no report or for no end. A notice that
    exists already stays unchanged."""
    return [
        row[0]
        for row in await db.fetch(INSERT_NOTICES, role, user_id, notice_kind, report_id, suspended_until)
    ]


class NoticeRow(msgspec.Struct, frozen=True):
    id: UUID
    notice_kind: NoticeKind
    reason: ReportReason | None
    session_id: UUID | None
    reporter: Role | None
    suspended_until: datetime | None
    created_at: datetime
    acknowledged_at: datetime | None
    withdrawn_at: datetime | None
    appeal_text: str | None
    appealed_at: datetime | None
    appeal_decision: AppealDecision | None
    server_now: datetime


LIST_NOTICES: Final = """
SELECT notices.id, notices.kind AS notice_kind, reports.reason, reports.session_id, reports.reporter,
    notices.suspended_until, notices.created_at, notices.acknowledged_at, notices.withdrawn_at, reports.appeal_text,
    reports.appealed_at, reports.appeal_decision, curhat_now() AS server_now
FROM notices LEFT JOIN reports ON reports.id = notices.report_id
WHERE notices.user_id = $1 AND notices.role = $2 AND notices.id < $3
ORDER BY notices.id DESC LIMIT $4
"""


async def list_notices(
    db: Executor, /, *, user_id: UUID, role: Role, before_id: UUID, max_notices: int
) -> list[NoticeRow]:
    """Read this person's newest notices before the notice @before_id, each with its report, if there is one."""
    return [NoticeRow(*row) for row in await db.fetch(LIST_NOTICES, user_id, role, before_id, max_notices)]


READ_NOTICES: Final = """
SELECT notices.id, notices.kind AS notice_kind, reports.reason, reports.session_id, reports.reporter,
    notices.suspended_until, notices.created_at, notices.acknowledged_at, notices.withdrawn_at, reports.appeal_text,
    reports.appealed_at, reports.appeal_decision, curhat_now() AS server_now
FROM notices LEFT JOIN reports ON reports.id = notices.report_id
WHERE notices.id = ANY ($1::uuid[])
ORDER BY notices.id
"""


async def read_notices(db: Executor, /, *, ids: Sequence[UUID]) -> list[NoticeRow]:
    """Read these notices, each with its report, if there is one."""
    return [NoticeRow(*row) for row in await db.fetch(READ_NOTICES, ids)]


ACKNOWLEDGE_NOTICE: Final = """
UPDATE notices SET acknowledged_at = coalesce(acknowledged_at, curhat_now())
WHERE id = $1 AND user_id = $2 AND role = $3
RETURNING id
"""


async def acknowledge_notice(db: Executor, /, *, notice_id: UUID, user_id: UUID, role: Role) -> UUID | None:
    """Acknowledge this person's notice. A repeated call keeps the first time. Returns no row if there is no such notice."""
    row = await db.fetchrow(ACKNOWLEDGE_NOTICE, notice_id, user_id, role)
    if row is None:
        return None
    value: UUID = row[0]
    return value


LIST_WARNINGS_TO_ACKNOWLEDGE: Final = """
SELECT id FROM notices
WHERE user_id = $1 AND role = $2 AND kind = 'warning' AND acknowledged_at IS NULL AND withdrawn_at IS NULL
ORDER BY id LIMIT $3
"""


async def list_warnings_to_acknowledge(
    db: Executor, /, *, user_id: UUID, role: Role, max_notices: int
) -> list[UUID]:
    """Find the warnings that this person must acknowledge, oldest first. The index notices_to_acknowledge finds them."""
    return [row[0] for row in await db.fetch(LIST_WARNINGS_TO_ACKNOWLEDGE, user_id, role, max_notices)]


WITHDRAW_SANCTIONS: Final = """
UPDATE notices SET withdrawn_at = curhat_now()
WHERE report_id = $1 AND kind IN ('warning', 'suspension') AND withdrawn_at IS NULL
"""


async def withdraw_sanctions(db: Executor, /, *, report_id: UUID) -> None:
    """Withdraw the warning or suspension of this report: an appeal has overturned the decision."""
    await db.execute(WITHDRAW_SANCTIONS, report_id)


class NoticeReport(msgspec.Struct, frozen=True):
    report_id: UUID | None
    notice_kind: NoticeKind


FIND_REPORT_OF_NOTICE: Final = """
SELECT report_id, kind AS notice_kind FROM notices WHERE id = $1 AND user_id = $2 AND role = $3
"""


async def find_report_of_notice(
    db: Executor, /, *, notice_id: UUID, user_id: UUID, role: Role
) -> NoticeReport | None:
    """Find the report of this person's notice. Returns no row if there is no such notice."""
    row = await db.fetchrow(FIND_REPORT_OF_NOTICE, notice_id, user_id, role)
    if row is None:
        return None
    return NoticeReport(*row)


class LockedDecision(msgspec.Struct, frozen=True):
    report_status: ReportStatus
    appealed_at: datetime | None
    decided_at: datetime
    now: datetime


LOCK_DECISION: Final = """
SELECT status AS report_status, appealed_at, coalesce(closed_at, created_at) AS decided_at, curhat_now() AS now
FROM reports WHERE id = $1
FOR NO KEY UPDATE
"""


async def lock_decision(db: Executor, /, *, report_id: UUID) -> LockedDecision:
    """Lock the report, and read whether an appeal is still possible."""
    row = await db.fetchrow(LOCK_DECISION, report_id)
    if row is None:
        raise NoRow(LOCK_DECISION)
    return LockedDecision(*row)


INSERT_APPEAL: Final = """
UPDATE reports SET status = 'appealed', appeal_text = $1, appealed_at = curhat_now(),
    due_at = curhat_now() + make_interval(secs => $2)
WHERE id = $3
"""


async def insert_appeal(
    db: Executor, /, *, appeal_text: str, due_within_seconds: float, report_id: UUID
) -> None:
    """Record the appeal (decided → appealed). The caller has locked and checked the report."""
    await db.execute(INSERT_APPEAL, appeal_text, due_within_seconds, report_id)
