-- name: list_blockers :many
-- Find the people of the other role who have blocked this account.
SELECT CASE @role::text WHEN 'customer' THEN mitra_id ELSE customer_id END AS user_id FROM blocks
WHERE @user_id = CASE @role WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id) AND blocked_by <> @role

-- name: delete_blocks_by :exec
-- Delete the blocks of this account. The blocks of the other side stay.
DELETE FROM blocks
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id) AND blocked_by = @role

-- name: insert_inherited_blocks :exec
-- Insert a block without a session between this new account and each of these people of the other role, by them.
INSERT INTO blocks (customer_id, mitra_id, blocked_by)
SELECT CASE @role::text WHEN 'customer' THEN @user_id ELSE other_id END,
    CASE @role WHEN 'customer' THEN other_id ELSE @user_id END,
    CASE @role WHEN 'customer' THEN 'mitra' ELSE 'customer' END
FROM unnest(@other_ids::uuid[]) AS other_id
ON CONFLICT DO NOTHING

-- name: delete_ratings_by :exec
-- Delete the ratings that this customer gave.
DELETE FROM ratings WHERE customer_id = @customer_id

-- name: delete_notices_of :exec
-- Delete what this account was told about decisions.
DELETE FROM notices WHERE user_id = @user_id AND role = @role

-- name: forget_notes :exec
-- Delete the texts of the reports that this account made, except those that still hold their chat.
UPDATE reports SET note = NULL, message_ids = '{}'
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id) AND reporter = @role
    AND (note IS NOT NULL OR message_ids <> '{}')
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = reports.session_id)

-- name: forget_appeals :exec
-- Delete the texts of the appeals of this account against decisions about it, except those that still hold their chat.
UPDATE reports SET appeal_text = NULL
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id) AND reporter <> @role AND appeal_text IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM held_sessions WHERE held_sessions.session_id = reports.session_id)

-- name: count_texts_left :one
-- Count the reports and appeals of this account that still have a text.
SELECT count(*) AS texts FROM reports
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id)
    AND CASE WHEN reporter = @role THEN note ELSE appeal_text END IS NOT NULL
