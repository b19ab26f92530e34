"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.review.schemas import DecisionKind
from curhat.control_center.schemas import CaseStatus
from curhat.kit.conditions import Conditions
from curhat.kit.database import Executor, NoRow
from curhat.pairing.states import FailureTag, PairingKind
from curhat.payments.states import CaseReason


class FailedPairingRow(msgspec.Struct, frozen=True):
    id: UUID
    tag: FailureTag
    kind: PairingKind | None
    payment_id: UUID
    customer_id: UUID
    call_name: str
    phone_number: str
    mitra_id: UUID | None
    mitra_display_name: str | None
    amount_rp: int
    occurred_at: datetime
    recovered: bool
    case_id: UUID | None
    anybody_asked: bool


LIST_FAILED_PAIRINGS: Final = """
SELECT page.id, page.tag, page.kind, page.payment_id, page.customer_id, customers.call_name, people.phone_number,
    page.mitra_id, mitras.display_name AS mitra_display_name, page.paid_rp AS amount_rp, page.occurred_at, page.recovered,
    page.case_id, EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = page.pairing_id) AS anybody_asked
FROM (
    SELECT events.*, payments.customer_id, payments.amount_rp AS paid_rp
    FROM failed_pairing_events AS events JOIN payments ON payments.id = events.payment_id
    WHERE true /* conditions */
    ORDER BY events.occurred_at DESC, events.id DESC
    LIMIT $1
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
LEFT JOIN mitras ON mitras.id = page.mitra_id
ORDER BY page.occurred_at DESC, page.id DESC
"""


async def list_failed_pairings(
    db: Executor, /, conditions: Conditions, *, limit: int
) -> list[FailedPairingRow]:
    """Read failed-pairing events, newest first."""
    statement, values = conditions.complete(LIST_FAILED_PAIRINGS, limit)
    return [FailedPairingRow(*row) for row in await db.fetch(statement, *values)]


class CaseRow(msgspec.Struct, frozen=True):
    id: UUID
    reason: CaseReason
    status: CaseStatus
    tag: FailureTag | None
    anybody_asked: bool
    payment_id: UUID
    customer_id: UUID
    call_name: str
    phone_number: str
    amount_rp: int
    opened_at: datetime
    opened_by: UUID | None
    opened_by_email: str | None
    opened_note: str | None
    round: int
    decision: DecisionKind | None
    note: str | None
    decided_by: UUID | None
    decided_by_email: str | None
    decided_at: datetime | None
    refund_rp: int | None
    needs_approval: bool
    approved_by: UUID | None
    approved_by_email: str | None
    approved_at: datetime | None
    any_failed: bool | None
    any_requested: bool | None
    gateway_reason: str | None
    refunds_rp: int | None
    requested_at: datetime | None
    answered_at: datetime | None


LIST_REVIEW_CASES: Final = """
SELECT page.id, page.reason, page.status, page.tag, EXISTS (
        SELECT 1 FROM pairings JOIN requests ON requests.pairing_id = pairings.id
        WHERE pairings.payment_id = page.payment_id
    ) AS anybody_asked, page.payment_id, payments.customer_id, customers.call_name,
    people.phone_number, page.amount_rp, page.opened_at, page.opened_by, opener.email AS opened_by_email,
    page.opened_note, page.round, page.decision, page.decision_note AS note, page.decided_by,
    decider.email AS decided_by_email, page.decided_at, page.refund_rp, page.needs_approval, page.approved_by,
    approver.email AS approved_by_email, page.approved_at, refund.any_failed, refund.any_requested,
    refund.gateway_reason, refund.refunds_rp, refund.requested_at, refund.answered_at
FROM (
    SELECT review_cases.* FROM review_cases
    WHERE true /* conditions */
    ORDER BY (review_cases.status = 'decided'), review_cases.opened_at, review_cases.id
    LIMIT $1
) AS page
JOIN payments ON payments.id = page.payment_id
JOIN customers ON customers.id = payments.customer_id
JOIN people ON people.id = payments.customer_id
LEFT JOIN operators AS decider ON decider.id = page.decided_by
LEFT JOIN operators AS approver ON approver.id = page.approved_by
LEFT JOIN operators AS opener ON opener.id = page.opened_by
LEFT JOIN LATERAL (
    SELECT bool_or(last.status = 'failed') AS any_failed, bool_or(last.status = 'requested') AS any_requested,
        min(last.gateway_reason) FILTER (WHERE last.status = 'failed') AS gateway_reason,
        sum(last.amount_rp)::integer AS refunds_rp, min(last.requested_at) AS requested_at,
        max(last.answered_at) AS answered_at
    FROM (
        SELECT DISTINCT ON (refunds.charge_attempt_id) refunds.*
        FROM charge_attempts JOIN refunds ON refunds.charge_attempt_id = charge_attempts.id
            AND refunds.reason = 'operator_decision'
            AND refunds.payment_id = page.payment_id
        WHERE charge_attempts.payment_id = page.payment_id
            AND coalesce(refunds.decided_round, charge_attempts.decided_round) = page.round
        ORDER BY refunds.charge_attempt_id, (refunds.status = 'failed'), refunds.id DESC
    ) AS last
) AS refund ON page.status = 'decided'
ORDER BY (page.status = 'decided'), page.opened_at, page.id
"""


