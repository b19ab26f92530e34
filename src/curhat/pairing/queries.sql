-- type: kind = PairingKind from curhat.pairing.states
-- type: pairing_kind = PairingKind from curhat.pairing.states
-- type: status = PairingStatus from curhat.pairing.states
-- type: pairing_status = PairingStatus from curhat.pairing.states
-- type: failure_tag = FailureTag from curhat.pairing.states
-- type: failure_tags = FailureTag from curhat.pairing.states
-- type: pairing_failure_tag = FailureTag from curhat.pairing.states
-- type: fallback_status = FallbackStatus from curhat.pairing.states
-- type: request_status = RequestStatus from curhat.pairing.states
-- type: close_reason = CloseReason from curhat.pairing.states
-- type: close_reasons = CloseReason from curhat.pairing.states
-- type: payment_status = PaymentStatus from curhat.payments.states
-- type: purpose = Purpose from curhat.pricing.schemas

-- name: open_blast :one
-- Open a blast (nothing → open). Arms the deadline of the window and the deadline of the next wave. Inserts a request for
-- each mitra of the first wave: at most @wave_size candidates who can take a customer, those first who have waited
-- longest without a session. The blast never asks the customer, @left_out_mitra_id, or a mitra of a block with the
-- customer (T.1). The caller holds the payment's lock, so this statement sees every block that is committed.
-- `asked` holds the ids of the mitras who were asked.
-- nullable: @correlation_id, @left_out_mitra_id
-- row: OpenedPairing
WITH payment AS MATERIALIZED (
    SELECT id, customer_id,
        ARRAY(
            SELECT DISTINCT mitra_id FROM blocks WHERE blocks.customer_id = payments.customer_id
        ) AS blocked_mitra_ids
    FROM payments WHERE id = @payment_id
), available_mitras AS MATERIALIZED (
    SELECT mitras.id FROM payment, mitras
    WHERE mitras.id = ANY (@candidates::uuid[]) AND mitras.can_take_customer AND mitras.id <> payment.customer_id
        AND mitras.id IS DISTINCT FROM @left_out_mitra_id::uuid AND mitras.id <> ALL (payment.blocked_mitra_ids)
    ORDER BY mitras.active_sessions > 0, mitras.waiting_since, mitras.id
    LIMIT @wave_size + 1
), open_pairing AS (
    INSERT INTO pairings
        (payment_id, customer_id, kind, deadline_at, left_out_mitra_id, blocked_mitra_ids, waits_for_wave)
    SELECT id, customer_id, 'blast', curhat_now() + make_interval(secs => @window_seconds), @left_out_mitra_id::uuid,
        blocked_mitra_ids, (SELECT count(*) FROM available_mitras) > @wave_size
    FROM payment
    RETURNING id, customer_id, deadline_at
), arm_deadlines AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'pairing_window', id, deadline_at, @correlation_id FROM open_pairing
    UNION ALL
    SELECT 'blast_wave', id, curhat_now() + make_interval(secs => @wave_interval_seconds), @correlation_id
    FROM open_pairing
), wave AS (
    SELECT id FROM (SELECT id, row_number() OVER () AS place FROM available_mitras) AS placed
    WHERE place <= @wave_size
), ask_mitras AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, wave.id,
        wave.id IN (SELECT mitra_id FROM sessions WHERE customer_id = (SELECT customer_id FROM payment))
    FROM open_pairing, wave
    ORDER BY wave.id
    RETURNING mitra_id
)
SELECT open_pairing.id, ARRAY(SELECT mitra_id FROM ask_mitras) AS asked FROM open_pairing

-- name: filter_open_blasts :many
-- Return the blasts among @pairing_ids that can still ask mitras, in id order. Takes no locks.
SELECT id FROM pairings
WHERE id = ANY (@pairing_ids::uuid[]) AND status = 'open' AND deadline_at > curhat_now()
ORDER BY id

