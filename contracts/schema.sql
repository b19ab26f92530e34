-- The schema after the last migration, to be read; migrations/ makes it. Written by make contracts; do not edit.

CREATE SCHEMA mock_gateway;

CREATE TABLE acceptances (
    role text NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    accepted_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT acceptances_code_of_conduct_by_mitras CHECK (((role = 'mitra'::text) OR (kind <> 'code_of_conduct'::text))),
    CONSTRAINT acceptances_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text])))
);
ALTER TABLE acceptances ADD CONSTRAINT acceptances_pkey PRIMARY KEY (role, user_id, kind, version);
CREATE INDEX acceptances_by_text ON acceptances USING btree (kind, version, role);
CREATE TRIGGER acceptances_kept BEFORE DELETE OR UPDATE ON acceptances FOR EACH ROW EXECUTE FUNCTION keep_acceptance();
CREATE TRIGGER acceptances_never_emptied BEFORE TRUNCATE ON acceptances FOR EACH STATEMENT EXECUTE FUNCTION keep_acceptance();
ALTER TABLE acceptances ADD CONSTRAINT acceptances_text FOREIGN KEY (kind, version) REFERENCES texts(kind, version);
ALTER TABLE acceptances ADD CONSTRAINT acceptances_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE access_tokens (
    digest bytea NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    transport text NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    id uuid DEFAULT uuidv7() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    user_agent text DEFAULT ''::text NOT NULL,
    known_device_digest bytea,
    CONSTRAINT access_tokens_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT access_tokens_transport_check CHECK ((transport = ANY (ARRAY['bearer'::text, 'cookie'::text]))),
    CONSTRAINT access_tokens_user_agent_check CHECK ((char_length(user_agent) <= 200))
);
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_pkey PRIMARY KEY (digest);
CREATE INDEX access_tokens_by_end ON access_tokens USING btree (LEAST(expires_at, revoked_at));
CREATE INDEX access_tokens_by_user ON access_tokens USING btree (user_id, role) WHERE (revoked_at IS NULL);
CREATE TRIGGER access_tokens_of_accounts BEFORE INSERT ON access_tokens FOR EACH ROW EXECUTE FUNCTION token_of_a_deleted_account();
CREATE TRIGGER access_tokens_revoked AFTER UPDATE OF revoked_at ON access_tokens FOR EACH ROW WHEN (((old.revoked_at IS NULL) AND (new.revoked_at IS NOT NULL))) EXECUTE FUNCTION token_revoked();
ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE audit_entries (
    id bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    subject_id text NOT NULL,
    old_value text,
    new_value text,
    occurred_at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE audit_entries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_pkey PRIMARY KEY (id);
CREATE INDEX audit_entries_by_action ON audit_entries USING btree (action, occurred_at DESC, id DESC);
CREATE INDEX audit_entries_by_actor ON audit_entries USING btree (actor, occurred_at DESC, id DESC);
CREATE INDEX audit_entries_by_subject ON audit_entries USING btree (subject_id, occurred_at DESC, id DESC);
CREATE INDEX audit_entries_by_time ON audit_entries USING btree (occurred_at DESC, id DESC);
CREATE TRIGGER audit_entries_append_only BEFORE DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER audit_entries_forget_only_names BEFORE UPDATE ON audit_entries FOR EACH ROW EXECUTE FUNCTION audit_forgets_only_names();
CREATE TRIGGER audit_entries_never_emptied BEFORE TRUNCATE ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
REVOKE ALL ON TABLE audit_entries FROM curhat;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE audit_entries TO curhat;

CREATE TABLE blocks (
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    blocked_by text NOT NULL,
    session_id uuid,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT blocks_blocked_by_check CHECK ((blocked_by = ANY (ARRAY['customer'::text, 'mitra'::text])))
);
ALTER TABLE blocks ADD CONSTRAINT blocks_pkey PRIMARY KEY (customer_id, mitra_id, blocked_by);
CREATE INDEX blocks_by_mitra ON blocks USING btree (mitra_id, blocked_by);
CREATE TRIGGER blocks_after_a_session BEFORE INSERT OR UPDATE ON blocks FOR EACH ROW WHEN ((new.session_id IS NOT NULL)) EXECUTE FUNCTION block_needs_session();
ALTER TABLE blocks ADD CONSTRAINT blocks_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE book_differences (
    key uuid NOT NULL,
    day date NOT NULL,
    about text NOT NULL,
    payment_id uuid NOT NULL,
    our_status text,
    our_rp integer,
    gateway_status text,
    gateway_rp integer,
    found_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT book_differences_about_check CHECK ((about = ANY (ARRAY['charge'::text, 'refund'::text])))
);
ALTER TABLE book_differences ADD CONSTRAINT book_differences_pkey PRIMARY KEY (key);
CREATE INDEX book_differences_by_payment ON book_differences USING btree (payment_id);
CREATE TRIGGER book_differences_never_changed BEFORE DELETE OR UPDATE ON book_differences FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER book_differences_never_emptied BEFORE TRUNCATE ON book_differences FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

CREATE TABLE canned_answers (
    mitra_id uuid NOT NULL,
    "position" integer NOT NULL,
    text text NOT NULL,
    CONSTRAINT canned_answers_position_check CHECK ((("position" >= 1) AND ("position" <= 30))),
    CONSTRAINT canned_answers_text_check CHECK (((char_length(text) >= 1) AND (char_length(text) <= 500)))
);
ALTER TABLE canned_answers ADD CONSTRAINT canned_answers_pkey PRIMARY KEY (mitra_id, "position");
ALTER TABLE canned_answers ADD CONSTRAINT canned_answers_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);

CREATE TABLE charge_attempts (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text DEFAULT 'started'::text NOT NULL,
    started_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    answered_at timestamp with time zone,
    reason text,
    decided_round integer,
    questioned_at timestamp with time zone,
    CONSTRAINT charge_attempts_amount_rp_check CHECK ((amount_rp > 0)),
    CONSTRAINT charge_attempts_status_check CHECK ((status = ANY (ARRAY['started'::text, 'approved'::text, 'declined'::text, 'approved_late'::text])))
);
ALTER TABLE charge_attempts ADD CONSTRAINT charge_attempts_pkey PRIMARY KEY (id);
CREATE INDEX charge_attempts_by_payment ON charge_attempts USING btree (payment_id);
CREATE UNIQUE INDEX charge_attempts_one_charge ON charge_attempts USING btree (payment_id) WHERE (status = 'approved'::text);
CREATE UNIQUE INDEX charge_attempts_one_undecided ON charge_attempts USING btree (payment_id) WHERE (status = 'started'::text);
CREATE TRIGGER charge_attempts_decided_once BEFORE UPDATE ON charge_attempts FOR EACH ROW WHEN (((old.decided_round IS DISTINCT FROM new.decided_round) AND (old.decided_round IS NOT NULL))) EXECUTE FUNCTION charge_decided_once();
CREATE CONSTRAINT TRIGGER charge_attempts_late_have_a_refund AFTER UPDATE ON charge_attempts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.status <> new.status) AND (new.status = 'approved_late'::text))) EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE TRIGGER charge_attempts_of_an_approved_extension BEFORE INSERT ON charge_attempts FOR EACH ROW EXECUTE FUNCTION charge_of_an_approved_extension();
ALTER TABLE charge_attempts ADD CONSTRAINT charge_attempts_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE closed_days (
    day date NOT NULL,
    closed_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    charges integer NOT NULL,
    charged_rp bigint NOT NULL,
    refunds integer NOT NULL,
    refunded_rp bigint NOT NULL,
    differences integer NOT NULL,
    invariants_checked integer NOT NULL,
    broken_invariants text[] NOT NULL
);
ALTER TABLE closed_days ADD CONSTRAINT closed_days_pkey PRIMARY KEY (day);
CREATE TRIGGER closed_days_never_changed BEFORE DELETE OR UPDATE ON closed_days FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER closed_days_never_emptied BEFORE TRUNCATE ON closed_days FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

CREATE TABLE code_days (
    day date NOT NULL,
    region text NOT NULL,
    codes integer NOT NULL,
    CONSTRAINT code_days_codes_check CHECK ((codes > 0)),
    CONSTRAINT code_days_region_check CHECK ((region ~ '^[A-Z0-9]{2,3}$'::text))
);
ALTER TABLE code_days ADD CONSTRAINT code_days_pkey PRIMARY KEY (day, region);

CREATE TABLE configuration (
    key text NOT NULL,
    value text NOT NULL,
    updated_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    updated_by text NOT NULL,
    CONSTRAINT configuration_key_check CHECK ((key = ANY (ARRAY['pairing_blast_timeout_seconds'::text, 'payment_session_timeout_minutes'::text, 'returning_chat_confirmation_timeout_seconds'::text, 'extension_timeout_seconds'::text, 'extension_default_action_on_timeout'::text])))
);
ALTER TABLE configuration ADD CONSTRAINT configuration_pkey PRIMARY KEY (key);

CREATE TABLE configuration_changes (
    id bigint NOT NULL,
    key text NOT NULL,
    old_value text NOT NULL,
    new_value text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE configuration_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE configuration_changes ADD CONSTRAINT configuration_changes_pkey PRIMARY KEY (id);
CREATE INDEX configuration_changes_by_key ON configuration_changes USING btree (key, id);
CREATE TRIGGER configuration_changes_append_only BEFORE DELETE OR UPDATE ON configuration_changes FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER configuration_changes_never_emptied BEFORE TRUNCATE ON configuration_changes FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
ALTER TABLE configuration_changes ADD CONSTRAINT configuration_changes_key_fkey FOREIGN KEY (key) REFERENCES configuration(key);
REVOKE ALL ON TABLE configuration_changes FROM curhat;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE configuration_changes TO curhat;

CREATE TABLE customer_notes (
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    text text NOT NULL,
    updated_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT customer_notes_text_check CHECK (((char_length(text) >= 1) AND (char_length(text) <= 2000)))
);
ALTER TABLE customer_notes ADD CONSTRAINT customer_notes_pkey PRIMARY KEY (customer_id, mitra_id);
ALTER TABLE customer_notes ADD CONSTRAINT customer_notes_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id) ON DELETE CASCADE;
ALTER TABLE customer_notes ADD CONSTRAINT customer_notes_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);

CREATE TABLE customers (
    id uuid NOT NULL,
    call_name text NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    suspended_at timestamp with time zone,
    suspended_until timestamp with time zone,
    adult_at timestamp with time zone,
    deleted_at timestamp with time zone,
    trial_used_before boolean DEFAULT false NOT NULL,
    CONSTRAINT customers_call_name_check CHECK (((char_length(call_name) >= 1) AND (char_length(call_name) <= 40))),
    CONSTRAINT customers_suspended_until CHECK (((suspended_until IS NULL) OR (suspended_at IS NOT NULL)))
);
ALTER TABLE customers ADD CONSTRAINT customers_pkey PRIMARY KEY (id);
CREATE INDEX customers_by_call_name ON customers USING btree (lower(call_name) text_pattern_ops, created_at DESC, id DESC);
CREATE INDEX customers_by_short_id ON customers USING btree ("right"((id)::text, 8));
CREATE INDEX customers_by_time ON customers USING btree (created_at DESC, id DESC);
ALTER TABLE customers ADD CONSTRAINT customers_id_fkey FOREIGN KEY (id) REFERENCES people(id);

CREATE TABLE deadlines (
    id bigint NOT NULL,
    kind text NOT NULL,
    entity_id uuid NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    due_at timestamp with time zone NOT NULL,
    correlation_id text,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    parked_at timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='1000');
ALTER TABLE deadlines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE deadlines ADD CONSTRAINT deadlines_once UNIQUE (kind, entity_id, generation);
ALTER TABLE deadlines ADD CONSTRAINT deadlines_pkey PRIMARY KEY (id);
CREATE INDEX deadlines_armed ON deadlines USING btree (due_at) WHERE (parked_at IS NULL);
CREATE INDEX deadlines_due_per_kind ON deadlines USING btree (kind, due_at) WHERE (parked_at IS NULL);
CREATE INDEX deadlines_parked ON deadlines USING btree (due_at) WHERE (parked_at IS NOT NULL);

