-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- the table holds messages of one day at most
-- Push to customers about the outcome of a payment: the search failed, the chosen mitra did not accept, or the money
-- came back.
--
-- All three reasons share one kind of deadline, with the payment's id. The triggers are in the files 0030 to 0032, which
-- are applied after the restart, because a worker of the previous version cannot send these pushes.

ALTER TABLE push_messages DROP CONSTRAINT push_messages_kind_check;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_kind_check CHECK (kind IN (
    'request_offered', 'matched', 'message', 'customer_message', 'extension_requested',
    'search_failed', 'fallback_offered', 'refunded', 'test')) NOT VALID;
ALTER TABLE push_messages VALIDATE CONSTRAINT push_messages_kind_check;

-- Arms the deadline of this payment, if its customer has a subscription that has not failed.
CREATE FUNCTION arm_outcome_push(payment uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_outcomes', ARRAY[payment], curhat_now(), curhat_now())
    FROM payments
    WHERE id = payment AND EXISTS (
        SELECT 1 FROM push_subscriptions
        WHERE user_id = payments.customer_id AND role = 'customer' AND failed_at IS NULL);
END $$;

-- pairings: the fallback is offered. The customer must answer while it is open (3.8).
CREATE FUNCTION fallback_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;

-- payments: confirmed → unserved. The journey ended without a session.
CREATE FUNCTION unserved_payment_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.id);
    RETURN NULL;
END $$;

-- refunds: requested → done.
CREATE FUNCTION refund_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;
