-- name: find_current :optional
-- Read the current version: the published version with the highest number. No row: nothing was published.
-- row: CurrentVersion
SELECT version, published_at::timestamptz AS published_at, items, proposed_by IS NULL AS is_shipped
FROM help_line_versions WHERE published_at IS NOT NULL ORDER BY version DESC LIMIT 1

-- name: lock_versions :one
-- Take the lock under which versions are proposed and published, until this transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('help lines', 0)) AS locked

-- name: find_version :optional
-- Read one version. No row: it does not exist.
-- row: VersionRow
-- nullable: proposed_by, published_by, published_at
SELECT version, items, proposed_by, proposed_at, published_by, published_at
FROM help_line_versions WHERE version = @version

-- name: find_newest :optional
-- Read the newest version, published or not. No row: nothing was ever proposed.
-- row: VersionRow
-- nullable: proposed_by, published_by, published_at
SELECT version, items, proposed_by, proposed_at, published_by, published_at
FROM help_line_versions ORDER BY version DESC LIMIT 1

-- name: insert_proposal :one
INSERT INTO help_line_versions (items, proposed_by) VALUES (@items, @proposed_by) RETURNING version

-- name: insert_shipped :one
-- Insert the list that came with the release. It is published at once.
INSERT INTO help_line_versions (items, published_at) VALUES (@items, curhat_now()) RETURNING version

-- name: publish :exec
-- Publish a version (proposed → published).
UPDATE help_line_versions SET published_by = @published_by, published_at = curhat_now() WHERE version = @version

-- name: count_unverified :one
-- Count the current lines that nobody has verified for @max_days days.
SELECT count(*) AS lines
FROM (
    SELECT items FROM help_line_versions WHERE published_at IS NOT NULL ORDER BY version DESC LIMIT 1
) AS current_version, jsonb_array_elements(items) AS listed (item)
WHERE item ->> 'kind' = 'line' AND coalesce(
    (item ->> 'verified_at')::timestamptz < curhat_now() - make_interval(days => @max_days), true
)
