"""The endpoints of failed pairings and review cases. The endpoints open the transactions."""

from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.control_center.lists.answers import ListRequest, filtered_by, planned_for_filters
from curhat.control_center.lists.filters import Filters
from curhat.control_center.operators.endpoints import OPERATOR_SIGNED_IN, OPERATOR_WITH_KEY
from curhat.control_center.operators.guards import needs
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.review import service
from curhat.control_center.review.errors import (
    CaseChanged,
    CaseDecided,
    NothingToApprove,
    OwnRefund,
    RefundNotFailed,
)
from curhat.control_center.review.filters import filter_cases, filter_failed_pairings
from curhat.control_center.review.schemas import (
    MAX_NOTE_CHARACTERS,
    CaseSelection,
    Decision,
    DecisionOutcome,
    DecisionOutcomes,
    Decisions,
    FailedPairing,
    OpenedCase,
    ReviewCase,
    ReviewCaseDetail,
)
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BusinessError, NotFound, ValidationFailed
from curhat.kit.http import AnyRequest, command, read_idempotent_request, to_answer, to_response
from curhat.kit.idempotency import begin_long, finish_long
from curhat.kit.openapi import Problem, answers
from curhat.kit.page import Page
from curhat.kit.settings import Settings
from curhat.kit.visible_text import checked_text
from curhat.payments.errors import CaseOpen, JourneyInProgress, NothingToRefund, RefundInTheWay

REVIEW: Final = ["review"]


@get(
    "/api/control-center/failed-pairings",
    operation_id="list_failed_pairings",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: Page[FailedPairing]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_failed_pairings),
)
async def list_failed_pairings(list_request: NamedDependency[ListRequest]) -> Response[Any]:
    """Failed attempts, newest first. The list includes the time `from`, and excludes the time `to`."""
    return await list_request.answer("failed-pairings", FailedPairing, service.read_failed_pairings)


@get(
    "/api/control-center/review-cases",
    operation_id="list_review_cases",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: Page[ReviewCase]}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies=filtered_by(filter_cases),
)
async def list_review_cases(
    list_request: NamedDependency[ListRequest], settings: NamedDependency[Settings]
) -> Response[Any]:
    """Open cases, then decided cases; both sorted oldest first.

    `from` and `to` limit the time at which a case opened.
    """
    read_page = partial(service.read_cases, approval_limit_rp=settings.refund_approval_limit_rp)
    return await list_request.answer("review-cases", ReviewCase, read_page)


@get(
    "/api/control-center/review-cases/selection",
    operation_id="select_review_cases",
    tags=REVIEW,
    opt=needs("view"),
    responses=answers({200: CaseSelection}, *OPERATOR_SIGNED_IN, ValidationFailed),
    dependencies={"filters": Provide(filter_cases, sync_to_thread=False)},
)
async def select_review_cases(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    filters: NamedDependency[Filters],
) -> CaseSelection:
    """The open cases that match the filters of the list, with the sum that a refund of all of them gives back.

    This is what a bulk decision covers: send the ids and versions to `POST /review-cases/decisions`.
    """
    async with planned_for_filters(database) as tx:
        return await service.select_cases(tx, filters, settings.refund_approval_limit_rp)


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
    """A case with its payment and the timeline of the payment."""
    async with database.transaction(snapshot=True) as tx:
        return await service.read_case_detail(tx, case_id, settings.refund_approval_limit_rp)


@post(
    "/api/control-center/review-cases/{case_id:uuid}/decision",
    operation_id="decide_review_case",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers(
        {200: ReviewCaseDetail},
        *OPERATOR_WITH_KEY,
        NotFound,
        CaseDecided,
        CaseChanged,
        NothingToRefund,
        RefundInTheWay,
    ),
)
async def decide_review_case(
    request: AnyRequest,
    data: JSONBody[Decision],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
) -> Response[bytes]:
    """Decide on a refund. The first decision wins. A refund above the limit waits for another operator's approval.

    The decision covers every open case of the same session: the session's own and those of its extensions. A refund of
    a part (`amount_rp`) also decides about the rest.
    If the case does not have the `expected_version`, the answer is 409 `changed_meanwhile`, and nothing is decided.
    """
    limit_rp = settings.refund_approval_limit_rp
    note = checked_text(data.note, "note", MAX_NOTE_CHARACTERS).strip()

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.decide_case(
            tx,
            operator,
            case_id,
            data.decision,
            note,
            limit_rp,
            data.expected_version,
            amount_rp=data.amount_rp,
        )
        return await service.read_case_detail(tx, case_id, limit_rp)

    return await command(request, database, operator.identity, step)


