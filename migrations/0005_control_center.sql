-- squawk-ignore-file require-concurrent-index-creation, ban-drop-constraint

-- The migration runner applies this file in one transaction, and no table is large yet. In a process that still runs
-- the previous version of the code, the refund of a late approval fails. Workers retry the deadline until a process
-- with the new version makes the refund.

-- This file adds the Control Center: operators and their sign-in, decisions on review cases, and the indexes of the
-- operators' lists. This file also stops the service's own database role from changing the audit.
--
-- PostgreSQL itself enforces the rules below.
--   A decided case has a decision, a note, an operator and a time.
--   An open case has no decision, no note, no operator and no time of a decision.
--   An operator can approve a refund only if the case has needs_approval set.
--   The operator who approves a refund is not the operator who decided the case.
--   A charge has at most one refund that has not failed.
--   No role can UPDATE, DELETE or TRUNCATE the audit, the status history or the configuration history.

-- Operators ---------------------------------------------------------------------------------------------------

CREATE TABLE operators (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
    role text NOT NULL CHECK (role IN ('admin', 'reviewer', 'viewer')),
    -- password_hash is an argon2id hash in argon2's encoding. The encoding contains the parameters and the salt.
    password_hash text NOT NULL,
    -- The server derives the TOTP secret from totp_salt and from a key outside the database. The salt is null if the
    -- operator has no authenticator app yet.
    totp_salt bytea,
    -- totp_new_salt is the salt of a new TOTP secret. The server has shown the new secret, but the operator has not yet
    -- confirmed the new secret with a code.
    totp_new_salt bytea,
    -- totp_last_step is the time step of the last TOTP code that the operator used. The server refuses a TOTP code of
    -- this time step or of an earlier time step, so each code works once.
    totp_last_step bigint NOT NULL DEFAULT 0,
    -- A disabled operator cannot sign in. The operator's row stays, because decisions and the audit refer to the
    -- operator.
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT curhat_now()
);

CREATE TABLE operator_recovery_codes (
    operator_id uuid NOT NULL REFERENCES operators (id),
    digest bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (operator_id, digest)
);