async def list_review_cases(db: Executor, /, conditions: Conditions, *, limit: int) -> list[CaseRow]:
    """Read review cases. Open cases come before decided cases. Older cases come first within the open cases and within the
    decided cases. A round can decide several charges. The refund columns aggregate one refund per charge of the current
    round. The columns use the charge's newest refund that has not failed. If all refunds of the charge have failed, the
    columns use the charge's newest refund."""
    statement, values = conditions.complete(LIST_REVIEW_CASES, limit)
    return [CaseRow(*row) for row in await db.fetch(statement, *values)]


class SelectCasesRow(msgspec.Struct, frozen=True):
    id: UUID
    payment_id: UUID
    status: CaseStatus
    round: int


SELECT_CASES: Final = """
SELECT review_cases.id, review_cases.payment_id, review_cases.status, review_cases.round
FROM review_cases
WHERE review_cases.status = 'open' /* conditions */
ORDER BY review_cases.opened_at, review_cases.id
LIMIT $1
"""


async def select_cases(db: Executor, /, conditions: Conditions, *, limit: int) -> list[SelectCasesRow]:
    """Read the ids and payments of the open cases of a bulk decision, oldest first."""
    statement, values = conditions.complete(SELECT_CASES, limit)
    return [SelectCasesRow(*row) for row in await db.fetch(statement, *values)]


class EarlierDecisionRow(msgspec.Struct, frozen=True):
    reason: CaseReason
    opened_at: datetime
    decision: DecisionKind
    note: str
    decided_by: UUID
    decided_by_email: str
    decided_at: datetime
    refund_rp: int | None
    withdrawn: bool
    approved_by: UUID | None
    approved_by_email: str | None
    approved_at: datetime | None
    any_failed: bool | None
    any_requested: bool | None
    gateway_reason: str | None
    refunds_rp: int | None
    requested_at: datetime | None
    answered_at: datetime | None


LIST_EARLIER_DECISIONS: Final = """
SELECT earlier.reason, earlier.opened_at, earlier.decision, earlier.decision_note AS note, earlier.decided_by,
    decider.email AS decided_by_email, earlier.decided_at, earlier.refund_rp, earlier.withdrawn, earlier.approved_by,
    approver.email AS approved_by_email, earlier.approved_at, refund.any_failed, refund.any_requested,
    refund.gateway_reason, refund.refunds_rp, refund.requested_at, refund.answered_at
FROM earlier_decisions AS earlier
JOIN review_cases ON review_cases.id = earlier.case_id
JOIN operators AS decider ON decider.id = earlier.decided_by
LEFT JOIN operators AS approver ON approver.id = earlier.approved_by
LEFT JOIN LATERAL (
    SELECT bool_or(last.status = 'failed') AS any_failed, bool_or(last.status = 'requested') AS any_requested,
        min(last.gateway_reason) FILTER (WHERE last.status = 'failed') AS gateway_reason,
        sum(last.amount_rp)::integer AS refunds_rp, min(last.requested_at) AS requested_at,
        max(last.answered_at) AS answered_at
    FROM (
        SELECT DISTINCT ON (refunds.charge_attempt_id) refunds.*
        FROM charge_attempts JOIN refunds ON refunds.charge_attempt_id = charge_attempts.id
            AND refunds.reason = 'operator_decision'
            AND refunds.payment_id = review_cases.payment_id
        WHERE charge_attempts.payment_id = review_cases.payment_id
            AND coalesce(refunds.decided_round, charge_attempts.decided_round) = earlier.round
        ORDER BY refunds.charge_attempt_id, (refunds.status = 'failed'), refunds.id DESC
    ) AS last
) AS refund ON true
WHERE earlier.case_id = $1
ORDER BY earlier.round
"""


async def list_earlier_decisions(db: Executor, /, *, case_id: UUID) -> list[EarlierDecisionRow]:
    """Read the decisions of a case's earlier rounds, oldest first. The refund columns have the same meaning as in
    list_review_cases, but for the charges of the earlier round."""
    return [EarlierDecisionRow(*row) for row in await db.fetch(LIST_EARLIER_DECISIONS, case_id)]


class UnitCase(msgspec.Struct, frozen=True):
    asked_id: UUID
    payment_id: UUID
    case_id: UUID | None
    status: CaseStatus | None
    round: int | None
    decision: DecisionKind | None
    decided_by: UUID | None
    needs_approval: bool | None
    approved_by: UUID | None
    refund_rp: int | None
    given_rp: int


