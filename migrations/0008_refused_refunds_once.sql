-- What the gateway refused to give back and was not asked for again, said once: operators count it and look for it.
CREATE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);
