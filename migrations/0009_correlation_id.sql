-- The id that ties a deadline's log lines to those of the HTTP request that armed it. A "request" is a mitra's card.
-- Renaming breaks code that runs on the older name; no release has run on it.
-- squawk-ignore renaming-column
ALTER TABLE deadlines RENAME COLUMN request_id TO correlation_id;
