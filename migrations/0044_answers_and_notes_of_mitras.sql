-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- push_messages holds messages of one day at most
-- What only one mitra sees: short texts to insert into a chat, and a private note about a customer.

CREATE TABLE canned_answers (
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    -- The place in the mitra's list. The bounds also limit the number of answers.
    position smallint NOT NULL CHECK (position BETWEEN 1 AND 30),
    text text NOT NULL CHECK (char_length(text) BETWEEN 1 AND 500),
    PRIMARY KEY (mitra_id, position)
);

-- The primary key begins with the customer, so that the erasure of a customer finds the notes about this customer.
CREATE TABLE customer_notes (
    customer_id uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    text text NOT NULL CHECK (char_length(text) BETWEEN 1 AND 2000),
    updated_at timestamptz NOT NULL DEFAULT curhat_now(),
    PRIMARY KEY (customer_id, mitra_id)
);

-- The reminder at the end of a break (0042). Only a worker of this release puts it into the outbox, and a worker of the
-- previous release leaves a message of an unknown kind alone.
ALTER TABLE push_messages DROP CONSTRAINT push_messages_kind_check;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_kind_check CHECK (kind IN (
    'request_offered', 'matched', 'message', 'customer_message', 'extension_requested',
    'search_failed', 'fallback_offered', 'decided', 'refunded', 'break_over', 'test')) NOT VALID;
ALTER TABLE push_messages VALIDATE CONSTRAINT push_messages_kind_check;
