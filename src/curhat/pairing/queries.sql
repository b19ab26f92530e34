-- name: open_blast
-- nothing → open, with its window armed and a request for each candidate who is online by intent, below capacity,
-- not the customer and not left out: $1 payment, $2 window in seconds, $3 candidates' ids, $4 the
-- request's id for the log, $5 who is left out (a fallback), or null.
WITH pairing AS (
    INSERT INTO pairings (payment_id, customer_id, kind, deadline_at, left_out_mitra_id)
    SELECT id, customer_id, 'blast', curhat_now() + make_interval(secs => $2), $5::uuid
    FROM payments WHERE id = $1
    RETURNING id, customer_id, deadline_at, left_out_mitra_id
), window_armed AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'pairing_window', id, deadline_at, $4 FROM pairing
), asked AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT pairing.id, mitras.id,
        EXISTS (SELECT 1 FROM sessions WHERE customer_id = pairing.customer_id AND mitra_id = mitras.id)
    FROM pairing, mitras
    WHERE mitras.id = ANY($3::uuid[]) AND mitras.online AND mitras.suspended_at IS NULL
        AND mitras.active_sessions < mitras.max_customers AND mitras.id <> pairing.customer_id
        AND mitras.id IS DISTINCT FROM pairing.left_out_mitra_id
    RETURNING mitra_id
)
SELECT pairing.id, ARRAY(SELECT mitra_id FROM asked) AS asked FROM pairing

-- name: open_targeted
-- nothing → open, with its window armed and a request for the chosen mitra if it can take it: $1 payment, $2 window
-- in seconds, $3 mitra, $4 the request's id for the log, $5 whether the mitra can be reached. The mitra's row is held,
-- so that the toggle or an accept comes before this and is seen, or after it and finds the request.
WITH mitra AS MATERIALIZED (
    SELECT id, online AND suspended_at IS NULL AND active_sessions < max_customers AND $5 AS can_take_it
    FROM mitras WHERE id = $3
    FOR SHARE
), pairing AS (
    INSERT INTO pairings (payment_id, customer_id, kind, target_mitra_id, deadline_at)
    SELECT payments.id, payments.customer_id, 'targeted', mitra.id, curhat_now() + make_interval(secs => $2)
    FROM payments, mitra WHERE payments.id = $1
    RETURNING id, customer_id, deadline_at
), window_armed AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'targeted_window', pairing.id, deadline_at, $4 FROM pairing, mitra WHERE mitra.can_take_it
), asked AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT pairing.id, mitra.id, true FROM pairing, mitra WHERE mitra.can_take_it
    RETURNING mitra_id
)
SELECT pairing.id, ARRAY(SELECT mitra_id FROM asked) AS asked FROM pairing

-- name: blasts_to_offer
-- Open blasts that one of the mitras $1 has not been offered, or may be offered again. No locks.
SELECT DISTINCT pairings.id
FROM pairings
CROSS JOIN mitras
LEFT JOIN requests ON requests.pairing_id = pairings.id AND requests.mitra_id = mitras.id
WHERE pairings.status = 'open' AND pairings.kind = 'blast' AND pairings.deadline_at > curhat_now()
    AND mitras.id = ANY($1::uuid[]) AND mitras.online AND mitras.suspended_at IS NULL
    AND mitras.active_sessions < mitras.max_customers AND mitras.id <> pairings.customer_id
    AND mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
    AND (requests.id IS NULL OR requests.close_reason IN ('went_offline', 'at_capacity'))
ORDER BY pairings.id
LIMIT 100

-- name: share_open_pairing
-- A row means that the pairing is open, and stays so for this transaction. No row: decided, or somebody decides
-- right now and is not waited for; the next look, within seconds, offers what is still open then.
WITH locked AS MATERIALIZED (SELECT * FROM pairings WHERE id = $1 FOR SHARE SKIP LOCKED)
SELECT id FROM locked WHERE status = 'open' AND deadline_at > curhat_now()

-- name: offer
-- nothing, or closed because offline or full → offered: pairing $1, to the mitras $2.
INSERT INTO requests (pairing_id, mitra_id, is_returning)
SELECT pairings.id, mitras.id,
    EXISTS (SELECT 1 FROM sessions WHERE customer_id = pairings.customer_id AND mitra_id = mitras.id)
FROM pairings, mitras
WHERE pairings.id = $1 AND mitras.id = ANY($2::uuid[]) AND mitras.online AND mitras.suspended_at IS NULL
    AND mitras.active_sessions < mitras.max_customers AND mitras.id <> pairings.customer_id
    AND mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
ORDER BY mitras.id
ON CONFLICT (pairing_id, mitra_id) DO UPDATE
SET status = 'offered', close_reason = NULL, offered_at = curhat_now()
WHERE requests.status = 'closed' AND requests.close_reason IN ('went_offline', 'at_capacity')
RETURNING mitra_id

-- name: payment_of_pairing
SELECT payment_id FROM pairings WHERE id = $1

