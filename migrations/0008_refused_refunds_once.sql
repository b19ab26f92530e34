-- Lists each charge whose refund the gateway refused, if no other refund of the charge is requested or done. The
-- operators' first screen counts the rows of this view, and the operators' list shows these rows. So the number and
-- the list agree.
CREATE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);
