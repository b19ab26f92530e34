"""Generated from queries.sql by `make contracts`. Do not edit."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.control_center.records.schemas import TimelineStatus, TimelineType
from curhat.control_center.schemas import CaseStatus
from curhat.kit.conditions import Conditions
from curhat.kit.database import Executor, NoRow
from curhat.pairing.states import CloseReason, FailureTag, PairingKind, RequestStatus
from curhat.payments.states import PaymentStatus
from curhat.pricing.schemas import Purpose
from curhat.sessions.states import EndReason, LeaveReason, SessionStatus


class PaymentRow(msgspec.Struct, frozen=True):
    id: UUID
    purpose: Purpose
    payment_status: PaymentStatus
    customer_id: UUID
    call_name: str
    phone_number: str
    amount_rp: int
    duration_minutes: int
    is_trial: bool
    target_mitra_id: UUID | None
    target_mitra_display_name: str | None
    created_at: datetime
    expires_at: datetime
    confirmed_at: datetime | None
    closed_at: datetime | None
    tag: FailureTag | None
    session_id: UUID | None
    case_id: UUID | None
    server_now: datetime
    anybody_asked: bool


LIST_PAYMENTS: Final = """
SELECT page.id, page.purpose, page.status AS payment_status, page.customer_id, customers.call_name,
    people.phone_number, page.amount_rp, page.duration_minutes, page.is_trial, page.target_mitra_id,
    mitras.display_name AS target_mitra_display_name, page.created_at, page.expires_at, page.confirmed_at,
    page.closed_at, failure.tag, sessions.id AS session_id, review_cases.id AS case_id, curhat_now() AS server_now,
    EXISTS (
        SELECT 1 FROM pairings JOIN requests ON requests.pairing_id = pairings.id WHERE pairings.payment_id = page.id
    ) AS anybody_asked
