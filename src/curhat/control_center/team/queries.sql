-- type: role = OperatorRole from curhat.control_center.operators.permissions
-- type: state = OperatorState from curhat.control_center.team.schemas

-- name: list_members :many
-- Read the operators, in the order of their e-mails, at most @max_rows. If @only_id is not null, only this operator.
-- row: MemberRow
-- nullable: last_seen_at, link_expires_at, @only_id
SELECT operators.id, operators.email, operators.role,
    CASE
        WHEN operators.disabled_at IS NOT NULL THEN 'deactivated'
        WHEN operators.awaits_link THEN 'awaiting_link'
        ELSE 'active'
    END AS state,
    operators.totp_salt IS NOT NULL AS totp_enrolled, operators.created_at, signed_in.last_seen_at, signed_in.devices,
    operator_links.expires_at AS link_expires_at
FROM operators
LEFT JOIN operator_links ON operator_links.operator_id = operators.id AND operator_links.expires_at > curhat_now()
CROSS JOIN LATERAL (
    SELECT max(last_seen_at) AS last_seen_at,
        count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > curhat_now()) AS devices
    FROM operator_tokens WHERE operator_tokens.operator_id = operators.id
) AS signed_in
WHERE @only_id::uuid IS NULL OR operators.id = @only_id
ORDER BY operators.email
LIMIT @max_rows

-- name: is_active_admin :one
-- Return whether this operator is an admin who can sign in.
SELECT EXISTS (
    SELECT FROM operators WHERE id = @operator_id AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
) AS is_active_admin

-- name: lock_member :optional
-- Lock an operator's row. Returns no row if no such operator exists.
-- row: LockedMember
SELECT id, email, role, disabled_at IS NOT NULL AS is_disabled, awaits_link
FROM operators WHERE id = @operator_id FOR NO KEY UPDATE

-- name: insert_invited :optional
-- Insert an operator who awaits a link. Returns no row if another operator has this e-mail.
INSERT INTO operators (email, role, password_hash, awaits_link) VALUES (@email, @role, @password_hash, true)
ON CONFLICT (email) DO NOTHING
RETURNING id

-- name: put_link :one
-- Make the operator's link (nothing or link → new link). The old link stops working.
-- row: PutLink
INSERT INTO operator_links (operator_id, expires_at)
VALUES (@operator_id, curhat_now() + make_interval(secs => @lifetime_seconds))
ON CONFLICT (operator_id) DO UPDATE SET id = uuidv7(), created_at = curhat_now(), expires_at = EXCLUDED.expires_at
RETURNING id, expires_at

-- name: take_access :exec
-- Remove the operator's password, authenticator app and recovery codes (active → awaiting a link).
WITH take AS (
    UPDATE operators SET password_hash = @password_hash, awaits_link = true, must_change_password = false,
        totp_salt = NULL, totp_new_salt = NULL
    WHERE id = @operator_id RETURNING id
)
DELETE FROM operator_recovery_codes USING take WHERE operator_recovery_codes.operator_id = take.id

-- name: set_role :exec
UPDATE operators SET role = @role WHERE id = @operator_id

-- name: deactivate :exec
-- Deactivate the operator (active or awaiting a link → deactivated), and delete the operator's link.
WITH deactivate AS (
    UPDATE operators SET disabled_at = curhat_now() WHERE id = @operator_id RETURNING id
)
DELETE FROM operator_links USING deactivate WHERE operator_links.operator_id = deactivate.id

-- name: activate :exec
-- Activate the operator again (deactivated → active or awaiting a link).
UPDATE operators SET disabled_at = NULL WHERE id = @operator_id

-- name: revoke_tokens :exec
-- Revoke every valid token of the operator.
UPDATE operator_tokens SET revoked_at = curhat_now() WHERE operator_id = @operator_id AND revoked_at IS NULL

-- name: find_link :optional
-- Find the operator of an open link. Returns no row if the link was used, replaced, or has expired.
SELECT operators.email
FROM operator_links JOIN operators ON operators.id = operator_links.operator_id AND operators.disabled_at IS NULL
WHERE operator_links.id = @link_id AND operator_links.expires_at > curhat_now()

-- name: use_link :optional
-- Delete the open link (open → used), and give its operator the password. A second use waits for the first one, and then
-- finds no row.
-- row: UsedLink
WITH used AS (
    DELETE FROM operator_links WHERE id = @link_id AND expires_at > curhat_now() RETURNING operator_id
)
UPDATE operators SET password_hash = @password_hash, awaits_link = false, must_change_password = false
FROM used WHERE operators.id = used.operator_id AND operators.disabled_at IS NULL
RETURNING operators.id, operators.email
