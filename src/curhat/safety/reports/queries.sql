-- type: role = Role from curhat.kit.identity
-- type: reporter = Role from curhat.kit.identity
-- type: reason = ReportReason from curhat.safety.reports.states
-- type: level = ConcernLevel from curhat.safety.reports.states
-- type: report_status = ReportStatus from curhat.safety.reports.states
-- type: decision = ReportDecision from curhat.safety.reports.states
-- type: appeal_decision = AppealDecision from curhat.safety.reports.states
-- type: notice_kind = NoticeKind from curhat.safety.reports.states

-- name: lock_reports_of :exec
-- Take the advisory lock of this person's reports for this transaction, so that the count of the day is exact.
SELECT FROM pg_advisory_xact_lock(hashtextextended('reports of ' || @reporter || ' ' || @user_id::uuid, 0))

-- name: find_payment_of_session :optional
-- Find the payment of this member's session. Returns no row if the session does not exist or belongs to others.
SELECT payment_id FROM sessions
WHERE id = @session_id AND @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END

-- name: lock_session :one
-- Lock the session, as a step that deletes the text does. `has_text`: the text is not deleted. A chat in which nobody
-- wrote can be reported too.
-- row: ReportedSession
SELECT customer_id, mitra_id, text_deleted_at IS NULL AS has_text FROM sessions WHERE id = @session_id
FOR NO KEY UPDATE

-- name: find_report :optional
-- Find the report that this side has made about the session.
SELECT id FROM reports WHERE session_id = @session_id AND reporter = @reporter AND kind = 'report'

-- name: find_report_wait :optional
-- Read the seconds until this person can make another limited report. Returns no row if the person can report now. Only
-- the newest reports of the last 24 hours count, and none with a reason of @unlimited_reasons.
SELECT extract(epoch FROM newest.created_at + interval '24 hours' - curhat_now())::float8 AS wait_seconds
FROM (
    SELECT created_at FROM reports
    WHERE CASE @reporter::text WHEN 'customer' THEN customer_id ELSE mitra_id END = @user_id
        AND reporter = @reporter AND kind = 'report' AND reason <> ALL (@unlimited_reasons::text[])
        AND created_at > curhat_now() - interval '24 hours'
    ORDER BY created_at DESC OFFSET @max_reports - 1 LIMIT 1
) AS newest

-- name: count_messages_of_session :one
-- Count how many of these messages belong to the session.
SELECT count(*)::integer AS found FROM messages WHERE session_id = @session_id AND id = ANY (@message_ids::uuid[])

-- name: insert_report :one
-- Insert a report (nothing → open). The caller holds the session's lock, and this side has no report about the session.
-- nullable: @note
-- row: InsertedReport
INSERT INTO reports (session_id, customer_id, mitra_id, reporter, reason, note, message_ids, urgency, due_at)
VALUES (@session_id, @customer_id, @mitra_id, @reporter, @reason, @note, @message_ids, @urgency,
    curhat_now() + make_interval(secs => @due_within_seconds))
RETURNING id, created_at

-- name: count_concerns :one
-- Count the concerns about the customer of this session.
SELECT count(*)::integer AS concerns FROM reports WHERE session_id = @session_id AND kind = 'concern'

-- name: insert_concern :one
-- Insert a concern (nothing → open). The caller holds the session's lock.
-- nullable: @note
-- row: InsertedReport
INSERT INTO reports (kind, session_id, customer_id, mitra_id, reporter, level, note, urgency, due_at)
VALUES ('concern', @session_id, @customer_id, @mitra_id, 'mitra', @level, @note, @urgency,
    curhat_now() + make_interval(secs => @due_within_seconds))
RETURNING id, created_at

-- name: list_reports_of_customer :many
-- Read the newest reports that this customer has made, before the report @before_id.
-- nullable: decision, appeal_decision
-- row: OwnReport
SELECT id, session_id, reason, status AS report_status, decision, appeal_decision, created_at FROM reports
WHERE customer_id = @user_id AND reporter = 'customer' AND kind = 'report' AND id < @before_id
ORDER BY id DESC LIMIT @max_reports

