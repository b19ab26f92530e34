-- Lists each charge whose refund the gateway refused, if no other refund of the charge is requested or done. The
-- count on the operators' first screen and the operators' list both read this view, so that the count agrees with the
-- list.
CREATE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);
