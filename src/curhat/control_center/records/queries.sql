-- type: purpose = Purpose from curhat.pricing.schemas
-- type: payment_status = PaymentStatus from curhat.payments.states
-- type: session_status = SessionStatus from curhat.sessions.states
-- type: end_reason = EndReason from curhat.sessions.states
-- type: leave_reason = LeaveReason from curhat.sessions.states
-- type: kind = PairingKind from curhat.pairing.states
-- type: tag = FailureTag from curhat.pairing.states
-- type: outcome = RequestStatus from curhat.pairing.states
-- type: close_reason = CloseReason from curhat.pairing.states
-- type: sender = Role from curhat.kit.identity
-- type: type = TimelineType from curhat.control_center.records.schemas
-- type: case_status = CaseStatus from curhat.control_center.schemas
-- type: status = TimelineStatus from curhat.control_center.records.schemas

-- name: list_payments :many
-- Read payments, newest or oldest first, each with the tag of its last failure, its session and its review case.
-- row: PaymentRow
-- nullable: target_mitra_id, target_mitra_display_name, confirmed_at, closed_at, tag, session_id, case_id
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
    LIMIT @limit
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

-- name: read_money :many
-- Read the payments of the session that this payment belongs to: the session's own, then those of its extensions. A
-- payment without a session stands alone. taken_rp has the approved charges, also late ones.
-- row: MoneyRow
-- nullable: session_id, case_id, case_status
WITH asked AS (
    SELECT id FROM sessions WHERE payment_id = @payment_id
    UNION ALL
    SELECT session_id FROM extensions WHERE payment_id = @payment_id
), members AS (
    SELECT payment_id AS id, id AS session_id, 1 AS rank FROM sessions WHERE id = (SELECT id FROM asked)
    UNION ALL
    SELECT payment_id, session_id, 2 FROM extensions WHERE session_id = (SELECT id FROM asked)
    UNION ALL
    SELECT @payment_id, NULL, 1 WHERE NOT EXISTS (SELECT 1 FROM asked)
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

-- name: read_timeline :many
-- Read everything that happened to a payment, oldest first. `rank` orders entries that have the same time. Of the asked
-- mitras, the timeline has those who answered, then the others, at most @max_asked.
-- row: TimelineRow
-- nullable: status, kind, tag, reason, note, amount_rp, mitra_id, mitra_display_name, operator_id, operator_email
WITH extension AS (
    -- Read all extensions of the payment's session. If the payment is for an extension, read only this extension.
    SELECT * FROM extensions
    WHERE session_id = (SELECT id FROM sessions WHERE payment_id = @payment_id)
    UNION ALL
    SELECT * FROM extensions WHERE payment_id = @payment_id
), reviewed AS (
    -- Read each round of the payment's case.
    SELECT id, reason, tag, amount_rp, opened_at, opened_by, opened_note, decision, decision_note, refund_rp, decided_by, decided_at,
        approved_by, approved_at
    FROM review_cases WHERE payment_id = @payment_id
    UNION ALL
    SELECT review_cases.id, earlier.reason, NULL, review_cases.amount_rp, earlier.opened_at, earlier.opened_by,
        earlier.opened_note, earlier.decision,
        earlier.decision_note, earlier.refund_rp, earlier.decided_by, earlier.decided_at, earlier.approved_by,
        earlier.approved_at
    FROM review_cases JOIN earlier_decisions AS earlier ON earlier.case_id = review_cases.id
    WHERE review_cases.payment_id = @payment_id
), asked AS (
    SELECT requests.id, requests.mitra_id, requests.offered_at, requests.answered_at, requests.status,
        requests.close_reason, pairings.kind
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id WHERE pairings.payment_id = @payment_id
    ORDER BY (requests.status IN ('accepted', 'rejected')) DESC, requests.id
    LIMIT @max_asked
), happened AS (
    SELECT created_at AS at, 1 AS rank, 'payment_opened' AS type, NULL::text AS status, NULL::text AS kind,
        NULL::text AS tag, NULL::text AS reason, NULL::text AS note, amount_rp, target_mitra_id AS mitra_id,
        NULL::uuid AS operator_id, id AS entity_id
    FROM payments WHERE id = @payment_id
    UNION ALL
    SELECT changed_at, 4, 'payment_status', new_status, NULL, NULL, NULL, NULL, NULL, NULL, NULL, entity_id
    FROM status_changes WHERE payment_id = @payment_id AND entity = 'payment' AND old_status IS NOT NULL
    UNION ALL
    SELECT started_at, 2, 'charge_started', NULL, NULL, NULL, NULL, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = @payment_id
    UNION ALL
    SELECT answered_at, 3, 'charge_answered', status, NULL, NULL, reason, NULL, amount_rp, NULL, NULL, id
    FROM charge_attempts WHERE payment_id = @payment_id AND answered_at IS NOT NULL
    UNION ALL
    SELECT created_at, 5, 'pairing_opened', NULL, kind, NULL, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = @payment_id
    UNION ALL
    SELECT offered_at, 6, 'mitra_asked', NULL, kind, NULL, NULL, NULL, NULL, mitra_id, NULL, id FROM asked
    UNION ALL
    SELECT answered_at, 7, 'mitra_answered', status, kind, NULL, close_reason, NULL, NULL, mitra_id, NULL, id
    FROM asked WHERE status <> 'offered' AND answered_at IS NOT NULL
    UNION ALL
    SELECT decided_at, 8, 'pairing_decided', status, kind, failure_tag, NULL, NULL, NULL, target_mitra_id, NULL, id
    FROM pairings WHERE payment_id = @payment_id AND decided_at IS NOT NULL
    UNION ALL
    SELECT occurred_at, 9, 'failure_logged', CASE WHEN recovered THEN 'recovered' END, kind, tag, NULL, NULL, NULL,
        mitra_id, NULL, id
    FROM failed_pairing_events WHERE payment_id = @payment_id
    UNION ALL
    SELECT started_at, 10, 'session_started', NULL, NULL, NULL, NULL, NULL, NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = @payment_id
    UNION ALL
    SELECT ended_at, 11, 'session_ended', NULL, NULL, NULL, end_reason, coalesce(end_note, leave_reason), NULL, mitra_id, NULL, id
    FROM sessions WHERE payment_id = @payment_id AND ended_at IS NOT NULL
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
    FROM refunds WHERE payment_id = @payment_id
    UNION ALL
    SELECT answered_at, 16, 'refund_answered', status, NULL, NULL, gateway_reason, NULL, amount_rp, NULL, NULL, id
    FROM refunds WHERE payment_id = @payment_id AND answered_at IS NOT NULL
)
SELECT happened.at, happened.type, happened.status, happened.kind, happened.tag, happened.reason, happened.note,
    happened.amount_rp, happened.mitra_id, mitras.display_name AS mitra_display_name, happened.operator_id,
    operators.email AS operator_email, happened.entity_id
FROM happened
LEFT JOIN mitras ON mitras.id = happened.mitra_id
LEFT JOIN operators ON operators.id = happened.operator_id
ORDER BY happened.at, happened.rank, happened.entity_id

-- name: count_asked :one
-- Count the mitras who were asked under a payment. A mitra who was asked in two attempts counts twice.
SELECT count(*)::integer AS mitras_asked
FROM pairings JOIN requests ON requests.pairing_id = pairings.id WHERE pairings.payment_id = @payment_id

-- name: list_sessions :many
-- Read chat sessions, newest or oldest first.
-- row: SessionRow
-- nullable: ended_at, end_reason, end_note, leave_reason, case_id
SELECT page.id, page.status AS session_status, page.payment_id, page.customer_id, customers.call_name,
    people.phone_number, page.mitra_id, mitras.display_name AS mitra_display_name, page.duration_minutes,
    page.is_trial, page.started_at, page.ends_at, page.ended_at, page.end_reason, page.end_note,
    page.leave_reason,
    review_cases.id AS case_id, curhat_now() AS server_now
FROM (
    SELECT sessions.* FROM sessions
    WHERE true /* conditions */
    ORDER BY sessions.started_at DESC /* or ASC */, sessions.id DESC /* or ASC */
    LIMIT @limit
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
JOIN mitras ON mitras.id = page.mitra_id
LEFT JOIN review_cases ON review_cases.payment_id = page.payment_id
ORDER BY page.started_at DESC /* or ASC */, page.id DESC /* or ASC */

-- name: count_messages :one
SELECT count(*) FILTER (WHERE sender = 'customer') AS messages_of_customer,
    count(*) FILTER (WHERE sender = 'mitra') AS messages_of_mitra
FROM messages WHERE session_id = @session_id

-- name: list_customers :many
-- Read customers, newest or oldest first, each with the numbers of payments, sessions and open review cases. `paid_rp` does not
-- include refunded amounts.
-- row: CustomerRow
-- nullable: last_payment_at
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
    LIMIT @limit
) AS page
JOIN people ON people.id = page.id
CROSS JOIN LATERAL (
    SELECT count(*) AS payments, max(payments.created_at) AS last_payment_at,
        count(*) FILTER (WHERE review_cases.status = 'open') AS open_cases
    FROM payments LEFT JOIN review_cases ON review_cases.payment_id = payments.id
    WHERE payments.customer_id = page.id
) AS paid
ORDER BY page.created_at DESC /* or ASC */, page.id DESC /* or ASC */

-- name: list_mitras :many
-- Read mitras, newest first, each with counts of the answers to the mitra's last 200 requests.
-- row: MitraRow
-- nullable: suspended_at, last_seen_at, seconds_p50
SELECT page.id, page.display_name, people.phone_number, page.online, page.active_sessions, page.max_customers,
    page.suspended_at, page.last_seen_at, page.created_at, answers.asked, answers.accepted, answers.rejected,
    answers.unanswered, answers.seconds_p50
FROM (
    SELECT mitras.* FROM mitras
    WHERE true /* conditions */
    ORDER BY mitras.created_at DESC, mitras.id DESC
    LIMIT @limit
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

-- name: read_customer_suspension :one
-- Read the suspension of the customer that is in force.
-- row: CustomerSuspension
-- nullable: suspended_at, suspended_until
SELECT in_force AS suspended, CASE WHEN in_force THEN suspended_at END AS suspended_at,
    CASE WHEN in_force THEN suspended_until END AS suspended_until
FROM customers CROSS JOIN LATERAL (
    SELECT suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS in_force
) AS suspension
WHERE id = @customer_id

-- name: read_suspension_end :optional
-- Read until when the suspended mitra is suspended. Null: until an operator lifts the suspension.
-- nullable: suspended_until
SELECT suspended_until FROM mitras WHERE id = @mitra_id

-- name: count_reports_of_person :one
-- Count the reports that this person made, and those about the person: all, those with a sanction that stands, and the
-- concerns.
-- row: ReportCounts
SELECT count(*) FILTER (WHERE kind = 'report' AND reporter = @role) AS made,
    count(*) FILTER (WHERE kind = 'report' AND reporter <> @role) AS about,
    count(*) FILTER (
        WHERE kind = 'report' AND reporter <> @role AND status IN ('decided', 'appealed')
            AND decision IN ('warn', 'suspend') AND appeal_decision IS DISTINCT FROM 'overturned'
    ) AS sanctions,
    count(*) FILTER (WHERE kind = 'concern') AS concerns
FROM reports WHERE CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END = @user_id

-- name: count_blocks_of_customer :one
-- Count the blocks that this customer made, and those that mitras made of the customer. The primary key finds them.
-- row: BlockCounts
SELECT count(*) FILTER (WHERE blocked_by = 'customer') AS made, count(*) FILTER (WHERE blocked_by = 'mitra') AS about
FROM blocks WHERE customer_id = @user_id

-- name: count_blocks_of_mitra :one
-- Count the blocks that this mitra made, and those that customers made of the mitra.
-- row: BlockCounts
SELECT count(*) FILTER (WHERE blocked_by = 'mitra') AS made, count(*) FILTER (WHERE blocked_by = 'customer') AS about
FROM blocks WHERE mitra_id = @user_id

-- name: read_suspension_note :optional
-- Read the audit's text of the person's last suspension. @suspended is the action of the audit.
-- nullable: new_value
SELECT new_value FROM audit_entries
WHERE subject_id = @user_id AND subject = @role AND action = @suspended
ORDER BY occurred_at DESC, id DESC LIMIT 1

-- name: total_payments :many
-- Count the newest payments, at most @max_rows, and add their amounts. `taken_rp` leaves out payments that never were
-- confirmed.
-- row: PaymentTotals
SELECT count(*) AS payments, coalesce(sum(page.amount_rp), 0)::bigint AS amount_rp,
    coalesce(sum(page.amount_rp) FILTER (WHERE page.confirmed_at IS NOT NULL), 0)::bigint AS taken_rp
FROM (
    SELECT payments.amount_rp, payments.confirmed_at FROM payments
    WHERE true /* conditions */
    ORDER BY payments.created_at DESC, payments.id DESC
    LIMIT @max_rows
) AS page

-- name: total_sessions :many
-- Count the newest chat sessions, at most @max_rows, and add their minutes and the amounts of their first payments.
-- row: SessionTotals
SELECT count(*) AS sessions, coalesce(sum(page.duration_minutes), 0)::bigint AS minutes,
    coalesce(sum(payments.amount_rp), 0)::bigint AS amount_rp
FROM (
    SELECT sessions.payment_id, sessions.duration_minutes FROM sessions
    WHERE true /* conditions */
    ORDER BY sessions.started_at DESC, sessions.id DESC
    LIMIT @max_rows
) AS page
JOIN payments ON payments.id = page.payment_id

-- name: list_mitra_requests :many
-- Read the requests of a mitra, newest first.
-- row: MitraRequestRow
-- nullable: close_reason, answered_at
SELECT page.id, page.status AS outcome, page.close_reason, page.is_returning, page.offered_at, page.answered_at,
    pairings.kind, pairings.payment_id, customers.call_name, pairings.customer_id, people.phone_number
FROM (
    SELECT requests.* FROM requests
    WHERE requests.mitra_id = @mitra_id /* conditions */
    ORDER BY requests.id DESC
    LIMIT @limit
) AS page
JOIN pairings ON pairings.id = page.pairing_id
JOIN customers ON customers.id = pairings.customer_id
JOIN people ON people.id = pairings.customer_id
ORDER BY page.id DESC

-- name: sum_mitra_hours :many
-- Add how each mitra answered in the hours from @since to @until. An hour that the worker has not stored yet is counted
-- from the requests. The statement counts at most @max_hours such hours, the newest.
-- row: MitraAnswers
-- nullable: seconds_average
WITH kept AS MATERIALIZED (
    SELECT began_at FROM mitra_hours_kept WHERE began_at >= @since AND began_at < @until
), missing AS MATERIALIZED (
    SELECT hour.began_at
    FROM generate_series(@since::timestamptz, least(@until::timestamptz, curhat_now()) - interval '1 microsecond',
        interval '1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM kept WHERE kept.began_at = hour.began_at)
    ORDER BY began_at DESC LIMIT @max_hours
), hours AS (
    SELECT mitra_id, asked, accepted, rejected, taken, unanswered, accept_seconds FROM mitra_hours
    WHERE began_at >= @since AND began_at < @until
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
    CASE @sort::text
        WHEN 'acceptance' THEN added.accepted::double precision / added.asked
        WHEN 'answer_time' THEN coalesce(-added.seconds_average, '-infinity')
        WHEN 'unanswered' THEN -added.unanswered
        ELSE -added.asked
    END, added.asked DESC, added.mitra_id
LIMIT @max_rows

-- name: keep_mitra_hours :one
-- Count the newest past hours that are not in mitra_hours_kept, at most @max_hours of the last @days days. Returns the
-- number of hours. The statement leaves out an hour that ended less than 40 minutes ago, because a fallback can still ask
-- mitras for a payment of the hour.
WITH missing AS MATERIALIZED (
    SELECT began_at
    FROM (SELECT date_trunc('hour', curhat_now() - interval '100 minutes', 'UTC') AS newest) AS past,
        generate_series(newest, newest - interval '1 day' * @days::integer, interval '-1 hour') AS hour (began_at)
    WHERE NOT EXISTS (SELECT FROM mitra_hours_kept WHERE mitra_hours_kept.began_at = hour.began_at)
    ORDER BY began_at DESC
    LIMIT @max_hours::integer
), keep AS (
    INSERT INTO mitra_hours_kept (began_at) SELECT began_at FROM missing ON CONFLICT DO NOTHING RETURNING began_at
), keep_counts AS (
    INSERT INTO mitra_hours (began_at, mitra_id, asked, accepted, rejected, taken, unanswered, accept_seconds)
    SELECT keep.began_at, counted.* FROM keep CROSS JOIN LATERAL count_mitra_hour(keep.began_at) AS counted
)
SELECT count(*) AS hours FROM keep
