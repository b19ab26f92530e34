-- The view lists each charge that has a refused refund, but no refund that is requested or done. The operators' first
-- screen counts the rows of this view, and the operators' list shows the rows. So the number on the first screen agrees
-- with the list.
CREATE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);
