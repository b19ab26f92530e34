"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow

ONE_WINNER: Final = """
SELECT pairing_id, count(*) AS winners FROM requests WHERE status = 'accepted'
GROUP BY pairing_id HAVING count(*) > 1
"""

ONE_SESSION_PER_PAYMENT: Final = """
SELECT payment_id, count(*) AS sessions FROM sessions GROUP BY payment_id HAVING count(*) > 1
"""

WINNER_AND_SESSION_AGREE: Final = """
SELECT pairings.id AS pairing_id, pairings.status, requests.id AS accepted_request, sessions.id AS session_id
FROM pairings
LEFT JOIN requests ON requests.pairing_id = pairings.id AND requests.status = 'accepted'
LEFT JOIN sessions ON sessions.pairing_id = pairings.id
WHERE (pairings.status = 'matched') <> (requests.id IS NOT NULL)
    OR (pairings.status = 'matched') <> (sessions.id IS NOT NULL)
    OR requests.mitra_id <> sessions.mitra_id
    OR sessions.payment_id <> pairings.payment_id OR sessions.customer_id <> pairings.customer_id
"""

ONE_CHARGE_PER_PAYMENT: Final = """
SELECT payment_id, count(*) AS charges FROM charge_attempts WHERE status = 'approved'
GROUP BY payment_id HAVING count(*) > 1
"""

CHARGED_AS_CONFIRMED: Final = """
SELECT payments.id AS payment_id, payments.status, payments.amount_rp, coalesce(charged.amount_rp, 0) AS charged
FROM payments
LEFT JOIN (
    SELECT payment_id, sum(amount_rp) FILTER (WHERE status = 'approved') AS amount_rp, count(*) AS attempts
    FROM charge_attempts GROUP BY payment_id
) AS charged ON charged.payment_id = payments.id
WHERE coalesce(charged.amount_rp, 0)
        <> CASE WHEN payments.confirmed_at IS NULL THEN 0 ELSE payments.amount_rp END
    OR (payments.amount_rp = 0 AND charged.attempts > 0)
"""

LATE_APPROVAL_REFUNDED: Final = """
SELECT charge_attempts.id AS attempt_id, charge_attempts.payment_id, count(refunds.id) AS refunds
FROM charge_attempts
LEFT JOIN refunds ON refunds.charge_attempt_id = charge_attempts.id
    AND refunds.amount_rp = charge_attempts.amount_rp
WHERE charge_attempts.status = 'approved_late'
GROUP BY charge_attempts.id HAVING count(refunds.id) <> 1
"""

SESSION_WAS_PAID: Final = """
SELECT sessions.id AS session_id, payments.id AS payment_id, payments.status
FROM sessions LEFT JOIN payments ON payments.id = sessions.payment_id
WHERE payments.confirmed_at IS NULL OR payments.confirmed_at > sessions.started_at
    OR payments.purpose <> 'session' OR payments.status NOT IN ('served', 'refunded')
    OR payments.customer_id <> sessions.customer_id
"""

PAIRING_WAS_PAID: Final = """
SELECT pairings.id AS pairing_id, payments.id AS payment_id, payments.status
FROM pairings LEFT JOIN payments ON payments.id = pairings.payment_id
WHERE payments.confirmed_at IS NULL OR payments.confirmed_at > pairings.created_at
    OR payments.purpose <> 'session' OR payments.customer_id <> pairings.customer_id
"""

SERVED_IN_FLIGHT_OR_FAILED: Final = """
SELECT payments.id AS payment_id, payments.status, sessions.id AS session_id, open.id AS open_pairing
FROM payments
LEFT JOIN sessions ON sessions.payment_id = payments.id
LEFT JOIN pairings AS open ON open.payment_id = payments.id AND open.status = 'open'
WHERE payments.purpose = 'session' AND CASE
    WHEN payments.confirmed_at IS NULL
        THEN payments.status NOT IN ('pending', 'confirming', 'abandoned', 'expired')
    WHEN payments.status = 'confirmed' THEN sessions.id IS NOT NULL OR (open.id IS NULL) <> EXISTS (
        SELECT 1 FROM pairings WHERE payment_id = payments.id AND fallback_status = 'open'
    )
    WHEN payments.status = 'served' THEN sessions.id IS NULL OR open.id IS NOT NULL
    WHEN payments.status = 'unserved' THEN sessions.id IS NOT NULL OR open.id IS NOT NULL
    ELSE payments.status <> 'refunded' OR open.id IS NOT NULL
END
"""

