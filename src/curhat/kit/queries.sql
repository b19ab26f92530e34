-- name: begin_key :one
-- Read the key's stored answer, and take the key's advisory lock for this transaction. `is_free` is false when another
-- HTTP request holds the key's advisory lock.
-- nullable: fingerprint, status, body, is_abandoned
WITH lock AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(@lock) AS is_free
)
SELECT lock.is_free, stored.fingerprint, stored.status, stored.body,
    stored.created_at < curhat_now() - interval '10 seconds' AS is_abandoned
FROM lock
LEFT JOIN idempotency_keys AS stored ON stored.role = @role AND stored.user_id = @user_id AND stored.key = @key

-- name: insert_answer :exec
-- Store the first answer under an idempotency key (nothing → answered). A second answer under the same idempotency key violates the table's
-- primary key.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
VALUES (@role, @user_id, @key, @fingerprint, @status, @body)

-- name: store_answer :execrows
-- Store the answer under an idempotency key (nothing or running → answered). Changes no row if the key already has an answer.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint, status, body)
VALUES (@role, @user_id, @key, @fingerprint, @status, @body)
ON CONFLICT (role, user_id, key) DO UPDATE SET status = excluded.status, body = excluded.body
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint

-- name: mark_key_running :execrows
-- Mark the key as running (nothing or abandoned → running). Changes no row if the key already has an answer, or belongs
-- to an HTTP request with another fingerprint.
INSERT INTO idempotency_keys (role, user_id, key, fingerprint) VALUES (@role, @user_id, @key, @fingerprint)
ON CONFLICT (role, user_id, key) DO UPDATE SET created_at = curhat_now()
WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = excluded.fingerprint

-- name: prune_keys :execrows
-- Delete at most @max_keys keys that are older than a day, oldest first. After a day, no client repeats an HTTP
-- request.
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY created_at LIMIT @max_keys FOR UPDATE SKIP LOCKED
))

-- name: insert_audit_entry :exec
-- Insert an entry into the audit. A trigger refuses every later change of the entry.
-- nullable: @old_value, @new_value
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES (@actor, @action, @subject, @subject_id, @old_value, @new_value)

-- name: forget_name_in_audit :one
-- Replace the name of a deleted mitra in the audit. The function forget_name_in_audit can change nothing else.
SELECT forget_name_in_audit(@mitra_id)::text AS done

-- name: delete_keys_of_user :exec
-- Delete every idempotency key of this user. The stored answers hold names and texts.
DELETE FROM idempotency_keys WHERE role = @role AND user_id = @user_id

-- name: delete_keys_about :exec
-- Delete the keys of these users whose stored answer names the person @about, or one of the sessions @session_ids. Also
-- delete those that are older than 24 hours, as prune_keys does.
DELETE FROM idempotency_keys
WHERE role = @role AND user_id = ANY (@user_ids::uuid[])
    AND (created_at < curhat_now() - interval '24 hours' OR position(@about::text IN body) > 0
        OR EXISTS (SELECT 1 FROM unnest(@session_ids::uuid[]) AS session_id WHERE position(session_id::text IN body) > 0))

-- name: read_clock :one
-- Read the database's clock. Only this clock decides whether a time has passed.
SELECT curhat_now() AS now

-- name: limit_lock_waits :one
-- Limit each later lock wait of this transaction to @lock_timeout.
SELECT set_config('lock_timeout', @lock_timeout, true) AS lock_timeout

-- name: plan_for_parameters :one
-- From now on, PostgreSQL plans each statement of this transaction for the actual values of the statement's parameters.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS plan_cache_mode

-- name: has_audit_entry :one
SELECT EXISTS (
    SELECT 1 FROM audit_entries WHERE subject_id = @subject_id AND action = @action
) AS has_audit_entry
