-- squawk-ignore-file constraint-missing-not-valid, ban-drop-not-null  -- a deployment has few mitras, and blocks are new
-- Deleted accounts, their erasures, and what a phone number keeps after a deletion (P.3, P.4, P.5).

-- When the owner deleted the account. The row stays without a name, because payments and sessions refer to it.
ALTER TABLE customers ADD COLUMN deleted_at timestamptz;
-- An earlier account of the same phone number has used up the trial (P.4).
ALTER TABLE customers ADD COLUMN trial_used_before boolean NOT NULL DEFAULT false;
ALTER TABLE mitras ADD COLUMN deleted_at timestamptz;
-- A deleted mitra is never asked again. Every check of a suspension also refuses a deleted mitra.
ALTER TABLE mitras ADD CONSTRAINT mitras_deleted_are_suspended CHECK (
    deleted_at IS NULL OR suspended_at IS NOT NULL
) NOT VALID;
ALTER TABLE mitras VALIDATE CONSTRAINT mitras_deleted_are_suspended;

CREATE FUNCTION token_of_a_deleted_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM customers WHERE id = NEW.user_id AND NEW.role = 'customer' AND deleted_at IS NOT NULL)
        OR EXISTS (SELECT 1 FROM mitras WHERE id = NEW.user_id AND NEW.role = 'mitra' AND deleted_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'the account % is deleted', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'access_tokens_of_accounts';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER access_tokens_of_accounts BEFORE INSERT ON access_tokens
    FOR EACH ROW EXECUTE FUNCTION token_of_a_deleted_account();

-- T1 deletes the account: it locks the customer's row FOR UPDATE, and then looks for an open payment. T2 opens a payment.
-- Either T2 waits here for T1's commit, and then finds no account. Or T1 waits for T2's commit, and then finds the payment.
CREATE FUNCTION payment_of_a_deleted_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM customers WHERE id = NEW.customer_id AND deleted_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account % is deleted', NEW.customer_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_of_accounts';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payments_of_accounts BEFORE INSERT ON payments
    FOR EACH ROW EXECUTE FUNCTION payment_of_a_deleted_account();

CREATE OR REPLACE FUNCTION trial_is_used(of_customer_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT 1 FROM customers WHERE customers.id = of_customer_id AND customers.trial_used_before)
        OR EXISTS (SELECT 1 FROM sessions WHERE sessions.customer_id = of_customer_id AND sessions.is_trial)
        OR EXISTS (
            SELECT 1 FROM payments JOIN pairings ON pairings.payment_id = payments.id
            WHERE payments.customer_id = of_customer_id AND payments.is_trial
                AND payments.confirmed_at IS NOT NULL AND pairings.failure_tag = 'customer_cancelled'
        )
        OR 3 <= (
            SELECT count(*) FROM payments
            WHERE payments.customer_id = of_customer_id AND payments.is_trial
                AND payments.confirmed_at > curhat_now() - interval '24 hours'
        );

-- One row per deleted account. The worker erases what the tables still hold of the person.
CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    deleted_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- When the list outside the database had this erasure (P.5).
    listed_at timestamptz,
    -- When nothing was left to erase.
    erased_at timestamptz,
    CONSTRAINT erasures_once UNIQUE (role, user_id),
    CONSTRAINT erasures_are_listed CHECK (erased_at IS NULL OR listed_at IS NOT NULL)
);
CREATE INDEX erasures_under_way ON erasures (deleted_at) WHERE erased_at IS NULL;

-- What the same phone number inherits when it comes back (P.4). `digest` is an HMAC of the number. The key is not in the
-- database.
CREATE TABLE erased_phones (
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    trial_used boolean NOT NULL,
    suspended_at timestamptz,
    -- Null with a `suspended_at`: for good.
    suspended_until timestamptz,
    -- The people of the other role who blocked the account.
    blocked_by uuid[] NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (digest, role),
    CONSTRAINT erased_phones_suspended_until CHECK (suspended_until IS NULL OR suspended_at IS NOT NULL)
);
CREATE INDEX erased_phones_by_end ON erased_phones (expires_at);

-- The audit keeps every entry. Of a deleted mitra, it forgets only the name.
CREATE FUNCTION audit_forgets_only_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.subject = 'mitra' AND OLD.action IN ('mitra_invited', 'mitra_renamed')
        AND (NEW.id, NEW.actor, NEW.action, NEW.subject, NEW.subject_id, NEW.occurred_at)
            = (OLD.id, OLD.actor, OLD.action, OLD.subject, OLD.subject_id, OLD.occurred_at)
        AND coalesce(NEW.old_value, '') IN ('', '(deleted)') AND coalesce(NEW.new_value, '') IN ('', '(deleted)')
        AND EXISTS (SELECT 1 FROM mitras WHERE id::text = OLD.subject_id AND deleted_at IS NOT NULL)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER audit_entries_append_only ON audit_entries;
CREATE TRIGGER audit_entries_append_only BEFORE DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER audit_entries_forget_only_names BEFORE UPDATE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_forgets_only_names();
-- The serving role cannot update the audit. This function runs with the rights of the owner of the table.
CREATE FUNCTION forget_name_in_audit(of_mitra_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public
    BEGIN ATOMIC
        UPDATE audit_entries
        SET old_value = CASE WHEN old_value IS NOT NULL THEN '(deleted)' END,
            new_value = CASE WHEN new_value IS NOT NULL THEN '(deleted)' END
        WHERE subject_id = of_mitra_id::text AND subject = 'mitra' AND action IN ('mitra_invited', 'mitra_renamed')
            AND (old_value <> '(deleted)' OR new_value <> '(deleted)');
    END;

-- A block without a session belongs to a new account: somebody blocked an earlier account of the same phone number, or a
-- mitra has the same number. Nobody sees this block in a list, and nobody undoes it.
ALTER TABLE blocks ALTER COLUMN session_id DROP NOT NULL;
DROP TRIGGER blocks_after_a_session ON blocks;
CREATE TRIGGER blocks_after_a_session BEFORE INSERT OR UPDATE ON blocks
    FOR EACH ROW WHEN (NEW.session_id IS NOT NULL) EXECUTE FUNCTION block_needs_session();
