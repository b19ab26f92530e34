-- squawk-ignore-file constraint-missing-not-valid
-- When the text of a chat was hidden, and when it was deleted (P.7).

-- `text_hidden_at`: since when neither side can read the text, because the customer deleted the chat or the account.
ALTER TABLE sessions ADD COLUMN text_hidden_at timestamptz;
-- `text_deleted_at`: when the messages were deleted. The row of the session stays.
ALTER TABLE sessions ADD COLUMN text_deleted_at timestamptz;
ALTER TABLE sessions ADD CONSTRAINT sessions_text_of_a_running_chat CHECK (
    status = 'ended' OR (text_hidden_at IS NULL AND text_deleted_at IS NULL)
) NOT VALID;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_text_of_a_running_chat;

CREATE FUNCTION session_text_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.text_deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the text of session % is deleted already', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_text_is_deleted_once';
    END IF;
    IF EXISTS (SELECT 1 FROM held_sessions WHERE session_id = NEW.id) THEN
        RAISE EXCEPTION 'the text of session % is held', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_held_text_stays';
    END IF;
    IF EXISTS (SELECT 1 FROM messages WHERE session_id = NEW.id) THEN
        RAISE EXCEPTION 'session % still has messages', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_deleted_text_is_gone';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_text_deleted AFTER UPDATE OF text_deleted_at ON sessions
    FOR EACH ROW WHEN (OLD.text_deleted_at IS DISTINCT FROM NEW.text_deleted_at)
    EXECUTE FUNCTION session_text_deleted();
