-- type: kind = PairingKind from curhat.pairing.states
-- type: kinds = TextKind from curhat.content.texts.kinds
-- type: missing_kinds = TextKind from curhat.content.texts.kinds
-- type: close_reason = CloseReason from curhat.pairing.states
-- type: request_status = RequestStatus from curhat.pairing.states
-- type: pairing_status = PairingStatus from curhat.pairing.states
-- type: failure_tag = FailureTag from curhat.pairing.states
-- type: cause = PushCause from curhat.notifications.templates
-- type: purpose = Purpose from curhat.pricing.schemas
-- type: payment_status = PaymentStatus from curhat.payments.states
-- type: pairing_kind = PairingKind from curhat.pairing.states
-- type: pairing_status = PairingStatus from curhat.pairing.states
-- type: pairing_failure_tag = FailureTag from curhat.pairing.states
-- type: fallback_status = FallbackStatus from curhat.pairing.states
-- type: last_charge = AttemptStatus from curhat.payments.states
-- type: end_reason = EndReason from curhat.sessions.states
-- type: role = Role from curhat.kit.identity
-- type: case_decision = CaseDecision from curhat.payments.states
-- type: refund_statuses = RefundStatus from curhat.payments.states

-- name: find_running_session :optional
SELECT id FROM sessions WHERE customer_id = @customer_id AND status = 'active'

-- name: find_obstacles :one
-- Find what keeps a customer from opening a payment: the running session, and the texts among @kinds whose newest
-- version the customer has not accepted (P.1). One statement for both saves a round trip.
-- nullable: session_id
-- row: Obstacles
SELECT (SELECT id FROM sessions WHERE customer_id = @customer_id AND status = 'active') AS session_id,
    ARRAY(
        SELECT current_texts.kind FROM current_texts
        WHERE current_texts.kind = ANY (@kinds::text[]) AND NOT EXISTS (
            SELECT 1 FROM acceptances
            WHERE acceptances.role = 'customer' AND acceptances.user_id = @customer_id
                AND acceptances.kind = current_texts.kind AND acceptances.version = current_texts.version
        )
    ) AS missing_kinds

-- name: refuse_if_decided :optional
-- Return the state of this request's pairing: still open, or already decided. A decided pairing stays decided. Returns
-- no row if the request belongs to another mitra, or this mitra has won. If another mitra has won, the statement also
-- stores the refusal under the idempotency key. If the key already has an answer, the statement does not replace that
-- answer. `is_stored` is true if this statement stored the refusal.
-- nullable: close_reason
-- row: EarlyRefusal
WITH asked AS MATERIALIZED (
    SELECT requests.pairing_id, requests.close_reason,
        CASE pairings.status
            WHEN 'open' THEN 'open'
            WHEN 'matched' THEN 'already_taken'
            ELSE 'request_closed'
        END AS outcome
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE requests.id = @request_id AND requests.mitra_id = @mitra_id AND requests.status <> 'accepted'
), store_refusal AS (
    INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
    SELECT 'mitra', @mitra_id, @key, @fingerprint, @status, @body FROM asked WHERE outcome = 'already_taken'
    ON CONFLICT (role, user_id, key) DO NOTHING
    RETURNING 1
)
SELECT asked.pairing_id, asked.outcome, asked.close_reason, EXISTS (SELECT 1 FROM store_refusal) AS is_stored
FROM asked

