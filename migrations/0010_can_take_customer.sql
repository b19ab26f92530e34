-- Whether a mitra can take a customer: online by intent, not suspended, below capacity. No statement may repeat
-- this condition. The column is virtual, so it needs no storage and no rewrite of the table: PostgreSQL puts its
-- expression into each statement that names it.
ALTER TABLE mitras ADD COLUMN can_take_customer boolean
    -- squawk-ignore adding-field-with-default
    GENERATED ALWAYS AS (online AND suspended_at IS NULL AND active_sessions < max_customers) VIRTUAL;
