-- In development, the server stores text messages here, for developers to read, and does not send them to phones.
-- The table exists in every environment. Production has neither the sender that writes to the table nor the
-- endpoint that reads it.
CREATE TABLE development_inbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone_number text NOT NULL,
    text text NOT NULL,
    code text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX development_inbox_by_phone ON development_inbox (phone_number, id DESC);
