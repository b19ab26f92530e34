-- Refunds that the gateway refused are looked for on the operators' first screen, and are few.
-- squawk-ignore require-concurrent-index-creation  -- a table of refunds is small
CREATE INDEX refunds_refused ON refunds (payment_id) WHERE status = 'failed';
