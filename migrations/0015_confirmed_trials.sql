-- migrate: no transaction
-- The confirmed trials of a customer, for trial_is_used.
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_confirmed_trials ON payments (customer_id, confirmed_at)
WHERE is_trial AND confirmed_at IS NOT NULL;
