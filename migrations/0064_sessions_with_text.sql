-- migrate: no transaction
-- The ended sessions whose text is not deleted. Sessions whose text nobody has hidden come last, the oldest end first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_with_text ON sessions (text_hidden_at, ended_at)
WHERE ended_at IS NOT NULL AND text_deleted_at IS NULL;
