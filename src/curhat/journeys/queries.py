"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.content.texts.kinds import TextKind
from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role
from curhat.notifications.templates import PushCause
from curhat.pairing.states import (
    CloseReason,
    FailureTag,
    FallbackStatus,
    PairingKind,
    PairingStatus,
    RequestStatus,
)
from curhat.payments.states import AttemptStatus, CaseDecision, PaymentStatus, RefundStatus
from curhat.pricing.schemas import Purpose
from curhat.sessions.states import EndReason

FIND_RUNNING_SESSION: Final = """
SELECT id FROM sessions WHERE customer_id = $1 AND status = 'active'
"""


async def find_running_session(db: Executor, /, *, customer_id: UUID) -> UUID | None:
    row = await db.fetchrow(FIND_RUNNING_SESSION, customer_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


class Obstacles(msgspec.Struct, frozen=True):
    session_id: UUID | None
    missing_kinds: list[TextKind]


FIND_OBSTACLES: Final = """
SELECT (SELECT id FROM sessions WHERE customer_id = $1 AND status = 'active') AS session_id,
    ARRAY(
        SELECT current_texts.kind FROM current_texts
        WHERE current_texts.kind = ANY ($2::text[]) AND NOT EXISTS (
            SELECT 1 FROM acceptances
            WHERE acceptances.role = 'customer' AND acceptances.user_id = $1
                AND acceptances.kind = current_texts.kind AND acceptances.version = current_texts.version
        )
    ) AS missing_kinds
"""


async def find_obstacles(db: Executor, /, *, customer_id: UUID, kinds: Sequence[TextKind]) -> Obstacles:
    """Find what keeps a customer from opening a payment: the running session, and the texts among @kinds whose newest
    version the customer has not accepted (P.1). One statement for both saves a round trip."""
    row = await db.fetchrow(FIND_OBSTACLES, customer_id, kinds)
    if row is None:
        raise NoRow(FIND_OBSTACLES)
    return Obstacles(*row)


class EarlyRefusal(msgspec.Struct, frozen=True):
    pairing_id: UUID
    outcome: str
    close_reason: CloseReason | None
    is_stored: bool


REFUSE_IF_DECIDED: Final = """
WITH asked AS MATERIALIZED (
    SELECT requests.pairing_id, requests.close_reason,
        CASE pairings.status
            WHEN 'open' THEN 'open'
            WHEN 'matched' THEN 'already_taken'
            ELSE 'request_closed'
        END AS outcome
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE requests.id = $1 AND requests.mitra_id = $2 AND requests.status <> 'accepted'
), store_refusal AS (
    INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
    SELECT 'mitra', $2, $3, $4, $5, $6 FROM asked WHERE outcome = 'already_taken'
    ON CONFLICT (role, user_id, key) DO NOTHING
    RETURNING 1
)
SELECT asked.pairing_id, asked.outcome, asked.close_reason, EXISTS (SELECT 1 FROM store_refusal) AS is_stored
FROM asked
"""


async def refuse_if_decided(
    db: Executor, /, *, request_id: UUID, mitra_id: UUID, key: str, fingerprint: bytes, status: int, body: str
) -> EarlyRefusal | None:
    """Return the state of this request's pairing: still open, or already decided. A decided pairing stays decided. Returns
    no row if the request belongs to another mitra, or this mitra has won. If another mitra has won, the statement also
    stores the refusal under the idempotency key. If the key already has an answer, the statement does not replace that
    answer. `is_stored` is true if this statement stored the refusal."""
    row = await db.fetchrow(REFUSE_IF_DECIDED, request_id, mitra_id, key, fingerprint, status, body)
    if row is None:
        return None
    return EarlyRefusal(*row)


class AcceptedPairing(msgspec.Struct, frozen=True):
    pairing_id: UUID
    customer_id: UUID
    payment_id: UUID
    offer_id: UUID
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    payment_created_at: datetime
    payment_expires_at: datetime
    target_mitra_id: UUID | None
    target_display_name: str | None
    kind: PairingKind
    deadline_at: datetime
    pairing_created_at: datetime
    display_name: str
    fills_up: bool
    now: datetime
    session_id: UUID
    started_at: datetime
    ends_at: datetime
    call_name: str
    closed_for: list[UUID]
    closes_later: bool
    lost_targeted: list[UUID]


ACCEPT_AND_START: Final = """
WITH key AS MATERIALIZED (
    SELECT coalesce(pg_try_advisory_xact_lock($1), true) AS is_free
), asked AS MATERIALIZED (
    SELECT requests.pairing_id, pairings.payment_id, pairings.status AS pairing_status
    FROM key, requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE key.is_free AND requests.id = $2 AND requests.mitra_id = $3
), locked_payment AS MATERIALIZED (
    SELECT payments.* FROM payments JOIN asked ON payments.id = asked.payment_id
    WHERE asked.pairing_status = 'open'
    FOR NO KEY UPDATE OF payments
), locked_pairing AS MATERIALIZED (
    SELECT pairings.* FROM pairings JOIN locked_payment ON pairings.payment_id = locked_payment.id
    JOIN asked ON asked.pairing_id = pairings.id
    FOR NO KEY UPDATE OF pairings
), locked_mitra AS MATERIALIZED (
    SELECT mitras.* FROM mitras JOIN locked_pairing ON mitras.id = $3
    FOR NO KEY UPDATE OF mitras
), locked_request AS MATERIALIZED (
    SELECT requests.* FROM requests JOIN locked_mitra ON requests.id = $2
    FOR NO KEY UPDATE OF requests
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now FROM locked_request
), won AS MATERIALIZED (
    SELECT pairing.id AS pairing_id, pairing.customer_id, payment.id AS payment_id, payment.offer_id,
        payment.duration_minutes, payment.amount_rp, payment.is_trial, payment.created_at AS payment_created_at,
        payment.expires_at AS payment_expires_at, payment.target_mitra_id, pairing.kind, pairing.deadline_at,
        pairing.created_at AS pairing_created_at, mitra.display_name,
        mitra.active_sessions + 1 >= mitra.max_customers AS fills_up, moment.now
    FROM locked_payment AS payment, locked_pairing AS pairing, locked_mitra AS mitra, locked_request AS request, moment
    WHERE pairing.status = 'open' AND request.status = 'offered' AND pairing.deadline_at > moment.now
        AND mitra.can_take_customer
), locked_customer AS MATERIALIZED (
    SELECT customers.call_name FROM customers JOIN won ON customers.id = won.customer_id FOR SHARE OF customers
), accept_request AS (
    UPDATE requests SET status = 'accepted', close_reason = NULL, answered_at = won.now
    FROM won WHERE requests.id = $2
), match_pairing AS (
    UPDATE pairings SET status = 'matched', decided_at = won.now FROM won WHERE pairings.id = won.pairing_id
), serve_payment AS (
    UPDATE payments SET status = 'served', closed_at = won.now FROM won WHERE payments.id = won.payment_id
), started AS (
    INSERT INTO sessions
        (payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, started_at, ends_at)
    SELECT payment_id, pairing_id, customer_id, $3, duration_minutes, is_trial, now,
        now + make_interval(mins => duration_minutes)
    FROM won
    RETURNING id, started_at, ends_at
), arm_session_end AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'session_end', id, ends_at, $4 FROM started
), disarm_window AS (
    DELETE FROM deadlines WHERE id IN (
        SELECT deadlines.id FROM deadlines JOIN won ON deadlines.entity_id = won.pairing_id
        WHERE deadlines.kind IN ('pairing_window', 'blast_wave')
        FOR UPDATE OF deadlines SKIP LOCKED
    )
), pairing_requests AS MATERIALIZED (
    SELECT requests.id, requests.mitra_id FROM won JOIN requests ON requests.pairing_id = won.pairing_id
    WHERE requests.id <> $2
), many AS MATERIALIZED (
    SELECT count(*) > $5 AS closes_later FROM pairing_requests
), other_requests AS MATERIALIZED (
    SELECT pairing_requests.id FROM pairing_requests, many WHERE NOT many.closes_later
    UNION ALL
    SELECT requests.id FROM won JOIN requests ON requests.mitra_id = $3
    WHERE won.fills_up AND requests.status = 'offered' AND requests.pairing_id <> won.pairing_id
), locked_requests AS MATERIALIZED (
    SELECT id, mitra_id, pairing_id, status FROM requests WHERE id = ANY (ARRAY(SELECT id FROM other_requests))
    ORDER BY id
    FOR NO KEY UPDATE
), losers AS MATERIALIZED (
    SELECT locked_requests.id, locked_requests.mitra_id, locked_requests.pairing_id,
        locked_requests.pairing_id = won.pairing_id AS is_same_pairing
    FROM locked_requests, won WHERE locked_requests.status = 'offered'
), close_losers AS (
    UPDATE requests
    SET status = 'closed', answered_at = moment.now,
        close_reason = CASE WHEN losers.is_same_pairing THEN 'already_taken' ELSE 'at_capacity' END
    FROM losers, moment WHERE requests.id = losers.id
)
SELECT won.pairing_id, won.customer_id, won.payment_id, won.offer_id, won.duration_minutes, won.amount_rp, won.is_trial,
    won.payment_created_at, won.payment_expires_at, won.target_mitra_id, target.display_name AS target_display_name,
    won.kind, won.deadline_at, won.pairing_created_at, won.display_name, won.fills_up, won.now,
    started.id AS session_id, started.started_at, started.ends_at, locked_customer.call_name,
    ARRAY(
        SELECT mitra_id FROM losers
        UNION ALL SELECT pairing_requests.mitra_id FROM pairing_requests, many WHERE many.closes_later
    ) AS closed_for,
    (SELECT closes_later FROM many) AS closes_later,
    ARRAY(
        SELECT pairings.id FROM losers JOIN pairings ON pairings.id = losers.pairing_id
        WHERE NOT losers.is_same_pairing AND pairings.kind = 'targeted'
    ) AS lost_targeted
FROM won
JOIN started ON true
JOIN locked_customer ON true
LEFT JOIN mitras AS target ON target.id = won.target_mitra_id
"""


async def accept_and_start(
    db: Executor,
    /,
    *,
    key_lock: int | None,
    request_id: UUID,
    mitra_id: UUID,
    correlation_id: str | None,
    max_closed_requests: int,
) -> AcceptedPairing | None:
    """Let the mitra win the pairing if the accept fulfils every condition (2b.5). Request: offered → accepted. Pairing:
    open → matched. Payment: confirmed → served. The statement also starts the session, arms the deadline of the
    session's end, and closes the other requests, unless there are more than @max_closed_requests of them. The statement locks payment, pairing, mitra and request, in this order.
    The statement first takes all locks, and then checks every condition. If this accept did not win, the statement
    changes nothing and returns no row. The statement explain_refusal then gives the reason. If the statement returns a
    row, the statement finish_accept completes the accept. `lost_targeted` are the pairings that fail because they asked
    only this mitra, who is at capacity now (4.4). The parameter @key_lock is the number of the idempotency key's
    advisory lock, or null if the HTTP request has no key. If another HTTP request holds this advisory lock, the accept
    does not win."""
    row = await db.fetchrow(
        ACCEPT_AND_START, key_lock, request_id, mitra_id, correlation_id, max_closed_requests
    )
    if row is None:
        return None
    return AcceptedPairing(*row)


class AppendedEvent(msgspec.Struct, frozen=True):
    seq: int
    at: datetime


FINISH_ACCEPT: Final = """
WITH take_place AS (
    UPDATE mitras SET active_sessions = active_sessions + 1 WHERE id = $1
), store_answer AS (
    INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
    SELECT 'mitra', $1, $2::text, $3::bytea, $4::integer, $5::text WHERE $2 IS NOT NULL
)
SELECT seq, at FROM append_events($6::text[], $7::uuid[], $8::text[], $9::text[])
"""


async def finish_accept(
    db: Executor,
    /,
    *,
    mitra_id: UUID,
    key: str | None,
    fingerprint: bytes | None,
    status: int,
    body: str,
    roles: Sequence[str],
    user_ids: Sequence[UUID],
    types: Sequence[str],
    data: Sequence[str],
) -> list[AppendedEvent]:
    """Complete an accept in the same transaction. Add 1 to the mitra's active_sessions, store the answer under the
    idempotency key, and append the events. A second answer under the same key violates the table's primary key. Without
    a key, the statement stores no answer. The comment of lock_mitras (presence) explains why accept_and_start cannot add
    to active_sessions. Returns one row per event, in the order of the arrays."""
    return [
        AppendedEvent(*row)
        for row in await db.fetch(
            FINISH_ACCEPT, mitra_id, key, fingerprint, status, body, roles, user_ids, types, data
        )
    ]


MARK_RECOVERED: Final = """
UPDATE failed_pairing_events SET recovered = true WHERE payment_id = $1
"""


async def mark_recovered(db: Executor, /, *, payment_id: UUID) -> None:
    """Mark the failures of this payment's targeted pairing as recovered, because a mitra accepted the fallback. The failures
    then need no review (3.8)."""
    await db.execute(MARK_RECOVERED, payment_id)


class RefusedAccept(msgspec.Struct, frozen=True):
    outcome: str
    pairing_id: UUID
    close_reason: CloseReason | None


EXPLAIN_REFUSAL: Final = """
SELECT
    CASE
        WHEN NOT coalesce(pg_try_advisory_xact_lock($1), true) THEN 'in_progress'
        WHEN requests.status = 'accepted' THEN 'won_before'
        WHEN pairings.status = 'matched' THEN 'already_taken'
        WHEN pairings.status <> 'open' OR requests.status <> 'offered' OR pairings.deadline_at <= curhat_now()
            THEN 'request_closed'
        WHEN NOT mitras.online OR mitras.suspended_at IS NOT NULL THEN 'mitra_offline'
        WHEN mitras.active_sessions >= mitras.max_customers THEN 'at_capacity'
        ELSE 'in_progress'
    END AS outcome,
    requests.pairing_id, requests.close_reason
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.id = $2 AND requests.mitra_id = $3
"""


async def explain_refusal(
    db: Executor, /, *, key_lock: int | None, request_id: UUID, mitra_id: UUID
) -> RefusedAccept | None:
    """Return why accept_and_start did not win. The CASE has the reasons in the order of the contract. The caller runs this
    statement after accept_and_start, in the same transaction. Returns no row if the request belongs to another mitra."""
    row = await db.fetchrow(EXPLAIN_REFUSAL, key_lock, request_id, mitra_id)
    if row is None:
        return None
    return RefusedAccept(*row)


HAD_SESSION_WITH: Final = """
SELECT EXISTS (SELECT 1 FROM sessions WHERE customer_id = $1 AND mitra_id = $2) AS had_session
"""


async def had_session_with(db: Executor, /, *, customer_id: UUID, mitra_id: UUID) -> bool:
    """Return whether this customer ever had a session with this mitra."""
    row = await db.fetchrow(HAD_SESSION_WITH, customer_id, mitra_id)
    if row is None:
        raise NoRow(HAD_SESSION_WITH)
    value: bool = row[0]
    return value


FIND_RUNNING_SESSION_OF_PAIR: Final = """
SELECT id FROM sessions WHERE customer_id = $1 AND mitra_id = $2 AND status = 'active'
"""


async def find_running_session_of_pair(db: Executor, /, *, customer_id: UUID, mitra_id: UUID) -> UUID | None:
    """Find the running session of these two people."""
    row = await db.fetchrow(FIND_RUNNING_SESSION_OF_PAIR, customer_id, mitra_id)
    if row is None:
        return None
    value: UUID = row[0]
    return value


FIND_SEARCH_END: Final = """
SELECT deadline_at FROM pairings WHERE id = $1 AND status = 'open' AND deadline_at > curhat_now()
"""


async def find_search_end(db: Executor, /, *, pairing_id: UUID) -> datetime | None:
    """Read the time at which this pairing stops asking mitras. Returns no row if the pairing is no longer open."""
    row = await db.fetchrow(FIND_SEARCH_END, pairing_id)
    if row is None:
        return None
    value: datetime = row[0]
    return value


class RequestPush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    request_id: UUID
    is_free: bool
    reason_at: datetime
    expires_at: datetime


LIST_REQUESTS_TO_PUSH: Final = """
SELECT requests.mitra_id AS user_id, requests.id AS subject_id, requests.id AS topic_id, requests.id AS request_id,
    payments.is_trial AS is_free, requests.offered_at AS reason_at, pairings.deadline_at AS expires_at
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.pairing_id = $1 AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()
    AND mitras.push_ready AND mitras.can_take_customer
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'request_offered' AND push_messages.subject_id = requests.id
        WHERE push_subscriptions.user_id = requests.mitra_id AND push_subscriptions.role = 'mitra'
            AND push_messages.reason_at >= requests.offered_at
    )
"""


async def list_requests_to_push(db: Executor, /, *, pairing_id: UUID) -> list[RequestPush]:
    """Find the offered requests of this pairing that still lack a push. The mitra of each request can take a customer, has
    a subscription that has not failed, and got no push about the request yet."""
    return [RequestPush(*row) for row in await db.fetch(LIST_REQUESTS_TO_PUSH, pairing_id)]


class SessionPush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    session_id: UUID
    reason_at: datetime
    expires_at: datetime


FIND_MATCH_TO_PUSH: Final = """
SELECT customer_id AS user_id, id AS subject_id, id AS topic_id, id AS session_id, started_at AS reason_at,
    ends_at AS expires_at
FROM sessions
WHERE id = $1 AND status = 'active' AND ends_at > curhat_now()
    AND started_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'matched' AND push_messages.subject_id = sessions.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def find_match_to_push(
    db: Executor, /, *, session_id: UUID, within_seconds: float
) -> SessionPush | None:
    """Read this session. Returns no row if the session needs no push any more. A running session needs a push if it began
    within the last @within_seconds and the customer got no push about the session yet."""
    row = await db.fetchrow(FIND_MATCH_TO_PUSH, session_id, within_seconds)
    if row is None:
        return None
    return SessionPush(*row)


FIND_MESSAGE_TO_PUSH: Final = """
SELECT sessions.customer_id AS user_id, newest.id AS subject_id, sessions.id AS topic_id, sessions.id AS session_id,
    newest.sent_at AS reason_at, greatest(sessions.ends_at, newest.sent_at + interval '1 minute') AS expires_at
FROM sessions
JOIN LATERAL (
    SELECT id, sent_at FROM messages
    WHERE session_id = sessions.id AND sender = 'mitra' AND read_at IS NULL
    ORDER BY id DESC LIMIT 1
) AS newest ON newest.sent_at > curhat_now() - make_interval(secs => $1)
WHERE sessions.id = $2
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'message' AND push_messages.subject_id = newest.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def find_message_to_push(
    db: Executor, /, *, within_seconds: float, session_id: UUID
) -> SessionPush | None:
    """Read the mitra's newest unread message in this session. Returns no row if the message needs no push any more. A
    message needs a push if the mitra sent it within the last @within_seconds, and the customer got no push about the
    message yet. `expires_at` is the end of the session or one minute after the message, whichever is later."""
    row = await db.fetchrow(FIND_MESSAGE_TO_PUSH, within_seconds, session_id)
    if row is None:
        return None
    return SessionPush(*row)


class CustomerMessagePush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    session_id: UUID
    reason_at: datetime
    expires_at: datetime
    is_in_burst: bool


FIND_CUSTOMER_MESSAGE_TO_PUSH: Final = """
SELECT sessions.mitra_id AS user_id, newest.id AS subject_id, sessions.id AS topic_id, sessions.id AS session_id,
    newest.sent_at AS reason_at, greatest(sessions.ends_at, newest.sent_at + interval '1 minute') AS expires_at,
    EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'customer_message'
            AND push_messages.reason_at > (SELECT curhat_now() - make_interval(secs => $1))
        JOIN messages ON messages.id = push_messages.subject_id AND messages.session_id = sessions.id
            AND messages.read_at IS NULL
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    ) AS is_in_burst
FROM sessions
JOIN LATERAL (
    SELECT id, sent_at FROM messages
    WHERE session_id = sessions.id AND sender = 'customer' AND read_at IS NULL
    ORDER BY id DESC LIMIT 1
) AS newest ON newest.sent_at > curhat_now() - make_interval(secs => $2)
WHERE sessions.id = $3 AND sessions.status = 'active'
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'customer_message' AND push_messages.subject_id = newest.id
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    )
"""


async def find_customer_message_to_push(
    db: Executor, /, *, burst_seconds: float, within_seconds: float, session_id: UUID
) -> CustomerMessagePush | None:
    """Read the customer's newest unread message in this running session. Returns no row if the message needs no push any
    more. A message needs a push if the customer sent it within the last @within_seconds, and the mitra got no push about
    the message yet. `is_in_burst` is true if the mitra got a push about an earlier message of this chat less than
    @burst_seconds ago, and has not read that message. The push then waits, so that a burst of messages rings once."""
    row = await db.fetchrow(FIND_CUSTOMER_MESSAGE_TO_PUSH, burst_seconds, within_seconds, session_id)
    if row is None:
        return None
    return CustomerMessagePush(*row)


FIND_EXTENSION_TO_PUSH: Final = """
SELECT sessions.mitra_id AS user_id, extensions.id AS subject_id, extensions.id AS topic_id,
    sessions.id AS session_id, extensions.requested_at AS reason_at, extensions.deadline_at AS expires_at
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.session_id = $1 AND extensions.status = 'pending' AND extensions.deadline_at > curhat_now()
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'extension_requested' AND push_messages.subject_id = extensions.id
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    )
"""


async def find_extension_to_push(db: Executor, /, *, session_id: UUID) -> SessionPush | None:
    """Read this session's extension. Returns no row if the extension needs no push any more. An extension needs a push if
    it is pending and the mitra got no push about the extension yet."""
    row = await db.fetchrow(FIND_EXTENSION_TO_PUSH, session_id)
    if row is None:
        return None
    return SessionPush(*row)


class OutcomePush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    payment_id: UUID
    cause: PushCause
    is_free: bool
    reason_at: datetime
    expires_at: datetime


FIND_FALLBACK_TO_PUSH: Final = """
SELECT pairings.customer_id AS user_id, pairings.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    pairings.failure_tag AS cause, payments.amount_rp = 0 AS is_free, pairings.decided_at AS reason_at,
    pairings.fallback_answer_by AS expires_at
FROM pairings JOIN payments ON payments.id = pairings.payment_id
WHERE payments.id = $1 AND pairings.fallback_status = 'open' AND pairings.fallback_answer_by > curhat_now()
    AND pairings.decided_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'fallback_offered' AND push_messages.subject_id = pairings.id
        WHERE push_subscriptions.user_id = pairings.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def find_fallback_to_push(
    db: Executor, /, *, payment_id: UUID, within_seconds: float
) -> OutcomePush | None:
    """Read this payment's targeted pairing, if its customer still needs a push: the fallback has been open for at most
    @within_seconds, and the customer got no push about it yet. `cause` says why the chosen mitra did not accept."""
    row = await db.fetchrow(FIND_FALLBACK_TO_PUSH, payment_id, within_seconds)
    if row is None:
        return None
    return OutcomePush(*row)


FIND_FAILED_SEARCH_TO_PUSH: Final = """
SELECT payments.customer_id AS user_id, payments.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    failed_pairing_events.tag AS cause, payments.amount_rp = 0 AS is_free,
    failed_pairing_events.occurred_at AS reason_at, failed_pairing_events.occurred_at + interval '1 day' AS expires_at
FROM payments
JOIN failed_pairing_events ON failed_pairing_events.payment_id = payments.id
    AND (failed_pairing_events.kind = 'blast' OR failed_pairing_events.pairing_id IS NULL)
    AND failed_pairing_events.tag <> 'customer_cancelled'
WHERE payments.id = $1 AND payments.status = 'unserved'
    AND failed_pairing_events.occurred_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'search_failed' AND push_messages.subject_id = payments.id
        WHERE push_subscriptions.user_id = payments.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def find_failed_search_to_push(
    db: Executor, /, *, payment_id: UUID, within_seconds: float
) -> OutcomePush | None:
    """Read this payment, if its customer still needs a push about the failed search: the journey ended within the last
    @within_seconds, and the customer got no push about it yet. The customer's own step (a cancellation, a declined
    fallback) needs no push. `cause` is the tag of the blast, or says that the time to answer the fallback was over.
    `expires_at` is one day after the failure."""
    row = await db.fetchrow(FIND_FAILED_SEARCH_TO_PUSH, payment_id, within_seconds)
    if row is None:
        return None
    return OutcomePush(*row)


class FindDecisionToPushRow(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    payment_id: UUID
    reason_at: datetime
    expires_at: datetime
    is_due: bool


FIND_DECISION_TO_PUSH: Final = """
SELECT payments.customer_id AS user_id, review_cases.id AS subject_id, payments.id AS topic_id,
    payments.id AS payment_id, moment.decided_at AS reason_at, moment.decided_at + interval '1 day' AS expires_at,
    review_cases.decision <> 'refund' OR moment.decided_at <= curhat_now() - interval '10 seconds' AS is_due
FROM review_cases
JOIN payments ON payments.id = review_cases.payment_id
CROSS JOIN LATERAL (SELECT coalesce(review_cases.approved_at, review_cases.decided_at) AS decided_at) AS moment
WHERE payments.id = $1 AND review_cases.status = 'decided'
    AND (NOT review_cases.needs_approval OR review_cases.approved_by IS NOT NULL)
    AND moment.decided_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM refunds
        WHERE refunds.payment_id = payments.id AND refunds.status = 'done' AND refunds.answered_at >= moment.decided_at
    )
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'decided' AND push_messages.subject_id = review_cases.id
            AND push_messages.reason_at >= moment.decided_at
        WHERE push_subscriptions.user_id = payments.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def find_decision_to_push(
    db: Executor, /, *, payment_id: UUID, within_seconds: float
) -> FindDecisionToPushRow | None:
    """Read this payment's review case, if its customer still needs a push about the decision: the decision took effect
    within the last @within_seconds, no money came back since, and the customer got no push about the decision yet. A
    case that opened again gets a push per decision. `expires_at` is one day after the decision. `is_due` is false in the
    first 10 s after a decision to refund: the gateway usually carries the refund out sooner, and then the customer gets
    only the push about the refund."""
    row = await db.fetchrow(FIND_DECISION_TO_PUSH, payment_id, within_seconds)
    if row is None:
        return None
    return FindDecisionToPushRow(*row)


class MoneyPush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    payment_id: UUID
    reason_at: datetime
    expires_at: datetime


LIST_REFUNDS_TO_PUSH: Final = """
SELECT payments.customer_id AS user_id, refunds.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    refunds.answered_at AS reason_at, refunds.answered_at + interval '1 day' AS expires_at
FROM refunds JOIN payments ON payments.id = refunds.payment_id
WHERE payments.id = $1 AND refunds.status = 'done'
    AND refunds.answered_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'refunded' AND push_messages.subject_id = refunds.id
        WHERE push_subscriptions.user_id = payments.customer_id AND push_subscriptions.role = 'customer'
    )
"""


async def list_refunds_to_push(
    db: Executor, /, *, payment_id: UUID, within_seconds: float
) -> list[MoneyPush]:
    """Find the refunds of this payment about which the customer still needs a push: the gateway carried them out within the
    last @within_seconds, and the customer got no push about them yet. `expires_at` is one day after the refund."""
    return [MoneyPush(*row) for row in await db.fetch(LIST_REFUNDS_TO_PUSH, payment_id, within_seconds)]


class BreakPush(msgspec.Struct, frozen=True):
    user_id: UUID
    subject_id: UUID
    topic_id: UUID
    reason_at: datetime
    expires_at: datetime
    is_fresh: bool


FIND_BREAK_TO_PUSH: Final = """
SELECT id AS user_id, id AS subject_id, id AS topic_id, break_until AS reason_at,
    break_until + make_interval(secs => $1) AS expires_at,
    break_until > curhat_now() - make_interval(secs => $2) AS is_fresh
FROM mitras
WHERE id = $3 AND suspended_at IS NULL
    AND break_until <= curhat_now() AND break_until > curhat_now() - make_interval(secs => $1)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'break_over' AND push_messages.subject_id = mitras.id
        WHERE push_subscriptions.user_id = mitras.id AND push_subscriptions.role = 'mitra'
            AND push_messages.reason_at >= mitras.break_until
    )
