"""Reads failures and cases, and decides cases. Every function takes an open transaction and never commits it."""

import hashlib
from collections.abc import Mapping, Sequence
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
    OwnRefund,
    RefundNotFailed,
)
from curhat.control_center.review.queries import (
    CaseRow,
    EarlierDecisionRow,
    FailedPairingRow,
    LockedCase,
    SelectCasesRow,
    UnitCase,
)
from curhat.control_center.review.schemas import (
    MAX_BULK_CASES,
    BookDifference,
    CaseRefund,
    CaseSelection,
    DecisionKind,
    EarlierDecision,
    FailedPairing,
    RefundStatus,
    ReviewCase,
    ReviewCaseDetail,
    SelectedCase,
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
from curhat.kit.conditions import Conditions
from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound, invalid_field
from curhat.kit.page import Page
from curhat.kit.pause_points import pause_point
from curhat.payments import books
from curhat.payments import service as payments
from curhat.payments.errors import NothingToRefund
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
    units = await _read_units(tx, rows)
    return page_of(
        rows,
        limit,
        lambda row: _review_case(row, units[row.id], approval_limit_rp),
        lambda row: cursor_of(row.opened_at, row.id, flag=row.status == "decided"),
    )


async def select_cases(tx: Transaction, filters: Filters, approval_limit_rp: int) -> CaseSelection:
    """Return the open cases that match these filters, and the sum that a refund of all of them would give back."""
    rows = await queries.select_cases(tx, filters, limit=MAX_BULK_CASES + 1)
    has_more, rows = len(rows) > MAX_BULK_CASES, rows[:MAX_BULK_CASES]
    units = await _read_units(tx, rows)
    charges = {charge.key: charge.amount_rp for unit in units.values() for charge in unit.charges}
    refundable_rp = sum(charges.values())
    return CaseSelection(
        items=[
            SelectedCase(row.id, _version_of(row.round, units[row.id]), units[row.id].left_rp) for row in rows
        ],
        count=len(rows),
        refundable_rp=refundable_rp,
        needs_approval=refundable_rp > approval_limit_rp,
        has_more=has_more,
    )


async def read_case(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCase:
    """Read one case. Raises NotFound."""
    row = await find_row(tx, queries.list_review_cases, "review_cases.id", case_id)
    return _review_case(row, (await _read_units(tx, [row]))[row.id], approval_limit_rp)


async def read_case_detail(tx: Transaction, case_id: UUID, approval_limit_rp: int) -> ReviewCaseDetail:
    """Read one case with its earlier decisions, its payment and the payment's timeline. Raises NotFound."""
    case = await read_case(tx, case_id, approval_limit_rp)
    payment = await records.read_payment(tx, case.payment_id)
    earlier = await queries.list_earlier_decisions(tx, case_id=case_id)
    return ReviewCaseDetail(
        **msgspec.structs.asdict(case),
        earlier_decisions=[_earlier_decision(row) for row in earlier],
        payment=payment,
        money=await records.read_money(tx, case.payment_id),
        book_differences=[
            from_row(BookDifference, row) for row in await books.list_differences(tx, case.payment_id)
        ],
        timeline=await records.read_timeline(tx, case.payment_id),
        server_now=payment.server_now,
    )


# Deciding ----------------------------------------------------------------------------------------------------

# A session and its extensions are one unit. Each of its payments has its own case, but an operator decides the open
# cases of a unit together: one decision, one sum, one transaction.


class Unit(msgspec.Struct, frozen=True):
    """What one step of an operator on a case covers: cases of the case's unit, and the charges in question.

    `charges` begins with the charges of the case's own payment. `given_rp` is what operators have already decided to
    give back of the whole unit.
    """

    cases: list[UnitCase]
    charges: list[UndeliveredCharge]
    given_rp: int

    @property
    def left_rp(self) -> int:
        """What can still be given back."""
        return sum(charge.amount_rp for charge in self.charges)

    def shares_of(self, case: UnitCase) -> list[tuple[UndeliveredCharge, int]]:
        """Divide the decided refund of one of these cases among its charges."""
        return _share(
            case.refund_rp or 0, [each for each in self.charges if each.payment_id == case.payment_id]
        )

    def awaiting_rp(self) -> int:
        """What an approval of the refunds in these cases gives back now."""
        return sum(_sum_rp(self.shares_of(case)) for case in self.cases)


async def decide_case(
    tx: Transaction,
    operator: SignedInOperator,
    case_id: UUID,
    decision: DecisionKind,
    note: str,
    approval_limit_rp: int,
    expected_version: str | None,
    *,
    amount_rp: int | None = None,
    bulk_rp: int = 0,
) -> None:
    """Decide an open case and the other open cases of its unit, once (X.9).

    If the same operator repeats the same decision, nothing changes. The decision covers the undelivered charges that
    nobody has decided about. A refund of `amount_rp` is a part of them, and the rest is then decided too; without
    `amount_rp`, the refund is all that is left. `expected_version` is the version of the case that the operator saw. So
    a decision never covers a charge that the operator did not see. The case opens again when another charge is not
    delivered (payments.open_cases). If the refund is at most `approval_limit_rp`, this transaction requests the refund,
    and the worker carries the refund out. A refund above `approval_limit_rp` waits for another operator's approval.
    The limit counts on the sum of all parts of the unit, also of earlier decisions. `bulk_rp` is the sum of all
    decisions of which this one is a part: the limit counts on this sum too.
    Raises NotFound, CaseDecided, CaseChanged, NothingToRefund, ValidationFailed.
    """
    case, members = await _lock(tx, case_id)
    if case.status == "decided":
        if _is_same_decision(case, members, operator, decision, amount_rp):
            return
        raise CaseDecided(
            decision=case.decision, decided_at=case.decided_at, decided_by=case.decided_by_email
        )
    unit = _in_question(case_id, members, await payments.undelivered_by_payment(tx, _payment_ids(members)))
    _require_version(case, unit, expected_version)
    refund_rp = _checked_amount(decision, amount_rp, unit.left_rp)
    shares = _share(refund_rp, unit.charges)
    needs_approval = refund_rp > 0 and max(refund_rp + unit.given_rp, bulk_rp) > approval_limit_rp
    for each in unit.cases:
        share_rp = sum(share_rp for charge, share_rp in shares if charge.payment_id == each.payment_id)
        await queries.decide_case(
            tx,
            case_id=_id_of(each),
            decision=decision,
            decision_note=note,
            decided_by=operator.id,
            refund_rp=share_rp if decision == "refund" else None,
            needs_approval=needs_approval and share_rp > 0,
        )
        await write_audit_entry(
            tx, operator.id, "case_decided", "review_case", _id_of(each), old="open", new=decision
        )
    if not needs_approval:
        await _request_refunds(tx, operator, unit.cases, shares)
        for each in unit.cases:
            await money.tell_customer(tx, each.payment_id)
    await pause_point("decide.before_commit")


async def approve_refund(
    tx: Transaction, operator: SignedInOperator, case_id: UUID, expected_version: str | None
) -> None:
    """Approve and request a refund that waits for approval, with the other refunds of its unit that wait.

    The approver must not be the operator who decided the case. `expected_version` is the version of the case that the
    approver saw. If the operator who approved the refund repeats the call, nothing changes.
    Raises NotFound, NothingToApprove, OwnRefund, CaseChanged.
    """
    case, members = await _lock(tx, case_id)
    if not case.needs_approval or case.decision != "refund":
        raise NothingToApprove
    if case.decided_by == operator.id:
        raise OwnRefund
    if case.approved_by == operator.id:
        return
    if case.approved_by is not None:
        raise NothingToApprove
    unit = _in_question(case_id, members, await payments.undelivered_by_payment(tx, _payment_ids(members)))
    # The charges can be empty, because the gateway sometimes refuses a refund first and then carries it out.
    _require_version(case, unit, expected_version)
    for each in unit.cases:
        shares = unit.shares_of(each)
        await queries.approve_refund(tx, case_id=_id_of(each), approved_by=operator.id)
        await write_audit_entry(
            tx, operator.id, "refund_approved", "review_case", _id_of(each), new=str(_sum_rp(shares))
        )
        await _request_refunds(tx, operator, [each], shares)
    for each in unit.cases:
        await money.tell_customer(tx, each.payment_id)


async def retry_refund(tx: Transaction, operator: SignedInOperator, case_id: UUID) -> None:
    """For each refund that failed, request the refund again, with a new key for the gateway.

    Raises NotFound, RefundNotFailed.

    Repeats each refused refund that an operator decided, in this round of the case or in an earlier round.
    """
    case, _ = await _lock(tx, case_id)
    undelivered = await payments.undelivered_charges(tx, case.payment_id)
    shares = [
        (charge, min(charge.refused_rp, charge.amount_rp))
        for charge in undelivered
        if charge.refused_rp is not None
    ]
    if not shares:
        raise RefundNotFailed
    await write_audit_entry(
        tx, operator.id, "refund_retried", "review_case", case_id, new=str(_sum_rp(shares))
    )
    for charge, share_rp in shares:
        await _request_refund(tx, operator, charge, share_rp, charge.decided_round)
    await money.tell_customer(tx, case.payment_id)


async def open_case(tx: Transaction, operator: SignedInOperator, payment_id: UUID, note: str) -> UUID:
    """Open a case by hand on a payment, and write an audit entry. Returns the case's id.

    Raises NotFound, CaseOpen, JourneyInProgress, NothingToRefund.
    """
    case_id = await payments.open_case_by_hand(tx, payment_id, operator.id, note)
    await write_audit_entry(tx, operator.id, "case_opened", "review_case", case_id, new="complaint")
    return case_id


async def bulk_refund_rp(tx: Transaction, operator: SignedInOperator, case_ids: Sequence[UUID]) -> int:
    """Return the sum of all refunds of a bulk decision: what is left in the cases, and what this operator has decided.

    A repeated bulk decision has decided some of its cases already. These count too, so the repetition has the same sum.
    """
    rows = await queries.list_review_cases(
        tx, Conditions(("review_cases.id = ANY ({0})", (list(case_ids),))), limit=len(case_ids)
    )
    units = await _read_units(tx, rows)
    charges: dict[UUID, int] = {}
    decided: dict[UUID, int] = {}
    for row in rows:
        if row.status == "open":
            charges |= {charge.key: charge.amount_rp for charge in units[row.id].charges}
        elif row.decided_by == operator.id:
            decided |= {_id_of(case): case.refund_rp or 0 for case in units[row.id].cases}
    return sum(charges.values()) + sum(decided.values())


def _is_same_decision(
    case: LockedCase,
    members: Sequence[UnitCase],
    operator: SignedInOperator,
    decision: DecisionKind,
    amount_rp: int | None,
) -> bool:
    if case.decided_by != operator.id or case.decision != decision:
        return False
    unit_rp = sum(each.refund_rp or 0 for each in members if each.decided_by == operator.id)
    return amount_rp is None or amount_rp in (case.refund_rp, unit_rp)


def _checked_amount(decision: DecisionKind, amount_rp: int | None, left_rp: int) -> int:
    """Return the amount to refund. Raises NothingToRefund, ValidationFailed."""
    if decision == "no_refund":
        if amount_rp is not None:
            raise invalid_field("amount_rp", "belongs to the decision refund alone")
        return 0
    if left_rp == 0:
        raise NothingToRefund
    if amount_rp is None:
        return left_rp
    if not 1 <= amount_rp <= left_rp:
        raise invalid_field("amount_rp", f"must be from 1 to {left_rp}, which is what is left")
    return amount_rp


def _share(amount_rp: int, charges: Sequence[UndeliveredCharge]) -> list[tuple[UndeliveredCharge, int]]:
    """Divide an amount among charges: the first charge gives as much as is left of it, then the next."""
    shares = []
    for charge in charges:
        share_rp = min(amount_rp, charge.amount_rp)
        if share_rp > 0:
            shares.append((charge, share_rp))
        amount_rp -= share_rp
    return shares


async def _lock(tx: Transaction, case_id: UUID) -> tuple[LockedCase, list[UnitCase]]:
    """Lock the payments of the case's unit, then the unit's cases. Returns the case, and the unit. Raises NotFound.

    The lock order is: the session's payment, the payments of its extensions by id, the cases by id.
    """
    payment_id = await queries.find_payment_of_case(tx, case_id=case_id)
    if payment_id is None:
        raise NotFound
    for each in await queries.list_units(tx, payment_ids=[payment_id]):
        await payments.lock(tx, each.payment_id)
    members = await queries.list_units(tx, payment_ids=[payment_id])
    locked = {
        each_id: await queries.lock_case(tx, case_id=each_id)
        for each_id in sorted(each.case_id for each in members if each.case_id is not None)
    }
    return locked[case_id], await queries.list_units(tx, payment_ids=[payment_id])


def _in_question(
    case_id: UUID, members: Sequence[UnitCase], undelivered: Mapping[UUID, Sequence[UndeliveredCharge]]
) -> Unit:
    """Return what the next step on the case covers.

    An open case: the open cases of its unit, with the charges that nobody has decided about. A refund that waits for
    approval: the refunds of the unit that the same operator decided and that wait. Any other decided case: itself, with
    the charges of its round.
    """
    own = next(each for each in members if each.case_id == case_id)
    if own.status == "open":
        cases = [each for each in members if each.status == "open"]
    elif _waits(own):
        cases = [each for each in members if _waits(each) and each.decided_by == own.decided_by]
    else:
        cases = [own]
    charges = [
        charge
        for each in sorted(cases, key=lambda each: each is not own)
        for charge in undelivered[each.payment_id]
        if charge.decided_round == (None if each.status == "open" else each.round)
    ]
    return Unit(cases, charges, sum(each.given_rp for each in members))


def _waits(case: UnitCase) -> bool:
    return bool(case.needs_approval) and case.approved_by is None


def _payment_ids(members: Sequence[UnitCase]) -> list[UUID]:
    return [each.payment_id for each in members]


def _id_of(case: UnitCase) -> UUID:
    assert case.case_id is not None  # _in_question returns only payments that have a case.
    return case.case_id


def _require_version(case: LockedCase, unit: Unit, expected: str | None) -> None:
    """Raise CaseChanged if `expected` is not the version of this case with the charges of this unit."""
    version = _version_of(case.round, unit)
    if expected is not None and expected != version:
        raise CaseChanged(version=version, reason=case.reason, refundable_rp=unit.left_rp)


def _version_of(case_round: int, unit: Unit) -> str:
    """Return a text that identifies the round, the cases and what is left of each charge.

    The sum alone is not enough, because another charge can have the same amount.
    """
    keys = b"".join(sorted(charge.key.bytes + charge.amount_rp.to_bytes(8, "big") for charge in unit.charges))
    return f"{case_round}-{hashlib.sha256(keys).hexdigest()[:16]}"


async def _request_refunds(
    tx: Transaction,
    operator: SignedInOperator,
    cases: Sequence[UnitCase],
    shares: Sequence[tuple[UndeliveredCharge, int]],
) -> None:
    rounds = {case.payment_id: case.round for case in cases}
    for charge, share_rp in shares:
        await _request_refund(tx, operator, charge, share_rp, rounds[charge.payment_id])


async def _request_refund(
    tx: Transaction,
    operator: SignedInOperator,
    charge: UndeliveredCharge,
    amount_rp: int,
    decided_round: int | None,
) -> None:
    await payments.request_refund(
        tx,
        charge.payment_id,
        charge.key,
        amount_rp,
        "operator_decision",
        by=str(operator.id),
        decided_round=decided_round,
    )


def _sum_rp(shares: Sequence[tuple[UndeliveredCharge, int]]) -> int:
    return sum(share_rp for _, share_rp in shares)


async def _read_units(tx: Transaction, rows: Sequence[CaseRow | SelectCasesRow]) -> dict[UUID, Unit]:
    """Return what the next step on each of these cases covers, by the case's id."""
    members: dict[UUID, list[UnitCase]] = {}
    for each in await queries.list_units(tx, payment_ids=[row.payment_id for row in rows]):
        members.setdefault(each.asked_id, []).append(each)
    payment_ids = {each.payment_id for unit in members.values() for each in unit}
    undelivered = await payments.undelivered_by_payment(tx, list(payment_ids))
    return {row.id: _in_question(row.id, members[row.payment_id], undelivered) for row in rows}


# Rows --------------------------------------------------------------------------------------------------------


def _failed_pairing(row: FailedPairingRow) -> FailedPairing:
    return from_row(
        FailedPairing,
        row,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        mitra=mitra_reference(row.mitra_id, row.mitra_display_name),
    )


def _review_case(row: CaseRow, unit: Unit, approval_limit_rp: int) -> ReviewCase:
    awaits_approval = row.status == "decided" and row.needs_approval and row.approved_by is None
    refundable_rp = unit.awaiting_rp() if awaits_approval else unit.left_rp
    return from_row(
        ReviewCase,
        row,
        customer=customer_reference(row.customer_id, row.call_name, row.phone_number),
        refundable_rp=refundable_rp,
        version=_version_of(row.round, unit),
        needs_approval=_needs_approval(unit, approval_limit_rp)
        if row.status == "open"
        else row.needs_approval,
        opened_by=operator_reference(row.opened_by, row.opened_by_email),
        decided_by=operator_reference(row.decided_by, row.decided_by_email),
        refund=_case_refund(row),
    )


def _needs_approval(unit: Unit, approval_limit_rp: int) -> bool:
    """Return whether a refund of all that is left needs a second operator."""
    return unit.left_rp > 0 and unit.left_rp + unit.given_rp > approval_limit_rp


def _earlier_decision(row: EarlierDecisionRow) -> EarlierDecision:
    return from_row(
        EarlierDecision,
        row,
        decided_by=OperatorReference(id=row.decided_by, email=row.decided_by_email),
        refund=None if row.withdrawn else _case_refund(row),
    )


def _case_refund(row: CaseRow | EarlierDecisionRow) -> CaseRefund | None:
    amount_rp = row.refund_rp or row.refunds_rp
    if not amount_rp:
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