FAILED_ATTEMPT_HAS_EVENT: Final = """
SELECT pairings.id AS pairing_id, pairings.status, pairings.failure_tag, events.id AS event_id, events.tag
FROM pairings
LEFT JOIN failed_pairing_events AS events ON events.pairing_id = pairings.id
WHERE (pairings.status = 'failed') <> (events.id IS NOT NULL) OR pairings.failure_tag <> events.tag
    OR events.kind IS DISTINCT FROM CASE WHEN events.id IS NOT NULL THEN pairings.kind END
    OR events.payment_id <> pairings.payment_id
"""

FAILED_PAYMENT_HAS_TAG_AND_CASE: Final = """
SELECT payments.id AS payment_id, payments.status, cases.id AS case_id, events.logged, events.astray
FROM payments
LEFT JOIN review_cases AS cases ON cases.payment_id = payments.id
CROSS JOIN LATERAL (
    SELECT count(*) AS logged, count(*) FILTER (WHERE pairing_id IS NULL) AS without_pairing,
        count(*) FILTER (WHERE recovered OR case_id IS DISTINCT FROM cases.id) AS astray
    FROM failed_pairing_events WHERE payment_id = payments.id
) AS events
WHERE payments.purpose = 'session' AND payments.confirmed_at IS NOT NULL AND payments.status <> 'confirmed'
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE payment_id = payments.id)
    AND (cases.id IS NULL OR events.logged = 0 OR events.without_pairing > 1 OR events.astray > 0)
"""

SERVED_PAYMENT_DID_NOT_FAIL: Final = """
SELECT sessions.payment_id, events.id AS event_id, events.tag, cases.id AS case_id, cases.reason
FROM sessions
LEFT JOIN failed_pairing_events AS events ON events.payment_id = sessions.payment_id
LEFT JOIN review_cases AS cases ON cases.payment_id = sessions.payment_id
WHERE (events.id IS NOT NULL AND NOT events.recovered) OR cases.reason = 'no_session'
"""

UNPAID_PAYMENT_EXPIRED: Final = """
SELECT payments.id AS payment_id, payments.status, count(events.id) AS events
FROM payments
LEFT JOIN failed_pairing_events AS events ON events.payment_id = payments.id
WHERE payments.purpose = 'session' AND payments.confirmed_at IS NULL
GROUP BY payments.id
HAVING count(events.id) <> CASE payments.status WHEN 'expired' THEN 1 ELSE 0 END
    OR count(events.id) FILTER (
        WHERE events.tag <> 'payment_session_expired' OR events.recovered OR events.case_id IS NOT NULL
    ) > 0
"""

CUT_SHORT_HAS_CASE: Final = """
SELECT sessions.id AS session_id, sessions.end_reason, cases.id AS case_id, cases.reason
FROM sessions
LEFT JOIN review_cases AS cases ON cases.payment_id = sessions.payment_id
WHERE CASE WHEN sessions.end_reason IN ('mitra_ended', 'mitra_suspended')
    THEN cases.id IS NULL ELSE cases.reason = 'cut_short' END
"""

WINDOW_NOT_CLOSED_EARLY: Final = """
SELECT id AS pairing_id, failure_tag, deadline_at, decided_at FROM pairings
WHERE failure_tag IN ('no_mitra_available', 'targeted_mitra_timeout') AND decided_at < deadline_at
"""

PAYMENT_NOT_EXPIRED_EARLY: Final = """
SELECT id AS payment_id, expires_at, closed_at FROM payments
WHERE purpose = 'session' AND status = 'expired' AND (closed_at IS NULL OR closed_at < expires_at)
"""

SESSION_NOT_ENDED_EARLY: Final = """
SELECT id AS session_id, ends_at, ended_at FROM sessions
WHERE end_reason = 'time_up' AND ended_at < ends_at
"""

ACCEPTED_IN_TIME: Final = """
SELECT pairings.id AS pairing_id, pairings.deadline_at, pairings.decided_at, sessions.started_at
FROM pairings LEFT JOIN sessions ON sessions.pairing_id = pairings.id
WHERE pairings.status = 'matched'
    AND (pairings.decided_at >= pairings.deadline_at OR sessions.started_at >= pairings.deadline_at)
"""