"""


async def find_break_to_push(
    db: Executor, /, *, late_seconds: float, within_seconds: float, mitra_id: UUID
) -> BreakPush | None:
    """Read the mitra whose break's time is over, if the mitra still needs the reminder: the mitra is offline, and got no
    push about this break yet. A reminder that is @late_seconds late helps nobody. `is_fresh` is true during the first
    @within_seconds."""
    row = await db.fetchrow(FIND_BREAK_TO_PUSH, late_seconds, within_seconds, mitra_id)
    if row is None:
        return None
    return BreakPush(*row)


class NoticePush(msgspec.Struct, frozen=True):
    subject_id: UUID
    topic_id: UUID
    user_id: UUID
    role: Role
    reason_at: datetime
    expires_at: datetime


FIND_NOTICE_TO_PUSH: Final = """
SELECT notices.id AS subject_id, notices.id AS topic_id, notices.user_id, notices.role, notices.created_at AS reason_at,
    notices.created_at + interval '1 day' AS expires_at
FROM notices
WHERE notices.id = $1 AND notices.acknowledged_at IS NULL
    AND notices.created_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'notice' AND push_messages.subject_id = notices.id
        WHERE push_subscriptions.user_id = notices.user_id AND push_subscriptions.role = notices.role
    )
"""


async def find_notice_to_push(
    db: Executor, /, *, notice_id: UUID, within_seconds: float
) -> NoticePush | None:
    """Read the notice, if its person still needs a push about it: the notice is new, not acknowledged, and was not pushed yet."""
    row = await db.fetchrow(FIND_NOTICE_TO_PUSH, notice_id, within_seconds)
    if row is None:
        return None
    return NoticePush(*row)


FILTER_NEW_NOTICES: Final = """
SELECT id FROM notices WHERE id = ANY ($1::uuid[]) AND acknowledged_at IS NULL
"""


async def filter_new_notices(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the notices among @ids that nobody has acknowledged."""
    return [row[0] for row in await db.fetch(FILTER_NEW_NOTICES, ids)]