CREATE TABLE operator_tokens (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    digest bytea NOT NULL UNIQUE,
    operator_id uuid NOT NULL REFERENCES operators (id),
    transport text NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    user_agent text NOT NULL CHECK (char_length(user_agent) <= 200),
    address text NOT NULL CHECK (char_length(address) <= 60),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    last_seen_at timestamptz NOT NULL DEFAULT curhat_now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX operator_tokens_by_operator ON operator_tokens (operator_id, id) WHERE revoked_at IS NULL;
CREATE INDEX operator_tokens_by_end ON operator_tokens (least(expires_at, revoked_at));

-- Each row records one failed attempt to sign in. The row has the digest of the e-mail address that somebody typed.
-- The row exists even if no operator has this address.
CREATE TABLE operator_sign_in_tries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email_digest bytea NOT NULL,
    tried_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX operator_sign_in_tries_by_email ON operator_sign_in_tries (email_digest, tried_at);
CREATE INDEX operator_sign_in_tries_by_age ON operator_sign_in_tries (tried_at);

-- Case decisions ----------------------------------------------------------------------------------------------

ALTER TABLE review_cases
    ADD COLUMN decision text,
    ADD COLUMN decision_note text,
    ADD COLUMN decided_by uuid,
    ADD COLUMN decided_at timestamptz,
    -- refund_rp is the amount of the refund. The column needs_approval says whether a second operator must approve the
    -- refund.
    ADD COLUMN refund_rp integer,
    ADD COLUMN needs_approval boolean NOT NULL DEFAULT false,
    ADD COLUMN approved_by uuid,
    ADD COLUMN approved_at timestamptz,
    -- This column holds the tag of the payment's last failure. A trigger on failed_pairing_events writes the tag.
    ADD COLUMN tag text;

-- The constraints are NOT VALID, because review_cases has no rows to check yet. No release ran before this migration.
ALTER TABLE review_cases
    ADD CONSTRAINT review_cases_decision CHECK (decision IN ('refund', 'no_refund')) NOT VALID,
    ADD CONSTRAINT review_cases_decision_note CHECK (char_length(decision_note) BETWEEN 1 AND 1000) NOT VALID,
    ADD CONSTRAINT review_cases_decided CHECK (
        (status = 'decided') = (decision IS NOT NULL)
        AND (decision IS NULL) = (decided_by IS NULL)
        AND (decision IS NULL) = (decided_at IS NULL)
        AND (decision IS NULL) = (decision_note IS NULL)) NOT VALID,
    ADD CONSTRAINT review_cases_refund_amount CHECK (
        (decision IS NOT DISTINCT FROM 'refund') = (refund_rp IS NOT NULL) AND refund_rp > 0) NOT VALID,
    ADD CONSTRAINT review_cases_approval CHECK (
        (approved_by IS NULL) = (approved_at IS NULL)
        AND (approved_by IS NULL OR (needs_approval AND decision = 'refund' AND approved_by <> decided_by))) NOT VALID,
    ADD CONSTRAINT review_cases_decided_by FOREIGN KEY (decided_by) REFERENCES operators (id) NOT VALID,
    ADD CONSTRAINT review_cases_approved_by FOREIGN KEY (approved_by) REFERENCES operators (id) NOT VALID;

CREATE FUNCTION review_case_tagged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE review_cases SET tag = (
        SELECT events.tag FROM failed_pairing_events AS events WHERE events.case_id = NEW.case_id
        ORDER BY events.occurred_at DESC, events.id DESC LIMIT 1
    ) WHERE id = NEW.case_id;
    RETURN NULL;
END $$;

UPDATE review_cases SET tag = (
    SELECT events.tag FROM failed_pairing_events AS events WHERE events.case_id = review_cases.id
    ORDER BY events.occurred_at DESC, events.id DESC LIMIT 1
);

CREATE FUNCTION review_case_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'review case % is decided', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'review_cases_decided_once';
END $$;
CREATE TRIGGER review_cases_decided_once BEFORE UPDATE ON review_cases FOR EACH ROW
    WHEN (OLD.status = 'decided' AND (OLD.status, OLD.decision, OLD.decided_by, OLD.decided_at, OLD.decision_note)
        IS DISTINCT FROM (NEW.status, NEW.decision, NEW.decided_by, NEW.decided_at, NEW.decision_note))
    EXECUTE FUNCTION review_case_decided_once();

-- After a refund has failed, the charge can have another refund. The new refund has a new id, and so also a new
-- idempotency key at the gateway.
ALTER TABLE refunds DROP CONSTRAINT refunds_charge_attempt_id_key;
CREATE UNIQUE INDEX refunds_one_a_charge ON refunds (charge_attempt_id) WHERE status <> 'failed';

-- Indexes -----------------------------------------------------------------------------------------------------

-- Each list in the Control Center has one index in the order of the list.
CREATE INDEX failed_pairing_events_by_case ON failed_pairing_events (case_id);
CREATE TRIGGER failed_pairing_events_tag_the_case AFTER INSERT OR UPDATE OF case_id ON failed_pairing_events
    FOR EACH ROW WHEN (NEW.case_id IS NOT NULL) EXECUTE FUNCTION review_case_tagged();
CREATE INDEX failed_pairing_events_by_tag ON failed_pairing_events (tag, occurred_at DESC, id DESC);
CREATE INDEX review_cases_by_age ON review_cases ((status = 'decided'), opened_at, id);
CREATE INDEX review_cases_awaiting_approval ON review_cases (opened_at, id)
    WHERE needs_approval AND approved_by IS NULL;
CREATE INDEX review_cases_by_tag ON review_cases (tag, (status = 'decided'), opened_at, id);

CREATE INDEX payments_by_time ON payments (created_at DESC, id DESC);
CREATE INDEX payments_by_status ON payments (status, created_at DESC, id DESC);
CREATE INDEX payments_by_confirmation ON payments (confirmed_at) WHERE confirmed_at IS NOT NULL;
CREATE INDEX payments_open_by_target ON payments (target_mitra_id)
    WHERE status IN ('pending', 'confirming', 'confirmed');
CREATE INDEX sessions_by_time ON sessions (started_at DESC, id DESC);
CREATE INDEX sessions_by_status ON sessions (status, started_at DESC, id DESC);
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX pairings_by_match ON pairings (decided_at) WHERE status = 'matched';
CREATE INDEX customers_by_time ON customers (created_at DESC, id DESC);
CREATE INDEX customers_by_call_name ON customers (lower(call_name) text_pattern_ops, created_at DESC, id DESC);
CREATE INDEX mitras_by_time ON mitras (created_at DESC, id DESC);
CREATE INDEX requests_by_mitra ON requests (mitra_id, id DESC);

-- Append only -------------------------------------------------------------------------------------------------

CREATE INDEX audit_entries_by_actor ON audit_entries (actor, occurred_at DESC, id DESC);
CREATE INDEX audit_entries_by_action ON audit_entries (action, occurred_at DESC, id DESC);
CREATE INDEX audit_entries_by_subject ON audit_entries (subject_id, occurred_at DESC, id DESC);

-- The triggers of 0001 refuse UPDATE and DELETE for every role. The triggers below refuse TRUNCATE.
CREATE TRIGGER audit_entries_never_emptied BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
CREATE TRIGGER configuration_changes_never_emptied BEFORE TRUNCATE ON configuration_changes
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
CREATE TRIGGER status_changes_never_emptied BEFORE TRUNCATE ON status_changes
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- The service connects as the role that owns the tables. On the three append-only tables, this role keeps only SELECT
-- and INSERT.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries, configuration_changes, status_changes FROM PUBLIC, CURRENT_USER;
