-- An operator can question a charge, although it was delivered or decided. This file locks only charge_attempts.

-- The time at which an operator last opened a case by hand about this charge, or at which the gateway's books differed.
ALTER TABLE charge_attempts ADD COLUMN questioned_at timestamptz;

-- A questioned charge is undecided again, and the next round of its case decides about what is left of it.
CREATE OR REPLACE FUNCTION charge_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.decided_round IS NULL AND NEW.questioned_at IS DISTINCT FROM OLD.questioned_at THEN
        RETURN NEW;
    END IF;
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

-- The view holds the charges of which something is left, and for which the customer got nothing, or which an operator
-- questions. `amount_rp` is what is left: the charge without its requested and done refunds. A late approval is always
-- undelivered. An approved charge is undelivered if its payment got no session, if the session was cut short, or if the
-- mitra was away or never wrote. `refused_rp` is the amount of the decided refund that the gateway refused and that
-- nobody has requested again; `was_refused` says whether there is one.
CREATE OR REPLACE VIEW undelivered_charges AS
SELECT charge_attempts.payment_id, charge_attempts.id AS charge_attempt_id,
    (charge_attempts.amount_rp - given_back.amount_rp)::integer AS amount_rp, charge_attempts.decided_round,
    refused.amount_rp IS NOT NULL AS was_refused, refused.amount_rp AS refused_rp
FROM charge_attempts JOIN payments ON payments.id = charge_attempts.payment_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(refunds.amount_rp), 0) AS amount_rp FROM refunds
    WHERE refunds.charge_attempt_id = charge_attempts.id AND refunds.status <> 'failed'
) AS given_back
LEFT JOIN LATERAL (
    SELECT failed.amount_rp FROM refunds AS failed
    WHERE failed.charge_attempt_id = charge_attempts.id AND failed.status = 'failed'
        AND failed.reason = 'operator_decision'
        AND coalesce(failed.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round
        AND NOT EXISTS (
            SELECT 1 FROM refunds AS again
            WHERE again.charge_attempt_id = charge_attempts.id AND again.status <> 'failed'
                AND again.reason = 'operator_decision'
                AND coalesce(again.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round
        )
    ORDER BY failed.id DESC LIMIT 1
) AS refused ON true
WHERE charge_attempts.amount_rp > given_back.amount_rp
    AND (
        charge_attempts.status = 'approved_late'
        OR charge_attempts.status = 'approved' AND (
            payments.status = 'unserved'
            OR charge_attempts.questioned_at IS NOT NULL
            OR EXISTS (
                SELECT 1 FROM (
                    SELECT end_reason FROM sessions WHERE sessions.payment_id = payments.id
                    UNION ALL
                    SELECT end_reason FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                    WHERE extensions.payment_id = payments.id
                ) AS paid_for
                WHERE end_reason IN ('mitra_ended', 'mitra_suspended')
            )
            OR EXISTS (
                SELECT 1 FROM review_cases
                WHERE review_cases.payment_id = payments.id AND review_cases.reason IN ('mitra_away', 'unanswered')
            )
        )
    );

-- The view holds each refund that an operator decided and the gateway refused, unless a refund of the same decision is
-- requested or done. It also leaves out a refund of an earlier decision about a charge that was decided again since.
CREATE OR REPLACE VIEW refused_refunds AS
SELECT refunds.payment_id, refunds.charge_attempt_id
FROM refunds JOIN charge_attempts ON charge_attempts.id = refunds.charge_attempt_id
WHERE refunds.status = 'failed' AND refunds.reason = 'operator_decision'
    AND coalesce(refunds.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round
    AND NOT EXISTS (
        SELECT 1 FROM refunds AS again
        WHERE again.charge_attempt_id = refunds.charge_attempt_id AND again.status <> 'failed'
            AND again.reason = 'operator_decision'
            AND coalesce(again.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round
    )
    AND charge_attempts.amount_rp > (
        SELECT coalesce(sum(given.amount_rp), 0) FROM refunds AS given
        WHERE given.charge_attempt_id = charge_attempts.id AND given.status <> 'failed'
    );
