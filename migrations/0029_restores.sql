-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- a case is opened for one payment in a hundred
-- A restore to an earlier time: what `curhat restore --finish` has done, and what only the gateway knows.

-- One row per restore of this database. While the row of the current restore has no opened_at, no process serves.
CREATE TABLE restores (
    -- Names the restore. The recovered PostgreSQL itself tells this name (see kit/restored.py).
    marker text PRIMARY KEY CHECK (marker <> ''),
    -- The time of the newest change of a payment, pairing, session or extension that the database holds.
    restored_to timestamptz NOT NULL,
    began_at timestamptz NOT NULL DEFAULT curhat_now(),
    opened_at timestamptz,
    -- The invariants that did not hold when an operator opened the database all the same.
    broken_invariants text[] NOT NULL DEFAULT '{}'
);

-- Whose money it is, if a restore loses the payment.
ALTER TABLE mock_gateway.charges ADD COLUMN customer_id uuid;

-- The reason `restored`: the gateway took or gave back money, and the restore lost our record of it.
ALTER TABLE review_cases DROP CONSTRAINT review_cases_reason_check;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_reason_check
    CHECK (reason IN ('no_session', 'cut_short', 'refund_failed', 'restored')) NOT VALID;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_reason_check;