FROM (
    SELECT payments.* FROM payments
    WHERE true /* conditions */
    ORDER BY payments.created_at DESC /* or ASC */, payments.id DESC /* or ASC */
    LIMIT $1
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
LEFT JOIN mitras ON mitras.id = page.target_mitra_id
LEFT JOIN sessions ON sessions.payment_id = page.id
LEFT JOIN review_cases ON review_cases.payment_id = page.id
LEFT JOIN LATERAL (
    SELECT events.tag FROM failed_pairing_events AS events WHERE events.payment_id = page.id
    ORDER BY events.occurred_at DESC, events.id DESC LIMIT 1
) AS failure ON true
ORDER BY page.created_at DESC /* or ASC */, page.id DESC /* or ASC */
"""


async def list_payments(db: Executor, /, conditions: Conditions, *, limit: int) -> list[PaymentRow]:
    """Read payments, newest or oldest first, each with the tag of its last failure, its session and its review case."""
    statement, values = conditions.complete(LIST_PAYMENTS, limit)
    return [PaymentRow(*row) for row in await db.fetch(statement, *values)]


class MoneyRow(msgspec.Struct, frozen=True):
    id: UUID
    session_id: UUID | None
    purpose: Purpose
    payment_status: PaymentStatus
    amount_rp: int
    duration_minutes: int
    is_trial: bool
    created_at: datetime
    taken_rp: int
    refunded_rp: int
    requested_rp: int
    case_id: UUID | None
    case_status: CaseStatus | None


READ_MONEY: Final = """
WITH asked AS (
    SELECT id FROM sessions WHERE payment_id = $1
    UNION ALL
    SELECT session_id FROM extensions WHERE payment_id = $1
), members AS (
    SELECT payment_id AS id, id AS session_id, 1 AS rank FROM sessions WHERE id = (SELECT id FROM asked)
    UNION ALL
    SELECT payment_id, session_id, 2 FROM extensions WHERE session_id = (SELECT id FROM asked)
    UNION ALL
    SELECT $1, NULL, 1 WHERE NOT EXISTS (SELECT 1 FROM asked)
)
SELECT payments.id, members.session_id, payments.purpose, payments.status AS payment_status, payments.amount_rp,
    payments.duration_minutes, payments.is_trial, payments.created_at, charged.taken_rp, refunded.refunded_rp,
    refunded.requested_rp, review_cases.id AS case_id, review_cases.status AS case_status
FROM members
JOIN payments ON payments.id = members.id
LEFT JOIN review_cases ON review_cases.payment_id = payments.id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_rp), 0)::integer AS taken_rp FROM charge_attempts
    WHERE payment_id = payments.id AND status IN ('approved', 'approved_late')
) AS charged
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_rp) FILTER (WHERE status = 'done'), 0)::integer AS refunded_rp,
        coalesce(sum(amount_rp) FILTER (WHERE status = 'requested'), 0)::integer AS requested_rp
    FROM refunds WHERE payment_id = payments.id
) AS refunded
ORDER BY members.rank, payments.id
"""


async def read_money(db: Executor, /, *, payment_id: UUID) -> list[MoneyRow]:
    """Read the payments of the session that this payment belongs to: the session's own, then those of its extensions. A
    payment without a session stands alone. taken_rp has the approved charges, also late ones."""
    return [MoneyRow(*row) for row in await db.fetch(READ_MONEY, payment_id)]


class TimelineRow(msgspec.Struct, frozen=True):
    at: datetime
    type: TimelineType
    status: TimelineStatus | None
    kind: PairingKind | None
    tag: FailureTag | None
    reason: str | None
    note: str | None
    amount_rp: int | None
    mitra_id: UUID | None
    mitra_display_name: str | None
    operator_id: UUID | None
    operator_email: str | None
    entity_id: UUID


READ_TIMELINE: Final = """
WITH extension AS (
    SELECT * FROM extensions
    WHERE session_id = (SELECT id FROM sessions WHERE payment_id = $1)
    UNION ALL
    SELECT * FROM extensions WHERE payment_id = $1
), reviewed AS (
    SELECT id, reason, tag, amount_rp, opened_at, opened_by, opened_note, decision, decision_note, refund_rp, decided_by, decided_at,
        approved_by, approved_at
    FROM review_cases WHERE payment_id = $1
    UNION ALL
    SELECT review_cases.id, earlier.reason, NULL, review_cases.amount_rp, earlier.opened_at, earlier.opened_by,
        earlier.opened_note, earlier.decision,
        earlier.decision_note, earlier.refund_rp, earlier.decided_by, earlier.decided_at, earlier.approved_by,
        earlier.approved_at
    FROM review_cases JOIN earlier_decisions AS earlier ON earlier.case_id = review_cases.id
    WHERE review_cases.payment_id = $1
), asked AS (
    SELECT requests.id, requests.mitra_id, requests.offered_at, requests.answered_at, requests.status,
        requests.close_reason, pairings.kind
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id WHERE pairings.payment_id = $1
    ORDER BY (requests.status IN ('accepted', 'rejected')) DESC, requests.id
    LIMIT $2
), happened AS (
    SELECT created_at AS at, 1 AS rank, 'payment_opened' AS type, NULL::text AS status, NULL::text AS kind,
        NULL::text AS tag, NULL::text AS reason, NULL::text AS note, amount_rp, target_mitra_id AS mitra_id,
        NULL::uuid AS operator_id, id AS entity_id
    FROM payments WHERE id = $1
    UNION ALL
    SELECT changed_at, 4, 'payment_status', new_status, NULL, NULL, NULL, NULL, NULL, NULL, NULL, entity_id
    FROM status_changes WHERE payment_id = $1 AND entity = 'payment' AND old_status IS NOT NULL
    UNION ALL
    SELECT started_at, 2, 'charge_started', NULL, NULL, NULL, NULL, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = $1
    UNION ALL
    SELECT answered_at, 3, 'charge_answered', status, NULL, NULL, reason, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = $1 AND answered_at IS NOT NULL
    UNION ALL
    SELECT created_at, 5, 'pairing_opened', NULL, kind, NULL, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = $1
    UNION ALL
    SELECT offered_at, 6, 'mitra_asked', NULL, kind, NULL, NULL, NULL, NULL, mitra_id, NULL, id FROM asked
    UNION ALL
    SELECT answered_at, 7, 'mitra_answered', status, kind, NULL, close_reason, NULL, NULL, mitra_id, NULL, id
    FROM asked WHERE status <> 'offered' AND answered_at IS NOT NULL
    UNION ALL
    SELECT decided_at, 8, 'pairing_decided', status, kind, failure_tag, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = $1 AND decided_at IS NOT NULL
    UNION ALL
    SELECT occurred_at, 9, 'failure_logged', CASE WHEN recovered THEN 'recovered' END, kind, tag, NULL, NULL, NULL,
        mitra_id, NULL, id
    FROM failed_pairing_events WHERE payment_id = $1
    UNION ALL
    SELECT started_at, 10, 'session_started', NULL, NULL, NULL, NULL, NULL, NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = $1
    UNION ALL
    SELECT ended_at, 11, 'session_ended', NULL, NULL, NULL, end_reason, coalesce(end_note, leave_reason), NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = $1 AND ended_at IS NOT NULL
    UNION ALL
    SELECT requested_at, 10, 'extension_requested', NULL, NULL, NULL, NULL, NULL, price_rp, NULL, NULL, id
    FROM extension
    UNION ALL
    SELECT changed_at, 10, 'extension_decided', new_status, NULL, NULL, decided_by, NULL, price_rp, NULL, NULL,
        extension.id
    FROM extension JOIN status_changes ON status_changes.payment_id = extension.payment_id
        AND entity = 'extension' AND old_status IS NOT NULL
    UNION ALL
    SELECT opened_at, 12, 'case_opened', NULL, NULL, tag, reason, opened_note, amount_rp, NULL, opened_by, id
    FROM reviewed
    UNION ALL
    SELECT decided_at, 13, 'case_decided', decision, NULL, NULL, NULL, decision_note, refund_rp, NULL, decided_by, id
    FROM reviewed WHERE decided_at IS NOT NULL
    UNION ALL
    SELECT approved_at, 14, 'refund_approved', NULL, NULL, NULL, NULL, NULL, refund_rp, NULL, approved_by, id
    FROM reviewed WHERE approved_at IS NOT NULL
    UNION ALL
    SELECT requested_at, 15, 'refund_requested', NULL, NULL, NULL, reason, NULL, amount_rp, NULL, NULL, id
    FROM refunds WHERE payment_id = $1
    UNION ALL
    SELECT answered_at, 16, 'refund_answered', status, NULL, NULL, gateway_reason, NULL, amount_rp, NULL, NULL, id
    FROM refunds WHERE payment_id = $1 AND answered_at IS NOT NULL
)
SELECT happened.at, happened.type, happened.status, happened.kind, happened.tag, happened.reason, happened.note,
    happened.amount_rp, happened.mitra_id, mitras.display_name AS mitra_display_name, happened.operator_id,
    operators.email AS operator_email, happened.entity_id