-- name: ask_wave :optional
-- Ask the next wave of an open blast (nothing → offered): at most @wave_size candidates who can take a customer and have
-- no request, those first who have waited longest without a session. A request that was closed because its mitra was
-- offline or at capacity is offered again. The statement locks the pairing, and returns no row if the pairing is decided
-- or its window is over. The statement reads blocked_mitra_ids of the locked row, because its snapshot can be older than
-- a block that was committed while it waited for the lock (T.1). `has_more` says whether candidates are left for a later wave. `waited` is the pairing's
-- waits_for_wave. `asked_nobody_before` says whether this wave is the first to ask somebody.
-- row: AskedWave
WITH locked_pairing AS MATERIALIZED (
    SELECT id, customer_id, left_out_mitra_id, blocked_mitra_ids, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = @pairing_id
    FOR NO KEY UPDATE
), open_pairing AS MATERIALIZED (
    SELECT * FROM locked_pairing WHERE status = 'open' AND deadline_at > curhat_now()
), unasked_mitras AS MATERIALIZED (
    SELECT mitras.id FROM open_pairing, mitras
    WHERE mitras.id = ANY (@candidates::uuid[]) AND mitras.can_take_customer AND mitras.id <> open_pairing.customer_id
        AND mitras.id IS DISTINCT FROM open_pairing.left_out_mitra_id
        AND mitras.id <> ALL (open_pairing.blocked_mitra_ids)
        AND mitras.id NOT IN (
            SELECT mitra_id FROM requests
            WHERE pairing_id = @pairing_id
                AND (status <> 'closed' OR close_reason NOT IN ('went_offline', 'at_capacity'))
        )
    ORDER BY mitras.active_sessions > 0, mitras.waiting_since, mitras.id
    LIMIT @wave_size + 1
), wave AS (
    SELECT id FROM (SELECT id, row_number() OVER () AS place FROM unasked_mitras) AS placed
    WHERE place <= @wave_size
), ask_mitras AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, wave.id,
        wave.id IN (SELECT mitra_id FROM sessions WHERE customer_id = (SELECT customer_id FROM open_pairing))
    FROM open_pairing, wave
    ORDER BY wave.id
    ON CONFLICT (pairing_id, mitra_id) DO UPDATE
    SET status = 'offered', close_reason = NULL, offered_at = curhat_now()
    WHERE requests.status = 'closed' AND requests.close_reason IN ('went_offline', 'at_capacity')
    RETURNING mitra_id
)
SELECT ARRAY(SELECT mitra_id FROM ask_mitras) AS asked, (SELECT count(*) FROM unasked_mitras) > @wave_size AS has_more,
    waits_for_wave AS waited,
    -- This SELECT does not see the requests that this statement inserts.
    NOT EXISTS (SELECT 1 FROM requests WHERE pairing_id = @pairing_id) AS asked_nobody_before
FROM open_pairing

-- name: set_waits_for_wave :exec
-- Record whether the blast has more mitras to ask. The caller holds the pairing's lock.
UPDATE pairings SET waits_for_wave = @waits_for_wave WHERE id = @pairing_id

