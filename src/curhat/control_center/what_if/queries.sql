-- type: kind = PairingKind from curhat.pairing.states
-- type: pairing_status = PairingStatus from curhat.pairing.states
-- type: tag = FailureTag from curhat.pairing.states
-- type: fallback_status = FallbackStatus from curhat.pairing.states
-- type: outcome = RequestStatus from curhat.pairing.states
-- type: close_reason = CloseReason from curhat.pairing.states
-- type: status = WhatIfStatus from curhat.control_center.what_if.schemas

-- name: list_pairings :many
-- Read the decided pairings of the newest @max_payments payments that were confirmed from @since to @until, with the
-- session of each matched pairing. The oldest pairing comes first.
-- row: PastPairing
-- nullable: target_mitra_id, tag, fallback_status, mitra_id, started_at, ended_at
SELECT pairings.id, page.id AS payment_id, pairings.kind, pairings.status AS pairing_status, pairings.created_at,
    pairings.deadline_at, pairings.decided_at::timestamptz AS decided_at, pairings.failure_tag AS tag,
    pairings.target_mitra_id, pairings.fallback_status, page.duration_minutes, sessions.mitra_id, sessions.started_at,
    sessions.ended_at
FROM (
    SELECT id, duration_minutes FROM payments
    WHERE confirmed_at >= @since AND confirmed_at < @until AND purpose = 'session'
    ORDER BY confirmed_at DESC LIMIT @max_payments
) AS page
JOIN pairings ON pairings.payment_id = page.id AND pairings.status <> 'open'
LEFT JOIN sessions ON sessions.pairing_id = pairings.id
ORDER BY pairings.created_at, pairings.id

-- name: list_requests :many
-- Read the requests of these pairings, at most @max_requests.
-- row: PastRequest
-- nullable: close_reason, answered_at
SELECT requests.pairing_id, requests.mitra_id, requests.status AS outcome, requests.close_reason, requests.offered_at,
    requests.answered_at
FROM unnest(@pairing_ids::uuid[]) AS asked (id)
JOIN requests ON requests.pairing_id = asked.id
LIMIT @max_requests

-- name: list_capacities :many
SELECT id, display_name, max_customers FROM mitras WHERE id = ANY (@mitra_ids::uuid[])

-- name: insert_what_if :one
INSERT INTO what_ifs (asked_by, question) VALUES (@asked_by, @question) RETURNING id

-- name: lock_asking :one
-- Take the lock under which what-ifs are asked, until this transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('what-ifs', 0)) AS locked

-- name: count_unfinished :one
SELECT count(*) AS unfinished FROM what_ifs WHERE status IN ('waiting', 'running')

-- name: list_what_ifs :many
-- Read the newest what-ifs, at most @max_rows. If @only_id is not null, only this one.
-- row: WhatIfRow
-- nullable: finished_at, answer, problem, @only_id
SELECT what_ifs.id, what_ifs.status, what_ifs.question, what_ifs.asked_by, operators.email, what_ifs.asked_at,
    what_ifs.progress::double precision AS progress, what_ifs.finished_at, what_ifs.answer, what_ifs.problem
FROM what_ifs JOIN operators ON operators.id = what_ifs.asked_by
WHERE @only_id::uuid IS NULL OR what_ifs.id = @only_id
ORDER BY what_ifs.asked_at DESC, what_ifs.id DESC
LIMIT @max_rows

-- name: fail_abandoned :exec
-- running → failed, if the worker has not written for @max_silent_seconds.
UPDATE what_ifs SET status = 'failed', finished_at = curhat_now(), problem = 'the worker stopped'
WHERE status = 'running' AND alive_at < curhat_now() - make_interval(secs => @max_silent_seconds)

-- name: claim_what_if :optional
-- Claim the oldest waiting what-if (waiting → running). Returns no row if none waits, or if one runs.
-- row: ClaimedWhatIf
UPDATE what_ifs SET status = 'running', started_at = curhat_now(), alive_at = curhat_now()
WHERE id = (
    SELECT waiting.id FROM what_ifs AS waiting
    WHERE waiting.status = 'waiting' AND NOT EXISTS (SELECT FROM what_ifs AS other WHERE other.status = 'running')
    ORDER BY waiting.asked_at, waiting.id LIMIT 1 FOR UPDATE SKIP LOCKED
) AND status = 'waiting'
RETURNING id, question

-- name: write_progress :optional
-- Write the progress of a running what-if. Returns no row if it does not run any more, for example because it was
-- cancelled.
UPDATE what_ifs SET progress = @progress::double precision, alive_at = curhat_now() WHERE id = @id AND status = 'running' RETURNING id

-- name: finish_what_if :exec
-- running → done.
UPDATE what_ifs SET status = 'done', progress = 1, finished_at = curhat_now(), answer = @answer
WHERE id = @id AND status = 'running'

-- name: fail_what_if :exec
-- running → failed.
UPDATE what_ifs SET status = 'failed', finished_at = curhat_now(), problem = @problem
WHERE id = @id AND status = 'running'

-- name: cancel_what_if :execrows
-- waiting or running → cancelled. Changes no row if it is finished.
UPDATE what_ifs SET status = 'cancelled', finished_at = curhat_now()
WHERE id = @id AND status IN ('waiting', 'running')