FILTER_OPEN_REQUESTS: Final = """
SELECT requests.id FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE requests.id = ANY ($1::uuid[]) AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()
"""


async def filter_open_requests(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the requests among @ids that a mitra can still accept."""
    return [row[0] for row in await db.fetch(FILTER_OPEN_REQUESTS, ids)]


FILTER_RUNNING_SESSIONS: Final = """
SELECT id FROM sessions WHERE id = ANY ($1::uuid[]) AND status = 'active' AND ends_at > curhat_now()
"""


async def filter_running_sessions(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    return [row[0] for row in await db.fetch(FILTER_RUNNING_SESSIONS, ids)]


FILTER_PENDING_EXTENSIONS: Final = """
SELECT id FROM extensions WHERE id = ANY ($1::uuid[]) AND status = 'pending' AND deadline_at > curhat_now()
"""


async def filter_pending_extensions(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    return [row[0] for row in await db.fetch(FILTER_PENDING_EXTENSIONS, ids)]


FILTER_UNREAD_MESSAGES: Final = """
SELECT id FROM messages WHERE id = ANY ($1::uuid[]) AND read_at IS NULL
"""


async def filter_unread_messages(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    return [row[0] for row in await db.fetch(FILTER_UNREAD_MESSAGES, ids)]


FILTER_OPEN_FALLBACKS: Final = """
SELECT id FROM pairings WHERE id = ANY ($1::uuid[]) AND fallback_status = 'open' AND fallback_answer_by > curhat_now()
"""


async def filter_open_fallbacks(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the pairings among @ids whose customer can still answer the fallback."""
    return [row[0] for row in await db.fetch(FILTER_OPEN_FALLBACKS, ids)]


FILTER_UNSERVED_PAYMENTS: Final = """
SELECT id FROM payments
WHERE id = ANY ($1::uuid[]) AND status = 'unserved' AND NOT EXISTS (
    SELECT 1 FROM payments AS later
    WHERE later.customer_id = payments.customer_id AND later.id > payments.id AND later.purpose = 'session'
)
"""


async def filter_unserved_payments(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the payments among @ids that are unserved, if their customer has not begun a new journey since."""
    return [row[0] for row in await db.fetch(FILTER_UNSERVED_PAYMENTS, ids)]


FILTER_DECIDED_CASES: Final = """
SELECT id FROM review_cases
WHERE id = ANY ($1::uuid[]) AND status = 'decided'
    AND NOT EXISTS (
        SELECT 1 FROM refunds
        WHERE refunds.payment_id = review_cases.payment_id AND refunds.status = 'done'
            AND refunds.answered_at >= review_cases.decided_at
    )
"""


async def filter_decided_cases(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the decided cases among @ids whose decision the customer does not know yet. The push about a refund says more
    than the push about the decision to refund."""
    return [row[0] for row in await db.fetch(FILTER_DECIDED_CASES, ids)]


FILTER_DONE_REFUNDS: Final = """
SELECT id FROM refunds WHERE id = ANY ($1::uuid[]) AND status = 'done'
"""


async def filter_done_refunds(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    return [row[0] for row in await db.fetch(FILTER_DONE_REFUNDS, ids)]


FILTER_MITRAS_AFTER_A_BREAK: Final = """
SELECT id FROM mitras WHERE id = ANY ($1::uuid[]) AND suspended_at IS NULL AND break_until <= curhat_now()
"""


async def filter_mitras_after_a_break(db: Executor, /, *, ids: Sequence[UUID]) -> list[UUID]:
    """Return the mitras among @ids whose break's time is over, and who are still on this break."""
    return [row[0] for row in await db.fetch(FILTER_MITRAS_AFTER_A_BREAK, ids)]


FIND_SESSION_OF_PAIRING: Final = """
SELECT id FROM sessions WHERE pairing_id = $1
"""


async def find_session_of_pairing(db: Executor, /, *, pairing_id: UUID) -> UUID:
    row = await db.fetchrow(FIND_SESSION_OF_PAIRING, pairing_id)
    if row is None:
        raise NoRow(FIND_SESSION_OF_PAIRING)
    value: UUID = row[0]
    return value


LIST_RUNNING_SESSIONS_OF_MITRA: Final = """
SELECT id FROM sessions WHERE mitra_id = $1 AND status = 'active' ORDER BY id
"""


async def list_running_sessions_of_mitra(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    return [row[0] for row in await db.fetch(LIST_RUNNING_SESSIONS_OF_MITRA, mitra_id)]


class SessionCount(msgspec.Struct, frozen=True):
    paid_sessions: int
    trial_sessions: int
    minutes: int


COUNT_SESSIONS_OF_MITRA: Final = """
WITH recent_sessions AS MATERIALIZED (
    SELECT started_at, is_trial, extract(epoch FROM coalesce(ended_at, (SELECT curhat_now())) - started_at) AS seconds
    FROM sessions WHERE mitra_id = $1 AND id >= $2
)
SELECT count(*) FILTER (WHERE NOT is_trial) AS paid_sessions,
    count(*) FILTER (WHERE is_trial) AS trial_sessions, round(coalesce(sum(seconds), 0) / 60)::bigint AS minutes
FROM unnest($3::timestamptz[]) WITH ORDINALITY AS periods (since, position)
LEFT JOIN recent_sessions ON recent_sessions.started_at >= periods.since
GROUP BY periods.position
ORDER BY periods.position
"""


async def count_sessions_of_mitra(
    db: Executor, /, *, mitra_id: UUID, first_id: UUID, since: Sequence[datetime]
) -> list[SessionCount]:
    """Count the sessions of this mitra that began since each of the times @since, and sum their minutes: until the end, or
    until now for a running session. Ids are in the order of time, so the index finds the newest sessions. @first_id has
    the time one day before the earliest of @since, because two clocks can differ."""
    return [SessionCount(*row) for row in await db.fetch(COUNT_SESSIONS_OF_MITRA, mitra_id, first_id, since)]


class RequestCount(msgspec.Struct, frozen=True):
    asked: int
    accepted: int
    taken_by_another: int
    not_answered: int
    rejected: int
    withdrawn: int


COUNT_REQUESTS_OF_MITRA: Final = """
WITH recent_requests AS MATERIALIZED (
    SELECT offered_at, status, close_reason FROM requests WHERE mitra_id = $1 AND id >= $2
)
SELECT count(offered_at) AS asked,
    count(*) FILTER (WHERE status = 'accepted') AS accepted,
    count(*) FILTER (WHERE close_reason = 'already_taken') AS taken_by_another,
    count(*) FILTER (WHERE close_reason = 'timed_out') AS not_answered,
    count(*) FILTER (WHERE status = 'rejected') AS rejected,
    count(*) FILTER (WHERE close_reason NOT IN ('already_taken', 'timed_out')) AS withdrawn
FROM unnest($3::timestamptz[]) WITH ORDINALITY AS periods (since, position)
LEFT JOIN recent_requests ON recent_requests.offered_at >= periods.since
GROUP BY periods.position
ORDER BY periods.position
"""


async def count_requests_of_mitra(
    db: Executor, /, *, mitra_id: UUID, first_id: UUID, since: Sequence[datetime]
) -> list[RequestCount]:
    """Count the requests of this mitra since each of the times @since, by how they ended. A request can be offered again,
    and counts once, at the time of the last offer. @first_id works as in count_sessions_of_mitra."""
    return [RequestCount(*row) for row in await db.fetch(COUNT_REQUESTS_OF_MITRA, mitra_id, first_id, since)]


class PastRequestRow(msgspec.Struct, frozen=True):
    id: UUID
    request_status: RequestStatus
    close_reason: CloseReason | None
    is_returning: bool
    offered_at: datetime
    answered_at: datetime | None
    kind: PairingKind
    pairing_status: PairingStatus
    failure_tag: FailureTag | None
    call_name: str
    duration_minutes: int
    is_trial: bool
    session_id: UUID | None


LIST_PAST_REQUESTS: Final = """
SELECT requests.id, requests.status AS request_status, requests.close_reason, requests.is_returning,
    requests.offered_at, requests.answered_at, pairings.kind, pairings.status AS pairing_status,
    pairings.failure_tag, customers.call_name, payments.duration_minutes, payments.is_trial,
    CASE requests.status WHEN 'accepted' THEN sessions.id END AS session_id
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN customers ON customers.id = pairings.customer_id
LEFT JOIN sessions ON sessions.pairing_id = requests.pairing_id
WHERE requests.mitra_id = $1 AND requests.id < $2
    AND NOT (requests.status = 'offered' AND pairings.status = 'open' AND pairings.deadline_at > (SELECT curhat_now()))
ORDER BY requests.id DESC
LIMIT $3
"""


async def list_past_requests(
    db: Executor, /, *, mitra_id: UUID, before_id: UUID, max_requests: int
) -> list[PastRequestRow]:
    """Read the newest requests of this mitra that are older than the request @before_id, except the requests that the mitra
    can still answer."""
    return [
        PastRequestRow(*row) for row in await db.fetch(LIST_PAST_REQUESTS, mitra_id, before_id, max_requests)
    ]


class PeopleOfPayment(msgspec.Struct, frozen=True):
    customer_id: UUID
    target_mitra_id: UUID


FIND_PEOPLE_OF_TARGETED_PAYMENT: Final = """
SELECT customer_id, target_mitra_id FROM payments WHERE id = $1 AND target_mitra_id IS NOT NULL
"""


async def find_people_of_targeted_payment(db: Executor, /, *, payment_id: UUID) -> PeopleOfPayment:
    """Read the customer who pays, and the mitra whom the customer chose. The customer and the chosen mitra of a payment
    never change."""
    row = await db.fetchrow(FIND_PEOPLE_OF_TARGETED_PAYMENT, payment_id)
    if row is None:
        raise NoRow(FIND_PEOPLE_OF_TARGETED_PAYMENT)
    return PeopleOfPayment(*row)


LIST_OPEN_PAYMENTS_FOR_MITRA: Final = """
SELECT id FROM payments
WHERE target_mitra_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
"""


async def list_open_payments_for_mitra(db: Executor, /, *, mitra_id: UUID) -> list[UUID]:
    """Find the open payments whose customers chose this mitra."""
    return [row[0] for row in await db.fetch(LIST_OPEN_PAYMENTS_FOR_MITRA, mitra_id)]


class CustomerPaymentRow(msgspec.Struct, frozen=True):
    id: UUID
    customer_id: UUID
    purpose: Purpose
    payment_status: PaymentStatus
    offer_id: UUID
    duration_minutes: int
    amount_rp: int
    is_trial: bool
    created_at: datetime
    expires_at: datetime
    target_mitra_id: UUID | None
    target_display_name: str | None
    pairing_id: UUID | None
    pairing_kind: PairingKind | None
    pairing_status: PairingStatus | None
    pairing_deadline_at: datetime | None
    pairing_failure_tag: FailureTag | None
    fallback_status: FallbackStatus | None
    fallback_answer_by: datetime | None
    anybody_asked: bool
    session_id: UUID | None
    server_now: datetime
    end_reason: EndReason | None
    last_charge: AttemptStatus | None
    charged_rp: int
    case_opened_at: datetime | None
    case_decision: CaseDecision | None
    case_decided_at: datetime | None
    case_reasons: list[str]
    refund_amounts_rp: list[int]
    refund_statuses: list[RefundStatus]
    refund_times: list[datetime]
    is_news: bool


LIST_CUSTOMER_PAYMENTS: Final = """
WITH page AS MATERIALIZED (
    SELECT * FROM payments
    WHERE customer_id = $1 AND id BETWEEN $2 AND $3
        AND ($4::uuid IS NULL OR id = ANY (ARRAY(
            SELECT payment_id FROM sessions WHERE id = $4
            UNION ALL
            SELECT payment_id FROM extensions WHERE session_id = $4
        )))
    ORDER BY id DESC LIMIT $5
)
SELECT page.id, page.customer_id, page.purpose, page.status AS payment_status, page.offer_id,
    page.duration_minutes, page.amount_rp, page.is_trial, page.created_at, page.expires_at,
    page.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = pairing.id) AS anybody_asked,
    sessions.id AS session_id, curhat_now() AS server_now,
    sessions.end_reason,
    (
        SELECT status FROM charge_attempts WHERE payment_id = page.id ORDER BY started_at DESC, id DESC LIMIT 1
    ) AS last_charge,
    charged.charged_rp,
    review.opened_at AS case_opened_at, review.decision AS case_decision, review.decided_at AS case_decided_at,
    ARRAY(
        SELECT reason FROM review_cases WHERE payment_id = page.id
        UNION
        SELECT earlier_decisions.reason FROM earlier_decisions JOIN review_cases ON review_cases.id = case_id
        WHERE payment_id = page.id
    ) AS case_reasons,
    refunded.amounts_rp AS refund_amounts_rp, refunded.statuses AS refund_statuses, refunded.times AS refund_times,
    charged.charged_rp > refunded.given_back_rp AND review.opened_at IS NOT NULL AND review.decided_at IS NULL
        OR greatest(
            CASE WHEN page.status = 'unserved' THEN page.closed_at END, review.decided_at, refunded.last_at
        ) > greatest(coalesce(seen_payments.seen_at, '-infinity'), curhat_now() - interval '30 days')
        IS TRUE AS is_news
FROM page
LEFT JOIN mitras ON mitras.id = page.target_mitra_id
LEFT JOIN LATERAL (
    SELECT * FROM pairings WHERE payment_id = page.id ORDER BY kind = 'blast' DESC LIMIT 1
) AS pairing ON true
LEFT JOIN LATERAL (
    SELECT sessions.id FROM sessions WHERE payment_id = page.id
    UNION ALL
    SELECT session_id FROM extensions WHERE payment_id = page.id
) AS paid_for ON true
LEFT JOIN sessions ON sessions.id = paid_for.id
LEFT JOIN LATERAL (
    SELECT opened_at, CASE WHEN is_final THEN decision END AS decision,
        CASE WHEN is_final THEN coalesce(approved_at, decided_at) END AS decided_at
    FROM (
        SELECT *, status = 'decided' AND (NOT needs_approval OR approved_by IS NOT NULL) AS is_final
        FROM review_cases WHERE payment_id = page.id
    ) AS review_case
) AS review ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount_rp), 0)::integer AS charged_rp
    FROM charge_attempts WHERE payment_id = page.id AND status IN ('approved', 'approved_late')
) AS charged
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(amount_rp ORDER BY id), '{}') AS amounts_rp,
        coalesce(array_agg(status ORDER BY id), '{}') AS statuses,
        coalesce(array_agg(coalesce(answered_at, requested_at) ORDER BY id), '{}') AS times,
        coalesce(sum(amount_rp) FILTER (WHERE status = 'done'), 0) AS given_back_rp,
        max(answered_at) FILTER (WHERE status = 'done') AS last_at
    FROM refunds WHERE payment_id = page.id
) AS refunded
LEFT JOIN seen_payments ON seen_payments.payment_id = page.id
ORDER BY page.id DESC
"""


async def list_customer_payments(
    db: Executor,
    /,
    *,
    customer_id: UUID,
    oldest_id: UUID,
    newest_id: UUID,
    session_id: UUID | None,
    max_payments: int,
) -> list[CustomerPaymentRow]:
    """Read the customer's payments with an id from @oldest_id to @newest_id, newest first, at most @max_payments. With
    @session_id, read only the payments of this session: its own and those of its extensions. The index
    payments_by_customer gives the order, so a page reads only its own payments.

    The columns up to `server_now` are those of `list_payment_views`. `charged_rp` is what the gateway took, too late or
    not. A case counts as decided if its decision has taken effect: a refund above the limit waits for a second operator.
    `is_news` says whether the home screen notes the payment: paid money is under review, or the search failed, the case
    was decided or money came back within 30 days, and the customer has not looked at the payment since."""
    return [
        CustomerPaymentRow(*row)
        for row in await db.fetch(
            LIST_CUSTOMER_PAYMENTS, customer_id, oldest_id, newest_id, session_id, max_payments
        )
    ]


MARK_PAYMENT_SEEN: Final = """
INSERT INTO seen_payments (payment_id)
SELECT id FROM payments WHERE id = $1 AND customer_id = $2
ON CONFLICT (payment_id) DO UPDATE SET seen_at = greatest(seen_payments.seen_at, excluded.seen_at)
"""


async def mark_payment_seen(db: Executor, /, *, payment_id: UUID, customer_id: UUID) -> int:
    """Note that the customer has looked at this payment now. Changes no row if the payment belongs to another customer."""
    return rows_changed(await db.execute(MARK_PAYMENT_SEEN, payment_id, customer_id))
