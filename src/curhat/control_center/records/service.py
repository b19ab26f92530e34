"""Reading payments, sessions, customers and mitras; changing mitras; revealing chat text.

Every function takes an open transaction and never commits it.
"""

from typing import Final
from uuid import UUID

import msgspec

from curhat.accounts import service as accounts
from curhat.accounts.phone import mask
from curhat.control_center.audit.service import write_audit_entry
from curhat.control_center.lists.cursors import after, cursor_of, key_of, only, page_of
from curhat.control_center.lists.filters import Filters
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import queries
from curhat.control_center.records.queries import (
    CustomerRow,
    MitraRow,
    PaymentRow,
    SessionRow,
    TimelineRow,
)
from curhat.control_center.records.schemas import (
    Acceptance,
    CustomerRecord,
    InvitedMitra,
    MitraChange,
    MitraInvitation,
    MitraRecord,
    PaymentDetail,
    PaymentRecord,
    SessionDetail,
    SessionRecord,
    TimelineEntry,
    Transcript,
    TranscriptMessage,
)
from curhat.control_center.schemas import (
    MitraReference,
    customer_reference,
    mitra_reference,
    operator_reference,
)
from curhat.journeys import mitras
from curhat.kit.conditions import Conditions
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, PresenceUnknown, ValidationFailed
from curhat.kit.page import Page
from curhat.presence.service import Presence

# Limits one answer. Even two people who type without a pause write fewer messages in eight hours.
MAX_TRANSCRIPT_MESSAGES: Final = 20_000


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
    rows = await queries.list_payments(tx, Conditions(("payments.id = {0}", (payment_id,))), limit=1)
    return _payment_record(only(rows))


async def read_payment_detail(tx: Transaction, payment_id: UUID) -> PaymentDetail:
    """Read one payment and its timeline. Raises NotFound."""
    payment = await read_payment(tx, payment_id)
    return PaymentDetail(**msgspec.structs.asdict(payment), timeline=await read_timeline(tx, payment_id))


async def read_timeline(tx: Transaction, payment_id: UUID) -> list[TimelineEntry]:
    """Read everything that happened to a payment, oldest first."""
    return [_timeline_entry(row) for row in await queries.read_timeline(tx, payment_id=payment_id)]


def _payment_record(row: PaymentRow) -> PaymentRecord:
    return PaymentRecord(
        id=row.id,
        purpose=row.purpose,
        status=row.payment_status,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        amount_rp=row.amount_rp,
        duration_minutes=row.duration_minutes,
        is_trial=row.is_trial,
        target_mitra=mitra_reference(row.target_mitra_id, row.target_mitra_display_name),
        created_at=row.created_at,
        expires_at=row.expires_at,
        confirmed_at=row.confirmed_at,
        closed_at=row.closed_at,
        tag=row.tag,
        session_id=row.session_id,
        case_id=row.case_id,
        server_now=row.server_now,
    )


def _timeline_entry(row: TimelineRow) -> TimelineEntry:
    return TimelineEntry(
        at=row.at,
        type=row.type,
        status=row.status,
        kind=row.kind,
        tag=row.tag,
        reason=row.reason,
        note=row.note,
        amount_rp=row.amount_rp,
        mitra=mitra_reference(row.mitra_id, row.mitra_display_name),
        operator=operator_reference(row.operator_id, row.operator_email),
        entity_id=row.entity_id,
    )


# Sessions ----------------------------------------------------------------------------------------------------