-- name: accept_and_start :optional
-- Let the mitra win the pairing if the accept fulfils every condition (2b.5). Request: offered → accepted. Pairing:
-- open → matched. Payment: confirmed → served. The statement also starts the session, arms the deadline of the
-- session's end, and closes the other requests, unless there are more than @max_closed_requests of them. The statement locks payment, pairing, mitra and request, in this order.
-- The statement first takes all locks, and then checks every condition. If this accept did not win, the statement
-- changes nothing and returns no row. The statement explain_refusal then gives the reason. If the statement returns a
-- row, the statement finish_accept completes the accept. `lost_targeted` are the pairings that fail because they asked
-- only this mitra, who is at capacity now (4.4). The parameter @key_lock is the number of the idempotency key's
-- advisory lock, or null if the HTTP request has no key. If another HTTP request holds this advisory lock, the accept
-- does not win.
-- nullable: @key_lock, @correlation_id, target_mitra_id, target_display_name
-- row: AcceptedPairing
WITH key AS MATERIALIZED (
    SELECT coalesce(pg_try_advisory_xact_lock(@key_lock), true) AS is_free
), asked AS MATERIALIZED (
    SELECT requests.pairing_id, pairings.payment_id, pairings.status AS pairing_status
    FROM key, requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE key.is_free AND requests.id = @request_id AND requests.mitra_id = @mitra_id
), locked_payment AS MATERIALIZED (
    -- A decided pairing stays decided. So the statement takes no lock and returns no row if the pairing is decided.
    SELECT payments.* FROM payments JOIN asked ON payments.id = asked.payment_id
    WHERE asked.pairing_status = 'open'
    FOR NO KEY UPDATE OF payments
), locked_pairing AS MATERIALIZED (
    SELECT pairings.* FROM pairings JOIN locked_payment ON pairings.payment_id = locked_payment.id
    JOIN asked ON asked.pairing_id = pairings.id
    FOR NO KEY UPDATE OF pairings
), locked_mitra AS MATERIALIZED (
    SELECT mitras.* FROM mitras JOIN locked_pairing ON mitras.id = @mitra_id
    FOR NO KEY UPDATE OF mitras
), locked_request AS MATERIALIZED (
    SELECT requests.* FROM requests JOIN locked_mitra ON requests.id = @request_id
    FOR NO KEY UPDATE OF requests
), moment AS MATERIALIZED (
    -- Read the clock only after all locks are taken. If the clock were read before a lock wait, a late accept could
    -- win.
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
    -- If another transaction renames the customer now, the renaming waits for this lock. The renaming then finds the
    -- session after our commit.
    SELECT customers.call_name FROM customers JOIN won ON customers.id = won.customer_id FOR SHARE OF customers
), accept_request AS (
    -- PostgreSQL evaluates CHECK constraints against the version of the request's row that this statement first read.
    -- The version that this statement first read has the status 'closed' if another transaction offered the request
    -- again during our lock wait. So reset close_reason explicitly.
    UPDATE requests SET status = 'accepted', close_reason = NULL, answered_at = won.now
    FROM won WHERE requests.id = @request_id
), match_pairing AS (
    UPDATE pairings SET status = 'matched', decided_at = won.now FROM won WHERE pairings.id = won.pairing_id
), serve_payment AS (
    UPDATE payments SET status = 'served', closed_at = won.now FROM won WHERE payments.id = won.payment_id
), started AS (
    INSERT INTO sessions
        (payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, started_at, ends_at)
    SELECT payment_id, pairing_id, customer_id, @mitra_id, duration_minutes, is_trial, now,
        now + make_interval(mins => duration_minutes)
    FROM won
    RETURNING id, started_at, ends_at
), arm_session_end AS (
    INSERT INTO deadlines (kind, entity_id, due_at, correlation_id)
    SELECT 'session_end', id, ends_at, @correlation_id FROM started
), disarm_window AS (
    DELETE FROM deadlines WHERE id IN (
        SELECT deadlines.id FROM deadlines JOIN won ON deadlines.entity_id = won.pairing_id
        WHERE deadlines.kind IN ('pairing_window', 'blast_wave')
        FOR UPDATE OF deadlines SKIP LOCKED
    )
), pairing_requests AS MATERIALIZED (
    SELECT requests.id, requests.mitra_id FROM won JOIN requests ON requests.pairing_id = won.pairing_id
    WHERE requests.id <> @request_id
), many AS MATERIALIZED (
    SELECT count(*) > @max_closed_requests AS closes_later FROM pairing_requests
), other_requests AS MATERIALIZED (
    -- The pairing's other requests, unless they are so many that a worker closes them. If the mitra is at capacity now,
    -- also the mitra's other open requests. Two SELECTs use one index each. One SELECT with OR would read every open
    -- request of the service.
    SELECT pairing_requests.id FROM pairing_requests, many WHERE NOT many.closes_later
    UNION ALL
    SELECT requests.id FROM won JOIN requests ON requests.mitra_id = @mitra_id
    WHERE won.fills_up AND requests.status = 'offered' AND requests.pairing_id <> won.pairing_id
), locked_requests AS MATERIALIZED (
    -- Compare the status only after the lock, in `losers`. If this SELECT compared the status, PostgreSQL could plan
    -- to read every open request of the service.
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

-- name: finish_accept :many
-- Complete an accept in the same transaction. Add 1 to the mitra's active_sessions, store the answer under the
-- idempotency key, and append the events. A second answer under the same key violates the table's primary key. Without
-- a key, the statement stores no answer. The comment of lock_mitras (presence) explains why accept_and_start cannot add
-- to active_sessions. Returns one row per event, in the order of the arrays.
-- nullable: @key, @fingerprint
-- row: AppendedEvent
WITH take_place AS (
    UPDATE mitras SET active_sessions = active_sessions + 1 WHERE id = @mitra_id
), store_answer AS (
    INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
    SELECT 'mitra', @mitra_id, @key::text, @fingerprint::bytea, @status::integer, @body::text WHERE @key IS NOT NULL
)
SELECT seq, at FROM append_events(@roles::text[], @user_ids::uuid[], @types::text[], @data::text[])

-- name: mark_recovered :exec
-- Mark the failures of this payment's targeted pairing as recovered, because a mitra accepted the fallback. The failures
-- then need no review (3.8).
UPDATE failed_pairing_events SET recovered = true WHERE payment_id = @payment_id

-- name: explain_refusal :optional
-- Return why accept_and_start did not win. The CASE has the reasons in the order of the contract. The caller runs this
-- statement after accept_and_start, in the same transaction. Returns no row if the request belongs to another mitra.
-- nullable: @key_lock, close_reason
-- row: RefusedAccept
SELECT
    CASE
        WHEN NOT coalesce(pg_try_advisory_xact_lock(@key_lock), true) THEN 'in_progress'
        WHEN requests.status = 'accepted' THEN 'won_before'
        WHEN pairings.status = 'matched' THEN 'already_taken'
        WHEN pairings.status <> 'open' OR requests.status <> 'offered' OR pairings.deadline_at <= curhat_now()
            THEN 'request_closed'
        WHEN NOT mitras.online OR mitras.suspended_at IS NOT NULL THEN 'mitra_offline'
        WHEN mitras.active_sessions >= mitras.max_customers THEN 'at_capacity'
        -- At this point, none of the reasons above applies any more. Either the transaction that held the key's lock
        -- was rolled back, or the clock was set back. The client must repeat the accept, because the repeated accept
        -- can win.
        ELSE 'in_progress'
    END AS outcome,
    requests.pairing_id, requests.close_reason
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.id = @request_id AND requests.mitra_id = @mitra_id

-- name: had_session_with :one
-- Return whether this customer ever had a session with this mitra.
SELECT EXISTS (SELECT 1 FROM sessions WHERE customer_id = @customer_id AND mitra_id = @mitra_id) AS had_session

-- name: find_running_session_of_pair :optional
-- Find the running session of these two people.
SELECT id FROM sessions WHERE customer_id = @customer_id AND mitra_id = @mitra_id AND status = 'active'

-- name: find_search_end :optional
-- Read the time at which this pairing stops asking mitras. Returns no row if the pairing is no longer open.
SELECT deadline_at FROM pairings WHERE id = @pairing_id AND status = 'open' AND deadline_at > curhat_now()

-- name: list_requests_to_push :many
-- Find the offered requests of this pairing that still lack a push. The mitra of each request can take a customer, has
-- a subscription that has not failed, and got no push about the request yet.
-- row: RequestPush
SELECT requests.mitra_id AS user_id, requests.id AS subject_id, requests.id AS topic_id, requests.id AS request_id,
    payments.is_trial AS is_free, requests.offered_at AS reason_at, pairings.deadline_at AS expires_at
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN mitras ON mitras.id = requests.mitra_id
WHERE requests.pairing_id = @pairing_id AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()
    AND mitras.push_ready AND mitras.can_take_customer
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'request_offered' AND push_messages.subject_id = requests.id
        WHERE push_subscriptions.user_id = requests.mitra_id AND push_subscriptions.role = 'mitra'
            AND push_messages.reason_at >= requests.offered_at
    )