CREATE TABLE development_inbox (
    id bigint NOT NULL,
    phone_number text NOT NULL,
    text text NOT NULL,
    code text NOT NULL,
    sent_at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE development_inbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE development_inbox ADD CONSTRAINT development_inbox_pkey PRIMARY KEY (id);
CREATE INDEX development_inbox_by_phone ON development_inbox USING btree (phone_number, id DESC);

CREATE TABLE earlier_decisions (
    case_id uuid NOT NULL,
    round integer NOT NULL,
    reason text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    decision text NOT NULL,
    decision_note text NOT NULL,
    decided_by uuid NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    refund_rp integer,
    withdrawn boolean NOT NULL,
    approved_by uuid,
    approved_at timestamp with time zone,
    opened_by uuid,
    opened_note text
);
ALTER TABLE earlier_decisions ADD CONSTRAINT earlier_decisions_pkey PRIMARY KEY (case_id, round);
ALTER TABLE earlier_decisions ADD CONSTRAINT earlier_decisions_approved_by_fkey FOREIGN KEY (approved_by) REFERENCES operators(id);
ALTER TABLE earlier_decisions ADD CONSTRAINT earlier_decisions_case_id_fkey FOREIGN KEY (case_id) REFERENCES review_cases(id);
ALTER TABLE earlier_decisions ADD CONSTRAINT earlier_decisions_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES operators(id);

CREATE TABLE erased_phones (
    digest bytea NOT NULL,
    role text NOT NULL,
    trial_used boolean NOT NULL,
    suspended_at timestamp with time zone,
    suspended_until timestamp with time zone,
    blocked_by uuid[] NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT erased_phones_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT erased_phones_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT erased_phones_suspended_until CHECK (((suspended_until IS NULL) OR (suspended_at IS NOT NULL)))
);
ALTER TABLE erased_phones ADD CONSTRAINT erased_phones_pkey PRIMARY KEY (digest, role);
CREATE INDEX erased_phones_by_end ON erased_phones USING btree (expires_at);

CREATE TABLE erasures (
    id uuid DEFAULT uuidv7() NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    deleted_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    listed_at timestamp with time zone,
    erased_at timestamp with time zone,
    CONSTRAINT erasures_are_listed CHECK (((erased_at IS NULL) OR (listed_at IS NOT NULL))),
    CONSTRAINT erasures_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text])))
);
ALTER TABLE erasures ADD CONSTRAINT erasures_once UNIQUE (role, user_id);
ALTER TABLE erasures ADD CONSTRAINT erasures_pkey PRIMARY KEY (id);
CREATE INDEX erasures_under_way ON erasures USING btree (deleted_at) WHERE (erased_at IS NULL);
ALTER TABLE erasures ADD CONSTRAINT erasures_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE exports (
    id uuid DEFAULT uuidv7() NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    begun_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT exports_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text])))
);
ALTER TABLE exports ADD CONSTRAINT exports_pkey PRIMARY KEY (id);
CREATE INDEX exports_by_person ON exports USING btree (user_id, role, begun_at);
CREATE INDEX exports_by_time ON exports USING btree (begun_at);

CREATE TABLE extensions (
    id uuid DEFAULT uuidv7() NOT NULL,
    session_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    offer_id uuid NOT NULL,
    duration_minutes integer NOT NULL,
    price_rp integer NOT NULL,
    default_action text NOT NULL,
    requested_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    deadline_at timestamp with time zone NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    decided_by text,
    decided_at timestamp with time zone,
    charge_by timestamp with time zone,
    mitra_went_offline boolean DEFAULT false NOT NULL,
    CONSTRAINT extensions_charged_after_approval CHECK (((status = ANY (ARRAY['charging'::text, 'approved'::text, 'charge_failed'::text])) = (charge_by IS NOT NULL))),
    CONSTRAINT extensions_decided CHECK ((((status = 'pending'::text) = (decided_by IS NULL)) AND ((status = 'pending'::text) = (decided_at IS NULL)))),
    CONSTRAINT extensions_decided_by_check CHECK ((decided_by = ANY (ARRAY['mitra'::text, 'timeout'::text, 'mitra_unreachable'::text, 'session_ended'::text]))),
    CONSTRAINT extensions_default_action_check CHECK ((default_action = ANY (ARRAY['auto_reject'::text, 'auto_approve'::text]))),
    CONSTRAINT extensions_duration_minutes_check CHECK ((duration_minutes > 0)),
    CONSTRAINT extensions_nobody_there_approves_nothing CHECK (((charge_by IS NULL) OR (NOT mitra_went_offline))),
    CONSTRAINT extensions_price_rp_check CHECK ((price_rp > 0)),
    CONSTRAINT extensions_silence_does_what_it_says CHECK (((decided_by IS DISTINCT FROM 'timeout'::text) OR ((charge_by IS NOT NULL) = (default_action = 'auto_approve'::text)))),
    CONSTRAINT extensions_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'charging'::text, 'approved'::text, 'rejected'::text, 'charge_failed'::text]))),
    CONSTRAINT extensions_who_may_approve CHECK (((charge_by IS NULL) OR (decided_by = ANY (ARRAY['mitra'::text, 'timeout'::text]))))
);
ALTER TABLE extensions ADD CONSTRAINT extensions_one_a_payment UNIQUE (payment_id);
ALTER TABLE extensions ADD CONSTRAINT extensions_pkey PRIMARY KEY (id);
CREATE INDEX extensions_by_session ON extensions USING btree (session_id, id DESC);
CREATE UNIQUE INDEX extensions_one_open ON extensions USING btree (session_id) WHERE (status = ANY (ARRAY['pending'::text, 'charging'::text]));
CREATE TRIGGER extensions_opened AFTER INSERT ON extensions FOR EACH ROW EXECUTE FUNCTION extension_status_changed();
CREATE TRIGGER extensions_requested_push AFTER INSERT ON extensions FOR EACH ROW EXECUTE FUNCTION extension_to_push();
CREATE TRIGGER extensions_step AFTER UPDATE ON extensions FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION extension_status_changed();
ALTER TABLE extensions ADD CONSTRAINT extensions_offer_id_fkey FOREIGN KEY (offer_id) REFERENCES offers(id);
ALTER TABLE extensions ADD CONSTRAINT extensions_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);
ALTER TABLE extensions ADD CONSTRAINT extensions_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE failed_pairing_events (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    pairing_id uuid,
    tag text NOT NULL,
    kind text,
    mitra_id uuid,
    recovered boolean DEFAULT false NOT NULL,
    case_id uuid,
    occurred_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    amount_rp integer,
    CONSTRAINT failed_pairing_events_kind_check CHECK ((kind = ANY (ARRAY['blast'::text, 'targeted'::text]))),
    CONSTRAINT failed_pairing_events_recovered_without_case CHECK ((NOT (recovered AND (case_id IS NOT NULL)))),
    CONSTRAINT failed_pairing_events_tag_check CHECK ((tag = ANY (ARRAY['no_mitra_available'::text, 'all_mitras_rejected'::text, 'targeted_mitra_offline'::text, 'targeted_mitra_rejected'::text, 'targeted_mitra_timeout'::text, 'payment_session_expired'::text, 'customer_cancelled'::text])))
);
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_pairing_id_key UNIQUE (pairing_id);
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_pkey PRIMARY KEY (id);
CREATE INDEX failed_pairing_events_by_amount ON failed_pairing_events USING btree (amount_rp, occurred_at DESC, id DESC);
CREATE INDEX failed_pairing_events_by_case ON failed_pairing_events USING btree (case_id);
CREATE INDEX failed_pairing_events_by_payment ON failed_pairing_events USING btree (payment_id);
CREATE INDEX failed_pairing_events_by_tag ON failed_pairing_events USING btree (tag, occurred_at DESC, id DESC);
CREATE INDEX failed_pairing_events_by_time ON failed_pairing_events USING btree (occurred_at DESC, id DESC);
CREATE UNIQUE INDEX failed_pairing_events_one_expiry ON failed_pairing_events USING btree (payment_id) WHERE (pairing_id IS NULL);
CREATE TRIGGER failed_pairing_events_have_their_amount BEFORE INSERT ON failed_pairing_events FOR EACH ROW EXECUTE FUNCTION failure_has_its_amount();
CREATE TRIGGER failed_pairing_events_tag_the_case AFTER INSERT OR UPDATE OF case_id ON failed_pairing_events FOR EACH ROW WHEN ((new.case_id IS NOT NULL)) EXECUTE FUNCTION review_case_tagged();
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_case_id_fkey FOREIGN KEY (case_id) REFERENCES review_cases(id);
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_pairing_id_fkey FOREIGN KEY (pairing_id) REFERENCES pairings(id);
ALTER TABLE failed_pairing_events ADD CONSTRAINT failed_pairing_events_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE help_line_versions (
    version integer NOT NULL,
    items jsonb NOT NULL,
    proposed_by uuid,
    proposed_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    published_by uuid,
    published_at timestamp with time zone,
    CONSTRAINT help_line_versions_are_publishable CHECK (is_publishable_help(items)),
    CONSTRAINT help_line_versions_are_published_by_somebody CHECK (
CASE
    WHEN (proposed_by IS NULL) THEN ((published_by IS NULL) AND (published_at IS NOT NULL))
    ELSE ((published_by IS NULL) = (published_at IS NULL))
END),
    CONSTRAINT help_line_versions_need_two_admins CHECK ((published_by <> proposed_by))
);
ALTER TABLE help_line_versions ALTER COLUMN version ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE help_line_versions ADD CONSTRAINT help_line_versions_pkey PRIMARY KEY (version);
CREATE TRIGGER help_line_versions_never_changed BEFORE DELETE OR UPDATE ON help_line_versions FOR EACH ROW EXECUTE FUNCTION keep_help_line_version();
CREATE TRIGGER help_line_versions_never_emptied BEFORE TRUNCATE ON help_line_versions FOR EACH STATEMENT EXECUTE FUNCTION keep_help_line_version();
ALTER TABLE help_line_versions ADD CONSTRAINT help_line_versions_proposed_by_fkey FOREIGN KEY (proposed_by) REFERENCES operators(id);
ALTER TABLE help_line_versions ADD CONSTRAINT help_line_versions_published_by_fkey FOREIGN KEY (published_by) REFERENCES operators(id);

CREATE TABLE hourly_counts (
    began_at timestamp with time zone NOT NULL,
    opened bigint NOT NULL,
    confirmed bigint NOT NULL,
    matched bigint NOT NULL,
    finished bigint NOT NULL,
    failed bigint NOT NULL,
    CONSTRAINT hourly_counts_began_at_check CHECK ((began_at = date_trunc('hour'::text, began_at, 'UTC'::text)))
);
ALTER TABLE hourly_counts ADD CONSTRAINT hourly_counts_pkey PRIMARY KEY (began_at);

CREATE TABLE idempotency_keys (
    role text NOT NULL,
    user_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer,
    body text,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((char_length(key) >= 1) AND (char_length(key) <= 200)))
);
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (role, user_id, key);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING btree (created_at);

CREATE TABLE known_devices (
    digest bytea NOT NULL,
    person_id uuid,
    operator_id uuid,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT known_devices_one_owner CHECK ((num_nonnulls(person_id, operator_id) = 1))
);
ALTER TABLE known_devices ADD CONSTRAINT known_devices_pkey PRIMARY KEY (digest);
CREATE INDEX known_devices_by_age ON known_devices USING btree (created_at);
CREATE INDEX known_devices_by_operator ON known_devices USING btree (operator_id, created_at) WHERE (operator_id IS NOT NULL);
CREATE INDEX known_devices_by_person ON known_devices USING btree (person_id, created_at) WHERE (person_id IS NOT NULL);
ALTER TABLE known_devices ADD CONSTRAINT known_devices_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES operators(id);
ALTER TABLE known_devices ADD CONSTRAINT known_devices_person_id_fkey FOREIGN KEY (person_id) REFERENCES people(id);

