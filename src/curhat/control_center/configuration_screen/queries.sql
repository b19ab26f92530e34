-- name: emails
-- The e-mails of the operators whose ids are among the texts $1.
SELECT id::text AS id, email FROM operators WHERE id::text = ANY ($1::text[])