-- name: find_match_to_push :optional
-- Read this session. Returns no row if the session needs no push any more. A running session needs a push if it began
-- within the last @within_seconds and the customer got no push about the session yet.
-- row: SessionPush
SELECT customer_id AS user_id, id AS subject_id, id AS topic_id, id AS session_id, started_at AS reason_at,
    ends_at AS expires_at
FROM sessions
WHERE id = @session_id AND status = 'active' AND ends_at > curhat_now()
    AND started_at > curhat_now() - make_interval(secs => @within_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'matched' AND push_messages.subject_id = sessions.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: find_message_to_push :optional
-- Read the mitra's newest unread message in this session. Returns no row if the message needs no push any more. A
-- message needs a push if the mitra sent it within the last @within_seconds, and the customer got no push about the
-- message yet. `expires_at` is the end of the session or one minute after the message, whichever is later.
-- row: SessionPush
SELECT sessions.customer_id AS user_id, newest.id AS subject_id, sessions.id AS topic_id, sessions.id AS session_id,
    newest.sent_at AS reason_at, greatest(sessions.ends_at, newest.sent_at + interval '1 minute') AS expires_at
FROM sessions
JOIN LATERAL (
    SELECT id, sent_at FROM messages
    WHERE session_id = sessions.id AND sender = 'mitra' AND read_at IS NULL
    ORDER BY id DESC LIMIT 1
) AS newest ON newest.sent_at > curhat_now() - make_interval(secs => @within_seconds)
WHERE sessions.id = @session_id
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'message' AND push_messages.subject_id = newest.id
        WHERE push_subscriptions.user_id = sessions.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: find_customer_message_to_push :optional
-- Read the customer's newest unread message in this running session. Returns no row if the message needs no push any
-- more. A message needs a push if the customer sent it within the last @within_seconds, and the mitra got no push about
-- the message yet. `is_in_burst` is true if the mitra got a push about an earlier message of this chat less than
-- @burst_seconds ago, and has not read that message. The push then waits, so that a burst of messages rings once.
-- row: CustomerMessagePush
SELECT sessions.mitra_id AS user_id, newest.id AS subject_id, sessions.id AS topic_id, sessions.id AS session_id,
    newest.sent_at AS reason_at, greatest(sessions.ends_at, newest.sent_at + interval '1 minute') AS expires_at,
    EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'customer_message'
            AND push_messages.reason_at > (SELECT curhat_now() - make_interval(secs => @burst_seconds))
        JOIN messages ON messages.id = push_messages.subject_id AND messages.session_id = sessions.id
            AND messages.read_at IS NULL
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    ) AS is_in_burst
FROM sessions
JOIN LATERAL (
    SELECT id, sent_at FROM messages
    WHERE session_id = sessions.id AND sender = 'customer' AND read_at IS NULL
    ORDER BY id DESC LIMIT 1
) AS newest ON newest.sent_at > curhat_now() - make_interval(secs => @within_seconds)
WHERE sessions.id = @session_id AND sessions.status = 'active'
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'customer_message' AND push_messages.subject_id = newest.id
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    )

