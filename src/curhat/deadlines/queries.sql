-- name: arm
-- nothing → armed, of the kind $1: entities $2, their generations $3, when each is due $4. The same kind, entity and
-- generation armed again moves to the new time.
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
SELECT $1, armed.entity_id, armed.generation, armed.due_at, $5
FROM unnest($2::uuid[], $3::integer[], $4::timestamptz[]) AS armed (entity_id, generation, due_at)
ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at, attempts = 0, parked_at = NULL

-- name: arm_now
-- nothing → armed and due, under a generation that no other transaction has: one of before, which a worker may hold, is
-- neither waited for nor taken for this one.
INSERT INTO deadlines (kind, entity_id, generation, due_at, correlation_id)
VALUES ($1, $2, (pg_current_xact_id()::text::numeric % 2147483647)::integer, curhat_now(), $3)
ON CONFLICT (kind, entity_id, generation) DO NOTHING

-- name: disarm
-- armed → gone, those of the kinds $1 of the entities $2; one that a worker holds right now fires as a no-op.
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines WHERE kind = ANY ($1) AND entity_id = ANY ($2::uuid[]) FOR UPDATE SKIP LOCKED
)

-- name: due
-- What is due now, oldest first. No locks: claiming takes them. The clock is read once, in a query of its own, so
-- that it can bound the index.
SELECT id, kind FROM deadlines
WHERE parked_at IS NULL AND due_at <= (SELECT curhat_now())
ORDER BY due_at
LIMIT $1

-- name: next_due_in_seconds
-- How long until something is due; null when nothing is armed.
SELECT extract(epoch FROM min(due_at) - curhat_now())::float8 FROM deadlines WHERE parked_at IS NULL

-- name: claim
-- Those of $1 that are armed and due → gone with this transaction, except what another worker holds or was moved
-- meanwhile.
DELETE FROM deadlines WHERE id IN (
    SELECT id FROM deadlines
    WHERE id = ANY ($1::bigint[]) AND parked_at IS NULL AND due_at <= curhat_now()
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
RETURNING kind, entity_id, generation, due_at, correlation_id, attempts,
    extract(epoch FROM curhat_now() - due_at)::float8 AS late_seconds

-- name: limit_waits
-- From here on this transaction waits for no lock longer than $1.
SELECT set_config('lock_timeout', $1, true)

-- name: postpone
-- armed → tried again after $2 seconds with its error written down, or parked when $3.
UPDATE deadlines
SET attempts = attempts + 1, last_error = $4, due_at = curhat_now() + make_interval(secs => $2),
    parked_at = CASE WHEN $3 THEN curhat_now() END
WHERE id = $1

-- name: count_parked
SELECT count(*) FROM deadlines WHERE parked_at IS NOT NULL
