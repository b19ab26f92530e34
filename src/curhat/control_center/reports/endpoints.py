"""The endpoints of reports, concerns and suspensions of customers. The endpoints open the transactions."""

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from curhat.control_center.lists.answers import ListRequest, filtered_by
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import service as records
from curhat.control_center.records.schemas import CustomerDetail
from curhat.control_center.reports import service
from curhat.control_center.reports.errors import (
    AppealDecided,
    NoAppealWaits,
    NoSuspensionWaits,
    NoVitalInterest,
    OwnDecision,
    ReportDecided,
)
from curhat.control_center.reports.filters import filter_reports
from curhat.control_center.reports.schemas import (
    MAX_DECISION_NOTE_CHARACTERS,
    MAX_PHONE_REASON_CHARACTERS,
    AppealVerdict,
    PhoneOrder,
    QueuedReport,
    ReportDetail,
    ReportVerdict,
    RevealedPhone,
    SuspensionApproval,
    SuspensionChange,
)
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command
from curhat.kit.openapi import answers
from curhat.kit.page import Page
from curhat.kit.visible_text import checked_text

REPORTS: Final = ["reports"]


@get(
    "/api/control-center/reports",
    operation_id="list_reports",
    tags=REPORTS,
    opt=needs("view"),
    responses=answers({200: Page[QueuedReport]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_reports),
)
async def list_reports(list_request: NamedDependency[ListRequest]) -> Response[Any]:
    """The queue of reports and concerns: the most urgent that wait for an operator first, then the finished ones.

    The list has no chat text and no note. `from` and `to` limit the time of the report.
    """
    return await list_request.answer("reports", QueuedReport, service.read_reports)


@get(
    "/api/control-center/reports/{report_id:uuid}",
    operation_id="get_report",
    tags=REPORTS,
    opt=needs("reveal"),
    responses=answers({200: ReportDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_report(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    report_id: FromPath[UUID],
) -> ReportDetail:
    """One report with its note, and the marked messages with five on either side. Each look has an audit entry."""
    async with database.transaction() as tx:
        return await service.open_report(tx, operator, report_id)


@post(
    "/api/control-center/reports/{report_id:uuid}/decision",
    operation_id="decide_report",
    tags=REPORTS,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: ReportDetail}, *OPERATOR_WITH_KEY, NotFound, ReportDecided),
)
async def decide_report(
    request: AnyRequest,
    data: JSONBody[ReportVerdict],
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    report_id: FromPath[UUID],
) -> Response[bytes]:
    """Decide a report: no action, a warning, or a suspension. The first decision wins.

    A suspension for good (without `until`) waits for another operator's approval. Refunds are decided on the case of
    the payment (`case_id`).
    """
    note = checked_text(data.note, "note", MAX_DECISION_NOTE_CHARACTERS).strip()

    async def step(tx: Transaction) -> ReportDetail:
        await service.decide(tx, operator, report_id, data, note)
        return await service.read_report(tx, report_id)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/reports/{report_id:uuid}/approval",
    operation_id="approve_suspension",
    tags=REPORTS,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: ReportDetail}, *OPERATOR_WITH_KEY, NotFound, NoSuspensionWaits, OwnDecision),
)
async def approve_suspension(
    request: AnyRequest,
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    report_id: FromPath[UUID],
    data: JSONBody[SuspensionApproval | None] = None,
) -> Response[bytes]:
    """Approve a suspension for good, as another operator than the one who decided.

    With `approved` false, the report is open again, and the decision has no effect.
    """
    is_approved = data is None or data.approved

    async def step(tx: Transaction) -> ReportDetail:
        await service.approve(tx, operator, report_id, is_approved=is_approved)
        return await service.read_report(tx, report_id)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/reports/{report_id:uuid}/appeal-decision",
    operation_id="decide_appeal",
    tags=REPORTS,
    status_code=200,
    opt=needs("decide"),
    responses=answers(
        {200: ReportDetail}, *OPERATOR_WITH_KEY, NotFound, NoAppealWaits, AppealDecided, OwnDecision
    ),
)
async def decide_appeal(
    request: AnyRequest,
    data: JSONBody[AppealVerdict],
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    report_id: FromPath[UUID],
) -> Response[bytes]:
    """Decide an appeal, as another operator than the one who decided. An overturned sanction ends."""
    note = checked_text(data.note, "note", MAX_DECISION_NOTE_CHARACTERS).strip()

    async def step(tx: Transaction) -> ReportDetail:
        await service.decide_appeal(tx, operator, report_id, data, note)
        return await service.read_report(tx, report_id)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/reports/{report_id:uuid}/phone",
    operation_id="reveal_phone",
    tags=REPORTS,
    status_code=200,
    opt=needs("reveal"),
    responses=answers({200: RevealedPhone}, *OPERATOR_SIGNED_IN, NotFound, NoVitalInterest, ValidationFailed),
)
async def reveal_phone(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    report_id: FromPath[UUID],
    data: JSONBody[PhoneOrder],
) -> RevealedPhone:
    """The customer's phone number, for a vital interest: only for a concern, danger or a minor (H.3).

    The server does not keep the answer.

    Each call needs a reason, which the audit records.
    """
    reason = checked_text(data.reason, "reason", MAX_PHONE_REASON_CHARACTERS).strip()
    async with database.transaction() as tx:
        return await service.reveal_phone(tx, operator, report_id, reason)


@post(
    "/api/control-center/customers/{customer_id:uuid}/suspension",
    operation_id="change_customer_suspension",
    tags=REPORTS,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: CustomerDetail}, *OPERATOR_WITH_KEY, NotFound),
)
async def change_customer_suspension(
    request: AnyRequest,
    data: JSONBody[SuspensionChange],
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    customer_id: FromPath[UUID],
) -> Response[bytes]:
    """Suspend a customer until a time, or lift a suspension. Only an admin suspends without an end (403).

    A running session goes on. Opening and confirming payments are refused.
    """
    reason = checked_text(data.reason, "reason", MAX_PHONE_REASON_CHARACTERS).strip()

    async def step(tx: Transaction) -> CustomerDetail:
        await service.change_suspension(tx, operator, customer_id, data, reason)
        return await records.read_customer_detail(tx, customer_id)

    return await command(request, database, operator.identity, step)


ROUTES: list[BaseRouteHandler] = [
    list_reports,
    get_report,
    decide_report,
    approve_suspension,
    decide_appeal,
    reveal_phone,
    change_customer_suspension,
]