-- name: find_extension_to_push :optional
-- Read this session's extension. Returns no row if the extension needs no push any more. An extension needs a push if
-- it is pending and the mitra got no push about the extension yet.
-- row: SessionPush
SELECT sessions.mitra_id AS user_id, extensions.id AS subject_id, extensions.id AS topic_id,
    sessions.id AS session_id, extensions.requested_at AS reason_at, extensions.deadline_at AS expires_at
FROM extensions JOIN sessions ON sessions.id = extensions.session_id
WHERE extensions.session_id = @session_id AND extensions.status = 'pending' AND extensions.deadline_at > curhat_now()
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'extension_requested' AND push_messages.subject_id = extensions.id
        WHERE push_subscriptions.user_id = sessions.mitra_id AND push_subscriptions.role = 'mitra'
    )

-- name: find_fallback_to_push :optional
-- Read this payment's targeted pairing, if its customer still needs a push: the fallback has been open for at most
-- @within_seconds, and the customer got no push about it yet. `cause` says why the chosen mitra did not accept.
-- row: OutcomePush
SELECT pairings.customer_id AS user_id, pairings.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    pairings.failure_tag AS cause, payments.amount_rp = 0 AS is_free, pairings.decided_at AS reason_at,
    pairings.fallback_answer_by AS expires_at
