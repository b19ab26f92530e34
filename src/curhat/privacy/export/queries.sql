-- type: role = Role from curhat.kit.identity
-- type: sender = Role from curhat.kit.identity
-- type: reason = ReportReason from curhat.safety.reports.states
-- type: answer = RatingAnswer from curhat.safety.ratings.states
-- type: tags = RatingTag from curhat.safety.ratings.states
-- type: why = OpeningReason from curhat.privacy.export.schemas
-- type: report_status = OwnReportStatus from curhat.safety.reports.states

-- name: lock_exports_of :exec
-- Take the advisory lock of this person's exports for this transaction, so that the count of the day is exact.
SELECT FROM pg_advisory_xact_lock(hashtextextended('exports of ' || @role::text || ' ' || @user_id::uuid, 0))

-- name: find_export_wait :optional
-- Read the seconds until this person can begin another export. Returns no row if the person can begin one now.
SELECT extract(epoch FROM newest.begun_at + interval '24 hours' - curhat_now())::float8 AS wait_seconds
FROM (
    SELECT begun_at FROM exports
    WHERE user_id = @user_id AND role = @role AND begun_at > curhat_now() - interval '24 hours'
    ORDER BY begun_at DESC OFFSET @max_exports::integer - 1 LIMIT 1
) AS newest

-- name: insert_export :one
-- Count an export. Returns the time.
INSERT INTO exports (role, user_id) VALUES (@role, @user_id) RETURNING begun_at

-- name: prune_exports :execrows
-- Delete at most @max_rows exports that began more than a day ago, oldest first.
DELETE FROM exports WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM exports WHERE begun_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY begun_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: is_signed_in :one
-- Return whether this token of this person is still valid.
SELECT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE digest = @digest AND role = @role AND user_id = @user_id
        AND revoked_at IS NULL AND expires_at > curhat_now()
) AS is_signed_in

-- name: find_profile :one
-- Read this person's account in one role.
-- row: ProfileRow
SELECT people.phone_number, coalesce(customers.call_name, mitras.display_name) AS name,
    coalesce(customers.created_at, mitras.created_at) AS member_since
FROM people
LEFT JOIN customers ON customers.id = people.id AND @role::text = 'customer'
LEFT JOIN mitras ON mitras.id = people.id AND @role = 'mitra'
WHERE people.id = @user_id

-- name: list_own_reports :many
-- Read the oldest reports that this person has made, after the report @after_id.
-- nullable: note
-- row: OwnReportRow
SELECT id, session_id, reason, note, created_at, CASE
    WHEN status IN ('open', 'awaiting_approval') THEN 'received'
    WHEN decision = 'no_action' OR appeal_decision = 'overturned' THEN 'no_violation'
    ELSE 'acted'
END AS report_status
FROM reports
WHERE CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END = @user_id
    AND reporter = @role AND kind = 'report' AND id > @after_id
ORDER BY id LIMIT @max_reports

-- name: list_ratings :many
-- Read this customer's ratings of these sessions.
-- row: RatingRow
SELECT session_id, answer, tags, rated_at FROM ratings
WHERE session_id = ANY (@session_ids::uuid[]) AND customer_id = @customer_id

-- name: list_openings :many
-- Read when and why operators read the chats of these sessions, whole or in a report. While a report about the session
-- or a case of its payments waits for a decision, its openings are left out. `why` never says who reported what:
-- `safety` stands for reports and concerns of both sides. An audit entry of a whole chat begins with its ground.
-- row: OpeningRow
WITH concerned AS MATERIALIZED (
    SELECT sessions.id FROM sessions
    WHERE sessions.id = ANY (@session_ids::uuid[])
        AND NOT EXISTS (SELECT 1 FROM reports WHERE reports.session_id = sessions.id AND reports.status <> 'decided')
        AND NOT EXISTS (
            SELECT 1 FROM review_cases
            WHERE review_cases.payment_id IN (
                SELECT sessions.payment_id
                UNION ALL
                SELECT extensions.payment_id FROM extensions WHERE extensions.session_id = sessions.id
            ) AND (review_cases.status = 'open' OR review_cases.needs_approval AND review_cases.approved_by IS NULL)
        )
)
SELECT opened.session_id, opened.opened_at, opened.why
FROM (
    SELECT concerned.id AS session_id, audit_entries.occurred_at AS opened_at,
        CASE substring(audit_entries.new_value FROM '^[a-z_]+')
            WHEN 'report' THEN 'safety' WHEN 'concern' THEN 'safety' WHEN 'case' THEN 'payment' ELSE 'other'
        END AS why
    FROM concerned JOIN audit_entries ON audit_entries.subject_id = concerned.id::text
    WHERE audit_entries.subject = 'session' AND audit_entries.action = 'transcript_revealed'
    UNION ALL
    SELECT concerned.id, audit_entries.occurred_at, 'safety'
    FROM concerned
    JOIN reports ON reports.session_id = concerned.id
    JOIN audit_entries ON audit_entries.subject_id = reports.id::text
    WHERE audit_entries.subject = 'report' AND audit_entries.action = 'report_opened'
) AS opened
ORDER BY opened.opened_at
