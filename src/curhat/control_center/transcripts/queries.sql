-- type: sender = Role from curhat.kit.identity
-- type: kind = FoundGround from curhat.control_center.transcripts.schemas

-- name: find_session :optional
-- Returns no row if there is no such session.
SELECT id FROM sessions WHERE id = @session_id

-- name: read_messages :many
-- Read the oldest messages of a session, at most @max_messages, oldest first.
-- nullable: read_at
SELECT id, sender, text, sent_at, read_at FROM messages WHERE session_id = @session_id ORDER BY id LIMIT @max_messages

-- name: list_grounds :many
-- Read the reports, concerns and review cases of the session, the newest of each kind first. A case belongs to the
-- session's payment or to the payment of one of its extensions.
-- row: Ground
SELECT kind, id FROM (
    SELECT reports.kind, reports.id FROM reports WHERE reports.session_id = @session_id
    UNION ALL
    SELECT 'case', review_cases.id FROM review_cases WHERE review_cases.payment_id IN (
        SELECT sessions.payment_id FROM sessions WHERE sessions.id = @session_id
        UNION ALL
        SELECT extensions.payment_id FROM extensions WHERE extensions.session_id = @session_id
    )
) AS found
ORDER BY kind DESC, id DESC

-- name: find_approved_request :optional
-- Find the operator's request to read this chat that another operator approved within the last @valid_seconds.
SELECT id FROM transcript_requests
WHERE requested_by = @operator_id AND session_id = @session_id
    AND approved_at > curhat_now() - make_interval(secs => @valid_seconds)
ORDER BY approved_at DESC LIMIT 1

-- name: insert_transcript_request :one
-- Ask for an approval. A request of the same operator that waits already gets the new reason and time.
INSERT INTO transcript_requests (session_id, requested_by, reason) VALUES (@session_id, @operator_id, @reason)
ON CONFLICT (session_id, requested_by) WHERE approved_by IS NULL
DO UPDATE SET reason = excluded.reason, requested_at = excluded.requested_at
RETURNING id

-- name: lock_transcript_request :optional
-- Lock the request. Returns no row if it does not exist, or waited longer than @waits_seconds without an approval.
-- nullable: approved_by
-- row: LockedTranscriptRequest
SELECT session_id, requested_by, approved_by FROM transcript_requests
WHERE id = @request_id
    AND (approved_by IS NOT NULL OR requested_at > curhat_now() - make_interval(secs => @waits_seconds))
FOR NO KEY UPDATE

-- name: approve_transcript_request :execrows
-- Approve the request (waiting → approved).
UPDATE transcript_requests SET approved_by = @operator_id, approved_at = curhat_now()
WHERE id = @request_id AND approved_by IS NULL

-- name: list_transcript_requests :many
-- Read the requests, newest first: those that wait, and those approved within the last @valid_seconds.
-- nullable: approved_by, approved_by_email, approved_at, @ids
-- row: TranscriptRequestRow
SELECT requests.id, requests.session_id, requests.reason, requests.requested_by, requester.email AS requested_by_email,
    requests.requested_at, requests.approved_by, approver.email AS approved_by_email, requests.approved_at
FROM transcript_requests AS requests
JOIN operators AS requester ON requester.id = requests.requested_by
LEFT JOIN operators AS approver ON approver.id = requests.approved_by
WHERE requests.id = ANY (@ids::uuid[])
    OR @ids IS NULL AND (
        requests.approved_by IS NULL AND requests.requested_at > curhat_now() - make_interval(secs => @waits_seconds)
        OR requests.approved_at > curhat_now() - make_interval(secs => @valid_seconds)
    )
ORDER BY requests.requested_at DESC, requests.id DESC
LIMIT @max_requests
