-- squawk-ignore-file require-concurrent-index-creation, adding-foreign-key-constraint  -- the tables are new
-- Every night the worker closes the day that ended: it compares the gateway's books with ours, and checks the invariants.

-- One row per closed day (in Jakarta). The service only adds rows.
CREATE TABLE closed_days (
    day date PRIMARY KEY,
    closed_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- What the gateway lists for this day.
    charges integer NOT NULL,
    charged_rp bigint NOT NULL,
    refunds integer NOT NULL,
    refunded_rp bigint NOT NULL,
    differences integer NOT NULL,
    -- 0 if the check of the invariants took too long.
    invariants_checked integer NOT NULL,
    broken_invariants text[] NOT NULL
);
CREATE TRIGGER closed_days_never_changed BEFORE UPDATE OR DELETE ON closed_days
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER closed_days_never_emptied BEFORE TRUNCATE ON closed_days
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- One row per charge or refund about which the gateway and our tables disagree. A status or amount is null if that side
-- does not know the charge or refund. The service only adds rows.
CREATE TABLE book_differences (
    key uuid PRIMARY KEY,
    day date NOT NULL,
    about text NOT NULL CHECK (about IN ('charge', 'refund')),
    -- The gateway's payment, which perhaps does not exist here.
    payment_id uuid NOT NULL,
    our_status text,
    our_rp integer,
    gateway_status text,
    gateway_rp integer,
    found_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX book_differences_by_payment ON book_differences (payment_id);
CREATE TRIGGER book_differences_never_changed BEFORE UPDATE OR DELETE ON book_differences
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER book_differences_never_emptied BEFORE TRUNCATE ON book_differences
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- The mock gateway can leave a charge out of its list.
ALTER TABLE mock_gateway.charges ADD COLUMN is_listed boolean NOT NULL DEFAULT true;
