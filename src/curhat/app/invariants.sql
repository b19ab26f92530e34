-- This file holds the invariants of the database. Each statement returns the rows that break its invariant. The comment
-- below a statement's name begins with a number and a title. The number belongs to an invariant (1 to 15) or to a rule
-- of docs/rules.md. The word "quiet" marks an invariant that holds only while nobody acts and no deadline is due. The
-- only parameter, @people_ids, holds the ids of the customers and mitras to check. If @people_ids is null, the
-- statements check everybody. The module invariants.py joins all statements into one statement. This file has the
-- format of a queries.sql (see curhat/dev/statements.py).

-- name: one_winner :many
-- 1: a pairing has at most one winner
SELECT pairing_id, count(*) AS winners FROM requests WHERE status = 'accepted'
GROUP BY pairing_id HAVING count(*) > 1

-- name: one_session_per_payment :many
-- 1: a payment has at most one session
SELECT payment_id, count(*) AS sessions FROM sessions GROUP BY payment_id HAVING count(*) > 1

-- name: winner_and_session_agree :many
-- 1: a pairing is matched if and only if it has an accepted request and a session, with matching ids
SELECT pairings.id AS pairing_id, pairings.status, requests.id AS accepted_request, sessions.id AS session_id
FROM pairings
LEFT JOIN requests ON requests.pairing_id = pairings.id AND requests.status = 'accepted'
LEFT JOIN sessions ON sessions.pairing_id = pairings.id
WHERE (pairings.status = 'matched') <> (requests.id IS NOT NULL)
    OR (pairings.status = 'matched') <> (sessions.id IS NOT NULL)
    OR requests.mitra_id <> sessions.mitra_id
    OR sessions.payment_id <> pairings.payment_id OR sessions.customer_id <> pairings.customer_id

-- name: one_charge_per_payment :many
-- 2: a payment has at most one approved charge attempt
SELECT payment_id, count(*) AS charges FROM charge_attempts WHERE status = 'approved'
GROUP BY payment_id HAVING count(*) > 1

-- name: charged_as_confirmed :many
-- 2: amount_rp is charged if and only if the payment is confirmed; a payment of Rp0 has no charge attempt
SELECT payments.id AS payment_id, payments.status, payments.amount_rp, coalesce(charged.amount_rp, 0) AS charged
FROM payments
LEFT JOIN (
    SELECT payment_id, sum(amount_rp) FILTER (WHERE status = 'approved') AS amount_rp, count(*) AS attempts
    FROM charge_attempts GROUP BY payment_id
) AS charged ON charged.payment_id = payments.id
WHERE coalesce(charged.amount_rp, 0)
        <> CASE WHEN payments.confirmed_at IS NULL THEN 0 ELSE payments.amount_rp END
    OR (payments.amount_rp = 0 AND charged.attempts > 0)

-- name: late_approval_refunded :many
-- 9: each charge attempt with the status approved_late has one automatic refund of its full amount
--
-- If the gateway refuses the automatic refund, an operator can decide on further refunds. A charge that a restore lost
-- has a case instead (payments/reconciliation.py).
SELECT charge_attempts.id AS attempt_id, charge_attempts.payment_id, count(refunds.id) AS refunds
FROM charge_attempts
LEFT JOIN refunds ON refunds.charge_attempt_id = charge_attempts.id
    AND refunds.amount_rp = charge_attempts.amount_rp AND refunds.reason = 'late_approval'
WHERE charge_attempts.status = 'approved_late'
    AND charge_attempts.reason IS DISTINCT FROM 'known to the gateway alone after a restore'
GROUP BY charge_attempts.id HAVING count(refunds.id) <> 1

-- name: refunds_at_most_the_charge :many
-- 9: the refunds of a charge attempt that the gateway has not refused are at most the attempt's amount
SELECT charge_attempts.id AS attempt_id, charge_attempts.amount_rp, sum(refunds.amount_rp) AS refunded_rp
FROM charge_attempts
JOIN refunds ON refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
GROUP BY charge_attempts.id
HAVING sum(refunds.amount_rp) > charge_attempts.amount_rp
    OR bool_or(charge_attempts.status NOT IN ('approved', 'approved_late'))

-- name: one_refund_per_decision :many
-- 9: a decision has at most one refund of a charge that the gateway has not refused
SELECT charge_attempt_id AS attempt_id, decided_round, count(*) AS refunds FROM refunds
WHERE status <> 'failed' AND decided_round IS NOT NULL
GROUP BY charge_attempt_id, decided_round HAVING count(*) > 1

-- name: session_was_paid :many
-- 3: each session belongs to a payment that was confirmed before the session started
SELECT sessions.id AS session_id, payments.id AS payment_id, payments.status
FROM sessions LEFT JOIN payments ON payments.id = sessions.payment_id
WHERE payments.confirmed_at IS NULL OR payments.confirmed_at > sessions.started_at
    OR payments.purpose <> 'session' OR payments.status NOT IN ('served', 'refunded')
    OR payments.customer_id <> sessions.customer_id