-- name: open_targeted :one
-- Open a targeted pairing (nothing → open). If the mitra can take a customer, @is_reachable is true, and neither of the
-- two has blocked the other (T.1), the statement arms the window's deadline and inserts a request. Otherwise the pairing
-- is open without a deadline and without a request, and `asked` is empty. The statement locks the mitra FOR SHARE, because a toggle or an accept can change the
-- mitra at the same time. If the toggle or accept commits first, this statement sees the change. If this statement
-- locks the mitra first, the toggle or accept waits, and then withdraws the request.
-- nullable: @correlation_id
-- row: OpenedPairing
WITH locked_mitra AS MATERIALIZED (
    SELECT id, can_take_customer AND @is_reachable AND NOT EXISTS (
            SELECT 1 FROM payments JOIN blocks ON blocks.customer_id = payments.customer_id
            WHERE payments.id = @payment_id AND blocks.mitra_id = @mitra_id
        ) AS can_take_it
    FROM mitras WHERE id = @mitra_id
    FOR SHARE
), open_pairing AS (
    INSERT INTO pairings (payment_id, customer_id, kind, target_mitra_id, deadline_at)
    SELECT payments.id, payments.customer_id, 'targeted', locked_mitra.id,
        curhat_now() + make_interval(secs => @window_seconds)
    FROM payments, locked_mitra WHERE payments.id = @payment_id
    RETURNING id, customer_id, deadline_at
), arm_window AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'targeted_window', open_pairing.id, deadline_at, @correlation_id
    FROM open_pairing, locked_mitra WHERE locked_mitra.can_take_it
), ask_mitra AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT open_pairing.id, locked_mitra.id, true FROM open_pairing, locked_mitra WHERE locked_mitra.can_take_it
    RETURNING mitra_id
)
SELECT open_pairing.id, ARRAY(SELECT mitra_id FROM ask_mitra) AS asked FROM open_pairing

-- name: list_open_blasts :many
-- Find the open blasts whose ids follow @after_id, in id order, at most 500. Takes no locks.
SELECT id FROM pairings
WHERE status = 'open' AND kind = 'blast' AND deadline_at > (SELECT curhat_now()) AND id > @after_id
ORDER BY id
LIMIT 500

-- name: offer_blasts :one
-- Offer these blasts to these mitras (nothing → offered). A request that was closed because its mitra was offline or at
-- capacity is offered again. A blast that waits for its next wave is not offered, because the wave asks its mitras in
-- their order. Each open pairing stays open until this transaction ends. The statement waits for no other transaction:
-- it skips the pairings and requests that another transaction has locked, and then `is_complete` is false. `asked` holds
-- one mitra's id per offered request. `first_asked` holds the pairings that had asked nobody before.
-- row: OfferedBlasts
WITH locked_pairings AS MATERIALIZED (
    SELECT id, customer_id, left_out_mitra_id, blocked_mitra_ids, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = ANY (@pairing_ids::uuid[])
    ORDER BY id
    FOR SHARE SKIP LOCKED
), able_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY (@mitra_ids::uuid[]) AND can_take_customer
), unasked AS MATERIALIZED (
    SELECT pairings.id AS pairing_id, pairings.customer_id, able_mitras.id AS mitra_id, requests.id AS request_id
    FROM locked_pairings AS pairings
    CROSS JOIN able_mitras
    LEFT JOIN requests ON requests.pairing_id = pairings.id AND requests.mitra_id = able_mitras.id
    WHERE pairings.status = 'open' AND pairings.deadline_at > curhat_now() AND NOT pairings.waits_for_wave
        AND able_mitras.id <> pairings.customer_id AND able_mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
        AND able_mitras.id <> ALL (pairings.blocked_mitra_ids)
        AND (requests.id IS NULL OR requests.close_reason IN ('went_offline', 'at_capacity'))
), locked_requests AS MATERIALIZED (
    SELECT id FROM requests
    WHERE id = ANY (ARRAY(SELECT request_id FROM unasked WHERE request_id IS NOT NULL))
        AND close_reason IN ('went_offline', 'at_capacity')
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), offer_again AS (
    UPDATE requests SET status = 'offered', close_reason = NULL, offered_at = curhat_now()
    FROM locked_requests WHERE requests.id = locked_requests.id
    RETURNING mitra_id
), offer_first AS (
    INSERT INTO requests (pairing_id, mitra_id, is_returning)
    SELECT pairing_id, mitra_id, EXISTS (
            SELECT 1 FROM sessions WHERE customer_id = unasked.customer_id AND mitra_id = unasked.mitra_id
        )
    FROM unasked WHERE request_id IS NULL
    -- All transactions insert in this order, so they do not deadlock.
    ORDER BY pairing_id, mitra_id
    ON CONFLICT (pairing_id, mitra_id) DO NOTHING
    RETURNING pairing_id, mitra_id
)
SELECT ARRAY(SELECT mitra_id FROM offer_again UNION ALL SELECT mitra_id FROM offer_first) AS asked,
    ARRAY(
        -- This SELECT does not see the requests that this statement inserts.
        SELECT DISTINCT pairing_id FROM offer_first
        WHERE NOT EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = offer_first.pairing_id)
    ) AS first_asked,
    (SELECT count(*) FROM locked_pairings) = cardinality(@pairing_ids)
        AND (SELECT count(*) FROM locked_requests) = (SELECT count(request_id) FROM unasked) AS is_complete

