-- type: kind = TextKind from curhat.content.texts.kinds
-- type: kinds = TextKind from curhat.content.texts.kinds

-- name: list_current_texts :many
-- Read the newest version of each of these kinds, in one language, with the time at which this person accepted it.
-- nullable: accepted_at
-- row: CurrentText
SELECT texts.kind, texts.version,
    CASE @language::text WHEN 'en' THEN texts.body_en ELSE texts.body_id END AS body, texts.is_draft,
    texts.published_at, acceptances.accepted_at
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version
LEFT JOIN acceptances ON acceptances.kind = texts.kind AND acceptances.version = texts.version
    AND acceptances.role = @role AND acceptances.user_id = @user_id
WHERE texts.kind = ANY (@kinds::text[])

-- name: list_public_texts :many
-- Read the newest version of every kind, in one language.
SELECT texts.kind, texts.version,
    CASE @language::text WHEN 'en' THEN texts.body_en ELSE texts.body_id END AS body, texts.is_draft,
    texts.published_at
FROM current_texts JOIN texts ON texts.kind = current_texts.kind AND texts.version = current_texts.version

-- name: publish_text :optional
-- Publish the next version of a text (nothing → current). Returns no row if @expected_version is not null and not the
-- newest version, which is 0 for a kind without a version. Returns no row if another operator publishes the same
-- version meanwhile: the statement waits for the other operator's commit.
-- nullable: @expected_version
WITH newest AS MATERIALIZED (
    SELECT coalesce(max(version), 0) AS version FROM texts WHERE kind = @kind
)
INSERT INTO texts (kind, version, body_id, body_en, is_draft, published_by)
SELECT @kind, newest.version + 1, @body_id, @body_en, @is_draft, @published_by FROM newest
WHERE newest.version = coalesce(@expected_version, newest.version)
ON CONFLICT (kind, version) DO NOTHING
RETURNING version, published_at

-- name: find_current_version :optional
SELECT version FROM current_texts WHERE kind = @kind

-- name: list_missing_kinds :many
-- Find the kinds among @kinds whose newest version this person has not accepted in this role.
SELECT current_texts.kind
FROM current_texts
WHERE current_texts.kind = ANY (@kinds::text[]) AND NOT EXISTS (
    SELECT 1 FROM acceptances
    WHERE acceptances.role = @role AND acceptances.user_id = @user_id AND acceptances.kind = current_texts.kind
        AND acceptances.version = current_texts.version
)

-- name: accept_text :optional
-- Accept the text, if @version is its newest version (nothing → accepted). Returns the newest version. A repeated
-- acceptance changes nothing. Returns no row if no version of this kind is published.
WITH newest AS MATERIALIZED (
    SELECT version FROM current_texts WHERE kind = @kind
), accept AS (
    INSERT INTO acceptances (role, user_id, kind, version)
    SELECT @role, @user_id, @kind, newest.version FROM newest WHERE newest.version = @version
    ON CONFLICT (role, user_id, kind, version) DO NOTHING
)
SELECT version FROM newest

-- name: read_present_year :one
-- Return the present year in Jakarta.
SELECT extract(year FROM curhat_now() AT TIME ZONE 'Asia/Jakarta')::integer AS present_year
