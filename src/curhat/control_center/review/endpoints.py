"""Failed pairings and review cases: HTTP in, service, HTTP out. The transactions are opened here."""

from typing import Any, Final
from uuid import UUID

import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.control_center.lists import (
    Cursor,
    Filters,
    Format,
    From,
    To,
    answer_list,
    checked_amount,
)
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.review import service
from curhat.control_center.review.errors import (
    CaseDecided,
    NothingToApprove,
    NothingToRefund,
    OwnRefund,
    RefundNotFailed,
)
from curhat.control_center.review.schemas import (
    CaseStatus,
    Decision,
    DecisionOutcome,
    DecisionOutcomes,
    Decisions,
    FailedPairing,
    ReviewCase,
    ReviewCaseDetail,
)
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BusinessError, NotFound, ValidationFailed
from curhat.kit.http import command, to_answer, to_response
from curhat.kit.idempotency import begin_long, finish_long, idempotent_request
from curhat.kit.openapi import Problem, answers
from curhat.kit.page import Page
from curhat.kit.settings import Settings
from curhat.pairing.states import FailureTag, PairingKind
from curhat.payments.states import CaseReason

log = structlog.get_logger(__name__)

AppRequest = Request[None, None, State]

REVIEW: Final = ["review"]


@get(
    "/api/control-center/failed-pairings",
    operation_id="list_failed_pairings",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: Page[FailedPairing]}, *OPERATOR_SIGNED_IN, ValidationFailed),
)
async def list_failed_pairings(
    database: NamedDependency[Database],
    operator: NamedDependency[SignedInOperator],
    tag: FromQuery[FailureTag | None] = None,
    kind: FromQuery[PairingKind | None] = None,
    recovered: FromQuery[bool | None] = None,
    minimum_amount_rp: FromQuery[int | None] = None,
    maximum_amount_rp: FromQuery[int | None] = None,
    since: From = None,
    until: To = None,
    cursor: Cursor = None,
    format: FromQuery[Format] = "json",  # noqa: A002  the contract's name
) -> Response[Any]:
    """Attempts that failed, newest first. `from` is included, `to` is not."""
    filters = service.failed_pairings()
    filters.equal("tag", "events.tag", tag)
    filters.equal("kind", "events.kind", kind)
    filters.equal("recovered", "events.recovered", recovered)
    _between_amounts(filters, "payments.amount_rp", minimum_amount_rp, maximum_amount_rp)
    filters.between("events.occurred_at", since, until)

    async def fetch(tx: Transaction, after: str | None, limit: int) -> Page[FailedPairing]:
        return await service.failed_pairings_page(tx, filters, after, limit)

    return await answer_list(
        database, operator, "failed-pairings", FailedPairing, fetch, filters, cursor=cursor, wanted=format
    )


def _between_amounts(filters: Filters, column: str, minimum_rp: int | None, maximum_rp: int | None) -> None:
    for name, operator, value in (
        ("minimum_amount_rp", ">=", minimum_rp),
        ("maximum_amount_rp", "<=", maximum_rp),
    ):
        if value is not None:
            filters.add(f"{column} {operator} {{0}}", checked_amount(name, value))
            filters.given.append(f"{name}={value}")


@get(
    "/api/control-center/review-cases",
    operation_id="list_review_cases",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: Page[ReviewCase]}, *OPERATOR_SIGNED_IN, ValidationFailed),
)
async def list_review_cases(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    status: FromQuery[CaseStatus | None] = None,
    tag: FromQuery[FailureTag | None] = None,
    reason: FromQuery[CaseReason | None] = None,
    awaiting_approval: FromQuery[bool | None] = None,
    refund_refused: FromQuery[bool | None] = None,
    since: From = None,
    until: To = None,
    cursor: Cursor = None,
    format: FromQuery[Format] = "json",  # noqa: A002  the contract's name
) -> Response[Any]:
    """Cases, the open ones first, each kind oldest first. `from` and `to` are about when a case was opened."""
    filters = service.cases()
    if status is not None:
        # Along the index of the list's own order.
        filters.add("(review_cases.status = 'decided') = {0}", status == "decided")
        filters.given.append(f"status={status}")
    filters.equal("tag", "review_cases.tag", tag)
    filters.equal("reason", "review_cases.reason", reason)
    if awaiting_approval is not None:
        waits = "review_cases.needs_approval AND review_cases.approved_by IS NULL"
        filters.add(waits if awaiting_approval else f"NOT ({waits})")
        filters.given.append(f"awaiting_approval={awaiting_approval}")
    if refund_refused is not None:
        filters.add(service.REFUSED if refund_refused else f"NOT ({service.REFUSED})")
        filters.given.append(f"refund_refused={refund_refused}")
    filters.between("review_cases.opened_at", since, until)

    async def fetch(tx: Transaction, after: str | None, limit: int) -> Page[ReviewCase]:
        return await service.cases_page(tx, filters, after, limit, settings.refund_approval_limit_rp)

    return await answer_list(
        database, operator, "review-cases", ReviewCase, fetch, filters, cursor=cursor, wanted=format
    )


