-- type: role = OperatorRole from curhat.control_center.operators.permissions
-- type: transport = Transport from curhat.accounts.schemas
-- type: factor = Factor from curhat.control_center.operators.throttle

-- name: lock_sign_in_tries :one
-- Take the advisory lock for the sign-in tries of one e-mail, until this transaction ends. The lock needs a separate
-- statement, so that the next statement sees the tries that the previous lock holder committed.
SELECT pg_advisory_xact_lock(hashtextextended('sign-in tries of ' || encode(@email_digest::bytea, 'hex'), 0)) AS locked

-- name: count_sign_in_tries :one
-- Count the wrong tries of one sign-in factor for this e-mail in the last 24 hours. `own` counts the tries of this
-- requester. `own_age_seconds` is the age of this requester's newest try. `strangers` counts the tries of all unknown
-- devices. `strangers_age_seconds` is the age of the newest try of an unknown device.
-- nullable: own_age_seconds, strangers_age_seconds
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), tries AS (
    SELECT tried_at, coalesce(requester = @requester, false) AS is_own, NOT is_known_device AS is_strangers
    FROM operator_sign_in_tries, moment
    WHERE email_digest = @email_digest AND factor = @factor AND tried_at > moment.now - interval '24 hours'
)
SELECT count(*) FILTER (WHERE is_own) AS own,
    extract(epoch FROM moment.now - max(tried_at) FILTER (WHERE is_own))::double precision AS own_age_seconds,
    count(*) FILTER (WHERE is_strangers) AS strangers,
    extract(epoch FROM moment.now - max(tried_at) FILTER (WHERE is_strangers))::double precision
        AS strangers_age_seconds
FROM moment LEFT JOIN tries ON true GROUP BY moment.now

-- name: insert_sign_in_try :one
-- Insert one try of one sign-in factor for this e-mail. Returns the try's id.
INSERT INTO operator_sign_in_tries (email_digest, factor, requester, is_known_device)
VALUES (@email_digest, @factor, @requester, @is_known_device)
RETURNING id

-- name: delete_sign_in_try :exec
-- Delete the try with this id, because its password was right.
DELETE FROM operator_sign_in_tries WHERE id = @id

-- name: delete_sign_in_tries :exec
-- Delete the tries of this requester for this e-mail, because the requester has proved that the e-mail belongs to the
-- requester.
DELETE FROM operator_sign_in_tries WHERE email_digest = @email_digest AND requester = @requester

-- name: find_operator_by_email :optional
-- Find the operator with this e-mail. Returns no row if no operator has this e-mail, or the operator is disabled.
SELECT id, password_hash FROM operators WHERE email = @email AND disabled_at IS NULL

-- name: lock_active_admins :one
-- Take the lock of the active admins, until this transaction ends. The lock needs a separate statement, so that the next
-- statement sees what the previous lock holder committed.
SELECT pg_advisory_xact_lock(hashtextextended('active admins', 0)) AS locked

