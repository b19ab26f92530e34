-- squawk-ignore-file require-concurrent-index-creation, adding-foreign-key-constraint  -- the tables are new
-- The texts that a person accepts before paying or going online, and the acceptances (P.1).

-- One row per version. One row holds both languages, so no version lacks a language. The service only adds rows.
CREATE TABLE texts (
    kind text NOT NULL CHECK (kind IN ('terms', 'privacy', 'health_data', 'code_of_conduct')),
    version integer NOT NULL CHECK (version >= 1),
    body_id text NOT NULL CHECK (char_length(body_id) BETWEEN 1 AND 20000),
    body_en text NOT NULL CHECK (char_length(body_en) BETWEEN 1 AND 20000),
    -- A draft applies like every other version. The flag says that no lawyer has checked the version.
    is_draft boolean NOT NULL,
    published_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- The id of an operator, or 'curhat seed'.
    published_by text NOT NULL CHECK (published_by <> ''),
    PRIMARY KEY (kind, version)
);
CREATE TRIGGER texts_append_only BEFORE UPDATE OR DELETE ON texts
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER texts_never_emptied BEFORE TRUNCATE ON texts
    FOR EACH STATEMENT EXECUTE FUNCTION forbid_change();

-- The version of each kind that counts.
CREATE VIEW current_texts AS SELECT kind, max(version) AS version FROM texts GROUP BY kind;

-- A person accepts each version at most once in each role.
CREATE TABLE acceptances (
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    kind text NOT NULL,
    version integer NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT curhat_now(),
    PRIMARY KEY (role, user_id, kind, version),
    CONSTRAINT acceptances_text FOREIGN KEY (kind, version) REFERENCES texts (kind, version),
    CONSTRAINT acceptances_code_of_conduct_by_mitras CHECK (role = 'mitra' OR kind <> 'code_of_conduct')
);
CREATE INDEX acceptances_by_text ON acceptances (kind, version, role);

-- An acceptance is the proof of a consent. It is never changed. It can be deleted when its retention is over (P.7),
-- which is never sooner than five years after the acceptance. The trigger does not call forbid_change, because
-- `curhat migrate` takes DELETE from the serving role on tables with triggers of forbid_change.
CREATE FUNCTION keep_acceptance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.accepted_at < curhat_now() - interval '5 years' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'an acceptance is kept unchanged for five years' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER acceptances_kept BEFORE UPDATE OR DELETE ON acceptances
    FOR EACH ROW EXECUTE FUNCTION keep_acceptance();
CREATE TRIGGER acceptances_never_emptied BEFORE TRUNCATE ON acceptances
    FOR EACH STATEMENT EXECUTE FUNCTION keep_acceptance();

-- When the customer said to be an adult (P.2). The year of birth is not kept.
ALTER TABLE customers ADD COLUMN adult_at timestamptz;