LIST_UNITS: Final = """
WITH asked AS (
    SELECT asked.id, (
        SELECT sessions.id FROM sessions WHERE sessions.payment_id = asked.id
        UNION ALL
        SELECT extensions.session_id FROM extensions WHERE extensions.payment_id = asked.id
    ) AS session_id
    FROM unnest($1::uuid[]) AS asked (id)
), members AS (
    SELECT asked.id AS asked_id, asked.id AS payment_id, 1 AS rank FROM asked WHERE asked.session_id IS NULL
    UNION ALL
    SELECT asked.id, sessions.payment_id, 1 FROM asked JOIN sessions ON sessions.id = asked.session_id
    UNION ALL
    SELECT asked.id, extensions.payment_id, 2 FROM asked JOIN extensions ON extensions.session_id = asked.session_id
)
SELECT members.asked_id, members.payment_id, review_cases.id AS case_id, review_cases.status, review_cases.round,
    review_cases.decision, review_cases.decided_by, review_cases.needs_approval, review_cases.approved_by,
    review_cases.refund_rp, (
        SELECT coalesce(sum(refunds.amount_rp), 0)::integer FROM refunds
        WHERE refunds.payment_id = members.payment_id AND refunds.reason = 'operator_decision'
            AND refunds.status <> 'failed'
    ) AS given_rp
FROM members LEFT JOIN review_cases ON review_cases.payment_id = members.payment_id
ORDER BY members.asked_id, members.rank, members.payment_id
"""


async def list_units(db: Executor, /, *, payment_ids: Sequence[UUID]) -> list[UnitCase]:
    """Read the units of these payments. A unit is a session's payment and the payments of the session's extensions, or one
    payment without a session. `asked_id` is the payment of @payment_ids that the unit belongs to. The payment of the
    session comes first in its unit. Each row has the payment's case, if there is one. `given_rp` is the sum of the
    payment's refunds that an operator decided and that the gateway has not refused."""
    return [UnitCase(*row) for row in await db.fetch(LIST_UNITS, payment_ids)]


FIND_PAYMENT_OF_CASE: Final = """
SELECT payment_id FROM review_cases WHERE id = $1
"""


async def find_payment_of_case(db: Executor, /, *, case_id: UUID) -> UUID | None:
    """Find the payment that a case is about. Returns no row if there is no such case."""
    row = await db.fetchrow(FIND_PAYMENT_OF_CASE, case_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class LockedCase(msgspec.Struct, frozen=True):
    status: CaseStatus
    payment_id: UUID
    round: int
    reason: CaseReason
    decision: DecisionKind | None
    decided_by: UUID | None
    decided_by_email: str | None
    decided_at: datetime | None
    needs_approval: bool
    approved_by: UUID | None
    refund_rp: int | None


LOCK_CASE: Final = """
SELECT review_cases.status, review_cases.payment_id, review_cases.round, review_cases.reason,
    review_cases.decision, review_cases.decided_by, operators.email AS decided_by_email, review_cases.decided_at,
    review_cases.needs_approval, review_cases.approved_by, review_cases.refund_rp
FROM review_cases LEFT JOIN operators ON operators.id = review_cases.decided_by
WHERE review_cases.id = $1
FOR NO KEY UPDATE OF review_cases
"""


async def lock_case(db: Executor, /, *, case_id: UUID) -> LockedCase:
    """Lock a case's row. The caller must already hold the lock of the case's payment. The case's row exists, because cases
    are never deleted."""
    row = await db.fetchrow(LOCK_CASE, case_id)
    if row is None:
        raise NoRow(LOCK_CASE)
    return LockedCase(*row)


DECIDE_CASE: Final = """
UPDATE review_cases SET status = 'decided', decision = $1, decision_note = $2,
    decided_by = $3, decided_at = curhat_now(), refund_rp = $4, needs_approval = $5
WHERE id = $6 AND status = 'open'
"""


async def decide_case(
    db: Executor,
    /,
    *,
    decision: DecisionKind,
    decision_note: str,
    decided_by: UUID,
    refund_rp: int | None,
    needs_approval: bool,
    case_id: UUID,
) -> None:
    """Decide the case (open → decided). A trigger writes the current round into each undelivered charge that has no
    decision yet. If @needs_approval is true, the refund of @refund_rp waits until another operator approves the refund."""
    await db.execute(DECIDE_CASE, decision, decision_note, decided_by, refund_rp, needs_approval, case_id)


APPROVE_REFUND: Final = """
UPDATE review_cases SET approved_by = $1, approved_at = curhat_now()
WHERE id = $2
"""


async def approve_refund(db: Executor, /, *, approved_by: UUID, case_id: UUID) -> None:
    """Approve the refund (awaiting approval → approved). The caller has locked and checked the case."""
    await db.execute(APPROVE_REFUND, approved_by, case_id)