-- name: pairing_was_paid :many
-- 3: each pairing belongs to a payment that was confirmed before the pairing was opened
SELECT pairings.id AS pairing_id, payments.id AS payment_id, payments.status
FROM pairings LEFT JOIN payments ON payments.id = pairings.payment_id
WHERE payments.confirmed_at IS NULL OR payments.confirmed_at > pairings.created_at
    OR payments.purpose <> 'session' OR payments.customer_id <> pairings.customer_id

-- name: served_in_flight_or_failed :many
-- 4: a confirmed payment is served, in flight or failed, and its session and its pairings fit its status
SELECT payments.id AS payment_id, payments.status, sessions.id AS session_id, open.id AS open_pairing
FROM payments
LEFT JOIN sessions ON sessions.payment_id = payments.id
LEFT JOIN pairings AS open ON open.payment_id = payments.id AND open.status = 'open'
WHERE payments.purpose = 'session' AND CASE
    WHEN payments.confirmed_at IS NULL
        THEN payments.status NOT IN ('pending', 'confirming', 'abandoned', 'expired')
    -- A confirmed payment has either an open pairing or an open fallback (3.8).
    WHEN payments.status = 'confirmed' THEN sessions.id IS NOT NULL OR (open.id IS NULL) <> EXISTS (
        SELECT 1 FROM pairings WHERE payment_id = payments.id AND fallback_status = 'open'
    )
    WHEN payments.status = 'served' THEN sessions.id IS NULL OR open.id IS NOT NULL
    WHEN payments.status = 'unserved' THEN sessions.id IS NOT NULL OR open.id IS NOT NULL
    ELSE payments.status <> 'refunded' OR open.id IS NOT NULL
END

-- name: failed_attempt_has_event :many
-- 4: each failed pairing has one event with the same tag, and no other pairing has an event
SELECT pairings.id AS pairing_id, pairings.status, pairings.failure_tag, events.id AS event_id, events.tag
FROM pairings
LEFT JOIN failed_pairing_events AS events ON events.pairing_id = pairings.id
WHERE (pairings.status = 'failed') <> (events.id IS NOT NULL) OR pairings.failure_tag <> events.tag
    OR events.kind IS DISTINCT FROM CASE WHEN events.id IS NOT NULL THEN pairings.kind END
    OR events.payment_id <> pairings.payment_id

-- name: failed_payment_has_tag_and_case :many
-- 4: a payment that failed after its confirmation has one case, and all its events have the id of this case
--
-- The failed payment has one or more events. At most one event of the payment has no pairing. No event of the payment
-- has `recovered` set.
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

-- name: served_payment_did_not_fail :many
-- 4: if a payment has a session, each event of the payment is recovered, and no case has reason no_session
SELECT sessions.payment_id, events.id AS event_id, events.tag, cases.id AS case_id, cases.reason
FROM sessions
LEFT JOIN failed_pairing_events AS events ON events.payment_id = sessions.payment_id
LEFT JOIN review_cases AS cases ON cases.payment_id = sessions.payment_id
WHERE (events.id IS NOT NULL AND NOT events.recovered) OR cases.reason = 'no_session'

-- name: unpaid_payment_expired :many
-- 2a.4: an unconfirmed payment has one event if it expired, and no event otherwise; the event has no case
SELECT payments.id AS payment_id, payments.status, count(events.id) AS events
FROM payments
LEFT JOIN failed_pairing_events AS events ON events.payment_id = payments.id
WHERE payments.purpose = 'session' AND payments.confirmed_at IS NULL
GROUP BY payments.id
HAVING count(events.id) <> CASE payments.status WHEN 'expired' THEN 1 ELSE 0 END
    OR count(events.id) FILTER (
        WHERE events.tag <> 'payment_session_expired' OR events.recovered OR events.case_id IS NOT NULL
    ) > 0

-- name: not_delivered_has_case :many
-- X.8: a session that was cut short, left by its mitra or not answered has a case; no other session has such a case
SELECT sessions.id AS session_id, sessions.end_reason, sessions.delivery, cases.id AS case_id, cases.reason
FROM sessions
LEFT JOIN review_cases AS cases ON cases.payment_id = sessions.payment_id
WHERE CASE
    WHEN sessions.end_reason IN ('mitra_ended', 'mitra_suspended') OR sessions.delivery IN ('mitra_away', 'unanswered')
        THEN cases.id IS NULL
    ELSE cases.reason IN ('cut_short', 'mitra_away', 'unanswered')
END

-- name: delivery_as_written :many
-- X.11: an ended session is unanswered if the customer wrote and the mitra sent no message, and not otherwise
--
-- Leaves out a session that was cut short or left by its mitra, and a session that an earlier release ended.
SELECT sessions.id AS session_id, sessions.delivery, written.by_customer, written.by_mitra
FROM sessions
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'customer') AS by_customer,
        EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id AND sender = 'mitra') AS by_mitra
) AS written
WHERE sessions.delivery IN ('delivered', 'unanswered')
    AND (sessions.delivery = 'unanswered') <> (written.by_customer AND NOT written.by_mitra)

