-- This file creates the schema for accounts, configuration, offers, payments, pairing, sessions, realtime, deadlines
-- and the audit.
--
-- PostgreSQL itself enforces the rules below with constraints, unique indexes and triggers.
--   A phone number belongs to at most one person.
--   A customer has at most one open journey, one running session and one trial session ever.
--   A payment has at most one undecided charge attempt, one approved charge, one session and one review case.
--   A payment has at most one pairing of each kind, one open pairing and one matched pairing.
--   A charge has at most one refund.
--   An entity has at most one deadline of each kind and generation.
--   Each pairing needs a confirmed payment (pairings_paid_first).
--   The customer and the mitra of a session are two different people (sessions_not_with_oneself).
--   A mitra at capacity gets no further session.
--   A status changes only by an allowed transition.
--   Rows of the audit and of the status history are never updated or deleted.
--
-- The code locks rows with FOR NO KEY UPDATE, so that foreign key checks never wait for a business transaction. All
-- transactions take their locks in one order, so that transactions cannot deadlock. The lock order is: payment,
-- pairing, session, mitra, requests by id, extension and its payment, streams by (role, user id).

-- curhat_now() is the only clock of the service. Every statement that compares a time with a deadline calls
-- curhat_now(). Tests replace the body of curhat_now() with a body that returns a virtual time. The body below reads no
-- setting, so no setting can change the time in production.
CREATE FUNCTION curhat_now() RETURNS timestamptz
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN clock_timestamp();

CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- Accounts ------------------------------------------------------------------------------------------------

CREATE TABLE people (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    phone_number text NOT NULL UNIQUE CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    created_at timestamptz NOT NULL DEFAULT curhat_now()
);

CREATE TABLE customers (
    id uuid PRIMARY KEY REFERENCES people (id),
    call_name text NOT NULL CHECK (char_length(call_name) BETWEEN 1 AND 40),
    created_at timestamptz NOT NULL DEFAULT curhat_now()
);

CREATE TABLE mitras (
    id uuid PRIMARY KEY REFERENCES people (id),
    display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 40),
    max_customers integer NOT NULL CHECK (max_customers BETWEEN 1 AND 20),
    -- The mitra's toggle is true if the mitra wants requests. Only Valkey knows whether the mitra is connected.
    online boolean NOT NULL DEFAULT false,
    suspended_at timestamptz,
    active_sessions integer NOT NULL DEFAULT 0 CHECK (active_sessions >= 0),
    last_seen_at timestamptz,
    -- The version increases when a column that determines availability changes. Valkey ignores a state whose version is
    -- older than the version in Valkey.
    availability_version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT curhat_now()
);

CREATE FUNCTION mitra_over_capacity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'mitra % is at capacity', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'mitras_capacity_never_exceeded';
END $$;

CREATE TRIGGER mitras_capacity_never_exceeded BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN (NEW.active_sessions > OLD.active_sessions AND NEW.active_sessions > NEW.max_customers)
    EXECUTE FUNCTION mitra_over_capacity();

CREATE FUNCTION next_availability_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.availability_version := OLD.availability_version + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER mitras_availability_version BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN ((OLD.online, OLD.suspended_at, OLD.active_sessions, OLD.max_customers)
        IS DISTINCT FROM (NEW.online, NEW.suspended_at, NEW.active_sessions, NEW.max_customers))
    EXECUTE FUNCTION next_availability_version();

CREATE TABLE one_time_codes (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    phone_number text NOT NULL,
    code_digest bytea NOT NULL,
    wrong_tries integer NOT NULL DEFAULT 0 CHECK (wrong_tries BETWEEN 0 AND 5),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    resend_after timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    consumed_at timestamptz
);
CREATE INDEX one_time_codes_by_phone ON one_time_codes (phone_number, created_at);
CREATE INDEX one_time_codes_by_age ON one_time_codes (created_at);

