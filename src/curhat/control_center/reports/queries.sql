-- type: kind = ReportKind from curhat.safety.reports.states
-- type: reason = ReportReason from curhat.safety.reports.states
-- type: level = ConcernLevel from curhat.safety.reports.states
-- type: status = ReportStatus from curhat.safety.reports.states
-- type: decision = ReportDecision from curhat.safety.reports.states
-- type: appeal_decision = AppealDecision from curhat.safety.reports.states
-- type: reporter = Role from curhat.kit.identity
-- type: sender = Role from curhat.kit.identity
-- type: urgency = Urgency from curhat.safety.reports.states

-- name: list_reports :many
-- Read reports and concerns in the order of the queue: what waits for an operator by urgency, then what is finished; each
-- group by `due_at`.
-- row: ReportRow
-- nullable: reason, level, note, decision, decision_note, suspend_until, decided_by, decided_by_email, decided_at
-- nullable: approved_by, approved_by_email, approved_at, appeal_text, appealed_at, appeal_decision, appeal_note
-- nullable: appeal_decided_by, appeal_decided_by_email, appeal_decided_at
SELECT page.id, page.kind, page.reason, page.level, page.status, page.urgency, page.queue_rank, page.due_at,
    page.status <> 'decided' AND page.due_at < curhat_now() AS overdue, page.reporter, page.session_id,
    cardinality(page.message_ids) AS marked_messages, page.created_at, page.note, page.decision, page.decision_note,
    page.suspend_until, page.decided_by, decider.email AS decided_by_email, page.decided_at, page.approved_by,
    approver.email AS approved_by_email, page.approved_at, page.appeal_text, page.appealed_at, page.appeal_decision,
    page.appeal_note, page.appeal_decided_by, appeal_decider.email AS appeal_decided_by_email, page.appeal_decided_at,
    page.customer_id, customers.call_name, people.phone_number, page.mitra_id,
    mitras.display_name AS mitra_display_name, curhat_now() AS server_now
FROM (
    SELECT reports.* FROM reports
    WHERE true /* conditions */
    ORDER BY reports.queue_rank, reports.due_at, reports.id
    LIMIT @limit
) AS page
JOIN customers ON customers.id = page.customer_id
JOIN people ON people.id = page.customer_id
JOIN mitras ON mitras.id = page.mitra_id
LEFT JOIN operators AS decider ON decider.id = page.decided_by
LEFT JOIN operators AS approver ON approver.id = page.approved_by
LEFT JOIN operators AS appeal_decider ON appeal_decider.id = page.appeal_decided_by
ORDER BY page.queue_rank, page.due_at, page.id

-- name: list_marked_messages :many
-- Read the marked messages of a report, each with @around messages before and after it, oldest first.
WITH chat AS MATERIALIZED (
    SELECT messages.id, messages.sender, messages.text, messages.sent_at,
        messages.id = ANY (reports.message_ids) AS is_marked, row_number() OVER (ORDER BY messages.id) AS number
    FROM reports JOIN messages ON messages.session_id = reports.session_id
    WHERE reports.id = @report_id AND cardinality(reports.message_ids) > 0
)
SELECT chat.id, chat.sender, chat.text, chat.sent_at, chat.is_marked FROM chat
WHERE EXISTS (SELECT 1 FROM chat AS marked WHERE marked.is_marked AND abs(marked.number - chat.number) <= @around)
ORDER BY chat.number

-- name: read_report_context :one
-- Read the payment and the case of the report's session, and how many other reports about the same person ended with a
-- sanction that stands.
-- nullable: case_id
-- row: ReportContext
SELECT sessions.payment_id, (
        SELECT review_cases.id FROM review_cases WHERE review_cases.payment_id = sessions.payment_id
    ) AS case_id, (
        SELECT count(*)::integer FROM reports AS earlier
        WHERE CASE reports.reporter WHEN 'mitra' THEN earlier.customer_id = reports.customer_id
                ELSE earlier.mitra_id = reports.mitra_id END
            AND earlier.reporter = reports.reporter AND earlier.id <> reports.id
            AND earlier.status IN ('decided', 'appealed') AND earlier.decision IN ('warn', 'suspend')
            AND earlier.appeal_decision IS DISTINCT FROM 'overturned'
    ) AS sanctions_before
