-- migrate: no transaction

-- Operators filter failures by a lowest and a highest amount. Few failures can match.
CREATE INDEX CONCURRENTLY IF NOT EXISTS failed_pairing_events_by_amount
    ON failed_pairing_events (amount_rp, occurred_at DESC, id DESC);
