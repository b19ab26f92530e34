-- An event of a failed pairing keeps the amount of its payment. An index then finds the failures of an amount, so that
-- operators who filter by amount do not wait until PostgreSQL has read every failure.
ALTER TABLE failed_pairing_events ADD COLUMN amount_rp integer;

-- The column is filled by a trigger, because the previous release inserts events without it.
CREATE FUNCTION failure_has_its_amount() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.amount_rp := (SELECT amount_rp FROM payments WHERE id = NEW.payment_id);
    RETURN NEW;
END $$;
CREATE TRIGGER failed_pairing_events_have_their_amount BEFORE INSERT ON failed_pairing_events
    FOR EACH ROW EXECUTE FUNCTION failure_has_its_amount();

UPDATE failed_pairing_events SET amount_rp = payments.amount_rp
FROM payments WHERE payments.id = failed_pairing_events.payment_id;
