-- name: lock_email
-- Takes the lock of an e-mail's tries ($1 its digest) for this transaction. A statement of its own: the next one sees
-- what the last holder has committed.
SELECT pg_advisory_xact_lock(hashtextextended('sign-in tries of ' || encode($1::bytea, 'hex'), 0))

-- name: wait_seconds
-- Seconds until the e-mail with digest $1 may be tried again, of which $2 tries in $3 seconds are let through; null: now.
SELECT extract(epoch FROM tried_at + make_interval(secs => $3) - curhat_now())::double precision
FROM operator_sign_in_tries
WHERE email_digest = $1 AND tried_at > (SELECT curhat_now()) - make_interval(secs => $3)
ORDER BY tried_at DESC OFFSET $2::integer - 1 LIMIT 1

-- name: note_try
-- One more try for the e-mail with digest $1.
INSERT INTO operator_sign_in_tries (email_digest) VALUES ($1)

-- name: forget_tries
-- The tries for an e-mail are forgotten: its owner has signed in.
DELETE FROM operator_sign_in_tries WHERE email_digest = $1

-- name: operator_of_email
-- Whoever may sign in with e-mail $1.
SELECT id, password_hash FROM operators WHERE email = $1 AND disabled_at IS NULL

-- name: disable
-- admitted → disabled, with every device signed out. No row: there is no such operator, or it is disabled.
WITH gone AS (
    UPDATE operators SET disabled_at = curhat_now() WHERE email = $1 AND disabled_at IS NULL RETURNING id
), signed_out AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM gone
    WHERE operator_tokens.operator_id = gone.id AND operator_tokens.revoked_at IS NULL
)
SELECT id FROM gone

-- name: reset
-- An operator begins anew, as when created: password $2, no authenticator app, every device signed out; also one who was
-- disabled. No row: there is no such operator.
WITH anew AS (
    UPDATE operators SET password_hash = $2, totp_salt = NULL, totp_new_salt = NULL, disabled_at = NULL
    WHERE email = $1 RETURNING id
), signed_out AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM anew
    WHERE operator_tokens.operator_id = anew.id AND operator_tokens.revoked_at IS NULL
), forgotten AS (
    DELETE FROM operator_recovery_codes USING anew WHERE operator_recovery_codes.operator_id = anew.id
)
SELECT id FROM anew

-- name: lock_operator
-- Takes the row of an operator who may sign in.
SELECT id, email, role, password_hash, totp_salt, totp_new_salt, totp_last_step, curhat_now() AS now
FROM operators WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE

-- name: insert_operator
-- nothing → operator. No row: the e-mail is taken.
INSERT INTO operators (email, role, password_hash) VALUES ($1, $2, $3)
ON CONFLICT (email) DO NOTHING
RETURNING id

-- name: set_password
-- One password → another.
UPDATE operators SET password_hash = $2 WHERE id = $1

-- name: begin_totp
-- A new secret is shown; the one in use stays.
UPDATE operators SET totp_new_salt = $2 WHERE id = $1

-- name: enrol_totp
-- The new secret → the one in use, its code of step $2 used.
UPDATE operators SET totp_salt = totp_new_salt, totp_new_salt = NULL, totp_last_step = $2 WHERE id = $1

-- name: use_totp
-- A code is good once.
UPDATE operators SET totp_last_step = $2 WHERE id = $1

-- name: forget_recovery_codes
DELETE FROM operator_recovery_codes WHERE operator_id = $1

-- name: insert_recovery_code
INSERT INTO operator_recovery_codes (operator_id, digest) VALUES ($1, $2)

-- name: use_recovery_code
-- unused → used. No row: there is no such code, or it is used.
UPDATE operator_recovery_codes SET used_at = curhat_now()
WHERE operator_id = $1 AND digest = $2 AND used_at IS NULL
RETURNING digest

-- name: count_recovery_codes
SELECT count(*) FROM operator_recovery_codes WHERE operator_id = $1 AND used_at IS NULL

-- name: insert_token
-- nothing → good for $6 seconds.
INSERT INTO operator_tokens (digest, operator_id, transport, user_agent, address, created_at, last_seen_at, expires_at)
SELECT $1, $2, $3, $4, $5, now, now, now + make_interval(secs => $6) FROM curhat_now() AS now
RETURNING id

-- name: token
-- Whose good token $1 is. When it was last seen is written once a minute.
WITH good AS MATERIALIZED (
    SELECT id, operator_id, transport, last_seen_at < curhat_now() - interval '1 minute' AS to_be_seen
    FROM operator_tokens
    WHERE digest = $1 AND revoked_at IS NULL AND expires_at > curhat_now()
), seen AS (
    UPDATE operator_tokens SET last_seen_at = curhat_now() FROM good
    WHERE operator_tokens.id = good.id AND good.to_be_seen
)
SELECT good.id AS token_id, good.transport, operators.id, operators.email, operators.role,
    operators.totp_salt IS NOT NULL AS totp_enrolled
FROM good JOIN operators ON operators.id = good.operator_id AND operators.disabled_at IS NULL

-- name: is_of_the_apps
-- Whether this is the good token of a customer or a mitra, presented as it was given ($2).
SELECT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE digest = $1 AND transport = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
)

-- name: devices
SELECT id, user_agent, address, transport, created_at, last_seen_at, expires_at, curhat_now() AS now
FROM operator_tokens
WHERE operator_id = $1 AND revoked_at IS NULL AND expires_at > curhat_now()
ORDER BY last_seen_at DESC, id DESC
LIMIT 100

-- name: revoke_token
-- good → revoked: token $2 of operator $1. No row: it was not good.
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > curhat_now()
RETURNING id

-- name: revoke_other_tokens
-- good → revoked: all tokens of operator $1 but $2.
UPDATE operator_tokens SET revoked_at = curhat_now() WHERE operator_id = $1 AND id <> $2 AND revoked_at IS NULL

-- name: server_now
SELECT curhat_now()

-- name: prune_tries
-- Tries that no limit looks at any more: at most $1.
DELETE FROM operator_sign_in_tries WHERE id IN (
    SELECT id FROM operator_sign_in_tries WHERE tried_at < (SELECT curhat_now() - interval '1 day')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)

-- name: prune_tokens
-- Tokens that admit nobody for a week: at most $1.
DELETE FROM operator_tokens WHERE id IN (
    SELECT id FROM operator_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