FROM happened
LEFT JOIN mitras ON mitras.id = happened.mitra_id
LEFT JOIN operators ON operators.id = happened.operator_id
ORDER BY happened.at, happened.rank, happened.entity_id
"""


async def read_timeline(db: Executor, /, *, payment_id: UUID, max_asked: int) -> list[TimelineRow]:
    """Read everything that happened to a payment, oldest first. `rank` orders entries that have the same time. Of the asked
    mitras, the timeline has those who answered, then the others, at most @max_asked."""
    return [TimelineRow(*row) for row in await db.fetch(READ_TIMELINE, payment_id, max_asked)]


COUNT_ASKED: Final = """
SELECT count(*)::integer AS mitras_asked
FROM pairings JOIN requests ON requests.pairing_id = pairings.id WHERE pairings.payment_id = $1
"""


async def count_asked(db: Executor, /, *, payment_id: UUID) -> int:
    """Count the mitras who were asked under a payment. A mitra who was asked in two attempts counts twice."""
    row = await db.fetchrow(COUNT_ASKED, payment_id)
    if row is None:
        raise NoRow(COUNT_ASKED)
    value: int = row[0]
    return value


class SessionRow(msgspec.Struct, frozen=True):
    id: UUID
    session_status: SessionStatus
    payment_id: UUID
    customer_id: UUID
    call_name: str
    phone_number: str
    mitra_id: UUID
    mitra_display_name: str
    duration_minutes: int
    is_trial: bool
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None
    end_note: str | None
    leave_reason: LeaveReason | None
    case_id: UUID | None
    server_now: datetime


LIST_SESSIONS: Final = """
SELECT page.id, page.status AS session_status, page.payment_id, page.customer_id, customers.call_name,
    people.phone_number, page.mitra_id, mitras.display_name AS mitra_display_name, page.duration_minutes,
    page.is_trial, page.started_at, page.ends_at, page.ended_at, page.end_reason, page.end_note,
    page.leave_reason,
    review_cases.id AS case_id, curhat_now() AS server_now
