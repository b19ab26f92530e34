-- type: kind = TextKind from curhat.content.texts.kinds

-- name: list_current_versions :many
-- Read the newest version of each text in both languages. `accepted` is the number of people who have accepted this
-- version. If a new version is published, these people must accept the new version.
-- row: CurrentVersion
SELECT texts.kind, texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by, texts.body_id, texts.body_en,
    (SELECT count(*) FROM acceptances WHERE acceptances.kind = texts.kind AND acceptances.version = texts.version)
        AS accepted
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version
LEFT JOIN operators ON operators.id::text = texts.published_by

-- name: list_versions :many
-- Read the versions of a text, newest first, at most @max_versions, below version @before.
-- nullable: @before
-- row: VersionRow
SELECT texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by
FROM texts LEFT JOIN operators ON operators.id::text = texts.published_by
WHERE texts.kind = @kind AND (@before::integer IS NULL OR texts.version < @before)
ORDER BY texts.version DESC LIMIT @max_versions

-- name: find_version :optional
-- Read one version of a text in both languages.
-- row: VersionBodies
SELECT texts.kind, texts.version, texts.is_draft, texts.published_at,
    coalesce(operators.email, texts.published_by) AS published_by, texts.body_id, texts.body_en
FROM texts LEFT JOIN operators ON operators.id::text = texts.published_by
WHERE texts.kind = @kind AND texts.version = @version
