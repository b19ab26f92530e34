-- name: running_session
SELECT id FROM sessions WHERE customer_id = $1 AND status = 'active'

-- name: refuse_if_decided
-- Request $1 of mitra $2, unless this mitra has won: whether its pairing is `open`, or decided, which stays so for ever.
-- When another mitra has won: nothing → answered with that refusal ($5 status, $6 body) under the idempotency key $3
-- (with the fingerprint $4), unless that key has an answer.
WITH asked AS MATERIALIZED (
    SELECT requests.pairing_id, requests.close_reason,
        CASE pairings.status
            WHEN 'open' THEN 'open'
            WHEN 'matched' THEN 'already_taken'
            ELSE 'request_closed'
        END AS outcome
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE requests.id = $1 AND requests.mitra_id = $2 AND requests.status <> 'accepted'
), stored AS (
    INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
    SELECT 'mitra', $2, $3, $4, $5, $6 FROM asked WHERE outcome = 'already_taken'
    ON CONFLICT (role, user_id, key) DO NOTHING
    RETURNING 1
)
SELECT asked.*, EXISTS (SELECT 1 FROM stored) AS is_stored FROM asked

-- name: accept_and_start
-- The contested step (2b.5): request $1 of mitra $2, offered → accepted; pairing open → matched; payment
-- confirmed → served; the session begins, with its end armed; the other cards close. The mitra's place is taken by the
-- next statement (lock_mitras in presence says why). Every condition is compared after the locks are held: payment, pairing, mitra, request, in this order.
-- $3 is the request's id for the log; $4 the lock of its idempotency key, if it has one. `outcome` is `in_progress`
-- when another request holds that lock, `won`, or why not, in the order in which the contract checks.
WITH key AS MATERIALIZED (
    SELECT coalesce(pg_try_advisory_xact_lock($4), true) AS is_free
), asked AS MATERIALIZED (
    SELECT requests.pairing_id, pairings.payment_id, pairings.status AS pairing_status
    FROM key, requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE key.is_free AND requests.id = $1 AND requests.mitra_id = $2
), payment AS MATERIALIZED (
    -- A pairing seen decided is decided for ever: its losers need no lock.
    SELECT payments.* FROM payments JOIN asked ON payments.id = asked.payment_id
    WHERE asked.pairing_status = 'open'
    FOR NO KEY UPDATE OF payments
), pairing AS MATERIALIZED (
    SELECT pairings.* FROM pairings JOIN payment ON pairings.payment_id = payment.id
    JOIN asked ON asked.pairing_id = pairings.id
    FOR NO KEY UPDATE OF pairings
), mitra AS MATERIALIZED (
    SELECT mitras.* FROM mitras JOIN pairing ON mitras.id = $2
    FOR NO KEY UPDATE OF mitras
), request AS MATERIALIZED (
    SELECT requests.* FROM requests JOIN mitra ON requests.id = $1
    FOR NO KEY UPDATE OF requests
), moment AS MATERIALIZED (
    -- Read once all locks are held: a clock read while waiting for one would let a deadline be won late.
    SELECT curhat_now() AS now FROM request
), won AS MATERIALIZED (
    SELECT pairing.id AS pairing_id, pairing.customer_id, payment.id AS payment_id, payment.offer_id,
        payment.duration_minutes, payment.amount_rp, payment.is_trial, payment.created_at, payment.expires_at,
        payment.target_mitra_id, pairing.kind, pairing.deadline_at,
        pairing.created_at AS pairing_created_at, mitra.display_name,
        mitra.active_sessions + 1 >= mitra.max_customers AS fills_up, moment.now
    FROM payment, pairing, mitra, request, moment
    WHERE pairing.status = 'open' AND request.status = 'offered' AND pairing.deadline_at > moment.now
        AND mitra.online AND mitra.suspended_at IS NULL AND mitra.active_sessions < mitra.max_customers
), customer AS MATERIALIZED (
    -- The name as it is now, and no other until this is committed: whoever changes it then finds the session.
    SELECT customers.call_name FROM customers JOIN won ON customers.id = won.customer_id FOR SHARE OF customers
), accepted AS (
    -- A check looks at the new row as made from the one this statement saw first: that may be closed, when it was offered
    -- again while a lock was waited for.
    UPDATE requests SET status = 'accepted', close_reason = NULL, answered_at = won.now FROM won WHERE requests.id = $1
), matched AS (
    UPDATE pairings SET status = 'matched', decided_at = won.now FROM won WHERE pairings.id = won.pairing_id
), served AS (
    UPDATE payments SET status = 'served', closed_at = won.now FROM won WHERE payments.id = won.payment_id
), started AS (
    INSERT INTO sessions
        (payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, started_at, ends_at)
    SELECT payment_id, pairing_id, customer_id, $2, duration_minutes, is_trial, now,
        now + make_interval(mins => duration_minutes)
    FROM won
    RETURNING id, started_at, ends_at
), end_armed AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id) SELECT 'session_end', id, ends_at, $3 FROM started
), window_disarmed AS (
    DELETE FROM deadlines WHERE id IN (
        SELECT deadlines.id FROM deadlines JOIN won ON deadlines.entity_id = won.pairing_id
        WHERE deadlines.kind = 'pairing_window'
        FOR UPDATE OF deadlines SKIP LOCKED
    )
), others AS MATERIALIZED (
    SELECT requests.id, requests.mitra_id, requests.pairing_id, requests.pairing_id = won.pairing_id AS same_pairing
    FROM requests JOIN won ON requests.pairing_id = won.pairing_id OR (won.fills_up AND requests.mitra_id = $2)
    WHERE requests.status = 'offered' AND requests.id <> $1
    ORDER BY requests.id
    FOR NO KEY UPDATE OF requests
), closed AS (
    UPDATE requests
    SET status = 'closed', answered_at = moment.now,
        close_reason = CASE WHEN others.same_pairing THEN 'already_taken' ELSE 'at_capacity' END
    FROM others, moment WHERE requests.id = others.id AND requests.status = 'offered'
), lost AS (
    -- Whoever asked this very mitra is not kept waiting for one that is full (4.4).
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'targeted_lost', pairings.id, moment.now, $3
    FROM others JOIN pairings ON pairings.id = others.pairing_id, moment
    WHERE NOT others.same_pairing AND pairings.kind = 'targeted'
    ON CONFLICT (kind, entity_id, generation) DO NOTHING
    RETURNING entity_id
), recovered AS (
    -- The fallback found somebody: what failed before it needs no review (3.8).
    UPDATE failed_pairing_events SET recovered = true
    FROM won WHERE failed_pairing_events.payment_id = won.payment_id AND won.kind = 'blast'
)
SELECT
    CASE
        WHEN NOT key.is_free THEN 'in_progress'
        WHEN won.pairing_id IS NOT NULL THEN 'won'
        WHEN coalesce(request.status, asked_request.status) = 'accepted' THEN 'won_before'
        WHEN coalesce(pairing.status, asked.pairing_status) = 'matched' THEN 'already_taken'
        WHEN pairing.id IS NULL OR pairing.status <> 'open' OR request.status <> 'offered'
            OR pairing.deadline_at <= moment.now THEN 'request_closed'
        WHEN NOT mitra.online OR mitra.suspended_at IS NOT NULL THEN 'mitra_offline'
        ELSE 'at_capacity'
    END AS outcome,
    asked.pairing_id AS asked_pairing_id, coalesce(request.close_reason, asked_request.close_reason) AS close_reason,
    won.*, started.id AS session_id, started.started_at, started.ends_at, customer.call_name,
    target.display_name AS target_display_name,
    ARRAY(SELECT DISTINCT mitra_id FROM others) AS closed_for, EXISTS (SELECT 1 FROM lost) AS lost_targeted
