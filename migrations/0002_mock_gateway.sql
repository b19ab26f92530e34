-- The records of the mock payment gateway. The mock stands for a third party. Therefore no other table refers to
-- these tables. The mock writes them in transactions of its own, which a crash of the server does not undo.
CREATE SCHEMA mock_gateway;

CREATE TABLE mock_gateway.charges (
    key uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL CHECK (status IN ('approved', 'declined')),
    -- Until this time, the mock answers "processing" when it is asked about this charge. The time is later than
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

-- How the mock answers for one payment. The row whose payment_id is null applies to all other payments.
CREATE TABLE mock_gateway.behaviours (
    payment_id uuid UNIQUE NULLS NOT DISTINCT,
    behaviour text NOT NULL CHECK (behaviour IN ('approve', 'decline', 'slow', 'lost', 'double'))
);