-- name: list_reports_of_mitra :many
-- Read the newest reports that this mitra has made, before the report @before_id.
-- nullable: decision, appeal_decision
-- row: OwnReport
SELECT id, session_id, reason, status AS report_status, decision, appeal_decision, created_at FROM reports
WHERE mitra_id = @user_id AND reporter = 'mitra' AND kind = 'report' AND id < @before_id
ORDER BY id DESC LIMIT @max_reports

-- name: insert_notices :many
-- Insert the notices. Each array has one element per notice; a null stands for no report or for no end. A notice that
-- exists already stays unchanged.
-- nullable: @report_id, @suspended_until
INSERT INTO notices (role, user_id, kind, report_id, suspended_until)
VALUES (@role, @user_id, @notice_kind, @report_id, @suspended_until)
ON CONFLICT DO NOTHING
RETURNING id

-- name: list_notices :many
-- Read this person's newest notices before the notice @before_id, each with its report, if there is one.
-- nullable: reason, session_id, reporter, suspended_until, acknowledged_at, withdrawn_at, appeal_text, appealed_at
-- nullable: appeal_decision
-- row: NoticeRow
SELECT notices.id, notices.kind AS notice_kind, reports.reason, reports.session_id, reports.reporter,
    notices.suspended_until, notices.created_at, notices.acknowledged_at, notices.withdrawn_at, reports.appeal_text,
    reports.appealed_at, reports.appeal_decision, curhat_now() AS server_now
FROM notices LEFT JOIN reports ON reports.id = notices.report_id
WHERE notices.user_id = @user_id AND notices.role = @role AND notices.id < @before_id
ORDER BY notices.id DESC LIMIT @max_notices

-- name: read_notices :many
-- Read these notices, each with its report, if there is one.
-- nullable: reason, session_id, reporter, suspended_until, acknowledged_at, withdrawn_at, appeal_text, appealed_at
-- nullable: appeal_decision
-- row: NoticeRow
SELECT notices.id, notices.kind AS notice_kind, reports.reason, reports.session_id, reports.reporter,
    notices.suspended_until, notices.created_at, notices.acknowledged_at, notices.withdrawn_at, reports.appeal_text,
    reports.appealed_at, reports.appeal_decision, curhat_now() AS server_now
FROM notices LEFT JOIN reports ON reports.id = notices.report_id
WHERE notices.id = ANY (@ids::uuid[])
ORDER BY notices.id

-- name: acknowledge_notice :optional
-- Acknowledge this person's notice. A repeated call keeps the first time. Returns no row if there is no such notice.
UPDATE notices SET acknowledged_at = coalesce(acknowledged_at, curhat_now())
WHERE id = @notice_id AND user_id = @user_id AND role = @role
RETURNING id

-- name: list_warnings_to_acknowledge :many
-- Find the warnings that this person must acknowledge, oldest first. The index notices_to_acknowledge finds them.
SELECT id FROM notices
WHERE user_id = @user_id AND role = @role AND kind = 'warning' AND acknowledged_at IS NULL AND withdrawn_at IS NULL
ORDER BY id LIMIT @max_notices

-- name: withdraw_sanctions :exec
-- Withdraw the warning or suspension of this report: an appeal has overturned the decision.
UPDATE notices SET withdrawn_at = curhat_now()
WHERE report_id = @report_id AND kind IN ('warning', 'suspension') AND withdrawn_at IS NULL

-- name: find_report_of_notice :optional
-- Find the report of this person's notice. Returns no row if there is no such notice.
-- nullable: report_id
-- row: NoticeReport
SELECT report_id, kind AS notice_kind FROM notices WHERE id = @notice_id AND user_id = @user_id AND role = @role

-- name: lock_decision :one
-- Lock the report, and read whether an appeal is still possible.
-- nullable: appealed_at
-- row: LockedDecision
SELECT status AS report_status, appealed_at, coalesce(closed_at, created_at) AS decided_at, curhat_now() AS now
FROM reports WHERE id = @report_id
FOR NO KEY UPDATE

-- name: insert_appeal :exec
-- Record the appeal (decided → appealed). The caller has locked and checked the report.
UPDATE reports SET status = 'appealed', appeal_text = @appeal_text, appealed_at = curhat_now(),
    due_at = curhat_now() + make_interval(secs => @due_within_seconds)
WHERE id = @report_id
