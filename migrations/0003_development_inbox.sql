-- The text messages that a real sender would have sent to phones, for developers to read. The table exists in every
-- environment. Only development writes to it: production has neither this sender nor the endpoint that reads it.
CREATE TABLE development_inbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone_number text NOT NULL,
    text text NOT NULL,
    code text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX development_inbox_by_phone ON development_inbox (phone_number, id DESC);
