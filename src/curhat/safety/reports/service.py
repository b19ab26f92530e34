"""The steps of reporters and of reported people, and the notices to both. Every function takes an open transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from curhat.deadlines import service as deadlines
from curhat.kit.database import Transaction
from curhat.kit.errors import AcknowledgementNeeded, NotFound, too_many_until
from curhat.kit.identity import Identity, Role
from curhat.kit.page import PAGE_SIZE, Page
from curhat.kit.pause_points import pause_point
from curhat.kit.visible_text import checked_text
from curhat.payments import service as payments
from curhat.realtime import service as realtime
from curhat.realtime.event_types import StreamEvent
from curhat.safety.reports import queries
from curhat.safety.reports.errors import (
    AlreadyAppealed,
    AlreadyReported,
    AppealClosed,
    TextGone,
)
from curhat.safety.reports.events import NOTICE_CREATED
from curhat.safety.reports.queries import NoticeRow, OwnReport, ReportedSession
from curhat.safety.reports.schemas import (
    MAX_APPEAL_CHARACTERS,
    MAX_NOTE_CHARACTERS,
    Appeal,
    Concern,
    NewConcern,
    NewReport,
    Notice,
    Report,
)
from curhat.safety.reports.states import (
    APPEAL_DAYS,
    APPEAL_DUE_WITHIN,
    CONCERN_URGENCY,
    DUE_WITHIN,
    MAX_CONCERNS_PER_SESSION,
    MAX_REPORTS_PER_DAY,
    SANCTIONS,
    UNLIMITED_REASONS,
    URGENCY,
    NoticeKind,
    OwnReportStatus,
)

# Deadline kind: tell the person about this notice by push, if the person is not connected.
PUSH_NOTICE: Final = "push_notice"
# How many warnings a refusal names at most. A person who has more gets the rest in the next refusal.
MAX_WARNINGS_NAMED: Final = 20
# How long a mitra waits who has raised the maximum number of concerns about one chat.
CONCERNS_RETRY_SECONDS: Final = 3600

# This id is greater than every id of a row, so a page that begins before this id is the first page.
_NEWEST = UUID(int=2**128 - 1)


class NewNotice(msgspec.Struct, frozen=True):
    """A notice to give. `report_id` is None if an operator acted without a report."""

    role: Role
    user_id: UUID
    kind: NoticeKind
    report_id: UUID | None = None
    suspended_until: datetime | None = None


# Reporting ---------------------------------------------------------------------------------------------------


async def report(tx: Transaction, identity: Identity, session_id: UUID, new: NewReport) -> Report:
    """Report the other side of a session that runs or has ended (nothing → open, T.2).

    The session's text is then held. A customer's report also opens the review case of the session's payment, if money
    was taken (T.3). The function locks the payment and then the session, so call it before any other lock of the
    transaction.
    Raises NotFound if the session is not this person's, or a marked message is not of this session. Raises
    AlreadyReported, TextGone, TooManyRequests, ValidationFailed.
    """
    note = None if new.note is None else checked_text(new.note, "note", MAX_NOTE_CHARACTERS).strip()
    await queries.lock_reports_of(tx, reporter=identity.role, user_id=identity.user_id)
    session = await _lock_session(tx, identity, session_id, with_payment=identity.role == "customer")
    earlier = await queries.find_report(tx, session_id=session_id, reporter=identity.role)
    if earlier is not None:
        raise AlreadyReported(report_id=earlier)
    if not session.has_text:
        raise TextGone
    if new.reason not in UNLIMITED_REASONS:
        wait_seconds = await queries.find_report_wait(
            tx,
            reporter=identity.role,
            user_id=identity.user_id,
            unlimited_reasons=UNLIMITED_REASONS,
            max_reports=MAX_REPORTS_PER_DAY,
        )
        if wait_seconds is not None:
            raise too_many_until(wait_seconds)
    message_ids = list(dict.fromkeys(new.message_ids))
    if message_ids and len(message_ids) != await queries.count_messages_of_session(
        tx, session_id=session_id, message_ids=message_ids
    ):
        raise NotFound
    urgency = URGENCY[new.reason]
    inserted = await queries.insert_report(
        tx,
        session_id=session_id,
        customer_id=session.customer_id,
        mitra_id=session.mitra_id,
        reporter=identity.role,
        reason=new.reason,
        note=note,
        message_ids=message_ids,
        urgency=urgency,
        due_within_seconds=DUE_WITHIN[urgency].total_seconds(),
    )
    await pause_point("report.inserted")
    return Report(inserted.id, session_id, new.reason, "received", inserted.created_at)


async def raise_concern(tx: Transaction, mitra_id: UUID, session_id: UUID, new: NewConcern) -> Concern:
    """Put a mitra's concern about the customer of a session into the queue of reports (H.3).

    The session's text is then held. Locks the session. Raises NotFound, TextGone, TooManyRequests, ValidationFailed.
    """
    note = None if new.note is None else checked_text(new.note, "note", MAX_NOTE_CHARACTERS).strip()
    session = await _lock_session(tx, Identity("mitra", mitra_id), session_id, with_payment=False)
    if not session.has_text:
        raise TextGone
    if await queries.count_concerns(tx, session_id=session_id) >= MAX_CONCERNS_PER_SESSION:
        raise too_many_until(CONCERNS_RETRY_SECONDS)
    inserted = await queries.insert_concern(
        tx,
        session_id=session_id,
        customer_id=session.customer_id,
        mitra_id=session.mitra_id,
        level=new.level,
        note=note,
        urgency=CONCERN_URGENCY,
        due_within_seconds=DUE_WITHIN[CONCERN_URGENCY].total_seconds(),
    )
    return Concern(inserted.id, session_id, new.level, inserted.created_at)


async def _lock_session(
    tx: Transaction, identity: Identity, session_id: UUID, *, with_payment: bool
) -> ReportedSession:
    """Lock the person's session. With `with_payment`, open the case of its payment first. Raises NotFound."""
    payment_id = await queries.find_payment_of_session(
        tx, session_id=session_id, role=identity.role, user_id=identity.user_id
    )
    if payment_id is None:
        raise NotFound
    if with_payment:
        await payments.open_case_about_report(tx, payment_id)
    return await queries.lock_session(tx, session_id=session_id)


