-- name: lock_texts_of :exec
-- Take the advisory lock of this list or note for this transaction. A list without rows has no row to lock.
SELECT FROM pg_advisory_xact_lock(hashtextextended('texts of ' || @owner::text, 0))

-- name: list_canned_answers :many
-- Read the mitra's canned answers in the mitra's order.
SELECT text FROM canned_answers WHERE mitra_id = @mitra_id ORDER BY position

-- name: delete_canned_answers :exec
DELETE FROM canned_answers WHERE mitra_id = @mitra_id

-- name: insert_canned_answers :exec
-- Insert the texts in this order. The mitra has no canned answers any more.
INSERT INTO canned_answers (mitra_id, position, text)
SELECT @mitra_id, given.position, given.text FROM unnest(@texts::text[]) WITH ORDINALITY AS given (text, position)

-- name: find_customer_of_session :optional
-- Read the customer of this mitra's session. Returns no row if the session belongs to another mitra, or if the
-- customer's account is deleted.
SELECT sessions.customer_id
FROM sessions JOIN customers ON customers.id = sessions.customer_id
WHERE sessions.id = @session_id AND sessions.mitra_id = @mitra_id AND customers.deleted_at IS NULL

-- name: read_note :optional
-- Read the mitra's note about this customer. Returns no row if there is no note.
-- row: NoteRow
SELECT text, updated_at FROM customer_notes WHERE customer_id = @customer_id AND mitra_id = @mitra_id

-- name: write_note :one
-- Insert or replace the mitra's note about this customer. Returns the time of the change.
INSERT INTO customer_notes (customer_id, mitra_id, text) VALUES (@customer_id, @mitra_id, @text)
ON CONFLICT (customer_id, mitra_id) DO UPDATE SET text = excluded.text, updated_at = curhat_now()
RETURNING updated_at

-- name: delete_note :exec
DELETE FROM customer_notes WHERE customer_id = @customer_id AND mitra_id = @mitra_id

-- name: delete_notes_of :exec
-- Delete the notes about a deleted customer, or those of a deleted mitra.
DELETE FROM customer_notes WHERE @user_id = CASE @role::text WHEN 'customer' THEN customer_id ELSE mitra_id END