TARGETED_THEN_ONE_BLAST: Final = """
SELECT payments.id AS payment_id, payments.target_mitra_id, tried.targeted, tried.blasts, tried.taken
FROM payments
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE kind = 'targeted') AS targeted, count(*) FILTER (WHERE kind = 'blast') AS blasts,
        count(*) FILTER (WHERE fallback_status = 'taken') AS taken,
        bool_and(target_mitra_id = payments.target_mitra_id) FILTER (WHERE kind = 'targeted') AS the_same
    FROM pairings WHERE payment_id = payments.id
) AS tried
WHERE payments.confirmed_at IS NOT NULL AND payments.purpose = 'session' AND CASE
    WHEN payments.target_mitra_id IS NULL THEN tried.targeted > 0 OR tried.blasts <> 1
    ELSE tried.targeted <> 1 OR NOT tried.the_same OR tried.blasts <> tried.taken
END
"""

ONLY_INTENDED_MITRAS_WERE_ASKED: Final = """
SELECT requests.id AS request_id, requests.mitra_id, pairings.kind
FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE pairings.left_out_mitra_id = requests.mitra_id OR pairings.target_mitra_id <> requests.mitra_id
"""

FALLBACK_EXPIRED_HAS_EVENT: Final = """
SELECT pairings.id AS pairing_id, pairings.fallback_status, pairings.fallback_answer_by, payments.closed_at, events.tag
FROM pairings
JOIN payments ON payments.id = pairings.payment_id
LEFT JOIN failed_pairing_events AS events ON events.payment_id = payments.id AND events.pairing_id IS NULL
WHERE pairings.kind = 'targeted' AND (
    coalesce(pairings.fallback_status = 'expired', false) <> (events.id IS NOT NULL)
    OR events.tag <> 'payment_session_expired'
    OR (pairings.fallback_status = 'expired' AND payments.closed_at < pairings.fallback_answer_by)
)
"""

EXTENSION_MONEY: Final = """
SELECT extensions.id AS extension_id, extensions.status, payments.status AS payment_status, charged.kept, charged.attempts
FROM extensions
LEFT JOIN payments ON payments.id = extensions.payment_id
CROSS JOIN LATERAL (
    SELECT count(*) AS attempts, count(*) FILTER (WHERE status = 'approved') AS kept, min(started_at) AS first_at
    FROM charge_attempts WHERE payment_id = extensions.payment_id
) AS charged
WHERE payments.id IS NULL OR payments.purpose <> 'extension' OR payments.amount_rp <> extensions.price_rp
    OR charged.attempts > CASE WHEN extensions.charge_by IS NULL THEN 0 ELSE 1 END
    OR charged.kept <> CASE extensions.status WHEN 'approved' THEN 1 ELSE 0 END
    OR charged.first_at < extensions.decided_at
    OR NOT payments.status = ANY (CASE extensions.status
        WHEN 'pending' THEN ARRAY['pending']
        WHEN 'charging' THEN ARRAY['confirming']
        WHEN 'approved' THEN ARRAY['served', 'refunded']
        ELSE ARRAY['abandoned']
    END)
"""

EXTENSION_PAYMENT_HAS_EXTENSION: Final = """
SELECT payments.id AS payment_id, payments.status FROM payments
LEFT JOIN extensions ON extensions.payment_id = payments.id
WHERE (payments.purpose = 'extension') <> (extensions.id IS NOT NULL)
"""

EXTENSION_DECIDED_AS_ITS_TERMS_SAY: Final = """
SELECT extensions.id AS extension_id, extensions.status, extensions.decided_by, extensions.default_action,
    extensions.deadline_at, extensions.decided_at
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE CASE extensions.decided_by
    WHEN 'timeout' THEN extensions.decided_at < extensions.deadline_at
        OR (extensions.charge_by IS NOT NULL) <> (extensions.default_action = 'auto_approve')
    WHEN 'mitra' THEN extensions.decided_at > extensions.deadline_at + interval '1 second'
    WHEN 'mitra_unreachable' THEN extensions.charge_by IS NOT NULL
    WHEN 'session_ended' THEN extensions.charge_by IS NOT NULL OR sessions.status <> 'ended'
    ELSE extensions.status <> 'pending'
END OR (extensions.mitra_went_offline AND extensions.charge_by IS NOT NULL)
"""

SESSION_LENGTHENED_BY_WHAT_WAS_PAID: Final = """
SELECT sessions.id AS session_id, sessions.started_at, sessions.ends_at, sessions.duration_minutes, added.minutes
FROM sessions
CROSS JOIN LATERAL (
    SELECT coalesce(sum(duration_minutes), 0)::integer AS minutes FROM extensions
    WHERE session_id = sessions.id AND status = 'approved'
) AS added
WHERE sessions.ends_at <> sessions.started_at + make_interval(mins => sessions.duration_minutes + added.minutes)
"""

