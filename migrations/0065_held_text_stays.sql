-- squawk-ignore-file require-concurrent-index-creation  -- the tables are new
-- The messages of a held session and of a running one cannot be deleted (P.7, invariant 14). Exports are counted (P.6).

CREATE FUNCTION messages_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM held_sessions WHERE session_id IN (SELECT session_id FROM gone)) THEN
        RAISE EXCEPTION 'the text of a session is held'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'messages_held_text_stays';
    END IF;
    IF EXISTS (SELECT 1 FROM sessions WHERE id IN (SELECT session_id FROM gone) AND status = 'active') THEN
        RAISE EXCEPTION 'the text of a running session cannot be deleted'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'messages_of_a_running_chat_stay';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_text_stays AFTER DELETE ON messages
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION messages_deleted();

-- The exports of the last day. A person can begin three a day. `user_id` has no foreign key, because a foreign key would
-- lock the table of people.
CREATE TABLE exports (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX exports_by_person ON exports (user_id, role, begun_at);
CREATE INDEX exports_by_time ON exports (begun_at);
CREATE INDEX notices_by_time ON notices (created_at);
CREATE INDEX ratings_by_time ON ratings (rated_at);
