-- squawk-ignore-file require-concurrent-index-creation, adding-foreign-key-constraint

-- No table in this file is large, because a deployment has few cases and few refunds.

-- A decided case opens again when the gateway has taken more money for the case's payment and no operator has decided
-- about this money. For example, the gateway refuses to refund the late approval of attempt 1. The journey goes on, and
-- an operator decides about attempt 1. Then the gateway approves attempt 2, and the search fails. Before this
-- migration, the charge of attempt 2 had no open case.
--
-- PostgreSQL itself enforces the rules below.
--   Each charge is decided at most once, in one round of its payment's case.
--   A decided case opens again only for a charge that is undelivered and not decided.
--   At the end of a transaction, each undelivered charge has a decision or an open case.
--
-- The previous version of the code runs on this schema, but never opens a case again. If a refund fails and its case
-- must open again, the transaction of the previous version fails. The refund then stays requested until a worker with
-- the new version asks the gateway again. If a journey's case is already decided, the previous version cannot end the
-- journey. A worker with the previous version retries the deadline after growing waits, and finally parks the deadline.
-- So replace the workers at the start of a deployment. A worker with the new version then ends the journey.

-- decided_round is the round of the payment's case in which an operator decided about this charge. The column is null
-- if no operator has decided about the charge.
ALTER TABLE charge_attempts ADD COLUMN decided_round integer;
-- The column holds the number of the current round. This number grows by 1 when the case opens again.
ALTER TABLE review_cases ADD COLUMN round integer NOT NULL DEFAULT 1;

-- Each row is an earlier round of a case that opened again, with the decision of the round. The current round of a case
-- is in review_cases, and has no row here.
CREATE TABLE earlier_decisions (
    case_id uuid NOT NULL REFERENCES review_cases (id),
    round integer NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz NOT NULL,
    decision text NOT NULL,
    decision_note text NOT NULL,
    decided_by uuid NOT NULL REFERENCES operators (id),
    decided_at timestamptz NOT NULL,
    refund_rp integer,
    -- withdrawn is true if the case opened again before a second operator approved the refund. A withdrawn decision had
    -- no effect, so the next round also decides about the charges of the withdrawn decision.
    withdrawn boolean NOT NULL,
    approved_by uuid REFERENCES operators (id),
    approved_at timestamptz,
    PRIMARY KEY (case_id, round)
);

-- The view holds the undelivered charges: the gateway took the money, and no refund of the charge is requested or done.
-- A late approval is always undelivered. An approved charge is undelivered if its payment got no session, or if the
-- session was cut short. `was_refused` is true if an operator decided to refund the charge and the gateway refused the
-- refund.
CREATE VIEW undelivered_charges AS
SELECT charge_attempts.payment_id, charge_attempts.id AS charge_attempt_id, charge_attempts.amount_rp,
    charge_attempts.decided_round,
    EXISTS (
        SELECT 1 FROM refunds
        WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.reason = 'operator_decision'
    ) AS was_refused
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
WHERE NOT EXISTS (
        SELECT 1 FROM refunds WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
    )
    AND (
        charge_attempts.status = 'approved_late'
        OR charge_attempts.status = 'approved' AND (
            payments.status = 'unserved'
            OR EXISTS (
                SELECT 1 FROM (
                    SELECT end_reason FROM sessions WHERE sessions.payment_id = payments.id
                    UNION ALL
                    SELECT end_reason FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                    WHERE extensions.payment_id = payments.id
                ) AS paid_for
                WHERE end_reason IN ('mitra_ended', 'mitra_suspended')
            )
        )
    );

-- A case that was decided before this migration covers the charges that were undelivered at the time of the decision.
UPDATE charge_attempts SET decided_round = 1
FROM review_cases JOIN payments ON payments.id = review_cases.payment_id
WHERE review_cases.payment_id = charge_attempts.payment_id AND review_cases.status = 'decided'
    AND charge_attempts.status IN ('approved', 'approved_late')
    AND (
        EXISTS (
            SELECT 1 FROM refunds WHERE refunds.charge_attempt_id = charge_attempts.id
                AND (refunds.reason = 'operator_decision'
                    OR refunds.status = 'failed' AND refunds.answered_at <= review_cases.decided_at)
        )
        OR charge_attempts.status = 'approved' AND review_cases.decided_at >= coalesce(
            (SELECT coalesce(ended_at, 'infinity') FROM sessions WHERE sessions.payment_id = payments.id),
            (
                SELECT coalesce(ended_at, 'infinity')
                FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                WHERE extensions.payment_id = payments.id
            ),
            payments.closed_at
        )
    );

-- The view holds each refund that an operator decided and the gateway refused. The view leaves out a refund if another
-- refund of the charge is requested or done. The view also leaves out a refused automatic refund of a late approval,
-- because the late approval has an open case or a decision.
CREATE OR REPLACE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds
WHERE refunds.status = 'failed' AND refunds.reason = 'operator_decision' AND NOT EXISTS (
    SELECT 1 FROM refunds AS again
    WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
);

-- Decided charges ----------------------------------------------------------------------------------------------

