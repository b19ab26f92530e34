-- type: key = ConfigurationKey from curhat.configuration.definitions
-- type: default_action = DefaultAction from curhat.configuration.definitions

-- name: list_rows :many
-- row: StoredRow
SELECT key, value, updated_at, updated_by FROM configuration

-- name: read_row :one
-- row: StoredRow
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = @key

-- name: read_number :one
SELECT value::integer AS number FROM configuration WHERE key = @key

-- name: read_default_action :one
SELECT value AS default_action FROM configuration WHERE key = 'extension_default_action_on_timeout'

-- name: lock_row :one
-- Lock this configuration row. The lock stops other transactions from changing the value until this transaction ends.
-- row: StoredRow
SELECT key, value, updated_at, updated_by FROM configuration WHERE key = @key FOR NO KEY UPDATE

-- name: change_value :one
-- Replace the value, and insert one entry into the history and one entry into the audit. Two changes of a row never
-- have the same `updated_at`, so a client that compares `updated_at` cannot miss a change.
-- row: StoredRow
WITH old_row AS (
    SELECT key, value FROM configuration WHERE key = @key
), changed_row AS (
    UPDATE configuration SET value = @value, updated_by = @changed_by,
        updated_at = greatest(curhat_now(), updated_at + interval '1 microsecond')
    WHERE key = @key
    RETURNING key, value, updated_at, updated_by
), insert_change AS (
    INSERT INTO configuration_changes (key, old_value, new_value, changed_by, changed_at)
    SELECT changed_row.key, old_row.value, changed_row.value, changed_row.updated_by, changed_row.updated_at
    FROM changed_row, old_row
), insert_audit_entry AS (
    INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value, occurred_at)
    SELECT changed_row.updated_by, 'configuration_changed', 'configuration', changed_row.key, old_row.value,
        changed_row.value, changed_row.updated_at
    FROM changed_row, old_row
)
SELECT key, value, updated_at, updated_by FROM changed_row

-- name: list_changes :many
-- Read the changes of one configuration row, newest first. If @before_id is not null, read only the changes
-- that are older than the change with this id.
-- nullable: @before_id
SELECT id, old_value, new_value, changed_by, changed_at FROM configuration_changes
WHERE key = @key AND (@before_id::bigint IS NULL OR id < @before_id)
ORDER BY id DESC LIMIT @max_changes
