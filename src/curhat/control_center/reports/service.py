"""The steps of operators on reports. Every function takes an open transaction and never commits it."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.lists.cursors import after, cursor_of, find_row, page_of, ranked_key_of
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import checked_time
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.reports import queries
from curhat.control_center.reports.errors import (
    AppealDecided,
    NoAppealWaits,
    NoSuspensionWaits,
    NoVitalInterest,
    OwnDecision,
    ReportDecided,
)
from curhat.control_center.reports.queries import LockedReport, ReportRow
from curhat.control_center.reports.schemas import (
    AppealVerdict,
    QueuedReport,
    ReportDetail,
    ReportedMessage,
    ReportUrgency,
    ReportVerdict,
    RevealedPhone,
    SuspensionChange,
)
from curhat.control_center.schemas import (
    MitraReference,
    customer_reference,
    from_row,
    operator_reference,
)
from curhat.journeys import suspensions
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import Forbidden, NotFound, invalid_field
from curhat.kit.identity import Identity
from curhat.kit.page import Page
from curhat.kit.pause_points import pause_point
from curhat.kit.queries import read_clock
from curhat.safety.reports import service as reports
from curhat.safety.reports.service import NewNotice
from curhat.safety.reports.states import DUE_WITHIN, VITAL_REASONS, NoticeKind, Urgency

# How many messages an operator sees before and after each marked message.
MESSAGES_AROUND: Final = 5
# A suspension ends at most this long from now. A longer one is for good.
MAX_SUSPENSION: Final = timedelta(days=366)

_URGENCIES: Final[dict[Urgency, ReportUrgency]] = {
    0: "within_15_minutes",
    1: "within_24_hours",
    2: "within_72_hours",
}


# Reading -----------------------------------------------------------------------------------------------------


async def read_reports(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[QueuedReport]:
    """Read a page of the queue. Raises ValidationFailed for a bad cursor."""
    conditions = after(
        filters, "(reports.queue_rank, reports.due_at, reports.id) > ({0}, {1}, {2})", ranked_key_of(cursor)
    )
    rows = await queries.list_reports(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _queued_report, lambda row: cursor_of(row.due_at, row.id, row.queue_rank))


async def open_report(tx: Transaction, operator: SignedInOperator, report_id: UUID) -> ReportDetail:
    """Read one report with its marked messages, and write an audit entry. Raises NotFound."""
    detail = await read_report(tx, report_id)
    await write_audit_entry(tx, operator.id, "report_opened", "report", report_id)
    return detail


async def read_report(tx: Transaction, report_id: UUID) -> ReportDetail:
    """Read one report with its marked messages. Raises NotFound."""
    row = await find_row(tx, queries.list_reports, "reports.id", report_id)
    context = await queries.read_report_context(tx, report_id=report_id)
    messages = await queries.list_marked_messages(tx, report_id=report_id, around=MESSAGES_AROUND)
    return ReportDetail(
        **msgspec.structs.asdict(_queued_report(row)),
        **msgspec.structs.asdict(context),
        note=row.note,
        decision_note=row.decision_note,
        appeal_text=row.appeal_text,
        appeal_note=row.appeal_note,
        messages=[from_row(ReportedMessage, message) for message in messages],
    )


def _queued_report(row: ReportRow) -> QueuedReport:
    return from_row(
        QueuedReport,
        row,
        urgency=_URGENCIES[row.urgency],
        reported="mitra" if row.reporter == "customer" else "customer",
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        mitra=MitraReference(id=row.mitra_id, display_name=row.mitra_display_name),
        decided_by=operator_reference(row.decided_by, row.decided_by_email),
        approved_by=operator_reference(row.approved_by, row.approved_by_email),
        appeal_decided_by=operator_reference(row.appeal_decided_by, row.appeal_decided_by_email),
    )


# Deciding ----------------------------------------------------------------------------------------------------


async def decide(
    tx: Transaction, operator: SignedInOperator, report_id: UUID, verdict: ReportVerdict, note: str
) -> None:
    """Decide a report once (T.3). The first decision wins; the same operator can repeat it.

    A suspension for good waits for another operator (`approve`). Every other decision takes effect at once: a sanction,
    and a notice to each side.
    Raises NotFound, ReportDecided, ValidationFailed.
    """
    report = await _lock(tx, report_id)
    if report.status != "open":
        if (report.decided_by, report.decision, report.suspend_until) == (
            operator.id,
            verdict.decision,
            verdict.until,
        ):
            return
        raise ReportDecided(
            decision=report.decision, decided_at=report.decided_at, decided_by=report.decided_by_email
        )
    _check_verdict(report, verdict)
    needs_approval = verdict.decision == "suspend" and verdict.until is None
    await queries.decide_report(
        tx,
        report_id=report_id,
        decision=verdict.decision,
        decision_note=note,
        suspend_until=verdict.until,
        operator_id=operator.id,
        needs_approval=needs_approval,
        due_within_seconds=DUE_WITHIN[report.urgency].total_seconds(),
    )
    end = "" if verdict.until is None else f" until {verdict.until.isoformat()}"
    await write_audit_entry(
        tx,
        operator.id,
        "report_decided",
        "report",
        report_id,
        old="open",
        new=f"{verdict.decision}{end}" + (" (awaits approval)" if needs_approval else ""),
    )
    if not needs_approval:
        await _carry_out(tx, operator, report, verdict.decision, verdict.until)
    await pause_point("decide_report.before_commit")


def _check_verdict(report: LockedReport, verdict: ReportVerdict) -> None:
    """Raise ValidationFailed if this decision is not possible for this report."""
    if report.kind == "concern" and verdict.decision != "no_action":
        raise invalid_field("decision", "must be no_action, because a concern accuses nobody")
    if report.reason == "minor" and verdict.decision == "warn":
        raise invalid_field("decision", "must be no_action or suspend, for a report about a minor")
    if verdict.until is None:
        return
    if verdict.decision != "suspend":
        raise invalid_field("until", "belongs to the decision suspend alone")
    if report.reason == "minor":
        raise invalid_field("until", "must be left out: an account of a minor is closed for good")
    _check_end(verdict.until, report.now)


def _check_end(until: datetime, now: datetime) -> None:
    checked_time("until", until)
    if not now < until <= now + MAX_SUSPENSION:
        raise invalid_field("until", f"must be within the next {MAX_SUSPENSION.days} days")


async def approve(
    tx: Transaction, operator: SignedInOperator, report_id: UUID, *, is_approved: bool = True
) -> None:
    """Approve a suspension for good, which then takes effect (awaiting_approval → decided).

    The approver is another operator than the decider. If the operator who approved repeats the call, nothing changes.
    Without `is_approved`, the report is open again.
    Raises NotFound, NoSuspensionWaits, OwnDecision.
    """
    report = await _lock(tx, report_id)
    if report.status != "awaiting_approval":
        if is_approved and report.approved_by == operator.id:
            return
        raise NoSuspensionWaits
    if report.decided_by == operator.id:
        raise OwnDecision
    if not is_approved:
        due_within = DUE_WITHIN[report.urgency].total_seconds()
        await queries.refuse_suspension(tx, report_id=report_id, due_within_seconds=due_within)
        await write_audit_entry(
            tx, operator.id, "suspension_refused", "report", report_id, old="suspend", new="open"
        )
        return
    await queries.approve_suspension(tx, report_id=report_id, operator_id=operator.id)
    await write_audit_entry(tx, operator.id, "suspension_approved", "report", report_id, new="suspend")
    await _carry_out(tx, operator, report, "suspend", None)


async def decide_appeal(
    tx: Transaction, operator: SignedInOperator, report_id: UUID, verdict: AppealVerdict, note: str
) -> None:
    """Decide an appeal once (appealed → decided, T.4). Another operator than the decider decides it.

    An overturned suspension ends, unless another report still suspends the person.
    Raises NotFound, NoAppealWaits, AppealDecided, OwnDecision.
    """
    report = await _lock(tx, report_id)
    if report.appeal_decision is not None:
        if (report.appeal_decided_by, report.appeal_decision) == (operator.id, verdict.decision):
            return
        raise AppealDecided(
            decision=report.appeal_decision,
            decided_at=report.appeal_decided_at,
            decided_by=report.appeal_decided_by_email,
        )
    if report.status != "appealed":
        raise NoAppealWaits
    if report.decided_by == operator.id:
        raise OwnDecision
    await queries.decide_appeal(
        tx,
        report_id=report_id,
        appeal_decision=verdict.decision,
        appeal_note=note,
        operator_id=operator.id,
    )
    await write_audit_entry(
        tx, operator.id, "appeal_decided", "report", report_id, old=report.decision, new=verdict.decision
    )
    if verdict.decision == "upheld":
        await reports.give_notices(tx, [_notice(_reported(report), "appeal_upheld", report)])
        return
    await reports.withdraw_sanctions(tx, report_id)
    if report.decision == "suspend" and not await queries.has_other_suspension(tx, report_id=report_id):
        await suspensions.lift(tx, _reported(report), by=str(operator.id))
    await reports.give_notices(
        tx,
        [
            _notice(_reported(report), "appeal_overturned", report),
            _notice(_reporter(report), "report_no_violation", report),
        ],
    )


async def _carry_out(
    tx: Transaction, operator: SignedInOperator, report: LockedReport, decision: str, until: datetime | None
) -> None:
    """Apply the sanction of a decision, and tell both sides (T.4). A concern has no sanction, and nobody is told."""
    if report.kind == "concern":
        return
    if decision == "no_action":
        await reports.give_notices(tx, [_notice(_reporter(report), "report_no_violation", report)])
        return
    if decision == "suspend":
        reason = f"report {report.id}"
        await suspensions.suspend(tx, _reported(report), until=until, by=str(operator.id), reason=reason)
    kind: NoticeKind = "suspension" if decision == "suspend" else "warning"
    await reports.give_notices(
        tx,
        [
            _notice(_reported(report), kind, report, until),
            _notice(_reporter(report), "report_acted", report),
        ],
    )


def _notice(
    who: Identity, kind: NoticeKind, report: LockedReport, until: datetime | None = None
) -> NewNotice:
    return NewNotice(who.role, who.user_id, kind, report.id, until)


def _reporter(report: LockedReport) -> Identity:
    return (
        Identity("customer", report.customer_id)
        if report.reporter == "customer"
        else Identity("mitra", report.mitra_id)
    )


def _reported(report: LockedReport) -> Identity:
    return (
        Identity("mitra", report.mitra_id)
        if report.reporter == "customer"
        else Identity("customer", report.customer_id)
    )


async def _lock(tx: Transaction, report_id: UUID) -> LockedReport:
    report = await queries.lock_report(tx, report_id=report_id)
    if report is None:
        raise NotFound
    return report


# Phone numbers and suspensions -------------------------------------------------------------------------------


async def reveal_phone(
    tx: Transaction, operator: SignedInOperator, report_id: UUID, reason: str
) -> RevealedPhone:
    """Return the customer's phone number for a vital interest, and write the reason to the audit (H.3).

    Raises NotFound, NoVitalInterest.
    """
    report = await _lock(tx, report_id)
    if report.kind != "concern" and report.reason not in VITAL_REASONS:
        raise NoVitalInterest
    await write_audit_entry(
        tx, operator.id, "phone_revealed", "report", report_id, new=f"vital_interest: {reason}"
    )
    phone_number = await queries.read_phone_number(tx, customer_id=report.customer_id)
    return RevealedPhone(report.customer_id, phone_number)


async def change_suspension(
    tx: Transaction, operator: SignedInOperator, customer_id: UUID, change: SuspensionChange, reason: str
) -> None:
    """Suspend a customer without a report, or lift a suspension, and tell the customer (T.3).

    Only an admin suspends a customer without an end. If the customer is suspended for longer already, nothing changes.
    Raises NotFound, Forbidden, ValidationFailed.
    """
    who = Identity("customer", customer_id)
    if not change.suspended:
        if change.until is not None:
            raise invalid_field("until", "belongs to a suspension alone")
        if await suspensions.lift(tx, who, by=str(operator.id)):
            await reports.give_notices(tx, [NewNotice("customer", customer_id, "suspension_lifted")])
        return
    if change.until is None and operator.role != "admin":
        raise Forbidden
    if change.until is not None:
        _check_end(change.until, await read_clock(tx))
    if not await suspensions.suspend(tx, who, until=change.until, by=str(operator.id), reason=reason):
        return
    notice = NewNotice("customer", customer_id, "suspension", suspended_until=change.until)
    await reports.give_notices(tx, [notice])
