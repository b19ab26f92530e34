-- This file creates the tables of the mock payment gateway. The mock gateway stands for a third party. Therefore no
-- table of the service refers to the mock gateway's tables. The mock gateway writes to its tables in its own
-- transactions. A charge therefore stays recorded when the server crashes.
CREATE SCHEMA mock_gateway;

CREATE TABLE mock_gateway.charges (
    key uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL CHECK (status IN ('approved', 'declined')),
    -- If the server asks about a charge before its known_at, the mock gateway answers "processing". The time known_at
    -- is later than `at` only for a slow charge.
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

-- Each row says how the mock gateway answers for one payment. The row with a null payment_id is the default for all
-- payments that have no row.
CREATE TABLE mock_gateway.behaviours (
    payment_id uuid UNIQUE NULLS NOT DISTINCT,
    behaviour text NOT NULL CHECK (behaviour IN ('approve', 'decline', 'slow', 'lost', 'double'))
);