CREATE TABLE access_tokens (
    digest bytea PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    transport text NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX access_tokens_by_user ON access_tokens (user_id, role) WHERE revoked_at IS NULL;
CREATE INDEX access_tokens_by_end ON access_tokens (least(expires_at, revoked_at));

CREATE TABLE idempotency_keys (
    role text NOT NULL,
    user_id uuid NOT NULL,
    key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 200),
    -- The fingerprint identifies the first HTTP request with this key by its method, its path and a digest of its body.
    fingerprint bytea NOT NULL,
    -- The status is null while the first HTTP request with this key still runs.
    status integer,
    body text,
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    PRIMARY KEY (role, user_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Configuration ----------------------------------------------------------------------------------------------

-- Operators edit the five rows of this table.
CREATE TABLE configuration (
    key text PRIMARY KEY CHECK (key IN (
        'pairing_blast_timeout_seconds',
        'payment_session_timeout_minutes',
        'returning_chat_confirmation_timeout_seconds',
        'extension_timeout_seconds',
        'extension_default_action_on_timeout'
    )),
    value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT curhat_now(),
    updated_by text NOT NULL
);
INSERT INTO configuration (key, value, updated_by) VALUES
    ('pairing_blast_timeout_seconds', '60', 'default'),
    ('payment_session_timeout_minutes', '20', 'default'),
    ('returning_chat_confirmation_timeout_seconds', '20', 'default'),
    ('extension_timeout_seconds', '10', 'default'),
    ('extension_default_action_on_timeout', 'auto_approve', 'default');

CREATE TABLE configuration_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL REFERENCES configuration (key),
    old_value text NOT NULL,
    new_value text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX configuration_changes_by_key ON configuration_changes (key, id);
CREATE TRIGGER configuration_changes_append_only BEFORE UPDATE OR DELETE ON configuration_changes
    FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- Pricing ----------------------------------------------------------------------------------------------------

CREATE TABLE offers (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    purpose text NOT NULL CHECK (purpose IN ('session', 'extension')),
    duration_minutes integer NOT NULL CHECK (duration_minutes BETWEEN 1 AND 480),
    price_rp integer NOT NULL CHECK (price_rp BETWEEN 0 AND 10000000),
    is_trial boolean NOT NULL DEFAULT false,
    withdrawn_at timestamptz,
    CONSTRAINT offers_only_a_trial_is_free CHECK (is_trial = (price_rp = 0)),
    CONSTRAINT offers_no_trial_extension CHECK (NOT (is_trial AND purpose = 'extension'))
);
CREATE UNIQUE INDEX offers_one_current ON offers (purpose, duration_minutes, is_trial) WHERE withdrawn_at IS NULL;

-- Payments ---------------------------------------------------------------------------------------------------

CREATE TABLE payments (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    customer_id uuid NOT NULL REFERENCES customers (id),
    purpose text NOT NULL CHECK (purpose IN ('session', 'extension')),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'confirming', 'confirmed', 'served', 'unserved', 'abandoned', 'expired', 'refunded')),
    offer_id uuid NOT NULL REFERENCES offers (id),
    -- A payment keeps the terms that the offer had when the customer opened the payment. A later change of the offer
    -- does not change the terms of the payment.
    duration_minutes integer NOT NULL,
    amount_rp integer NOT NULL CHECK (amount_rp >= 0),
    is_trial boolean NOT NULL,
    target_mitra_id uuid REFERENCES mitras (id),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    expires_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    closed_at timestamptz,
    CONSTRAINT payments_not_with_oneself CHECK (target_mitra_id <> customer_id),
    CONSTRAINT payments_trial_is_free CHECK (is_trial = (amount_rp = 0)),
    CONSTRAINT payments_taken_means_confirmed
        CHECK (status NOT IN ('confirmed', 'served', 'unserved') OR confirmed_at IS NOT NULL)
);
CREATE UNIQUE INDEX payments_one_open_journey ON payments (customer_id)
    WHERE purpose = 'session' AND status IN ('pending', 'confirming', 'confirmed');
CREATE INDEX payments_by_customer ON payments (customer_id, id DESC);
CREATE INDEX payments_in_flight ON payments (id) WHERE status IN ('confirming', 'confirmed');