async def read_sessions(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[SessionRecord]:
    """Read a page of chat sessions, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(sessions.started_at, sessions.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_sessions(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _session_record, lambda row: cursor_of(row.started_at, row.id))


async def read_session_detail(tx: Transaction, session_id: UUID) -> SessionDetail:
    """Read one chat session, without its messages. Raises NotFound."""
    rows = await queries.list_sessions(tx, Conditions(("sessions.id = {0}", (session_id,))), limit=1)
    session = _session_record(only(rows))
    sent = await queries.count_messages(tx, session_id=session_id)
    return SessionDetail(
        **msgspec.structs.asdict(session),
        messages_of_customer=sent.by_customer,
        messages_of_mitra=sent.by_mitra,
    )


def _session_record(row: SessionRow) -> SessionRecord:
    return SessionRecord(
        id=row.id,
        status=row.session_status,
        payment_id=row.payment_id,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        mitra=MitraReference(id=row.mitra_id, display_name=row.mitra_display_name),
        duration_minutes=row.duration_minutes,
        is_trial=row.is_trial,
        started_at=row.started_at,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        end_note=row.end_note,
        case_id=row.case_id,
        server_now=row.server_now,
    )


async def reveal_transcript(
    tx: Transaction, operator: SignedInOperator, session_id: UUID, reason: str
) -> Transcript:
    """Read the messages of a session, and record the reason in the audit. Raises NotFound."""
    if await queries.find_session(tx, session_id=session_id) is None:
        raise NotFound
    await write_audit_entry(tx, operator.id, "transcript_revealed", "session", session_id, new=reason.strip())
    rows = await queries.read_messages(tx, session_id=session_id, max_messages=MAX_TRANSCRIPT_MESSAGES)
    messages = [
        TranscriptMessage(
            id=row.id, sender=row.sender, text=row.text, sent_at=row.sent_at, read_at=row.read_at
        )
        for row in rows
    ]
    return Transcript(session_id=session_id, messages=messages)


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
    rows = await queries.list_customers(tx, Conditions(("customers.id = {0}", (customer_id,))), limit=1)
    return _customer_record(only(rows))


def _customer_record(row: CustomerRow) -> CustomerRecord:
    return CustomerRecord(
        id=row.id,
        call_name=row.call_name,
        phone_masked=mask(row.phone_number),
        created_at=row.created_at,
        payments=row.payments,
        sessions=row.sessions,
        open_cases=row.open_cases,
        paid_rp=row.paid_rp,
        last_payment_at=row.last_payment_at,
    )


# Mitras ------------------------------------------------------------------------------------------------------


async def read_mitras(tx: Transaction, filters: Filters, cursor: str | None, limit: int) -> Page[MitraRecord]:
    """Read a page of mitras, newest first. `connected` is None. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(mitras.created_at, mitras.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_mitras(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _mitra_record, lambda row: cursor_of(row.created_at, row.id))


async def read_mitra(tx: Transaction, mitra_id: UUID) -> MitraRecord:
    """Read one mitra. `connected` is None. Raises NotFound."""
    rows = await queries.list_mitras(tx, Conditions(("mitras.id = {0}", (mitra_id,))), limit=1)
    return _mitra_record(only(rows))


async def with_connections(presence: Presence, records: list[MitraRecord]) -> list[MitraRecord]:
    """Set `connected` of each mitra. If Valkey does not answer, return the records unchanged."""
    try:
        connected = await presence.connected_among([each.id for each in records])
    except PresenceUnknown:
        return records
    return [msgspec.structs.replace(each, connected=each.id in connected) for each in records]


async def invite_mitra(
    tx: Transaction, operator: SignedInOperator, invitation: MitraInvitation
) -> InvitedMitra:
    """nobody or customer → mitra. An existing mitra who is invited again does not change. Raises ValidationFailed."""
    invited = await accounts.invite_mitra(
        tx, invitation.phone, invitation.display_name, invitation.max_customers, by=str(operator.id)
    )
    mitra = await read_mitra(tx, invited.mitra_id)
    return InvitedMitra(**msgspec.structs.asdict(mitra), is_new=invited.is_new)


async def change_mitra(
    tx: Transaction, operator: SignedInOperator, mitra_id: UUID, change: MitraChange
) -> MitraRecord:
    """Rename a mitra, set the capacity, suspend, or lift the suspension. All of these changes succeed, or none.

    Raises NotFound, ValidationFailed.
    """
    by = str(operator.id)
    if change == MitraChange():
        raise ValidationFailed(
            errors=[{"field": "body", "message": "must name display_name, max_customers or suspended"}]
        )
    if change.max_customers is not msgspec.UNSET:
        await mitras.change_capacity(tx, mitra_id, change.max_customers, by=by)
    if change.suspended is True:
        await mitras.suspend_mitra(tx, mitra_id, by=by)
    elif change.suspended is False:
        await accounts.lift_suspension(tx, mitra_id, by=by)
    if change.display_name is not msgspec.UNSET:
        # Rename last: the rename locks streams, which are last in the lock order.
        await mitras.rename_mitra(tx, mitra_id, change.display_name, by=by)
    return await read_mitra(tx, mitra_id)


def _mitra_record(row: MitraRow) -> MitraRecord:
    return MitraRecord(
        id=row.id,
        display_name=row.display_name,
        phone_masked=mask(row.phone_number),
        online=row.online,
        connected=None,
        active_sessions=row.active_sessions,
        max_customers=row.max_customers,
        suspended=row.suspended_at is not None,
        suspended_at=row.suspended_at,
        last_seen_at=row.last_seen_at,
        created_at=row.created_at,
        acceptance=Acceptance(
            asked=row.asked,
            accepted=row.accepted,
            rejected=row.rejected,
            unanswered=row.unanswered,
            seconds_p50=row.seconds_p50,
        ),
    )
