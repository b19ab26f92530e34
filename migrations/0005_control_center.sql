-- squawk-ignore-file require-concurrent-index-creation, ban-drop-constraint
-- (Each file is one transaction, and there are no large tables yet. A process that still runs the code before this file
-- refunds no late approval: its deadline is tried again, and the new code carries it out.)

-- The Control Center: operators and how they sign in, decisions on review cases, the lists they look through, and an
-- audit that the service's role cannot change.
--
-- What must never be is forbidden here, in the database:
--   an undecided case with a decision, a decided one without who, when and which;
--   an approval that nobody asked for, or by the one who decided;
--   two refunds of one charge that both may be carried out (a failed one makes room for the next);
--   an audit entry, a status history or a configuration history that is changed, deleted or truncated.

-- Operators ---------------------------------------------------------------------------------------------------

CREATE TABLE operators (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
    role text NOT NULL CHECK (role IN ('admin', 'reviewer', 'viewer')),
    -- argon2id, in its own encoding.
    password_hash text NOT NULL,
    -- The second factor's secret is made from this salt and a key that the database does not have; null: none enrolled.
    totp_salt bytea,
    -- A secret that was shown and not yet proved.
    totp_new_salt bytea,
    -- The last time step whose code was used: each code is good once.
    totp_last_step bigint NOT NULL DEFAULT 0,
    -- Whoever left: nothing admits them any more. The row stays, since decisions and the audit name it.
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

-- Tries to sign in that were not right, by a digest of the e-mail that was written, whether it exists or not.
CREATE TABLE operator_sign_in_tries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email_digest bytea NOT NULL,
    tried_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX operator_sign_in_tries_by_email ON operator_sign_in_tries (email_digest, tried_at);
CREATE INDEX operator_sign_in_tries_by_age ON operator_sign_in_tries (tried_at);

-- Decisions on review cases -----------------------------------------------------------------------------------

ALTER TABLE review_cases
    ADD COLUMN decision text,
    ADD COLUMN decision_note text,
    ADD COLUMN decided_by uuid,
    ADD COLUMN decided_at timestamptz,
    -- What a decision to refund gives back, and whether a second operator has to approve it.
    ADD COLUMN refund_rp integer,
    ADD COLUMN needs_approval boolean NOT NULL DEFAULT false,
    ADD COLUMN approved_by uuid,
    ADD COLUMN approved_at timestamptz,
    -- The tag of the payment's last failure, kept by a trigger on the failures.
    ADD COLUMN tag text;

-- No released service has cases to check yet.
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

-- A refund that failed makes room for another try, which the gateway knows by a key of its own.
ALTER TABLE refunds DROP CONSTRAINT refunds_charge_attempt_id_key;
CREATE UNIQUE INDEX refunds_one_a_charge ON refunds (charge_attempt_id) WHERE status <> 'failed';

-- What operators look through: each list has an index in its own order ---------------------------------------------

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

-- The triggers of 0001 refuse changes and deletions row by row, whoever asks; these refuse to empty the table.
CREATE TRIGGER audit_entries_never_emptied BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
CREATE TRIGGER configuration_changes_never_emptied BEFORE TRUNCATE ON configuration_changes
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
CREATE TRIGGER status_changes_never_emptied BEFORE TRUNCATE ON status_changes
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- And the role that the service connects as, which owns the tables, is left with reading and appending.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries, configuration_changes, status_changes FROM PUBLIC, CURRENT_USER;
