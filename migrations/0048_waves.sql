-- Waves: a blast asks at most 500 mitras at once. This file locks only pairings.

-- Whether the blast has more mitras to ask than its last wave asked. Such a blast asks nobody between its waves.
ALTER TABLE pairings ADD COLUMN waits_for_wave boolean NOT NULL DEFAULT false;
ALTER TABLE pairings ADD CONSTRAINT pairings_only_a_blast_has_waves CHECK (kind = 'blast' OR NOT waits_for_wave)
    NOT VALID;
