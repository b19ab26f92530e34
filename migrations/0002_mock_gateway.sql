-- What the mock payment gateway itself remembers. It stands for a third party: nothing of ours refers to it,
-- and the mock writes it through transactions of its own, so that a crash of ours does not undo its memory.
CREATE SCHEMA mock_gateway;

CREATE TABLE mock_gateway.charges (
    key uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL CHECK (status IN ('approved', 'declined')),
    -- When the answer becomes known to those who ask; later than `at` for a slow charge.
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

-- The row without a payment is the behaviour towards everyone.
CREATE TABLE mock_gateway.behaviours (
    payment_id uuid UNIQUE NULLS NOT DISTINCT,
    behaviour text NOT NULL CHECK (behaviour IN ('approve', 'decline', 'slow', 'lost', 'double'))
);
