"""Reading payments, sessions, customers and mitras; changing mitras; revealing what was said.

Every function takes an open transaction and never commits it.
"""

from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from curhat.accounts import service as accounts
from curhat.accounts.phone import mask
from curhat.control_center.audit.service import record
from curhat.control_center.lists import Filters, cursor_of, key_of, page_of
from curhat.control_center.operators.service import SignedInOperator
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
from curhat.control_center.schemas import MitraReference, customer_of, mitra_of, operator_of
from curhat.journeys import service as journeys
from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound, PresenceUnknown, ValidationFailed
from curhat.kit.page import Page
from curhat.presence.service import Presence

SQL = load_queries(__file__)

# Eight hours of two people who never stop typing.
MOST_MESSAGES: Final = 20_000


# Payments ----------------------------------------------------------------------------------------------------


def payments() -> Filters:
    """All payments, to be narrowed."""
    return Filters(SQL.payments)


async def payments_page(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[PaymentRecord]:
    """Payments, newest first."""
    rows = await filters.fetch(tx, "(payments.created_at, payments.id) < ({0}, {1})", _key(cursor), limit)
    return page_of(rows, limit, lambda row: PaymentRecord(**_payment(row)), _cursor("created_at"))


async def payment_detail(tx: Transaction, payment_id: UUID) -> PaymentDetail:
    """One payment with everything that happened to it. Raises NotFound."""
    return PaymentDetail(**await payment_fields(tx, payment_id), timeline=await timeline(tx, payment_id))


async def payment_record(tx: Transaction, payment_id: UUID) -> PaymentRecord:
    """One payment. Raises NotFound."""
    return PaymentRecord(**await payment_fields(tx, payment_id))


async def payment_fields(tx: Transaction, payment_id: UUID) -> dict[str, Any]:
    """The fields of a PaymentRecord. Raises NotFound."""
    filters = payments()
    filters.add("payments.id = {0}", payment_id)
    return _payment(_only(await filters.fetch(tx, "", None, 1)))


async def timeline(tx: Transaction, payment_id: UUID) -> list[TimelineEntry]:
    """Everything that happened to a payment, oldest first."""
    return [
        TimelineEntry(
            at=row["at"],
            type=row["type"],
            status=row["status"],
            kind=row["kind"],
            tag=row["tag"],
            reason=row["reason"],
            note=row["note"],
            amount_rp=row["amount_rp"],
            mitra=mitra_of(row),
            operator=operator_of(row["operator_id"], row["email"]),
            entity_id=row["entity_id"],
        )
        for row in await tx.fetch(SQL.timeline, payment_id)
    ]


def _payment(row: asyncpg.Record) -> dict[str, Any]:
    return {
        **_same(row, PaymentRecord, but={"customer", "target_mitra"}),
        "customer": customer_of(row),
        "target_mitra": mitra_of(row),
    }


# Sessions ----------------------------------------------------------------------------------------------------


def sessions() -> Filters:
    """All chat sessions, to be narrowed."""
    return Filters(SQL.sessions)


async def sessions_page(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[SessionRecord]:
    """Chat sessions, newest first."""
    rows = await filters.fetch(tx, "(sessions.started_at, sessions.id) < ({0}, {1})", _key(cursor), limit)
    return page_of(rows, limit, lambda row: SessionRecord(**_session(row)), _cursor("started_at"))


async def session_detail(tx: Transaction, session_id: UUID) -> SessionDetail:
    """One chat session, without what was said in it. Raises NotFound."""
    filters = sessions()
    filters.add("sessions.id = {0}", session_id)
    row = _only(await filters.fetch(tx, "", None, 1))
    sent = await tx.fetchrow(SQL.count_messages, session_id)
    assert sent is not None  # Counting always gives one row.
    return SessionDetail(
        **_session(row), messages_of_customer=sent["customer"], messages_of_mitra=sent["mitra"]
    )


def _session(row: asyncpg.Record) -> dict[str, Any]:
    mitra = MitraReference(id=row["mitra_id"], display_name=row["mitra_display_name"])
    return {
        **_same(row, SessionRecord, but={"customer", "mitra"}),
        "customer": customer_of(row),
        "mitra": mitra,
    }


async def transcript(
    tx: Transaction, operator: SignedInOperator, session_id: UUID, reason: str
) -> Transcript:
    """All that was said, for a reason that the audit keeps. Raises NotFound."""
    if await tx.fetchval(SQL.session_exists, session_id) is None:
        raise NotFound
    await record(tx, operator.id, "transcript_revealed", "session", session_id, new=reason.strip())
    rows = await tx.fetch(SQL.transcript, session_id, MOST_MESSAGES)
    return Transcript(
        session_id=session_id, messages=[TranscriptMessage(**_same(row, TranscriptMessage)) for row in rows]
    )


# Customers ---------------------------------------------------------------------------------------------------


def customers() -> Filters:
    """All customers, to be narrowed."""
    return Filters(SQL.customers)


async def customers_page(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[CustomerRecord]:
    """Customers, newest first."""
    rows = await filters.fetch(tx, "(customers.created_at, customers.id) < ({0}, {1})", _key(cursor), limit)
    return page_of(rows, limit, _customer, _cursor("created_at"))


async def customer(tx: Transaction, customer_id: UUID) -> CustomerRecord:
    """One customer. Raises NotFound."""
    filters = customers()
    filters.add("customers.id = {0}", customer_id)
    return _customer(_only(await filters.fetch(tx, "", None, 1)))


def _customer(row: asyncpg.Record) -> CustomerRecord:
    fields = _same(row, CustomerRecord, but={"phone_masked"})
    return CustomerRecord(**fields, phone_masked=mask(row["phone_number"]))


# Mitras ------------------------------------------------------------------------------------------------------


def mitras() -> Filters:
    """All mitras, to be narrowed."""
    return Filters(SQL.mitras)


async def mitras_page(tx: Transaction, filters: Filters, cursor: str | None, limit: int) -> Page[MitraRecord]:
    """Mitras, newest first; who is connected is not known here."""
    rows = await filters.fetch(tx, "(mitras.created_at, mitras.id) < ({0}, {1})", _key(cursor), limit)
    return page_of(rows, limit, _mitra, _cursor("created_at"))


async def mitra(tx: Transaction, mitra_id: UUID) -> MitraRecord:
    """One mitra; whether it is connected is not known here. Raises NotFound."""
    filters = mitras()
    filters.add("mitras.id = {0}", mitra_id)
    return _mitra(_only(await filters.fetch(tx, "", None, 1)))


async def with_connections(presence: Presence, mitras: list[MitraRecord]) -> list[MitraRecord]:
    """The same mitras, with who of them is connected now; as they are while nobody knows."""
    try:
        connected = await presence.connected_among([each.id for each in mitras])
    except PresenceUnknown:
        return mitras
    return [msgspec.structs.replace(each, connected=each.id in connected) for each in mitras]


async def invite_mitra(
    tx: Transaction, operator: SignedInOperator, invitation: MitraInvitation
) -> InvitedMitra:
    """nobody or customer → mitra too; a mitra who is invited again stays as they are. Raises ValidationFailed."""
    invited = await accounts.invite_mitra(
        tx, invitation.phone, invitation.display_name, invitation.max_customers, by=str(operator.id)
    )
    record = await mitra(tx, invited.mitra_id)
    return InvitedMitra(**msgspec.structs.asdict(record), is_new=invited.is_new)


async def change_mitra(
    tx: Transaction, operator: SignedInOperator, mitra_id: UUID, change: MitraChange
) -> MitraRecord:
    """Rename, set the capacity, suspend or lift; all of it or nothing. Raises NotFound, ValidationFailed."""
    by = str(operator.id)
    if change == MitraChange():
        raise ValidationFailed(
            errors=[{"field": "body", "message": "must name display_name, max_customers or suspended"}]
        )
    if change.max_customers is not msgspec.UNSET:
        await journeys.change_capacity(tx, mitra_id, change.max_customers, by=by)
    if change.suspended is True:
        await journeys.suspend_mitra(tx, mitra_id, by=by)
    elif change.suspended is False:
        await accounts.lift_suspension(tx, mitra_id, by=by)
    if change.display_name is not msgspec.UNSET:
        # Last: it writes to streams, whose locks come after all others.
        await journeys.rename_mitra(tx, mitra_id, change.display_name, by=by)
    return await mitra(tx, mitra_id)


def _mitra(row: asyncpg.Record) -> MitraRecord:
    return MitraRecord(
        **_same(row, MitraRecord, but={"phone_masked", "connected", "suspended", "acceptance"}),
        phone_masked=mask(row["phone_number"]),
        connected=None,
        suspended=row["suspended_at"] is not None,
        acceptance=Acceptance(**_same(row, Acceptance)),
    )


# Rows --------------------------------------------------------------------------------------------------------


def _same(
    row: asyncpg.Record, struct: type[msgspec.Struct], *, but: set[str] | frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The fields of a struct whose columns have the same names."""
    return {field: row[field] for field in struct.__struct_fields__ if field not in but}


def _only(rows: list[asyncpg.Record]) -> asyncpg.Record:
    if not rows:
        raise NotFound
    return rows[0]


def _key(cursor: str | None) -> tuple[object, ...] | None:
    key = key_of(cursor)
    return None if key is None else key[1:]


def _cursor(column: str) -> Any:
    return lambda row: cursor_of(row[column], row["id"])
