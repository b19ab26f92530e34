-- Operators are managed in the Control Center. An invited or reset operator has no usable password until a one-time link
-- is used. The link's secret is not stored: it is derived from the id of the link.
ALTER TABLE operators ADD COLUMN awaits_link boolean NOT NULL DEFAULT false;

CREATE TABLE operator_links (
    operator_id uuid PRIMARY KEY REFERENCES operators (id),
    id uuid NOT NULL UNIQUE DEFAULT uuidv7(),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    expires_at timestamptz NOT NULL
);

-- An admin is active if the admin can sign in. One active admin must always remain, because only an admin can invite
-- another. T1 and T2 can each take the role from the admin whom the other one counts. The lock lets T2 wait for T1, and
-- the SELECT has a snapshot of its own, so T2 then sees what T1 committed.
CREATE FUNCTION keep_an_active_admin() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER operators_keep_an_active_admin BEFORE UPDATE ON operators FOR EACH ROW
    WHEN (OLD.role = 'admin' AND OLD.disabled_at IS NULL AND NOT OLD.awaits_link
        AND (NEW.role <> 'admin' OR NEW.disabled_at IS NOT NULL OR NEW.awaits_link))
    EXECUTE FUNCTION keep_an_active_admin();
