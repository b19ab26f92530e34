-- migrate: no transaction
-- The worker reads the due deadlines of each kind, so that a kind with many waiting deadlines hides no other kind.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deadlines_due_per_kind ON deadlines (kind, due_at) WHERE parked_at IS NULL;
