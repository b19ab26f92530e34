-- The operators' first screen counts the refunds that the gateway refused. The index is partial, because the gateway
-- refuses few refunds.
-- squawk-ignore require-concurrent-index-creation  -- a table of refunds is small
CREATE INDEX refunds_refused ON refunds (payment_id) WHERE status = 'failed';
