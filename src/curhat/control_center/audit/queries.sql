-- type: action = AuditAction from curhat.kit.audit
-- type: subject = AuditSubject from curhat.kit.audit

-- name: list_audit_entries :many
-- Read the audit's entries, newest first. `actor_email` is null when the actor is not an operator.
-- row: AuditRow
-- nullable: actor_email, old_value, new_value
SELECT page.id, page.actor, operators.email AS actor_email, page.action, page.subject, page.subject_id,
    page.old_value, page.new_value, page.occurred_at
FROM (
    SELECT audit_entries.* FROM audit_entries
    WHERE true /* conditions */
    ORDER BY audit_entries.occurred_at DESC, audit_entries.id DESC
    LIMIT @limit
) AS page
LEFT JOIN operators ON operators.id::text = page.actor
ORDER BY page.occurred_at DESC, page.id DESC