-- name: money_in_sight :many
-- 15: a charge that was taken, not delivered and not given back has a decision or an open case
--
-- An approved charge is being delivered while its payment is confirmed. An approved charge is delivered if its session
-- runs, or if the session ended by time or by the customer, and its mitra was neither away nor silent.
SELECT taken.id AS attempt_id, taken.payment_id, taken.amount_rp, taken.status, cases.status AS case_status
FROM charge_attempts AS taken
JOIN payments ON payments.id = taken.payment_id
LEFT JOIN extensions ON extensions.payment_id = payments.id
LEFT JOIN sessions ON sessions.payment_id = payments.id OR sessions.id = extensions.session_id
LEFT JOIN review_cases AS cases ON cases.payment_id = payments.id
WHERE (taken.status = 'approved_late' OR taken.status = 'approved' AND payments.status <> 'confirmed'
        AND NOT coalesce(sessions.status = 'active' OR sessions.end_reason IN ('time_up', 'customer_ended')
            AND coalesce(sessions.delivery, 'delivered') = 'delivered', false))
    AND taken.amount_rp > (
        SELECT coalesce(sum(refunds.amount_rp), 0) FROM refunds
        WHERE charge_attempt_id = taken.id AND refunds.status <> 'failed'
    )
    AND taken.decided_round IS NULL AND cases.status IS DISTINCT FROM 'open'

-- name: decision_about_this_amount :many
-- 15: each decided charge belongs to a round of its case, and the round's refund is at most the sum of its charges
SELECT taken.payment_id, taken.decided_round, rounds.decision, rounds.refund_rp, taken.amount_rp
FROM (
    SELECT payment_id, decided_round, sum(amount_rp) AS amount_rp FROM charge_attempts
    WHERE decided_round IS NOT NULL GROUP BY payment_id, decided_round
) AS taken
LEFT JOIN (
    SELECT payment_id, round, decision, refund_rp FROM review_cases WHERE status = 'decided'
    UNION ALL
    SELECT payment_id, earlier.round, earlier.decision, earlier.refund_rp
    FROM review_cases JOIN earlier_decisions AS earlier ON earlier.case_id = review_cases.id
    WHERE NOT earlier.withdrawn
) AS rounds ON rounds.payment_id = taken.payment_id AND rounds.round = taken.decided_round
WHERE rounds.decision IS NULL OR rounds.refund_rp > taken.amount_rp

-- name: decisions_refund_what_they_say :many
-- 15: the refunds of a decision that the gateway has not refused are at most the amount of the decision
SELECT refunds.payment_id, refunds.decided_round, rounds.refund_rp, sum(refunds.amount_rp) AS given_rp
FROM refunds LEFT JOIN (
    SELECT payment_id, round, refund_rp FROM review_cases WHERE NOT needs_approval OR approved_by IS NOT NULL
    UNION ALL
    SELECT payment_id, earlier.round, earlier.refund_rp
    FROM review_cases JOIN earlier_decisions AS earlier ON earlier.case_id = review_cases.id
    WHERE NOT earlier.withdrawn
) AS rounds ON rounds.payment_id = refunds.payment_id AND rounds.round = refunds.decided_round
WHERE refunds.decided_round IS NOT NULL AND refunds.status <> 'failed'
GROUP BY refunds.payment_id, refunds.decided_round, rounds.refund_rp
HAVING sum(refunds.amount_rp) > coalesce(rounds.refund_rp, 0)

-- name: decided_refund_is_requested :many
-- 15: each refund that an operator decided, and that needs no further approval, was requested in full from the gateway
--
-- The gateway can first refuse an automatic refund or the refund of an earlier decision, and later carry out this refund.
-- The server then requests only what is left.
SELECT rounds.payment_id, rounds.round, rounds.refund_rp, requested.amount_rp AS requested_rp FROM (
    SELECT payment_id, round, refund_rp FROM review_cases
    WHERE decision = 'refund' AND (NOT needs_approval OR approved_by IS NOT NULL)
    UNION ALL
    SELECT payment_id, earlier.round, earlier.refund_rp
    FROM review_cases JOIN earlier_decisions AS earlier ON earlier.case_id = review_cases.id
    WHERE earlier.decision = 'refund' AND NOT earlier.withdrawn
) AS rounds
CROSS JOIN LATERAL (
    SELECT coalesce(sum(of_charge.amount_rp), 0) AS amount_rp FROM (
        SELECT max(refunds.amount_rp) AS amount_rp
        FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
        WHERE refunds.payment_id = rounds.payment_id AND refunds.reason = 'operator_decision'
            AND coalesce(refunds.decided_round, charge_attempts.decided_round) = rounds.round
        GROUP BY refunds.charge_attempt_id
    ) AS of_charge
) AS requested
WHERE requested.amount_rp < rounds.refund_rp AND NOT EXISTS (
    SELECT 1 FROM refunds
    WHERE refunds.payment_id = rounds.payment_id AND refunds.reason = 'late_approval' AND refunds.status = 'done'
)
AND (SELECT sum(amount_rp) FROM charge_attempts WHERE payment_id = rounds.payment_id
        AND status IN ('approved', 'approved_late')) > requested.amount_rp + (
    SELECT coalesce(sum(refunds.amount_rp), 0)
    FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
    WHERE refunds.payment_id = rounds.payment_id AND refunds.status = 'done'
        AND coalesce(refunds.decided_round, charge_attempts.decided_round) IS DISTINCT FROM rounds.round
)

