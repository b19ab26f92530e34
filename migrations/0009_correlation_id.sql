-- The id connects the log lines of a deadline with those of the HTTP request that armed it. It is not called a
-- request id, because here a "request" is a question to a mitra. Renaming a column breaks code that still uses
-- the old name, which is allowed here because no release has run.
-- squawk-ignore renaming-column
ALTER TABLE deadlines RENAME COLUMN request_id TO correlation_id;
