-- migrate: no transaction
-- Operators find a payment by its reference, the last eight characters of its id (payments/reference.py).
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_by_reference ON payments (right(id::text, 8));
