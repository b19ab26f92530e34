-- name: record
-- Who ($1) did what ($2) to what ($3, $4), from what ($5) to what ($6).
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES ($1, $2, $3, $4, $5, $6)
