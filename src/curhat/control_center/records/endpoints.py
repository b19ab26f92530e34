"""The endpoints of payments, sessions, customers and mitras. The endpoints open the transactions."""

import contextlib
from functools import partial
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.control_center.lists.answers import (
    ListRequest,
    SortableListRequest,
    filtered_by,
    filters_of,
    planned_for_filters,
)
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import From, To
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import service
from curhat.control_center.records.filters import (
    filter_customers,
    filter_mitra_requests,
    filter_mitras,
    filter_payments,
    filter_sessions,
)
from curhat.control_center.records.schemas import (
    AnswersSort,
    CustomerDetail,
    CustomerRecord,
    InvitedMitra,
    MitraAnswersList,
    MitraChange,
    MitraDetail,
    MitraInvitation,
    MitraRecord,
    MitraRequest,
    PaymentDetail,
    PaymentRecord,
    PaymentTotals,
    SessionDetail,
    SessionRecord,
    SessionTotals,
)
from curhat.kit.database import Database
from curhat.kit.errors import NotFound, PresenceUnknown, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers
from curhat.kit.page import Page
from curhat.kit.settings import Settings
from curhat.presence.service import Presence

RECORDS: Final = ["records"]
MITRAS: Final = ["mitras"]


@get(
    "/api/control-center/payments",
    operation_id="search_payments",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: Page[PaymentRecord]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_payments, is_sortable=True),
)
async def search_payments(list_request: NamedDependency[SortableListRequest]) -> Response[Any]:
    """Payments, newest or oldest first.

    `q`: the id of a payment, customer, session or case; a phone number; or the beginning of a customer's name.
    """
    return await list_request.answer("payments", PaymentRecord, service.read_payments)


@get(
    "/api/control-center/payments/totals",
    operation_id="total_payments",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: PaymentTotals}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filters_of(filter_payments),
)
async def total_payments(
    database: NamedDependency[Database], filters: NamedDependency[Filters]
) -> PaymentTotals:
    """How many payments the filters find, and their rupiah. The filters are those of the list of payments."""
    async with planned_for_filters(database) as tx:
        return await service.total_payments(tx, filters)


@get(
    "/api/control-center/payments/{payment_id:uuid}",
    operation_id="get_payment_record",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: PaymentDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_payment_record(
    database: NamedDependency[Database], payment_id: FromPath[UUID]
) -> PaymentDetail:
    """One payment with its whole timeline."""
    async with database.transaction(snapshot=True) as tx:
        return await service.read_payment_detail(tx, payment_id)


@get(
    "/api/control-center/sessions",
    operation_id="search_sessions",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: Page[SessionRecord]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_sessions, is_sortable=True),
)
async def search_sessions(list_request: NamedDependency[SortableListRequest]) -> Response[Any]:
    """Chat sessions, newest or oldest first.

    `q`: the id of a session, payment, customer or mitra; a phone number; or the beginning of a customer's name.
    """
    return await list_request.answer("sessions", SessionRecord, service.read_sessions)


@get(
    "/api/control-center/sessions/totals",
    operation_id="total_sessions",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: SessionTotals}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filters_of(filter_sessions),
)
async def total_sessions(
    database: NamedDependency[Database], filters: NamedDependency[Filters]
) -> SessionTotals:
    """How many chat sessions the filters find, with minutes and rupiah. The filters are those of the list."""
    async with planned_for_filters(database) as tx:
        return await service.total_sessions(tx, filters)


@get(
    "/api/control-center/sessions/{session_id:uuid}",
    operation_id="get_session_record",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: SessionDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_session_record(
    database: NamedDependency[Database], session_id: FromPath[UUID]
) -> SessionDetail:
    """One chat session, without its messages."""
    async with database.transaction() as tx:
        return await service.read_session_detail(tx, session_id)


@get(
    "/api/control-center/customers",
    operation_id="search_customers",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: Page[CustomerRecord]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_customers, is_sortable=True),
)
async def search_customers(list_request: NamedDependency[SortableListRequest]) -> Response[Any]:
    """Customers, newest or oldest first. `q`: an id, a phone number, or the beginning of a name."""
    return await list_request.answer("customers", CustomerRecord, service.read_customers)