CREATE TABLE messages (
    id uuid DEFAULT uuidv7() NOT NULL,
    session_id uuid NOT NULL,
    sender text NOT NULL,
    client_message_id text NOT NULL,
    text text NOT NULL,
    sent_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    read_at timestamp with time zone,
    reply_to_message_id uuid,
    CONSTRAINT messages_client_message_id_check CHECK (((char_length(client_message_id) >= 1) AND (char_length(client_message_id) <= 100))),
    CONSTRAINT messages_sender_check CHECK ((sender = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT messages_text_check CHECK (((char_length(text) >= 1) AND (char_length(text) <= 4000)))
);
ALTER TABLE messages ADD CONSTRAINT messages_once UNIQUE (session_id, sender, client_message_id);
ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY (id);
CREATE INDEX messages_by_session ON messages USING btree (session_id, id);
CREATE INDEX messages_unread ON messages USING btree (session_id, sender, id) WHERE (read_at IS NULL);
CREATE TRIGGER messages_sent_push AFTER INSERT ON messages REFERENCING NEW TABLE AS sent FOR EACH STATEMENT EXECUTE FUNCTION messages_to_push();
CREATE TRIGGER messages_text_stays AFTER DELETE ON messages REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION messages_deleted();
ALTER TABLE messages ADD CONSTRAINT messages_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE mitra_hours (
    began_at timestamp with time zone NOT NULL,
    mitra_id uuid NOT NULL,
    asked integer NOT NULL,
    accepted integer NOT NULL,
    rejected integer NOT NULL,
    taken integer NOT NULL,
    unanswered integer NOT NULL,
    accept_seconds double precision NOT NULL,
    CONSTRAINT mitra_hours_began_at_check CHECK ((began_at = date_trunc('hour'::text, began_at, 'UTC'::text)))
);
ALTER TABLE mitra_hours ADD CONSTRAINT mitra_hours_pkey PRIMARY KEY (began_at, mitra_id);
ALTER TABLE mitra_hours ADD CONSTRAINT mitra_hours_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);

CREATE TABLE mitra_hours_kept (
    began_at timestamp with time zone NOT NULL
);
ALTER TABLE mitra_hours_kept ADD CONSTRAINT mitra_hours_kept_pkey PRIMARY KEY (began_at);

CREATE TABLE mitras (
    id uuid NOT NULL,
    display_name text NOT NULL,
    max_customers integer NOT NULL,
    online boolean DEFAULT false NOT NULL,
    suspended_at timestamp with time zone,
    active_sessions integer DEFAULT 0 NOT NULL,
    last_seen_at timestamp with time zone,
    availability_version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    push_ready boolean DEFAULT false NOT NULL,
    can_take_customer boolean GENERATED ALWAYS AS ((online AND (suspended_at IS NULL) AND (active_sessions < max_customers))),
    break_until timestamp with time zone,
    waiting_since timestamp with time zone DEFAULT curhat_now() NOT NULL,
    suspended_until timestamp with time zone,
    adult_at timestamp with time zone,
    deleted_at timestamp with time zone,
    CONSTRAINT mitras_active_sessions_check CHECK ((active_sessions >= 0)),
    CONSTRAINT mitras_deleted_are_suspended CHECK (((deleted_at IS NULL) OR (suspended_at IS NOT NULL))),
    CONSTRAINT mitras_display_name_check CHECK (((char_length(display_name) >= 1) AND (char_length(display_name) <= 40))),
    CONSTRAINT mitras_max_customers_check CHECK (((max_customers >= 1) AND (max_customers <= 20))),
    CONSTRAINT mitras_on_break_are_offline CHECK (((break_until IS NULL) OR (NOT online)))
);
ALTER TABLE mitras ADD CONSTRAINT mitras_pkey PRIMARY KEY (id);
CREATE INDEX mitras_by_time ON mitras USING btree (created_at DESC, id DESC);
CREATE TRIGGER mitras_availability_version BEFORE UPDATE ON mitras FOR EACH ROW WHEN (((((((old.online IS DISTINCT FROM new.online) OR (old.suspended_at IS DISTINCT FROM new.suspended_at)) OR (old.active_sessions IS DISTINCT FROM new.active_sessions)) OR (old.max_customers IS DISTINCT FROM new.max_customers)) OR (old.push_ready IS DISTINCT FROM new.push_ready)) OR (old.break_until IS DISTINCT FROM new.break_until))) EXECUTE FUNCTION next_availability_version();
CREATE TRIGGER mitras_begin_to_wait BEFORE UPDATE ON mitras FOR EACH ROW WHEN (((new.online AND (NOT old.online)) OR (new.active_sessions < old.active_sessions))) EXECUTE FUNCTION mitra_begins_to_wait();
CREATE TRIGGER mitras_capacity_never_exceeded BEFORE UPDATE ON mitras FOR EACH ROW WHEN (((new.active_sessions > old.active_sessions) AND (new.active_sessions > new.max_customers))) EXECUTE FUNCTION mitra_over_capacity();
ALTER TABLE mitras ADD CONSTRAINT mitras_id_fkey FOREIGN KEY (id) REFERENCES people(id);

CREATE TABLE mock_gateway.behaviours (
    payment_id uuid,
    behaviour text NOT NULL,
    CONSTRAINT behaviours_behaviour_check CHECK ((behaviour = ANY (ARRAY['approve'::text, 'decline'::text, 'slow'::text, 'lost'::text, 'double'::text, 'processing'::text, 'pending'::text])))
);
ALTER TABLE mock_gateway.behaviours ADD CONSTRAINT behaviours_payment_id_key UNIQUE NULLS NOT DISTINCT (payment_id);

CREATE TABLE mock_gateway.charges (
    key uuid NOT NULL,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL,
    known_at timestamp with time zone NOT NULL,
    at timestamp with time zone NOT NULL,
    customer_id uuid,
    is_listed boolean DEFAULT true NOT NULL,
    CONSTRAINT charges_status_check CHECK ((status = ANY (ARRAY['approved'::text, 'declined'::text, 'processing'::text])))
);
ALTER TABLE mock_gateway.charges ADD CONSTRAINT charges_pkey PRIMARY KEY (key);
CREATE INDEX charges_by_payment ON mock_gateway.charges USING btree (payment_id);

CREATE TABLE mock_gateway.refunds (
    key uuid NOT NULL,
    charge_key uuid NOT NULL,
    payment_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    status text NOT NULL,
    at timestamp with time zone NOT NULL,
    known_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT refunds_status_check CHECK ((status = ANY (ARRAY['done'::text, 'failed'::text, 'processing'::text])))
);
ALTER TABLE mock_gateway.refunds ADD CONSTRAINT refunds_pkey PRIMARY KEY (key);
CREATE INDEX refunds_by_payment ON mock_gateway.refunds USING btree (payment_id);
ALTER TABLE mock_gateway.refunds ADD CONSTRAINT refunds_charge_key_fkey FOREIGN KEY (charge_key) REFERENCES mock_gateway.charges(key);

CREATE TABLE notices (
    id uuid DEFAULT uuidv7() NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    report_id uuid,
    suspended_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    acknowledged_at timestamp with time zone,
    withdrawn_at timestamp with time zone,
    CONSTRAINT notices_about_a_report CHECK (((report_id IS NOT NULL) OR (kind = ANY (ARRAY['suspension'::text, 'suspension_lifted'::text])))),
    CONSTRAINT notices_kind_check CHECK ((kind = ANY (ARRAY['report_acted'::text, 'report_no_violation'::text, 'warning'::text, 'suspension'::text, 'suspension_lifted'::text, 'appeal_upheld'::text, 'appeal_overturned'::text]))),
    CONSTRAINT notices_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT notices_suspended_until CHECK (((suspended_until IS NULL) OR (kind = 'suspension'::text)))
);
ALTER TABLE notices ADD CONSTRAINT notices_pkey PRIMARY KEY (id);
CREATE INDEX notices_by_person ON notices USING btree (user_id, role, id);
CREATE INDEX notices_by_time ON notices USING btree (created_at);
CREATE UNIQUE INDEX notices_once ON notices USING btree (report_id, role, kind) WHERE (report_id IS NOT NULL);
CREATE INDEX notices_to_acknowledge ON notices USING btree (user_id, role) WHERE ((kind = 'warning'::text) AND (acknowledged_at IS NULL) AND (withdrawn_at IS NULL));
ALTER TABLE notices ADD CONSTRAINT notices_report_id_fkey FOREIGN KEY (report_id) REFERENCES reports(id);
ALTER TABLE notices ADD CONSTRAINT notices_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE offers (
    id uuid DEFAULT uuidv7() NOT NULL,
    purpose text NOT NULL,
    duration_minutes integer NOT NULL,
    price_rp integer NOT NULL,
    is_trial boolean DEFAULT false NOT NULL,
    withdrawn_at timestamp with time zone,
    CONSTRAINT offers_duration_minutes_check CHECK (((duration_minutes >= 1) AND (duration_minutes <= 480))),
    CONSTRAINT offers_no_trial_extension CHECK ((NOT (is_trial AND (purpose = 'extension'::text)))),
    CONSTRAINT offers_only_a_trial_is_free CHECK ((is_trial = (price_rp = 0))),
    CONSTRAINT offers_price_rp_check CHECK (((price_rp >= 0) AND (price_rp <= 10000000))),
    CONSTRAINT offers_purpose_check CHECK ((purpose = ANY (ARRAY['session'::text, 'extension'::text])))
);
ALTER TABLE offers ADD CONSTRAINT offers_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX offers_one_current ON offers USING btree (purpose, duration_minutes, is_trial) WHERE (withdrawn_at IS NULL);

CREATE TABLE one_time_codes (
    id uuid DEFAULT uuidv7() NOT NULL,
    role text NOT NULL,
    phone_number text NOT NULL,
    code_digest bytea NOT NULL,
    wrong_tries integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    resend_after timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    consumed_at timestamp with time zone,
    requester bytea,
    is_known_device boolean DEFAULT false NOT NULL,
    CONSTRAINT one_time_codes_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT one_time_codes_wrong_tries_check CHECK (((wrong_tries >= 0) AND (wrong_tries <= 5)))
);
ALTER TABLE one_time_codes ADD CONSTRAINT one_time_codes_pkey PRIMARY KEY (id);
CREATE INDEX one_time_codes_by_age ON one_time_codes USING btree (created_at);
CREATE INDEX one_time_codes_by_phone ON one_time_codes USING btree (phone_number, created_at);

CREATE TABLE operator_links (
    operator_id uuid NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
ALTER TABLE operator_links ADD CONSTRAINT operator_links_id_key UNIQUE (id);
ALTER TABLE operator_links ADD CONSTRAINT operator_links_pkey PRIMARY KEY (operator_id);
ALTER TABLE operator_links ADD CONSTRAINT operator_links_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES operators(id);

CREATE TABLE operator_recovery_codes (
    operator_id uuid NOT NULL,
    digest bytea NOT NULL,
    used_at timestamp with time zone
);
ALTER TABLE operator_recovery_codes ADD CONSTRAINT operator_recovery_codes_pkey PRIMARY KEY (operator_id, digest);
ALTER TABLE operator_recovery_codes ADD CONSTRAINT operator_recovery_codes_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES operators(id);

CREATE TABLE operator_sign_in_tries (
    id bigint NOT NULL,
    email_digest bytea NOT NULL,
    tried_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    requester bytea,
    is_known_device boolean DEFAULT false NOT NULL,
    factor text DEFAULT 'password'::text NOT NULL,
    CONSTRAINT operator_sign_in_tries_factor_check CHECK ((factor = ANY (ARRAY['password'::text, 'code'::text])))
);
ALTER TABLE operator_sign_in_tries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE operator_sign_in_tries ADD CONSTRAINT operator_sign_in_tries_pkey PRIMARY KEY (id);
CREATE INDEX operator_sign_in_tries_by_age ON operator_sign_in_tries USING btree (tried_at);
CREATE INDEX operator_sign_in_tries_by_email ON operator_sign_in_tries USING btree (email_digest, tried_at);

CREATE TABLE operator_tokens (
    id uuid DEFAULT uuidv7() NOT NULL,
    digest bytea NOT NULL,
    operator_id uuid NOT NULL,
    transport text NOT NULL,
    user_agent text NOT NULL,
    address text NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    known_device_digest bytea,
    CONSTRAINT operator_tokens_address_check CHECK ((char_length(address) <= 60)),
    CONSTRAINT operator_tokens_transport_check CHECK ((transport = ANY (ARRAY['bearer'::text, 'cookie'::text]))),
    CONSTRAINT operator_tokens_user_agent_check CHECK ((char_length(user_agent) <= 200))
);
ALTER TABLE operator_tokens ADD CONSTRAINT operator_tokens_digest_key UNIQUE (digest);
ALTER TABLE operator_tokens ADD CONSTRAINT operator_tokens_pkey PRIMARY KEY (id);
CREATE INDEX operator_tokens_by_end ON operator_tokens USING btree (LEAST(expires_at, revoked_at));
CREATE INDEX operator_tokens_by_operator ON operator_tokens USING btree (operator_id, id) WHERE (revoked_at IS NULL);
ALTER TABLE operator_tokens ADD CONSTRAINT operator_tokens_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES operators(id);

CREATE TABLE operators (
    id uuid DEFAULT uuidv7() NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    password_hash text NOT NULL,
    totp_salt bytea,
    totp_new_salt bytea,
    totp_last_step bigint DEFAULT 0 NOT NULL,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    must_change_password boolean DEFAULT false NOT NULL,
    awaits_link boolean DEFAULT false NOT NULL,
    CONSTRAINT operators_email_check CHECK (((email = lower(email)) AND ((char_length(email) >= 3) AND (char_length(email) <= 254)))),
    CONSTRAINT operators_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'reviewer'::text, 'viewer'::text])))
);
ALTER TABLE operators ADD CONSTRAINT operators_email_key UNIQUE (email);
ALTER TABLE operators ADD CONSTRAINT operators_pkey PRIMARY KEY (id);
CREATE TRIGGER operators_keep_an_active_admin BEFORE UPDATE ON operators FOR EACH ROW WHEN (((old.role = 'admin'::text) AND (old.disabled_at IS NULL) AND (NOT old.awaits_link) AND ((new.role <> 'admin'::text) OR (new.disabled_at IS NOT NULL) OR new.awaits_link))) EXECUTE FUNCTION keep_an_active_admin();

CREATE TABLE pairings (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    kind text NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    target_mitra_id uuid,
    failure_tag text,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    deadline_at timestamp with time zone NOT NULL,
    decided_at timestamp with time zone,
    fallback_status text,
    fallback_answer_by timestamp with time zone,
    left_out_mitra_id uuid,
    waits_for_wave boolean DEFAULT false NOT NULL,
    blocked_mitra_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    CONSTRAINT pairings_decided CHECK (((status = 'open'::text) = (decided_at IS NULL))),
    CONSTRAINT pairings_failed_has_tag CHECK (((status = 'failed'::text) = (failure_tag IS NOT NULL))),
    CONSTRAINT pairings_failure_tag_check CHECK ((failure_tag = ANY (ARRAY['no_mitra_available'::text, 'all_mitras_rejected'::text, 'targeted_mitra_offline'::text, 'targeted_mitra_rejected'::text, 'targeted_mitra_timeout'::text, 'payment_session_expired'::text, 'customer_cancelled'::text]))),
    CONSTRAINT pairings_kind_check CHECK ((kind = ANY (ARRAY['blast'::text, 'targeted'::text]))),
    CONSTRAINT pairings_status_check CHECK ((status = ANY (ARRAY['open'::text, 'matched'::text, 'failed'::text]))),
    CONSTRAINT pairings_target CHECK (((kind = 'targeted'::text) = (target_mitra_id IS NOT NULL)))
);
ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_after_a_targeted_failure CHECK (((fallback_status IS NOT NULL) = ((kind = 'targeted'::text) AND (COALESCE(failure_tag, ''::text) = ANY (ARRAY['targeted_mitra_offline'::text, 'targeted_mitra_rejected'::text, 'targeted_mitra_timeout'::text]))))) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_has_time CHECK (((fallback_status IS NULL) = (fallback_answer_by IS NULL))) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_fallback_status CHECK ((fallback_status = ANY (ARRAY['open'::text, 'taken'::text, 'declined'::text, 'expired'::text]))) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_only_a_blast_has_waves CHECK (((kind = 'blast'::text) OR (NOT waits_for_wave))) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_only_a_blast_leaves_out CHECK (((left_out_mitra_id IS NULL) OR (kind = 'blast'::text))) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_pkey PRIMARY KEY (id);
CREATE INDEX pairings_by_match ON pairings USING btree (decided_at) WHERE (status = 'matched'::text);
CREATE UNIQUE INDEX pairings_one_of_a_kind ON pairings USING btree (payment_id, kind);
CREATE UNIQUE INDEX pairings_one_open ON pairings USING btree (payment_id) WHERE (status = 'open'::text);
CREATE UNIQUE INDEX pairings_one_winner ON pairings USING btree (payment_id) WHERE (status = 'matched'::text);
CREATE INDEX pairings_open ON pairings USING btree (id) WHERE (status = 'open'::text);
CREATE TRIGGER pairings_fallback_push AFTER UPDATE ON pairings FOR EACH ROW WHEN (((new.fallback_status = 'open'::text) AND (old.fallback_status IS DISTINCT FROM 'open'::text))) EXECUTE FUNCTION fallback_to_push();
CREATE TRIGGER pairings_of_their_payment BEFORE INSERT ON pairings FOR EACH ROW EXECUTE FUNCTION pairing_of_its_payment();
CREATE TRIGGER pairings_opened AFTER INSERT ON pairings FOR EACH ROW EXECUTE FUNCTION pairing_status_changed();
CREATE TRIGGER pairings_paid_first BEFORE INSERT ON pairings FOR EACH ROW EXECUTE FUNCTION payment_must_be_confirmed();
CREATE TRIGGER pairings_step AFTER UPDATE ON pairings FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION pairing_status_changed();
ALTER TABLE pairings ADD CONSTRAINT pairings_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id);
ALTER TABLE pairings ADD CONSTRAINT pairings_left_out_mitra_id_fkey FOREIGN KEY (left_out_mitra_id) REFERENCES mitras(id) NOT VALID;
ALTER TABLE pairings ADD CONSTRAINT pairings_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);
ALTER TABLE pairings ADD CONSTRAINT pairings_target_mitra_id_fkey FOREIGN KEY (target_mitra_id) REFERENCES mitras(id);

