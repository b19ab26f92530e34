-- migrate: no transaction
-- Operators find a customer by the last eight characters of the id, which the Control Center shows.
CREATE INDEX CONCURRENTLY IF NOT EXISTS customers_by_short_id ON customers (right(id::text, 8));