CREATE TABLE charge_attempts (
    -- The server sends the attempt's id to the gateway as the idempotency key of the charge.
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL REFERENCES payments (id),
    amount_rp integer NOT NULL CHECK (amount_rp > 0),
    status text NOT NULL DEFAULT 'started' CHECK (status IN (
        'started', 'approved', 'declined', 'approved_late')),
    started_at timestamptz NOT NULL DEFAULT curhat_now(),
    answered_at timestamptz,
    reason text
);
CREATE UNIQUE INDEX charge_attempts_one_undecided ON charge_attempts (payment_id) WHERE status = 'started';
-- An attempt whose approval arrives too late gets the status 'approved_late'. An attempt with the status
-- 'approved_late' is never the payment's charge, and the worker refunds the attempt.
CREATE UNIQUE INDEX charge_attempts_one_charge ON charge_attempts (payment_id) WHERE status = 'approved';
CREATE INDEX charge_attempts_by_payment ON charge_attempts (payment_id);

CREATE TABLE refunds (
    -- The server sends the refund's id to the gateway as the idempotency key of the refund.
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL REFERENCES payments (id),
    charge_attempt_id uuid NOT NULL UNIQUE REFERENCES charge_attempts (id),
    amount_rp integer NOT NULL CHECK (amount_rp > 0),
    reason text NOT NULL CHECK (reason IN ('late_approval', 'operator_decision')),
    status text NOT NULL DEFAULT 'requested' CHECK (status IN ('requested', 'done', 'failed')),
    gateway_reason text,
    requested_at timestamptz NOT NULL DEFAULT curhat_now(),
    answered_at timestamptz
);
CREATE INDEX refunds_by_payment ON refunds (payment_id);

-- Pairing ----------------------------------------------------------------------------------------------------

CREATE TABLE pairings (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL REFERENCES payments (id),
    customer_id uuid NOT NULL REFERENCES customers (id),
    kind text NOT NULL CHECK (kind IN ('blast', 'targeted')),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'matched', 'failed')),
    target_mitra_id uuid REFERENCES mitras (id),
    failure_tag text CHECK (failure_tag IN (
        'no_mitra_available', 'all_mitras_rejected', 'targeted_mitra_offline', 'targeted_mitra_rejected',
        'targeted_mitra_timeout', 'payment_session_expired', 'customer_cancelled')),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    deadline_at timestamptz NOT NULL,
    decided_at timestamptz,
    CONSTRAINT pairings_target CHECK ((kind = 'targeted') = (target_mitra_id IS NOT NULL)),
    CONSTRAINT pairings_failed_has_tag CHECK ((status = 'failed') = (failure_tag IS NOT NULL)),
    CONSTRAINT pairings_decided CHECK ((status = 'open') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX pairings_one_of_a_kind ON pairings (payment_id, kind);
CREATE UNIQUE INDEX pairings_one_open ON pairings (payment_id) WHERE status = 'open';
CREATE UNIQUE INDEX pairings_one_winner ON pairings (payment_id) WHERE status = 'matched';
CREATE INDEX pairings_open ON pairings (id) WHERE status = 'open';

CREATE TABLE requests (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    pairing_id uuid NOT NULL REFERENCES pairings (id),
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    status text NOT NULL DEFAULT 'offered' CHECK (status IN ('offered', 'accepted', 'rejected', 'closed')),
    close_reason text CHECK (close_reason IN (
        'already_taken', 'customer_cancelled', 'timed_out', 'went_offline', 'at_capacity', 'suspended')),
    is_returning boolean NOT NULL,
    offered_at timestamptz NOT NULL DEFAULT curhat_now(),
    answered_at timestamptz,
    CONSTRAINT requests_one_a_mitra UNIQUE (pairing_id, mitra_id),
    CONSTRAINT requests_closed_says_why CHECK ((status = 'closed') = (close_reason IS NOT NULL))
);
CREATE INDEX requests_open_by_mitra ON requests (mitra_id) WHERE status = 'offered';
CREATE UNIQUE INDEX requests_one_winner ON requests (pairing_id) WHERE status = 'accepted';

-- Sessions ---------------------------------------------------------------------------------------------------

CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL CONSTRAINT sessions_one_a_payment UNIQUE REFERENCES payments (id),
    pairing_id uuid NOT NULL CONSTRAINT sessions_one_a_pairing UNIQUE REFERENCES pairings (id),
    customer_id uuid NOT NULL REFERENCES customers (id),
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ended')),
    duration_minutes integer NOT NULL,
    is_trial boolean NOT NULL,
    started_at timestamptz NOT NULL DEFAULT curhat_now(),
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN ('time_up', 'customer_ended', 'mitra_ended', 'mitra_suspended')),
    -- end_note is the mitra's reason for ending the session early. Operators can read the note, but the customer never
    -- sees it.
    end_note text CHECK (char_length(end_note) BETWEEN 1 AND 500),
    CONSTRAINT sessions_not_with_oneself CHECK (customer_id <> mitra_id),
    CONSTRAINT sessions_ended CHECK ((status = 'ended') = (ended_at IS NOT NULL AND end_reason IS NOT NULL)),
    CONSTRAINT sessions_mitra_gives_a_reason CHECK (end_reason IS DISTINCT FROM 'mitra_ended' OR end_note IS NOT NULL)
);
CREATE UNIQUE INDEX sessions_one_running ON sessions (customer_id) WHERE status = 'active';
CREATE UNIQUE INDEX sessions_one_trial ON sessions (customer_id) WHERE is_trial;
CREATE INDEX sessions_by_customer ON sessions (customer_id, id DESC);
CREATE INDEX sessions_by_pair ON sessions (customer_id, mitra_id);
CREATE INDEX sessions_by_mitra ON sessions (mitra_id, id DESC);
CREATE INDEX sessions_running_by_mitra ON sessions (mitra_id) WHERE status = 'active';

