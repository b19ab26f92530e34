-- migrate: no transaction

-- Workers read the parked deadlines whose next try is due, and the Control Center counts the parked deadlines. With
-- this index, neither query reads the whole table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deadlines_parked ON deadlines (due_at) WHERE parked_at IS NOT NULL;