OPEN_EXTENSION_HOLDS_ITS_SESSION: Final = """
SELECT sessions.id AS session_id, sessions.status, sessions.open_extension_id, extensions.id AS extension_id
FROM sessions
LEFT JOIN extensions ON extensions.session_id = sessions.id AND extensions.status IN ('pending', 'charging')
WHERE sessions.open_extension_id IS DISTINCT FROM extensions.id
    OR (sessions.status = 'ended' AND extensions.id IS NOT NULL)
"""

EXTENSION_CUT_SHORT_HAS_CASE: Final = """
SELECT extensions.id AS extension_id, extensions.status, sessions.end_reason, cases.reason
FROM extensions
JOIN sessions ON sessions.id = extensions.session_id
LEFT JOIN review_cases AS cases ON cases.payment_id = extensions.payment_id
WHERE CASE
    WHEN extensions.status = 'approved' AND sessions.end_reason IN ('mitra_ended', 'mitra_suspended')
        THEN cases.id IS NULL
    ELSE cases.reason IN ('cut_short', 'no_session')
END
"""

DONE_IN_TIME: Final = """
SELECT 'pairing' AS what, id, deadline_at AS until, decided_at AS done_at FROM pairings
WHERE failure_tag = 'customer_cancelled' AND decided_at > deadline_at + interval '1 second'
UNION ALL
SELECT 'charge attempt', charge_attempts.id, payments.expires_at, charge_attempts.started_at
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE payments.purpose = 'session' AND charge_attempts.started_at > payments.expires_at + interval '1 second'
UNION ALL
SELECT 'session', id, ends_at, ended_at FROM sessions
WHERE end_reason <> 'time_up' AND ended_at > ends_at + interval '1 second'
    AND NOT EXISTS (
        SELECT 1 FROM status_changes JOIN extensions ON extensions.id = status_changes.entity_id
        WHERE extensions.session_id = sessions.id AND status_changes.new_status IN ('rejected', 'charge_failed')
            AND status_changes.changed_at >= sessions.ended_at - interval '1 second'
    )
"""

DEADLINE_ARMED: Final = """
WITH waiting AS (
    SELECT 'payment_expiry' AS kind, id FROM payments WHERE purpose = 'session' AND status = 'pending'
    UNION ALL SELECT CASE kind WHEN 'blast' THEN 'pairing_window' ELSE 'targeted_window' END, id
        FROM pairings WHERE status = 'open'
    UNION ALL SELECT 'fallback_answer', id FROM pairings WHERE fallback_status = 'open'
    UNION ALL SELECT 'session_end', id FROM sessions WHERE status = 'active' AND open_extension_id IS NULL
    UNION ALL SELECT CASE status WHEN 'pending' THEN 'extension_window' ELSE 'extension_charge' END, id
        FROM extensions WHERE status IN ('pending', 'charging')
    UNION ALL SELECT 'charge_answer', id FROM charge_attempts WHERE status = 'started'
    UNION ALL SELECT 'refund_answer', id FROM refunds WHERE status = 'requested'
)
SELECT waiting.kind, waiting.id FROM waiting
LEFT JOIN deadlines ON deadlines.kind = waiting.kind AND deadlines.entity_id = waiting.id
WHERE deadlines.id IS NULL
"""

NO_DEADLINE_PARKED: Final = """
SELECT kind, entity_id, attempts, last_error FROM deadlines WHERE parked_at IS NOT NULL
"""

HISTORY_UNBROKEN: Final = """
WITH steps AS (
    SELECT entity, entity_id, old_status, new_status,
        lag(new_status) OVER same AS before, lead(id) OVER same IS NULL AS is_last
    FROM status_changes WINDOW same AS (PARTITION BY entity, entity_id ORDER BY id)
), standing AS (
    SELECT 'payment' AS entity, id, status FROM payments
    UNION ALL SELECT 'pairing', id, status FROM pairings
    UNION ALL SELECT 'session', id, status FROM sessions
    UNION ALL SELECT 'extension', id, status FROM extensions
)
SELECT steps.entity, steps.entity_id, steps.before, steps.old_status, steps.new_status, standing.status
FROM steps LEFT JOIN standing ON standing.entity = steps.entity AND standing.id = steps.entity_id
WHERE steps.old_status IS DISTINCT FROM steps.before
    OR (steps.is_last AND steps.new_status IS DISTINCT FROM standing.status)
"""

