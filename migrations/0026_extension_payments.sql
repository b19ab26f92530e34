-- migrate: no transaction

-- Operators filter payments by their purpose, and sort them by time. Most payments are for sessions, so a list of
-- payments for sessions uses the index payments_by_time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_for_extensions ON payments (created_at DESC, id DESC)
    WHERE purpose = 'extension';
