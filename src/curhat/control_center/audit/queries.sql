-- name: record
-- Who ($1) did what ($2) to what ($3, $4), from what ($5) to what ($6).
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: entries
-- What was done, newest first.
SELECT page.*, operators.email AS actor_email
FROM (
    SELECT audit_entries.* FROM audit_entries
    WHERE true /* filters */
    ORDER BY audit_entries.occurred_at DESC, audit_entries.id DESC
    /* limit */
) AS page
LEFT JOIN operators ON operators.id::text = page.actor
ORDER BY page.occurred_at DESC, page.id DESC