-- When an operator decides a case, the trigger also marks the payment's undelivered charges without a decision as
-- decided.
CREATE FUNCTION charges_decided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE charge_attempts SET decided_round = NEW.round
    FROM undelivered_charges
    WHERE undelivered_charges.payment_id = NEW.payment_id AND undelivered_charges.decided_round IS NULL
        AND charge_attempts.id = undelivered_charges.charge_attempt_id;
    RETURN NULL;
END $$;
CREATE TRIGGER review_cases_decide_charges AFTER UPDATE ON review_cases FOR EACH ROW
    WHEN (OLD.status = 'open' AND NEW.status = 'decided') EXECUTE FUNCTION charges_decided();

CREATE FUNCTION charge_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A refund that no second operator has approved has no effect yet. So a case may open again, and then take such a
    -- decision back.
    IF NEW.decided_round IS NULL AND EXISTS (
        SELECT 1 FROM review_cases
        WHERE payment_id = NEW.payment_id AND round = OLD.decided_round AND needs_approval AND approved_by IS NULL
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'charge % is decided', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_attempts_decided_once';
END $$;
CREATE TRIGGER charge_attempts_decided_once BEFORE UPDATE ON charge_attempts FOR EACH ROW
    WHEN (OLD.decided_round IS DISTINCT FROM NEW.decided_round AND OLD.decided_round IS NOT NULL)
    EXECUTE FUNCTION charge_decided_once();

-- Reopened cases ----------------------------------------------------------------------------------------------

CREATE FUNCTION review_case_opened_again() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_withdrawn boolean := OLD.needs_approval AND OLD.approved_by IS NULL;
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM undelivered_charges WHERE payment_id = OLD.payment_id AND decided_round IS NULL
    ) THEN
        RAISE EXCEPTION 'review case % is decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'review_cases_decided_once';
    END IF;
    INSERT INTO earlier_decisions (case_id, round, reason, opened_at, decision, decision_note, decided_by, decided_at,
        refund_rp, withdrawn, approved_by, approved_at)
    VALUES (OLD.id, OLD.round, OLD.reason, OLD.opened_at, OLD.decision, OLD.decision_note, OLD.decided_by,
        OLD.decided_at, OLD.refund_rp, is_withdrawn, OLD.approved_by, OLD.approved_at);
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
    RETURN NEW;
END $$;
CREATE TRIGGER review_cases_opened_again BEFORE UPDATE ON review_cases FOR EACH ROW
    WHEN (OLD.status = 'decided' AND NEW.status = 'open') EXECUTE FUNCTION review_case_opened_again();

DROP TRIGGER review_cases_decided_once ON review_cases;
CREATE TRIGGER review_cases_decided_once BEFORE UPDATE ON review_cases FOR EACH ROW
    WHEN (OLD.status = 'decided' AND NEW.status = 'decided' AND (OLD.decision, OLD.decided_by, OLD.decided_at,
        OLD.decision_note, OLD.round) IS DISTINCT FROM (NEW.decision, NEW.decided_by, NEW.decided_at,
        NEW.decision_note, NEW.round))
    EXECUTE FUNCTION review_case_decided_once();

-- Open each decided case whose payment has an undelivered charge without a decision.
UPDATE review_cases SET status = 'open'
WHERE status = 'decided' AND EXISTS (
    SELECT 1 FROM undelivered_charges
    WHERE undelivered_charges.payment_id = review_cases.payment_id AND undelivered_charges.decided_round IS NULL
);

-- Checks at commit ---------------------------------------------------------------------------------------------

-- At the end of a transaction, PostgreSQL checks that each undelivered charge has a decision or an open case.
CREATE FUNCTION undelivered_charges_have_a_case() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    concerned uuid[];
BEGIN
    IF TG_TABLE_NAME = 'payments' THEN
        concerned := ARRAY[NEW.id];
    ELSIF TG_TABLE_NAME = 'sessions' THEN
        concerned := NEW.payment_id || ARRAY(SELECT payment_id FROM extensions WHERE session_id = NEW.id);
    ELSE
        concerned := ARRAY[NEW.payment_id];
    END IF;
    IF EXISTS (
        SELECT 1 FROM undelivered_charges
        WHERE payment_id = ANY (concerned) AND decided_round IS NULL AND NOT EXISTS (
            SELECT 1 FROM review_cases
            WHERE review_cases.payment_id = undelivered_charges.payment_id AND review_cases.status = 'open')
    ) THEN
        RAISE EXCEPTION 'a charge of the payments % is undelivered and has no open case', concerned
            USING ERRCODE = 'check_violation', CONSTRAINT = 'undelivered_charges_have_a_case';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payments_unserved_have_a_case AFTER UPDATE ON payments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status = 'unserved') EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE CONSTRAINT TRIGGER sessions_cut_short_have_a_case AFTER UPDATE ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.end_reason IN ('mitra_ended', 'mitra_suspended'))
    EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE CONSTRAINT TRIGGER refunds_refused_have_a_case AFTER UPDATE ON refunds
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status = 'failed') EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE CONSTRAINT TRIGGER charge_attempts_late_have_a_refund AFTER UPDATE ON charge_attempts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status = 'approved_late')
    EXECUTE FUNCTION undelivered_charges_have_a_case();
