-- A mitra can take a break: the toggle is off until the mitra switches it on by hand. At `break_until`, the service
-- reminds the mitra. A break never switches the toggle on.
ALTER TABLE mitras ADD COLUMN break_until timestamptz;
ALTER TABLE mitras ADD CONSTRAINT mitras_on_break_are_offline CHECK (break_until IS NULL OR NOT online) NOT VALID;
ALTER TABLE mitras VALIDATE CONSTRAINT mitras_on_break_are_offline;

-- Going online ends the break. This trigger ends it, because code of the previous release does not know breaks, and
-- would otherwise violate the CHECK above.
CREATE OR REPLACE FUNCTION next_availability_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.availability_version := OLD.availability_version + 1;
    IF NEW.online THEN
        NEW.break_until := NULL;
    END IF;
    RETURN NEW;
END $$;

-- Replace the trigger of 0006. A mitra's devices learn about a new state from its version, and they show the break.
CREATE OR REPLACE TRIGGER mitras_availability_version BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN ((OLD.online, OLD.suspended_at, OLD.active_sessions, OLD.max_customers, OLD.push_ready, OLD.break_until)
        IS DISTINCT FROM (NEW.online, NEW.suspended_at, NEW.active_sessions, NEW.max_customers, NEW.push_ready,
            NEW.break_until))
    EXECUTE FUNCTION next_availability_version();