FROM (
    SELECT sessions.* FROM sessions
    WHERE true /* conditions */
    ORDER BY sessions.started_at DESC /* or ASC */, sessions.id DESC /* or ASC */
    LIMIT $1
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
JOIN mitras ON mitras.id = page.mitra_id
LEFT JOIN review_cases ON review_cases.payment_id = page.payment_id
ORDER BY page.started_at DESC /* or ASC */, page.id DESC /* or ASC */
"""


async def list_sessions(db: Executor, /, conditions: Conditions, *, limit: int) -> list[SessionRow]:
    """Read chat sessions, newest or oldest first."""
    statement, values = conditions.complete(LIST_SESSIONS, limit)
    return [SessionRow(*row) for row in await db.fetch(statement, *values)]


class CountMessagesRow(msgspec.Struct, frozen=True):
    messages_of_customer: int
    messages_of_mitra: int


COUNT_MESSAGES: Final = """
SELECT count(*) FILTER (WHERE sender = 'customer') AS messages_of_customer,
    count(*) FILTER (WHERE sender = 'mitra') AS messages_of_mitra
FROM messages WHERE session_id = $1
"""


async def count_messages(db: Executor, /, *, session_id: UUID) -> CountMessagesRow:
    row = await db.fetchrow(COUNT_MESSAGES, session_id)
    if row is None:
        raise NoRow(COUNT_MESSAGES)
    return CountMessagesRow(*row)


class CustomerRow(msgspec.Struct, frozen=True):
    id: UUID
    call_name: str
    phone_number: str
    created_at: datetime
    payments: int
    last_payment_at: datetime | None
    open_cases: int
    sessions: int
    paid_rp: int


LIST_CUSTOMERS: Final = """
SELECT page.id, page.call_name, people.phone_number, page.created_at, paid.payments, paid.last_payment_at,
    paid.open_cases,
    (SELECT count(*) FROM sessions WHERE sessions.customer_id = page.id) AS sessions,
    (
        SELECT coalesce(sum(charge_attempts.amount_rp - (
            SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
            WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status = 'done'
        )), 0)::bigint
        FROM payments JOIN charge_attempts ON charge_attempts.payment_id = payments.id
        WHERE payments.customer_id = page.id AND charge_attempts.status IN ('approved', 'approved_late')
    ) AS paid_rp
FROM (
    SELECT customers.* FROM customers
    WHERE true /* conditions */
    ORDER BY customers.created_at DESC /* or ASC */, customers.id DESC /* or ASC */
    LIMIT $1
) AS page
JOIN people ON people.id = page.id
CROSS JOIN LATERAL (
    SELECT count(*) AS payments, max(payments.created_at) AS last_payment_at,
        count(*) FILTER (WHERE review_cases.status = 'open') AS open_cases
    FROM payments LEFT JOIN review_cases ON review_cases.payment_id = payments.id
    WHERE payments.customer_id = page.id
) AS paid
ORDER BY page.created_at DESC /* or ASC */, page.id DESC /* or ASC */
"""


async def list_customers(db: Executor, /, conditions: Conditions, *, limit: int) -> list[CustomerRow]:
    """Read customers, newest or oldest first, each with the numbers of payments, sessions and open review cases. `paid_rp` does not
    include refunded amounts."""
    statement, values = conditions.complete(LIST_CUSTOMERS, limit)
    return [CustomerRow(*row) for row in await db.fetch(statement, *values)]


class MitraRow(msgspec.Struct, frozen=True):
    id: UUID
    display_name: str
    phone_number: str
    online: bool
    active_sessions: int
    max_customers: int
    suspended_at: datetime | None
    last_seen_at: datetime | None
    created_at: datetime
    asked: int
    accepted: int
    rejected: int
    unanswered: int
    seconds_p50: float | None


LIST_MITRAS: Final = """
SELECT page.id, page.display_name, people.phone_number, page.online, page.active_sessions, page.max_customers,
    page.suspended_at, page.last_seen_at, page.created_at, answers.asked, answers.accepted, answers.rejected,
    answers.unanswered, answers.seconds_p50
FROM (
    SELECT mitras.* FROM mitras
    WHERE true /* conditions */
    ORDER BY mitras.created_at DESC, mitras.id DESC
    LIMIT $1
) AS page
JOIN people ON people.id = page.id
CROSS JOIN LATERAL (
    SELECT count(*) AS asked, count(*) FILTER (WHERE status = 'accepted') AS accepted,
        count(*) FILTER (WHERE status = 'rejected') AS rejected,
        count(*) FILTER (WHERE status = 'closed' AND close_reason = 'timed_out') AS unanswered,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - offered_at))
            FILTER (WHERE status = 'accepted')::double precision AS seconds_p50
    FROM (
        SELECT requests.status, requests.close_reason, requests.offered_at, requests.answered_at FROM requests
        WHERE requests.mitra_id = page.id ORDER BY requests.id DESC LIMIT 200
    ) AS last
) AS answers
ORDER BY page.created_at DESC, page.id DESC
"""


async def list_mitras(db: Executor, /, conditions: Conditions, *, limit: int) -> list[MitraRow]:
    """Read mitras, newest first, each with counts of the answers to the mitra's last 200 requests."""
    statement, values = conditions.complete(LIST_MITRAS, limit)
    return [MitraRow(*row) for row in await db.fetch(statement, *values)]