-- name: find_payment_of_pairing :optional
SELECT payment_id FROM pairings WHERE id = @pairing_id

-- name: find_pairing_of_request :optional
-- Returns no row if no such request exists, or the request belongs to another mitra.
SELECT pairing_id FROM requests WHERE id = @request_id AND mitra_id = @mitra_id

-- name: find_undecided_pairing :optional
-- Find the pairing of this payment that is open, or whose fallback is open. A payment has at most one.
SELECT id FROM pairings WHERE payment_id = @payment_id AND (status = 'open' OR fallback_status = 'open')

-- name: lock_pairing :one
-- Lock the pairing. `is_over` is true if the pairing's window had passed when this statement got the lock.
-- `answer_is_late` is true if the customer's time to answer the fallback had passed when this statement got the lock.
-- `answer_is_late` is null if no fallback was offered.
-- nullable: target_mitra_id, failure_tag, fallback_status, fallback_answer_by, answer_is_late, session_id
-- row: LockedPairing
WITH locked_pairing AS MATERIALIZED (SELECT * FROM pairings WHERE id = @pairing_id FOR NO KEY UPDATE)
SELECT id, payment_id, customer_id, kind, status, deadline_at, deadline_at <= curhat_now() AS is_over, target_mitra_id,
    failure_tag, fallback_status, fallback_answer_by, fallback_answer_by <= curhat_now() AS answer_is_late,
    (SELECT sessions.id FROM sessions WHERE sessions.pairing_id = locked_pairing.id) AS session_id
FROM locked_pairing

-- name: reject_request :execrows
-- Reject the request (offered → rejected). Changes no row if the request is no longer offered.
UPDATE requests SET status = 'rejected', answered_at = curhat_now()
WHERE id = @request_id AND status = 'offered'

-- name: read_request_status :one
-- nullable: close_reason
SELECT status AS request_status, close_reason FROM requests WHERE id = @request_id

-- name: lock_windows :many
-- Lock all payments of these pairings in id order, and then the pairings in id order. Returns the pairings that are
-- open. `is_over` is true if the window had passed when this statement got the last lock.
WITH locked_payments AS MATERIALIZED (
    SELECT id FROM payments
    WHERE id = ANY (ARRAY(SELECT payment_id FROM pairings WHERE id = ANY (@pairing_ids::uuid[])))
    ORDER BY id
    FOR NO KEY UPDATE
), locked_pairings AS MATERIALIZED (
    SELECT id, payment_id, status, deadline_at, waits_for_wave FROM pairings
    WHERE id = ANY (@pairing_ids) AND payment_id = ANY (ARRAY(SELECT id FROM locked_payments))
    ORDER BY id
    FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    -- PostgreSQL takes all locks before it reads the clock, because count(*) reads all of locked_pairings.
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_pairings
)
SELECT locked_pairings.id, locked_pairings.payment_id, locked_pairings.deadline_at,
    locked_pairings.deadline_at <= moment.now AS is_over, locked_pairings.waits_for_wave
FROM locked_pairings, moment
WHERE locked_pairings.status = 'open'

-- name: count_answers :many
-- For each pairing, count the mitras who were asked and the mitras who rejected. The result has no row for a pairing
-- that asked nobody.
SELECT pairing_id, count(*) AS asked, count(*) FILTER (WHERE status = 'rejected') AS rejected
FROM requests WHERE pairing_id = ANY (@pairing_ids::uuid[])
GROUP BY pairing_id