@get(
    "/api/control-center/customers/{customer_id:uuid}",
    operation_id="get_customer_record",
    tags=RECORDS,
    opt=needs("view"),
    responses=answers({200: CustomerDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_customer_record(
    database: NamedDependency[Database], customer_id: FromPath[UUID]
) -> CustomerDetail:
    """One customer. To list the customer's payments or sessions, filter those lists by `customer_id`."""
    async with database.transaction() as tx:
        return await service.read_customer_detail(tx, customer_id)


# Mitras ------------------------------------------------------------------------------------------------------


@get(
    "/api/control-center/mitras",
    operation_id="search_mitras",
    tags=MITRAS,
    opt=needs("view"),
    responses=answers({200: Page[MitraRecord]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_mitras),
)
async def search_mitras(
    list_request: NamedDependency[ListRequest], presence: NamedDependency[Presence]
) -> Response[Any]:
    """Mitras, newest first, with presence, load and acceptance. `q`: an id, a phone number, or a name's beginning."""
    read_page = partial(service.read_mitras, presence=presence)
    return await list_request.answer("mitras", MitraRecord, read_page)


@get(
    "/api/control-center/mitras/{mitra_id:uuid}",
    operation_id="get_mitra_record",
    tags=MITRAS,
    opt=needs("view"),
    responses=answers({200: MitraDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_mitra_record(
    database: NamedDependency[Database], presence: NamedDependency[Presence], mitra_id: FromPath[UUID]
) -> MitraDetail:
    """One mitra. To list the mitra's sessions, filter the list of sessions by `mitra_id`."""
    async with database.transaction() as tx:
        found = await service.read_mitra_detail(tx, mitra_id)
    return (await service.with_connections(presence, [found]))[0]


@get(
    "/api/control-center/mitras/answers",
    operation_id="list_mitra_answers",
    tags=MITRAS,
    opt=needs("view"),
    responses=answers({200: MitraAnswersList}, *OPERATOR_SIGNED_IN, ValidationFailed),
)
async def list_mitra_answers(
    database: NamedDependency[Database],
    since: From = None,
    until: To = None,
    sort: FromQuery[AnswersSort] = "asked",
) -> MitraAnswersList:
    """How each mitra answered in a period of at most 31 days, by default the last 7 days, in the order of `sort`."""
    async with planned_for_filters(database) as tx:
        return await service.read_mitra_answers(tx, since, until, sort)


@get(
    "/api/control-center/mitras/{mitra_id:uuid}/requests",
    operation_id="list_mitra_requests",
    tags=MITRAS,
    opt=needs("view"),
    responses=answers({200: Page[MitraRequest]}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed),
    dependencies=filtered_by(filter_mitra_requests),
)
async def list_mitra_requests(
    mitra_id: FromPath[UUID], list_request: NamedDependency[ListRequest]
) -> Response[Any]:
    """The requests that a mitra got, newest first, with outcome and answer time."""
    read_page = partial(service.read_mitra_requests, mitra_id=mitra_id)
    return await list_request.answer("mitra-requests", MitraRequest, read_page)


@post(
    "/api/control-center/mitras",
    operation_id="invite_mitra",
    tags=MITRAS,
    status_code=201,
    opt=needs("manage_mitras"),
    responses=answers({201: InvitedMitra}, *OPERATOR_WITH_KEY),
)
async def invite_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    data: JSONBody[MitraInvitation],
) -> Response[bytes]:
    """Let the owner of a phone number sign in as a mitra. A mitra who is invited again stays unchanged."""
    return await command(
        request,
        database,
        operator.identity,
        lambda tx: service.invite_mitra(tx, operator, data, settings.phone_regions),
        status=201,
    )


@patch(
    "/api/control-center/mitras/{mitra_id:uuid}",
    operation_id="change_mitra",
    tags=MITRAS,
    opt=needs("manage_mitras"),
    responses=answers({200: MitraRecord}, *OPERATOR_SIGNED_IN, NotFound, ValidationFailed),
)
async def change_mitra(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    operator: NamedDependency[SignedInOperator],
    mitra_id: FromPath[UUID],
    data: JSONBody[MitraChange],
) -> MitraRecord:
    """Rename a mitra, set its capacity, suspend it, or lift its suspension.

    A suspension closes the mitra's sockets and requests.
    """
    async with database.transaction() as tx:
        changed = await service.change_mitra(tx, operator, mitra_id, data)
    # The answer must show a suspended mitra as not connected, so refresh the presence.
    with contextlib.suppress(PresenceUnknown):
        await presence.refresh([mitra_id])
    return (await service.with_connections(presence, [changed]))[0]


ROUTES: list[BaseRouteHandler] = [
    search_payments,
    total_payments,
    get_payment_record,
    search_sessions,
    total_sessions,
    get_session_record,
    search_customers,
    get_customer_record,
    search_mitras,
    list_mitra_answers,
    list_mitra_requests,
    get_mitra_record,
    invite_mitra,
    change_mitra,
]
