-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- a case is opened for one payment in a hundred
-- An operator can open a case by hand, and can refund a part of what was taken. This file locks only the tables of cases.
--
-- The previous version of the code runs on this schema. It opens no case by hand, and refunds the whole of a charge.

ALTER TABLE review_cases
    -- The operator who opened this round by hand, with a note. Null if the service opened the round.
    ADD COLUMN opened_by uuid,
    ADD COLUMN opened_note text;
ALTER TABLE review_cases
    ADD CONSTRAINT review_cases_opened_by FOREIGN KEY (opened_by) REFERENCES operators (id) NOT VALID,
    ADD CONSTRAINT review_cases_opened_by_hand CHECK (
        (opened_by IS NULL) = (opened_note IS NULL) AND char_length(opened_note) BETWEEN 1 AND 1000) NOT VALID;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_opened_by;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_opened_by_hand;
ALTER TABLE earlier_decisions ADD COLUMN opened_by uuid, ADD COLUMN opened_note text;

-- The cases of one session are decided together. refund_rp is the share of the case's own payment. It is 0 if the refund
-- comes from the other payments of the session alone.
ALTER TABLE review_cases DROP CONSTRAINT review_cases_refund_amount;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_refund_amount CHECK (
    (decision IS NOT DISTINCT FROM 'refund') = (refund_rp IS NOT NULL) AND refund_rp >= 0) NOT VALID;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_refund_amount;

-- As before, with opened_by and opened_note. A case with the reason `books_differ` can open again without a charge,
-- because the gateway and our tables perhaps disagree about whether there is one.
CREATE OR REPLACE FUNCTION review_case_opened_again() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_withdrawn boolean := OLD.needs_approval AND OLD.approved_by IS NULL;
BEGIN
    IF NEW.reason <> 'books_differ' AND NOT EXISTS (
        SELECT 1 FROM undelivered_charges WHERE payment_id = OLD.payment_id AND decided_round IS NULL
    ) THEN
        RAISE EXCEPTION 'review case % is decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'review_cases_decided_once';
    END IF;
    INSERT INTO earlier_decisions (case_id, round, reason, opened_at, decision, decision_note, decided_by, decided_at,
        refund_rp, withdrawn, approved_by, approved_at, opened_by, opened_note)
    VALUES (OLD.id, OLD.round, OLD.reason, OLD.opened_at, OLD.decision, OLD.decision_note, OLD.decided_by,
        OLD.decided_at, OLD.refund_rp, is_withdrawn, OLD.approved_by, OLD.approved_at, OLD.opened_by, OLD.opened_note);
    IF is_withdrawn THEN
        UPDATE charge_attempts SET decided_round = NULL
        WHERE payment_id = OLD.payment_id AND decided_round = OLD.round;
    END IF;
    NEW.round := OLD.round + 1;
    NEW.opened_at := curhat_now();
    NEW.decision := NULL;
    NEW.decision_note := NULL;
    NEW.decided_by := NULL;
    NEW.decided_at := NULL;
    NEW.refund_rp := NULL;
    NEW.needs_approval := false;
    NEW.approved_by := NULL;
    NEW.approved_at := NULL;
    IF NEW.reason <> 'complaint' THEN
        NEW.opened_by := NULL;
        NEW.opened_note := NULL;
    END IF;
    RETURN NEW;
END $$;