async def own_reports(tx: Transaction, identity: Identity, before_id: UUID | None = None) -> Page[Report]:
    """Return a page of the reports that this person has made, newest first."""
    list_reports = (
        queries.list_reports_of_customer if identity.role == "customer" else queries.list_reports_of_mitra
    )
    rows = await list_reports(
        tx, user_id=identity.user_id, before_id=before_id or _NEWEST, max_reports=PAGE_SIZE + 1
    )
    shown = rows[:PAGE_SIZE]
    return Page(
        items=[Report(row.id, row.session_id, row.reason, _own_status(row), row.created_at) for row in shown],
        next_cursor=str(shown[-1].id) if len(rows) > PAGE_SIZE else None,
    )


def _own_status(row: OwnReport) -> OwnReportStatus:
    if row.report_status in ("open", "awaiting_approval"):
        return "received"
    if row.decision == "no_action" or row.appeal_decision == "overturned":
        return "no_violation"
    return "acted"


# Notices -----------------------------------------------------------------------------------------------------


async def give_notices(tx: Transaction, new: Sequence[NewNotice]) -> None:
    """Write these notices, and tell each person by an event and perhaps by push (T.4).

    The function locks event streams, so call it after every other lock of the transaction.
    """
    told: list[StreamEvent] = []
    for each in new:
        for notice_id in await queries.insert_notices(
            tx,
            role=each.role,
            user_id=each.user_id,
            notice_kind=each.kind,
            report_id=each.report_id,
            suspended_until=each.suspended_until,
        ):
            (row,) = await queries.read_notices(tx, ids=[notice_id])
            notice = _notice(row)
            event = (
                NOTICE_CREATED.to_customer(each.user_id, notice)
                if each.role == "customer"
                else NOTICE_CREATED.to_mitra(each.user_id, notice)
            )
            told.append(event)
            await deadlines.arm_now(tx, PUSH_NOTICE, notice_id)
    await realtime.append(tx, told)


