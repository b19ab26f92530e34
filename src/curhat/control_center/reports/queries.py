"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.conditions import Conditions
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role
from curhat.safety.reports.states import (
    AppealDecision,
    ConcernLevel,
    ReportDecision,
    ReportKind,
    ReportReason,
    ReportStatus,
    Urgency,
)


class ReportRow(msgspec.Struct, frozen=True):
    id: UUID
    kind: ReportKind
    reason: ReportReason | None
    level: ConcernLevel | None
    status: ReportStatus
    urgency: Urgency
    queue_rank: int
    due_at: datetime
    overdue: bool
    reporter: Role
    session_id: UUID
    marked_messages: int
    created_at: datetime
    note: str | None
    decision: ReportDecision | None
    decision_note: str | None
    suspend_until: datetime | None
    decided_by: UUID | None
    decided_by_email: str | None
    decided_at: datetime | None
    approved_by: UUID | None
    approved_by_email: str | None
    approved_at: datetime | None
    appeal_text: str | None
    appealed_at: datetime | None
    appeal_decision: AppealDecision | None
    appeal_note: str | None
    appeal_decided_by: UUID | None
    appeal_decided_by_email: str | None
    appeal_decided_at: datetime | None
    customer_id: UUID
    call_name: str
    phone_number: str
    mitra_id: UUID
    mitra_display_name: str
    server_now: datetime


LIST_REPORTS: Final = """
SELECT page.id, page.kind, page.reason, page.level, page.status, page.urgency, page.queue_rank, page.due_at,
    page.status <> 'decided' AND page.due_at < curhat_now() AS overdue, page.reporter, page.session_id,
    cardinality(page.message_ids) AS marked_messages, page.created_at, page.note, page.decision, page.decision_note,
    page.suspend_until, page.decided_by, decider.email AS decided_by_email, page.decided_at, page.approved_by,
    approver.email AS approved_by_email, page.approved_at, page.appeal_text, page.appealed_at, page.appeal_decision,
    page.appeal_note, page.appeal_decided_by, appeal_decider.email AS appeal_decided_by_email, page.appeal_decided_at,
    page.customer_id, customers.call_name, people.phone_number, page.mitra_id,
    mitras.display_name AS mitra_display_name, curhat_now() AS server_now
FROM (
    SELECT reports.* FROM reports
    WHERE true /* conditions */
    ORDER BY reports.queue_rank, reports.due_at, reports.id
    LIMIT $1
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
JOIN mitras ON mitras.id = page.mitra_id
LEFT JOIN operators AS decider ON decider.id = page.decided_by
LEFT JOIN operators AS approver ON approver.id = page.approved_by
LEFT JOIN operators AS appeal_decider ON appeal_decider.id = page.appeal_decided_by
ORDER BY page.queue_rank, page.due_at, page.id
"""


async def list_reports(db: Executor, /, conditions: Conditions, *, limit: int) -> list[ReportRow]:
    """Read reports and concerns in the order of the queue: what waits for an operator by urgency, then what is finished; each
    group by `due_at`."""
    statement, values = conditions.complete(LIST_REPORTS, limit)
    return [ReportRow(*row) for row in await db.fetch(statement, *values)]


class ListMarkedMessagesRow(msgspec.Struct, frozen=True):
    id: UUID
    sender: Role
    text: str
    sent_at: datetime
    is_marked: bool


LIST_MARKED_MESSAGES: Final = """
WITH chat AS MATERIALIZED (
    SELECT messages.id, messages.sender, messages.text, messages.sent_at,
        messages.id = ANY (reports.message_ids) AS is_marked, row_number() OVER (ORDER BY messages.id) AS number
    FROM reports JOIN messages ON messages.session_id = reports.session_id
    WHERE reports.id = $1 AND cardinality(reports.message_ids) > 0
)
SELECT chat.id, chat.sender, chat.text, chat.sent_at, chat.is_marked FROM chat
WHERE EXISTS (SELECT 1 FROM chat AS marked WHERE marked.is_marked AND abs(marked.number - chat.number) <= $2)
ORDER BY chat.number
"""