-- name: given_up_in_time :many
-- 2a.10: a session's payment is never confirmed later than 10 minutes after its expires_at
SELECT id AS payment_id, expires_at, confirmed_at FROM payments
WHERE purpose = 'session' AND confirmed_at > expires_at + interval '10 minutes 1 second'

-- name: silent_gateway_is_given_up :many
-- 2a.10 (quiet): no payment of a session is still confirming 10 minutes after its expires_at
SELECT id AS payment_id, expires_at FROM payments
WHERE purpose = 'session' AND status = 'confirming' AND expires_at < curhat_now() - interval '10 minutes 5 seconds'

-- name: window_not_closed_early :many
-- 5: a pairing that failed by timeout was decided at or after its deadline_at
SELECT id AS pairing_id, failure_tag, deadline_at, decided_at FROM pairings
WHERE failure_tag IN ('no_mitra_available', 'targeted_mitra_timeout') AND decided_at < deadline_at

-- name: payment_not_expired_early :many
-- 5: an expired payment was closed at or after its expires_at
SELECT id AS payment_id, expires_at, closed_at FROM payments
WHERE purpose = 'session' AND status = 'expired' AND (closed_at IS NULL OR closed_at < expires_at)

-- name: session_not_ended_early :many
-- 5: a session with the end reason time_up ended at or after its ends_at
SELECT id AS session_id, ends_at, ended_at FROM sessions
WHERE end_reason = 'time_up' AND ended_at < ends_at

-- name: accepted_in_time :many
-- 5: a matched pairing was decided, and its session started, before the deadline_at of the pairing
SELECT pairings.id AS pairing_id, pairings.deadline_at, pairings.decided_at, sessions.started_at
FROM pairings LEFT JOIN sessions ON sessions.pairing_id = pairings.id
WHERE pairings.status = 'matched'
    AND (pairings.decided_at >= pairings.deadline_at OR sessions.started_at >= pairings.deadline_at)

-- name: targeted_then_one_blast :many
-- 3.5: a payment without a chosen mitra has one blast; a payment with a chosen mitra has one targeted pairing
--
-- A payment with a chosen mitra also has one blast if the customer took the fallback. Without a taken fallback, a
-- payment with a chosen mitra has no blast.
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

-- name: only_intended_mitras_were_asked :many
-- 3.9: a targeted pairing asked only target_mitra_id, and no pairing asked its left_out_mitra_id
SELECT requests.id AS request_id, requests.mitra_id, pairings.kind
FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE pairings.left_out_mitra_id = requests.mitra_id OR pairings.target_mitra_id <> requests.mitra_id

-- name: fallback_expired_has_event :many
-- 3.8: a fallback has an event payment_session_expired if and only if it expired, and no fallback expired early
SELECT pairings.id AS pairing_id, pairings.fallback_status, pairings.fallback_answer_by, payments.closed_at, events.tag
FROM pairings
JOIN payments ON payments.id = pairings.payment_id
LEFT JOIN failed_pairing_events AS events ON events.payment_id = payments.id AND events.pairing_id IS NULL
WHERE pairings.kind = 'targeted' AND (
    coalesce(pairings.fallback_status = 'expired', false) <> (events.id IS NOT NULL)
    OR events.tag <> 'payment_session_expired'
    OR (pairings.fallback_status = 'expired' AND payments.closed_at < pairings.fallback_answer_by)
)

-- name: extension_money :many
-- 7: an extension with the status approved was charged exactly once, and no other extension was charged
--
-- No charge attempt started before the extension was decided. The status of the extension's payment matches the
-- status of the extension.
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

-- name: extension_payment_has_extension :many
-- 7: a payment has the purpose extension if and only if it belongs to an extension
SELECT payments.id AS payment_id, payments.status FROM payments
LEFT JOIN extensions ON extensions.payment_id = payments.id
WHERE (payments.purpose = 'extension') <> (extensions.id IS NOT NULL)

