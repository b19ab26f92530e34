-- Waves: a blast asks at most 500 mitras at once, those first who have waited longest without a session.

-- Since when the mitra waits: since the end of the last session or since going online, whichever is later. A trigger
-- keeps the time, so that the code of the previous release keeps it too.
-- squawk-ignore adding-field-with-default
ALTER TABLE mitras ADD COLUMN waiting_since timestamptz NOT NULL DEFAULT curhat_now();
UPDATE mitras SET waiting_since = coalesce(
    (SELECT max(ended_at) FROM sessions WHERE mitra_id = mitras.id AND ended_at IS NOT NULL), created_at);

CREATE FUNCTION mitra_begins_to_wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.waiting_since := curhat_now();
    RETURN NEW;
END $$;
CREATE TRIGGER mitras_begin_to_wait BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN (NEW.online AND NOT OLD.online OR NEW.active_sessions < OLD.active_sessions)
    EXECUTE FUNCTION mitra_begins_to_wait();

-- Whether the blast has more mitras to ask than its last wave asked. Such a blast asks nobody between its waves.
ALTER TABLE pairings ADD COLUMN waits_for_wave boolean NOT NULL DEFAULT false;
ALTER TABLE pairings ADD CONSTRAINT pairings_only_a_blast_has_waves CHECK (kind = 'blast' OR NOT waits_for_wave)
    NOT VALID;
