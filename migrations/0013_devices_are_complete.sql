-- Check the existing rows. This check has its own file, so that PostgreSQL releases the exclusive lock of 0012 before
-- the check starts.
ALTER TABLE access_tokens VALIDATE CONSTRAINT access_tokens_id_not_null;
ALTER TABLE access_tokens VALIDATE CONSTRAINT access_tokens_last_seen_at_not_null;
ALTER TABLE access_tokens VALIDATE CONSTRAINT access_tokens_user_agent_check;
ALTER TABLE operator_sign_in_tries VALIDATE CONSTRAINT operator_sign_in_tries_factor_check;
