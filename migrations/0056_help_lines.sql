-- squawk-ignore-file adding-foreign-key-constraint  -- the table is new
-- The help lines are versions of one list. An admin proposes a version, and another admin publishes it.

-- Return whether a list can be published: at least three lines of two providers, a step that needs no line, and no id
-- twice.
CREATE FUNCTION is_publishable_help(items jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_typeof(items) = 'array' AND (
        SELECT count(*) <= 30 AND count(DISTINCT item ->> 'id') = count(*)
            AND count(*) FILTER (WHERE item ->> 'kind' = 'step') >= 1
            AND count(*) FILTER (WHERE item ->> 'kind' = 'line' AND jsonb_array_length(item -> 'channels') > 0) >= 3
            AND count(*) FILTER (WHERE item ->> 'kind' = 'line' AND jsonb_array_length(item -> 'channels') = 0) = 0
            AND count(DISTINCT lower(item ->> 'provider')) FILTER (WHERE item ->> 'kind' = 'line') >= 2
        FROM jsonb_array_elements(items) AS listed (item)
    );

CREATE TABLE help_line_versions (
    version integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    items jsonb NOT NULL CONSTRAINT help_line_versions_are_publishable CHECK (is_publishable_help(items)),
    -- Null: the list came with a release.
    proposed_by uuid REFERENCES operators (id),
    proposed_at timestamptz NOT NULL DEFAULT curhat_now(),
    published_by uuid REFERENCES operators (id),
    published_at timestamptz,
    CONSTRAINT help_line_versions_need_two_admins CHECK (published_by <> proposed_by),
    -- A list that came with a release is published at once. Only an operator publishes the list of an operator.
    CONSTRAINT help_line_versions_are_published_by_somebody CHECK (
        CASE WHEN proposed_by IS NULL THEN published_by IS NULL AND published_at IS NOT NULL
            ELSE (published_by IS NULL) = (published_at IS NULL) END
    )
);

-- A version changes only once: from proposed to published.
CREATE FUNCTION keep_help_line_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.published_at IS NULL AND NEW.published_at IS NOT NULL
        AND (OLD.version, OLD.items, OLD.proposed_by, OLD.proposed_at)
            IS NOT DISTINCT FROM (NEW.version, NEW.items, NEW.proposed_by, NEW.proposed_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a version of the help lines is only published once, and never changed'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER help_line_versions_never_changed BEFORE UPDATE OR DELETE ON help_line_versions
    FOR EACH ROW EXECUTE FUNCTION keep_help_line_version();
CREATE TRIGGER help_line_versions_never_emptied BEFORE TRUNCATE ON help_line_versions
    FOR EACH STATEMENT EXECUTE FUNCTION keep_help_line_version();
