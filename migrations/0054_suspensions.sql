-- squawk-ignore-file constraint-missing-not-valid  -- one scan of the customers, who have no suspension yet
-- Suspensions with an end (T.3).

-- While `suspended_at` is set and `suspended_until` is null or in the future, a customer can open and confirm no payment.
-- `suspended_until` null: for good. The end needs no step, because each check compares the clock.
ALTER TABLE customers ADD COLUMN suspended_at timestamptz;
ALTER TABLE customers ADD COLUMN suspended_until timestamptz;
ALTER TABLE customers ADD CONSTRAINT customers_suspended_until CHECK (
    suspended_until IS NULL OR suspended_at IS NOT NULL
) NOT VALID;
ALTER TABLE customers VALIDATE CONSTRAINT customers_suspended_until;

-- When a deadline lifts the mitra's suspension. Null: the mitra is not suspended, or until an operator lifts it. The
-- previous release lifts a suspension without clearing this column, so no CHECK binds it to `suspended_at`.
ALTER TABLE mitras ADD COLUMN suspended_until timestamptz;