FROM pairings JOIN payments ON payments.id = pairings.payment_id
WHERE payments.id = @payment_id AND pairings.fallback_status = 'open' AND pairings.fallback_answer_by > curhat_now()
    AND pairings.decided_at > curhat_now() - make_interval(secs => @within_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'fallback_offered' AND push_messages.subject_id = pairings.id
        WHERE push_subscriptions.user_id = pairings.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: find_failed_search_to_push :optional
-- Read this payment, if its customer still needs a push about the failed search: the journey ended within the last
-- @within_seconds, and the customer got no push about it yet. The customer's own step (a cancellation, a declined
-- fallback) needs no push. `cause` is the tag of the blast, or says that the time to answer the fallback was over.
-- `expires_at` is one day after the failure.
-- row: OutcomePush
SELECT payments.customer_id AS user_id, payments.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    failed_pairing_events.tag AS cause, payments.amount_rp = 0 AS is_free,
    failed_pairing_events.occurred_at AS reason_at, failed_pairing_events.occurred_at + interval '1 day' AS expires_at
FROM payments
JOIN failed_pairing_events ON failed_pairing_events.payment_id = payments.id
    AND (failed_pairing_events.kind = 'blast' OR failed_pairing_events.pairing_id IS NULL)
    AND failed_pairing_events.tag <> 'customer_cancelled'