class CustomerSuspension(msgspec.Struct, frozen=True):
    suspended: bool
    suspended_at: datetime | None
    suspended_until: datetime | None


READ_CUSTOMER_SUSPENSION: Final = """
SELECT in_force AS suspended, CASE WHEN in_force THEN suspended_at END AS suspended_at,
    CASE WHEN in_force THEN suspended_until END AS suspended_until
FROM customers CROSS JOIN LATERAL (
    SELECT suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS in_force
) AS suspension
WHERE id = $1
"""


async def read_customer_suspension(db: Executor, /, *, customer_id: UUID) -> CustomerSuspension:
    """Read the suspension of the customer that is in force."""
    row = await db.fetchrow(READ_CUSTOMER_SUSPENSION, customer_id)
    if row is None:
        raise NoRow(READ_CUSTOMER_SUSPENSION)
    return CustomerSuspension(*row)


READ_SUSPENSION_END: Final = """
SELECT suspended_until FROM mitras WHERE id = $1
"""


async def read_suspension_end(db: Executor, /, *, mitra_id: UUID) -> datetime | None:
    """Read until when the suspended mitra is suspended. Null: until an operator lifts the suspension."""
    row = await db.fetchrow(READ_SUSPENSION_END, mitra_id)
    if row is None:
        return None
    value: datetime | None = row[0]
    return value


class ReportCounts(msgspec.Struct, frozen=True):
    made: int
    about: int
    sanctions: int
    concerns: int


COUNT_REPORTS_OF_PERSON: Final = """
SELECT count(*) FILTER (WHERE kind = 'report' AND reporter = $1) AS made,
    count(*) FILTER (WHERE kind = 'report' AND reporter <> $1) AS about,
    count(*) FILTER (
        WHERE kind = 'report' AND reporter <> $1 AND status IN ('decided', 'appealed')
            AND decision IN ('warn', 'suspend') AND appeal_decision IS DISTINCT FROM 'overturned'
    ) AS sanctions,
    count(*) FILTER (WHERE kind = 'concern') AS concerns
FROM reports WHERE CASE $1::text WHEN 'customer' THEN customer_id ELSE mitra_id END = $2
"""


async def count_reports_of_person(db: Executor, /, *, role: str, user_id: UUID) -> ReportCounts:
    """Count the reports that this person made, and those about the person: all, those with a sanction that stands, and the
    concerns."""
    row = await db.fetchrow(COUNT_REPORTS_OF_PERSON, role, user_id)
    if row is None:
        raise NoRow(COUNT_REPORTS_OF_PERSON)
    return ReportCounts(*row)


class BlockCounts(msgspec.Struct, frozen=True):
    made: int
    about: int


COUNT_BLOCKS_OF_CUSTOMER: Final = """
SELECT count(*) FILTER (WHERE blocked_by = 'customer') AS made, count(*) FILTER (WHERE blocked_by = 'mitra') AS about
FROM blocks WHERE customer_id = $1
"""


async def count_blocks_of_customer(db: Executor, /, *, user_id: UUID) -> BlockCounts:
    """Count the blocks that this customer made, and those that mitras made of the customer. The primary key finds them."""
    row = await db.fetchrow(COUNT_BLOCKS_OF_CUSTOMER, user_id)
    if row is None:
        raise NoRow(COUNT_BLOCKS_OF_CUSTOMER)
    return BlockCounts(*row)


COUNT_BLOCKS_OF_MITRA: Final = """
SELECT count(*) FILTER (WHERE blocked_by = 'mitra') AS made, count(*) FILTER (WHERE blocked_by = 'customer') AS about
FROM blocks WHERE mitra_id = $1
"""


