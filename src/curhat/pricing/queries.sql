-- name: offers
-- The current offers for purpose $2 that customer $1 may have.
SELECT id, duration_minutes, price_rp, is_trial FROM offers
WHERE purpose = $2 AND withdrawn_at IS NULL
    AND NOT (is_trial AND EXISTS (SELECT 1 FROM sessions WHERE customer_id = $1 AND is_trial))
ORDER BY is_trial DESC, duration_minutes

-- name: offer
-- The current offer $1 for purpose $2, and whether customer $3 has had a trial.
SELECT id, duration_minutes, price_rp, is_trial,
    EXISTS (SELECT 1 FROM sessions WHERE customer_id = $3 AND is_trial) AS trial_used
FROM offers WHERE id = $1 AND purpose = $2 AND withdrawn_at IS NULL

-- name: trial_available
-- Whether there is a trial, and customer $1 has had none.
SELECT EXISTS (SELECT 1 FROM offers WHERE is_trial AND withdrawn_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE customer_id = $1 AND is_trial)

-- name: seed
-- nothing → the offers $1 (purposes), $2 (minutes), $3 (prices; Rp0 is the trial); a current one stays as it is.
INSERT INTO offers (purpose, duration_minutes, price_rp, is_trial)
SELECT purpose, duration_minutes, price_rp, price_rp = 0
FROM unnest($1::text[], $2::integer[], $3::integer[]) AS seed (purpose, duration_minutes, price_rp)
ON CONFLICT (purpose, duration_minutes, is_trial) WHERE withdrawn_at IS NULL DO NOTHING
