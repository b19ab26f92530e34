-- Fill the columns that 0011 added to access_tokens. The UPDATE has its own file, so that PostgreSQL releases the
-- exclusive lock of 0011 before the UPDATE starts.
UPDATE access_tokens
SET id = uuidv7(), last_seen_at = created_at, expires_at = least(expires_at, curhat_now() + interval '14 days')
WHERE id IS NULL;
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_id_not_null NOT NULL id NOT VALID;
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_last_seen_at_not_null NOT NULL last_seen_at NOT VALID;
