-- name: arm_deadlines :exec
-- Arm a deadline for each entity (nothing → armed). If a deadline of this kind, entity and generation is already armed,
-- the statement moves that deadline to the new time.
-- nullable: @correlation_id
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT @kind, armed.entity_id, armed.generation, armed.due_at, @correlation_id
FROM unnest(@entity_ids::uuid[], @generations::integer[], @due_at::timestamptz[])
    AS armed (entity_id, generation, due_at)
ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at, attempts = 0, parked_at = NULL

-- name: arm_another_deadline :exec
-- Arm a deadline that is due after @wait_seconds (nothing → armed). Each transaction uses a new generation, so the
-- INSERT does not conflict with an earlier deadline. So the INSERT never waits for a worker that has claimed an earlier
-- deadline.
-- nullable: @correlation_id
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT @kind, entity_id, own_generation(), curhat_now() + make_interval(secs => @wait_seconds), @correlation_id
FROM unnest(@entity_ids::uuid[]) AS entity_id
ON CONFLICT (kind, entity_id, generation) DO NOTHING

-- name: arm_if_none_is_armed :exec
-- Arm a deadline that is due after @wait_seconds (nothing → armed). If a deadline of this kind is already armed for the
-- entity, the statement does nothing. The statement ignores a deadline that another worker has claimed, and never waits
-- for this deadline.
-- nullable: @correlation_id
WITH armed AS MATERIALIZED (
    SELECT id FROM deadlines WHERE kind = @kind AND entity_id = @entity_id AND parked_at IS NULL
    FOR KEY SHARE SKIP LOCKED
)
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT @kind, @entity_id, own_generation(), curhat_now() + make_interval(secs => @wait_seconds), @correlation_id
WHERE NOT EXISTS (SELECT 1 FROM armed)
ON CONFLICT (kind, entity_id, generation) DO NOTHING

-- name: disarm_deadlines :exec
-- Disarm the deadlines (armed → gone). The statement skips a deadline that a worker has locked, and the worker's
-- transition then finds nothing to do.
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines WHERE kind = ANY (@kinds) AND entity_id = ANY (@entity_ids::uuid[])
    FOR UPDATE SKIP LOCKED
)

-- name: due_deadlines :many
-- Find the deadlines that are due now, oldest first, at most @max_per_kind of each kind. Without a limit per kind, many
-- waiting deadlines of one kind would hide the deadlines of all other kinds. The statement takes no locks, because
-- claim_deadlines locks the rows. A subquery reads the clock, so that PostgreSQL calls curhat_now() once and can use
-- the result as an index bound.
-- row: DueDeadline
SELECT due.id, due.kind
FROM unnest(@kinds::text[]) AS wanted (kind)
CROSS JOIN LATERAL (
    SELECT id, kind, due_at FROM deadlines
    WHERE kind = wanted.kind AND parked_at IS NULL AND due_at <= (SELECT curhat_now())
    ORDER BY due_at
    LIMIT @max_per_kind
) AS due
ORDER BY due.due_at

-- name: due_parked_deadlines :many
-- Find the parked deadlines of these kinds whose next try is due, oldest first.
-- row: DueDeadline
SELECT id, kind FROM deadlines
WHERE parked_at IS NOT NULL AND due_at <= (SELECT curhat_now()) AND kind = ANY (@kinds::text[])
ORDER BY due_at
LIMIT @max_deadlines

-- name: seconds_until_next_due :one
-- Compute the seconds until the next deadline of these kinds is due. The result is negative if a deadline is overdue,
-- and null if no deadline is armed.
-- nullable: seconds
SELECT extract(epoch FROM min(due_at) - curhat_now())::float8 AS seconds FROM deadlines
WHERE parked_at IS NULL AND kind = ANY (@kinds::text[])

-- name: claim_deadlines :many
-- Claim the due deadlines (armed or parked → gone when this transaction commits). The statement skips deadlines that
-- another worker has locked. The statement also skips each deadline that was moved or disarmed after due_deadlines
-- found the deadline.
-- nullable: correlation_id
-- row: Deadline
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines
    WHERE id = ANY (@ids::bigint[]) AND due_at <= curhat_now()
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
RETURNING kind, entity_id, generation, due_at, correlation_id, attempts,
    extract(epoch FROM curhat_now() - due_at)::float8 AS late_seconds

-- name: postpone_deadline :exec
-- Postpone the deadline (armed → due again after @wait_seconds). If @is_parked is true, the statement also parks the
-- deadline until its next try. If @counts is true, the statement adds 1 to the deadline's tries. A deadline that is
-- already parked keeps its `parked_at`. Stores the transition's error.
UPDATE deadlines
SET attempts = attempts + @counts::boolean::integer, last_error = @last_error,
    due_at = curhat_now() + make_interval(secs => @wait_seconds),
    parked_at = CASE WHEN @is_parked THEN coalesce(parked_at, curhat_now()) END
WHERE id = @id

-- name: count_parked_deadlines :one
SELECT count(*) AS parked FROM deadlines WHERE parked_at IS NOT NULL

-- name: count_overdue_deadlines :one
-- Count the deadlines that are not parked and more than a minute late.
SELECT count(*) AS overdue FROM deadlines
WHERE parked_at IS NULL AND due_at < (SELECT curhat_now() - interval '1 minute')

-- name: list_parked_deadlines :many
-- Read the parked deadlines, in the order in which they were parked.
-- row: ParkedDeadline
-- nullable: correlation_id, last_error
SELECT id, kind, entity_id, attempts, parked_at, due_at AS next_try_at, correlation_id, last_error
FROM deadlines WHERE parked_at IS NOT NULL
ORDER BY parked_at, id
LIMIT @max_deadlines

-- name: retry_parked_deadlines :many
-- Retry parked deadlines (parked → armed, due now, with 0 tries). If @ids is null, the statement retries all parked
-- deadlines. Returns the retried deadlines.
-- nullable: @ids
UPDATE deadlines SET parked_at = NULL, attempts = 0, due_at = curhat_now()
WHERE parked_at IS NOT NULL AND (@ids::bigint[] IS NULL OR id = ANY (@ids::bigint[]))
RETURNING id, kind, entity_id
