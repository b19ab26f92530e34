-- In development, the server sends no text messages to phones. The server stores the text messages in this table
-- instead, and developers read the messages there. The table exists in every environment. In production, no sender
-- writes to the table and no endpoint reads the table.
CREATE TABLE development_inbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone_number text NOT NULL,
    text text NOT NULL,
    code text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX development_inbox_by_phone ON development_inbox (phone_number, id DESC);
