-- name: read_operator_emails :many
-- Read the e-mail addresses of the operators whose ids are among @ids. The ids are texts, because the configuration
-- stores the author of a change as a text. The author can also be 'command line' instead of an operator's id.
SELECT id::text AS id, email FROM operators WHERE id::text = ANY (@ids::text[])
