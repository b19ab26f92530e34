-- type: role = Role from curhat.kit.identity

-- name: has_journey :one
-- Return whether the person has a running session, an open payment or, as a mitra, a session that counts. The caller has
-- locked the account, so none can begin before the caller's commit. One statement sees one snapshot: an accept that
-- commits meanwhile shows either its open payment or its session.
SELECT EXISTS (SELECT 1 FROM sessions WHERE customer_id = @user_id AND @role::text = 'customer' AND status = 'active')
    OR EXISTS (SELECT 1 FROM sessions WHERE mitra_id = @user_id AND @role = 'mitra' AND status = 'active')
    OR EXISTS (
        SELECT 1 FROM payments
        WHERE customer_id = @user_id AND @role = 'customer' AND purpose = 'session'
            AND status IN ('pending', 'confirming', 'confirmed')
    ) AS has_journey

-- name: find_journey :one
-- Find the customer's open payment and the person's running session, for the refusal.
-- nullable: payment_id, session_id
-- row: Journey
SELECT (
        SELECT id FROM payments
        WHERE customer_id = @user_id AND @role::text = 'customer' AND purpose = 'session'
            AND status IN ('pending', 'confirming', 'confirmed')
        ORDER BY id LIMIT 1
    ) AS payment_id,
    (
        SELECT id FROM sessions
        WHERE @user_id = CASE @role WHEN 'customer' THEN customer_id ELSE mitra_id END
            AND (customer_id = @user_id OR mitra_id = @user_id) AND status = 'active'
        ORDER BY id LIMIT 1
    ) AS session_id

-- name: is_trial_used :one
-- Return whether the customer has used up the trial.
SELECT trial_is_used(@customer_id) AS is_used

-- name: list_open_payments_for_mitra :many
-- Find the open payments whose customers chose this mitra.
SELECT id FROM payments
WHERE target_mitra_id = @mitra_id AND status IN ('pending', 'confirming', 'confirmed') ORDER BY id

-- name: insert_erasure :one
-- Insert the erasure (nothing → under way).
INSERT INTO erasures (role, user_id) VALUES (@role, @user_id) RETURNING id

-- name: lock_erasure :optional
-- Lock the erasure.
-- nullable: listed_at, erased_at
-- row: Erasure
SELECT id, role, user_id, deleted_at, listed_at, erased_at, curhat_now() AS now FROM erasures WHERE id = @id
FOR NO KEY UPDATE

-- name: find_erasure :optional
-- Find the erasure of this account.
SELECT id FROM erasures WHERE role = @role AND user_id = @user_id

-- name: mark_listed :exec
-- Record that the list outside the database has the erasure.
UPDATE erasures SET listed_at = coalesce(listed_at, curhat_now()) WHERE id = @id

-- name: mark_erased :exec
-- Finish the erasure (under way → erased). A CHECK refuses an erasure that is not listed.
UPDATE erasures SET erased_at = coalesce(erased_at, curhat_now()) WHERE id = @id

-- name: list_counterparts :many
-- Find the people of the other role whose streams and stored answers can name this account: those of its sessions, and
-- those of the payments that chose this mitra or that this customer made with a chosen mitra.
SELECT user_id FROM (
    SELECT CASE @role::text WHEN 'customer' THEN mitra_id ELSE customer_id END AS user_id FROM sessions
    WHERE @user_id = CASE @role WHEN 'customer' THEN customer_id ELSE mitra_id END
        AND (customer_id = @user_id OR mitra_id = @user_id)
    UNION
    SELECT customer_id FROM payments WHERE target_mitra_id = @user_id AND @role = 'mitra'
) AS counterparts
ORDER BY user_id

-- name: list_sessions_of :many
-- Find the sessions of this account that ended or began within the last @days days. Streams and stored answers are
-- deleted after one day, so they can name no other session.
SELECT id FROM sessions
WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
    AND (customer_id = @user_id OR mitra_id = @user_id)
    AND coalesce(ended_at, started_at) > curhat_now() - make_interval(days => @days)
ORDER BY id

-- name: has_account :one
-- Return whether the person has this role.
SELECT CASE @role::text WHEN 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = @user_id)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = @user_id) END AS has_account
