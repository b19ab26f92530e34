-- migrate: no transaction
-- At most one person with this number can be a customer.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS people_one_customer_per_phone ON people (phone_number)
WHERE only_role IS DISTINCT FROM 'mitra';
