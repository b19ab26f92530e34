"""The HTTP operations on reports, concerns and notices, for customers and mitras."""

from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.kit.database import Database
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_WITH_KEY, SIGNED_IN, WITH_KEY, answers
from curhat.kit.page import Page
from curhat.safety.reports import service
from curhat.safety.reports.errors import AlreadyAppealed, AlreadyReported, AppealClosed, TextGone
from curhat.safety.reports.schemas import Concern, NewAppeal, NewConcern, NewReport, Notice, Report

# The signed-in user who sends the HTTP request. accounts/guards.py provides this identity.
Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@post(
    "/api/client/sessions/{session_id:uuid}/report",
    responses=answers({201: Report}, *WITH_KEY, NotFound, AlreadyReported, TextGone),
)
async def report_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: Customer,
    session_id: FromPath[UUID],
    data: JSONBody[NewReport],
) -> Response[bytes]:
    """Report the mitra of a chat that runs or has ended (T.2). The mitra learns nothing before a decision.

    The chat's text is held until 90 days after the decision.
    """
    return await command(
        request, database, customer, lambda tx: service.report(tx, customer, session_id, data), status=201
    )


@post(
    "/api/mitra/sessions/{session_id:uuid}/report",
    responses=answers({201: Report}, *MITRA_WITH_KEY, NotFound, AlreadyReported, TextGone),
)
async def report_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[NewReport],
) -> Response[bytes]:
    """Report the customer of a chat that runs or has ended (T.2). The customer learns nothing before a decision.

    The chat's text is held until 90 days after the decision.
    """
    return await command(
        request, database, mitra, lambda tx: service.report(tx, mitra, session_id, data), status=201
    )


@post(
    "/api/mitra/sessions/{session_id:uuid}/concern",
    responses=answers({201: Concern}, *MITRA_WITH_KEY, NotFound, TextGone),
)
async def raise_concern(
    request: AnyRequest,
    database: NamedDependency[Database],
    mitra: Mitra,
    session_id: FromPath[UUID],
    data: JSONBody[NewConcern],
) -> Response[bytes]:
    """Tell the operators that the mitra worries about the customer (H.3). This is no emergency service."""
    return await command(
        request,
        database,
        mitra,
        lambda tx: service.raise_concern(tx, mitra.user_id, session_id, data),
        status=201,
    )


@get("/api/client/reports", responses=answers({200: Page[Report]}, *SIGNED_IN, ValidationFailed))
async def list_reports_of_customer(
    database: NamedDependency[Database], customer: Customer, cursor: FromQuery[UUID | None] = None
) -> Page[Report]:
    """Return the reports that the customer has made, newest first."""
    async with database.transaction() as tx:
        return await service.own_reports(tx, customer, cursor)


@get("/api/mitra/reports", responses=answers({200: Page[Report]}, *SIGNED_IN, ValidationFailed))
async def list_reports_of_mitra(
    database: NamedDependency[Database],
    any_mitra: NamedDependency[Identity],
    cursor: FromQuery[UUID | None] = None,
) -> Page[Report]:
    """Return the reports that the mitra has made, newest first. A suspended mitra may do this, too."""
    async with database.transaction() as tx:
        return await service.own_reports(tx, any_mitra, cursor)


# Notices -----------------------------------------------------------------------------------------------------


@get("/api/client/notices", responses=answers({200: Page[Notice]}, *SIGNED_IN, ValidationFailed))
async def list_notices_of_customer(
    database: NamedDependency[Database], customer: Customer, cursor: FromQuery[UUID | None] = None
) -> Page[Notice]:
    """Return what the customer is told about decisions, newest first (T.4)."""
    async with database.transaction() as tx:
        return await service.own_notices(tx, customer, cursor)


@get("/api/mitra/notices", responses=answers({200: Page[Notice]}, *SIGNED_IN, ValidationFailed))
async def list_notices_of_mitra(
    database: NamedDependency[Database],
    any_mitra: NamedDependency[Identity],
    cursor: FromQuery[UUID | None] = None,
) -> Page[Notice]:
    """Return what the mitra is told about decisions, newest first (T.4). A suspended mitra may do this, too."""
    async with database.transaction() as tx:
        return await service.own_notices(tx, any_mitra, cursor)


@post(
    "/api/client/notices/{notice_id:uuid}/acknowledge",
    status_code=200,
    responses=answers({200: Notice}, *SIGNED_IN, NotFound),
)
async def acknowledge_notice_of_customer(
    database: NamedDependency[Database], customer: Customer, notice_id: FromPath[UUID]
) -> Notice:
    """Note that the customer has read the notice. A repeated request changes nothing."""
    async with database.transaction() as tx:
        return await service.acknowledge(tx, customer, notice_id)


@post(
    "/api/mitra/notices/{notice_id:uuid}/acknowledge",
    status_code=200,
    responses=answers({200: Notice}, *SIGNED_IN, NotFound),
)
async def acknowledge_notice_of_mitra(
    database: NamedDependency[Database], any_mitra: NamedDependency[Identity], notice_id: FromPath[UUID]
) -> Notice:
    """Note that the mitra, who may be suspended, has read the notice. A repeated request changes nothing."""
    async with database.transaction() as tx:
        return await service.acknowledge(tx, any_mitra, notice_id)


@post(
    "/api/client/notices/{notice_id:uuid}/appeal",
    responses=answers({201: Notice}, *WITH_KEY, NotFound, AppealClosed, AlreadyAppealed),
)
async def appeal_of_customer(
    request: AnyRequest,
    database: NamedDependency[Database],
    customer: Customer,
    notice_id: FromPath[UUID],
    data: JSONBody[NewAppeal],
) -> Response[bytes]:
    """Appeal once, within 14 days, against a warning or suspension. Another operator decides the appeal."""
    return await command(
        request, database, customer, lambda tx: service.appeal(tx, customer, notice_id, data.text), status=201
    )


@post(
    "/api/mitra/notices/{notice_id:uuid}/appeal",
    responses=answers({201: Notice}, *WITH_KEY, NotFound, AppealClosed, AlreadyAppealed),
)
async def appeal_of_mitra(
    request: AnyRequest,
    database: NamedDependency[Database],
    any_mitra: NamedDependency[Identity],
    notice_id: FromPath[UUID],
    data: JSONBody[NewAppeal],
) -> Response[bytes]:
    """Appeal once, within 14 days, against a warning or suspension. A suspended mitra may do this, too."""
    return await command(
        request,
        database,
        any_mitra,
        lambda tx: service.appeal(tx, any_mitra, notice_id, data.text),
        status=201,
    )


ROUTES: list[BaseRouteHandler] = [
    report_mitra,
    report_customer,
    raise_concern,
    list_reports_of_customer,
    list_reports_of_mitra,
    list_notices_of_customer,
    list_notices_of_mitra,
    acknowledge_notice_of_customer,
    acknowledge_notice_of_mitra,
    appeal_of_customer,
    appeal_of_mitra,
]