SESSIONS_COUNTED: Final = """
SELECT mitras.id AS mitra_id, mitras.active_sessions, count(sessions.id) AS running
FROM mitras LEFT JOIN sessions ON sessions.mitra_id = mitras.id AND sessions.status = 'active'
GROUP BY mitras.id HAVING mitras.active_sessions <> count(sessions.id)
"""

CAPACITY_NEVER_EXCEEDED: Final = """
WITH steps AS (
    SELECT mitra_id, started_at AS at, 1 AS step FROM sessions
    WHERE $1::uuid[] IS NULL OR mitra_id = ANY ($1)
    UNION ALL
    SELECT mitra_id, ended_at, -1 FROM sessions
    WHERE ended_at IS NOT NULL AND ($1::uuid[] IS NULL OR mitra_id = ANY ($1))
), running AS (
    SELECT mitra_id, sum(step) OVER (PARTITION BY mitra_id ORDER BY at, step ROWS UNBOUNDED PRECEDING) AS together
    FROM steps
)
SELECT mitras.id AS mitra_id, mitras.max_customers, max(running.together) AS together
FROM running JOIN mitras ON mitras.id = running.mitra_id
GROUP BY mitras.id HAVING max(running.together) > mitras.max_customers
"""

STREAM_WITHOUT_GAPS: Final = """
SELECT stored.role, stored.user_id, streams.head, stored.first, stored.last, stored.events
FROM (
    SELECT role, user_id, min(seq) AS first, max(seq) AS last, count(*) AS events
    FROM stream_events GROUP BY role, user_id
) AS stored
LEFT JOIN streams USING (role, user_id)
WHERE streams.head IS DISTINCT FROM stored.last OR stored.events <> stored.last - stored.first + 1
    OR stored.first < 1
"""

ONE_JOURNEY_AT_A_TIME: Final = """
SELECT customer_id, count(*) AS journeys FROM (
    SELECT customer_id FROM payments
    WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
    UNION ALL
    SELECT customer_id FROM sessions WHERE status = 'active'
) AS under_way
GROUP BY customer_id HAVING count(*) > 1
"""

ONE_TRIAL: Final = """
SELECT customer_id, count(*) AS trials FROM sessions WHERE is_trial GROUP BY customer_id HAVING count(*) > 1
"""

NOT_WITH_ONESELF: Final = """
SELECT requests.id AS request_id, NULL::uuid AS session_id, requests.mitra_id
FROM requests JOIN pairings ON pairings.id = requests.pairing_id AND pairings.customer_id = requests.mitra_id
UNION ALL
SELECT NULL, id, mitra_id FROM sessions WHERE customer_id = mitra_id
"""

MESSAGE_WITHIN_SESSION: Final = """
SELECT messages.id AS message_id, messages.sent_at, sessions.started_at, sessions.ends_at, sessions.ended_at
FROM messages JOIN sessions ON sessions.id = messages.session_id
WHERE messages.sent_at < sessions.started_at OR messages.sent_at > sessions.ended_at
    OR (messages.sent_at >= sessions.ends_at AND NOT EXISTS (
        SELECT 1 FROM extensions
        WHERE extensions.session_id = sessions.id AND extensions.requested_at <= messages.sent_at
            AND messages.sent_at <= coalesce((
                SELECT max(changed_at) FROM status_changes
                WHERE entity_id = extensions.id AND new_status IN ('rejected', 'charge_failed')
            ), 'infinity')
    ))
"""

GATEWAY_BOOKS_AGREE: Final = """
WITH ours AS (
    SELECT payment_id, sum(amount_rp) AS kept FROM (
        SELECT payment_id, amount_rp FROM charge_attempts WHERE status IN ('approved', 'approved_late')
        UNION ALL SELECT payment_id, -amount_rp FROM refunds WHERE status = 'done'
    ) AS movements GROUP BY payment_id
), theirs AS (
    SELECT payment_id, sum(amount_rp) AS kept FROM (
        SELECT payment_id, amount_rp FROM mock_gateway.charges WHERE status = 'approved'
        UNION ALL SELECT payment_id, -amount_rp FROM mock_gateway.refunds WHERE status = 'done'
    ) AS movements GROUP BY payment_id
)
SELECT payment_id, coalesce(ours.kept, 0) AS ours_rp, coalesce(theirs.kept, 0) AS theirs_rp
FROM ours FULL JOIN theirs USING (payment_id)
WHERE coalesce(ours.kept, 0) <> coalesce(theirs.kept, 0)
    AND NOT EXISTS (
        SELECT 1 FROM charge_attempts WHERE charge_attempts.payment_id = coalesce(ours.payment_id, theirs.payment_id)
            AND status = 'started')
    AND NOT EXISTS (
        SELECT 1 FROM refunds WHERE refunds.payment_id = coalesce(ours.payment_id, theirs.payment_id)
            AND status = 'requested')
"""

