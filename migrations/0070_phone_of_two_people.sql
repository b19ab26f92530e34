-- migrate: after
-- squawk-ignore-file ban-drop-constraint  -- two unique indexes replace it
-- Two people can have the same number, each with another role (P.3). The indexes people_one_customer_per_phone and
-- people_one_mitra_per_phone replace this constraint. The previous release needs it for its ON CONFLICT.
ALTER TABLE people DROP CONSTRAINT people_phone_number_key;