-- name: can_ask_another :one
-- Return whether at least one of these mitras can take the pairing and has not been asked yet.
SELECT EXISTS (
    SELECT 1 FROM mitras, pairings
    WHERE pairings.id = @pairing_id AND mitras.id = ANY (@mitra_ids::uuid[]) AND mitras.can_take_customer
        AND mitras.id <> pairings.customer_id AND mitras.id IS DISTINCT FROM pairings.left_out_mitra_id
        AND mitras.id <> ALL (pairings.blocked_mitra_ids)
        AND NOT EXISTS (SELECT 1 FROM requests WHERE pairing_id = pairings.id AND mitra_id = mitras.id)
) AS can_ask_another

-- name: can_ask_anybody :one
-- Return whether at least one of these mitras can take a customer. The mitras in @left_out_ids do not count.
SELECT EXISTS (
    SELECT 1 FROM mitras
    WHERE id = ANY (@mitra_ids::uuid[]) AND id <> ALL (@left_out_ids::uuid[]) AND can_take_customer
) AS can_ask_anybody

-- name: fail_pairings :exec
-- Fail each pairing with its tag (open → failed). The customers get no fallback.
UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now()
FROM unnest(@pairing_ids::uuid[], @failure_tags::text[]) AS failure (pairing_id, tag)
WHERE pairings.id = failure.pairing_id

-- name: fail_pairings_with_fallback :exec
-- Fail each pairing with its tag (open → failed), and offer the fallback. Each customer then has @answer_minutes to
-- decide whether the service asks other mitras. The statement arms the deadline for the customer's answer to the
-- fallback.
-- nullable: @correlation_id
WITH fail_pairings AS (
    UPDATE pairings SET status = 'failed', failure_tag = failure.tag, decided_at = curhat_now(),
        fallback_status = 'open', fallback_answer_by = curhat_now() + make_interval(mins => @answer_minutes)
    FROM unnest(@pairing_ids::uuid[], @failure_tags::text[]) AS failure (pairing_id, tag)
    WHERE id = failure.pairing_id
    RETURNING id, fallback_answer_by
)
INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
SELECT 'fallback_answer', id, fallback_answer_by, @correlation_id FROM fail_pairings

-- name: decide_fallback :exec
-- Decide the fallback (open → taken, declined or expired).
UPDATE pairings SET fallback_status = @fallback_status WHERE id = @pairing_id

-- name: list_withdrawn_targeted :many
-- Find the targeted pairings whose request was closed because the mitra became unavailable.
SELECT pairing_id FROM requests
WHERE pairing_id = ANY (@pairing_ids::uuid[]) AND close_reason IN ('went_offline', 'at_capacity', 'suspended')

-- name: list_targets :many
-- For each targeted pairing, read the ids of the chosen mitra and of the customer.
SELECT id, target_mitra_id, customer_id FROM pairings WHERE id = ANY (@pairing_ids::uuid[])

-- name: close_requests :many
-- Close all offered requests of the pairings (offered → closed). Each pairing has its own close reason. Locks the
-- requests in id order. Returns the mitras of the closed requests.
WITH failures AS (
    SELECT * FROM unnest(@pairing_ids::uuid[], @close_reasons::text[]) AS failure (pairing_id, reason)
), locked_requests AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE pairing_id = ANY (@pairing_ids) AND status = 'offered'
    ORDER BY id
    FOR NO KEY UPDATE
)
UPDATE requests SET status = 'closed', close_reason = failures.reason, answered_at = curhat_now()
FROM locked_requests JOIN failures USING (pairing_id)
WHERE requests.id = locked_requests.id
RETURNING requests.mitra_id