CREATE TABLE messages (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    session_id uuid NOT NULL REFERENCES sessions (id),
    sender text NOT NULL CHECK (sender IN ('customer', 'mitra')),
    client_message_id text NOT NULL CHECK (char_length(client_message_id) BETWEEN 1 AND 100),
    text text NOT NULL CHECK (char_length(text) BETWEEN 1 AND 4000),
    sent_at timestamptz NOT NULL DEFAULT curhat_now(),
    read_at timestamptz,
    CONSTRAINT messages_once UNIQUE (session_id, sender, client_message_id)
);
CREATE INDEX messages_by_session ON messages (session_id, id);
CREATE INDEX messages_unread ON messages (session_id, sender, id) WHERE read_at IS NULL;

-- Review cases ----------------------------------------------------------------------------------------------

CREATE TABLE review_cases (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL CONSTRAINT review_cases_one_a_payment UNIQUE REFERENCES payments (id),
    reason text NOT NULL CHECK (reason IN ('no_session', 'cut_short', 'refund_failed')),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'decided')),
    amount_rp integer NOT NULL CHECK (amount_rp >= 0),
    opened_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX review_cases_open ON review_cases (opened_at) WHERE status = 'open';

CREATE TABLE failed_pairing_events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    payment_id uuid NOT NULL REFERENCES payments (id),
    -- pairing_id is null if the event records the expiry of the payment. Either the payment expired before its first
    -- pairing, or the customer never answered the fallback.
    pairing_id uuid UNIQUE REFERENCES pairings (id),
    tag text NOT NULL CHECK (tag IN (
        'no_mitra_available', 'all_mitras_rejected', 'targeted_mitra_offline', 'targeted_mitra_rejected',
        'targeted_mitra_timeout', 'payment_session_expired', 'customer_cancelled')),
    kind text CHECK (kind IN ('blast', 'targeted')),
    mitra_id uuid REFERENCES mitras (id),
    -- recovered is true if a later pairing of the same payment succeeded (3.8).
    recovered boolean NOT NULL DEFAULT false,
    case_id uuid REFERENCES review_cases (id),
    occurred_at timestamptz NOT NULL DEFAULT curhat_now(),
    CONSTRAINT failed_pairing_events_recovered_without_case CHECK (NOT (recovered AND case_id IS NOT NULL))
);
CREATE INDEX failed_pairing_events_by_payment ON failed_pairing_events (payment_id);
CREATE INDEX failed_pairing_events_by_time ON failed_pairing_events (occurred_at DESC, id DESC);

-- Status history --------------------------------------------------------------------------------------------

-- Triggers write the status history in the statement that changes the status.
CREATE TABLE status_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id uuid NOT NULL,
    entity text NOT NULL CHECK (entity IN ('payment', 'pairing', 'session')),
    entity_id uuid NOT NULL,
    old_status text,
    new_status text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX status_changes_by_payment ON status_changes (payment_id, id);
