-- squawk-ignore-file require-concurrent-index-creation  -- a deployment has few refunds
-- A charge can be given back in parts, one part per decision. This file locks only refunds.
--
-- PostgreSQL itself enforces the rules below.
--   The refunds of a charge that have not failed never exceed the charge.
--   A decision has at most one refund of a charge that has not failed.
-- Until the migration several_refunds_of_a_charge, the older index refunds_one_a_charge still allows only one such refund per charge.

-- The round of the payment's case in which an operator decided this refund. Null if the refund was automatic, if only the
-- gateway knew it after a restore, or if the previous version of the code requested it.
ALTER TABLE refunds ADD COLUMN decided_round integer;
UPDATE refunds SET decided_round = charge_attempts.decided_round
FROM charge_attempts
WHERE charge_attempts.id = refunds.charge_attempt_id AND refunds.reason = 'operator_decision'
    AND refunds.gateway_reason IS DISTINCT FROM 'known to the gateway alone after a restore';

CREATE INDEX refunds_by_charge ON refunds (charge_attempt_id);
CREATE UNIQUE INDEX refunds_one_a_decision ON refunds (charge_attempt_id, decided_round)
    WHERE status <> 'failed' AND decided_round IS NOT NULL;

CREATE FUNCTION refunds_at_most_the_charge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    charged_rp integer;
BEGIN
    -- T1 and T2 request refunds of one charge. T2 waits here for T1's commit, and then counts T1's refund.
    SELECT amount_rp INTO charged_rp FROM charge_attempts WHERE id = NEW.charge_attempt_id FOR NO KEY UPDATE;
    IF charged_rp < NEW.amount_rp + coalesce((
        SELECT sum(amount_rp) FROM refunds
        WHERE charge_attempt_id = NEW.charge_attempt_id AND status <> 'failed' AND id <> NEW.id
    ), 0) THEN
        RAISE EXCEPTION 'refund % exceeds what is left of charge %', NEW.id, NEW.charge_attempt_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_at_most_the_charge';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refunds_at_most_the_charge BEFORE INSERT OR UPDATE ON refunds FOR EACH ROW
    WHEN (NEW.status <> 'failed') EXECUTE FUNCTION refunds_at_most_the_charge();
