"""Reads failures and cases, and decides cases. Every function takes an open transaction and never commits it."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

import msgspec

from curhat.control_center.lists.cursors import after, cursor_of, find_row, flagged_key_of, key_of, page_of
from curhat.control_center.lists.filters import Filters
from curhat.control_center.operators.service import SignedInOperator
from curhat.control_center.records import service as records
from curhat.control_center.review import queries
from curhat.control_center.review.errors import (
    CaseChanged,
    CaseDecided,
    NothingToApprove,
    NothingToRefund,
    OwnRefund,
    RefundNotFailed,
)
from curhat.control_center.review.queries import CaseRow, EarlierDecisionRow, FailedPairingRow, LockedCase
from curhat.control_center.review.schemas import (
    CaseRefund,
    DecisionKind,
    EarlierDecision,
    FailedPairing,
    RefundStatus,
    ReviewCase,
    ReviewCaseDetail,
)
from curhat.control_center.schemas import (
    OperatorReference,
    customer_reference,
    from_row,
    mitra_reference,
    operator_reference,
)
from curhat.journeys import money
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.kit.page import Page
from curhat.kit.pause_points import pause_point
from curhat.payments import service as payments
from curhat.payments.queries import UndeliveredCharge

# Reading -----------------------------------------------------------------------------------------------------


async def read_failed_pairings(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int
) -> Page[FailedPairing]:
    """Read a page of failed attempts, newest first. Raises ValidationFailed for a bad cursor."""
    conditions = after(filters, "(events.occurred_at, events.id) < ({0}, {1})", key_of(cursor))
    rows = await queries.list_failed_pairings(tx, conditions, limit=limit + 1)
    return page_of(rows, limit, _failed_pairing, lambda row: cursor_of(row.occurred_at, row.id))


async def read_cases(
    tx: Transaction, filters: Filters, cursor: str | None, limit: int, *, approval_limit_rp: int
) -> Page[ReviewCase]:
    """Read a page of cases. Open cases come first, then decided cases.

    Open and decided cases are each sorted by age, oldest first.

    Raises ValidationFailed for a bad cursor.
    """
    conditions = after(
        filters,
        "((review_cases.status = 'decided'), review_cases.opened_at, review_cases.id) > ({0}, {1}, {2})",
        flagged_key_of(cursor),
    )
    rows = await queries.list_review_cases(tx, conditions, limit=limit + 1)
    undelivered = await payments.undelivered_by_payment(tx, [row.payment_id for row in rows])
    return page_of(
        rows,
        limit,
        lambda row: _review_case(row, undelivered[row.payment_id], approval_limit_rp),
        lambda row: cursor_of(row.opened_at, row.id, flag=row.status == "decided"),
    )


async def read_case(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCase:
    """Read one case. Raises NotFound."""
    row = await find_row(tx, queries.list_review_cases, "review_cases.id", case_id)
    return _review_case(row, await payments.undelivered_charges(tx, row.payment_id), approval_limit_rp)


async def read_case_detail(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCaseDetail:
    """Read one case with its earlier decisions, its payment and the payment's timeline. Raises NotFound."""
    case = await read_case(tx, case_id, approval_limit_rp)
    payment = await records.read_payment(tx, case.payment_id)
    earlier = await queries.list_earlier_decisions(tx, case_id=case_id)
    return ReviewCaseDetail(
        **msgspec.structs.asdict(case),
        earlier_decisions=[_earlier_decision(row) for row in earlier],
        payment=payment,
        timeline=await records.read_timeline(tx, case.payment_id),
        server_now=payment.server_now,
    )


# Deciding ----------------------------------------------------------------------------------------------------


async def decide_case(
    tx: Transaction,
    operator: SignedInOperator,
    case_id: UUID,
    decision: DecisionKind,
    note: str,
    approval_limit_rp: int,
    expected_version: str | None,
) -> None:
    """Decide an open case, once (X.9). If the same operator repeats the same decision, nothing changes.

    The decision covers the undelivered charges that nobody has decided about. `expected_version` is the version of the
    case that the operator saw. So a decision never covers a charge that the operator did not see. The case opens again
    when another charge is not delivered (payments.open_cases). If the refund is at most `approval_limit_rp`, this
    transaction requests the refund, and the worker carries the refund out. A refund above `approval_limit_rp` waits for
    another operator's approval. Raises NotFound, CaseDecided, CaseChanged, NothingToRefund.
    """
    case = await _lock(tx, case_id)
    if case.status == "decided":
        if case.decided_by == operator.id and case.decision == decision:
            return
        raise CaseDecided(
            decision=case.decision, decided_at=case.decided_at, decided_by=case.decided_by_email
        )
    in_question = await _charges_of_round(tx, case.payment_id, None)
    _require_version(case, in_question, expected_version)
    charges = in_question if decision == "refund" else []
    if decision == "refund" and not charges:
        raise NothingToRefund
    needs_approval = _sum_rp(charges) > approval_limit_rp
    await queries.decide_case(
        tx,
        case_id=case_id,
        decision=decision,
        decision_note=note,
        decided_by=operator.id,
        refund_rp=_sum_rp(charges) if charges else None,
        needs_approval=needs_approval,
    )
    await write_audit_entry(tx, operator.id, "case_decided", "review_case", case_id, old="open", new=decision)
    if not needs_approval:
        await _request_refunds(tx, operator, case.payment_id, charges)
        await money.tell_customer(tx, case.payment_id)
    await pause_point("decide.before_commit")


