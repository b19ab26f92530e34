"""Reading failures and cases, and deciding cases. Every function takes an open transaction and never commits it."""

from typing import Any, Final
from uuid import UUID

import asyncpg

from curhat.control_center.audit.service import record
from curhat.control_center.lists import Filters, cursor_of, key_of, page_of
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import service as records
from curhat.control_center.review.errors import (
    CaseDecided,
    NothingToApprove,
    NothingToRefund,
    OwnRefund,
    RefundNotFailed,
)
from curhat.control_center.review.schemas import (
    CaseRefund,
    DecisionKind,
    FailedPairing,
    RefundStatus,
    ReviewCase,
    ReviewCaseDetail,
)
from curhat.control_center.schemas import customer_of, mitra_of, operator_of
from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.kit.page import Page
from curhat.kit.pause_points import pause_point
from curhat.payments import service as payments
from curhat.payments.queries import TakenCharge

SQL = load_queries(__file__)


# Reading -----------------------------------------------------------------------------------------------------


def failed_pairings() -> Filters:
    """All attempts that failed, to be narrowed."""
    return Filters(SQL.failed_pairings)


async def failed_pairings_page(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[FailedPairing]:
    """Attempts that failed, newest first."""
    key = key_of(cursor)
    rows = await filters.fetch(
        tx, "(events.occurred_at, events.id) < ({0}, {1})", None if key is None else key[1:], limit
    )
    return page_of(rows, limit, _failed_pairing, lambda row: cursor_of(row["occurred_at"], row["id"]))


# Of a decided case: something that the gateway refused to give back, and was not asked for again.
REFUSED: Final = (
    "review_cases.status = 'decided' AND review_cases.payment_id IN (SELECT payment_id FROM refused_refunds)"
)


def cases() -> Filters:
    """All cases, to be narrowed."""
    return Filters(SQL.cases)


async def cases_page(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int, approval_limit_rp: int
) -> Page[ReviewCase]:
    """Cases: the open ones first, each kind oldest first."""
    rows = await filters.fetch(
        tx,
        "((review_cases.status = 'decided'), review_cases.opened_at, review_cases.id) > ({0}, {1}, {2})",
        key_of(cursor),
        limit,
    )
    refundable_rp = await payments.refundable_rp(tx, [row["payment_id"] for row in rows])
    return page_of(
        rows,
        limit,
        lambda row: ReviewCase(**_case(row, refundable_rp[row["payment_id"]], approval_limit_rp)),
        lambda row: cursor_of(row["opened_at"], row["id"], flag=row["status"] == "decided"),
    )


async def case(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCase:
    """One case. Raises NotFound."""
    return ReviewCase(**await _case_fields(tx, await _case_row(tx, case_id), approval_limit_rp))


async def case_detail(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCaseDetail:
    """One case with its payment and everything that happened to it. Raises NotFound."""
    row = await _case_row(tx, case_id)
    return ReviewCaseDetail(
        **await _case_fields(tx, row, approval_limit_rp),
        payment=await records.payment_record(tx, row["payment_id"]),
        timeline=await records.timeline(tx, row["payment_id"]),
        server_now=row["server_now"],
    )


async def _case_fields(tx: Transaction, row: asyncpg.Record, approval_limit_rp: int) -> dict[str, Any]:
    sums = await payments.refundable_rp(tx, [row["payment_id"]])
    return _case(row, sums[row["payment_id"]], approval_limit_rp)


async def _case_row(tx: Transaction, case_id: UUID) -> asyncpg.Record:
    filters = cases()
    filters.add("review_cases.id = {0}", case_id)
    rows = await filters.fetch(tx, "", None, 1)
    if not rows:
        raise NotFound
    return rows[0]


# Deciding ----------------------------------------------------------------------------------------------------


async def decide(
    tx: Transaction,
    operator: SignedInOperator,
    case_id: UUID,
    decision: DecisionKind,
    note: str,
    approval_limit_rp: int,
) -> None:
    """open → decided, once (X.9). The one who decided it may repeat it: nothing changes.

    A refund is asked for in this transaction and carried out by the worker, unless it is above the limit and waits for
    another operator. Raises NotFound, CaseDecided, NothingToRefund.
    """
    row = await _locked(tx, case_id)
    if row["status"] == "decided":
        if row["decided_by"] == operator.id:
            return
        raise CaseDecided(
            decision=row["decision"], decided_at=row["decided_at"], decided_by=row["decided_by_email"]
        )
    charges = await payments.charges_to_refund(tx, row["payment_id"]) if decision == "refund" else []
    if decision == "refund" and not charges:
        raise NothingToRefund
    needs_approval = _sum(charges) > approval_limit_rp
    await tx.execute(
        SQL.decide,
        case_id,
        decision,
        note.strip(),
        operator.id,
        _sum(charges) if charges else None,
        needs_approval,
    )
    await record(tx, operator.id, "case_decided", "review_case", case_id, old="open", new=decision)
    if not needs_approval:
        await _request(tx, operator, row["payment_id"], charges)
    await pause_point("decide.before_commit")


async def approve(tx: Transaction, operator: SignedInOperator, case_id: UUID) -> None:
    """awaiting approval → requested, by another operator than the one who decided. Repeated by the same one, nothing.

    Raises NotFound, NothingToApprove, OwnRefund.
    """
    row = await _locked(tx, case_id)
    if not row["needs_approval"] or row["decision"] != "refund":
        raise NothingToApprove
    if row["decided_by"] == operator.id:
        raise OwnRefund
    if row["approved_by"] == operator.id:
        return
    charges = await payments.charges_to_refund(tx, row["payment_id"])
    if row["approved_by"] is not None or not charges:
        raise NothingToApprove
    await tx.execute(SQL.approve, case_id, operator.id, _sum(charges))
    await record(tx, operator.id, "refund_approved", "review_case", case_id, new=str(_sum(charges)))
    await _request(tx, operator, row["payment_id"], charges)


async def retry_refund(tx: Transaction, operator: SignedInOperator, case_id: UUID) -> None:
    """failed → requested again, under a new key at the gateway. Raises NotFound, RefundNotFailed.

    Only what the gateway refused: also a late approval's own refund, which no decision stands behind.
    """
    row = await _locked(tx, case_id)
    awaits_approval = row["needs_approval"] and row["approved_by"] is None
    taken = await payments.charges_to_refund(tx, row["payment_id"])
    charges = [charge for charge in taken if charge.was_refused]
    if row["status"] != "decided" or awaits_approval or not charges:
        raise RefundNotFailed
    await record(tx, operator.id, "refund_retried", "review_case", case_id, new=str(_sum(charges)))
    await _request(tx, operator, row["payment_id"], charges)


async def _locked(tx: Transaction, case_id: UUID) -> asyncpg.Record:
    payment_id = await tx.fetchval(SQL.payment_of_case, case_id)
    if payment_id is None:
        raise NotFound
    await payments.lock(tx, payment_id)
    row = await tx.fetchrow(SQL.lock_case, case_id)
    assert row is not None  # Cases are never deleted.
    return row


async def _request(
    tx: Transaction, operator: SignedInOperator, payment_id: UUID, charges: list[TakenCharge]
) -> None:
    for charge in charges:
        await payments.request_refund(
            tx, payment_id, charge.key, charge.amount_rp, "operator_decision", by=str(operator.id)
        )


def _sum(charges: list[TakenCharge]) -> int:
    return sum(charge.amount_rp for charge in charges)


# Rows --------------------------------------------------------------------------------------------------------


def _failed_pairing(row: asyncpg.Record) -> FailedPairing:
    return FailedPairing(
        id=row["id"],
        tag=row["tag"],
        kind=row["kind"],
        payment_id=row["payment_id"],
        customer=customer_of(row),
        mitra=mitra_of(row),
        amount_rp=row["amount_rp"],
        occurred_at=row["occurred_at"],
        recovered=row["recovered"],
        case_id=row["case_id"],
    )


def _case(row: asyncpg.Record, refundable_rp: int, approval_limit_rp: int) -> dict[str, Any]:
    is_open = row["status"] == "open"
    return {
        "id": row["id"],
        "reason": row["reason"],
        "status": row["status"],
        "tag": row["tag"],
        "payment_id": row["payment_id"],
        "customer": customer_of(row),
        "amount_rp": row["amount_rp"],
        "refundable_rp": refundable_rp,
        "needs_approval": refundable_rp > approval_limit_rp if is_open else row["needs_approval"],
        "opened_at": row["opened_at"],
        "decision": row["decision"],
        "note": row["decision_note"],
        "decided_by": operator_of(row["decided_by"], row["decided_by_email"]),
        "decided_at": row["decided_at"],
        "refund": _refund(row),
    }


def _refund(row: asyncpg.Record) -> CaseRefund | None:
    if row["decision"] != "refund" and row["refunds_rp"] is None:
        return None
    status: RefundStatus = "done"
    if row["needs_approval"] and row["approved_by"] is None:
        status = "awaiting_approval"
    elif row["any_failed"]:
        status = "failed"
    elif row["any_requested"]:
        status = "requested"
    return CaseRefund(
        status=status,
        amount_rp=row["refund_rp"] or row["refunds_rp"],
        reason=row["gateway_reason"] if status == "failed" else None,
        approved_by=operator_of(row["approved_by"], row["approved_by_email"]),
        approved_at=row["approved_at"],
        requested_at=row["requested_at"],
        answered_at=row["answered_at"],
    )