NOTHING_IN_FLIGHT: Final = """
SELECT 'payment' AS what, id, status FROM payments
WHERE status IN ('pending', 'confirming', 'confirmed') AND ($1::uuid[] IS NULL OR customer_id = ANY ($1))
UNION ALL
SELECT 'extension', extensions.id, extensions.status
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.status IN ('pending', 'charging') AND ($1::uuid[] IS NULL OR sessions.customer_id = ANY ($1))
UNION ALL
SELECT 'pairing', id, status FROM pairings
WHERE status = 'open' AND ($1::uuid[] IS NULL OR customer_id = ANY ($1))
UNION ALL
SELECT 'session', id, status FROM sessions
WHERE status = 'active' AND ($1::uuid[] IS NULL OR customer_id = ANY ($1) OR mitra_id = ANY ($1))
UNION ALL
SELECT 'charge', charge_attempts.id, charge_attempts.status
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE charge_attempts.status = 'started' AND ($1::uuid[] IS NULL OR payments.customer_id = ANY ($1))
UNION ALL
SELECT 'refund', refunds.id, refunds.status
FROM refunds JOIN payments ON payments.id = refunds.payment_id
WHERE refunds.status = 'requested' AND ($1::uuid[] IS NULL OR payments.customer_id = ANY ($1))
"""

NO_DEADLINE_OVERDUE: Final = """
SELECT kind, entity_id, due_at, attempts, last_error FROM deadlines
WHERE parked_at IS NULL AND due_at < curhat_now() - interval '5 seconds'
"""

FALLBACK_LEAVES_OUT: Final = """
SELECT requests.id AS request_id, requests.mitra_id, failed.failure_tag
FROM pairings AS failed
JOIN pairings AS blast ON blast.payment_id = failed.payment_id AND blast.kind = 'blast'
JOIN requests ON requests.pairing_id = blast.id AND requests.mitra_id = failed.target_mitra_id
WHERE failed.failure_tag IN ('targeted_mitra_rejected', 'targeted_mitra_timeout')
"""

LOST_MITRA_IS_NOT_WAITED_FOR: Final = """
WITH lost AS (
    SELECT 'targeted_lost' AS kind, pairings.id
    FROM pairings JOIN requests ON requests.pairing_id = pairings.id
    WHERE pairings.status = 'open' AND pairings.kind = 'targeted' AND requests.status = 'closed'
    UNION ALL SELECT 'extension_lost', id FROM extensions WHERE status = 'pending' AND mitra_went_offline
)
SELECT lost.kind, lost.id FROM lost
LEFT JOIN deadlines ON deadlines.kind = lost.kind AND deadlines.entity_id = lost.id
WHERE deadlines.id IS NULL
"""

ANSWERED_IN_TIME: Final = """
SELECT 'fallback' AS what, pairings.id, pairings.fallback_answer_by AS until,
    coalesce(blast.created_at, payments.closed_at) AS done_at
FROM pairings
JOIN payments ON payments.id = pairings.payment_id
LEFT JOIN pairings AS blast ON blast.payment_id = pairings.payment_id AND blast.kind = 'blast'
WHERE pairings.fallback_status IN ('taken', 'declined')
    AND coalesce(blast.created_at, payments.closed_at) > pairings.fallback_answer_by + interval '1 second'
UNION ALL
SELECT 'extension charge', extensions.id, extensions.charge_by, charge_attempts.answered_at
FROM extensions
JOIN charge_attempts ON charge_attempts.payment_id = extensions.payment_id AND charge_attempts.status = 'approved'
WHERE charge_attempts.answered_at > extensions.charge_by + interval '1 second'
"""

CHARGE_NOT_GIVEN_UP_EARLY: Final = """
SELECT extensions.id AS extension_id, extensions.charge_by, given_up.changed_at
FROM extensions
JOIN sessions ON sessions.id = extensions.session_id
JOIN status_changes AS given_up ON given_up.entity = 'extension' AND given_up.entity_id = extensions.id
    AND given_up.new_status = 'charge_failed'
WHERE given_up.changed_at < extensions.charge_by
    AND (sessions.ended_at IS NULL OR sessions.ended_at > given_up.changed_at)
    AND NOT EXISTS (
        SELECT 1 FROM charge_attempts WHERE payment_id = extensions.payment_id
            AND (status = 'declined' AND reason <> 'not_found' OR status = 'approved_late')
    )
"""

