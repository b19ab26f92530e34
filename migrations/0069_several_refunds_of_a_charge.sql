-- migrate: after
-- squawk-ignore-file require-concurrent-index-deletion  -- a deployment has few refunds
-- A charge can have several refunds, one per decision. The previous version of the code names the dropped index.
UPDATE refunds SET decided_round = charge_attempts.decided_round
FROM charge_attempts
WHERE charge_attempts.id = refunds.charge_attempt_id AND refunds.reason = 'operator_decision'
    AND refunds.decided_round IS NULL
    AND refunds.gateway_reason IS DISTINCT FROM 'known to the gateway alone after a restore';
DROP INDEX refunds_one_a_charge;
