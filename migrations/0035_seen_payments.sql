-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- the table holds messages of one day at most
-- What a customer has seen of her payments, and the push about a decision.

-- seen_at is the time at which the customer last looked at what became of the payment. A payment without a row was never
-- looked at. The home screen notes a failed search, a decision and a refund that are newer.
CREATE TABLE seen_payments (
    payment_id uuid PRIMARY KEY REFERENCES payments (id),
    seen_at timestamptz NOT NULL DEFAULT curhat_now()
);

ALTER TABLE push_messages DROP CONSTRAINT push_messages_kind_check;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_kind_check CHECK (kind IN (
    'request_offered', 'matched', 'message', 'customer_message', 'extension_requested',
    'search_failed', 'fallback_offered', 'decided', 'refunded', 'test')) NOT VALID;
ALTER TABLE push_messages VALIDATE CONSTRAINT push_messages_kind_check;

-- review_cases: open → decided, or a second operator approves the refund. A refund that waits for this approval is no
-- news yet. The worker looks again every few seconds, until the decision is pushed or the money is back.
CREATE FUNCTION decision_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;