GATEWAY_HAS_ONLY_RECORDED_CALLS: Final = """
SELECT 'charge' AS what, theirs.key, theirs.payment_id, theirs.amount_rp FROM mock_gateway.charges AS theirs
WHERE NOT EXISTS (
    SELECT 1 FROM charge_attempts AS ours
    WHERE ours.id = theirs.key AND ours.payment_id = theirs.payment_id AND ours.amount_rp = theirs.amount_rp
)
UNION ALL
SELECT 'refund', theirs.key, theirs.payment_id, theirs.amount_rp FROM mock_gateway.refunds AS theirs
WHERE NOT EXISTS (
    SELECT 1 FROM refunds AS ours
    WHERE ours.id = theirs.key AND ours.payment_id = theirs.payment_id AND ours.amount_rp = theirs.amount_rp
        AND ours.charge_attempt_id = theirs.charge_key
)
"""

LOCK_SIMULATION: Final = """
SELECT pg_try_advisory_lock(hashtextextended('curhat simulate', 0)) AS is_locked
"""


async def lock_simulation(db: Executor, /) -> bool:
    """Take the lock that allows only one simulation per database. The connection holds it until it closes. False:
    another simulation holds the lock. Two simulations would use the same mitras."""
    row = await db.fetchrow(LOCK_SIMULATION)
    if row is None:
        raise NoRow(LOCK_SIMULATION)
    value: bool = row[0]
    return value


FIND_FREE_MITRA_PHONES: Final = """
SELECT phone_number FROM (
    SELECT $1 || lpad(number::text, 7, '0') AS phone_number FROM generate_series(0, 99999) AS number
) AS numbers
LEFT JOIN people USING (phone_number)
LEFT JOIN mitras ON mitras.id = people.id
WHERE mitras.suspended_at IS NULL AND coalesce(mitras.active_sessions, 0) = 0 AND (
    SELECT count(*) FROM one_time_codes
    WHERE one_time_codes.phone_number = numbers.phone_number AND created_at > curhat_now() - interval '1 hour'
) < 20
ORDER BY phone_number
LIMIT $2
"""


async def find_free_mitra_phones(db: Executor, /, *, prefix: str, max_phones: int) -> list[str]:
    """The first numbers with this prefix that a simulated mitra can use. The mitra is not suspended and has no
    session left by a killed run. The phone has not reached the limit of 30 codes per hour."""
    return [row[0] for row in await db.fetch(FIND_FREE_MITRA_PHONES, prefix, max_phones)]


FIND_NEXT_CUSTOMER_NUMBER: Final = """
SELECT coalesce(max(substr(phone_number, char_length($1) + 1)::integer), -1) + 1 AS number FROM people
WHERE phone_number LIKE $1 || '_______'
"""


async def find_next_customer_number(db: Executor, /, *, prefix: str) -> int:
    """The lowest number after this prefix that no person ever had."""
    row = await db.fetchrow(FIND_NEXT_CUSTOMER_NUMBER, prefix)
    if row is None:
        raise NoRow(FIND_NEXT_CUSTOMER_NUMBER)
    value: int = row[0]
    return value


class CountPaymentsRow(msgspec.Struct, frozen=True):
    status: str
    payments: int
    trials: int
    taken_rp: int | None


COUNT_PAYMENTS: Final = """
SELECT status, count(*) AS payments, count(*) FILTER (WHERE is_trial) AS trials,
    sum(amount_rp) FILTER (WHERE confirmed_at IS NOT NULL) AS taken_rp
FROM payments WHERE customer_id = ANY ($1::uuid[]) AND purpose = 'session'
GROUP BY status ORDER BY status
"""