async def list_marked_messages(
    db: Executor, /, *, report_id: UUID, around: int
) -> list[ListMarkedMessagesRow]:
    """Read the marked messages of a report, each with @around messages before and after it, oldest first."""
    return [ListMarkedMessagesRow(*row) for row in await db.fetch(LIST_MARKED_MESSAGES, report_id, around)]


class ReportContext(msgspec.Struct, frozen=True):
    payment_id: UUID
    case_id: UUID | None
    sanctions_before: int


READ_REPORT_CONTEXT: Final = """
SELECT sessions.payment_id, (
        SELECT review_cases.id FROM review_cases WHERE review_cases.payment_id = sessions.payment_id
    ) AS case_id, (
        SELECT count(*)::integer FROM reports AS earlier
        WHERE CASE reports.reporter WHEN 'mitra' THEN earlier.customer_id = reports.customer_id
                ELSE earlier.mitra_id = reports.mitra_id END
            AND earlier.reporter = reports.reporter AND earlier.id <> reports.id
            AND earlier.status IN ('decided', 'appealed') AND earlier.decision IN ('warn', 'suspend')
            AND earlier.appeal_decision IS DISTINCT FROM 'overturned'
    ) AS sanctions_before
FROM reports JOIN sessions ON sessions.id = reports.session_id
WHERE reports.id = $1
"""


async def read_report_context(db: Executor, /, *, report_id: UUID) -> ReportContext:
    """Read the payment and the case of the report's session, and how many other reports about the same person ended with a
    sanction that stands."""
    row = await db.fetchrow(READ_REPORT_CONTEXT, report_id)
    if row is None:
        raise NoRow(READ_REPORT_CONTEXT)
    return ReportContext(*row)


class LockedReport(msgspec.Struct, frozen=True):
    id: UUID
    kind: ReportKind
    reason: ReportReason | None
    level: ConcernLevel | None
    status: ReportStatus
    urgency: Urgency
    reporter: Role
    customer_id: UUID
    mitra_id: UUID
    decision: ReportDecision | None
    suspend_until: datetime | None
    decided_by: UUID | None
    decided_by_email: str | None
    decided_at: datetime | None
    approved_by: UUID | None
    appeal_decision: AppealDecision | None
    appeal_decided_by: UUID | None
    appeal_decided_by_email: str | None
    appeal_decided_at: datetime | None
    now: datetime


LOCK_REPORT: Final = """
SELECT reports.id, reports.kind, reports.reason, reports.level, reports.status, reports.urgency, reports.reporter,
    reports.customer_id, reports.mitra_id, reports.decision, reports.suspend_until, reports.decided_by,
    decider.email AS decided_by_email, reports.decided_at, reports.approved_by, reports.appeal_decision,
    reports.appeal_decided_by, appeal_decider.email AS appeal_decided_by_email, reports.appeal_decided_at,
    curhat_now() AS now
FROM reports
LEFT JOIN operators AS decider ON decider.id = reports.decided_by
LEFT JOIN operators AS appeal_decider ON appeal_decider.id = reports.appeal_decided_by
WHERE reports.id = $1
FOR NO KEY UPDATE OF reports
"""


async def lock_report(db: Executor, /, *, report_id: UUID) -> LockedReport | None:
    """Lock the report before an operator's step. Returns no row if there is no such report."""
    row = await db.fetchrow(LOCK_REPORT, report_id)
    if row is None:
        return None
    return LockedReport(*row)


DECIDE_REPORT: Final = """
UPDATE reports SET status = CASE WHEN $1 THEN 'awaiting_approval' ELSE 'decided' END,
    decision = $2, decision_note = $3, suspend_until = $4, decided_by = $5,
    decided_at = curhat_now(), closed_at = CASE WHEN $1 THEN NULL ELSE curhat_now() END,
    due_at = CASE WHEN $1 THEN curhat_now() + make_interval(secs => $6) ELSE due_at END
WHERE id = $7 AND status = 'open'
"""