-- name: is_last_active_admin :one
-- Return whether this operator is an admin who can sign in, and no other admin can.
SELECT EXISTS (
    SELECT FROM operators WHERE email = @email AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AND NOT EXISTS (
    SELECT FROM operators WHERE email <> @email AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AS is_last

-- name: disable_operator :optional
-- Disable the operator (enabled → disabled). Revokes every token of the operator, and deletes its one-time link. Returns no row if no such operator
-- exists, or the operator is already disabled.
WITH disable AS (
    UPDATE operators SET disabled_at = curhat_now() WHERE email = @email AND disabled_at IS NULL RETURNING id
), revoke_tokens AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM disable
    WHERE operator_tokens.operator_id = disable.id AND operator_tokens.revoked_at IS NULL
), delete_link AS (
    DELETE FROM operator_links USING disable WHERE operator_links.operator_id = disable.id
)
SELECT id FROM disable

-- name: reset_operator :optional
-- Reset the operator (enabled or disabled → enabled). Sets a new password, and removes the authenticator app and all
-- recovery codes. Revokes every token of the operator. Returns no row if no such operator exists.
WITH reset AS (
    UPDATE operators SET password_hash = @password_hash, must_change_password = true, totp_salt = NULL,
        totp_new_salt = NULL, disabled_at = NULL, awaits_link = false
    WHERE email = @email RETURNING id
), revoke_tokens AS (
    UPDATE operator_tokens SET revoked_at = curhat_now() FROM reset
    WHERE operator_tokens.operator_id = reset.id AND operator_tokens.revoked_at IS NULL
), delete_recovery_codes AS (
    DELETE FROM operator_recovery_codes USING reset WHERE operator_recovery_codes.operator_id = reset.id
), delete_link AS (
    DELETE FROM operator_links USING reset WHERE operator_links.operator_id = reset.id
)
SELECT id FROM reset

-- name: lock_operator :optional
-- Lock an operator's row. Returns no row if no such operator exists, or the operator is disabled.
-- row: LockedOperator
-- nullable: totp_salt, totp_new_salt
SELECT id, email, role, password_hash, must_change_password, totp_salt, totp_new_salt, totp_last_step,
    curhat_now() AS now
FROM operators WHERE id = @operator_id AND disabled_at IS NULL FOR NO KEY UPDATE

-- name: insert_operator :optional
-- Insert an operator. Returns no row if another operator has this e-mail.
INSERT INTO operators (email, role, password_hash, must_change_password)
VALUES (@email, @role, @password_hash, @must_change_password)
ON CONFLICT (email) DO NOTHING
RETURNING id

-- name: set_password :exec
-- Replace the operator's password.
UPDATE operators SET password_hash = @password_hash, must_change_password = false WHERE id = @operator_id

-- name: set_new_totp_salt :exec
-- Store a proposed authenticator secret. The current secret stays valid until enrol_totp replaces it.
UPDATE operators SET totp_new_salt = @totp_new_salt WHERE id = @operator_id

-- name: enrol_totp :exec
-- Make the proposed secret the current secret. The statement also marks the code of time step @totp_last_step as used.
UPDATE operators SET totp_salt = totp_new_salt, totp_new_salt = NULL, totp_last_step = @totp_last_step
WHERE id = @operator_id

-- name: use_totp :exec
-- Mark the code of time step @totp_last_step, and all earlier codes, as used.
UPDATE operators SET totp_last_step = @totp_last_step WHERE id = @operator_id

-- name: delete_recovery_codes :exec
DELETE FROM operator_recovery_codes WHERE operator_id = @operator_id

-- name: insert_recovery_codes :exec
-- Insert each recovery code (nothing → unused).
INSERT INTO operator_recovery_codes (operator_id, digest) SELECT @operator_id, unnest(@digests::bytea[])

-- name: use_recovery_code :execrows
-- Use the recovery code (unused → used). Changes no row if the code does not exist or was already used.
UPDATE operator_recovery_codes SET used_at = curhat_now()
WHERE operator_id = @operator_id AND digest = @digest AND used_at IS NULL

-- name: count_unused_recovery_codes :one
SELECT count(*) AS unused FROM operator_recovery_codes WHERE operator_id = @operator_id AND used_at IS NULL

-- name: insert_token :exec
-- Insert a token (nothing → valid for @lifetime_seconds).
INSERT INTO operator_tokens
    (digest, operator_id, transport, user_agent, address, known_device_digest, created_at, last_seen_at, expires_at)
SELECT @digest, @operator_id, @transport, @user_agent, @address, @known_device_digest, now, now,
    now + make_interval(secs => @lifetime_seconds)
FROM curhat_now() AS now

-- name: find_operator_of_token :optional
-- Find the operator who owns this token. The statement also records this use of the token, at most once per minute.
-- Returns no row if the token is unknown, expired or revoked, or its operator is disabled.
-- row: TokenOwner
-- nullable: known_device_digest
WITH valid_token AS MATERIALIZED (
    SELECT id, operator_id, transport, known_device_digest, last_seen_at < curhat_now() - interval '1 minute' AS is_seen_stale
    FROM operator_tokens
    WHERE digest = @digest AND revoked_at IS NULL AND expires_at > curhat_now()
), note_seen AS (
    UPDATE operator_tokens SET last_seen_at = curhat_now() FROM valid_token
    WHERE operator_tokens.id = valid_token.id AND valid_token.is_seen_stale
)
SELECT valid_token.id AS token_id, valid_token.transport, valid_token.known_device_digest, operators.id, operators.email,
    operators.role, operators.totp_salt IS NOT NULL AS totp_enrolled, operators.must_change_password
FROM valid_token JOIN operators ON operators.id = valid_token.operator_id AND operators.disabled_at IS NULL

-- name: list_owners_of_tokens :many
-- Find the operators who own the valid tokens among @digests.
-- row: OwnedToken
SELECT tokens.digest, tokens.operator_id
FROM operator_tokens AS tokens JOIN operators ON operators.id = tokens.operator_id AND operators.disabled_at IS NULL
WHERE tokens.digest = ANY (@digests::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()

-- name: is_token_of_customer_or_mitra :one
-- Return whether this token is valid, belongs to a customer or a mitra, and was issued for this transport (cookie or
-- header).
SELECT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE digest = @digest AND transport = @transport AND revoked_at IS NULL AND expires_at > curhat_now()
) AS is_valid

-- name: list_devices :many
-- Read at most 100 valid tokens of an operator. The most recently seen token comes first.
SELECT id, user_agent, address, transport, created_at, last_seen_at, expires_at
FROM operator_tokens
WHERE operator_id = @operator_id AND revoked_at IS NULL AND expires_at > curhat_now()
ORDER BY last_seen_at DESC, id DESC
LIMIT 100

-- name: revoke_token :execrows
-- Revoke the token (valid → revoked). Changes no row if this operator has no such valid token.
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = @operator_id AND id = @token_id AND revoked_at IS NULL AND expires_at > curhat_now()

-- name: revoke_device :optional
-- Revoke the token (valid → revoked). Returns the token's known device. Returns no row if this operator has no such
-- valid token.
-- row: RevokedDevice
-- nullable: known_device_digest
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = @operator_id AND id = @token_id AND revoked_at IS NULL AND expires_at > curhat_now()
RETURNING id, known_device_digest

-- name: revoke_other_tokens :exec
-- Revoke every token of this operator except @kept_token_id (valid → revoked).
UPDATE operator_tokens SET revoked_at = curhat_now()
WHERE operator_id = @operator_id AND id <> @kept_token_id AND revoked_at IS NULL

-- name: prune_sign_in_tries :execrows
-- Delete at most @max_rows tries that are older than a day, oldest first. The limits on sign-in count only the tries of
-- the last day.
DELETE FROM operator_sign_in_tries WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operator_sign_in_tries WHERE tried_at < (SELECT curhat_now() - interval '1 day')
    ORDER BY tried_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: prune_tokens :execrows
-- Delete at most @max_rows tokens that expired or were revoked more than a week ago, oldest first.
DELETE FROM operator_tokens WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM operator_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    ORDER BY least(expires_at, revoked_at) LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: revoke_every_operator_token :execrows
-- valid → revoked, for the tokens of all operators.
UPDATE operator_tokens SET revoked_at = curhat_now() WHERE revoked_at IS NULL AND expires_at > curhat_now()
