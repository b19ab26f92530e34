-- migrate: no transaction
-- At most one person with this number can be a mitra.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS people_one_mitra_per_phone ON people (phone_number)
WHERE only_role IS DISTINCT FROM 'customer';