-- name: payment_of_request
SELECT pairings.payment_id, requests.pairing_id
FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE requests.id = $1 AND requests.mitra_id = $2

-- name: lock
-- Takes the pairing's lock, then reads; `is_over` compares after the lock is held.
WITH locked AS MATERIALIZED (SELECT * FROM pairings WHERE id = $1 FOR NO KEY UPDATE)
SELECT locked.id, locked.payment_id, locked.customer_id, locked.kind, locked.status, locked.deadline_at,
    locked.deadline_at <= curhat_now() AS is_over, locked.target_mitra_id, locked.failure_tag,
    locked.fallback_status, locked.fallback_answer_by, locked.fallback_answer_by <= curhat_now() AS answer_is_late,
    (SELECT id FROM sessions WHERE pairing_id = locked.id) AS session_id
FROM locked

-- name: reject
-- offered → rejected. No row: it was not offered any more.
UPDATE requests SET status = 'rejected', answered_at = curhat_now()
WHERE id = $1 AND status = 'offered'
RETURNING id

-- name: request_status
SELECT status, close_reason FROM requests WHERE id = $1

-- name: lock_windows
-- Takes the locks of the pairings $1: all their payments' first, then their own, each in id order. Then reads; a row
-- for each that is open, `is_over` compares after all locks are held.
WITH payment AS MATERIALIZED (
    SELECT id FROM payments WHERE id = ANY (ARRAY(SELECT payment_id FROM pairings WHERE id = ANY ($1::uuid[])))
    ORDER BY id
    FOR NO KEY UPDATE
), locked AS MATERIALIZED (
    SELECT id, payment_id, kind, target_mitra_id, status, deadline_at FROM pairings
    WHERE id = ANY ($1) AND payment_id = ANY (ARRAY(SELECT id FROM payment))
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, count(*) AS locks FROM locked
)
SELECT locked.id, locked.payment_id, locked.kind, locked.target_mitra_id, locked.deadline_at,
    locked.deadline_at <= moment.now AS is_over
FROM locked, moment
WHERE locked.status = 'open'

-- name: count_answers
-- How many the pairings $1 asked, and how many of them rejected; no row for one that asked nobody.
SELECT pairing_id, count(*) AS asked, count(*) FILTER (WHERE status = 'rejected') AS rejected
FROM requests WHERE pairing_id = ANY ($1::uuid[])
GROUP BY pairing_id

-- name: not_yet_asked
-- Those among the mitras $2 who could take the pairing $1 and have not been asked.
SELECT EXISTS (
    SELECT 1 FROM mitras, pairings
    WHERE pairings.id = $1 AND mitras.id = ANY($2::uuid[]) AND mitras.online AND mitras.suspended_at IS NULL
        AND mitras.active_sessions < mitras.max_customers AND mitras.id <> pairings.customer_id
        AND mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
        AND NOT EXISTS (SELECT 1 FROM requests WHERE pairing_id = pairings.id AND mitra_id = mitras.id)
)

-- name: fail
-- open → failed for good: the pairings $1, each with its tag of $2.
UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now()
FROM unnest($1::uuid[], $2::text[]) AS failure (id, tag)
WHERE pairings.id = failure.id

-- name: fail_with_fallback
-- open → failed, the pairings $1, each with its tag of $2; their customers have $3 minutes to say whether another mitra
-- will do, and that is armed.
WITH failed AS (
    UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now(),
        fallback_status = 'open', fallback_answer_by = curhat_now() + make_interval(mins => $3)
    FROM unnest($1::uuid[], $2::text[]) AS failure (pairing_id, tag)
    WHERE id = failure.pairing_id
    RETURNING id, fallback_answer_by
)
INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
SELECT 'fallback_answer', id, fallback_answer_by, $4 FROM failed

-- name: decide_fallback
-- open → taken, declined or expired ($2).
UPDATE pairings SET fallback_status = $2 WHERE id = $1

-- name: withdrawn_from
-- Of the targeted pairings $1 those whose mitra went away while it was asked: its card closed, and not by its answer.
SELECT pairing_id FROM requests
WHERE pairing_id = ANY ($1::uuid[]) AND close_reason IN ('went_offline', 'at_capacity', 'suspended')

-- name: targets
-- Whom the targeted pairings $1 ask, and for whom.
SELECT id, target_mitra_id, customer_id FROM pairings WHERE id = ANY ($1::uuid[])

-- name: close_requests
-- offered → closed: all requests of the pairings $1, each for its reason of $2.
WITH failure AS (
    SELECT * FROM unnest($1::uuid[], $2::text[]) AS failure (pairing_id, reason)
), locked AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE pairing_id = ANY ($1) AND status = 'offered'
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE requests SET status = 'closed', close_reason = failure.reason, answered_at = curhat_now()
FROM locked JOIN failure USING (pairing_id)
WHERE requests.id = locked.id
RETURNING requests.mitra_id

