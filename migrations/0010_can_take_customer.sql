-- can_take_customer is true if the mitra's toggle is on, the mitra is not suspended, and the mitra is below capacity.
-- Statements read this column, and must not repeat the condition. The column is virtual, so it needs no storage and no
-- rewrite of the table. PostgreSQL evaluates the column's expression when a statement reads the column.
ALTER TABLE mitras ADD COLUMN can_take_customer boolean
    -- squawk-ignore adding-field-with-default
    GENERATED ALWAYS AS (online AND suspended_at IS NULL AND active_sessions < max_customers) VIRTUAL;
