-- name: read_operator_emails :many
-- The e-mails of the ids that belong to operators. An id is a text here. The configuration stores the author of
-- a change as text: either an operator's id or 'command line'.
SELECT id::text AS id, email FROM operators WHERE id::text = ANY (@ids::text[])