CREATE TABLE payments (
    id uuid DEFAULT uuidv7() NOT NULL,
    customer_id uuid NOT NULL,
    purpose text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    offer_id uuid NOT NULL,
    duration_minutes integer NOT NULL,
    amount_rp integer NOT NULL,
    is_trial boolean NOT NULL,
    target_mitra_id uuid,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    confirmed_at timestamp with time zone,
    closed_at timestamp with time zone,
    CONSTRAINT payments_amount_rp_check CHECK ((amount_rp >= 0)),
    CONSTRAINT payments_not_with_oneself CHECK ((target_mitra_id <> customer_id)),
    CONSTRAINT payments_purpose_check CHECK ((purpose = ANY (ARRAY['session'::text, 'extension'::text]))),
    CONSTRAINT payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'confirming'::text, 'confirmed'::text, 'served'::text, 'unserved'::text, 'abandoned'::text, 'expired'::text, 'refunded'::text]))),
    CONSTRAINT payments_taken_means_confirmed CHECK (((status <> ALL (ARRAY['confirmed'::text, 'served'::text, 'unserved'::text])) OR (confirmed_at IS NOT NULL))),
    CONSTRAINT payments_trial_is_free CHECK ((is_trial = (amount_rp = 0)))
);
ALTER TABLE payments ADD CONSTRAINT payments_pkey PRIMARY KEY (id);
CREATE INDEX payments_by_confirmation ON payments USING btree (confirmed_at) WHERE (confirmed_at IS NOT NULL);
CREATE INDEX payments_by_customer ON payments USING btree (customer_id, id DESC);
CREATE INDEX payments_by_reference ON payments USING btree ("right"((id)::text, 8));
CREATE INDEX payments_by_status ON payments USING btree (status, created_at DESC, id DESC);
CREATE INDEX payments_by_time ON payments USING btree (created_at DESC, id DESC);
CREATE INDEX payments_confirmed_trials ON payments USING btree (customer_id, confirmed_at) WHERE (is_trial AND (confirmed_at IS NOT NULL));
CREATE INDEX payments_for_extensions ON payments USING btree (created_at DESC, id DESC) WHERE (purpose = 'extension'::text);
CREATE INDEX payments_in_flight ON payments USING btree (id) WHERE (status = ANY (ARRAY['confirming'::text, 'confirmed'::text]));
CREATE UNIQUE INDEX payments_one_open_journey ON payments USING btree (customer_id) WHERE ((purpose = 'session'::text) AND (status = ANY (ARRAY['pending'::text, 'confirming'::text, 'confirmed'::text])));
CREATE INDEX payments_open_by_target ON payments USING btree (target_mitra_id) WHERE (status = ANY (ARRAY['pending'::text, 'confirming'::text, 'confirmed'::text]));
CREATE TRIGGER payments_of_accounts BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION payment_of_a_deleted_account();
CREATE TRIGGER payments_opened AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION payment_status_changed();
CREATE TRIGGER payments_step AFTER UPDATE ON payments FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION payment_status_changed();
CREATE TRIGGER payments_trial_is_left BEFORE UPDATE ON payments FOR EACH ROW WHEN ((new.is_trial AND (old.confirmed_at IS NULL) AND (new.confirmed_at IS NOT NULL))) EXECUTE FUNCTION trial_must_be_left();
CREATE CONSTRAINT TRIGGER payments_unserved_have_a_case AFTER UPDATE ON payments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.status <> new.status) AND (new.status = 'unserved'::text))) EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE TRIGGER payments_unserved_push AFTER UPDATE ON payments FOR EACH ROW WHEN (((new.status = 'unserved'::text) AND (old.status <> 'unserved'::text))) EXECUTE FUNCTION unserved_payment_to_push();
ALTER TABLE payments ADD CONSTRAINT payments_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id);
ALTER TABLE payments ADD CONSTRAINT payments_offer_id_fkey FOREIGN KEY (offer_id) REFERENCES offers(id);
ALTER TABLE payments ADD CONSTRAINT payments_target_mitra_id_fkey FOREIGN KEY (target_mitra_id) REFERENCES mitras(id);

CREATE TABLE people (
    id uuid DEFAULT uuidv7() NOT NULL,
    phone_number text NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    only_role text,
    CONSTRAINT people_only_role_check CHECK ((only_role = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT people_phone_number_check CHECK ((phone_number ~ '^\+[1-9][0-9]{6,14}$'::text))
);
ALTER TABLE people ADD CONSTRAINT people_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX people_one_customer_per_phone ON people USING btree (phone_number) WHERE (only_role IS DISTINCT FROM 'mitra'::text);
CREATE UNIQUE INDEX people_one_mitra_per_phone ON people USING btree (phone_number) WHERE (only_role IS DISTINCT FROM 'customer'::text);

CREATE TABLE push_messages (
    id bigint NOT NULL,
    subscription_id uuid NOT NULL,
    kind text NOT NULL,
    subject_id uuid NOT NULL,
    topic text NOT NULL,
    payload text NOT NULL,
    reason_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    done_at timestamp with time zone,
    CONSTRAINT push_messages_kind_check CHECK ((kind = ANY (ARRAY['request_offered'::text, 'matched'::text, 'message'::text, 'customer_message'::text, 'extension_requested'::text, 'search_failed'::text, 'fallback_offered'::text, 'decided'::text, 'refunded'::text, 'break_over'::text, 'notice'::text, 'test'::text]))),
    CONSTRAINT push_messages_payload_check CHECK ((octet_length(payload) <= 2000)),
    CONSTRAINT push_messages_topic_check CHECK ((topic ~ '^[A-Za-z0-9_-]{1,32}$'::text))
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='1000');
ALTER TABLE push_messages ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_once UNIQUE (subscription_id, kind, subject_id);
ALTER TABLE push_messages ADD CONSTRAINT push_messages_pkey PRIMARY KEY (id);
CREATE INDEX push_messages_by_end ON push_messages USING btree (expires_at);
CREATE INDEX push_messages_waiting ON push_messages USING btree (due_at) WHERE (done_at IS NULL);
ALTER TABLE push_messages ADD CONSTRAINT push_messages_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES push_subscriptions(id) ON DELETE CASCADE;

CREATE TABLE push_subscriptions (
    id uuid DEFAULT uuidv7() NOT NULL,
    role text NOT NULL,
    user_id uuid NOT NULL,
    token_digest bytea NOT NULL,
    endpoint text NOT NULL,
    p256dh bytea NOT NULL,
    auth bytea NOT NULL,
    language text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    failed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    kind text DEFAULT 'web_push'::text NOT NULL,
    CONSTRAINT push_subscriptions_auth_check CHECK ((octet_length(auth) =
CASE kind
    WHEN 'fcm'::text THEN 0
    ELSE 16
END)),
    CONSTRAINT push_subscriptions_endpoint_check CHECK (((char_length(endpoint) >= 1) AND (char_length(endpoint) <= 1000))),
    CONSTRAINT push_subscriptions_failures_check CHECK ((failures >= 0)),
    CONSTRAINT push_subscriptions_kind_check CHECK ((kind = ANY (ARRAY['web_push'::text, 'fcm'::text]))),
    CONSTRAINT push_subscriptions_language_check CHECK ((language = ANY (ARRAY['id'::text, 'en'::text]))),
    CONSTRAINT push_subscriptions_p256dh_check CHECK ((octet_length(p256dh) =
CASE kind
    WHEN 'fcm'::text THEN 0
    ELSE 65
END)),
    CONSTRAINT push_subscriptions_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text])))
);
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_one_owner UNIQUE (endpoint, p256dh, auth);
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_pkey PRIMARY KEY (id);
CREATE INDEX push_subscriptions_by_person ON push_subscriptions USING btree (user_id, role);
CREATE INDEX push_subscriptions_by_token ON push_subscriptions USING btree (token_digest);
CREATE TRIGGER push_subscriptions_came AFTER INSERT ON push_subscriptions FOR EACH ROW WHEN ((new.role = 'mitra'::text)) EXECUTE FUNCTION push_subscription_changed();
CREATE TRIGGER push_subscriptions_failed AFTER UPDATE ON push_subscriptions FOR EACH ROW WHEN (((new.role = 'mitra'::text) AND ((old.failed_at IS NULL) <> (new.failed_at IS NULL)))) EXECUTE FUNCTION push_subscription_changed();
CREATE TRIGGER push_subscriptions_went AFTER DELETE ON push_subscriptions FOR EACH ROW WHEN ((old.role = 'mitra'::text)) EXECUTE FUNCTION push_subscription_changed();
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_token_digest_fkey FOREIGN KEY (token_digest) REFERENCES access_tokens(digest) ON DELETE CASCADE;
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE rating_sums (
    mitra_id uuid NOT NULL,
    begins_on date NOT NULL,
    ends_on date NOT NULL,
    helpful integer NOT NULL,
    neutral integer NOT NULL,
    uncomfortable integer NOT NULL,
    customers integer NOT NULL,
    written_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT rating_sums_begins_on_check CHECK ((EXTRACT(isodow FROM begins_on) = (1)::numeric)),
    CONSTRAINT rating_sums_ends_on_check CHECK ((EXTRACT(isodow FROM ends_on) = (1)::numeric)),
    CONSTRAINT rating_sums_helpful_check CHECK ((helpful >= 0)),
    CONSTRAINT rating_sums_hide_single_ratings CHECK (((((helpful + neutral) + uncomfortable) >= 10) AND (customers >= 5))),
    CONSTRAINT rating_sums_neutral_check CHECK ((neutral >= 0)),
    CONSTRAINT rating_sums_of_a_period CHECK ((begins_on < ends_on)),
    CONSTRAINT rating_sums_uncomfortable_check CHECK ((uncomfortable >= 0))
);
ALTER TABLE rating_sums ADD CONSTRAINT rating_sums_mitra_id_ends_on_key UNIQUE (mitra_id, ends_on);
ALTER TABLE rating_sums ADD CONSTRAINT rating_sums_pkey PRIMARY KEY (mitra_id, begins_on);
ALTER TABLE rating_sums ADD CONSTRAINT rating_sums_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);