async def count_blocks_of_mitra(db: Executor, /, *, user_id: UUID) -> BlockCounts:
    """Count the blocks that this mitra made, and those that customers made of the mitra."""
    row = await db.fetchrow(COUNT_BLOCKS_OF_MITRA, user_id)
    if row is None:
        raise NoRow(COUNT_BLOCKS_OF_MITRA)
    return BlockCounts(*row)


READ_SUSPENSION_NOTE: Final = """
SELECT new_value FROM audit_entries
WHERE subject_id = $1 AND subject = $2 AND action = $3
ORDER BY occurred_at DESC, id DESC LIMIT 1
"""


async def read_suspension_note(db: Executor, /, *, user_id: str, role: str, suspended: str) -> str | None:
    """Read the audit's text of the person's last suspension. @suspended is the action of the audit."""
    row = await db.fetchrow(READ_SUSPENSION_NOTE, user_id, role, suspended)
    if row is None:
        return None
    value: str | None = row[0]
    return value


class PaymentTotals(msgspec.Struct, frozen=True):
    payments: int
    amount_rp: int
    taken_rp: int


TOTAL_PAYMENTS: Final = """
SELECT count(*) AS payments, coalesce(sum(page.amount_rp), 0)::bigint AS amount_rp,
    coalesce(sum(page.amount_rp) FILTER (WHERE page.confirmed_at IS NOT NULL), 0)::bigint AS taken_rp
FROM (
    SELECT payments.amount_rp, payments.confirmed_at FROM payments
    WHERE true /* conditions */
    ORDER BY payments.created_at DESC, payments.id DESC
    LIMIT $1
) AS page
"""


async def total_payments(db: Executor, /, conditions: Conditions, *, max_rows: int) -> list[PaymentTotals]:
    """Count the newest payments, at most @max_rows, and add their amounts. `taken_rp` leaves out payments that never were
    confirmed."""
    statement, values = conditions.complete(TOTAL_PAYMENTS, max_rows)
    return [PaymentTotals(*row) for row in await db.fetch(statement, *values)]


class SessionTotals(msgspec.Struct, frozen=True):
    sessions: int
    minutes: int
    amount_rp: int


TOTAL_SESSIONS: Final = """
SELECT count(*) AS sessions, coalesce(sum(page.duration_minutes), 0)::bigint AS minutes,
    coalesce(sum(payments.amount_rp), 0)::bigint AS amount_rp
FROM (
    SELECT sessions.payment_id, sessions.duration_minutes FROM sessions
    WHERE true /* conditions */
    ORDER BY sessions.started_at DESC, sessions.id DESC
    LIMIT $1
) AS page
JOIN payments ON payments.id = page.payment_id
"""


async def total_sessions(db: Executor, /, conditions: Conditions, *, max_rows: int) -> list[SessionTotals]:
    """Count the newest chat sessions, at most @max_rows, and add their minutes and the amounts of their first payments."""
    statement, values = conditions.complete(TOTAL_SESSIONS, max_rows)
    return [SessionTotals(*row) for row in await db.fetch(statement, *values)]


class MitraRequestRow(msgspec.Struct, frozen=True):
    id: UUID
    outcome: RequestStatus
    close_reason: CloseReason | None
    is_returning: bool
    offered_at: datetime
    answered_at: datetime | None
    kind: PairingKind
    payment_id: UUID
    call_name: str
    customer_id: UUID
    phone_number: str


LIST_MITRA_REQUESTS: Final = """
SELECT page.id, page.status AS outcome, page.close_reason, page.is_returning, page.offered_at, page.answered_at,
    pairings.kind, pairings.payment_id, customers.call_name, pairings.customer_id, people.phone_number
FROM (
    SELECT requests.* FROM requests
    WHERE requests.mitra_id = $1 /* conditions */
    ORDER BY requests.id DESC
    LIMIT $2
) AS page
JOIN pairings ON pairings.id = page.pairing_id
JOIN customers ON customers.id = pairings.customer_id
JOIN people ON people.id = pairings.customer_id
ORDER BY page.id DESC
"""


async def list_mitra_requests(
    db: Executor, /, conditions: Conditions, *, mitra_id: UUID, limit: int
) -> list[MitraRequestRow]:
    """Read the requests of a mitra, newest first."""
    statement, values = conditions.complete(LIST_MITRA_REQUESTS, mitra_id, limit)
    return [MitraRequestRow(*row) for row in await db.fetch(statement, *values)]


