-- The id connects the log lines of a deadline with those of the HTTP request that armed it. The new name avoids the
-- word "request", which here means a question to a mitra. Renaming a column breaks code that still uses the old
-- name. This is allowed because no release has run.
-- squawk-ignore renaming-column
ALTER TABLE deadlines RENAME COLUMN request_id TO correlation_id;
