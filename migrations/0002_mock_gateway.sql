-- The tables of the mock payment gateway. The mock stands for a third party. Therefore no other table refers to these
-- tables. The mock writes to these tables in its own transactions. So a charge stays recorded when the server
-- crashes.
CREATE SCHEMA mock_gateway;

CREATE TABLE mock_gateway.charges (
    key uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL CHECK (status IN ('approved', 'declined')),
    -- Until this time, the mock answers "processing" when the server asks about this charge. The time is later than
    -- `at` only for a slow charge.
    known_at timestamptz NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX charges_by_payment ON mock_gateway.charges (payment_id);

CREATE TABLE mock_gateway.refunds (
    key uuid PRIMARY KEY,
    charge_key uuid NOT NULL REFERENCES mock_gateway.charges (key),
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL CHECK (status IN ('done', 'failed')),
    at timestamptz NOT NULL
);
CREATE INDEX refunds_by_payment ON mock_gateway.refunds (payment_id);

-- Each row says how the mock answers for one payment. The row whose payment_id is null is the default: it says how
-- the mock answers for a payment that has no row.
CREATE TABLE mock_gateway.behaviours (
    payment_id uuid UNIQUE NULLS NOT DISTINCT,
    behaviour text NOT NULL CHECK (behaviour IN ('approve', 'decline', 'slow', 'lost', 'double'))
);
