-- The operators' first screen counts the refunds that the gateway refused. The index is partial, because
-- there are few such refunds.
-- squawk-ignore require-concurrent-index-creation  -- a table of refunds is small
CREATE INDEX refunds_refused ON refunds (payment_id) WHERE status = 'failed';