-- name: leave_out_blocked :exec
-- Never ask this mitra for this pairing any more (T.1). The caller holds the pairing's lock.
UPDATE pairings SET blocked_mitra_ids = array_append(blocked_mitra_ids, @mitra_id)
WHERE id = @pairing_id AND @mitra_id <> ALL (blocked_mitra_ids)

-- name: close_blocked_request :execrows
-- Close the mitra's offered request of this pairing, as if the customer had cancelled (offered → closed, T.1). The caller
-- holds the pairing's lock.
UPDATE requests SET status = 'closed', close_reason = 'customer_cancelled', answered_at = curhat_now()
WHERE pairing_id = @pairing_id AND mitra_id = @mitra_id AND status = 'offered'

-- name: withdraw_requests :many
-- Close all offered requests of a mitra (offered → closed). Locks the requests in id order. Returns the pairings of the
-- closed requests.
WITH locked_requests AS MATERIALIZED (
    SELECT id, pairing_id FROM requests WHERE mitra_id = @mitra_id AND status = 'offered' ORDER BY id FOR NO KEY UPDATE
), close_requests AS (
    UPDATE requests SET status = 'closed', close_reason = @close_reason, answered_at = curhat_now()
    FROM locked_requests WHERE requests.id = locked_requests.id AND requests.status = 'offered'
    RETURNING requests.pairing_id
)
SELECT pairings.id, pairings.kind FROM close_requests JOIN pairings ON pairings.id = close_requests.pairing_id

-- name: log_failed_pairings :exec
-- Insert one event for each failed pairing.
INSERT INTO failed_pairing_events (payment_id, pairing_id, tag, kind, mitra_id)
SELECT payment_id, id, failure_tag, kind, target_mitra_id FROM pairings WHERE id = ANY (@pairing_ids::uuid[])
ORDER BY id

-- name: link_events_to_cases :exec
-- In each event of these payments, set case_id to the id of the payment's review case.
UPDATE failed_pairing_events SET case_id = review_cases.id
FROM review_cases
WHERE failed_pairing_events.payment_id = ANY (@payment_ids::uuid[])
    AND review_cases.payment_id = failed_pairing_events.payment_id

-- name: log_expired_payments :exec
-- For each payment, insert one event with the tag payment_session_expired. The event refers to no pairing and
-- no case.
INSERT INTO failed_pairing_events (payment_id, tag) SELECT unnest(@payment_ids::uuid[]), 'payment_session_expired'

-- name: list_payment_views :many
-- Read the columns of these payments that customers see, each payment with its latest pairing. If the payment has a
-- blast, the blast is the latest pairing, because no pairing comes after a blast. The statement does not sort the
-- pairings by id, because ids are out of time order if the clock was set back.
-- nullable: target_mitra_id, target_display_name, pairing_id, pairing_kind, pairing_status, pairing_deadline_at
-- nullable: pairing_failure_tag, fallback_status, fallback_answer_by, session_id
-- row: PaymentViewRow
SELECT payments.id, payments.customer_id, payments.purpose, payments.status AS payment_status, payments.offer_id,
    payments.duration_minutes, payments.amount_rp, payments.is_trial, payments.created_at, payments.expires_at,
    payments.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = pairing.id) AS anybody_asked,
    sessions.id AS session_id, curhat_now() AS server_now
FROM payments
LEFT JOIN mitras ON mitras.id = payments.target_mitra_id
LEFT JOIN LATERAL (
    SELECT * FROM pairings WHERE payment_id = payments.id ORDER BY kind = 'blast' DESC LIMIT 1
) AS pairing ON true
LEFT JOIN sessions ON sessions.pairing_id = pairing.id
WHERE payments.id = ANY (@payment_ids::uuid[])