async def withdraw_sanctions(tx: Transaction, report_id: UUID) -> None:
    """Withdraw the notices of an overturned decision. A withdrawn warning needs no acknowledgement."""
    await queries.withdraw_sanctions(tx, report_id=report_id)


async def own_notices(tx: Transaction, identity: Identity, before_id: UUID | None = None) -> Page[Notice]:
    """Return a page of this person's notices, newest first."""
    rows = await queries.list_notices(
        tx,
        user_id=identity.user_id,
        role=identity.role,
        before_id=before_id or _NEWEST,
        max_notices=PAGE_SIZE + 1,
    )
    shown = rows[:PAGE_SIZE]
    return Page(
        items=[_notice(row) for row in shown],
        next_cursor=str(shown[-1].id) if len(rows) > PAGE_SIZE else None,
    )


async def acknowledge(tx: Transaction, identity: Identity, notice_id: UUID) -> Notice:
    """Note that the person has read the notice. A repeated call changes nothing. Raises NotFound."""
    acknowledged = await queries.acknowledge_notice(
        tx, notice_id=notice_id, user_id=identity.user_id, role=identity.role
    )
    if acknowledged is None:
        raise NotFound
    return await _read_notice(tx, notice_id)


async def appeal(tx: Transaction, identity: Identity, notice_id: UUID, text: str) -> Notice:
    """Appeal once, within APPEAL_DAYS, against the warning or suspension of this notice (decided → appealed).

    Raises NotFound, AppealClosed, AlreadyAppealed, ValidationFailed.
    """
    text = checked_text(text, "text", MAX_APPEAL_CHARACTERS).strip()
    found = await queries.find_report_of_notice(
        tx, notice_id=notice_id, user_id=identity.user_id, role=identity.role
    )
    if found is None:
        raise NotFound
    if found.report_id is None or found.notice_kind not in SANCTIONS:
        raise AppealClosed
    locked = await queries.lock_decision(tx, report_id=found.report_id)
    if locked.appealed_at is not None:
        raise AlreadyAppealed
    if locked.report_status != "decided" or locked.now >= locked.decided_at + timedelta(days=APPEAL_DAYS):
        raise AppealClosed
    await queries.insert_appeal(
        tx,
        report_id=found.report_id,
        appeal_text=text,
        due_within_seconds=APPEAL_DUE_WITHIN.total_seconds(),
    )
    return await _read_notice(tx, notice_id)


async def refuse_unacknowledged(tx: Transaction, identity: Identity) -> None:
    """Raise AcknowledgementNeeded if this person has a warning that waits for an acknowledgement (T.4)."""
    notice_ids = await queries.list_warnings_to_acknowledge(
        tx, user_id=identity.user_id, role=identity.role, max_notices=MAX_WARNINGS_NAMED
    )
    if notice_ids:
        raise AcknowledgementNeeded(notice_ids=[str(each) for each in notice_ids])


async def _read_notice(tx: Transaction, notice_id: UUID) -> Notice:
    (row,) = await queries.read_notices(tx, ids=[notice_id])
    return _notice(row)


def _notice(row: NoticeRow) -> Notice:
    is_own_report = row.notice_kind in ("report_acted", "report_no_violation")
    is_sanction = row.notice_kind in SANCTIONS and row.reporter is not None
    appeal_by = row.created_at + timedelta(days=APPEAL_DAYS)
    can_appeal = (
        is_sanction and row.appealed_at is None and row.withdrawn_at is None and row.server_now < appeal_by
    )
    return Notice(
        id=row.id,
        kind=row.notice_kind,
        rule=row.reason,
        session_id=row.session_id if is_own_report else None,
        suspended_until=row.suspended_until,
        created_at=row.created_at,
        acknowledged_at=row.acknowledged_at,
        must_acknowledge=row.notice_kind == "warning"
        and row.acknowledged_at is None
        and row.withdrawn_at is None,
        appeal_by=appeal_by if can_appeal else None,
        appeal=Appeal(row.appeal_text, row.appealed_at, row.appeal_decision)
        if is_sanction and row.appealed_at is not None
        else None,
        server_now=row.server_now,
    )
