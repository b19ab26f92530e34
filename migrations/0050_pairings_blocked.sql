-- The mitras whom a blast must not ask, because one of the two has blocked the other (T.1). A blast copies them from
-- `blocks` when it opens. A block that comes later adds its mitra under the lock of the pairing's row. So a statement
-- that has locked the row knows every committed block.
ALTER TABLE pairings ADD COLUMN blocked_mitra_ids uuid[] NOT NULL DEFAULT '{}';