@post(
    "/api/control-center/payments/{payment_id:uuid}/case",
    operation_id="open_review_case",
    tags=REVIEW,
    opt=needs("decide"),
    responses=answers(
        {201: ReviewCaseDetail}, *OPERATOR_WITH_KEY, NotFound, CaseOpen, JourneyInProgress, NothingToRefund
    ),
)
async def open_review_case(
    request: AnyRequest,
    data: JSONBody[OpenedCase],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    payment_id: FromPath[UUID],
) -> Response[bytes]:
    """Open a case by hand about whatever was taken for a payment and not given back, also if it was delivered.

    A decided case opens again, as a new round. If the case is open already, the answer is 409 `case_open` with its id.
    """
    note = checked_text(data.note, "note", MAX_NOTE_CHARACTERS).strip()

    async def step(tx: Transaction) -> ReviewCaseDetail:
        case_id = await service.open_case(tx, operator, payment_id, note)
        return await service.read_case_detail(tx, case_id, settings.refund_approval_limit_rp)

    return await command(request, database, operator.identity, step, status=201)


@post(
    "/api/control-center/review-cases/{case_id:uuid}/approval",
    operation_id="approve_refund",
    tags=REVIEW,
    status_code=200,
    opt=needs("decide"),
    responses=answers(
        {200: ReviewCaseDetail},
        *OPERATOR_WITH_KEY,
        NotFound,
        NothingToApprove,
        OwnRefund,
        CaseChanged,
        RefundInTheWay,
    ),
)
async def approve_refund(
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
    expected_version: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Approve a refund above the limit. The operator who decided on the refund is not allowed to approve the refund.

    `expected_version` is the version of the case that the approver saw. If the case has another version by now, the
    answer is 409 `changed_meanwhile`.
    """

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.approve_refund(tx, operator, case_id, expected_version)
        return await service.read_case_detail(tx, case_id, settings.refund_approval_limit_rp)

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
    request: AnyRequest,
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
    case_id: FromPath[UUID],
) -> Response[bytes]:
    """Repeat a refund that the gateway refused."""

    async def step(tx: Transaction) -> ReviewCaseDetail:
        await service.retry_refund(tx, operator, case_id)
        return await service.read_case_detail(tx, case_id, settings.refund_approval_limit_rp)

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
    request: AnyRequest,
    data: JSONBody[Decisions],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    operator: NamedDependency[SignedInOperator],
) -> Response[bytes]:
    """Make the same decision on many cases. Each case has its own transaction, so a refusal affects only one case.

    If the sum of all refunds is above the limit, each of them waits for another operator's approval.
    """
    idempotent = await read_idempotent_request(request, operator.identity)
    data = msgspec.structs.replace(data, note=checked_text(data.note, "note", MAX_NOTE_CHARACTERS).strip())
    async with database.transaction() as tx:
        stored = await begin_long(tx, idempotent)
    if stored is None:
        # If the process dies here, the client repeats the request. The server then decides all cases again. A case
        # that is already decided does not change.
        case_ids = list(dict.fromkeys(data.case_ids))
        bulk_rp = 0
        if data.decision == "refund":
            async with database.transaction(snapshot=True) as tx:
                bulk_rp = await service.bulk_refund_rp(tx, operator, case_ids)
        items = [
            await _decide_one(database, settings, operator, case_id, data, bulk_rp) for case_id in case_ids
        ]
        stored = to_answer(DecisionOutcomes(items=items))
        async with database.transaction() as tx:
            await finish_long(tx, idempotent, stored)
    return to_response(stored)


async def _decide_one(
    database: Database,
    settings: Settings,
    operator: SignedInOperator,
    case_id: UUID,
    data: Decisions,
    bulk_rp: int,
) -> DecisionOutcome:
    limit_rp = settings.refund_approval_limit_rp
    try:
        async with database.transaction() as tx:
            expected_version = data.expected_versions.get(case_id)
            await service.decide_case(
                tx,
                operator,
                case_id,
                data.decision,
                data.note,
                limit_rp,
                expected_version,
                bulk_rp=bulk_rp,
            )
            case = await service.read_case(tx, case_id, limit_rp)
            return DecisionOutcome(case_id=case_id, case=case, problem=None)
    except BusinessError as error:
        problem = msgspec.convert(error.problem(), Problem)
        return DecisionOutcome(case_id=case_id, case=None, problem=problem)


ROUTES: list[BaseRouteHandler] = [
    list_failed_pairings,
    list_review_cases,
    select_review_cases,
    get_review_case,
    decide_review_case,
    open_review_case,
    approve_refund,
    retry_refund,
    decide_review_cases,
]