CREATE TRIGGER status_changes_append_only BEFORE UPDATE OR DELETE ON status_changes
    FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- The three functions below refuse every status transition that is not allowed. The functions write every allowed
-- transition into status_changes. Each function contains the table of transitions from its package's states.py. A test
-- compares the function with states.py.
CREATE FUNCTION payment_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (
        ('pending', 'confirming'), ('pending', 'confirmed'), ('pending', 'abandoned'), ('pending', 'expired'),
        ('confirming', 'pending'), ('confirming', 'confirmed'), ('confirming', 'expired'),
        ('confirming', 'abandoned'),
        ('confirmed', 'served'), ('confirmed', 'unserved'),
        ('served', 'refunded'), ('unserved', 'refunded')
    ) THEN
        RAISE EXCEPTION 'payment % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_allowed_steps';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.id, 'payment', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER payments_opened AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION payment_status_changed();
CREATE TRIGGER payments_step AFTER UPDATE ON payments FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION payment_status_changed();

CREATE FUNCTION pairing_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (('open', 'matched'), ('open', 'failed')) THEN
        RAISE EXCEPTION 'pairing % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'pairings_allowed_steps';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'pairing', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER pairings_opened AFTER INSERT ON pairings FOR EACH ROW EXECUTE FUNCTION pairing_status_changed();
CREATE TRIGGER pairings_step AFTER UPDATE ON pairings FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION pairing_status_changed();

CREATE FUNCTION session_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (('active', 'ended')) THEN
        RAISE EXCEPTION 'session % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_allowed_steps';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'session', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_opened AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION session_status_changed();
CREATE TRIGGER sessions_step AFTER UPDATE ON sessions FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION session_status_changed();

-- A session and a pairing need a confirmed payment (2c.1, X.2) ------------------------------------

CREATE FUNCTION payment_must_be_confirmed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM payments
        WHERE id = NEW.payment_id AND confirmed_at IS NOT NULL AND status IN ('confirmed', 'served')
            AND customer_id = NEW.customer_id AND purpose = 'session'
    ) THEN
        RAISE EXCEPTION '% needs a confirmed payment', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_paid_first';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER pairings_paid_first BEFORE INSERT ON pairings
    FOR EACH ROW EXECUTE FUNCTION payment_must_be_confirmed();
CREATE TRIGGER sessions_paid_first BEFORE INSERT ON sessions
    FOR EACH ROW EXECUTE FUNCTION payment_must_be_confirmed();

-- Realtime streams -----------------------------------------------------------------------------------------------

CREATE TABLE streams (
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    head bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (role, user_id)
) WITH (fillfactor = 70); -- The free space in each page lets PostgreSQL update `head` without touching an index.

CREATE TABLE stream_events (
    role text NOT NULL,
    user_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    -- This column holds the event's data as JSON. The data contains only facts that the stream's user is allowed to
    -- see. The server sends the JSON text to the client unchanged.
    data text NOT NULL,
    at timestamptz NOT NULL DEFAULT curhat_now(),
    PRIMARY KEY (role, user_id, seq)
);
CREATE INDEX stream_events_by_age ON stream_events (at);

-- Deadlines ----------------------------------------------------------------------------------------------------------

CREATE TABLE deadlines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    entity_id uuid NOT NULL,
    generation integer NOT NULL DEFAULT 1,
    due_at timestamptz NOT NULL,
    -- request_id is the id of the HTTP request that armed the deadline. The worker logs request_id.
    request_id text,
    -- The worker retries a failed transition. If the transition fails too often, the worker parks the deadline.
    -- `curhat doctor` counts the parked deadlines.
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    parked_at timestamptz,
    CONSTRAINT deadlines_once UNIQUE (kind, entity_id, generation)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX deadlines_armed ON deadlines (due_at) WHERE parked_at IS NULL;

-- Audit --------------------------------------------------------------------------------------------------------------

CREATE TABLE audit_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The actor is 'system', 'command line' or the id of an operator.
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    subject_id text NOT NULL,
    old_value text,
    new_value text,
    occurred_at timestamptz NOT NULL DEFAULT curhat_now()
);
CREATE INDEX audit_entries_by_time ON audit_entries (occurred_at DESC, id DESC);
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