CREATE TABLE ratings (
    session_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    session_ended_at timestamp with time zone NOT NULL,
    answer text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    rated_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    CONSTRAINT ratings_answer_check CHECK ((answer = ANY (ARRAY['helpful'::text, 'neutral'::text, 'uncomfortable'::text]))),
    CONSTRAINT ratings_in_time CHECK ((rated_at < (session_ended_at + '7 days'::interval))),
    CONSTRAINT ratings_tags_check CHECK (((cardinality(tags) <= 5) AND (tags <@ ARRAY['felt_heard'::text, 'kind'::text, 'useful'::text, 'slow'::text, 'distracted'::text, 'judged'::text, 'pushy'::text])))
);
ALTER TABLE ratings ADD CONSTRAINT ratings_pkey PRIMARY KEY (session_id);
CREATE INDEX ratings_by_customer ON ratings USING btree (customer_id);
CREATE INDEX ratings_by_mitra ON ratings USING btree (mitra_id, rated_at);
CREATE INDEX ratings_by_time ON ratings USING btree (rated_at);
ALTER TABLE ratings ADD CONSTRAINT ratings_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE refunds (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    charge_attempt_id uuid NOT NULL,
    amount_rp integer NOT NULL,
    reason text NOT NULL,
    status text DEFAULT 'requested'::text NOT NULL,
    gateway_reason text,
    requested_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    answered_at timestamp with time zone,
    decided_round integer,
    CONSTRAINT refunds_amount_rp_check CHECK ((amount_rp > 0)),
    CONSTRAINT refunds_reason_check CHECK ((reason = ANY (ARRAY['late_approval'::text, 'operator_decision'::text]))),
    CONSTRAINT refunds_status_check CHECK ((status = ANY (ARRAY['requested'::text, 'done'::text, 'failed'::text])))
);
ALTER TABLE refunds ADD CONSTRAINT refunds_pkey PRIMARY KEY (id);
CREATE INDEX refunds_by_charge ON refunds USING btree (charge_attempt_id);
CREATE INDEX refunds_by_payment ON refunds USING btree (payment_id);
CREATE UNIQUE INDEX refunds_one_a_decision ON refunds USING btree (charge_attempt_id, decided_round) WHERE ((status <> 'failed'::text) AND (decided_round IS NOT NULL));
CREATE INDEX refunds_refused ON refunds USING btree (payment_id) WHERE (status = 'failed'::text);
CREATE INDEX refunds_requested ON refunds USING btree (payment_id) WHERE (status = 'requested'::text);
CREATE TRIGGER refunds_at_most_the_charge BEFORE INSERT OR UPDATE ON refunds FOR EACH ROW WHEN ((new.status <> 'failed'::text)) EXECUTE FUNCTION refunds_at_most_the_charge();
CREATE TRIGGER refunds_done_push AFTER UPDATE ON refunds FOR EACH ROW WHEN (((new.status = 'done'::text) AND (old.status <> 'done'::text))) EXECUTE FUNCTION refund_to_push();
CREATE CONSTRAINT TRIGGER refunds_refused_have_a_case AFTER UPDATE ON refunds DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.status <> new.status) AND (new.status = 'failed'::text))) EXECUTE FUNCTION undelivered_charges_have_a_case();
ALTER TABLE refunds ADD CONSTRAINT refunds_charge_attempt_id_fkey FOREIGN KEY (charge_attempt_id) REFERENCES charge_attempts(id);
ALTER TABLE refunds ADD CONSTRAINT refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE reports (
    id uuid DEFAULT uuidv7() NOT NULL,
    kind text DEFAULT 'report'::text NOT NULL,
    session_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    reporter text NOT NULL,
    reason text,
    level text,
    note text,
    message_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    created_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    urgency integer NOT NULL,
    due_at timestamp with time zone NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    queue_rank integer GENERATED ALWAYS AS (
CASE
    WHEN (status = 'decided'::text) THEN 3
    ELSE urgency
END) STORED NOT NULL,
    decision text,
    decision_note text,
    suspend_until timestamp with time zone,
    decided_by uuid,
    decided_at timestamp with time zone,
    approved_by uuid,
    approved_at timestamp with time zone,
    appeal_text text,
    appealed_at timestamp with time zone,
    appeal_decision text,
    appeal_note text,
    appeal_decided_by uuid,
    appeal_decided_at timestamp with time zone,
    closed_at timestamp with time zone,
    CONSTRAINT reports_appeal_decision_check CHECK ((appeal_decision = ANY (ARRAY['upheld'::text, 'overturned'::text]))),
    CONSTRAINT reports_appeal_note_check CHECK (((char_length(appeal_note) >= 1) AND (char_length(appeal_note) <= 1000))),
    CONSTRAINT reports_appeal_text_check CHECK (((char_length(appeal_text) >= 1) AND (char_length(appeal_text) <= 2000))),
    CONSTRAINT reports_appeals CHECK ((((appeal_text IS NULL) OR (appealed_at IS NOT NULL)) AND ((appeal_decision IS NULL) = (appeal_decided_by IS NULL)) AND ((appeal_decision IS NULL) = (appeal_decided_at IS NULL)) AND ((appeal_decision IS NULL) OR ((appealed_at IS NOT NULL) AND (appeal_decided_by <> decided_by))) AND ((status = 'appealed'::text) = ((appealed_at IS NOT NULL) AND (appeal_decision IS NULL))))),
    CONSTRAINT reports_concerns_accuse_nobody CHECK (((kind = 'report'::text) OR (decision IS NULL) OR ((decision = 'no_action'::text) AND (appealed_at IS NULL)))),
    CONSTRAINT reports_decided CHECK ((((status = 'open'::text) = (decision IS NULL)) AND ((decision IS NULL) = (decision_note IS NULL)) AND ((decision IS NULL) = (decided_by IS NULL)) AND ((decision IS NULL) = (decided_at IS NULL)) AND ((status <> ALL (ARRAY['decided'::text, 'appealed'::text])) OR (closed_at IS NOT NULL)))),
    CONSTRAINT reports_decision_check CHECK ((decision = ANY (ARRAY['no_action'::text, 'warn'::text, 'suspend'::text]))),
    CONSTRAINT reports_decision_note_check CHECK (((char_length(decision_note) >= 1) AND (char_length(decision_note) <= 1000))),
    CONSTRAINT reports_for_good_is_approved CHECK (((approved_by IS NOT NULL) OR (status <> ALL (ARRAY['decided'::text, 'appealed'::text])) OR (decision <> 'suspend'::text) OR (suspend_until IS NOT NULL))),
    CONSTRAINT reports_kind_check CHECK ((kind = ANY (ARRAY['report'::text, 'concern'::text]))),
    CONSTRAINT reports_kinds CHECK ((((kind = 'report'::text) = (reason IS NOT NULL)) AND ((kind = 'concern'::text) = (level IS NOT NULL)) AND ((kind = 'report'::text) OR (reporter = 'mitra'::text)))),
    CONSTRAINT reports_level_check CHECK ((level = ANY (ARRAY['worried'::text, 'danger_now'::text]))),
    CONSTRAINT reports_message_ids_check CHECK ((cardinality(message_ids) <= 20)),
    CONSTRAINT reports_note_check CHECK (((char_length(note) >= 1) AND (char_length(note) <= 500))),
    CONSTRAINT reports_reason_check CHECK ((reason = ANY (ARRAY['sexual'::text, 'threat'::text, 'insult'::text, 'contact'::text, 'money'::text, 'minor'::text, 'danger'::text, 'not_listening'::text, 'other'::text]))),
    CONSTRAINT reports_reporter_check CHECK ((reporter = ANY (ARRAY['customer'::text, 'mitra'::text]))),
    CONSTRAINT reports_second_operator CHECK ((((approved_by IS NULL) = (approved_at IS NULL)) AND ((approved_by IS NULL) OR (approved_by <> decided_by)))),
    CONSTRAINT reports_status_check CHECK ((status = ANY (ARRAY['open'::text, 'awaiting_approval'::text, 'decided'::text, 'appealed'::text]))),
    CONSTRAINT reports_suspend_until CHECK (((suspend_until IS NULL) OR (decision = 'suspend'::text))),
    CONSTRAINT reports_urgency_check CHECK ((urgency = ANY (ARRAY[0, 1, 2])))
);
ALTER TABLE reports ADD CONSTRAINT reports_pkey PRIMARY KEY (id);
CREATE INDEX reports_by_customer ON reports USING btree (customer_id, id);
CREATE INDEX reports_by_mitra ON reports USING btree (mitra_id, id);
CREATE INDEX reports_by_queue ON reports USING btree (queue_rank, due_at, id);
CREATE INDEX reports_by_session ON reports USING btree (session_id);
CREATE UNIQUE INDEX reports_once_per_side ON reports USING btree (session_id, reporter) WHERE (kind = 'report'::text);
CREATE TRIGGER reports_allowed_steps BEFORE UPDATE OF status, decision, suspend_until, decided_by, decided_at ON reports FOR EACH ROW EXECUTE FUNCTION report_steps();
ALTER TABLE reports ADD CONSTRAINT reports_appeal_decided_by_fkey FOREIGN KEY (appeal_decided_by) REFERENCES operators(id);
ALTER TABLE reports ADD CONSTRAINT reports_approved_by_fkey FOREIGN KEY (approved_by) REFERENCES operators(id);
ALTER TABLE reports ADD CONSTRAINT reports_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES operators(id);
ALTER TABLE reports ADD CONSTRAINT reports_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE requests (
    id uuid DEFAULT uuidv7() NOT NULL,
    pairing_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    status text DEFAULT 'offered'::text NOT NULL,
    close_reason text,
    is_returning boolean NOT NULL,
    offered_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    answered_at timestamp with time zone,
    CONSTRAINT requests_close_reason_check CHECK ((close_reason = ANY (ARRAY['already_taken'::text, 'customer_cancelled'::text, 'timed_out'::text, 'went_offline'::text, 'at_capacity'::text, 'suspended'::text]))),
    CONSTRAINT requests_closed_says_why CHECK (((status = 'closed'::text) = (close_reason IS NOT NULL))),
    CONSTRAINT requests_status_check CHECK ((status = ANY (ARRAY['offered'::text, 'accepted'::text, 'rejected'::text, 'closed'::text])))
);
ALTER TABLE requests ADD CONSTRAINT requests_one_a_mitra UNIQUE (pairing_id, mitra_id);
ALTER TABLE requests ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
CREATE INDEX requests_by_mitra ON requests USING btree (mitra_id, id DESC);
CREATE UNIQUE INDEX requests_one_winner ON requests USING btree (pairing_id) WHERE (status = 'accepted'::text);
CREATE INDEX requests_open_by_mitra ON requests USING btree (mitra_id) WHERE (status = 'offered'::text);
CREATE TRIGGER requests_of_their_pairing AFTER INSERT ON requests REFERENCING NEW TABLE AS asked FOR EACH STATEMENT EXECUTE FUNCTION requests_of_their_pairing();
CREATE TRIGGER requests_offered_again_push AFTER UPDATE ON requests FOR EACH ROW WHEN (((new.status = 'offered'::text) AND (old.status <> 'offered'::text))) EXECUTE FUNCTION request_to_push_again();
CREATE TRIGGER requests_offered_push AFTER INSERT ON requests REFERENCING NEW TABLE AS offered FOR EACH STATEMENT EXECUTE FUNCTION requests_to_push();
ALTER TABLE requests ADD CONSTRAINT requests_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);
ALTER TABLE requests ADD CONSTRAINT requests_pairing_id_fkey FOREIGN KEY (pairing_id) REFERENCES pairings(id);

CREATE TABLE restores (
    marker text NOT NULL,
    restored_to timestamp with time zone NOT NULL,
    began_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    opened_at timestamp with time zone,
    broken_invariants text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT restores_marker_check CHECK ((marker <> ''::text))
);
ALTER TABLE restores ADD CONSTRAINT restores_pkey PRIMARY KEY (marker);

CREATE TABLE review_cases (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    reason text NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    amount_rp integer NOT NULL,
    opened_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    decision text,
    decision_note text,
    decided_by uuid,
    decided_at timestamp with time zone,
    refund_rp integer,
    needs_approval boolean DEFAULT false NOT NULL,
    approved_by uuid,
    approved_at timestamp with time zone,
    tag text,
    round integer DEFAULT 1 NOT NULL,
    opened_by uuid,
    opened_note text,
    CONSTRAINT review_cases_amount_rp_check CHECK ((amount_rp >= 0)),
    CONSTRAINT review_cases_opened_by_hand CHECK ((((opened_by IS NULL) = (opened_note IS NULL)) AND ((char_length(opened_note) >= 1) AND (char_length(opened_note) <= 1000)))),
    CONSTRAINT review_cases_reason_check CHECK ((reason = ANY (ARRAY['no_session'::text, 'cut_short'::text, 'refund_failed'::text, 'restored'::text, 'mitra_away'::text, 'unanswered'::text, 'complaint'::text, 'books_differ'::text, 'reported'::text]))),
    CONSTRAINT review_cases_refund_amount CHECK ((((NOT (decision IS DISTINCT FROM 'refund'::text)) = (refund_rp IS NOT NULL)) AND (refund_rp >= 0))),
    CONSTRAINT review_cases_status_check CHECK ((status = ANY (ARRAY['open'::text, 'decided'::text])))
);
ALTER TABLE review_cases ADD CONSTRAINT review_cases_approval CHECK ((((approved_by IS NULL) = (approved_at IS NULL)) AND ((approved_by IS NULL) OR (needs_approval AND (decision = 'refund'::text) AND (approved_by <> decided_by))))) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_decided CHECK ((((status = 'decided'::text) = (decision IS NOT NULL)) AND ((decision IS NULL) = (decided_by IS NULL)) AND ((decision IS NULL) = (decided_at IS NULL)) AND ((decision IS NULL) = (decision_note IS NULL)))) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_decision CHECK ((decision = ANY (ARRAY['refund'::text, 'no_refund'::text]))) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_decision_note CHECK (((char_length(decision_note) >= 1) AND (char_length(decision_note) <= 1000))) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_one_a_payment UNIQUE (payment_id);
ALTER TABLE review_cases ADD CONSTRAINT review_cases_pkey PRIMARY KEY (id);
CREATE INDEX review_cases_awaiting_approval ON review_cases USING btree (opened_at, id) WHERE (needs_approval AND (approved_by IS NULL));
CREATE INDEX review_cases_by_age ON review_cases USING btree (((status = 'decided'::text)), opened_at, id);
CREATE INDEX review_cases_by_tag ON review_cases USING btree (tag, ((status = 'decided'::text)), opened_at, id);
CREATE INDEX review_cases_open ON review_cases USING btree (opened_at) WHERE (status = 'open'::text);
CREATE TRIGGER review_cases_decide_charges AFTER UPDATE ON review_cases FOR EACH ROW WHEN (((old.status = 'open'::text) AND (new.status = 'decided'::text))) EXECUTE FUNCTION charges_decided();
CREATE TRIGGER review_cases_decided_once BEFORE UPDATE ON review_cases FOR EACH ROW WHEN (((old.status = 'decided'::text) AND (new.status = 'decided'::text) AND (((((old.decision IS DISTINCT FROM new.decision) OR (old.decided_by IS DISTINCT FROM new.decided_by)) OR (old.decided_at IS DISTINCT FROM new.decided_at)) OR (old.decision_note IS DISTINCT FROM new.decision_note)) OR (old.round IS DISTINCT FROM new.round)))) EXECUTE FUNCTION review_case_decided_once();
CREATE TRIGGER review_cases_decided_push AFTER UPDATE ON review_cases FOR EACH ROW WHEN (((new.status = 'decided'::text) AND ((NOT new.needs_approval) OR (new.approved_by IS NOT NULL)) AND ((old.status = 'open'::text) OR ((old.approved_by IS NULL) AND (new.approved_by IS NOT NULL))))) EXECUTE FUNCTION decision_to_push();
CREATE TRIGGER review_cases_opened_again BEFORE UPDATE ON review_cases FOR EACH ROW WHEN (((old.status = 'decided'::text) AND (new.status = 'open'::text))) EXECUTE FUNCTION review_case_opened_again();
ALTER TABLE review_cases ADD CONSTRAINT review_cases_approved_by FOREIGN KEY (approved_by) REFERENCES operators(id) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_decided_by FOREIGN KEY (decided_by) REFERENCES operators(id) NOT VALID;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_opened_by FOREIGN KEY (opened_by) REFERENCES operators(id);
ALTER TABLE review_cases ADD CONSTRAINT review_cases_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE schema_migrations ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (number);