async def approve_refund(
    tx: Transaction, operator: SignedInOperator, case_id: UUID, expected_version: str | None
) -> None:
    """Approve and request a refund that waits for approval. The approver must not be the operator who decided the case.

    `expected_version` is the version of the case that the approver saw. If the operator who approved the refund
    repeats the call, nothing changes. Raises NotFound, NothingToApprove, OwnRefund, CaseChanged.
    """
    case = await _lock(tx, case_id)
    if not case.needs_approval or case.decision != "refund":
        raise NothingToApprove
    if case.decided_by == operator.id:
        raise OwnRefund
    if case.approved_by == operator.id:
        return
    charges = await _charges_of_round(tx, case.payment_id, case.round)
    if case.approved_by is not None:
        raise NothingToApprove
    # `charges` can be empty, because the gateway sometimes refuses a refund first and then carries it out.
    _require_version(case, charges, expected_version)
    await queries.approve_refund(tx, case_id=case_id, approved_by=operator.id)
    await write_audit_entry(
        tx, operator.id, "refund_approved", "review_case", case_id, new=str(_sum_rp(charges))
    )
    await _request_refunds(tx, operator, case.payment_id, charges)
    await money.tell_customer(tx, case.payment_id)


async def retry_refund(tx: Transaction, operator: SignedInOperator, case_id: UUID) -> None:
    """For each refund that failed, request the refund again, with a new key for the gateway.

    Raises NotFound, RefundNotFailed.

    Repeats each refused refund that an operator decided, in this round of the case or in an earlier round.
    """
    case = await _lock(tx, case_id)
    undelivered = await payments.undelivered_charges(tx, case.payment_id)
    charges = [charge for charge in undelivered if charge.was_refused]
    if not charges:
        raise RefundNotFailed
    await write_audit_entry(
        tx, operator.id, "refund_retried", "review_case", case_id, new=str(_sum_rp(charges))
    )
    await _request_refunds(tx, operator, case.payment_id, charges)
    await money.tell_customer(tx, case.payment_id)


async def _lock(tx: Transaction, case_id: UUID) -> LockedCase:
    """Lock the payment's row, then the case's row. Raises NotFound."""
    payment_id = await queries.find_payment_of_case(tx, case_id=case_id)
    if payment_id is None:
        raise NotFound
    await payments.lock(tx, payment_id)
    return await queries.lock_case(tx, case_id=case_id)


async def _charges_of_round(
    tx: Transaction, payment_id: UUID, decided_round: int | None
) -> list[UndeliveredCharge]:
    """Return the undelivered charges that were decided in `decided_round`.

    If `decided_round` is None, return the undecided charges.
    """
    undelivered = await payments.undelivered_charges(tx, payment_id)
    return [charge for charge in undelivered if charge.decided_round == decided_round]


def _require_version(case: LockedCase, charges: Sequence[UndeliveredCharge], expected: str | None) -> None:
    """Raise CaseChanged if `expected` is not the version of this case with these charges."""
    version = _version_of(case.round, charges)
    if expected is not None and expected != version:
        raise CaseChanged(version=version, reason=case.reason, refundable_rp=_sum_rp(charges))


def _version_of(case_round: int, charges: Sequence[UndeliveredCharge]) -> str:
    """Return a text that identifies the round and these charges.

    The sum alone is not enough, because another charge can have the same amount.
    """
    keys = b"".join(sorted(charge.key.bytes for charge in charges))
    return f"{case_round}-{hashlib.sha256(keys).hexdigest()[:16]}"


async def _request_refunds(
    tx: Transaction, operator: SignedInOperator, payment_id: UUID, charges: Sequence[UndeliveredCharge]
) -> None:
    for charge in charges:
        await payments.request_refund(
            tx, payment_id, charge.key, charge.amount_rp, "operator_decision", by=str(operator.id)
        )


def _sum_rp(charges: Sequence[UndeliveredCharge]) -> int:
    return sum(charge.amount_rp for charge in charges)


# Rows --------------------------------------------------------------------------------------------------------


def _failed_pairing(row: FailedPairingRow) -> FailedPairing:
    return from_row(
        FailedPairing,
        row,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        mitra=mitra_reference(row.mitra_id, row.mitra_display_name),
    )


def _review_case(
    row: CaseRow, undelivered: Sequence[UndeliveredCharge], approval_limit_rp: int
) -> ReviewCase:
    decided_round = None if row.status == "open" else row.round
    charges = [charge for charge in undelivered if charge.decided_round == decided_round]
    refundable_rp = _sum_rp(charges)
    return from_row(
        ReviewCase,
        row,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        refundable_rp=refundable_rp,
        version=_version_of(row.round, charges),
        needs_approval=refundable_rp > approval_limit_rp if row.status == "open" else row.needs_approval,
        decided_by=operator_reference(row.decided_by, row.decided_by_email),
        refund=_case_refund(row),
    )


def _earlier_decision(row: EarlierDecisionRow) -> EarlierDecision:
    return from_row(
        EarlierDecision,
        row,
        decided_by=OperatorReference(id=row.decided_by, email=row.decided_by_email),
        refund=None if row.withdrawn else _case_refund(row),
    )


def _case_refund(row: CaseRow | EarlierDecisionRow) -> CaseRefund | None:
    amount_rp = row.refund_rp or row.refunds_rp
    if amount_rp is None:
        return None
    status: RefundStatus = "done"
    if isinstance(row, CaseRow) and row.needs_approval and row.approved_by is None:
        status = "awaiting_approval"
    elif row.any_failed:
        status = "failed"
    elif row.any_requested:
        status = "requested"
    return from_row(
        CaseRefund,
        row,
        status=status,
        amount_rp=amount_rp,
        reason=row.gateway_reason if status == "failed" else None,
        approved_by=operator_reference(row.approved_by, row.approved_by_email),
    )
