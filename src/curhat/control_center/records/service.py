"""Reads payments, sessions, customers and mitras. Changes mitras.

Every function takes an open transaction and never commits it.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from curhat.accounts import service as accounts
from curhat.accounts.phone import mask
from curhat.control_center.lists.cursors import after, cursor_of, find_row, key_of, page_of
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import checked_time
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import queries
from curhat.control_center.records.queries import (
    CustomerRow,
    MitraRequestRow,
    MitraRow,
    PaymentRow,
    SessionRow,
    TimelineRow,
)
from curhat.control_center.records.schemas import (
    MAX_REASON_CHARACTERS,
    Acceptance,
    AnswersSort,
    BlocksOfPerson,
    CustomerDetail,
    CustomerRecord,
    InvitedMitra,
    MitraAnswers,
    MitraAnswersList,
    MitraChange,
    MitraDetail,
    MitraInvitation,
    MitraRecord,
    MitraRequest,
    PaymentDetail,
    PaymentRecord,
    PaymentTotals,
    ReportsOfPerson,
    SessionDetail,
    SessionMoney,
    SessionRecord,
    SessionTotals,
    TimelineEntry,
    UnitPayment,
)
from curhat.control_center.schemas import (
    MitraReference,
    customer_reference,
    from_row,
    mitra_reference,
    operator_reference,
)
from curhat.journeys import mitras
from curhat.kit.database import Transaction
from curhat.kit.errors import PresenceUnknown, invalid_field
from curhat.kit.identity import Role
from curhat.kit.page import Page
from curhat.kit.queries import read_clock
from curhat.kit.visible_text import checked_text
from curhat.payments.reference import payment_reference
from curhat.presence.service import Presence
from curhat.safety.ratings import service as ratings

AnyMitraRecord = TypeVar("AnyMitraRecord", bound=MitraRecord)

# A blast can ask thousands of mitras. The timeline keeps those who answered first.
MAX_ASKED_IN_TIMELINE: Final = 100

# Bounds how many rows a total reads. With more rows, the total says that it is at least so much.
MAX_ROWS_TOTALLED: Final = 10_000
MAX_MITRAS_SHOWN: Final = 500
# For how many days the answers of the mitras are kept and shown.
ANSWER_DAYS: Final = 31
# Bounds how many hours one request counts that the worker has not stored yet, for example after a stop of the worker.
MAX_HOURS_COUNTED: Final = 6
# Limits how long one call of `keep_mitra_hours` takes.
MAX_HOURS_PER_KEEP: Final = 24
_HOUR: Final = timedelta(hours=1)


# Payments ----------------------------------------------------------------------------------------------------


async def read_payments(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[PaymentRecord]:
    """Read a page of payments, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(payments.created_at, payments.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_payments(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _payment_record, lambda row: cursor_of(row.created_at, row.id))


async def read_payment(tx: Transaction, payment_id: UUID) -> PaymentRecord:
    """Read one payment. Raises NotFound."""
    return _payment_record(await find_row(tx, queries.list_payments, "payments.id", payment_id))


async def read_payment_detail(tx: Transaction, payment_id: UUID) -> PaymentDetail:
    """Read one payment and its timeline. Raises NotFound."""
    payment = await read_payment(tx, payment_id)
    return PaymentDetail(
        **msgspec.structs.asdict(payment),
        money=await read_money(tx, payment_id),
        mitras_asked=await queries.count_asked(tx, payment_id=payment_id),
        timeline=await read_timeline(tx, payment_id),
    )


async def read_money(tx: Transaction, payment_id: UUID) -> SessionMoney:
    """Read all payments of the session that this payment belongs to, and their sums."""
    rows = await queries.read_money(tx, payment_id=payment_id)
    paid = [
        from_row(
            UnitPayment,
            row,
            status=row.payment_status,
            reference=payment_reference(row.id),
            left_rp=row.taken_rp - row.refunded_rp - row.requested_rp,
        )
        for row in rows
    ]
    return SessionMoney(
        session_id=rows[0].session_id,
        payments=paid,
        taken_rp=sum(each.taken_rp for each in paid),
        refunded_rp=sum(each.refunded_rp for each in paid),
        requested_rp=sum(each.requested_rp for each in paid),
        left_rp=sum(each.left_rp for each in paid),
    )


async def read_timeline(tx: Transaction, payment_id: UUID) -> list[TimelineEntry]:
    """Read everything that happened to a payment, oldest first, with at most MAX_ASKED_IN_TIMELINE asked mitras."""
    rows = await queries.read_timeline(tx, payment_id=payment_id, max_asked=MAX_ASKED_IN_TIMELINE)
    return [_timeline_entry(row) for row in rows]


def _payment_record(row: PaymentRow) -> PaymentRecord:
    return from_row(
        PaymentRecord,
        row,
        status=row.payment_status,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        target_mitra=mitra_reference(row.target_mitra_id, row.target_mitra_display_name),
    )


def _timeline_entry(row: TimelineRow) -> TimelineEntry:
    mitra = mitra_reference(row.mitra_id, row.mitra_display_name)
    operator = operator_reference(row.operator_id, row.operator_email)
    return from_row(TimelineEntry, row, mitra=mitra, operator=operator)


async def total_payments(tx: Transaction, filters: Filters) -> PaymentTotals:
    """Count and add the payments that the filters find, at most MAX_ROWS_TOTALLED."""
    (totals,) = await queries.total_payments(tx, filters, max_rows=MAX_ROWS_TOTALLED)
    return from_row(PaymentTotals, totals, is_at_least=totals.payments >= MAX_ROWS_TOTALLED)


# Sessions ----------------------------------------------------------------------------------------------------


async def read_sessions(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[SessionRecord]:
    """Read a page of chat sessions, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(sessions.started_at, sessions.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_sessions(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _session_record, lambda row: cursor_of(row.started_at, row.id))


async def total_sessions(tx: Transaction, filters: Filters) -> SessionTotals:
    """Count and add the chat sessions that the filters find, at most MAX_ROWS_TOTALLED."""
    (totals,) = await queries.total_sessions(tx, filters, max_rows=MAX_ROWS_TOTALLED)
    return from_row(SessionTotals, totals, is_at_least=totals.sessions >= MAX_ROWS_TOTALLED)


async def read_session_detail(tx: Transaction, session_id: UUID) -> SessionDetail:
    """Read one chat session, without its messages. Raises NotFound."""
    session = _session_record(await find_row(tx, queries.list_sessions, "sessions.id", session_id))
    sent = await queries.count_messages(tx, session_id=session_id)
    return SessionDetail(
        **msgspec.structs.asdict(session),
        **msgspec.structs.asdict(sent),
        money=await read_money(tx, session.payment_id),
    )


def _session_record(row: SessionRow) -> SessionRecord:
    return from_row(
        SessionRecord,
        row,
        status=row.session_status,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        mitra=MitraReference(id=row.mitra_id, display_name=row.mitra_display_name),
    )


# Customers ---------------------------------------------------------------------------------------------------


async def read_customers(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[CustomerRecord]:
    """Read a page of customers, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(customers.created_at, customers.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_customers(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _customer_record, lambda row: cursor_of(row.created_at, row.id))


async def read_customer(tx: Transaction, customer_id: UUID) -> CustomerRecord:
    """Read one customer. Raises NotFound."""
    return _customer_record(await find_row(tx, queries.list_customers, "customers.id", customer_id))


async def read_customer_detail(tx: Transaction, customer_id: UUID) -> CustomerDetail:
    """Read one customer, with the suspension and the numbers of reports. Raises NotFound."""
    customer = await read_customer(tx, customer_id)
    suspension = await queries.read_customer_suspension(tx, customer_id=customer_id)
    reason = await _suspension_reason(tx, "customer", customer_id) if suspension.suspended else None
    return CustomerDetail(
        **msgspec.structs.asdict(customer),
        **msgspec.structs.asdict(suspension),
        suspension_reason=reason,
        reports=await _reports_of(tx, "customer", customer_id),
        blocks=await _blocks_of(tx, "customer", customer_id),
        ratings=await ratings.counts_by_customer(tx, customer_id),
    )


async def _reports_of(tx: Transaction, role: Role, user_id: UUID) -> ReportsOfPerson:
    return from_row(ReportsOfPerson, await queries.count_reports_of_person(tx, role=role, user_id=user_id))


async def _blocks_of(tx: Transaction, role: Role, user_id: UUID) -> BlocksOfPerson:
    count = queries.count_blocks_of_customer if role == "customer" else queries.count_blocks_of_mitra
    return from_row(BlocksOfPerson, await count(tx, user_id=user_id))


async def _suspension_reason(tx: Transaction, role: Role, user_id: UUID) -> str | None:
    noted = await queries.read_suspension_note(
        tx, user_id=str(user_id), role=role, suspended=f"{role}_suspended"
    )
    _, _, reason = (noted or "").partition(": ")
    return reason or None


def _customer_record(row: CustomerRow) -> CustomerRecord:
    return from_row(CustomerRecord, row, phone_masked=mask(row.phone_number))


# Mitras ------------------------------------------------------------------------------------------------------


async def read_mitras(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int, *, presence: Presence
) -> Page[MitraRecord]:
    """Read a page of mitras, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(mitras.created_at, mitras.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_mitras(tx, conditions, limit=limit + 1)
    page = page_of(rows, limit, _mitra_record, lambda row: cursor_of(row.created_at, row.id))
    return Page(await with_connections(presence, page.items), page.next_cursor)


async def read_mitra(tx: Transaction, mitra_id: UUID) -> MitraRecord:
    """Read one mitra from PostgreSQL. The result's `connected` is None. Raises NotFound."""
    return _mitra_record(await find_row(tx, queries.list_mitras, "mitras.id", mitra_id))


async def read_mitra_detail(tx: Transaction, mitra_id: UUID) -> MitraDetail:
    """Read one mitra, with its suspension and numbers of reports. The result's `connected` is None. Raises NotFound."""
    mitra = await read_mitra(tx, mitra_id)
    is_suspended = mitra.suspended
    return MitraDetail(
        **msgspec.structs.asdict(mitra),
        suspension_reason=await _suspension_reason(tx, "mitra", mitra_id) if is_suspended else None,
        suspended_until=await queries.read_suspension_end(tx, mitra_id=mitra_id) if is_suspended else None,
        reports=await _reports_of(tx, "mitra", mitra_id),
        blocks=await _blocks_of(tx, "mitra", mitra_id),
        ratings=await ratings.counts_of_mitra(tx, mitra_id),
    )


async def with_connections(presence: Presence, records: list[AnyMitraRecord]) -> list[AnyMitraRecord]:
    """Set `connected` of each mitra. If Valkey does not answer, return the records unchanged."""
    try:
        connected = await presence.connected_among([each.id for each in records])
    except PresenceUnknown:
        return records
    return [msgspec.structs.replace(each, connected=each.id in connected) for each in records]


async def read_mitra_requests(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int, *, mitra_id: UUID
) -> Page[MitraRequest]:
    """Read a page of a mitra's requests, newest first. Raises NotFound, ValidationFailed for a bad cursor."""
    await find_row(tx, queries.list_mitras, "mitras.id", mitra_id)
    key = key_of(cursor)
    conditions = after(filters, "requests.id < {0}", None if key is None else key[1:])
    rows = await queries.list_mitra_requests(tx, conditions, mitra_id=mitra_id, limit=limit + 1)
    return page_of(rows, limit, _mitra_request, lambda row: cursor_of(row.offered_at, row.id))


def _mitra_request(row: MitraRequestRow) -> MitraRequest:
    seconds = None if row.answered_at is None else (row.answered_at - row.offered_at).total_seconds()
    return from_row(
        MitraRequest,
        row,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        answer_seconds=seconds,
    )


async def read_mitra_answers(
    tx: Transaction, since: datetime | None, until: datetime | None, sort: AnswersSort
) -> MitraAnswersList:
    """Read how each mitra answered from `since` to `until`. The default is the last 7 days. Raises ValidationFailed."""
    now = await read_clock(tx)
    until = now if until is None else min(checked_time("to", until), now)
    since = until - timedelta(days=7) if since is None else checked_time("from", since)
    since, until = _full_hour(since), _full_hour(until + _HOUR - timedelta(microseconds=1))
    if not timedelta() < until - since <= timedelta(days=ANSWER_DAYS) + _HOUR:
        raise invalid_field("from", f"must be before `to`, and at most {ANSWER_DAYS} days before it")
    rows = await queries.sum_mitra_hours(
        tx,
        since=since,
        until=until,
        sort=sort,
        max_hours=MAX_HOURS_COUNTED,
        max_rows=MAX_MITRAS_SHOWN,
    )
    return MitraAnswersList(items=[from_row(MitraAnswers, row) for row in rows], since=since, until=until)


def _full_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


async def keep_mitra_hours(tx: Transaction) -> int:
    """Store how mitras answered in past hours, newest first.

    Returns the number of hours, at most MAX_HOURS_PER_KEEP.
    """
    return await queries.keep_mitra_hours(tx, days=ANSWER_DAYS, max_hours=MAX_HOURS_PER_KEEP)


async def invite_mitra(
    tx: Transaction, operator: SignedInOperator, invitation: MitraInvitation, phone_regions: Collection[str]
) -> InvitedMitra:
    """Make a person or customer a mitra. An invitation of a person who is already a mitra changes nothing.

    Raises ValidationFailed.
    """
    invited = await accounts.invite_mitra(
        tx,
        invitation.phone,
        invitation.display_name,
        invitation.max_customers,
        by=str(operator.id),
        phone_regions=phone_regions,
    )
    mitra = await read_mitra(tx, invited.mitra_id)
    return InvitedMitra(**msgspec.structs.asdict(mitra), is_new=invited.is_new)


async def change_mitra(
    tx: Transaction, operator: SignedInOperator, mitra_id: UUID, change: MitraChange
) -> MitraRecord:
    """Rename a mitra, set its capacity, suspend it, or lift its suspension.

    If one of the wanted changes fails, the function makes no change.
    Raises NotFound, ValidationFailed.
    """
    by = str(operator.id)
    if change == MitraChange():
        raise invalid_field("body", "must name display_name, max_customers or suspended")
    if change.reason is not msgspec.UNSET and change.suspended is not True:
        raise invalid_field("reason", "belongs to a suspension only")
    reason = (
        None
        if change.reason is msgspec.UNSET
        else checked_text(change.reason, "reason", MAX_REASON_CHARACTERS).strip()
    )
    if change.max_customers is not msgspec.UNSET:
        await mitras.change_capacity(tx, mitra_id, change.max_customers, by=by)
    if change.suspended is True:
        await mitras.suspend_mitra(tx, mitra_id, by=by, reason=reason)
    elif change.suspended is False:
        await accounts.lift_suspension(tx, mitra_id, by=by)
    if change.display_name is not msgspec.UNSET:
        # Rename last, because the rename locks event streams. Event streams are last in the lock order.
        await mitras.rename_mitra(tx, mitra_id, change.display_name, by=by)
    return await read_mitra(tx, mitra_id)


def _mitra_record(row: MitraRow) -> MitraRecord:
    return from_row(
        MitraRecord,
        row,
        phone_masked=mask(row.phone_number),
        connected=None,
        suspended=row.suspended_at is not None,
        acceptance=from_row(Acceptance, row),
    )