FROM reports JOIN sessions ON sessions.id = reports.session_id
WHERE reports.id = @report_id

-- name: lock_report :optional
-- Lock the report before an operator's step. Returns no row if there is no such report.
-- row: LockedReport
-- nullable: reason, level, decision, suspend_until, decided_by, decided_by_email, decided_at, approved_by
-- nullable: appeal_decision, appeal_decided_by, appeal_decided_by_email, appeal_decided_at
SELECT reports.id, reports.kind, reports.reason, reports.level, reports.status, reports.urgency, reports.reporter,
    reports.customer_id, reports.mitra_id, reports.decision, reports.suspend_until, reports.decided_by,
    decider.email AS decided_by_email, reports.decided_at, reports.approved_by, reports.appeal_decision,
    reports.appeal_decided_by, appeal_decider.email AS appeal_decided_by_email, reports.appeal_decided_at,
    curhat_now() AS now
FROM reports
LEFT JOIN operators AS decider ON decider.id = reports.decided_by
LEFT JOIN operators AS appeal_decider ON appeal_decider.id = reports.appeal_decided_by
WHERE reports.id = @report_id
FOR NO KEY UPDATE OF reports

-- name: decide_report :execrows
-- Decide the report (open → decided, or → awaiting_approval with @needs_approval). The next step of an approval is due
-- @due_within_seconds from now.
-- nullable: @suspend_until
UPDATE reports SET status = CASE WHEN @needs_approval THEN 'awaiting_approval' ELSE 'decided' END,
    decision = @decision, decision_note = @decision_note, suspend_until = @suspend_until, decided_by = @operator_id,
    decided_at = curhat_now(), closed_at = CASE WHEN @needs_approval THEN NULL ELSE curhat_now() END,
    due_at = CASE WHEN @needs_approval THEN curhat_now() + make_interval(secs => @due_within_seconds) ELSE due_at END
WHERE id = @report_id AND status = 'open'

-- name: approve_suspension :execrows
-- Approve the suspension for good (awaiting_approval → decided).
UPDATE reports SET status = 'decided', approved_by = @operator_id, approved_at = curhat_now(), closed_at = curhat_now()
WHERE id = @report_id AND status = 'awaiting_approval'

-- name: refuse_suspension :execrows
-- Take the unapproved decision back (awaiting_approval → open).
UPDATE reports SET status = 'open', decision = NULL, decision_note = NULL, suspend_until = NULL, decided_by = NULL,
    decided_at = NULL, due_at = curhat_now() + make_interval(secs => @due_within_seconds)
WHERE id = @report_id AND status = 'awaiting_approval'

-- name: decide_appeal :execrows
-- Decide the appeal (appealed → decided).
UPDATE reports SET status = 'decided', appeal_decision = @appeal_decision, appeal_note = @appeal_note,
    appeal_decided_by = @operator_id, appeal_decided_at = curhat_now(), closed_at = curhat_now()
WHERE id = @report_id AND status = 'appealed'

-- name: has_other_suspension :one
-- Read whether another report about the same person still suspends the person.
SELECT EXISTS (
    SELECT 1 FROM reports AS other JOIN reports AS this ON this.id = @report_id
    WHERE other.id <> this.id AND other.reporter = this.reporter
        AND CASE this.reporter WHEN 'mitra' THEN other.customer_id = this.customer_id
            ELSE other.mitra_id = this.mitra_id END
        AND other.status IN ('decided', 'appealed') AND other.decision = 'suspend'
        AND other.appeal_decision IS DISTINCT FROM 'overturned'
        AND (other.suspend_until IS NULL OR other.suspend_until > curhat_now())
) AS is_suspended

-- name: read_phone_number :one
-- Read the customer's phone number.
SELECT phone_number FROM people WHERE id = @customer_id