FROM key
LEFT JOIN asked ON true
LEFT JOIN requests AS asked_request ON asked_request.id = $1
LEFT JOIN pairing ON true
LEFT JOIN mitra ON true
LEFT JOIN request ON true
LEFT JOIN moment ON true
LEFT JOIN won ON true
LEFT JOIN started ON true
LEFT JOIN customer ON true
LEFT JOIN mitras AS target ON target.id = won.target_mitra_id
WHERE NOT key.is_free OR asked.pairing_id IS NOT NULL

-- name: had_a_session
-- Whether customer $1 ever had a session with mitra $2.
SELECT EXISTS (SELECT 1 FROM sessions WHERE customer_id = $1 AND mitra_id = $2)

-- name: searching_until
-- Until when pairing $1 asks mitras; no row: it does not any more.
SELECT deadline_at FROM pairings WHERE id = $1 AND status = 'open' AND deadline_at > curhat_now()

-- name: requests_to_push
-- The requests of pairing $1 whose mitras could take them and can be pushed to, and were not yet.
SELECT requests.id, requests.mitra_id, requests.offered_at, pairings.deadline_at
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.pairing_id = $1 AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()
    AND mitras.push_ready AND mitras.online AND mitras.suspended_at IS NULL
    AND mitras.active_sessions < mitras.max_customers
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'request_offered' AND push_messages.subject_id = requests.id
        WHERE push_subscriptions.user_id = requests.mitra_id AND push_subscriptions.role = 'mitra'
            AND push_messages.reason_at >= requests.offered_at
    )

-- name: match_to_push
-- The session $1, if it began within $2 seconds, runs, and its customer was not told of it by push.
SELECT id, customer_id, started_at, ends_at FROM sessions
WHERE id = $1 AND status = 'active' AND ends_at > curhat_now()
    AND started_at > curhat_now() - make_interval(secs => $2)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'matched' AND push_messages.subject_id = sessions.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: message_to_push
-- The newest message of the mitra in session $1 that the customer has not read, if it was sent within $2 seconds and
-- not pushed. It is worth a push while the session lasts, and for a minute at least.
SELECT newest.id, newest.sent_at, sessions.customer_id,
    greatest(sessions.ends_at, newest.sent_at + interval '1 minute') AS expires_at
FROM sessions
JOIN LATERAL (
    SELECT id, sent_at FROM messages
    WHERE session_id = sessions.id AND sender = 'mitra' AND read_at IS NULL
    ORDER BY id DESC LIMIT 1
) AS newest ON newest.sent_at > curhat_now() - make_interval(secs => $2)
WHERE sessions.id = $1
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'message' AND push_messages.subject_id = newest.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: requests_still_open
-- Which of the requests $1 can still be accepted.
SELECT requests.id FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE requests.id = ANY ($1::uuid[]) AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()

-- name: sessions_still_running
-- Which of the sessions $1 run.
SELECT id FROM sessions WHERE id = ANY ($1::uuid[]) AND status = 'active' AND ends_at > curhat_now()

-- name: messages_still_unread
-- Which of the messages $1 were not read.
SELECT id FROM messages WHERE id = ANY ($1::uuid[]) AND read_at IS NULL

-- name: session_of_pairing
SELECT id FROM sessions WHERE pairing_id = $1

-- name: running_sessions_of_mitra
SELECT id FROM sessions WHERE mitra_id = $1 AND status = 'active' ORDER BY id

-- name: people_of_payment
-- Whose payment $1 is, and for whom; neither changes.
SELECT customer_id, target_mitra_id FROM payments WHERE id = $1

-- name: open_payments_for_mitra
-- The payments under way whose customers chose mitra $1.
SELECT id FROM payments
WHERE target_mitra_id = $1 AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
