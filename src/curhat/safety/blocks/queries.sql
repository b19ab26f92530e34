-- type: role = Role from curhat.kit.identity
-- type: blocked_by = Role from curhat.kit.identity

-- name: lock_blocks_of_customer :exec
-- Take the advisory lock of the blocks between this customer and any mitra, for this transaction.
SELECT FROM pg_advisory_xact_lock(hashtextextended('blocks of customer ' || @customer_id::uuid, 0))

-- name: lock_blocks_by_mitra :exec
-- Take the advisory lock of this mitra's own blocks for this transaction, so that their count is exact.
SELECT FROM pg_advisory_xact_lock(hashtextextended('blocks by mitra ' || @mitra_id::uuid, 0))

-- name: find_pair :optional
-- Find the two members of this person's session. Returns no row if the session does not exist or belongs to others.
-- row: Pair
SELECT customer_id, mitra_id FROM sessions
WHERE id = @session_id AND @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END

-- name: is_blocked_by :one
-- Return whether this side has blocked the other.
SELECT EXISTS (
    SELECT 1 FROM blocks WHERE customer_id = @customer_id AND mitra_id = @mitra_id AND blocked_by = @blocked_by
) AS is_blocked

-- name: count_blocks_by_customer :one
SELECT count(*)::integer AS blocks FROM blocks
WHERE customer_id = @customer_id AND blocked_by = 'customer' AND session_id IS NOT NULL

-- name: count_blocks_by_mitra :one
SELECT count(*)::integer AS blocks FROM blocks
WHERE mitra_id = @mitra_id AND blocked_by = 'mitra' AND session_id IS NOT NULL

-- name: insert_block :exec
INSERT INTO blocks (customer_id, mitra_id, blocked_by, session_id)
VALUES (@customer_id, @mitra_id, @blocked_by, @session_id)

-- name: delete_block :exec
DELETE FROM blocks WHERE customer_id = @customer_id AND mitra_id = @mitra_id AND blocked_by = @blocked_by

-- name: list_blocks_by_customer :many
-- Read this customer's own blocks, newest first, with the names of the mitras. Inherited blocks have no session.
-- row: BlockRow
SELECT blocks.session_id, mitras.display_name AS name, blocks.created_at
FROM blocks JOIN mitras ON mitras.id = blocks.mitra_id
WHERE blocks.customer_id = @customer_id AND blocks.blocked_by = 'customer' AND blocks.session_id IS NOT NULL
ORDER BY blocks.created_at DESC, blocks.session_id DESC

-- name: list_blocks_by_mitra :many
-- Read this mitra's own blocks, newest first, with the call names of the customers.
-- row: BlockRow
SELECT blocks.session_id, customers.call_name AS name, blocks.created_at
FROM blocks JOIN customers ON customers.id = blocks.customer_id
WHERE blocks.mitra_id = @mitra_id AND blocks.blocked_by = 'mitra' AND blocks.session_id IS NOT NULL
ORDER BY blocks.created_at DESC, blocks.session_id DESC

-- name: list_blocked_mitras :many
-- Find the mitras who are never paired with each of these customers, whoever of the two blocked.
-- row: Pair
SELECT DISTINCT customer_id, mitra_id FROM blocks WHERE customer_id = ANY (@customer_ids::uuid[])
