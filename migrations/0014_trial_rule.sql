-- The function trial_is_used is the only place that holds the rule about the trial (2a.3, 2a.9). The statements of the
-- package pricing call this function. The trigger payments_trial_is_left refuses to confirm a trial that is used up.
--
-- A process that still runs the previous version of the code answers 500 when a customer confirms a trial that is used
-- up. PostgreSQL rolls back the transaction of this confirmation.

-- Return true if the customer is no longer allowed to confirm a trial. The trial is used up after a trial session, or
-- after the customer cancelled a trial during the search. A customer who has confirmed three trials within 24 hours
-- cannot confirm another trial until the first of the three confirmations is 24 hours old.
CREATE FUNCTION trial_is_used(of_customer_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT 1 FROM sessions WHERE sessions.customer_id = of_customer_id AND sessions.is_trial)
        OR EXISTS (
            SELECT 1 FROM payments JOIN pairings ON pairings.payment_id = payments.id
            WHERE payments.customer_id = of_customer_id AND payments.is_trial
                AND payments.confirmed_at IS NOT NULL AND pairings.failure_tag = 'customer_cancelled'
        )
        OR 3 <= (
            SELECT count(*) FROM payments
            WHERE payments.customer_id = of_customer_id AND payments.is_trial
                AND payments.confirmed_at > curhat_now() - interval '24 hours'
        );

CREATE FUNCTION trial_must_be_left() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF trial_is_used(NEW.customer_id) THEN
        RAISE EXCEPTION 'customer % has used up the trial', NEW.customer_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_trial_is_left';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payments_trial_is_left BEFORE UPDATE ON payments FOR EACH ROW
    WHEN (NEW.is_trial AND OLD.confirmed_at IS NULL AND NEW.confirmed_at IS NOT NULL)
    EXECUTE FUNCTION trial_must_be_left();