-- name: extension_decided_as_its_terms_say :many
-- 7: each extension was decided by its terms, and no extension with mitra_went_offline was approved
SELECT extensions.id AS extension_id, extensions.status, extensions.decided_by, extensions.default_action,
    extensions.deadline_at, extensions.decided_at
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE CASE extensions.decided_by
    WHEN 'timeout' THEN extensions.decided_at < extensions.deadline_at
        OR (extensions.charge_by IS NOT NULL) <> (extensions.default_action = 'auto_approve')
    -- One statement compares the time with the deadline, and a later statement writes decided_at (see done_in_time).
    WHEN 'mitra' THEN extensions.decided_at > extensions.deadline_at + interval '1 second'
    WHEN 'mitra_unreachable' THEN extensions.charge_by IS NOT NULL
    WHEN 'session_ended' THEN extensions.charge_by IS NOT NULL OR sessions.status <> 'ended'
    ELSE extensions.status <> 'pending'
END OR (extensions.mitra_went_offline AND extensions.charge_by IS NOT NULL)

-- name: session_lengthened_by_what_was_paid :many
-- 5.7: ends_at is started_at plus the minutes of the session and the minutes of its approved extensions
SELECT sessions.id AS session_id, sessions.started_at, sessions.ends_at, sessions.duration_minutes, added.minutes
FROM sessions
CROSS JOIN LATERAL (
    SELECT coalesce(sum(duration_minutes), 0)::integer AS minutes FROM extensions
    WHERE session_id = sessions.id AND status = 'approved'
) AS added
WHERE sessions.ends_at <> sessions.started_at + make_interval(mins => sessions.duration_minutes + added.minutes)

-- name: open_extension_holds_its_session :many
-- 5.7: sessions.open_extension_id is the id of the session's pending or charging extension, or null
SELECT sessions.id AS session_id, sessions.status, sessions.open_extension_id, extensions.id AS extension_id
FROM sessions
LEFT JOIN extensions ON extensions.session_id = sessions.id AND extensions.status IN ('pending', 'charging')
WHERE sessions.open_extension_id IS DISTINCT FROM extensions.id
    OR (sessions.status = 'ended' AND extensions.id IS NOT NULL)

-- name: extension_not_delivered_has_case :many
-- X.8: an approved extension of a session that was not delivered has a case; no other extension has such a case
SELECT extensions.id AS extension_id, extensions.status, sessions.end_reason, sessions.delivery, cases.reason
FROM extensions
JOIN sessions ON sessions.id = extensions.session_id
LEFT JOIN review_cases AS cases ON cases.payment_id = extensions.payment_id
WHERE CASE
    WHEN extensions.status = 'approved' AND (
        sessions.end_reason IN ('mitra_ended', 'mitra_suspended') OR sessions.delivery IN ('mitra_away', 'unanswered')
    ) THEN cases.id IS NULL
    ELSE cases.reason IN ('cut_short', 'mitra_away', 'unanswered', 'no_session')
END

-- name: done_in_time :many
-- 5: nobody cancels a pairing, starts a charge attempt or ends a session after its deadline
--
-- One statement compares the time with the deadline, and a later statement of the same transaction writes the time. So
-- the written time can be up to one second later than the compared time. In the tests the check is exact, because the
-- virtual clock moves in steps of more than one second.
SELECT 'pairing' AS what, id, deadline_at AS until, decided_at AS done_at FROM pairings
WHERE failure_tag = 'customer_cancelled' AND decided_at > deadline_at + interval '1 second'
UNION ALL
SELECT 'charge attempt', charge_attempts.id, payments.expires_at, charge_attempts.started_at
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE payments.purpose = 'session' AND charge_attempts.started_at > payments.expires_at + interval '1 second'
UNION ALL
SELECT 'session', id, ends_at, ended_at FROM sessions
WHERE end_reason <> 'time_up' AND ended_at > ends_at + interval '1 second'
    -- Leave out a session that ran past ends_at because an extension was open (5.7). The step that ends a session with
    -- an open extension also decides the extension.
    AND NOT EXISTS (
        SELECT 1 FROM status_changes JOIN extensions ON extensions.id = status_changes.entity_id
        WHERE extensions.session_id = sessions.id AND status_changes.new_status IN ('rejected', 'charge_failed')
            AND status_changes.changed_at >= sessions.ended_at - interval '1 second'
    )

-- name: deadline_armed :many
-- 5: each row that waits for a point in time has an armed deadline
WITH waiting AS (
    SELECT 'payment_expiry' AS kind, id FROM payments WHERE purpose = 'session' AND status = 'pending'
    UNION ALL SELECT CASE kind WHEN 'blast' THEN 'pairing_window' ELSE 'targeted_window' END, id
        FROM pairings WHERE status = 'open'
    UNION ALL SELECT 'fallback_answer', id FROM pairings WHERE fallback_status = 'open'
    -- While an extension is open, the session does not end. The step that decides the extension arms
    -- session_end (5.7).
    UNION ALL SELECT 'session_end', id FROM sessions WHERE status = 'active' AND open_extension_id IS NULL
    UNION ALL SELECT CASE status WHEN 'pending' THEN 'extension_window' ELSE 'extension_charge' END, id
        FROM extensions WHERE status IN ('pending', 'charging')
    UNION ALL SELECT 'charge_answer', id FROM charge_attempts WHERE status = 'started'
    UNION ALL SELECT 'refund_answer', id FROM refunds WHERE status = 'requested'
)
SELECT waiting.kind, waiting.id FROM waiting
LEFT JOIN deadlines ON deadlines.kind = waiting.kind AND deadlines.entity_id = waiting.id
WHERE deadlines.id IS NULL

