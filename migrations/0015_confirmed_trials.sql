-- migrate: no transaction

-- The function trial_is_used counts a customer's confirmed trials with this index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS payments_confirmed_trials ON payments (customer_id, confirmed_at)
WHERE is_trial AND confirmed_at IS NOT NULL;
