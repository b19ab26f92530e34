-- When the mitra said to be an adult (P.2). The year of birth is not kept.
ALTER TABLE mitras ADD COLUMN adult_at timestamptz;
