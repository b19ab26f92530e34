-- name: rows
SELECT key, value, updated_at, updated_by FROM configuration

-- name: row
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = $1

-- name: value
SELECT value FROM configuration WHERE key = $1

-- name: lock
-- Row $1, and the lock of it: what is compared after this stays so until the commit.
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = $1 FOR NO KEY UPDATE

-- name: change
-- One value → another ($2), by $3, with its line in the history and in the audit. Two changes never have the same
-- time, so that who compares `updated_at` cannot miss one.
WITH old AS (
    SELECT key, value FROM configuration WHERE key = $1
), changed AS (
    UPDATE configuration SET value = $2, updated_by = $3,
        updated_at = greatest(curhat_now(), updated_at + interval '1 microsecond')
    WHERE key = $1
    RETURNING key, value, updated_at, updated_by
), noted AS (
    INSERT INTO configuration_changes (key, old_value, new_value, changed_by, changed_at)
    SELECT changed.key, old.value, changed.value, changed.updated_by, changed.updated_at FROM changed, old
), audited AS (
    INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value, occurred_at)
    SELECT changed.updated_by, 'configuration_changed', 'configuration', changed.key, old.value, changed.value,
        changed.updated_at
    FROM changed, old
)
SELECT key, value, updated_at, updated_by FROM changed

-- name: history
-- The changes of row $1 before change $2 (null: from the newest), at most $3, newest first.
SELECT id, key, old_value, new_value, changed_by, changed_at FROM configuration_changes
WHERE key = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