async def decide_report(
    db: Executor,
    /,
    *,
    needs_approval: bool,
    decision: ReportDecision,
    decision_note: str,
    suspend_until: datetime | None,
    operator_id: UUID,
    due_within_seconds: float,
    report_id: UUID,
) -> int:
    """Decide the report (open → decided, or → awaiting_approval with @needs_approval). The next step of an approval is due
    @due_within_seconds from now."""
    return rows_changed(
        await db.execute(
            DECIDE_REPORT,
            needs_approval,
            decision,
            decision_note,
            suspend_until,
            operator_id,
            due_within_seconds,
            report_id,
        )
    )


APPROVE_SUSPENSION: Final = """
UPDATE reports SET status = 'decided', approved_by = $1, approved_at = curhat_now(), closed_at = curhat_now()
WHERE id = $2 AND status = 'awaiting_approval'
"""


async def approve_suspension(db: Executor, /, *, operator_id: UUID, report_id: UUID) -> int:
    """Approve the suspension for good (awaiting_approval → decided)."""
    return rows_changed(await db.execute(APPROVE_SUSPENSION, operator_id, report_id))


REFUSE_SUSPENSION: Final = """
UPDATE reports SET status = 'open', decision = NULL, decision_note = NULL, suspend_until = NULL, decided_by = NULL,
    decided_at = NULL, due_at = curhat_now() + make_interval(secs => $1)
WHERE id = $2 AND status = 'awaiting_approval'
"""


async def refuse_suspension(db: Executor, /, *, due_within_seconds: float, report_id: UUID) -> int:
    """Take the unapproved decision back (awaiting_approval → open)."""
    return rows_changed(await db.execute(REFUSE_SUSPENSION, due_within_seconds, report_id))


DECIDE_APPEAL: Final = """
UPDATE reports SET status = 'decided', appeal_decision = $1, appeal_note = $2,
    appeal_decided_by = $3, appeal_decided_at = curhat_now(), closed_at = curhat_now()
WHERE id = $4 AND status = 'appealed'
"""


async def decide_appeal(
    db: Executor, /, *, appeal_decision: AppealDecision, appeal_note: str, operator_id: UUID, report_id: UUID
) -> int:
    """Decide the appeal (appealed → decided)."""
    return rows_changed(await db.execute(DECIDE_APPEAL, appeal_decision, appeal_note, operator_id, report_id))


HAS_OTHER_SUSPENSION: Final = """
SELECT EXISTS (
    SELECT 1 FROM reports AS other JOIN reports AS this ON this.id = $1
    WHERE other.id <> this.id AND other.reporter = this.reporter
        AND CASE this.reporter WHEN 'mitra' THEN other.customer_id = this.customer_id
            ELSE other.mitra_id = this.mitra_id END
        AND other.status IN ('decided', 'appealed') AND other.decision = 'suspend'
        AND other.appeal_decision IS DISTINCT FROM 'overturned'
        AND (other.suspend_until IS NULL OR other.suspend_until > curhat_now())
) AS is_suspended
"""


async def has_other_suspension(db: Executor, /, *, report_id: UUID) -> bool:
    """Read whether another report about the same person still suspends the person."""
    row = await db.fetchrow(HAS_OTHER_SUSPENSION, report_id)
    if row is None:
        raise NoRow(HAS_OTHER_SUSPENSION)
    value: bool = row[0]
    return value


READ_PHONE_NUMBER: Final = """
SELECT phone_number FROM people WHERE id = $1
"""


async def read_phone_number(db: Executor, /, *, customer_id: UUID) -> str:
    """Read the customer's phone number."""
    row = await db.fetchrow(READ_PHONE_NUMBER, customer_id)
    if row is None:
        raise NoRow(READ_PHONE_NUMBER)
    value: str = row[0]
    return value
