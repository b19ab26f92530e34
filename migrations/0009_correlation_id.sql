-- The log lines of a deadline have the same id as the log lines of the HTTP request that armed the deadline. The new
-- name avoids the word "request", because a request is a mitra's card. Renaming a column breaks running code that uses
-- the old name. No release ran before this migration, so no running code uses the old name.
-- squawk-ignore renaming-column
ALTER TABLE deadlines RENAME COLUMN request_id TO correlation_id;