-- name: read_pairing_view :optional
-- Read the columns of a pairing and its payment that the customer sees.
-- nullable: target_mitra_id, target_display_name, pairing_id, pairing_kind, pairing_status, pairing_deadline_at
-- nullable: pairing_failure_tag, fallback_status, fallback_answer_by, session_id
-- row: PaymentViewRow
SELECT payments.id, payments.customer_id, payments.purpose, payments.status AS payment_status, payments.offer_id,
    payments.duration_minutes, payments.amount_rp, payments.is_trial, payments.created_at, payments.expires_at,
    payments.target_mitra_id, mitras.display_name AS target_display_name,
    pairing.id AS pairing_id, pairing.kind AS pairing_kind, pairing.status AS pairing_status,
    pairing.deadline_at AS pairing_deadline_at, pairing.failure_tag AS pairing_failure_tag,
    pairing.fallback_status, pairing.fallback_answer_by,
    EXISTS (SELECT 1 FROM requests WHERE requests.pairing_id = pairing.id) AS anybody_asked,
    sessions.id AS session_id, curhat_now() AS server_now
FROM pairings AS pairing
JOIN payments ON payments.id = pairing.payment_id
LEFT JOIN mitras ON mitras.id = payments.target_mitra_id
LEFT JOIN sessions ON sessions.pairing_id = pairing.id
WHERE pairing.id = @pairing_id

-- name: find_current_payment :one
-- Find the payment that the app shows to a returning customer. The app shows the customer's open payment. If no payment
-- is open and the latest payment has the status `unserved`, the app shows the latest payment. The result is null if the
-- app shows no payment.
-- nullable: id
SELECT coalesce(
    (
        SELECT id FROM payments
        WHERE customer_id = @customer_id AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')
    ),
    (
        SELECT CASE WHEN status = 'unserved' THEN id END FROM payments
        WHERE customer_id = @customer_id AND purpose = 'session' ORDER BY id DESC LIMIT 1
    )
) AS id

-- name: list_open_requests :many
-- Find the requests whose cards the mitras see now. A mitra sees the card if the request is offered, the window of the
-- pairing runs, and the mitra can take a customer. The statement first reads the open rows through their partial
-- indexes, so old rows in the tables do not slow the statement down.
-- nullable: close_reason
-- row: OpenRequest
WITH open_pairings AS MATERIALIZED (
    SELECT pairings.id, pairings.kind, pairings.deadline_at, customers.call_name, payments.duration_minutes,
        payments.is_trial
    FROM pairings
    JOIN payments ON payments.id = pairings.payment_id
    JOIN customers ON customers.id = pairings.customer_id
    WHERE pairings.status = 'open' AND pairings.deadline_at > (SELECT curhat_now())
), able_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY (@mitra_ids::uuid[]) AND can_take_customer
), offered_requests AS MATERIALIZED (
    SELECT id, pairing_id, mitra_id, is_returning FROM requests
    WHERE mitra_id = ANY (ARRAY(SELECT id FROM able_mitras)) AND status = 'offered'
)
SELECT offered_requests.id, offered_requests.mitra_id, open_pairings.kind, open_pairings.call_name,
    offered_requests.is_returning, open_pairings.duration_minutes, open_pairings.is_trial, open_pairings.deadline_at,
    NULL::text AS close_reason, curhat_now() AS server_now
FROM offered_requests
JOIN open_pairings ON open_pairings.id = offered_requests.pairing_id
ORDER BY offered_requests.mitra_id, offered_requests.id

-- name: list_closed_requests :many
-- Read requests that are no longer open, with the columns that explain the end of each request.
-- nullable: close_reason, failure_tag
-- row: ClosedRequest
SELECT requests.id, requests.mitra_id, requests.status AS request_status, requests.close_reason, pairings.kind,
    pairings.status AS pairing_status, pairings.failure_tag, customers.call_name, requests.is_returning,
    payments.duration_minutes, payments.is_trial, pairings.deadline_at, curhat_now() AS server_now,
    NOT mitras.online AS is_offline,
    mitras.suspended_at IS NOT NULL AS is_suspended, mitras.active_sessions >= mitras.max_customers AS is_full
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN customers ON customers.id = pairings.customer_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.id = ANY (@request_ids::uuid[])
