-- squawk-ignore-file constraint-missing-not-valid
-- A mitra who is not there (X.11): what a session's end delivered, and since when its mitra is disconnected.

-- `mitra_away_since`: since when the mitra is disconnected, while the session is active. Null: the mitra is connected, or
-- nobody knows. After the end, the column keeps its last value.
ALTER TABLE sessions ADD COLUMN mitra_away_since timestamptz;
-- `mitra_back_at`: when the mitra last came back. An older report about the mitra's absence counts no more.
ALTER TABLE sessions ADD COLUMN mitra_back_at timestamptz;
-- `delivery`: what the customer got. Null: the session is active, or a release before this column ended it.
-- `cut_short`: the mitra or a suspension ended the session. `mitra_away`: the customer ended it because the mitra was away.
-- `unanswered`: the customer wrote, and the mitra sent no message.
ALTER TABLE sessions ADD COLUMN delivery text;
ALTER TABLE sessions ADD CONSTRAINT sessions_delivery CHECK (
    delivery IS NULL OR (
        delivery IN ('delivered', 'cut_short', 'mitra_away', 'unanswered') AND status = 'ended'
        AND (delivery = 'cut_short') = (end_reason IN ('mitra_ended', 'mitra_suspended'))
    )
) NOT VALID;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_delivery;
-- The customer can say that the mitra is away only after 60 s (sessions/states.py).
ALTER TABLE sessions ADD CONSTRAINT sessions_left_by_their_mitra CHECK (
    delivery IS DISTINCT FROM 'mitra_away'
    OR (end_reason = 'customer_ended' AND mitra_away_since IS NOT NULL
        AND mitra_away_since <= ended_at - interval '60 seconds')
) NOT VALID;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_left_by_their_mitra;

-- The view of 0033. What a session delivered now says whether its mitra was away or never wrote: a later reason of the
-- case, such as a refused refund, does not change it.
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
                    SELECT end_reason, delivery FROM sessions WHERE sessions.payment_id = payments.id
                    UNION ALL
                    SELECT end_reason, delivery
                    FROM extensions JOIN sessions ON sessions.id = extensions.session_id
                    WHERE extensions.payment_id = payments.id
                ) AS paid_for
                WHERE end_reason IN ('mitra_ended', 'mitra_suspended') OR delivery IN ('mitra_away', 'unanswered')
            )
        )
    );

CREATE CONSTRAINT TRIGGER sessions_not_delivered_have_a_case AFTER UPDATE ON sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.delivery IS DISTINCT FROM NEW.delivery AND NEW.delivery IN ('mitra_away', 'unanswered'))
    EXECUTE FUNCTION undelivered_charges_have_a_case();