CREATE TABLE seen_payments (
    payment_id uuid NOT NULL,
    seen_at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE seen_payments ADD CONSTRAINT seen_payments_pkey PRIMARY KEY (payment_id);
ALTER TABLE seen_payments ADD CONSTRAINT seen_payments_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE sessions (
    id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    pairing_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    duration_minutes integer NOT NULL,
    is_trial boolean NOT NULL,
    started_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    end_reason text,
    end_note text,
    open_extension_id uuid,
    mitra_away_since timestamp with time zone,
    mitra_back_at timestamp with time zone,
    delivery text,
    leave_reason text,
    text_hidden_at timestamp with time zone,
    text_deleted_at timestamp with time zone,
    CONSTRAINT sessions_delivery CHECK (((delivery IS NULL) OR ((delivery = ANY (ARRAY['delivered'::text, 'cut_short'::text, 'mitra_away'::text, 'unanswered'::text])) AND (status = 'ended'::text) AND ((delivery = 'cut_short'::text) = (end_reason = ANY (ARRAY['mitra_ended'::text, 'mitra_suspended'::text])))))),
    CONSTRAINT sessions_end_note_check CHECK (((char_length(end_note) >= 1) AND (char_length(end_note) <= 500))),
    CONSTRAINT sessions_end_reason_check CHECK ((end_reason = ANY (ARRAY['time_up'::text, 'customer_ended'::text, 'mitra_ended'::text, 'mitra_suspended'::text]))),
    CONSTRAINT sessions_ended CHECK (((status = 'ended'::text) = ((ended_at IS NOT NULL) AND (end_reason IS NOT NULL)))),
    CONSTRAINT sessions_leave_reason CHECK (((leave_reason IS NULL) OR ((leave_reason = ANY (ARRAY['felt_unsafe'::text, 'customer_inappropriate'::text, 'emergency'::text, 'technical'::text, 'other'::text, 'not_given'::text])) AND (end_reason = ANY (ARRAY['customer_ended'::text, 'mitra_ended'::text])) AND (end_note IS NULL) AND ((leave_reason <> ALL (ARRAY['customer_inappropriate'::text, 'not_given'::text])) OR (end_reason = 'mitra_ended'::text))))),
    CONSTRAINT sessions_left_by_their_mitra CHECK (((delivery IS DISTINCT FROM 'mitra_away'::text) OR ((end_reason = 'customer_ended'::text) AND (mitra_away_since IS NOT NULL) AND (mitra_away_since <= (ended_at - '00:01:00'::interval))))),
    CONSTRAINT sessions_mitra_gives_a_reason CHECK (((end_reason IS DISTINCT FROM 'mitra_ended'::text) OR (end_note IS NOT NULL) OR (leave_reason IS NOT NULL))),
    CONSTRAINT sessions_not_with_oneself CHECK ((customer_id <> mitra_id)),
    CONSTRAINT sessions_status_check CHECK ((status = ANY (ARRAY['active'::text, 'ended'::text]))),
    CONSTRAINT sessions_text_of_a_running_chat CHECK (((status = 'ended'::text) OR ((text_hidden_at IS NULL) AND (text_deleted_at IS NULL))))
);
ALTER TABLE sessions ADD CONSTRAINT sessions_ended_without_open_extension CHECK (((status = 'active'::text) OR (open_extension_id IS NULL))) NOT VALID;
ALTER TABLE sessions ADD CONSTRAINT sessions_one_a_pairing UNIQUE (pairing_id);
ALTER TABLE sessions ADD CONSTRAINT sessions_one_a_payment UNIQUE (payment_id);
ALTER TABLE sessions ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);
CREATE INDEX sessions_by_customer ON sessions USING btree (customer_id, id DESC);
CREATE INDEX sessions_by_end ON sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX sessions_by_mitra ON sessions USING btree (mitra_id, id DESC);
CREATE INDEX sessions_by_pair ON sessions USING btree (customer_id, mitra_id);
CREATE INDEX sessions_by_short_id ON sessions USING btree ("right"((id)::text, 8));
CREATE INDEX sessions_by_status ON sessions USING btree (status, started_at DESC, id DESC);
CREATE INDEX sessions_by_time ON sessions USING btree (started_at DESC, id DESC);
CREATE INDEX sessions_cut_short ON sessions USING btree (end_reason, started_at DESC, id DESC) WHERE (end_reason = ANY (ARRAY['mitra_ended'::text, 'mitra_suspended'::text]));
CREATE UNIQUE INDEX sessions_one_running ON sessions USING btree (customer_id) WHERE (status = 'active'::text);
CREATE UNIQUE INDEX sessions_one_trial ON sessions USING btree (customer_id) WHERE is_trial;
CREATE INDEX sessions_running_by_mitra ON sessions USING btree (mitra_id) WHERE (status = 'active'::text);
CREATE INDEX sessions_with_text ON sessions USING btree (text_hidden_at, ended_at) WHERE ((ended_at IS NOT NULL) AND (text_deleted_at IS NULL));
CREATE TRIGGER sessions_begun_push AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION match_to_push();
CREATE CONSTRAINT TRIGGER sessions_cut_short_have_a_case AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.status <> new.status) AND (new.end_reason = ANY (ARRAY['mitra_ended'::text, 'mitra_suspended'::text])))) EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE CONSTRAINT TRIGGER sessions_not_delivered_have_a_case AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((old.delivery IS DISTINCT FROM new.delivery) AND (new.delivery = ANY (ARRAY['mitra_away'::text, 'unanswered'::text])))) EXECUTE FUNCTION undelivered_charges_have_a_case();
CREATE TRIGGER sessions_opened AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION session_status_changed();
CREATE TRIGGER sessions_paid_first BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION payment_must_be_confirmed();
CREATE TRIGGER sessions_step AFTER UPDATE ON sessions FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION session_status_changed();
CREATE TRIGGER sessions_text_deleted AFTER UPDATE OF text_deleted_at ON sessions FOR EACH ROW WHEN ((old.text_deleted_at IS DISTINCT FROM new.text_deleted_at)) EXECUTE FUNCTION session_text_deleted();
ALTER TABLE sessions ADD CONSTRAINT sessions_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id);
ALTER TABLE sessions ADD CONSTRAINT sessions_mitra_id_fkey FOREIGN KEY (mitra_id) REFERENCES mitras(id);
ALTER TABLE sessions ADD CONSTRAINT sessions_open_extension_id_fkey FOREIGN KEY (open_extension_id) REFERENCES extensions(id) NOT VALID;
ALTER TABLE sessions ADD CONSTRAINT sessions_pairing_id_fkey FOREIGN KEY (pairing_id) REFERENCES pairings(id);
ALTER TABLE sessions ADD CONSTRAINT sessions_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id);

CREATE TABLE status_changes (
    id bigint NOT NULL,
    payment_id uuid NOT NULL,
    entity text NOT NULL,
    entity_id uuid NOT NULL,
    old_status text,
    new_status text NOT NULL,
    changed_at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE status_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE status_changes ADD CONSTRAINT status_changes_entity_check CHECK ((entity = ANY (ARRAY['payment'::text, 'pairing'::text, 'session'::text, 'extension'::text]))) NOT VALID;
ALTER TABLE status_changes ADD CONSTRAINT status_changes_pkey PRIMARY KEY (id);
CREATE INDEX status_changes_by_payment ON status_changes USING btree (payment_id, id);
CREATE TRIGGER status_changes_append_only BEFORE DELETE OR UPDATE ON status_changes FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER status_changes_never_emptied BEFORE TRUNCATE ON status_changes FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();
REVOKE ALL ON TABLE status_changes FROM curhat;
GRANT SELECT,INSERT,REFERENCES,TRIGGER,MAINTAIN ON TABLE status_changes TO curhat;

CREATE TABLE stream_events (
    role text NOT NULL,
    user_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    at timestamp with time zone DEFAULT curhat_now() NOT NULL
);
ALTER TABLE stream_events ADD CONSTRAINT stream_events_pkey PRIMARY KEY (role, user_id, seq);
CREATE INDEX stream_events_by_age ON stream_events USING btree (at);

CREATE TABLE streams (
    role text NOT NULL,
    user_id uuid NOT NULL,
    epoch uuid DEFAULT gen_random_uuid() NOT NULL,
    head bigint DEFAULT 0 NOT NULL,
    CONSTRAINT streams_role_check CHECK ((role = ANY (ARRAY['customer'::text, 'mitra'::text])))
)
WITH (fillfactor='70');
ALTER TABLE streams ADD CONSTRAINT streams_pkey PRIMARY KEY (role, user_id);
ALTER TABLE streams ADD CONSTRAINT streams_user_id_fkey FOREIGN KEY (user_id) REFERENCES people(id);

CREATE TABLE texts (
    kind text NOT NULL,
    version integer NOT NULL,
    body_id text NOT NULL,
    body_en text NOT NULL,
    is_draft boolean NOT NULL,
    published_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    published_by text NOT NULL,
    CONSTRAINT texts_body_en_check CHECK (((char_length(body_en) >= 1) AND (char_length(body_en) <= 20000))),
    CONSTRAINT texts_body_id_check CHECK (((char_length(body_id) >= 1) AND (char_length(body_id) <= 20000))),
    CONSTRAINT texts_kind_check CHECK ((kind = ANY (ARRAY['terms'::text, 'privacy'::text, 'health_data'::text, 'code_of_conduct'::text]))),
    CONSTRAINT texts_published_by_check CHECK ((published_by <> ''::text)),
    CONSTRAINT texts_version_check CHECK ((version >= 1))
);
ALTER TABLE texts ADD CONSTRAINT texts_pkey PRIMARY KEY (kind, version);
CREATE TRIGGER texts_append_only BEFORE DELETE OR UPDATE ON texts FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER texts_never_emptied BEFORE TRUNCATE ON texts FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

CREATE TABLE transcript_requests (
    id uuid DEFAULT uuidv7() NOT NULL,
    session_id uuid NOT NULL,
    requested_by uuid NOT NULL,
    reason text NOT NULL,
    requested_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    approved_by uuid,
    approved_at timestamp with time zone,
    CONSTRAINT transcript_requests_reason_check CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 500))),
    CONSTRAINT transcript_requests_second_operator CHECK ((((approved_by IS NULL) = (approved_at IS NULL)) AND ((approved_by IS NULL) OR (approved_by <> requested_by))))
);
ALTER TABLE transcript_requests ADD CONSTRAINT transcript_requests_pkey PRIMARY KEY (id);
CREATE INDEX transcript_requests_by_operator ON transcript_requests USING btree (requested_by, session_id, approved_at);
CREATE INDEX transcript_requests_by_time ON transcript_requests USING btree (requested_at, id) WHERE (approved_by IS NULL);
CREATE UNIQUE INDEX transcript_requests_waiting ON transcript_requests USING btree (session_id, requested_by) WHERE (approved_by IS NULL);
ALTER TABLE transcript_requests ADD CONSTRAINT transcript_requests_approved_by_fkey FOREIGN KEY (approved_by) REFERENCES operators(id);
ALTER TABLE transcript_requests ADD CONSTRAINT transcript_requests_requested_by_fkey FOREIGN KEY (requested_by) REFERENCES operators(id);
ALTER TABLE transcript_requests ADD CONSTRAINT transcript_requests_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id);

