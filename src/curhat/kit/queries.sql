-- name: begin
-- Reads the key $3 of user ($1, $2), and takes its lock $4 for this transaction unless another request holds it.
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock($4) AS free
)
SELECT lock.free, stored.fingerprint, stored.status, stored.body,
    stored.created_at < curhat_now() - interval '10 seconds' AS abandoned
FROM lock
LEFT JOIN idempotency_keys AS stored ON stored.role = $1 AND stored.user_id = $2 AND stored.key = $3

-- name: insert
-- nothing → answered; a second answer under the same key violates the primary key.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body) VALUES ($1, $2, $3, $4, $5, $6)

-- name: store
-- nothing or running → answered with a refusal; a stored answer stays.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (role, user_id, key) DO UPDATE SET status = excluded.status, body = excluded.body
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint
RETURNING 1

-- name: mark_running
-- nothing or abandoned → running. No row: another request was first, after our look.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint) VALUES ($1, $2, $3, $4)
ON CONFLICT (role, user_id, key) DO UPDATE SET created_at = curhat_now()
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint
RETURNING 1

-- name: finish
-- running → answered.
UPDATE idempotency_keys SET status = $4, body = $5
WHERE role = $1 AND user_id = $2 AND key = $3 AND status IS NULL

-- name: prune
-- Keys older than a day are forgotten, at most $1: no client repeats a request that late.
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
