-- name: read_operator_emails :many
-- The e-mails of those who are operators. An id is a text here, because the configuration notes who changed a
-- row as text: an operator's id or 'command line'.
SELECT id::text AS id, email FROM operators WHERE id::text = ANY (@ids::text[])