-- name: withdraw
-- offered → closed for the reason $2: all requests of a mitra. Gives their pairings.
WITH locked AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE mitra_id = $1 AND status = 'offered' ORDER BY id FOR NO KEY UPDATE
), closed AS (
    UPDATE requests SET status = 'closed', close_reason = $2, answered_at = curhat_now()
    FROM locked WHERE requests.id = locked.id AND requests.status = 'offered'
    RETURNING requests.pairing_id
)
SELECT pairings.id, pairings.kind FROM closed JOIN pairings ON pairings.id = closed.pairing_id

-- name: log_failures
-- One event an attempt that failed: $1 payments, $2 pairings, $3 tags, $4 kinds, $5 the mitras of targeted ones.
INSERT INTO failed_pairing_events (payment_id, pairing_id, tag, kind, mitra_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[])

-- name: point_at_cases
-- All events of the payments $1 point to the one case of their payment.
UPDATE failed_pairing_events SET case_id = review_cases.id
FROM review_cases
WHERE failed_pairing_events.payment_id = ANY ($1::uuid[])
    AND review_cases.payment_id = failed_pairing_events.payment_id

-- name: log_expired_payments
-- One event for each of the payments $1, which has no case.
INSERT INTO failed_pairing_events (payment_id, tag) SELECT unnest($1::uuid[]), 'payment_session_expired'

-- name: payment_view
-- Payments as their customers see them, with their latest pairing; columns of the pairing begin with pairing_. Latest
-- is the blast, which a targeted pairing may come before and nothing after: ids say so only while the clock goes on.
SELECT payments.id, payments.customer_id, payments.purpose, payments.status, payments.offer_id,
    payments.duration_minutes, payments.amount_rp, payments.is_trial, payments.created_at, payments.expires_at,
    payments.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    sessions.id AS session_id, curhat_now() AS server_now
FROM payments
LEFT JOIN mitras ON mitras.id = payments.target_mitra_id
LEFT JOIN LATERAL (
    SELECT * FROM pairings WHERE payment_id = payments.id ORDER BY kind = 'blast' DESC LIMIT 1
) AS pairing ON true
LEFT JOIN sessions ON sessions.pairing_id = pairing.id
WHERE payments.id = ANY ($1::uuid[])

-- name: pairing_view
SELECT pairings.id, pairings.payment_id, pairings.customer_id, pairings.kind, pairings.status,
    pairings.deadline_at, pairings.failure_tag, pairings.fallback_status, pairings.fallback_answer_by,
    sessions.id AS session_id, curhat_now() AS server_now
FROM pairings LEFT JOIN sessions ON sessions.pairing_id = pairings.id
WHERE pairings.id = $1

-- name: current_payment
-- What a customer comes back to: the open payment, or the latest one if it was taken and got no session.
SELECT coalesce(
    (
        SELECT id FROM payments
        WHERE customer_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
    ),
    (
        SELECT CASE WHEN status = 'unserved' THEN id END FROM payments
        WHERE customer_id = $1 AND purpose = 'session' ORDER BY id DESC LIMIT 1
    )
)

-- name: open_requests
-- The cards the mitras $1 see now: offered, the pairing open and in time, the mitra online and below capacity.
-- What is open is always little, whatever the history: it comes first, through its partial indexes.
WITH searching AS MATERIALIZED (
    SELECT pairings.id, pairings.kind, pairings.deadline_at, customers.call_name, payments.duration_minutes
    FROM pairings
    JOIN payments ON payments.id = pairings.payment_id
    JOIN customers ON customers.id = pairings.customer_id
    WHERE pairings.status = 'open' AND pairings.deadline_at > (SELECT curhat_now())
), able AS MATERIALIZED (
    SELECT id FROM mitras
    WHERE id = ANY($1::uuid[]) AND online AND suspended_at IS NULL AND active_sessions < max_customers
), offered AS MATERIALIZED (
    SELECT id, pairing_id, mitra_id, is_returning FROM requests
    WHERE mitra_id = ANY(ARRAY(SELECT id FROM able)) AND status = 'offered'
)
SELECT offered.id, offered.mitra_id, searching.kind, searching.call_name, offered.is_returning,
    searching.duration_minutes, searching.deadline_at, curhat_now() AS server_now
FROM offered
JOIN searching ON searching.id = offered.pairing_id
ORDER BY offered.mitra_id, offered.id

-- name: closed_requests
-- Why the requests $1 are not open any more.
SELECT requests.id, requests.mitra_id, requests.status, requests.close_reason, pairings.kind,
    pairings.status AS pairing_status, pairings.failure_tag, customers.call_name, requests.is_returning,
    payments.duration_minutes, pairings.deadline_at, curhat_now() AS server_now,
    NOT mitras.online AS offline, mitras.suspended_at IS NOT NULL AS suspended,
    mitras.active_sessions >= mitras.max_customers AS full
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN customers ON customers.id = pairings.customer_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.id = ANY($1::uuid[])
