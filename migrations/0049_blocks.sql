-- Blocks between a customer and a mitra (T.1).

CREATE TABLE blocks (
    -- The two members of the session. The foreign key of `session_id` already shows that they exist.
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    -- The side that blocked. Both sides can block each other, and each side undoes only its own block.
    blocked_by text NOT NULL CHECK (blocked_by IN ('customer', 'mitra')),
    -- The session after which the side blocked.
    session_id uuid NOT NULL REFERENCES sessions (id),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    PRIMARY KEY (customer_id, mitra_id, blocked_by)
);
CREATE INDEX blocks_by_mitra ON blocks (mitra_id, blocked_by);

-- A block is only for two who had a session together. A trigger costs the accept nothing. A foreign key on all three
-- columns would need one more unique index on sessions, and each accept would write it.
CREATE FUNCTION block_needs_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = NEW.session_id AND customer_id = NEW.customer_id AND mitra_id = NEW.mitra_id
    ) THEN
        RAISE EXCEPTION 'session % is not of these two people', NEW.session_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'blocks_after_a_session';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER blocks_after_a_session BEFORE INSERT OR UPDATE ON blocks
    FOR EACH ROW EXECUTE FUNCTION block_needs_session();
