-- The charges whose refund the gateway refused, without those that have a newer refund. The count on the operators'
-- first screen and the operators' list both read this view, so that they agree.
CREATE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);