@get(
    "/api/control-center/review-cases/{case_id:uuid}",
    operation_id="get_review_case",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: ReviewCaseDetail}, *OPERATOR_SIGNED_IN, NotFound),
)
async def get_review_case(
    database: NamedDependency[Database], settings: NamedDependency[Settings], case_id: FromPath[UUID]
) -> ReviewCaseDetail:
    """One case: its payment, every attempt, who was asked and what each answered, with times."""
    async with database.transaction(snapshot=True) as tx:
        return await service.case_detail(tx, case_id, settings.refund_approval_limit_rp)


@post(
    "/api/control-center/review-cases/{case_id:uuid}/decision",
    operation_id="decide_review_case",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: ReviewCaseDetail}, *OPERATOR_WITH_KEY, NotFound, CaseDecided, NothingToRefund),
)
async def decide_review_case(
    request: AppRequest,
    data: JSONBody[Decision],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
) -> Response[bytes]:
    """Refund or not. The first decision wins; a refund above the limit waits for another operator's approval."""
    limit_rp = settings.refund_approval_limit_rp

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.decide(tx, operator, case_id, data.decision, data.note, limit_rp)
        return await service.case_detail(tx, case_id, limit_rp)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/review-cases/{case_id:uuid}/approval",
    operation_id="approve_refund",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: ReviewCaseDetail}, *OPERATOR_WITH_KEY, NotFound, NothingToApprove, OwnRefund),
)
async def approve_refund(
    request: AppRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
) -> Response[bytes]:
    """Approve a refund above the limit. Nobody approves the one that they decided."""

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.approve(tx, operator, case_id)
        return await service.case_detail(tx, case_id, settings.refund_approval_limit_rp)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/review-cases/{case_id:uuid}/refund-retry",
    operation_id="retry_refund",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: ReviewCaseDetail}, *OPERATOR_WITH_KEY, NotFound, RefundNotFailed),
)
async def retry_refund(
    request: AppRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
) -> Response[bytes]:
    """Ask the gateway once more for a refund that it refused."""

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.retry_refund(tx, operator, case_id)
        return await service.case_detail(tx, case_id, settings.refund_approval_limit_rp)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/review-cases/decisions",
    operation_id="decide_review_cases",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers({200: DecisionOutcomes}, *OPERATOR_WITH_KEY),
)
async def decide_review_cases(
    request: AppRequest,
    data: JSONBody[Decisions],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> Response[bytes]:
    """The same decision on many cases, each by itself: one that is refused leaves the others as they are decided."""
    idempotent = idempotent_request(
        operator.identity,
        request.headers.get("idempotency-key"),
        request.method,
        request.scope["path"],
        await request.body(),
    )
    async with database.transaction() as tx:
        stored = await begin_long(tx, idempotent)
    if stored is None:
        # After a crash in between, the same request goes through all of them again: what is decided stays so.
        items = [
            await _decide_one(database, settings, operator, case_id, data)
            for case_id in dict.fromkeys(data.case_ids)
        ]
        stored = to_answer(DecisionOutcomes(items=items))
        async with database.transaction() as tx:
            await finish_long(tx, idempotent, stored)
    return to_response(stored)


async def _decide_one(
    database: Database, settings: Settings, operator: SignedInOperator, case_id: UUID, data: Decisions
) -> DecisionOutcome:
    limit_rp = settings.refund_approval_limit_rp
    try:
        async with database.transaction() as tx:
            await service.decide(tx, operator, case_id, data.decision, data.note, limit_rp)
            case = await service.case(tx, case_id, limit_rp)
            return DecisionOutcome(case_id=case_id, case=case, problem=None)
    except BusinessError as error:
        problem = Problem(
            type=f"urn:curhat:problem:{error.code}",
            title=error.code.replace("_", " "),
            status=error.status,
            detail=error.detail,
            code=error.code,
        )
        return DecisionOutcome(case_id=case_id, case=None, problem=problem)


ROUTES: list[BaseRouteHandler] = [
    list_failed_pairings,
    list_review_cases,
    get_review_case,
    decide_review_case,
    approve_refund,
    retry_refund,
    decide_review_cases,
]