CREATE TABLE what_ifs (
    id uuid DEFAULT uuidv7() NOT NULL,
    asked_by uuid NOT NULL,
    asked_at timestamp with time zone DEFAULT curhat_now() NOT NULL,
    question text NOT NULL,
    status text DEFAULT 'waiting'::text NOT NULL,
    progress real DEFAULT 0 NOT NULL,
    started_at timestamp with time zone,
    alive_at timestamp with time zone,
    finished_at timestamp with time zone,
    answer text,
    problem text,
    CONSTRAINT what_ifs_answer_check CHECK ((char_length(answer) <= 100000)),
    CONSTRAINT what_ifs_done_has_an_answer CHECK (((status = 'done'::text) = (answer IS NOT NULL))),
    CONSTRAINT what_ifs_failed_has_a_problem CHECK (((status = 'failed'::text) = (problem IS NOT NULL))),
    CONSTRAINT what_ifs_finished CHECK (((status = ANY (ARRAY['done'::text, 'failed'::text, 'cancelled'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT what_ifs_problem_check CHECK ((char_length(problem) <= 200)),
    CONSTRAINT what_ifs_progress_check CHECK (((progress >= (0)::double precision) AND (progress <= (1)::double precision))),
    CONSTRAINT what_ifs_question_check CHECK ((char_length(question) <= 4000)),
    CONSTRAINT what_ifs_running CHECK (((status = 'running'::text) <= ((started_at IS NOT NULL) AND (alive_at IS NOT NULL)))),
    CONSTRAINT what_ifs_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);
ALTER TABLE what_ifs ADD CONSTRAINT what_ifs_pkey PRIMARY KEY (id);
CREATE INDEX what_ifs_by_time ON what_ifs USING btree (asked_at DESC, id DESC);
CREATE UNIQUE INDEX what_ifs_one_running ON what_ifs USING btree ((true)) WHERE (status = 'running'::text);
CREATE INDEX what_ifs_waiting ON what_ifs USING btree (asked_at, id) WHERE (status = 'waiting'::text);
ALTER TABLE what_ifs ADD CONSTRAINT what_ifs_asked_by_fkey FOREIGN KEY (asked_by) REFERENCES operators(id);

CREATE VIEW current_texts AS
 SELECT kind,
    max(version) AS version
   FROM texts
  GROUP BY kind;

CREATE VIEW held_sessions AS
 SELECT session_id
   FROM reports
  WHERE ((status <> 'decided'::text) OR (closed_at > (curhat_now() - '90 days'::interval)));

CREATE VIEW refused_refunds AS
 SELECT refunds.payment_id,
    refunds.charge_attempt_id
   FROM (refunds
     JOIN charge_attempts ON ((charge_attempts.id = refunds.charge_attempt_id)))
  WHERE ((refunds.status = 'failed'::text) AND (refunds.reason = 'operator_decision'::text) AND (COALESCE(refunds.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round) AND (NOT (EXISTS ( SELECT 1
           FROM refunds again
          WHERE ((again.charge_attempt_id = refunds.charge_attempt_id) AND (again.status <> 'failed'::text) AND (again.reason = 'operator_decision'::text) AND (COALESCE(again.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round))))) AND (charge_attempts.amount_rp > ( SELECT COALESCE(sum(given.amount_rp), (0)::bigint) AS "coalesce"
           FROM refunds given
          WHERE ((given.charge_attempt_id = charge_attempts.id) AND (given.status <> 'failed'::text)))));

CREATE VIEW unanswered_calls AS
 SELECT charge_attempts.payment_id,
    charge_attempts.id,
    'charge'::text AS what,
    charge_attempts.amount_rp,
    charge_attempts.started_at AS since
   FROM charge_attempts
  WHERE ((charge_attempts.status = 'started'::text) AND (charge_attempts.started_at <= (curhat_now() - '00:10:00'::interval)))
UNION ALL
 SELECT refunds.payment_id,
    refunds.id,
    'refund'::text AS what,
    refunds.amount_rp,
    refunds.requested_at AS since
   FROM refunds
  WHERE ((refunds.status = 'requested'::text) AND (refunds.requested_at <= (curhat_now() - '00:10:00'::interval)));

CREATE VIEW undelivered_charges AS
 SELECT charge_attempts.payment_id,
    charge_attempts.id AS charge_attempt_id,
    ((charge_attempts.amount_rp - given_back.amount_rp))::integer AS amount_rp,
    charge_attempts.decided_round,
    (refused.amount_rp IS NOT NULL) AS was_refused,
    refused.amount_rp AS refused_rp
   FROM (((charge_attempts
     JOIN payments ON ((payments.id = charge_attempts.payment_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(sum(refunds.amount_rp), (0)::bigint) AS amount_rp
           FROM refunds
          WHERE ((refunds.charge_attempt_id = charge_attempts.id) AND (refunds.status <> 'failed'::text))) given_back)
     LEFT JOIN LATERAL ( SELECT failed.amount_rp
           FROM refunds failed
          WHERE ((failed.charge_attempt_id = charge_attempts.id) AND (failed.status = 'failed'::text) AND (failed.reason = 'operator_decision'::text) AND (COALESCE(failed.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round) AND (NOT (EXISTS ( SELECT 1
                   FROM refunds again
                  WHERE ((again.charge_attempt_id = charge_attempts.id) AND (again.status <> 'failed'::text) AND (again.reason = 'operator_decision'::text) AND (COALESCE(again.decided_round, charge_attempts.decided_round) = charge_attempts.decided_round))))))
          ORDER BY failed.id DESC
         LIMIT 1) refused ON (true))
  WHERE ((charge_attempts.amount_rp > given_back.amount_rp) AND ((charge_attempts.status = 'approved_late'::text) OR ((charge_attempts.status = 'approved'::text) AND ((payments.status = 'unserved'::text) OR (charge_attempts.questioned_at IS NOT NULL) OR (EXISTS ( SELECT 1
           FROM ( SELECT sessions.end_reason,
                    sessions.delivery
                   FROM sessions
                  WHERE (sessions.payment_id = payments.id)
                UNION ALL
                 SELECT sessions.end_reason,
                    sessions.delivery
                   FROM (extensions
                     JOIN sessions ON ((sessions.id = extensions.session_id)))
                  WHERE (extensions.payment_id = payments.id)) paid_for
          WHERE ((paid_for.end_reason = ANY (ARRAY['mitra_ended'::text, 'mitra_suspended'::text])) OR (paid_for.delivery = ANY (ARRAY['mitra_away'::text, 'unanswered'::text])))))))));

CREATE SEQUENCE deleted_phone_numbers
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    MAXVALUE 999999999999
    CACHE 1;

CREATE FUNCTION append_events(roles text[], user_ids uuid[], types text[], data text[]) RETURNS TABLE(seq bigint, at timestamp with time zone)
    LANGUAGE sql
    AS $$
WITH given_events AS MATERIALIZED (
    SELECT event.role, event.user_id, event.type, event.data, event.position,
        row_number() OVER (PARTITION BY event.role, event.user_id ORDER BY event.position DESC) - 1 AS followed_by
    FROM unnest(roles, user_ids, types, data) WITH ORDINALITY AS event (role, user_id, type, data, position)
), advance_heads AS (
    INSERT INTO streams (role, user_id, head)
    SELECT given.role, given.user_id, count(*) FROM given_events AS given
    GROUP BY given.role, given.user_id ORDER BY given.role, given.user_id
    ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head + excluded.head
    RETURNING streams.role, streams.user_id, streams.head
), numbered_events AS MATERIALIZED (
    SELECT given.position, role, user_id, given.type, given.data, advanced.head - given.followed_by AS seq,
        curhat_now() AS at
    FROM given_events AS given
    JOIN advance_heads AS advanced USING (role, user_id)
), store_events AS (
    INSERT INTO stream_events (role, user_id, seq, type, data, at)
    SELECT numbered.role, numbered.user_id, numbered.seq, numbered.type, numbered.data, numbered.at
    FROM numbered_events AS numbered
)
SELECT numbered.seq, numbered.at FROM numbered_events AS numbered ORDER BY numbered.position
$$;

CREATE FUNCTION arm_outcome_push(payment uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_push('push_outcomes', ARRAY[payment], curhat_now(), curhat_now())
    FROM payments
    WHERE id = payment AND EXISTS (
        SELECT 1 FROM push_subscriptions
        WHERE user_id = payments.customer_id AND role = 'customer' AND failed_at IS NULL);
END $$;

CREATE FUNCTION arm_push(push_kind text, entity_ids uuid[], due timestamp with time zone, latest timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH armed AS MATERIALIZED (
        SELECT entity_id FROM deadlines
        WHERE kind = push_kind AND entity_id = ANY (entity_ids) AND parked_at IS NULL AND due_at <= latest
        FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO deadlines (kind, entity_id, generation, due_at)
    SELECT push_kind, wanted, own_generation(), due FROM unnest(entity_ids) AS wanted
    WHERE wanted NOT IN (SELECT entity_id FROM armed)
    ON CONFLICT (kind, entity_id, generation) DO NOTHING;
END $$;

CREATE FUNCTION audit_forgets_only_names() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION block_needs_session() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = NEW.session_id AND customer_id = NEW.customer_id AND mitra_id = NEW.mitra_id
    ) THEN
        RAISE EXCEPTION 'session % is not of these two people', NEW.session_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'blocks_after_a_session';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION charge_decided_once() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.decided_round IS NULL AND NEW.questioned_at IS DISTINCT FROM OLD.questioned_at THEN
        RETURN NEW;
    END IF;
    -- A refund that no second operator has approved has no effect yet. So a case may open again, and then take such a
    -- decision back.
    IF NEW.decided_round IS NULL AND EXISTS (
        SELECT 1 FROM review_cases
        WHERE payment_id = NEW.payment_id AND round = OLD.decided_round AND needs_approval AND approved_by IS NULL
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'charge % is decided', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_attempts_decided_once';
END $$;

CREATE FUNCTION charge_of_an_approved_extension() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM extensions WHERE payment_id = NEW.payment_id AND status <> 'charging') THEN
        RAISE EXCEPTION 'payment % is for an extension that nobody approved', NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_attempts_of_an_approved_extension';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION charges_decided() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE charge_attempts SET decided_round = NEW.round
    FROM undelivered_charges
    WHERE undelivered_charges.payment_id = NEW.payment_id AND undelivered_charges.decided_round IS NULL
        AND charge_attempts.id = undelivered_charges.charge_attempt_id;
    RETURN NULL;
END $$;

CREATE FUNCTION count_hour(hour_began_at timestamp with time zone) RETURNS TABLE(opened bigint, confirmed bigint, matched bigint, finished bigint, failed bigint)
    LANGUAGE sql STABLE
    AS $$
SELECT
    (SELECT count(*) FROM payments WHERE purpose = 'session'
        AND created_at >= hour_began_at AND created_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM payments WHERE purpose = 'session'
        AND confirmed_at >= hour_began_at AND confirmed_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM sessions
        WHERE started_at >= hour_began_at AND started_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM sessions
        WHERE ended_at >= hour_began_at AND ended_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM failed_pairing_events
        WHERE occurred_at >= hour_began_at AND occurred_at < hour_began_at + interval '1 hour')
$$;

CREATE FUNCTION count_mitra_hour(hour_began_at timestamp with time zone) RETURNS TABLE(mitra_id uuid, asked bigint, accepted bigint, rejected bigint, taken bigint, unanswered bigint, accept_seconds double precision)
    LANGUAGE sql STABLE
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
SELECT requests.mitra_id, count(*), count(*) FILTER (WHERE requests.status = 'accepted'),
    count(*) FILTER (WHERE requests.status = 'rejected'),
    count(*) FILTER (WHERE requests.close_reason = 'already_taken'),
    count(*) FILTER (WHERE requests.close_reason = 'timed_out'),
    coalesce(sum(extract(epoch FROM requests.answered_at - requests.offered_at))
        FILTER (WHERE requests.status = 'accepted'), 0)::double precision
FROM payments
JOIN pairings ON pairings.payment_id = payments.id
JOIN requests ON requests.pairing_id = pairings.id
WHERE payments.confirmed_at >= hour_began_at AND payments.confirmed_at < hour_began_at + interval '1 hour'
GROUP BY requests.mitra_id
$$;

CREATE FUNCTION curhat_now() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    RETURN clock_timestamp();

CREATE FUNCTION curhat_timeline() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
END $$;

CREATE FUNCTION decision_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;

CREATE FUNCTION epoch_on_timeline(epoch uuid) RETURNS uuid
    LANGUAGE sql
    RETURN CASE curhat_timeline() WHEN 1 THEN epoch ELSE (md5(((epoch)::text || curhat_timeline())))::uuid END;

CREATE FUNCTION extension_status_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (
        ('pending', 'charging'), ('pending', 'rejected'), ('charging', 'approved'), ('charging', 'charge_failed')
    ) THEN
        RAISE EXCEPTION 'extension % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'extensions_allowed_steps';
    END IF;
    IF NEW.status = 'approved' AND NOT EXISTS (
        SELECT 1 FROM charge_attempts WHERE payment_id = NEW.payment_id AND status = 'approved'
    ) THEN
        RAISE EXCEPTION 'extension % is not charged', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'extensions_approved_means_charged';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'extension', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;

CREATE FUNCTION extension_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_push('push_messages', ARRAY[NEW.session_id], curhat_now(), curhat_now())
    FROM sessions JOIN mitras ON mitras.id = sessions.mitra_id
    WHERE sessions.id = NEW.session_id AND mitras.push_ready AND NEW.status = 'pending';
    RETURN NULL;
END $$;

CREATE FUNCTION failure_has_its_amount() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.amount_rp := (SELECT amount_rp FROM payments WHERE id = NEW.payment_id);
    RETURN NEW;
END $$;

CREATE FUNCTION fallback_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;

CREATE FUNCTION forbid_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION forget_name_in_audit(of_mitra_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public'
    BEGIN ATOMIC
 UPDATE audit_entries SET old_value =
         CASE
             WHEN (audit_entries.old_value IS NOT NULL) THEN '(deleted)'::text
             ELSE NULL::text
         END, new_value =
         CASE
             WHEN (audit_entries.new_value IS NOT NULL) THEN '(deleted)'::text
             ELSE NULL::text
         END
   WHERE ((audit_entries.subject_id = (forget_name_in_audit.of_mitra_id)::text) AND (audit_entries.subject = 'mitra'::text) AND (audit_entries.action = ANY (ARRAY['mitra_invited'::text, 'mitra_renamed'::text])) AND ((audit_entries.old_value <> '(deleted)'::text) OR (audit_entries.new_value <> '(deleted)'::text)));
END;

CREATE FUNCTION is_publishable_help(items jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((jsonb_typeof(items) = 'array'::text) AND (SELECT ((count(*) <= 30) AND (count(DISTINCT (listed.item ->> 'id'::text)) = count(*)) AND (count(*) FILTER (WHERE ((listed.item ->> 'kind'::text) = 'step'::text)) >= 1) AND (count(*) FILTER (WHERE (((listed.item ->> 'kind'::text) = 'line'::text) AND (jsonb_array_length((listed.item -> 'channels'::text)) > 0))) >= 3) AND (count(*) FILTER (WHERE (((listed.item ->> 'kind'::text) = 'line'::text) AND (jsonb_array_length((listed.item -> 'channels'::text)) = 0))) = 0) AND (count(DISTINCT lower((listed.item ->> 'provider'::text))) FILTER (WHERE ((listed.item ->> 'kind'::text) = 'line'::text)) >= 2)) FROM jsonb_array_elements(is_publishable_help.items) listed(item)));

CREATE FUNCTION keep_acceptance() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.accepted_at < curhat_now() - interval '5 years' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'an acceptance is kept unchanged for five years' USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION keep_an_active_admin() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('active admins', 0));
    IF NOT EXISTS (
        SELECT FROM operators
        WHERE id <> NEW.id AND role = 'admin' AND disabled_at IS NULL AND NOT awaits_link
    ) THEN
        RAISE EXCEPTION 'operator % is the last active admin', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'operators_keep_an_active_admin';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION keep_help_line_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.published_at IS NULL AND NEW.published_at IS NOT NULL
        AND (OLD.version, OLD.items, OLD.proposed_by, OLD.proposed_at)
            IS NOT DISTINCT FROM (NEW.version, NEW.items, NEW.proposed_by, NEW.proposed_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a version of the help lines is only published once, and never changed'
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION match_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT 'push_match', NEW.id, curhat_now()
    WHERE EXISTS (SELECT 1 FROM push_subscriptions WHERE user_id = NEW.customer_id AND role = 'customer' AND failed_at IS NULL);
    RETURN NULL;
END $$;

CREATE FUNCTION messages_deleted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM held_sessions WHERE session_id IN (SELECT session_id FROM gone)) THEN
        RAISE EXCEPTION 'the text of a session is held'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'messages_held_text_stays';
    END IF;
    IF EXISTS (SELECT 1 FROM sessions WHERE id IN (SELECT session_id FROM gone) AND status = 'active') THEN
        RAISE EXCEPTION 'the text of a running session cannot be deleted'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'messages_of_a_running_chat_stay';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION messages_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_push('push_messages', array_agg(DISTINCT sessions.id), curhat_now() + interval '3 seconds', 'infinity')
    FROM sent
    JOIN sessions ON sessions.id = sent.session_id
    JOIN mitras ON mitras.id = sessions.mitra_id
    WHERE CASE sent.sender
        WHEN 'customer' THEN mitras.push_ready
        ELSE EXISTS (
            SELECT 1 FROM push_subscriptions
            WHERE user_id = sessions.customer_id AND role = 'customer' AND failed_at IS NULL)
        END
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION mitra_begins_to_wait() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.waiting_since := curhat_now();
    RETURN NEW;
END $$;

CREATE FUNCTION mitra_over_capacity() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'mitra % is at capacity', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'mitras_capacity_never_exceeded';
END $$;

CREATE FUNCTION next_availability_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.availability_version := OLD.availability_version + 1;
    IF NEW.online THEN
        NEW.break_until := NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION ordered_version(version bigint) RETURNS bigint
    LANGUAGE sql
    RETURN (version + ((curhat_timeline() - 1) * '1099511627776'::bigint));

CREATE FUNCTION own_generation() RETURNS integer
    LANGUAGE sql
    RETURN ((((pg_current_xact_id())::text)::numeric % (2147483647)::numeric))::integer;

CREATE FUNCTION pairing_of_its_payment() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    chosen uuid := (SELECT target_mitra_id FROM payments WHERE id = NEW.payment_id);
BEGIN
    IF NEW.kind = 'targeted' AND chosen IS DISTINCT FROM NEW.target_mitra_id
        OR NEW.kind = 'blast' AND chosen IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM pairings
            WHERE payment_id = NEW.payment_id AND kind = 'targeted' AND fallback_status = 'taken'
        )
    THEN
        RAISE EXCEPTION 'a % pairing does not fit its payment', NEW.kind
            USING ERRCODE = 'check_violation', CONSTRAINT = 'pairings_of_their_payment';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION pairing_status_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (('open', 'matched'), ('open', 'failed')) THEN
        RAISE EXCEPTION 'pairing % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'pairings_allowed_steps';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'pairing', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;

CREATE FUNCTION payment_must_be_confirmed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION payment_of_a_deleted_account() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM customers WHERE id = NEW.customer_id AND deleted_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account % is deleted', NEW.customer_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_of_accounts';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION payment_status_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION push_subscription_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    mitra uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
BEGIN
    -- Lock in a separate statement. The next statement then takes a new snapshot, which includes the changes that the
    -- previous lock holder committed.
    PERFORM FROM mitras WHERE id = mitra FOR NO KEY UPDATE;
    UPDATE mitras SET push_ready = NOT push_ready
    WHERE id = mitra AND push_ready <> EXISTS (
        SELECT 1 FROM push_subscriptions WHERE user_id = mitra AND role = 'mitra' AND failed_at IS NULL);
    RETURN NULL;
END $$;

CREATE FUNCTION refund_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.payment_id);
    RETURN NULL;
END $$;

CREATE FUNCTION refunds_at_most_the_charge() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    charged_rp integer;
BEGIN
    -- T1 and T2 request refunds of one charge. T2 waits here for T1's commit, and then counts T1's refund.
    SELECT amount_rp INTO charged_rp FROM charge_attempts WHERE id = NEW.charge_attempt_id FOR NO KEY UPDATE;
    IF charged_rp < NEW.amount_rp + coalesce((
        SELECT sum(amount_rp) FROM refunds
        WHERE charge_attempt_id = NEW.charge_attempt_id AND status <> 'failed' AND id <> NEW.id
    ), 0) THEN
        RAISE EXCEPTION 'refund % exceeds what is left of charge %', NEW.id, NEW.charge_attempt_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_at_most_the_charge';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION report_steps() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('open', 'awaiting_approval'), ('open', 'decided'), ('awaiting_approval', 'decided'),
        ('awaiting_approval', 'open'), ('decided', 'appealed'), ('appealed', 'decided')
    ) THEN
        RAISE EXCEPTION 'report % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_allowed_steps';
    END IF;
    IF OLD.decision IS NOT NULL AND NEW.status <> 'open'
        AND (OLD.decision, OLD.suspend_until, OLD.decided_by, OLD.decided_at)
            IS DISTINCT FROM (NEW.decision, NEW.suspend_until, NEW.decided_by, NEW.decided_at)
    THEN
        RAISE EXCEPTION 'report % is decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_decided_once';
    END IF;
    IF OLD.appealed_at IS NOT NULL AND NEW.status = 'appealed' THEN
        RAISE EXCEPTION 'report % has its appeal', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_one_appeal';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION request_to_push_again() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_push('push_requests', ARRAY[NEW.pairing_id], curhat_now(), curhat_now())
    FROM mitras WHERE id = NEW.mitra_id AND push_ready;
    RETURN NULL;
END $$;

CREATE FUNCTION requests_of_their_pairing() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM asked JOIN pairings ON pairings.id = asked.pairing_id
        WHERE pairings.left_out_mitra_id = asked.mitra_id OR pairings.target_mitra_id <> asked.mitra_id
            OR pairings.customer_id = asked.mitra_id
    ) THEN
        RAISE EXCEPTION 'a pairing does not ask this mitra'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'requests_of_their_pairing';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION requests_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_push('push_requests', array_agg(DISTINCT offered.pairing_id), curhat_now(), curhat_now())
    FROM offered JOIN mitras ON mitras.id = offered.mitra_id
    WHERE mitras.push_ready
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION review_case_decided_once() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'review case % is decided', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'review_cases_decided_once';
END $$;

CREATE FUNCTION review_case_opened_again() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    is_withdrawn boolean := OLD.needs_approval AND OLD.approved_by IS NULL;
BEGIN
    IF NEW.reason <> 'books_differ' AND NOT EXISTS (
        SELECT 1 FROM undelivered_charges WHERE payment_id = OLD.payment_id AND decided_round IS NULL
    ) THEN
        RAISE EXCEPTION 'review case % is decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'review_cases_decided_once';
    END IF;
    INSERT INTO earlier_decisions (case_id, round, reason, opened_at, decision, decision_note, decided_by, decided_at,
        refund_rp, withdrawn, approved_by, approved_at, opened_by, opened_note)
    VALUES (OLD.id, OLD.round, OLD.reason, OLD.opened_at, OLD.decision, OLD.decision_note, OLD.decided_by,
        OLD.decided_at, OLD.refund_rp, is_withdrawn, OLD.approved_by, OLD.approved_at, OLD.opened_by, OLD.opened_note);
    IF is_withdrawn THEN
        UPDATE charge_attempts SET decided_round = NULL
        WHERE payment_id = OLD.payment_id AND decided_round = OLD.round;
    END IF;
    NEW.round := OLD.round + 1;
    NEW.opened_at := curhat_now();
    NEW.decision := NULL;
    NEW.decision_note := NULL;
    NEW.decided_by := NULL;
    NEW.decided_at := NULL;
    NEW.refund_rp := NULL;
    NEW.needs_approval := false;
    NEW.approved_by := NULL;
    NEW.approved_at := NULL;
    IF NEW.reason <> 'complaint' THEN
        NEW.opened_by := NULL;
        NEW.opened_note := NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION review_case_tagged() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE review_cases SET tag = (
        SELECT events.tag FROM failed_pairing_events AS events WHERE events.case_id = NEW.case_id
        ORDER BY events.occurred_at DESC, events.id DESC LIMIT 1
    ) WHERE id = NEW.case_id;
    RETURN NULL;
END $$;

CREATE FUNCTION session_status_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.status, NEW.status) NOT IN (('active', 'ended')) THEN
        RAISE EXCEPTION 'session % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_allowed_steps';
    END IF;
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status)
    VALUES (NEW.payment_id, 'session', NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;

CREATE FUNCTION session_text_deleted() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF OLD.text_deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'the text of session % is deleted already', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_text_is_deleted_once';
    END IF;
    IF EXISTS (SELECT 1 FROM held_sessions WHERE session_id = NEW.id) THEN
        RAISE EXCEPTION 'the text of session % is held', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_held_text_stays';
    END IF;
    IF EXISTS (SELECT 1 FROM messages WHERE session_id = NEW.id) THEN
        RAISE EXCEPTION 'session % still has messages', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_deleted_text_is_gone';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION token_of_a_deleted_account() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM customers WHERE id = NEW.user_id AND NEW.role = 'customer' AND deleted_at IS NOT NULL)
        OR EXISTS (SELECT 1 FROM mitras WHERE id = NEW.user_id AND NEW.role = 'mitra' AND deleted_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'the account % is deleted', NEW.user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'access_tokens_of_accounts';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION token_revoked() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM push_subscriptions WHERE token_digest = NEW.digest;
    RETURN NULL;
END $$;

CREATE FUNCTION trial_is_used(of_customer_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN ((EXISTS (SELECT 1 FROM customers WHERE ((customers.id = trial_is_used.of_customer_id) AND customers.trial_used_before))) OR (EXISTS (SELECT 1 FROM sessions WHERE ((sessions.customer_id = trial_is_used.of_customer_id) AND sessions.is_trial))) OR (EXISTS (SELECT 1 FROM (payments JOIN pairings ON ((pairings.payment_id = payments.id))) WHERE ((payments.customer_id = trial_is_used.of_customer_id) AND payments.is_trial AND (payments.confirmed_at IS NOT NULL) AND (pairings.failure_tag = 'customer_cancelled'::text)))) OR (3 <= (SELECT count(*) AS count FROM payments WHERE ((payments.customer_id = trial_is_used.of_customer_id) AND payments.is_trial AND (payments.confirmed_at > (curhat_now() - '24:00:00'::interval))))));

CREATE FUNCTION trial_must_be_left() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF trial_is_used(NEW.customer_id) THEN
        RAISE EXCEPTION 'customer % has used up the trial', NEW.customer_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_trial_is_left';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION undelivered_charges_have_a_case() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    concerned uuid[];
BEGIN
    IF TG_TABLE_NAME = 'payments' THEN
        concerned := ARRAY[NEW.id];
    ELSIF TG_TABLE_NAME = 'sessions' THEN
        concerned := NEW.payment_id || ARRAY(SELECT payment_id FROM extensions WHERE session_id = NEW.id);
    ELSE
        concerned := ARRAY[NEW.payment_id];
    END IF;
    IF EXISTS (
        SELECT 1 FROM undelivered_charges
        WHERE payment_id = ANY (concerned) AND decided_round IS NULL AND NOT EXISTS (
            SELECT 1 FROM review_cases
            WHERE review_cases.payment_id = undelivered_charges.payment_id AND review_cases.status = 'open')
    ) THEN
        RAISE EXCEPTION 'a charge of the payments % is undelivered and has no open case', concerned
            USING ERRCODE = 'check_violation', CONSTRAINT = 'undelivered_charges_have_a_case';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION unserved_payment_to_push() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM arm_outcome_push(NEW.id);
    RETURN NULL;
END $$;
