-- migrate: no transaction

-- The worker reads the due deadlines of each kind separately, so that many deadlines of one kind do not hide other
-- kinds.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deadlines_due_per_kind ON deadlines (kind, due_at) WHERE parked_at IS NULL;
