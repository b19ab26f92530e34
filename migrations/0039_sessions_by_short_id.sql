-- migrate: no transaction
-- Operators find a session by the last eight characters of its id, which the Control Center shows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_by_short_id ON sessions (right(id::text, 8));