WHERE payments.id = @payment_id AND payments.status = 'unserved'
    AND failed_pairing_events.occurred_at > curhat_now() - make_interval(secs => @within_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'search_failed' AND push_messages.subject_id = payments.id
        WHERE push_subscriptions.user_id = payments.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: find_decision_to_push :optional
-- Read this payment's review case, if its customer still needs a push about the decision: the decision took effect
-- within the last @within_seconds, no money came back since, and the customer got no push about the decision yet. A
-- case that opened again gets a push per decision. `expires_at` is one day after the decision. `is_due` is false in the
-- first 10 s after a decision to refund: the gateway usually carries the refund out sooner, and then the customer gets
-- only the push about the refund.
SELECT payments.customer_id AS user_id, review_cases.id AS subject_id, payments.id AS topic_id,
    payments.id AS payment_id, moment.decided_at AS reason_at, moment.decided_at + interval '1 day' AS expires_at,
    review_cases.decision <> 'refund' OR moment.decided_at <= curhat_now() - interval '10 seconds' AS is_due
FROM review_cases
JOIN payments ON payments.id = review_cases.payment_id
CROSS JOIN LATERAL (SELECT coalesce(review_cases.approved_at, review_cases.decided_at) AS decided_at) AS moment
WHERE payments.id = @payment_id AND review_cases.status = 'decided'
    AND (NOT review_cases.needs_approval OR review_cases.approved_by IS NOT NULL)
    AND moment.decided_at > curhat_now() - make_interval(secs => @within_seconds)
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

-- name: list_refunds_to_push :many
-- Find the refunds of this payment about which the customer still needs a push: the gateway carried them out within the
-- last @within_seconds, and the customer got no push about them yet. `expires_at` is one day after the refund.
-- row: MoneyPush
SELECT payments.customer_id AS user_id, refunds.id AS subject_id, payments.id AS topic_id, payments.id AS payment_id,
    refunds.answered_at AS reason_at, refunds.answered_at + interval '1 day' AS expires_at
FROM refunds JOIN payments ON payments.id = refunds.payment_id
WHERE payments.id = @payment_id AND refunds.status = 'done'
    AND refunds.answered_at > curhat_now() - make_interval(secs => @within_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'refunded' AND push_messages.subject_id = refunds.id
        WHERE push_subscriptions.user_id = payments.customer_id AND push_subscriptions.role = 'customer'
    )

-- name: find_break_to_push :optional
-- Read the mitra whose break's time is over, if the mitra still needs the reminder: the mitra is offline, and got no
-- push about this break yet. A reminder that is @late_seconds late helps nobody. `is_fresh` is true during the first
-- @within_seconds.
-- row: BreakPush
SELECT id AS user_id, id AS subject_id, id AS topic_id, break_until AS reason_at,
    break_until + make_interval(secs => @late_seconds) AS expires_at,
    break_until > curhat_now() - make_interval(secs => @within_seconds) AS is_fresh
FROM mitras
WHERE id = @mitra_id AND suspended_at IS NULL
    AND break_until <= curhat_now() AND break_until > curhat_now() - make_interval(secs => @late_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'break_over' AND push_messages.subject_id = mitras.id
        WHERE push_subscriptions.user_id = mitras.id AND push_subscriptions.role = 'mitra'
            AND push_messages.reason_at >= mitras.break_until
    )

-- name: find_notice_to_push :optional
-- Read the notice, if its person still needs a push about it: the notice is new, not acknowledged, and was not pushed yet.
-- row: NoticePush
SELECT notices.id AS subject_id, notices.id AS topic_id, notices.user_id, notices.role, notices.created_at AS reason_at,
    notices.created_at + interval '1 day' AS expires_at
FROM notices
WHERE notices.id = @notice_id AND notices.acknowledged_at IS NULL
    AND notices.created_at > curhat_now() - make_interval(secs => @within_seconds)
    AND NOT EXISTS (
        SELECT 1 FROM push_subscriptions
        JOIN push_messages ON push_messages.subscription_id = push_subscriptions.id
            AND push_messages.kind = 'notice' AND push_messages.subject_id = notices.id
        WHERE push_subscriptions.user_id = notices.user_id AND push_subscriptions.role = notices.role
    )

-- name: filter_new_notices :many
-- Return the notices among @ids that nobody has acknowledged.
SELECT id FROM notices WHERE id = ANY (@ids::uuid[]) AND acknowledged_at IS NULL

-- name: filter_open_requests :many
-- Return the requests among @ids that a mitra can still accept.
SELECT requests.id FROM requests JOIN pairings ON pairings.id = requests.pairing_id
WHERE requests.id = ANY (@ids::uuid[]) AND requests.status = 'offered'
    AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()

-- name: filter_running_sessions :many
SELECT id FROM sessions WHERE id = ANY (@ids::uuid[]) AND status = 'active' AND ends_at > curhat_now()

-- name: filter_pending_extensions :many
SELECT id FROM extensions WHERE id = ANY (@ids::uuid[]) AND status = 'pending' AND deadline_at > curhat_now()

-- name: filter_unread_messages :many
SELECT id FROM messages WHERE id = ANY (@ids::uuid[]) AND read_at IS NULL

-- name: filter_open_fallbacks :many
-- Return the pairings among @ids whose customer can still answer the fallback.
SELECT id FROM pairings WHERE id = ANY (@ids::uuid[]) AND fallback_status = 'open' AND fallback_answer_by > curhat_now()

-- name: filter_unserved_payments :many
-- Return the payments among @ids that are unserved, if their customer has not begun a new journey since.
SELECT id FROM payments
WHERE id = ANY (@ids::uuid[]) AND status = 'unserved' AND NOT EXISTS (
    SELECT 1 FROM payments AS later
    WHERE later.customer_id = payments.customer_id AND later.id > payments.id AND later.purpose = 'session'
)

-- name: filter_decided_cases :many
-- Return the decided cases among @ids whose decision the customer does not know yet. The push about a refund says more
-- than the push about the decision to refund.
SELECT id FROM review_cases
WHERE id = ANY (@ids::uuid[]) AND status = 'decided'
    AND NOT EXISTS (
        SELECT 1 FROM refunds
        WHERE refunds.payment_id = review_cases.payment_id AND refunds.status = 'done'
            AND refunds.answered_at >= review_cases.decided_at
    )

-- name: filter_done_refunds :many
SELECT id FROM refunds WHERE id = ANY (@ids::uuid[]) AND status = 'done'

-- name: filter_mitras_after_a_break :many
-- Return the mitras among @ids whose break's time is over, and who are still on this break.
SELECT id FROM mitras WHERE id = ANY (@ids::uuid[]) AND suspended_at IS NULL AND break_until <= curhat_now()

-- name: find_session_of_pairing :one
SELECT id FROM sessions WHERE pairing_id = @pairing_id

-- name: list_running_sessions_of_mitra :many
SELECT id FROM sessions WHERE mitra_id = @mitra_id AND status = 'active' ORDER BY id

-- name: count_sessions_of_mitra :many
-- Count the sessions of this mitra that began since each of the times @since, and sum their minutes: until the end, or
-- until now for a running session. Ids are in the order of time, so the index finds the newest sessions. @first_id has
-- the time one day before the earliest of @since, because two clocks can differ.
-- row: SessionCount
WITH recent_sessions AS MATERIALIZED (
    SELECT started_at, is_trial, extract(epoch FROM coalesce(ended_at, (SELECT curhat_now())) - started_at) AS seconds
    FROM sessions WHERE mitra_id = @mitra_id AND id >= @first_id
)
SELECT count(*) FILTER (WHERE NOT is_trial) AS paid_sessions,
    count(*) FILTER (WHERE is_trial) AS trial_sessions, round(coalesce(sum(seconds), 0) / 60)::bigint AS minutes
FROM unnest(@since::timestamptz[]) WITH ORDINALITY AS periods (since, position)
LEFT JOIN recent_sessions ON recent_sessions.started_at >= periods.since
GROUP BY periods.position
ORDER BY periods.position

-- name: count_requests_of_mitra :many
-- Count the requests of this mitra since each of the times @since, by how they ended. A request can be offered again,
-- and counts once, at the time of the last offer. @first_id works as in count_sessions_of_mitra.
-- row: RequestCount
WITH recent_requests AS MATERIALIZED (
    SELECT offered_at, status, close_reason FROM requests WHERE mitra_id = @mitra_id AND id >= @first_id
)
SELECT count(offered_at) AS asked,
    count(*) FILTER (WHERE status = 'accepted') AS accepted,
    count(*) FILTER (WHERE close_reason = 'already_taken') AS taken_by_another,
    count(*) FILTER (WHERE close_reason = 'timed_out') AS not_answered,
    count(*) FILTER (WHERE status = 'rejected') AS rejected,
    count(*) FILTER (WHERE close_reason NOT IN ('already_taken', 'timed_out')) AS withdrawn
FROM unnest(@since::timestamptz[]) WITH ORDINALITY AS periods (since, position)
LEFT JOIN recent_requests ON recent_requests.offered_at >= periods.since
GROUP BY periods.position
ORDER BY periods.position

-- name: list_past_requests :many
-- Read the newest requests of this mitra that are older than the request @before_id, except the requests that the mitra
-- can still answer.
-- nullable: close_reason, failure_tag, answered_at, session_id
-- row: PastRequestRow
SELECT requests.id, requests.status AS request_status, requests.close_reason, requests.is_returning,
    requests.offered_at, requests.answered_at, pairings.kind, pairings.status AS pairing_status,
    pairings.failure_tag, customers.call_name, payments.duration_minutes, payments.is_trial,
    CASE requests.status WHEN 'accepted' THEN sessions.id END AS session_id
FROM requests
JOIN pairings ON pairings.id = requests.pairing_id
JOIN payments ON payments.id = pairings.payment_id
JOIN customers ON customers.id = pairings.customer_id
LEFT JOIN sessions ON sessions.pairing_id = requests.pairing_id
WHERE requests.mitra_id = @mitra_id AND requests.id < @before_id
    AND NOT (requests.status = 'offered' AND pairings.status = 'open' AND pairings.deadline_at > (SELECT curhat_now()))
ORDER BY requests.id DESC
LIMIT @max_requests

-- name: find_people_of_targeted_payment :one
-- Read the customer who pays, and the mitra whom the customer chose. The customer and the chosen mitra of a payment
-- never change.
-- row: PeopleOfPayment
SELECT customer_id, target_mitra_id FROM payments WHERE id = @payment_id AND target_mitra_id IS NOT NULL

-- name: list_open_payments_for_mitra :many
-- Find the open payments whose customers chose this mitra.
SELECT id FROM payments
WHERE target_mitra_id = @mitra_id AND purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed')

-- A customer's payments ------------------------------------------------------------------------------------------

-- name: list_customer_payments :many
-- Read the customer's payments with an id from @oldest_id to @newest_id, newest first, at most @max_payments. With
-- @session_id, read only the payments of this session: its own and those of its extensions. The index
-- payments_by_customer gives the order, so a page reads only its own payments.
--
-- The columns up to `server_now` are those of `list_payment_views`. `charged_rp` is what the gateway took, too late or
-- not. A case counts as decided if its decision has taken effect: a refund above the limit waits for a second operator.
-- `is_news` says whether the home screen notes the payment: paid money is under review, or the search failed, the case
-- was decided or money came back within 30 days, and the customer has not looked at the payment since.
-- nullable: @session_id
-- nullable: target_mitra_id, target_display_name, pairing_id, pairing_kind, pairing_status, pairing_deadline_at
-- nullable: pairing_failure_tag, fallback_status, fallback_answer_by, session_id
-- nullable: last_charge, end_reason, case_opened_at, case_decision, case_decided_at
-- row: CustomerPaymentRow
WITH page AS MATERIALIZED (
    SELECT * FROM payments
    WHERE customer_id = @customer_id AND id BETWEEN @oldest_id AND @newest_id
        AND (@session_id::uuid IS NULL OR id = ANY (ARRAY(
            SELECT payment_id FROM sessions WHERE id = @session_id
            UNION ALL
            SELECT payment_id FROM extensions WHERE session_id = @session_id
        )))
    ORDER BY id DESC LIMIT @max_payments
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

-- name: mark_payment_seen :execrows
-- Note that the customer has looked at this payment now. Changes no row if the payment belongs to another customer.
INSERT INTO seen_payments (payment_id)
SELECT id FROM payments WHERE id = @payment_id AND customer_id = @customer_id
ON CONFLICT (payment_id) DO UPDATE SET seen_at = greatest(seen_payments.seen_at, excluded.seen_at)