class MitraAnswers(msgspec.Struct, frozen=True):
    id: UUID
    display_name: str
    online: bool
    suspended: bool
    asked: int
    accepted: int
    rejected: int
    taken: int
    unanswered: int
    acceptance: float
    seconds_average: float | None


SUM_MITRA_HOURS: Final = """
WITH kept AS MATERIALIZED (
    SELECT began_at FROM mitra_hours_kept WHERE began_at >= $1 AND began_at < $2
), missing AS MATERIALIZED (
    SELECT hour.began_at
    FROM generate_series($1::timestamptz, least($2::timestamptz, curhat_now()) - interval '1 microsecond',
        interval '1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM kept WHERE kept.began_at = hour.began_at)
    ORDER BY began_at DESC LIMIT $3
), hours AS (
    SELECT mitra_id, asked, accepted, rejected, taken, unanswered, accept_seconds FROM mitra_hours
    WHERE began_at >= $1 AND began_at < $2
    UNION ALL
    SELECT counted.* FROM missing, count_mitra_hour(missing.began_at) AS counted
), added AS MATERIALIZED (
    SELECT mitra_id, sum(asked)::bigint AS asked, sum(accepted)::bigint AS accepted, sum(rejected)::bigint AS rejected,
        sum(taken)::bigint AS taken, sum(unanswered)::bigint AS unanswered,
        sum(accept_seconds) / nullif(sum(accepted), 0) AS seconds_average
    FROM hours GROUP BY mitra_id
)
SELECT added.mitra_id AS id, mitras.display_name, mitras.online, mitras.suspended_at IS NOT NULL AS suspended,
    added.asked, added.accepted, added.rejected, added.taken, added.unanswered,
    added.accepted::double precision / added.asked AS acceptance, added.seconds_average::double precision
FROM added JOIN mitras ON mitras.id = added.mitra_id
ORDER BY
    CASE $4::text
        WHEN 'acceptance' THEN added.accepted::double precision / added.asked
        WHEN 'answer_time' THEN coalesce(-added.seconds_average, '-infinity')
        WHEN 'unanswered' THEN -added.unanswered
        ELSE -added.asked
    END, added.asked DESC, added.mitra_id
LIMIT $5
"""


async def sum_mitra_hours(
    db: Executor, /, *, since: datetime, until: datetime, max_hours: int, sort: str, max_rows: int
) -> list[MitraAnswers]:
    """Add how each mitra answered in the hours from @since to @until. An hour that the worker has not stored yet is counted
    from the requests. The statement counts at most @max_hours such hours, the newest."""
    return [
        MitraAnswers(*row) for row in await db.fetch(SUM_MITRA_HOURS, since, until, max_hours, sort, max_rows)
    ]


KEEP_MITRA_HOURS: Final = """
WITH missing AS MATERIALIZED (
    SELECT began_at
    FROM (SELECT date_trunc('hour', curhat_now() - interval '100 minutes', 'UTC') AS newest) AS past,
        generate_series(newest, newest - interval '1 day' * $1::integer, interval '-1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM mitra_hours_kept WHERE mitra_hours_kept.began_at = hour.began_at)
    ORDER BY began_at DESC
    LIMIT $2::integer
), keep AS (
    INSERT INTO mitra_hours_kept (began_at) SELECT began_at FROM missing ON CONFLICT DO NOTHING RETURNING began_at
), keep_counts AS (
    INSERT INTO mitra_hours (began_at, mitra_id, asked, accepted, rejected, taken, unanswered, accept_seconds)
    SELECT keep.began_at, counted.* FROM keep CROSS JOIN LATERAL count_mitra_hour(keep.began_at) AS counted
)
SELECT count(*) AS hours FROM keep
"""


async def keep_mitra_hours(db: Executor, /, *, days: int, max_hours: int) -> int:
    """Count the newest past hours that are not in mitra_hours_kept, at most @max_hours of the last @days days. Returns the
    number of hours. The statement leaves out an hour that ended less than 40 minutes ago, because a fallback can still ask
    mitras for a payment of the hour."""
    row = await db.fetchrow(KEEP_MITRA_HOURS, days, max_hours)
    if row is None:
        raise NoRow(KEEP_MITRA_HOURS)
    value: int = row[0]
    return value