-- name: no_deadline_parked :many
-- 5: no deadline is parked
SELECT kind, entity_id, attempts, last_error FROM deadlines WHERE parked_at IS NOT NULL

-- name: history_unbroken :many
-- 6: in status_changes, each old_status is the previous new_status; the last new_status is the row's status
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

-- name: sessions_counted :many
-- 8: mitras.active_sessions equals the number of the mitra's sessions with the status active
SELECT mitras.id AS mitra_id, mitras.active_sessions, count(sessions.id) AS running
FROM mitras LEFT JOIN sessions ON sessions.mitra_id = mitras.id AND sessions.status = 'active'
GROUP BY mitras.id HAVING mitras.active_sessions <> count(sessions.id)

-- name: capacity_never_exceeded :many
-- 8: no mitra ever had more than max_customers sessions at the same time
--
-- The limit is max_customers at the time when a session starts. A later change of max_customers ends no running
-- session.
WITH steps AS (
    SELECT mitra_id, started_at AS at, 1 AS step FROM sessions
    WHERE @people_ids::uuid[] IS NULL OR mitra_id = ANY (@people_ids)
    UNION ALL
    SELECT mitra_id, ended_at, -1 FROM sessions
    WHERE ended_at IS NOT NULL AND (@people_ids::uuid[] IS NULL OR mitra_id = ANY (@people_ids))
), running AS (
    -- If one session ends and another session starts at the same instant, count the end first.
    SELECT mitra_id, at, step,
        sum(step) OVER (PARTITION BY mitra_id ORDER BY at, step ROWS UNBOUNDED PRECEDING) AS together
    FROM steps
), changes AS MATERIALIZED (
    SELECT id, subject_id::uuid AS mitra_id, occurred_at AS at, old_value::integer AS old, new_value::integer AS new
    FROM audit_entries WHERE action = 'mitra_capacity_changed'
)
SELECT mitras.id AS mitra_id, mitras.max_customers, running.together, running.at
FROM running JOIN mitras ON mitras.id = running.mitra_id
WHERE running.step = 1 AND running.together > greatest(
    -- The limit is the old value of the first capacity change at or after the start of the session. If the capacity
    -- changed exactly at the start of the session, the limit is the larger of the old and the new value.
    coalesce(
        (SELECT old FROM changes WHERE mitra_id = mitras.id AND at >= running.at ORDER BY at, id LIMIT 1),
        mitras.max_customers
    ),
    (SELECT max(new) FROM changes WHERE mitra_id = mitras.id AND at = running.at)
)

-- name: stream_without_gaps :many
-- 10: the seq numbers of a stream's events have no gaps, and the last seq equals streams.head
SELECT stored.role, stored.user_id, streams.head, stored.first, stored.last, stored.events
FROM (
    SELECT role, user_id, min(seq) AS first, max(seq) AS last, count(*) AS events
    FROM stream_events GROUP BY role, user_id
) AS stored
LEFT JOIN streams USING (role, user_id)
WHERE streams.head IS DISTINCT FROM stored.last OR stored.events <> stored.last - stored.first + 1
    OR stored.first < 1

-- name: one_journey_at_a_time :many
-- 2a.8: a customer has at most one journey at a time, which is an open payment or an active session
SELECT customer_id, count(*) AS journeys FROM (
    SELECT customer_id FROM payments
    WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
    UNION ALL
    SELECT customer_id FROM sessions WHERE status = 'active'
) AS under_way
GROUP BY customer_id HAVING count(*) > 1

-- name: one_trial :many
-- 2a.3: a customer has at most one trial session
SELECT customer_id, count(*) AS trials FROM sessions WHERE is_trial GROUP BY customer_id HAVING count(*) > 1

-- name: trial_used_up :many
-- 2a.9: a customer confirms no trial after cancelling a trial's search, and at most three trials in 24 hours
SELECT later.customer_id, later.id AS payment_id FROM payments AS later
WHERE later.is_trial AND later.confirmed_at IS NOT NULL AND (
    EXISTS (
        SELECT 1 FROM payments AS earlier JOIN pairings ON pairings.payment_id = earlier.id
        WHERE earlier.customer_id = later.customer_id AND earlier.is_trial AND earlier.id < later.id
            AND pairings.failure_tag = 'customer_cancelled'
    )
    OR 3 < (
        SELECT count(*) FROM payments AS tried
        WHERE tried.customer_id = later.customer_id AND tried.is_trial AND tried.id <= later.id
            AND tried.confirmed_at > later.confirmed_at - interval '24 hours'
    )
)

