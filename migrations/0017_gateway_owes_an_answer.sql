-- squawk-ignore-file require-concurrent-index-creation, ban-drop-constraint, constraint-missing-not-valid, adding-field-with-default

-- The refunds table and the mock gateway's tables are small.

-- The view holds the charges and refunds that the gateway has not answered for 10 minutes. The operators' first screen
-- counts the payments of this view, and the operators' list of payments shows these payments (2a.10).
CREATE INDEX refunds_requested ON refunds (payment_id) WHERE status = 'requested';
CREATE VIEW unanswered_calls AS
SELECT payment_id, id, 'charge' AS what, amount_rp, started_at AS since FROM charge_attempts
WHERE status = 'started' AND started_at <= curhat_now() - interval '10 minutes'
UNION ALL
SELECT payment_id, id, 'refund', amount_rp, requested_at FROM refunds
WHERE status = 'requested' AND requested_at <= curhat_now() - interval '10 minutes';

-- The mock gateway can misbehave for a refund in the same ways as for a charge. The mock gateway keeps a charge or
-- refund in the status 'processing' until the behaviour of the payment changes. The previous version of the mock
-- gateway's code also reports the status 'processing' of a charge or refund.
ALTER TABLE mock_gateway.behaviours DROP CONSTRAINT behaviours_behaviour_check;
ALTER TABLE mock_gateway.behaviours ADD CONSTRAINT behaviours_behaviour_check
    CHECK (behaviour IN ('approve', 'decline', 'slow', 'lost', 'double', 'processing', 'pending'));
ALTER TABLE mock_gateway.charges DROP CONSTRAINT charges_status_check;
ALTER TABLE mock_gateway.charges ADD CONSTRAINT charges_status_check
    CHECK (status IN ('approved', 'declined', 'processing'));
ALTER TABLE mock_gateway.refunds DROP CONSTRAINT refunds_status_check;
ALTER TABLE mock_gateway.refunds ADD CONSTRAINT refunds_status_check
    CHECK (status IN ('done', 'failed', 'processing'));
-- If the server asks about a refund before its known_at, the mock gateway answers "processing".
ALTER TABLE mock_gateway.refunds ADD COLUMN known_at timestamptz NOT NULL DEFAULT clock_timestamp();