async def count_payments(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[CountPaymentsRow]:
    return [CountPaymentsRow(*row) for row in await db.fetch(COUNT_PAYMENTS, customer_ids)]


class CountFailuresRow(msgspec.Struct, frozen=True):
    tag: str
    events: int


COUNT_FAILURES: Final = """
SELECT tag, count(*) AS events
FROM failed_pairing_events JOIN payments ON payments.id = failed_pairing_events.payment_id
WHERE customer_id = ANY ($1::uuid[])
GROUP BY tag ORDER BY count(*) DESC, tag
"""


async def count_failures(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[CountFailuresRow]:
    return [CountFailuresRow(*row) for row in await db.fetch(COUNT_FAILURES, customer_ids)]


class CountSessionEndsRow(msgspec.Struct, frozen=True):
    end_reason: str | None
    sessions: int


COUNT_SESSION_ENDS: Final = """
SELECT end_reason, count(*) AS sessions FROM sessions WHERE customer_id = ANY ($1::uuid[])
GROUP BY end_reason ORDER BY count(*) DESC
"""


async def count_session_ends(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[CountSessionEndsRow]:
    """Counts by end_reason. It is null for sessions that are still running."""
    return [CountSessionEndsRow(*row) for row in await db.fetch(COUNT_SESSION_ENDS, customer_ids)]


class CountChargeAttemptsRow(msgspec.Struct, frozen=True):
    status: str
    attempts: int


COUNT_CHARGE_ATTEMPTS: Final = """
SELECT charge_attempts.status, count(*) AS attempts
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE customer_id = ANY ($1::uuid[])
GROUP BY charge_attempts.status ORDER BY count(*) DESC
"""


async def count_charge_attempts(
    db: Executor, /, *, customer_ids: Sequence[UUID]
) -> list[CountChargeAttemptsRow]:
    return [CountChargeAttemptsRow(*row) for row in await db.fetch(COUNT_CHARGE_ATTEMPTS, customer_ids)]


LIST_SECONDS_TO_ACCEPT: Final = """
SELECT extract(epoch FROM sessions.started_at - payments.confirmed_at)::float8 AS seconds
FROM sessions JOIN payments ON payments.id = sessions.payment_id
WHERE sessions.customer_id = ANY ($1::uuid[])
"""


async def list_seconds_to_accept(db: Executor, /, *, customer_ids: Sequence[UUID]) -> list[float]:
    """The seconds from the confirmation of the payment to the accept."""
    return [row[0] for row in await db.fetch(LIST_SECONDS_TO_ACCEPT, customer_ids)]


class CountTargetedOutcomesRow(msgspec.Struct, frozen=True):
    outcome: str
    pairings: int


COUNT_TARGETED_OUTCOMES: Final = """
SELECT coalesce(failure_tag, status) AS outcome, count(*) AS pairings FROM pairings
WHERE customer_id = ANY ($1::uuid[]) AND kind = 'targeted'
GROUP BY 1 ORDER BY count(*) DESC, 1
"""


async def count_targeted_outcomes(
    db: Executor, /, *, customer_ids: Sequence[UUID]
) -> list[CountTargetedOutcomesRow]:
    """Counts targeted pairings: failed ones by their tag, all others by their status."""
    return [CountTargetedOutcomesRow(*row) for row in await db.fetch(COUNT_TARGETED_OUTCOMES, customer_ids)]


class CountFallbackOutcomesRow(msgspec.Struct, frozen=True):
    outcome: str
    pairings: int


COUNT_FALLBACK_OUTCOMES: Final = """
SELECT failed.fallback_status || coalesce(': ' || coalesce(blast.failure_tag, blast.status), '') AS outcome,
    count(*) AS pairings
FROM pairings AS failed
LEFT JOIN pairings AS blast
    ON blast.payment_id = failed.payment_id AND blast.kind = 'blast' AND failed.fallback_status = 'taken'
WHERE failed.customer_id = ANY ($1::uuid[]) AND failed.fallback_status IS NOT NULL
GROUP BY 1 ORDER BY count(*) DESC, 1
"""


async def count_fallback_outcomes(
    db: Executor, /, *, customer_ids: Sequence[UUID]
) -> list[CountFallbackOutcomesRow]:
    """Counts fallbacks by the customer's answer. If the customer took the fallback, also by the outcome of the
    blast."""
    return [CountFallbackOutcomesRow(*row) for row in await db.fetch(COUNT_FALLBACK_OUTCOMES, customer_ids)]


class CountExtensionOutcomesRow(msgspec.Struct, frozen=True):
    outcome: str
    extensions: int
    taken_rp: int | None


COUNT_EXTENSION_OUTCOMES: Final = """
SELECT extensions.status || coalesce(' by ' || extensions.decided_by, '') AS outcome, count(*) AS extensions,
    sum(extensions.price_rp) FILTER (WHERE extensions.status = 'approved') AS taken_rp
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE sessions.customer_id = ANY ($1::uuid[])
GROUP BY 1 ORDER BY count(*) DESC, 1
"""


async def count_extension_outcomes(
    db: Executor, /, *, customer_ids: Sequence[UUID]
) -> list[CountExtensionOutcomesRow]:
    """Counts by status, and by what decided the extension."""
    return [CountExtensionOutcomesRow(*row) for row in await db.fetch(COUNT_EXTENSION_OUTCOMES, customer_ids)]