-- name: openings_within_limits :many
-- X.13: a customer opens at most 10 payments for sessions in 10 minutes, and at most 30 for extensions in an hour
SELECT customer_id, id AS payment_id, purpose FROM (
    SELECT customer_id, id, purpose, created_at - lag(created_at, CASE purpose WHEN 'session' THEN 10 ELSE 30 END)
        OVER (PARTITION BY customer_id, purpose ORDER BY id) AS since
    FROM payments
) AS opened
WHERE since >= interval '0' AND since < CASE purpose WHEN 'session' THEN interval '10 minutes' ELSE interval '1 hour' END

-- name: not_with_oneself :many
-- 2b.6: no request and no session has the same person as its customer and as its mitra
SELECT requests.id AS request_id, NULL::uuid AS session_id, requests.mitra_id
FROM requests JOIN pairings ON pairings.id = requests.pairing_id AND pairings.customer_id = requests.mitra_id
UNION ALL
SELECT NULL, id, mitra_id FROM sessions WHERE customer_id = mitra_id

-- name: message_within_session :many
-- X.8: each message was sent between the start and the end of its session
SELECT messages.id AS message_id, messages.sent_at, sessions.started_at, sessions.ends_at, sessions.ended_at
FROM messages JOIN sessions ON sessions.id = messages.session_id
WHERE messages.sent_at < sessions.started_at OR messages.sent_at > sessions.ended_at
    -- A message after ends_at is valid if an extension delayed the end when the message was sent (5.7).
    OR (messages.sent_at >= sessions.ends_at AND NOT EXISTS (
        SELECT 1 FROM extensions
        WHERE extensions.session_id = sessions.id AND extensions.requested_at <= messages.sent_at
            AND messages.sent_at <= coalesce((
                SELECT max(changed_at) FROM status_changes
                WHERE entity_id = extensions.id AND new_status IN ('rejected', 'charge_failed')
            ), 'infinity')
    ))

-- name: gateway_books_agree :many
-- 2 (quiet): for each payment, the gateway and our tables have the same total of charges minus refunds
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

-- name: nothing_in_flight :many
-- 4 (quiet): no payment, extension, pairing, session, charge attempt or refund is in flight
SELECT 'payment' AS what, id, status FROM payments
WHERE status IN ('pending', 'confirming', 'confirmed') AND (@people_ids::uuid[] IS NULL OR customer_id = ANY (@people_ids))
UNION ALL
SELECT 'extension', extensions.id, extensions.status
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.status IN ('pending', 'charging') AND (@people_ids::uuid[] IS NULL OR sessions.customer_id = ANY (@people_ids))
UNION ALL
SELECT 'pairing', id, status FROM pairings
WHERE status = 'open' AND (@people_ids::uuid[] IS NULL OR customer_id = ANY (@people_ids))
UNION ALL
SELECT 'session', id, status FROM sessions
WHERE status = 'active' AND (@people_ids::uuid[] IS NULL OR customer_id = ANY (@people_ids) OR mitra_id = ANY (@people_ids))
UNION ALL
SELECT 'charge', charge_attempts.id, charge_attempts.status
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE charge_attempts.status = 'started' AND (@people_ids::uuid[] IS NULL OR payments.customer_id = ANY (@people_ids))
UNION ALL
SELECT 'refund', refunds.id, refunds.status
FROM refunds JOIN payments ON payments.id = refunds.payment_id
WHERE refunds.status = 'requested' AND (@people_ids::uuid[] IS NULL OR payments.customer_id = ANY (@people_ids))

-- name: no_deadline_overdue :many
-- 5 (quiet): no armed deadline is more than 5 seconds overdue
SELECT kind, entity_id, due_at, attempts, last_error FROM deadlines
WHERE parked_at IS NULL AND due_at < curhat_now() - interval '5 seconds'

-- name: fallback_leaves_out :many
-- 3.9: a fallback never asked the mitra who rejected the targeted request or let it time out
--
-- The query compares the mitras of the requests. The query does not read the column left_out_mitra_id.
SELECT requests.id AS request_id, requests.mitra_id, failed.failure_tag
FROM pairings AS failed
JOIN pairings AS blast ON blast.payment_id = failed.payment_id AND blast.kind = 'blast'
JOIN requests ON requests.pairing_id = blast.id AND requests.mitra_id = failed.target_mitra_id
WHERE failed.failure_tag IN ('targeted_mitra_rejected', 'targeted_mitra_timeout')

-- name: lost_mitra_is_not_waited_for :many
-- 4.4: no targeted pairing and no pending extension waits for a mitra who went offline
--
-- When a mitra goes offline, the server arms a deadline that is due now. This deadline ends the mitra's
-- targeted pairing or pending extension.
WITH lost AS (
    SELECT 'targeted_lost' AS kind, pairings.id
    FROM pairings JOIN requests ON requests.pairing_id = pairings.id
    WHERE pairings.status = 'open' AND pairings.kind = 'targeted' AND requests.status = 'closed'
    UNION ALL SELECT 'extension_lost', id FROM extensions WHERE status = 'pending' AND mitra_went_offline
)
SELECT lost.kind, lost.id FROM lost
LEFT JOIN deadlines ON deadlines.kind = lost.kind AND deadlines.entity_id = lost.id
WHERE deadlines.id IS NULL

-- name: answered_in_time :many
-- 5: after its deadline, a fallback gets no answer and an extension's charge is not approved
--
-- One statement compares the time with the deadline, and a later statement writes the time (see done_in_time).
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

-- name: charge_not_given_up_early :many
-- 5: before charge_by, an extension becomes charge_failed only after a decline or the session's end
--
-- A late approval can replace the status 'declined' of the charge attempt.
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

-- name: gateway_has_only_recorded_calls :many
-- 2: each charge and refund of the gateway is in our tables with the same key, payment and amount
--
-- The server records each charge and each refund, with its key for the gateway, before it calls the gateway.
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

-- name: blocked_are_not_together :many
-- 13: two people of whom one has blocked the other have no open card and no running session together
SELECT blocks.customer_id, blocks.mitra_id, blocks.blocked_by, requests.id AS request_id, NULL::uuid AS session_id
FROM blocks
JOIN pairings ON pairings.customer_id = blocks.customer_id AND pairings.status = 'open'
JOIN requests ON requests.pairing_id = pairings.id AND requests.mitra_id = blocks.mitra_id
    AND requests.status = 'offered'
UNION ALL
SELECT blocks.customer_id, blocks.mitra_id, blocks.blocked_by, NULL, sessions.id
FROM blocks
JOIN sessions ON sessions.customer_id = blocks.customer_id AND sessions.mitra_id = blocks.mitra_id
    AND sessions.status = 'active'

-- name: no_session_after_a_block :many
-- 13: no session of two people began after one of them has blocked the other
--
-- A person can block only after a session of the two has ended, or while the same transaction ends it. So even a session
-- that the block waited for began before the block.
SELECT sessions.id AS session_id, sessions.started_at, blocks.created_at AS blocked_at, blocks.blocked_by
FROM blocks
JOIN sessions ON sessions.customer_id = blocks.customer_id AND sessions.mitra_id = blocks.mitra_id
WHERE sessions.started_at > blocks.created_at

-- name: suspended_customers_pay_nothing :many
-- T.3: no payment of a session is charged or confirmed after its customer was suspended, until the suspension is over
--
-- A customer whose suspension was lifted has no times any more, and is not checked.
SELECT payments.id AS payment_id, customers.suspended_at, customers.suspended_until
FROM customers JOIN payments ON payments.customer_id = customers.id AND payments.purpose = 'session'
WHERE customers.suspended_at IS NOT NULL AND (
    EXISTS (
        SELECT 1 FROM charge_attempts
        WHERE charge_attempts.payment_id = payments.id AND charge_attempts.started_at > customers.suspended_at
            AND (customers.suspended_until IS NULL OR charge_attempts.started_at < customers.suspended_until)
    )
    OR payments.amount_rp = 0 AND payments.confirmed_at > customers.suspended_at
        AND (customers.suspended_until IS NULL OR payments.confirmed_at < customers.suspended_until)
)

-- name: held_text_stays :many
-- 14: the text of a held session is not deleted
SELECT sessions.id AS session_id, sessions.text_deleted_at
FROM held_sessions JOIN sessions ON sessions.id = held_sessions.session_id
WHERE sessions.text_deleted_at IS NOT NULL

-- name: marked_messages_stay :many
-- 14: while a report holds a session's text, the marked messages exist
SELECT reports.id AS report_id, reports.session_id
FROM reports
WHERE session_id IN (SELECT session_id FROM held_sessions) AND cardinality(message_ids) > (
    SELECT count(*) FROM messages WHERE messages.id = ANY (reports.message_ids)
)

-- name: deleted_text_is_gone :many
-- 14: a session whose text is deleted has no message
SELECT sessions.id AS session_id, sessions.text_deleted_at
FROM sessions
WHERE text_deleted_at IS NOT NULL AND EXISTS (SELECT 1 FROM messages WHERE messages.session_id = sessions.id)

-- name: overdue_text_goes :many
-- 14 (quiet): no text is an hour over its time
SELECT id AS session_id, ended_at, text_hidden_at
FROM sessions
WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL
    AND curhat_now() - interval '1 hour' > CASE WHEN text_hidden_at IS NULL THEN ended_at + interval '12 months'
        ELSE greatest(text_hidden_at, ended_at + interval '72 hours') END
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = sessions.id)
